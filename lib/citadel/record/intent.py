"""What operators decided, on disk: a maintenance, a stop, a reset. Each is a small file that its verb writes at once,
beside a pass and without its lock.
"""

from collections import namedtuple

from citadel.core.atomic import from_json, to_json
from citadel.core.clock import age
from citadel.core.errors import NotPermitted, UsageError
from citadel.model import Stop
from citadel.record import forms

MAINTENANCE = "maintenance.json"
LONGEST_MAINTENANCE = 7 * 86400         # seconds
LARGEST = 4096                          # bytes of one note
STOPPED_BY = ("crash", "restart", "dependency", "shutdown", "operator")
UNREADABLE = (ValueError, TypeError, KeyError, OSError)

Maintenance = namedtuple("Maintenance", "reason left who since")
Maintenance.__doc__ = "An active maintenance: `left` seconds to run, `since` the wall time of its start."


class Intent:
    """The notes in `files` (directory.Directory). What writes raises OSError when it could not be noted."""

    def __init__(self, files, now):
        self.files, self.now = files, now

    def _read(self, name):
        """The note; None, which has no fields (TypeError), when there is none."""
        return from_json(self.files.read(name, LARGEST) or b"null")

    def maintenance(self):
        """The active Maintenance, or None. What cannot be understood is none: a file that nobody can read must not
        switch recovery off."""
        try:
            words = self._read(MAINTENANCE)
            seconds, moment = words["seconds"], forms.moment(words["moment"])
            left = seconds - age(moment, self.now())
            if forms.is_number(seconds) and seconds <= LONGEST_MAINTENANCE and left > 0:
                return Maintenance(forms.text(words["reason"]), left, forms.text(words["who"]), moment.wall)
        except UNREADABLE:
            pass                        # as none
        return None

    def begin_maintenance(self, seconds, reason, who=""):
        """Mutes actions for so long, at most LONGEST_MAINTENANCE."""
        if not 0 < seconds <= LONGEST_MAINTENANCE:
            raise UsageError("maintenance lasts from 1 s to %d days" % (LONGEST_MAINTENANCE // 86400))
        self.files.write(MAINTENANCE, to_json({
            "schema": forms.SCHEMA, "seconds": seconds, "reason": str(reason)[:500], "who": str(who)[:100],
            "moment": forms.as_kept(self.now())}))

    def end_maintenance(self):
        """Whether there was one to end."""
        was = self.maintenance() is not None
        self.files.remove(MAINTENANCE)
        return was

    def note_stop(self, unit, stop):
        """Keeps a model.Stop for the passes to come; called by the unit's ExecStopPost=."""
        self.files.write("stops/%s.json" % forms.unit_name(unit), to_json({
            "schema": forms.SCHEMA, "by": stop.by, "dependency": stop.dependency, "invocation": stop.invocation,
            "moment": forms.as_kept(self.now())}))

    def stop_note(self, unit):
        """The newest note as a model.Stop with its age; an empty Stop when there is none that can be read."""
        try:
            words = self._read("stops/%s.json" % forms.unit_name(unit))
            if words["by"] in STOPPED_BY:
                return Stop(words["by"], forms.text(words["dependency"]), forms.text(words["invocation"]),
                            age(forms.moment(words["moment"]), self.now()))
        except UNREADABLE:
            pass                        # as none
        return Stop()

    def note_reset(self, unit):
        """Notes that the unit's start counter was cleared just now: PID 1 neither says so in the journal nor shows the
        counter. Where this fails, a drill counts too many starts, which errs on the safe side."""
        now = self.now()
        self.files.write("resets/%s.json" % unit, to_json({"boot_id": now.boot_id, "monotonic": now.monotonic}))

    def since_reset(self, unit):
        """Seconds since we last cleared the unit's start counter, None when that is not known."""
        try:
            note, now = self._read("resets/%s.json" % unit), self.now()
            return max(0.0, now.monotonic - float(note["monotonic"])) if note["boot_id"] == now.boot_id else None
        except UNREADABLE + (NotPermitted,):
            return None
