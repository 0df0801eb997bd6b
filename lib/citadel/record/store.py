"""The record on disk: who is at work, what was tried, what is open, what an operator asked for.

Everything lives below one directory of root's (directory.py tells how it is written):

    lock                     held for the length of a pass; names its holder
    state.json               per service: attempts, level, escalation, the open incident; with a checksum (state.py)
    incidents/ID.json        one file an incident, with its evidence beside it (incidents.py, evidence.py)
    open                     the open incidents, a line each ("ID UNIT"): what `check` reads where JSON is too dear
    maintenance.json, stops/UNIT.json, resets/UNIT.json     what operators decided (intent.py)
    spool/, firing/          alerts that wait to be taken, and those that last (tell/)
    reserve                  room to write in when the disk is full

What an earlier boot noted is aged by the wall clock, and is at least as old as this boot (clock.age). So neither a
reboot hands out a fresh budget, nor does a clock that was stepped back make us wait for years.
"""

import fcntl
import os
from contextlib import contextmanager

from citadel.core import clock
from citadel.core.atomic import from_json, to_json
from citadel.core.errors import CannotLook, LockHeld
from citadel.core.text import printable
from citadel.record import forms
from citadel.record.directory import Directory
from citadel.record.incidents import Incidents
from citadel.record.intent import Intent
from citadel.record.service import ServiceRecord, adopt
from citadel.record.state import State

DIRECTORY = "/var/lib/citadel-recovery"
FALLBACK = "/run/citadel-recovery"
MOST_INCIDENTS = 500
SUBDIRECTORIES = ("incidents", "stops", "resets", "spool", "firing")


class Store:
    """The door to the record. `now` gives a clock.Now; `fallback` is a directory in RAM, by default FALLBACK for the
    host's own record, and for any other one beside it. Without `lock` it only reads, but for `intent`.

    `trouble` holds the sentence of the last write that failed: writing may fail without stopping a recovery, except
    that `count_attempt` then says so."""

    def __init__(self, directory=DIRECTORY, now=clock.now, fallback=None, most_incidents=MOST_INCIDENTS,
                 open_directory=Directory):
        self.files, self.now = open_directory(directory), now
        self.course = None              # how the telling goes in this pass (tell/alerts.py)
        memory = open_directory(fallback or (FALLBACK if directory == DIRECTORY else directory + ".ram"))
        self.state = State(self.files, memory, now, self._rebuild)
        self.incidents = Incidents(self.state, most_incidents)
        self.intent = Intent(self.files, now)

    def of(self, unit):
        return ServiceRecord(unit, self.state, self.incidents)

    @property
    def trouble(self):
        return self.state.trouble

    def forget_loss(self):
        """For the operator's `reset`: attempts that were lost no longer count as made."""
        self.state.load()["lost"] = None
        return self.state.save()

    def _rebuild(self, services):
        for unit, document in self.incidents.left_open(services).items():
            adopt(services.setdefault(unit, forms.new_service()), document, self.state.moment())

    @contextmanager
    def lock(self, trigger):
        """Held for a pass. LockHeld at once, with holder and age, when another is at work; NotPermitted: not ours."""
        descriptor = self._open_lock()
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockHeld("another pass holds the lock" + self._holder(descriptor))
            self._sign(descriptor, trigger)
            self.state.lock(True)
            self.files.sweep(*SUBDIRECTORIES)
            self.files.keep_reserve()
            yield self
        finally:
            self.state.lock(False)
            os.close(descriptor)

    def _open_lock(self):
        """The lock's descriptor. On a disk that is full or read-only: the same file, only read; or one in RAM."""
        why = None
        for files, flags in ((self.files, os.O_RDWR | os.O_CREAT), (self.files, os.O_RDONLY),
                             (self.state.memory, os.O_RDWR | os.O_CREAT)):
            try:
                return os.open("lock", flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=files.open(create=True))
            except OSError as error:
                why = why or error
        raise CannotLook("%s/lock: %s" % (self.files.path, why.strerror))

    def _sign(self, descriptor, trigger):
        words = {"pid": os.getpid(), "boottime": self.now().boottime,
                 "command": "citadel-recovery-handler --trigger %s" % trigger}
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, to_json(words), 0)
        except OSError as error:
            self.state.trouble = "the lock is held without a name: %s" % error.strerror

    def _holder(self, descriptor):
        try:
            words = from_json(os.pread(descriptor, 4096, 0))
            return ": PID %d, %s, for %.0f s" % (words["pid"], printable(words["command"], 100),
                                                 max(0.0, self.now().boottime - words["boottime"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return ""
