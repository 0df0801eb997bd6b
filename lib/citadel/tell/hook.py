"""The operator's own program: it finds the alert as JSON on its stdin, and knows a second copy by `incident` and `kind`.

It hears of a service's incidents one after another. A pass has further services to recover, so in the middle of it the
hook is run only for the alert that is due, and not once more when it has failed or taken RETRYING seconds.
"""

import time

from citadel.core import clock
from citadel.core.atomic import to_json
from citadel.tell import spool
from citadel.tell.receivers import untrusted

RETRYING = 60                           # seconds that one pass may spend on alerts of earlier ones


def wanted(settings):
    return settings.hook.command


def send(letter, kept, delivery):
    """Why it was not taken, or "". What the spool does not keep has no other turn than this."""
    course = delivery.course
    if kept and any("hook" in one.waiting and one.alert.unit == letter.alert.unit and one.name != letter.name
                    for one in spool.letters_in(delivery.store)):
        return "what it was not told before goes first"
    if kept and course.hook_failed:
        return "it failed before in this pass"
    if kept and course.hook_seconds >= RETRYING:
        return "its turn is at the end of the pass"
    began = time.monotonic()
    why = _run(letter.alert, delivery)
    course.hook_seconds += time.monotonic() - began
    course.hook_failed = bool(why)
    return why


def send_waiting(delivery):
    """Gives the hook what it has not taken yet, oldest first, until it refuses one or RETRYING is over; nothing where
    it has refused one in this pass."""
    end = time.monotonic() + RETRYING
    for letter in () if delivery.course.hook_failed else spool.letters_in(delivery.store):
        if "hook" in letter.waiting:
            if time.monotonic() >= end or _run(letter.alert, delivery):
                break
            spool.note_taken(letter, "hook", delivery.store)


def _run(alert, delivery):
    hook = delivery.settings.hook
    why = untrusted(hook.command)
    if why:
        return why
    answer = delivery.run([hook.command], hook.timeout, stdin=to_json(as_data(alert)))
    return "" if answer.ok else answer.complaint()


def as_data(alert):
    """What the hook reads on its stdin."""
    data = dict(alert._asdict(), schema=1)
    for name in ("started", "ended"):
        data[name] = None if data[name] is None else clock.stamp(data[name])
    return data
