"""state.json: what passes know of each service, from one to the next.

It is written twice, first to a directory in RAM, then to disk, and the newer one that can be understood counts. So a
spoilt file costs nothing until the next boot; it is set aside. When both are spoilt, every attempt is taken as made,
for one window: `lost` then says how long ago that was. When the disk does not take it (full, read-only), the next pass
still knows of the incident and of the alert that was sent; but as a reboot would forget that, only one attempt a window
is granted then, and none when RAM fails, too.
"""

from citadel.core.atomic import from_json, to_json
from citadel.core.clock import Moment, age
from citadel.core.errors import NotPermitted
from citadel.core.text import printable
from citadel.record import forms

FILE = "state.json"
FORGOTTEN_AFTER = 7 * 86400             # seconds; no window is longer than a day: what is a week old limits nothing


class State:
    """The state, read when it is first asked for. `files` is on disk, `memory` in RAM (directory.Directory);
    `rebuild(services)` fills in what incident files still tell after a loss. Without `locked` it only reads.
    `trouble` holds the sentence of the last write that failed, "" for none."""

    def __init__(self, files, memory, now, rebuild):
        self.files, self.memory, self.now, self._rebuild = files, memory, now, rebuild
        self.locked, self.trouble, self._state = False, "", None

    def lock(self, locked):
        self.locked, self._state = locked, None if locked else self._state

    def services(self):
        return self.load()["services"]

    def of(self, unit):
        """The state of one service, to be changed and saved."""
        return self.services().setdefault(unit, forms.new_service())

    def moment(self):
        """Now, as it is kept."""
        return forms.as_kept(self.now())

    def load(self):
        """{"services", "lost", "serial"}; read once a pass; without the lock each time, as a pass may be writing it."""
        if self._state is not None and self.locked:
            return self._state
        state, why = self._on_disk()
        in_memory = self._in_memory()
        if in_memory and in_memory["serial"] > state["serial"]:
            state = in_memory
        self._state = state
        if why and state is in_memory:
            self.trouble = "%s could not be read (%s), going on with its copy in %s" % (
                FILE, printable(why), self.memory.path)
        elif why:
            self._rebuild(state["services"])
            state["lost"] = self.moment()
            self.trouble = "%s could not be read (%s), going on with a smaller budget" % (FILE, printable(why))
        if why and self.locked:
            self.save()
        return state

    def _on_disk(self):
        """(state, why the one on disk is not it)."""
        empty = {"services": {}, "lost": None, "serial": 0}
        try:
            data = self.files.read(FILE)
            if data is not None:
                return forms.state_in(data), ""
            return empty, "it is gone, and incidents are on record" if self._was_used() else ""
        except ValueError as error:
            if self.locked:
                self.files.set_aside(FILE)
            return empty, str(error)
        except OSError as error:
            return empty, error.strerror

    def _in_memory(self):
        try:
            return forms.state_in(self.memory.read(FILE) or b"")
        except (ValueError, OSError, NotPermitted):
            return None

    def _was_used(self):
        """Whether there was a state once: then its absence is a loss, and not the first day."""
        return bool(self.files.names("incidents")) or any(
            name.startswith(FILE + ".corrupt-") for name in self.files.names())

    def save(self):
        """Writes the state; whether it is on disk now."""
        now = self.now()
        for service in self._state["services"].values():
            service["attempts"] = [one for one in service["attempts"] if age(Moment(*one[0]), now) < FORGOTTEN_AFTER]
        self._state["serial"] += 1
        document = {"schema": forms.SCHEMA, "sha256": forms.checksum(self._state), "state": self._state}
        try:
            self.memory.write(FILE, to_json(document))
        except (OSError, NotPermitted):
            self.memory.remove(FILE)            # an older copy must not come back
        return self.write(FILE, document)

    def write(self, name, document):
        """Writes one document of the record; whether the disk took it."""
        try:
            self.files.write(name, to_json(document))
            return True
        except OSError as error:
            self.trouble = "%s/%s could not be written: %s" % (self.files.path, name, error.strerror)
            return False

    def grant_from_memory(self, unit, window):
        """One attempt a window, noted in RAM. A note that cannot be read costs a window, too."""
        name = "attempt-%s.json" % unit
        try:
            try:
                data = self.memory.read(name, 4096)
                granted = data is None or age(forms.moment(from_json(data)), self.now()) >= window
                if not granted:
                    return False
            except (ValueError, OSError):
                granted = False
            self.memory.write(name, to_json(self.moment()))
            return granted
        except (OSError, NotPermitted):
            return False
