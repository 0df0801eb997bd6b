"""Incidents on disk: incidents/ID.json, a file each, from the first symptom to the end, and what they add up to.

A document that cannot be read now, or was lost, does not stop a recovery: it begins anew under the same id, marked
`damaged`; what was read and cannot be understood is set aside.
"""

import time
from collections import namedtuple
from itertools import count, islice

from citadel.core import clock
from citadel.core.errors import NotPermitted, UsageError
from citadel.record import forms
from citadel.record.notes import OPEN

MOST_STEPS = 500                        # of one incident
MOST_CAUSES = 100
NEWEST = 20                             # incidents among which one is looked for that the state has lost
LATEST_WALL = 253402300799              # 9999-12-31, the last day that an id can name

Summary = namedtuple("Summary", "incidents resolved mttr mtbf")
Summary.__doc__ = """`mttr`: mean seconds from an incident's start to its resolution; `mtbf`: mean seconds from one
incident's start to the next one's (same service). None where there are too few to say."""


class Incidents:
    """The documents below `state.files`; `state` (record.state.State) knows which of them are open."""

    def __init__(self, state, most):
        self.state, self.files, self._most = state, state.files, most

    def read(self, name):
        """The document of an incident, None when there is none or it cannot be read. UsageError for no id."""
        if not forms.is_incident_id(name):
            raise UsageError("%r is not an incident's id (like 20261123T180000-1)" % name)
        try:
            return forms.incident_in(self.files.read(_path(name)) or b"", name)
        except (ValueError, OSError):
            return None

    def first_cause(self, name):
        """What a service that is well again had suffered from; "" for no incident."""
        document = self.read(name) if name else None
        return document["causes"][0]["cause"] if document and document["causes"] else ""

    def newest_first(self, most=None, unit=None):
        """The documents of past and open incidents; those that cannot be understood are left out."""
        found = (document for document in map(self.read, reversed(self._ids()))
                 if document and unit in (None, document["unit"]))
        return list(islice(found, most))

    def summary(self, unit=None):
        """Summary over all incidents on record."""
        documents = self.newest_first(unit=unit)
        durations = [one["duration"] for one in documents if one["duration"] is not None]
        starts = {}
        for one in documents:
            starts.setdefault(one["unit"], []).append(one["opened"][0])
        gaps = [late - early for one in starts.values() for early, late in zip(sorted(one), sorted(one)[1:])]
        return Summary(len(documents), len(durations), _mean(durations), _mean(gaps))

    def begin(self, unit, cause, because, host, trigger):
        """A new document, on disk if the disk takes it; its id."""
        name, opened = self._new_id(), self.state.moment()
        self._make_room()               # after the name: that of one that goes must not be used again
        document = dict(forms.new_incident(name, unit, opened), host=host, trigger=trigger)
        _count_cause(document, cause, because, opened[0])
        self.write(document)
        return name

    def write(self, document):
        return self.state.write(_path(document["id"]), document)

    def amend(self, name, **fields):
        """Sets fields of an incident: `bundle`, `escalated`, `alerts`."""
        return self.write(dict(self.read_or_renew(name), **fields))

    def append(self, name, step):
        """Adds a step and its outcome to an incident: a dict with do, target, because, outcome, seconds, detail."""
        document = self.read_or_renew(name)
        if len(document["steps"]) < MOST_STEPS:
            document["steps"].append(dict(step, at=clock.stamp(self.state.now().wall)))
        else:
            document["dropped_steps"] += 1
        return self.write(document)

    def add_cause(self, name, cause, because):
        document = self.read_or_renew(name)
        if _count_cause(document, cause, because, self.state.now().wall):
            self.write(document)

    def read_or_renew(self, name):
        """The incident's document; when its file is lost or spoilt, one that begins anew under the same id."""
        document = self.read(name)
        if document is not None:
            return document
        if name in self._ids() and self.state.locked:
            self.files.set_aside(_path(name))
        unit, opened = next(((unit, service["opened"]) for unit, service in self.state.services().items()
                             if service["incident"] == name), ("", None))
        return dict(forms.new_incident(name, unit, opened or self.state.moment()), damaged=True)

    def left_open(self, services, unit=None):
        """{unit: the newest open document that nothing in `services` refers to}: we died before its id was in the
        state, or the state was lost."""
        referred = {name for service in services.values()
                    for name in (service["incident"], service.get("closed"))}   # closed: the disk may not have taken it
        found = {}
        for document in self.newest_first(most=NEWEST, unit=unit):
            if document["end"] is None and document["id"] not in referred and document["unit"]:
                found.setdefault(document["unit"], document)
        return found

    def list_open(self):
        """Brings the note OPEN up to date. Best effort: a pass does it again at its end."""
        words = "".join(sorted("%s %s\n" % (service["incident"], unit)
                               for unit, service in self.state.services().items() if service["incident"])).encode()
        try:
            if words != (self.files.read(OPEN) or b""):
                self.files.write(OPEN, words) if words else self.files.remove(OPEN)
        except (OSError, NotPermitted) as error:
            self.state.trouble = "%s/%s could not be written: %s" % (self.files.path, OPEN, error)

    def _ids(self):
        names = [name[:-5] for name in self.files.names("incidents") if name.endswith(".json")]
        return sorted(filter(forms.is_incident_id, names), key=_id_order)

    def _new_id(self):
        stem = time.strftime("%Y%m%dT%H%M%S", time.gmtime(max(0, min(self.state.now().wall, LATEST_WALL))))
        taken = set(self._ids())                        # and those of which the disk has not taken the file
        taken.update(service["incident"] for service in self.state.services().values())
        return "%s-%d" % (stem, next(number for number in count(1) if "%s-%d" % (stem, number) not in taken))

    def _make_room(self):
        """Room for one more: the oldest closed ones go, with their evidence."""
        names = self._ids()
        still_open = {service["incident"] for service in self.state.services().values()}
        for name in [one for one in names if one not in still_open][:max(0, len(names) + 1 - self._most)]:
            for ending in (".json", ".tar.gz", ".tar.gz.sha256"):
                self.files.remove("incidents/" + name + ending)


def _path(name):
    return "incidents/%s.json" % name


def _count_cause(document, cause, because, wall):
    """Whether the document changed: each cause is kept once, with its first sentence."""
    if any(one.get("cause") == cause for one in document["causes"]) or len(document["causes"]) >= MOST_CAUSES:
        return False
    document["causes"].append({"cause": cause, "because": because, "first": clock.stamp(wall)})
    return True


def _id_order(name):
    stem, _, number = name.partition("-")
    return stem, int(number)


def _mean(numbers):
    return sum(numbers) / len(numbers) if numbers else None
