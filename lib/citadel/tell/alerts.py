"""Telling a person: the journal, every terminal, Alertmanager, and the hook of the settings.

One escalation an incident, one resolution. An alert is put into the spool before it is sent, and leaves it when every
receiver that can lose it (RECEIVERS) has taken it; so a crash of ours between sending and noting it sends it a second
time, never not at all. The hook knows a second copy by `incident` and `kind`, Alertmanager by labels and `startsAt`.

Every means is used, whatever came of the one before: that Alertmanager took an alert is not yet a person who has heard
of it. What cannot keep us waiting goes first. The journal and wall(1) are told once, at the time: an hour-old line on
a terminal helps nobody.

A pass has further services to recover, so in the middle of it each means has its bound (Course): all Alertmanagers
together ALERTMANAGER; the hook what its timeout allows, but only for the call that is due, and not once more when it
has failed. What waits from before has its turn at the end of the pass. The order that a receiver needs is kept: the
hook hears of a service's incidents one after another, Alertmanager of what it holds for the same alert.

What fires is kept in firing/ as well, and sent to Alertmanager again by each pass (the health check calls for one each
minute while an incident is open), and within a long one (keep_firing), since there an alert that is not sent again
ends by itself.

What Alertmanager is told late is followed by its end only after HELD: it notifies what a group of alerts has become
every group_interval (5 min), and of one that begins and ends between two of these nobody hears.
"""

import os
import time
from collections import namedtuple

from citadel.core import clock
from citadel.core.atomic import from_json, to_json
from citadel.core.clock import Moment, age
from citadel.core.errors import CitadelError
from citadel.core.log import journal
from citadel.core.run import run as run_program
from citadel.core.text import printable, span
from citadel.model import FAILED, OK, Alert, Outcome
from citadel.record import notes
from citadel.tell.receivers import untrusted

RECEIVERS = ("alertmanager", "hook")
REFUSED = "spool/refused"
TOLD_LATE = "spool/told-late"
MOST_SPOOLED = 100
ALERTMANAGER = 5.0                      # seconds that one pass may spend on all Alertmanagers together, come what may
AGAIN = 60                              # seconds after which what fires is sent again, also within a pass
AGAIN_SHARE = 0.5                       # seconds of ALERTMANAGER that this may take; its resolve_timeout is 5 min
HELD = 330                              # seconds from what was told late to what follows it: > group_interval
RETRYING = 60                           # seconds that one pass may spend on alerts of earlier ones
WALL = 5                                # seconds; wall(1) forks for a terminal that does not take the text

# What a person must do, where no machine could: by the cause, or by its last part.
ADVICE = {
    "config.invalid": "correct that line, then: systemctl start UNIT",
    "port.taken": "stop that process, or give one of the two another port",
    "unit.changed": "run install.py again, or `systemctl revert`, then: systemctl daemon-reload",
    "disk.full": "make room on that file system",
    "disk.inodes": "remove files on that file system",
    "disk.readonly": "look at the disk (journalctl -k), mend it, and mount it writable",
    "memory.low": "stop what uses that memory, or give the host more",
    "systemd.unresponsive": "PID 1 is stuck; look at the console, a reboot may be the only way",
    "missing": "install that dependency",
    "down": "repair that dependency; UNIT comes back by itself when it starts",
    "hung": "read that unit's log (journalctl -u)",
    "refusing-writes": "look at that dependency's disk and memory",
    "crash-loop": "read the log: citadel-restart-manager logs",
}

Letter = namedtuple("Letter", "name alert waiting")
Letter.__doc__ = "An alert in the spool: its file, and which of the RECEIVERS have not taken it yet."


class Course:
    """How the telling goes in the pass that is on; the next one begins anew."""

    def __init__(self, store):
        self.seconds = 0.0                      # spent on all Alertmanagers
        self.passed_over = set()                # URLs that did not take what another one took
        self.sent = time.monotonic()            # when Alertmanager last took what fires, or the pass began
        self.sends_again = True                 # until nobody takes it
        self.hook_seconds, self.hook_failed = 0.0, False
        self.terminals_hang = False
        self.late = _told_late(store)           # {identity: (Moment, Alert)} of what was told late, not long ago


def _course(store):
    if store.course is None:
        store.course = Course(store)
    return store.course


def escalate(step, finding, incident, settings, store, now, run=run_program):
    """Tells a person that this incident is theirs; the step's Outcome. Failed only when nobody could be told."""
    document = store.incidents.read(incident) if incident else None
    alert = Alert("firing", finding.unit, finding.cause, step.because, advice(finding.cause, finding.unit), incident,
                  os.uname().nodename, document["opened"][0] if document else now.wall, None, "critical")
    return _tell(step, alert, settings, store, now, run)


def resolve(step, document, settings, store, now, run=run_program):
    """Tells whoever was called that the incident is over; `document` is the incident, closed or about to be. It ends
    what was said to fire, in the same words, or Alertmanager would not know which of its alerts is meant."""
    cause = document["causes"][0].get("cause", "") if document["causes"] else ""
    lasted = document["duration"]
    if lasted is None:
        lasted = age(Moment(*document["opened"]), now)
    because = "%s; it took %s" % (step.because, span(lasted))
    fired = firing(store).get(document["id"])
    alert = (fired or Alert("", document["unit"], cause, "", "", document["id"], os.uname().nodename,
                            document["opened"][0], None, "critical"))
    return _tell(step, alert._replace(kind="resolved", because=because, advice="", ended=now.wall), settings, store,
                 now, run)


def advice(cause, unit):
    """What a person must do about it, in one line."""
    words = ADVICE.get(cause) or ADVICE.get(cause.rpartition(".")[2]) or "see: citadel-restart-manager explain"
    return words.replace("UNIT", unit)


def _tell(step, alert, settings, store, now, run):
    began = time.monotonic()
    receivers = [name for name, wanted in (("alertmanager", settings.alertmanager.urls),
                                           ("hook", settings.hook.command)) if wanted]
    letter = Letter("spool/%s-%s.json" % (alert.incident or "none", alert.kind), alert, receivers)
    kept = bool(receivers) and _spool(letter, store)
    _note_firing(alert, store)
    refused = {"journal": _to_journal(alert)}
    if "alertmanager" in receivers:
        taken, why = send_to_alertmanagers(settings, store, now, run, letter)
        refused["alertmanager"] = "" if letter.name in taken else why or "what it was not told before goes first"
    refused["wall"] = _to_terminals(alert, settings, _course(store), run)
    if "hook" in receivers:
        refused["hook"] = _to_hook_in_its_turn(letter, kept, settings, store, run)
    waiting = [name for name in receivers if refused[name]]
    if kept:
        _note_waiting(letter, waiting, store)
    words = ["%s: %s" % (name, printable(why, 160)) if why else name
             for name, why in refused.items() if why is not None]
    told = "" in refused.values()
    if waiting:
        words.append("it will be sent again" if kept else
                     "it could not be kept for later: " + (store.trouble or "the spool is full"))
    document = store.incidents.read(alert.incident) if alert.incident else None
    if document is not None:
        note = {"at": clock.stamp(now.wall), "told": words, "waiting": bool(waiting)}
        store.incidents.amend(alert.incident, alerts=dict(document["alerts"], **{alert.kind: note}))
    return Outcome(step, OK if told else FAILED, time.monotonic() - began,
                   "told: " + "; ".join(words) if words else "nobody could be told", {"waiting": bool(waiting)})


# --- who is told: each says why it failed, "" when it took the alert, None when it is not wanted

def _to_journal(alert):
    text = "%s: %s%s" % (alert.unit, alert.because, ". To do: " + alert.advice if alert.advice else "")
    return "" if journal(alert.kind, text, unit=alert.unit, cause=alert.cause,
                         verdict="escalated" if alert.kind == "firing" else "recovered",
                         incident=alert.incident) else "it did not take it"


def _to_terminals(alert, settings, course, run):
    if not settings.recovery.wall:
        return None
    if course.terminals_hang:
        return "it did not end before"
    words = "Citadel on %s: %s %s: %s" % (
        alert.host, alert.unit, "needs a person" if alert.kind == "firing" else "is well again", alert.because)
    if alert.advice:
        words += ". To do: " + alert.advice
    answer = run(["wall"], WALL, stdin=printable(words, 600).encode("utf-8", "replace") + b"\n")
    course.terminals_hang = answer.timed_out
    return "" if answer.ok else answer.complaint()


def _to_hook(alert, settings, run):
    if not settings.hook.command:
        return None
    why = untrusted(settings.hook.command)
    if why:
        return why
    answer = run([settings.hook.command], settings.hook.timeout, stdin=to_json(as_data(alert)))
    return "" if answer.ok else answer.complaint()


def _to_hook_in_its_turn(letter, kept, settings, store, run):
    """In the middle of a pass: not before what the hook has not heard of the same service, nor once more where it has
    failed or taken long enough. But what the spool does not keep has no other turn."""
    course = _course(store)
    if kept and any("hook" in one.waiting and one.alert.unit == letter.alert.unit and one.name != letter.name
                    for one in letters_in(store)):
        return "what it was not told before goes first"
    if kept and course.hook_failed:
        return "it failed before in this pass"
    if kept and course.hook_seconds >= RETRYING:
        return "its turn is at the end of the pass"
    began = time.monotonic()
    why = _to_hook(letter.alert, settings, run)
    course.hook_seconds += time.monotonic() - began
    course.hook_failed = bool(why)
    return why


def send_to_alertmanagers(settings, store, now, run=run_program, letter=None, most=ALERTMANAGER):
    """Sends every Alertmanager what they have not taken yet (`letter` too, were the spool full), and again what still
    fires, within `most` seconds; what one of them takes counts as taken, as they are one cluster or alike. (names of
    the letters that were taken, why not all were).

    Of alerts with the same labels only the oldest goes: one that begins and ends in one message is never notified by
    Alertmanager, and an older end would end a newer beginning. Who has not taken what another took is left out for the
    rest of the pass: it would only use up the time of the alerts to come.
    """
    from citadel.tell import alertmanager

    course = _course(store)
    letters = [one for one in letters_in(store) if "alertmanager" in one.waiting]
    kept = {one.name for one in letters}
    if letter and letter.name not in kept:
        letters.append(letter)
    due = _due(letters, firing(store), course.late, now)
    urls = [url for url in settings.alertmanager.urls if url not in course.passed_over]
    left = min(most, ALERTMANAGER - course.seconds)
    if not due or left < 0.1:
        return [], "their time in this pass is used up" if due else ""
    began = time.monotonic()
    told = alertmanager.tell(urls, [one.alert for one in due], now.wall, left, settings.alertmanager.credentials, run)
    course.seconds += time.monotonic() - began
    if "" in told.answers.values():
        course.passed_over.update(url for url, why in told.answers.items() if why)
    why = "" if all(told.taken) else alertmanager.summary(told.answers)
    _note_refusal(why, store)
    gone = [one for one, taken in zip(due, told.taken) if taken]
    if gone:
        course.sent = time.monotonic()
    for one in gone:
        if one.name in kept:
            _note_waiting(one, [name for name in one.waiting if name != "alertmanager"], store)
    _note_late([one.alert for one in gone if one.name in kept and not (letter and one.name == letter.name)], store, now)
    return [one.name for one in gone if one.name], why


def _due(letters, burning, late, now):
    """The Letters for Alertmanager whose turn it is, one of each identity; those without a name are no letters but sent
    again. Pure. While what follows an alert that was told late is held back, that alert is sent again, lest it ends;
    but what fires now is not held back, for a person should know."""
    due = {}
    for one in letters:
        identity = _identity(one.alert)
        told = late.get(identity)
        is_open = one.alert.kind == "firing" and one.alert.incident in burning
        if told and not is_open and age(told[0], now) < HELD:
            due.setdefault(identity, Letter("", told[1], ()) if told[1].kind == "firing" else None)
        else:
            due.setdefault(identity, one)
    for _, alert in sorted(burning.items()):
        due.setdefault(_identity(alert), Letter("", alert, ()))
    return [one for one in due.values() if one is not None]


def _identity(alert):
    from citadel.tell import alertmanager
    return to_json(alertmanager.labels(alert))


def keep_firing(settings, store, run=run_program):
    """For a pass that lasts: sends what fires again when that is due. It takes AGAIN_SHARE at most, and is given up for
    this pass when nobody takes it, so that the calls which may yet come find their time."""
    course = _course(store)
    if (settings.alertmanager.urls and course.sends_again and time.monotonic() - course.sent >= AGAIN
            and store.files.names("firing")):
        course.sends_again = not send_to_alertmanagers(settings, store, store.now(), run, most=AGAIN_SHARE)[1]


def send_to_hook(settings, store, run=run_program):
    """Gives the hook what it has not taken yet, oldest first, until it refuses one or RETRYING is over; nothing where
    it has refused one in this pass."""
    if _course(store).hook_failed:
        return
    end = time.monotonic() + RETRYING
    for letter in letters_in(store):
        if "hook" in letter.waiting:
            if time.monotonic() >= end or _to_hook(letter.alert, settings, run):
                break
            _note_waiting(letter, [name for name in letter.waiting if name != "hook"], store)


def as_data(alert):
    """What the hook reads on its stdin."""
    data = dict(alert._asdict(), schema=1)
    for name in ("started", "ended"):
        data[name] = None if data[name] is None else clock.stamp(data[name])
    return data


# --- the spool

def _spool(letter, store):
    """Keeps an alert until it is taken; whether it is kept. When the spool is full those in it stay, for they tell how
    it began, and the new one is only counted."""
    try:
        if notes.spooled(store.files.path) < MOST_SPOOLED:
            store.files.write(letter.name, _letter_as_json(letter))
            return True
        dropped = notes.dropped(store.files.path) + 1
        store.files.write(notes.DROPPED, b"%d\n" % dropped)
        store.trouble = "the spool is full, %d alerts were dropped" % dropped
    except (OSError, CitadelError) as error:
        store.trouble = "an alert could not be kept for later: %s" % error
    return False


def _note_refusal(why, store):
    """For `check` to say: why the Alertmanagers did not take what waits."""
    if not why:
        store.files.remove(REFUSED)
        return
    try:
        store.files.write(REFUSED, why.encode("ascii", "backslashreplace"))
    except (OSError, CitadelError) as error:
        store.trouble = "%s could not be written: %s" % (REFUSED, error)


def _told_late(store):
    """{identity: (Moment, Alert)} of what Alertmanager was told late and within HELD; none where that is not known."""
    found = {}
    try:
        for moment, words in from_json(store.files.read(TOLD_LATE) or b"[]"):
            then, alert = Moment(*moment), _alert_in(words)
            if age(then, store.now()) < HELD:
                found[_identity(alert)] = then, alert
    except (OSError, ValueError, TypeError):
        store.files.remove(TOLD_LATE)
    return found


def _note_late(alerts, store, now):
    """Notes when these were told late, and forgets what nothing needs to wait for any more."""
    course = _course(store)
    before = len(course.late)
    course.late = {identity: told for identity, told in course.late.items() if age(told[0], now) < HELD}
    course.late.update((_identity(one), (Moment(now.wall, now.boottime, now.boot_id), one)) for one in alerts)
    if not alerts and len(course.late) == before:
        return
    try:
        if course.late:
            store.files.write(TOLD_LATE, to_json([[list(moment), dict(alert._asdict())]
                                                  for moment, alert in course.late.values()]))
        else:
            store.files.remove(TOLD_LATE)
    except (OSError, CitadelError) as error:
        store.trouble = "what follows an alert may come too early: %s" % error


def _letter_as_json(letter):
    return to_json(dict(letter.alert._asdict(), schema=1, waiting=list(letter.waiting)))


def _note_waiting(letter, waiting, store):
    """Who has still to take it; nobody: it leaves the spool."""
    if waiting and list(waiting) != list(letter.waiting):
        try:
            store.files.write(letter.name, _letter_as_json(letter._replace(waiting=waiting)))
        except (OSError, CitadelError) as error:
            store.trouble = "an alert may be sent a second time: %s" % error
    elif not waiting:
        store.files.remove(letter.name)


def letters_in(store):
    """What waits, oldest first. What cannot be understood is set aside."""
    letters = []
    for entry in store.files.names("spool"):
        name = "spool/" + entry
        if entry.endswith(".json"):
            try:
                document = from_json(store.files.read(name, 65536) or b"")
                letters.append(Letter(name, _alert_in(document), _waiting_in(document)))
            except (OSError, ValueError):
                store.files.set_aside(name)
    return letters


def _note_firing(alert, store):
    name = "firing/%s.json" % alert.incident
    if alert.kind == "resolved":
        store.files.remove(name)
    elif alert.incident:
        try:
            store.files.write(name, to_json(dict(alert._asdict(), schema=1)))
        except (OSError, CitadelError) as error:
            store.trouble = "an alert will not be sent again while it lasts: %s" % error


def firing(store):
    """The alerts that were raised and not yet resolved, by their incidents."""
    found = {}
    for entry in store.files.names("firing"):
        try:
            alert = _alert_in(from_json(store.files.read("firing/" + entry, 65536) or b""))
            if entry != alert.incident + ".json":
                raise ValueError("not what it is called")
            found[alert.incident] = alert
        except (OSError, ValueError):
            store.files.remove("firing/" + entry)
    return found


def send_spooled(settings, store, run=run_program):
    """Sends what waits, oldest first, until one is refused or RETRYING is over; how many left the spool. A receiver
    that is in the settings no more has nothing to wait for."""
    _end_what_is_over(store)
    letters = letters_in(store)
    for letter in letters:
        _note_waiting(letter, [name for name in letter.waiting if (
            settings.alertmanager.urls if name == "alertmanager" else settings.hook.command)], store)
    if settings.alertmanager.urls:
        send_to_alertmanagers(settings, store, store.now(), run)
    send_to_hook(settings, store, run)
    store.course = None                     # the pass ends here
    return len(letters) - notes.spooled(store.files.path)


def _end_what_is_over(store):
    """An alert whose incident is open no more, since the record was lost or we died while closing it: nobody else will
    ever resolve it."""
    for incident, alert in firing(store).items():
        if store.of(alert.unit).history().incident == incident:
            continue
        over = alert._replace(kind="resolved", because="its incident is on record as open no more", advice="",
                              ended=store.now().wall)
        if _spool(Letter("spool/%s-resolved.json" % incident, over, RECEIVERS), store):
            store.files.remove("firing/%s.json" % incident)


def _waiting_in(document):
    waiting = document.get("waiting", ["hook"])         # as 1.0 kept it
    if not isinstance(waiting, list) or set(map(str, waiting)) - set(RECEIVERS):
        raise ValueError("not a list of receivers")
    return waiting


def _alert_in(document):
    if not isinstance(document, dict) or set(Alert._fields) - set(document):
        raise ValueError("not an alert")
    alert = Alert(**{field: document[field] for field in Alert._fields})
    numbers = (alert.started, alert.ended if alert.ended is not None else 0)
    texts = [value for field, value in alert._asdict().items() if field not in ("started", "ended")]
    if not all(isinstance(one, str) for one in texts) or not all(
            isinstance(one, (int, float)) and 0 <= one < 1e11 for one in numbers):
        raise ValueError("not an alert")
    return alert
