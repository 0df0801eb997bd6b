"""The alerts on disk: spool/ holds what a receiver has still to take, firing/ what was raised and is not resolved.

An alert is put into the spool before it is sent, and leaves it when every receiver that can lose it (RECEIVERS) has
taken it: a crash between sending and noting sends it twice, never not at all.
"""

from collections import namedtuple

from citadel.core.atomic import from_json, to_json
from citadel.core.errors import CitadelError
from citadel.model import Alert
from citadel.record import forms, notes

RECEIVERS = ("alertmanager", "hook")
TOLD_LATE = "spool/told-late"
MOST_SPOOLED = 100
NOT_KEPT = "an alert could not be kept for later"
OLDER_FIRST = "an older alert must be taken first"

Letter = namedtuple("Letter", "name alert waiting")
Letter.__doc__ = "An alert in the spool: its file, and which of the RECEIVERS have not taken it yet."


def _write(name, data, store, trouble):
    """Whether a file was written; where not, `trouble` and the reason are said by the pass. No data: it is removed."""
    try:
        if data:
            store.files.write(name, data)
        else:
            store.files.remove(name)
        return True
    except (OSError, CitadelError) as error:
        store.state.trouble = "%s: %s" % (trouble, error)
        return False


def keep(letter, store):
    """Keeps an alert until it is taken; whether it could. A full spool keeps the older ones: they tell how it began."""
    if notes.spooled(store.files.path) < MOST_SPOOLED:
        return _write(letter.name, _as_json(letter.alert, waiting=list(letter.waiting)), store, NOT_KEPT)
    dropped = notes.dropped(store.files.path) + 1
    if _write(notes.DROPPED, b"%d\n" % dropped, store, NOT_KEPT):
        store.state.trouble = "the spool is full, %d alerts were dropped" % dropped
    return False


def _as_json(alert, **more):
    return to_json(dict(alert._asdict(), schema=1, **more))


def note_taken(letter, name, store):
    note_waiting(letter, [one for one in letter.waiting if one != name], store)


def note_waiting(letter, waiting, store):
    """Who has still to take it; nobody: it leaves the spool."""
    if not waiting:
        store.files.remove(letter.name)
    elif list(waiting) != list(letter.waiting):
        _write(letter.name, _as_json(letter.alert, waiting=list(waiting)), store, "an alert may be sent a second time")


def letters_in(store):
    """What waits, oldest first. What cannot be understood is set aside."""
    letters = []
    for entry in store.files.names("spool"):
        name = "spool/" + entry
        if entry.endswith(".json"):
            try:
                document = from_json(store.files.read(name, 65536) or b"")
                letter = Letter(name, _alert_in(document), document.get("waiting", ["hook"]))       # 1.0 had no list
                if not isinstance(letter.waiting, list) or set(map(str, letter.waiting)) - set(RECEIVERS):
                    raise ValueError("not a list of receivers")
                letters.append(letter)
            except (OSError, ValueError):
                store.files.set_aside(name)
    return letters


def note_firing(alert, store):
    """Notes that this fires, or, when it is resolved, that it does so no more."""
    name = "firing/%s.json" % alert.incident
    if alert.kind == "resolved":
        store.files.remove(name)
    elif alert.incident:
        _write(name, _as_json(alert), store, "a firing alert will not be sent again")


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


def note_refusal(why, store):
    """For `check` to say: why no Alertmanager took what waits, "" when one did."""
    _write(notes.REFUSED, why.encode("ascii", "backslashreplace"), store, notes.REFUSED + " could not be written")


def told_late(store):
    """[(Moment, Alert)] of what Alertmanager was told late; none where that is not known."""
    try:
        return [(forms.moment(moment), _alert_in(words))
                for moment, words in from_json(store.files.read(TOLD_LATE) or b"[]")]
    except (OSError, ValueError, TypeError):
        store.files.remove(TOLD_LATE)
        return []


def note_late(told, store):
    data = to_json([[list(moment), dict(alert._asdict())] for moment, alert in told]) if told else b""
    _write(TOLD_LATE, data, store, "the resolution of an alert may be sent too early")


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
