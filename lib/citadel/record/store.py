"""The record on disk: who is at work, what was tried, what is open, what a person asked for.

Everything lives below one directory of root's (durable.py tells how it is written):

    lock                     held for the length of a pass; names its holder
    state.json               per service: attempts, level, escalation, the open incident; with a checksum
    incidents/ID.json        one file an incident, from its first symptom to its resolution
    open                     the open incidents, a line each ("ID UNIT"): what `check` reads where JSON is too dear
    maintenance.json         "hands off until ..."; always expires
    spool/, firing/          alerts that wait to be taken, and those that last (alerts.py)
    stops/UNIT.json          who stopped the service, noted by its ExecStopPost=
    reserve                  room to write in when the disk is full

Durations are taken by CLOCK_BOOTTIME within one boot. For what an earlier boot noted, the wall clock is asked, and
bounded by what is certain: it is at least as old as this boot. So neither a reboot hands out a fresh budget, nor does
a clock that was stepped back make us wait for years.

The state is written twice, first to FALLBACK, which is RAM, then here, and the newer one that can be understood counts.
So a spoilt file costs nothing until the next boot; it is set aside. When both are spoilt, all is taken as spent, for
one window: `History.lost` then says how long ago that was. When the disk does not take it (full, read-only), the next
pass still knows of the incident and whom it has called; but as a reboot would forget that, only one attempt a window
is granted then, and none when RAM fails, too.
"""

import fcntl
import hashlib
import os
import time
from collections import namedtuple
from contextlib import contextmanager

from citadel.core import clock
from citadel.core.atomic import Directory, from_json, to_json
from citadel.core.clock import Moment, age
from citadel.core.errors import CannotLook, LockHeld, NotPermitted, UsageError
from citadel.core.text import printable
from citadel.model import Attempt, Escalation, Stop
from citadel.record.notes import INCIDENTS, OPEN
from citadel.settings.values import valid_name

DIRECTORY = "/var/lib/citadel-recovery"
FALLBACK = "/run/citadel-recovery"
SCHEMA = 1
MOST_ATTEMPTS = 200
MOST_STEPS = 500
MOST_INCIDENTS = 500
MOST_CAUSES = 100
NEWEST = 20                             # incidents among which one is looked for that the record has lost
LONGEST_MAINTENANCE = 7 * 86400
FORGOTTEN_AFTER = 7 * 86400             # no window is longer than a day; what is a week old limits nothing

History = namedtuple("History", "attempts level incident escalation healthy_for seen last_pass lost open_for "
                                "spell_for relapsed")
History.__new__.__defaults__ = ((), 0, "", None, None, {}, None, None, None, None, False)
History.__doc__ = """What is on record of one service; ages in seconds, None for never.

`attempts` newest first, `seen` passes in a row by cause (0: it was seen, but not by the last pass),
`spell_for` since the illness began whose end was not lasting yet: an incident is over when the service is well, the
spell when it was well for long enough, and till then the `level` stays; `relapsed`: the open incident is not its first,
`lost` the age of a loss of the state: until it is a window old, the attempts that were lost must be taken as made."""

Maintenance = namedtuple("Maintenance", "reason left who since")
Maintenance.__doc__ = "An active maintenance: `left` seconds to run, `since` the wall time of its start."

Summary = namedtuple("Summary", "incidents resolved mttr mtbf")
Summary.__doc__ = """`mttr`: mean seconds from an incident's start to its resolution; `mtbf`: mean seconds from one
incident's start to the next one's (same service). None where there are too few to say."""


class Store:
    """The record, read when it is first asked for. `now` gives a clock.Now; `fallback` is a directory in RAM, by
    default FALLBACK for the host's own record, and for any other one beside it.

    Without `lock` it only reads. `trouble` holds the sentence of the last write that failed: writing may fail without
    stopping a recovery, except that `count_attempt` then says so.
    """

    def __init__(self, directory=DIRECTORY, now=clock.now, fallback=None, most_incidents=MOST_INCIDENTS,
                 open_directory=Directory):
        self.files = open_directory(directory)
        self.now = now
        self.trouble = ""
        self.course = None              # how the telling goes in this pass (alerts.py)
        self._fallback = open_directory(fallback or (FALLBACK if directory == DIRECTORY else directory + ".ram"))
        self._most_incidents = most_incidents
        self._locked = False
        self._state = None

    # --- one pass at a time

    @contextmanager
    def lock(self, trigger):
        """Held for a pass; LockHeld, with its holder and age, when another is at work; NotPermitted for others than
        the owner. Waits for nobody."""
        descriptor = self._open_lock()
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockHeld("another pass holds the lock" + self._holder(descriptor))
            self._sign(descriptor, trigger)
            self._locked, self._state = True, None
            self.files.sweep("incidents", "stops", "spool", "firing")
            self.files.keep_reserve()
            yield self
        finally:
            self._locked = False
            os.close(descriptor)

    def _open_lock(self):
        """The lock's descriptor. On a disk that is full or read-only: the same file, only read; or one in RAM."""
        why = None
        for files, flags in ((self.files, os.O_RDWR | os.O_CREAT), (self.files, os.O_RDONLY),
                             (self._fallback, os.O_RDWR | os.O_CREAT)):
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
            self.trouble = "the lock is held without a name: %s" % error.strerror

    def _holder(self, descriptor):
        try:
            words = from_json(os.pread(descriptor, 4096, 0))
            return ": PID %d, %s, for %.0f s" % (words["pid"], printable(words["command"], 100),
                                                 max(0.0, self.now().boottime - words["boottime"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return ""

    # --- state

    def history(self, unit):
        """What is on record of that service, as History."""
        service = self._load()["services"].get(unit) or _new_service()
        state, now = self._load(), self.now()

        def since(moment):
            return None if moment is None else age(Moment(*moment), now)

        attempts = [Attempt(since(moment), what, level) for moment, what, level in service["attempts"]]
        escalated = service["escalated"]
        incident = service["incident"]
        return History(
            attempts=tuple(sorted(attempts, key=lambda attempt: attempt.age)), level=service["level"],
            incident=incident, escalation=Escalation(escalated[0], since(escalated[1]), escalated[3])
            if escalated and incident and escalated[2] == incident else None,
            healthy_for=since(service["healthy_since"]), seen=dict(service["seen"]),
            last_pass=since(service["last_pass"]), lost=since(state["lost"]),
            open_for=since(service["opened"]) if incident else None,
            spell_for=since(service["spell"][0]) if service["spell"] else None,
            relapsed=bool(incident and service["spell"] and service["spell"][2] != incident))

    def services(self):
        """The names of the services that have a record."""
        return sorted(self._load()["services"])

    def count_attempt(self, unit, what, level=0, window=1800):
        """Counts an attempt before it is made. Whether it may be made: not when it could be noted nowhere."""
        service = self._service(unit)
        service["attempts"] = (service["attempts"] + [[self._moment(), str(what)[:200], int(level)]])[-MOST_ATTEMPTS:]
        _tally(service, "attempts")
        return self._save() or self._grant_from_memory(unit, window)

    def mark_pass(self, unit, cause, healthy_forgets=600):
        """Notes that a pass looked at the service and what it found; "" is healthy. A service that was well for
        `healthy_forgets` seconds before this begins anew with its pauses, and on the first rung."""
        service = self._service(unit)
        service["last_pass"] = self._moment()
        if cause:
            healthy_since = service["healthy_since"]
            if (healthy_since and not service["incident"]       # while that is open it goes on
                    and age(Moment(*healthy_since), self.now()) >= healthy_forgets):
                service.update(escalated=None, spell=None, level=0)
            service["healthy_since"] = None
        elif service["healthy_since"] is None:
            service["healthy_since"] = self._moment()
        seen = service["seen"]
        in_a_row = seen.get(cause, 0) + 1
        seen.update(dict.fromkeys(seen, 0))
        if cause and (cause in seen or len(seen) < MOST_CAUSES):
            seen[cause] = in_a_row
        return self._save()

    def set_level(self, unit, level):
        """The rung of the ladder that the next attempt stands on."""
        self._service(unit)["level"] = int(level)
        return self._save()

    def mark_escalated(self, unit, cause=""):
        """A person was called for `cause`, or an attempt after that is about to be made: the pauses grow with the
        count."""
        service = self._service(unit)
        if not (service["escalated"] and service["incident"] and service["escalated"][2] == service["incident"]):
            _tally(service, "escalations")
        service["escalated"] = [(service["escalated"] or [0])[0] + 1, self._moment(), service["incident"], cause]
        return self._save()

    def forget(self, unit):
        """A clean slate: the operator's `reset`, or long enough healthy. What it held, as History. That a person was
        called in the incident that is open stays known: the all-clear is due, and no second call."""
        before = self.history(unit)
        service = self._service(unit)
        fresh = _new_service()
        for kept in ("incident", "opened", "last_pass", "healthy_since"):
            fresh[kept] = service[kept]
        if before.escalation is not None:
            fresh["escalated"] = [1] + service["escalated"][1:]
        service.update(fresh)
        self._save()
        return before

    def counts(self, unit):
        """What was ever counted of a service: "attempts", "escalations", the incidents that began, by the cause found
        first (INCIDENTS + cause), those that ended ("recovered", or "escalated" where a person was called), and the
        "seconds" that these lasted. What is not there is 0; no `reset` takes any of it back."""
        return dict((self._load()["services"].get(unit) or {}).get("counts", {}))

    def forget_loss(self):
        """The operator's `reset`: lost state no longer counts as spent."""
        self._load()["lost"] = None
        return self._save()

    def _moment(self):
        now = self.now()
        return [now.wall, now.boottime, now.boot_id]

    def _service(self, unit):
        return self._load()["services"].setdefault(unit, _new_service())

    def _load(self):
        """The state, read once a pass; without the lock each time, as another may be writing it."""
        if self._state is not None and self._locked:
            return self._state
        state, why = {"services": {}, "lost": None, "serial": 0}, ""
        try:
            data = self.files.read("state.json")
            if data is not None:
                state = _understood(data)
            elif self._was_used():
                why = "it is gone, and incidents are on record"
        except ValueError as error:
            why = str(error)
            if self._locked:
                self.files.set_aside("state.json")
        except OSError as error:
            why = error.strerror
        in_memory = self._state_in_memory()
        if in_memory and in_memory["serial"] > state["serial"]:
            state = in_memory
        if why and state is not in_memory:
            self._state = state
            for document in self._left_open():
                _adopt(state["services"].setdefault(document["unit"], _new_service()), document, self._moment())
        if why and state is in_memory:
            self.trouble = "state.json could not be read (%s), going on with its copy in %s" % (
                printable(why), self._fallback.path)
        elif why:
            state["lost"] = self._moment()
            self.trouble = "state.json could not be read (%s), going on with a smaller budget" % printable(why)
        self._state = state
        if why and self._locked:
            self._save()
        return state

    def _state_in_memory(self):
        """The copy in FALLBACK, or None."""
        try:
            return _understood(self._fallback.read("state.json") or b"")
        except (ValueError, OSError, NotPermitted):
            return None

    def _was_used(self):
        """Whether there was a state once: then its absence is a loss, and not the first day."""
        return bool(self.files.names("incidents")) or any(
            name.startswith("state.json.corrupt-") for name in self.files.names())

    def _save(self):
        """Writes the state; whether it is on disk now."""
        now = self.now()
        for service in self._state["services"].values():
            service["attempts"] = [one for one in service["attempts"] if age(Moment(*one[0]), now) < FORGOTTEN_AFTER]
        self._state["serial"] += 1
        document = {"schema": SCHEMA, "sha256": _checksum(self._state), "state": self._state}
        try:
            self._fallback.write("state.json", to_json(document))
        except (OSError, NotPermitted):
            self._fallback.remove("state.json")         # an older copy must not come back
        return self._write("state.json", document)

    def _write(self, name, document):
        try:
            self.files.write(name, to_json(document))
            return True
        except OSError as error:
            self.trouble = "%s/%s could not be written: %s" % (self.files.path, name, error.strerror)
            return False

    def _grant_from_memory(self, unit, window):
        """One attempt a window, noted in RAM. A note that cannot be read costs a window, too."""
        name, now = "attempt-%s.json" % unit, self.now()
        try:
            data = self._fallback.read(name, 4096)
            granted = data is None or age(_moment_in(from_json(data)), now) >= window
            spoilt = False
        except (ValueError, OSError):
            granted, spoilt = False, True
        except NotPermitted:
            return False
        try:
            if granted or spoilt:
                self._fallback.write(name, to_json(self._moment()))
        except (OSError, NotPermitted):
            return False
        return granted

    # --- incidents

    def open_incident(self, unit, cause, because, host="", trigger=""):
        """Begins an incident, or adds a further cause to the one that is open. Its id."""
        service = self._service(unit)
        if service["incident"]:
            self._add_cause(service["incident"], unit, cause, because)
            return service["incident"]
        left_open = self._left_open(unit)
        if left_open:                           # we died before its id was on record, or the record was lost
            _adopt(service, left_open, self._moment())
            _tally(service, _counted_as(service, left_open["causes"][0]["cause"] if left_open["causes"] else cause))
            self._add_cause(left_open["id"], unit, cause, because)
            self._save()
            self.list_open()
            return left_open["id"]
        name = self._new_id()
        service["incident"], service["opened"] = name, self._moment()
        _tally(service, _counted_as(service, cause))
        if not service["spell"] or service["spell"][1] != _kind(cause):
            service.update(spell=[self._moment(), _kind(cause), name], level=0)
        document = dict(_new_incident(name, unit, self._moment()), host=host, trigger=trigger)
        _count_cause(document, cause, because, self.now().wall)
        self._prune()
        self._write_incident(document)
        self._save()
        self.list_open()
        return name

    def append(self, name, step):
        """Adds a step and its outcome to an incident: a dict with do, target, because, outcome, seconds, detail."""
        document = self._incident_or_new(name)
        if len(document["steps"]) < MOST_STEPS:
            document["steps"].append(dict(step, at=clock.stamp(self.now().wall)))
        else:
            document["dropped_steps"] += 1
        return self._write_incident(document)

    def amend(self, name, **fields):
        """Sets fields of an incident: `bundle`, `escalated`, `alerts`."""
        return self._write_incident(dict(self._incident_or_new(name), **fields))

    def close_incident(self, unit, outcome):
        """Ends the open incident of a service; its document with `end` and `duration`, or None if there was none. It
        ended when the service became well, which may be a while ago; `outcome` is overruled by a call for a person."""
        service = self._service(unit)
        name = service["incident"]
        if not name:
            return None
        now = self.now()
        document = self._incident_or_new(name, unit)
        lasted = age(Moment(*(service["opened"] or document["opened"])), now)
        well_for = min(lasted, age(Moment(*service["healthy_since"]), now) if service["healthy_since"] else 0.0)
        called = bool(service["escalated"] and service["escalated"][2] == name)
        document.update(end=clock.stamp(now.wall - well_for), outcome="escalated" if called else outcome,
                        duration=round(lasted - well_for, 3))
        self._write_incident(document)
        _tally(service, "escalated" if called else "recovered")
        _tally(service, "seconds", document["duration"])
        service.update(incident="", opened=None, seen={}, closed=name)
        self._save()
        self.list_open()
        return document

    def list_open(self):
        """Brings OPEN up to date. Best effort: a pass does it again at its end."""
        words = "".join(sorted("%s %s\n" % (service["incident"], unit)
                               for unit, service in self._load()["services"].items() if service["incident"]))
        try:
            if words.encode() != (self.files.read(OPEN) or b""):
                self.files.write(OPEN, words.encode()) if words else self.files.remove(OPEN)
        except (OSError, NotPermitted) as error:
            self.trouble = "%s/%s could not be written: %s" % (self.files.path, OPEN, error)

    def incident(self, name):
        """The document of an incident, or None when there is none or it cannot be understood."""
        if not _is_incident_id(name):
            raise UsageError("%r is not an incident's id (like 20261123T180000-1)" % name)
        try:
            data = self.files.read("incidents/%s.json" % name)
            return None if data is None else _understood_incident(data, name)
        except (ValueError, OSError):
            return None

    def incidents(self, most=None, unit=None):
        """The documents of past and open incidents, newest first; those that cannot be understood are left out."""
        found = []
        for name in reversed(self._incident_ids()):
            if most is not None and len(found) >= most:
                break
            document = self.incident(name)
            if document and unit in (None, document["unit"]):
                found.append(document)
        return found

    def _left_open(self, unit=None):
        """The newest open incident of that service that nothing on record refers to, or None; without `unit`: those of
        all services."""
        referred = {name for service in self._state["services"].values()
                    for name in (service["incident"], service.get("closed"))}   # closed: the disk may not have taken it
        found = {}
        for document in self.incidents(most=NEWEST, unit=unit):
            if document["end"] is None and document["id"] not in referred and valid_name(document["unit"]):
                found.setdefault(document["unit"], document)
        return list(found.values()) if unit is None else found.get(unit)

    def summary(self, unit=None):
        """Summary over all incidents on record."""
        documents = self.incidents(unit=unit)
        durations = [one["duration"] for one in documents if one["duration"] is not None]
        starts = {}
        for one in documents:
            starts.setdefault(one["unit"], []).append(one["opened"][0])
        gaps = [late - early for one in starts.values() for early, late in zip(sorted(one), sorted(one)[1:])]
        return Summary(len(documents), len(durations), _mean(durations), _mean(gaps))

    def _incident_ids(self):
        names = [name[:-5] for name in self.files.names("incidents") if name.endswith(".json")]
        return sorted((name for name in names if _is_incident_id(name)), key=_id_order)

    def _new_id(self):
        stem = time.strftime("%Y%m%dT%H%M%S", time.gmtime(max(0, min(self.now().wall, 253402300799))))
        taken = set(self._incident_ids())               # and those of which the disk has not taken the file
        taken.update(service["incident"] for service in self._load()["services"].values())
        number = 1
        while "%s-%d" % (stem, number) in taken:
            number += 1
        return "%s-%d" % (stem, number)

    def _incident_or_new(self, name, unit=""):
        """The incident's document; when its file is lost or spoilt, one that begins anew under the same id."""
        document = self.incident(name)
        if document is None:
            path = "incidents/%s.json" % name
            if name in self._incident_ids() and self._locked:
                self.files.set_aside(path)
            owner = [one for one, service in self._load()["services"].items() if service["incident"] == name]
            opened = self._state["services"][owner[0]]["opened"] if owner else None
            document = _new_incident(name, unit or (owner[0] if owner else ""), opened or self._moment())
            document["damaged"] = True
        return document

    def _add_cause(self, name, unit, cause, because):
        document = self._incident_or_new(name, unit)
        if _count_cause(document, cause, because, self.now().wall):
            self._write_incident(document)

    def _write_incident(self, document):
        return self._write("incidents/%s.json" % document["id"], document)

    def _prune(self):
        """Makes room for one more: the oldest closed ones go, with their bundles."""
        names = self._incident_ids()
        still_open = {service["incident"] for service in self._load()["services"].values()}
        for name in [one for one in names if one not in still_open][:max(0, len(names) + 1 - self._most_incidents)]:
            for ending in (".json", ".tar.gz", ".tar.gz.sha256"):
                self.files.remove("incidents/" + name + ending)

    # --- the operator's word

    def maintenance(self):
        """The active Maintenance, or None. What cannot be understood is none: a marker that no one can read must
        not switch recovery off."""
        try:
            words = from_json(self.files.read("maintenance.json", 4096) or b"null")
            if words is None:
                return None
            seconds, moment = words["seconds"], _moment_in(words["moment"])
            if not _is_number(seconds) or not 0 < seconds <= LONGEST_MAINTENANCE:
                return None
            left = seconds - age(moment, self.now())
            if left <= 0:
                return None
            return Maintenance(printable(_string(words["reason"])), left, printable(_string(words["who"])), moment.wall)
        except (ValueError, TypeError, KeyError, OSError):
            return None

    def begin_maintenance(self, seconds, reason, who=""):
        """Mutes actions for so long, at most LONGEST_MAINTENANCE; OSError when it could not be noted."""
        if not 0 < seconds <= LONGEST_MAINTENANCE:
            raise UsageError("maintenance lasts from 1 s to %d days" % (LONGEST_MAINTENANCE // 86400))
        self.files.write("maintenance.json", to_json({
            "schema": SCHEMA, "seconds": seconds, "reason": str(reason)[:500], "who": str(who)[:100],
            "moment": self._moment()}))

    def end_maintenance(self):
        """Whether there was one to end."""
        was = self.maintenance() is not None
        self.files.remove("maintenance.json")
        return was

    # --- who stopped it

    def note_stop(self, unit, stop):
        """Keeps a facts.Stop for the passes to come. Called by ExecStopPost=, beside a pass and without its lock.
        OSError when it could not be noted."""
        self.files.write("stops/%s.json" % _unit_name(unit), to_json({
            "schema": SCHEMA, "by": stop.by, "dependency": stop.dependency, "invocation": stop.invocation,
            "moment": self._moment()}))

    def stop_note(self, unit):
        """The newest note as a facts.Stop with its age; an empty Stop when there is none that can be read."""
        try:
            words = from_json(self.files.read("stops/%s.json" % _unit_name(unit), 4096) or b"null")
            if words is None or words["by"] not in ("crash", "restart", "dependency", "shutdown", "operator"):
                return Stop()
            return Stop(words["by"], printable(_string(words["dependency"])), printable(_string(words["invocation"])),
                        age(_moment_in(words["moment"]), self.now()))
        except (ValueError, TypeError, KeyError, OSError):
            return Stop()


def _counted_as(service, cause):
    """The name under which an incident of that cause is counted; there are not endlessly many."""
    known = [what for what in service.get("counts", {}) if what.startswith(INCIDENTS)]
    return INCIDENTS + (cause if INCIDENTS + cause in known or len(known) < MOST_CAUSES else "unknown")


def _tally(service, what, amount=1):
    counts = service.setdefault("counts", {})       # a state that an older version has written has none
    counts[what] = round(counts.get(what, 0) + amount, 3)


# --- documents: every one that is read is checked before it is believed

def _new_service():
    return {"attempts": [], "level": 0, "incident": "", "opened": None, "escalated": None, "healthy_since": None,
            "seen": {}, "last_pass": None, "spell": None}


def _adopt(service, document, moment):
    """Refers to an open incident again, and to the call for a person in it, as made now."""
    causes = [one["cause"] for one in document["causes"]] or [""]
    service.update(incident=document["id"], opened=document["opened"],
                   spell=[document["opened"], _kind(causes[0]), document["id"]])
    if document["escalated"]:
        service["escalated"] = [1, moment, document["id"], causes[-1]]


def _kind(cause):
    """What a cause is about: "gateway", "dependency.ollama", "disk". Another one is another illness."""
    return cause.rpartition(".")[0] or cause


def _new_incident(name, unit, opened):
    return {"schema": SCHEMA, "id": name, "unit": unit, "host": "", "trigger": "", "start": clock.stamp(opened[0]),
            "opened": opened, "end": None, "duration": None, "outcome": None, "causes": [], "steps": [],
            "dropped_steps": 0, "escalated": None, "alerts": {}, "bundle": None, "damaged": False}


def _count_cause(document, cause, because, wall):
    """Whether the document changed: each cause is kept once, with its first sentence."""
    if any(one.get("cause") == cause for one in document["causes"]) or len(document["causes"]) >= MOST_CAUSES:
        return False
    document["causes"].append({"cause": cause, "because": because, "first": clock.stamp(wall)})
    return True


def _understood(data):
    """The state in a file's bytes; ValueError for anything but what `_save` wrote."""
    document = from_json(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError("not of schema %d" % SCHEMA)
    state = document.get("state")
    if document.get("sha256") != _checksum(state):
        raise ValueError("its checksum does not match")
    try:
        _check_state(state)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError("not in its form: %s" % error)
    return state


def _check_state(state):
    _whole(state["serial"])
    if state["lost"] is not None:
        _moment_in(state["lost"])
    for unit, service in state["services"].items():
        _unit_name(unit)
        service.setdefault("spell", None)       # as 1.0 kept it
        if service["spell"] is not None:
            moment, kind, first = service["spell"]
            _moment_in(moment), _string(kind), _string(first)
        for moment, what, level in service["attempts"]:
            _moment_in(moment), _string(what), _whole(level)
        for name in ("opened", "healthy_since", "last_pass"):
            if service[name] is not None:
                _moment_in(service[name])
        if service["escalated"] is not None:
            _whole(service["escalated"][0]), _moment_in(service["escalated"][1])
            _string(service["escalated"][2]), _string(service["escalated"][3])
        if service["incident"] and not _is_incident_id(service["incident"]):
            raise ValueError("an incident without an id")
        _whole(service["level"]), _string(service.get("closed", ""))
        for cause, count in service["seen"].items():
            _string(cause), _whole(count)
        for what, count in service.get("counts", {}).items():
            if not _is_number(count) or count < 0:
                raise ValueError("%s is not a count" % _string(what))


def _understood_incident(data, name):
    document = from_json(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("id") != name:
        raise ValueError("not incident %s" % name)
    shape = _new_incident(name, "", [0.0, 0.0, ""])
    for field, empty in shape.items():
        value = document.setdefault(field, empty)
        if empty is not None and not isinstance(value, type(empty)):
            raise ValueError("%s is not of its kind" % field)
    _moment_in(document["opened"])
    if document["unit"]:
        _unit_name(document["unit"])
    for field, texts in (("causes", ("cause", "because", "first")), ("steps", ("do", "target", "outcome"))):
        if not all(isinstance(one, dict) and all(isinstance(one.get(name), str) for name in texts)
                   for one in document[field]):
            raise ValueError("%s are not of their kind" % field)
    for field in ("start", "end"):
        if document[field] is not None:
            clock.parse_stamp(document[field])
    for field, kind in (("duration", (int, float)), ("end", str), ("outcome", str), ("escalated", str)):
        if document[field] is not None and not isinstance(document[field], kind):
            raise ValueError("%s is not of its kind" % field)
    return document


def _checksum(state):
    return hashlib.sha256(to_json(state)).hexdigest()


def _moment_in(value):
    """A Moment from a list of a file; ValueError for what no clock told."""
    if not (isinstance(value, list) and len(value) == 3 and _is_number(value[0]) and _is_number(value[1])
            and isinstance(value[2], str) and -1e12 < value[0] < 1e12 and -1e12 < value[1] < 1e12):
        raise ValueError("not a moment")
    return Moment(*value)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a count")


def _string(value):
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _unit_name(unit):
    if not isinstance(unit, str) or not valid_name(unit):
        raise ValueError("not a service's name")
    return unit


def _is_incident_id(name):
    """Whether it reads like 20261123T180000-1; such a name is also safe as a part of a path."""
    stem, dash, number = name.partition("-") if isinstance(name, str) else ("", "", "")
    digits = stem[:8] + stem[9:]
    return (len(stem) == 15 and stem[8] == "T" and dash == "-" and 0 < len(number) <= 9
            and not set(digits + number) - set("0123456789"))


def _id_order(name):
    stem, _, number = name.partition("-")
    return stem, int(number)


def _mean(numbers):
    return sum(numbers) / len(numbers) if numbers else None
