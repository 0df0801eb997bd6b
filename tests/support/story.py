"""One host's story: a real record on disk, real passes over a made-up world, and what holds for every history."""

import errno
import hashlib
import json
import os
import random
import shutil
import socket
import tempfile

from world import BATCH, FAULTS, GATEWAY, OLLAMA, REDIS, Crash, Forbidden, World

from citadel import recovery
from citadel.core.trust import untrusted_program
from citadel.record.directory import Directory
from citadel.record.store import Store
from citadel.settings import file as settings_file

SEEDS, PARTS = int(os.environ.get("CITADEL_HISTORIES", "60")), 4       # each Python plays them
ENDS = ("healthy", "recovered", "waiting", "stood-down", "escalated", "unknown")
MOST_LOOKS = 130                        # in one pass, for each service: one in RestartSec, and those after an attempt
HOOK = next((path for path in ("/usr/bin/env", "/bin/true") if not untrusted_program(path)), "")
LIMITS = ("", "attempts = 1", "attempts = 3\nwindow = 10min\nbackoff = 1min", "attempts = 10\nattempts_per_level = 2")
SETTINGS = """
[service %s]
%s
[hook]
command = %s
[metrics]
directory =
[recovery]
%s
"""
SECOND = """
[service %s]
health = http://127.0.0.1:8003/health
depends = ollama
""" % BATCH
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
A_DEAD_PROCESS = 4194305                # more than any kernel counts up to


class Journald:
    """A real datagram socket in journald's place: (event, unit, incident) of each entry, oldest first."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(path)

    def entries(self):
        found = []
        while True:
            try:
                fields = dict(line.partition(b"=")[::2] for line in self.socket.recv(65536).split(b"\n"))
            except BlockingIOError:
                return found
            found.append(tuple(fields.get(b"CITADEL_" + name, b"").decode() for name in (b"EVENT", b"UNIT",
                                                                                         b"INCIDENT")))


class Record:
    """Our files as anybody could read them, and a disk beneath them that may refuse, or die with us."""

    def __init__(self, place):
        self.place, self.ram = place, place + ".ram"
        self.refuses, self.tick = lambda: 0, lambda: None       # the error of every write, 0 for none
        self.has_ram = True
        self.is_whole = True                # since the beginning: nothing was lost, and the disk took it all
        self._opened = []

    def store(self, clock):
        self.close()
        return Store(self.place, clock, fallback=self.ram, open_directory=self._open)

    def _open(self, path):
        self._opened.append(Disk(path, self))
        return self._opened[-1]

    def close(self):
        while self._opened:
            self._opened.pop().close()

    def _document(self, path):
        try:
            with open(path, "rb") as file:
                return json.loads(file.read().decode("utf-8"))
        except (OSError, ValueError):
            return None

    def state(self):
        """The newest one that can be read."""
        found = [one["state"] for one in map(self._document, (self.place + "/state.json", self.ram + "/state.json"))
                 if one]
        return max(found, key=lambda state: state["serial"]) if found else {"services": {}}

    def on_disk(self):
        """The one that a power cut leaves; that in RAM only where the disk takes none."""
        document = self._document(self.place + "/state.json")
        return self.state() if self.refuses() else document["state"] if document else {"services": {}}

    def incident(self, name):
        return self._document("%s/incidents/%s.json" % (self.place, name))

    def check_evidence(self, incident):
        if not incident:
            raise Forbidden("an attempt outside of any incident")
        if self.refuses() or not self.is_whole:
            return
        bundle = self.incident(incident)["bundle"]
        if not bundle:
            raise Forbidden("an attempt without evidence of what it changes")
        with open(os.path.join(self.place, bundle["file"]), "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != bundle["sha256"]:
                raise Forbidden("the evidence is not what it was")

    def loses(self, copies, chance):
        for directory in copies:
            path = directory + "/state.json"
            if not os.path.exists(path):
                continue
            how = chance.randrange(3)
            if how == 0:
                os.unlink(path)
                continue
            with open(path, "r+b") as file:
                file.truncate(chance.randrange(os.path.getsize(path) - 2))
                if how == 1:
                    file.write(bytes(chance.randrange(256) for _ in range(20)))

    def forgets_ram(self):
        shutil.rmtree(self.ram, ignore_errors=True)


class Disk(Directory):
    """An atomic.Directory under which we may die: before a write, in it (its new file stays behind), right after it."""

    def __init__(self, path, record):
        super().__init__(path)
        self.record = record

    def write(self, name, data):
        self.record.tick()
        error = self.record.refuses() if self.path == self.record.place or not self.record.has_ram else 0
        if error:
            self.record.is_whole = False
            raise OSError(error, os.strerror(error), name)
        try:
            self.record.tick()
        except Crash:
            parent, _, last = name.rpartition("/")
            left = os.path.join(self.path, parent, ".%s.%d.0.tmp" % (last, A_DEAD_PROCESS))
            if os.path.isdir(os.path.dirname(left)):
                with open(left, "wb") as file:
                    file.write(data[:len(data) // 2])
            raise
        super().write(name, data)
        self.record.tick()


class Always(random.Random):
    """Chance that cures by the first try."""

    def random(self):
        return 0.0


class Never(random.Random):
    """And one that does not."""

    def random(self):
        return 0.999


class Story:
    """One history: a host, a record, and the passes between them."""

    def __init__(self, seed, place, journald, limits=None, second=None):
        self.chance = random.Random(seed)
        self.journald, self.record = journald, Record(os.path.join(place, "state"))
        second = self.chance.random() < 0.35 if second is None else second
        self.settings = settings_file.parse(SETTINGS % (GATEWAY, SECOND if second else "", HOOK, LIMITS[
            seed % len(LIMITS)] if limits is None else limits), "citadel.conf")
        self.world = world = World(self.chance, self.record, (
            (GATEWAY, (OLLAMA, REDIS), 8002), (BATCH, (OLLAMA,), 8003)) if second else ((GATEWAY, (OLLAMA, REDIS),
                                                                                         8002),))
        self.operator = Record(self.record.place)       # who writes beside us, and whose disk never dies of us
        self.operator_store = self.operator.store(world.clock)
        world.note_stop, world.meanwhile = self.notes_stop, self.begins_maintenance
        self.record.tick, self.record.refuses = self.tick, self.disk_refuses
        self.handed_in = recovery.World(world.run, world.ask, world.clock, world.sleep, self.chance.random,
                                       world.observe, world.perform, world.verify)
        self.may_reboot = self.chance.random() < 0.5    # a clock that is stepped forward, and a reboot, fool anybody
        world.hides_boot_id = self.may_reboot and self.chance.random() < 0.2    # as a sandbox on systemd <= 252
        self.told = {}                      # (unit, incident): [firing, resolved], as they arrived
        self.allowed = {}                   # the same, at most
        self.forgotten = set()              # those of which nothing is on record any more
        self.fuse = None                    # when the next pass is to die, where that is not left to chance
        self.is_broken = False              # whether an internal error is expected
        self.verdicts, self.passes, self.crashes = [], 0, 0

    # --- a pass

    def recovery_pass(self, trigger="check", may_crash=False):
        """The Results, None where we died in it."""
        world, began, looks, attempts = self.world, self.world.time, self.world.looks, len(self.world.attempts)
        store = self.record.store(world.clock)
        world.fuse = self.fuse if not (may_crash and self.chance.random() < 0.3) else (
            self.chance.randrange(self.chance.choice((10, 50, 200))))
        self.passes += 1
        try:
            with store.lock(trigger):
                results = recovery.recovery_pass(self.settings, store, trigger, self.handed_in)
        except Crash:
            self.crashes += 1
            self.hear()
            self.forgets()
            return None
        finally:
            world.fuse = None
            self.record.close()
        self.hear()
        assert world.time - began <= recovery.LONGEST_PASS + 15, "a pass of %d s" % (world.time - began)
        assert world.looks - looks <= MOST_LOOKS * len(world.services), "%d looks" % (world.looks - looks)
        assert [result.unit for result in results] == list(world.services)
        for result in results:
            assert result.verdict in ENDS, result
            assert self.is_broken or "internal error" not in result.because, result
            tried = [one for one in world.attempts[attempts:] if one.unit == result.unit]
            if result.verdict in ("healthy", "recovered"):
                assert "well" in world.services[result.unit].seen, result
                assert result.verdict == "recovered" or not tried, result
            self.verdicts.append((result.verdict, bool(result.veto)))
        return results

    def disk_refuses(self):
        """That beneath our record."""
        return (errno.EROFS if "read-only" in self.world.faults else
                errno.ENOSPC if "disk" in self.world.faults and self.may_reboot else 0)

    def tick(self):
        self.hear()
        self.world.tick()

    def hear(self):
        for event, unit, incident in self.journald.entries():
            if event in ("firing", "resolved"):
                told = self.told.setdefault((unit, incident), [0, 0])
                told[event == "resolved"] += 1
                allowed = self.allowed.setdefault((unit, incident), [1, 1])
                if not incident or told[0] > allowed[0] or told[1] > allowed[1]:
                    raise Forbidden("incident %r of %s: told %s times, allowed are %s" % (
                        incident, unit, told, allowed))

    def forgets(self):
        """We died, or a file was lost or not written: an alert that is not on record as sent may be sent once more;
        and an incident that is over and not on record as that goes on with the next fault."""
        services = self.record.state()["services"]
        for key, (firing, resolved) in self.told.items():
            unit, incident = key
            service, document = services.get(unit), self.record.incident(incident)
            refers = bool(service) and service["incident"] == incident
            noted = bool(document and document["escalated"]) if not refers else bool(
                service["escalated"] and service["escalated"][2] == incident)
            if not noted:
                self.allowed[key][0] = firing + 1
            if refers or (document and document["end"] is None):
                self.allowed[key][1] = resolved + 1
            elif not document:
                self.forgotten.add(key)

    # --- what happens meanwhile

    def something_happens(self):
        chance, world = self.chance, self.world
        event = chance.random()
        unit = chance.choice(sorted(world.services))
        if event < 0.50:
            world.breaks(chance.choice(FAULTS), chance.choice((60, 600, 7200)), unit)
        elif event < 0.55:
            world.operator_stops(chance.choice((unit, REDIS, OLLAMA)), disables=chance.random() < 0.3)
        elif event < 0.65:
            for one in sorted(world.stopped_by_operator):
                world.operator_starts(one)
        elif event < 0.69:
            self.begins_maintenance()
        elif event < 0.72 and world.maintenance > world.time:
            self.operator_store.intent.end_maintenance()
            world.maintenance = 0.0
        elif event < 0.80:
            self.loses(chance.choice(((self.record.ram,), (self.record.place,), (self.record.place, self.record.ram))))
        elif event < 0.84 and self.may_reboot:
            self.reboots()
        elif event < 0.87 and not self.may_reboot:
            world.stepped += chance.choice((-8e8, -3600, 3600, 8e7))
        elif event < 0.89:
            world.journal_has_ages = not world.journal_has_ages
        elif event < 0.92:
            world.receivers_silent = not world.receivers_silent

    def begins_maintenance(self):
        seconds = self.chance.choice((60, 900))
        if not self.record.refuses():
            self.operator_store.intent.begin_maintenance(seconds, "disk swap")
            self.world.maintenance = self.world.time + seconds

    def notes_stop(self, unit, stop):
        if not self.record.refuses():
            self.operator_store.intent.note_stop(unit, stop)

    def loses(self, copies):
        self.record.loses(copies, self.chance)
        self.record.is_whole = False
        self.forgets()

    def reboots(self):
        self.record.forgets_ram()
        self.world.reboots()
        self.forgets()

    def trigger(self):
        """By the minute, after a longer silence, or a burst of OnFailure= and impatient operators."""
        chance, kind = self.chance, self.chance.random()
        if kind < 0.25:
            self.world.passes(chance.choice((300, 900, 3600)))
        for _ in range(chance.randrange(2, 8) if kind > 0.85 else 2):
            self.world.passes(chance.choice((0.0, 0.5, 5.0)) if kind > 0.85 else 60.0)
            trigger = "on-failure" if self.world.failed else chance.choice(("check", "manual"))
            self.world.failed = False
            self.recovery_pass(trigger, may_crash=True)

    def minute(self):
        self.world.passes(60)
        return self.recovery_pass()

    # --- what must be so in the end

    def calm(self):
        """Nobody interferes, and every receiver answers."""
        world = self.world
        self.operator_store.intent.end_maintenance()
        world.maintenance, world.receivers_silent, world.meanwhile = 0.0, False, lambda: None
        for unit in sorted(world.stopped_by_operator):
            world.operator_starts(unit)

    def check_an_operator_is_told(self):
        """An operator is told of what lasts, if no operator wanted it so: no service is left silently down."""
        world, recovery = self.world, self.settings.recovery
        self.calm()
        name = self.chance.choice(FAULTS)
        world.breaks(name, 1e9, self.chance.choice(sorted(world.services)))
        end = world.time + 2 * recovery.window + recovery.backoff[-1] * (1 + recovery.jitter / 100.0)
        while True:
            self.minute()
            services = self.record.state()["services"]
            silent = [one for one in world.services.values() if not world.is_well(one) and world.is_wanted(one)
                      and not self.told.get((one.unit, services[one.unit]["incident"]), (0,))[0]]
            if not silent:
                return
            assert world.time < end, "no operator was told of %s: it is %s, with %s" % (
                silent[0].unit, silent[0].state, sorted(world.faults_of(silent[0])))

    def check_it_comes_back(self):
        """All faults over, nobody in the way: within the longest pause and a window it is well, and soon after that no
        incident is open, and whoever was alerted is told."""
        world, recovery = self.world, self.settings.recovery
        world.heals()
        world.passes(1)
        self.calm()
        end = world.time + recovery.window + recovery.backoff[-1] * (1 + recovery.jitter / 100.0)
        while not all(map(world.is_well, world.services.values())):
            assert world.time < end, "not well: %s" % [(one.unit, one.state) for one in world.services.values()]
            self.minute()
        end = world.time + recovery.healthy_forgets + 120
        while True:
            results = self.minute()
            if all(result.verdict in ("healthy", "recovered") and not result.incident for result in results):
                break
            assert world.time < end, "still open: %s" % (results,)
        documents = self.operator_store.incidents.newest_first()
        assert all(one["end"] for one in documents) or not self.record.is_whole, "one stays open"
        for (unit, incident), (firing, resolved) in self.told.items():
            assert resolved or (unit, incident) in self.forgotten, "the end of %s was never told" % incident
            for kind in ("firing", "resolved") if HOOK and self.record.is_whole else ():
                assert not firing or (kind, incident) in world.heard_by_hook, "the hook was not told that %s is %s" % (
                    incident, kind)

    def check_budget(self):
        """Never more attempts in any window than the budget, however they are lined up: on a service, and on a
        dependency over all of them. And nothing is started twice in one attempt."""
        tries = {}
        for attempt in self.world.attempts:
            started = [target for _, do, target in attempt.steps if do in ("start", "restart")]
            assert len(started) == len(set(started)), "started twice in one attempt: %s" % (attempt,)
            for unit in {attempt.unit} | set(started):
                tries.setdefault(unit, []).append(attempt.when)
        budget, window = self.settings.recovery.attempts, self.settings.recovery.window
        for unit, moments in tries.items():
            for first, when in zip(moments, moments[budget:]):
                assert when - first >= window, "%s: more than %d attempts within %d s" % (unit, budget, when - first)


def play(seed, journald, events=8, story=Story):
    place = tempfile.mkdtemp(dir=MEMORY)
    try:
        told = story(seed, place, journald)
        for _ in range(events):
            told.something_happens()
            told.trigger()
        told.check_budget()
        if seed % 3 == 0:
            told.check_an_operator_is_told()
        told.check_it_comes_back()
        told.check_budget()
        return told
    finally:
        journald.entries()
        shutil.rmtree(place)
