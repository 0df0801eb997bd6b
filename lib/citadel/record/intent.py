"""What operators decided, kept on disk."""

from citadel.core.atomic import from_json, to_json
from citadel.core.errors import NotPermitted


def note_reset(files, unit, now):
    """Notes that the unit's start counter was cleared just now: PID 1 neither says so in the journal nor shows the
    counter. `files` is a durable.Directory, `now` clock.now()'s answer. OSError when it could not be noted; a drill
    then counts too many starts, which errs on the safe side."""
    files.write("resets/%s.json" % unit, to_json({"boot_id": now.boot_id, "monotonic": now.monotonic}))


def since_reset(files, unit, now):
    """Seconds since the unit's start counter was last cleared by us, None when that is not known to have been."""
    try:
        note = from_json(files.read("resets/%s.json" % unit, 4096) or b"null")
        if note is None or note["boot_id"] != now.boot_id:
            return None
        return max(0.0, now.monotonic - float(note["monotonic"]))
    except (ValueError, TypeError, KeyError, OSError, NotPermitted):
        return None
