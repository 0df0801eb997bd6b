"""The operator's own program: it finds the alert as JSON on its stdin. A second copy has its `incident` and `kind`.

It gets the alerts of one service in their order. In the middle of a pass it is run only for the new alert, and no more
once it has failed or taken RETRYING seconds, because further services wait for their recovery.
"""

import time

from citadel.core import clock
from citadel.core.atomic import to_json
from citadel.core.trust import untrusted_program
from citadel.tell import spool

RETRYING = 60                           # seconds that one pass may spend on waiting alerts


def send(letter, kept, delivery):
    """Why it was not taken, or "". What the spool does not keep has no other turn than this."""
    course = delivery.course
    if kept and any("hook" in one.waiting and one.alert.unit == letter.alert.unit and one.name != letter.name
                    for one in spool.letters_in(delivery.store)):
        return spool.OLDER_FIRST
    if kept and course.hook_failed:
        return "it failed earlier in this pass"
    if kept and course.hook_seconds >= RETRYING:
        return "it is run at the end of the pass"
    began = time.monotonic()
    why = _run(letter.alert, delivery)
    course.hook_seconds += time.monotonic() - began
    course.hook_failed = bool(why)
    return why


def send_waiting(delivery):
    """Runs the hook for each alert that waits, oldest first, until it fails or RETRYING is over."""
    end = time.monotonic() + RETRYING
    for letter in () if delivery.course.hook_failed else spool.letters_in(delivery.store):
        if "hook" in letter.waiting:
            if time.monotonic() >= end or _run(letter.alert, delivery):
                break
            spool.note_taken(letter, "hook", delivery.store)


def _run(alert, delivery):
    hook = delivery.settings.hook
    why = untrusted_program(hook.command)
    if why:
        return why
    ended = None if alert.ended is None else clock.stamp(alert.ended)
    data = dict(alert._asdict(), schema=1, started=clock.stamp(alert.started), ended=ended)
    answer = delivery.run([hook.command], hook.timeout, stdin=to_json(data))
    return "" if answer.ok else answer.complaint()
