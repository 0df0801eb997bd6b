"""A small host that lives in memory: faults come and go, systemd does what it does, an operator interferes, and each of
our steps has its effect, or hasn't. It knows what is really the matter, and judges every step at the moment it is done.

It is handed to handler.recovery_pass as its handler.World: `observe` gives the same Facts that a real host in that
state gives, `perform` and `verify` do to it what act.py does to a real one, and `now` are its clocks, which an operator
may step and a reboot sets back. What was really done stands in its ledger, and never in a record of ours.

`fuse` counts what a pass asks of it; where it ends we die (Crash), as of a kill or a power cut.
"""

from collections import namedtuple

from citadel import model
from citadel.act import verify as act
from citadel.core.atomic import from_json
from citadel.core.clock import Now
from citadel.core.run import Answer
from citadel.model import (
    Dependency,
    Disk,
    Facts,
    Holder,
    Host,
    Job,
    Line,
    Memory,
    Probe,
    Problem,
    Service,
    Step,
    Stop,
    Unit,
)

GATEWAY, BATCH = "citadel-gateway.service", "citadel-batch.service"
OLLAMA, REDIS = "ollama.service", "redis-server.service"
GIB = 1 << 30
BURST, INTERVAL, RESTART_SEC = 10, 1800.0, 5.0      # of the shipped units

# What a step cures, if chance will have it; what is not here ends only by itself.
CURES = {"hang": "kill", "frozen": "thaw", "slow": "restart", "http-error": "restart", "stale-file": "clean",
         "ollama-down": "start", "ollama-useless": "restart", "ollama-hung": "kill", "redis-down": "start",
         "redis-refuses": "relieve-disk", "disk": "relieve-disk", "inodes": "relieve-disk", "memory": "relieve-memory"}
OF_A_SERVICE = ("hang", "frozen", "slow", "http-error", "stale-file", "crash", "unresponsive", "port", "settings",
                "unit-file", "gate", "oom", "loop")
OF_A_DEPENDENCY = {"ollama-down": OLLAMA, "ollama-useless": OLLAMA, "ollama-hung": OLLAMA, "ollama-restarting": OLLAMA,
                   "redis-down": REDIS, "redis-refuses": REDIS, "redis-loading": REDIS, "redis-missing": REDIS}
OF_THE_HOST = ("disk", "inodes", "memory", "pid1", "read-only")
FAULTS = OF_A_SERVICE + tuple(OF_A_DEPENDENCY) + OF_THE_HOST
# What keeps a service from coming up, or brings it down.
FATAL = {"crash", "stale-file", "port", "settings", "unit-file", "disk", "inodes", "memory", "oom", "ollama-down",
         "redis-down", "redis-missing", "read-only"}
TAKES_ALONG = {"ollama-down", "redis-down", "ollama-restarting"}
UNWELL = {"hang", "unresponsive", "frozen", "slow", "http-error"}
UNCONFIRMED = {"slow", "http-error"}                # what a restart is not worth when it was seen once
ENDS_WITH_THE_RUN = ("hang", "unresponsive", "frozen", "slow", "http-error")
AWAY = ("taken", "never")                           # stopped with a dependency, or not started in this boot
ON_A_UNIT = ("start", "restart", "kill", "thaw", "reset-failed")
ON_THE_HOST = ("clean", "relieve-disk", "relieve-memory")

Attempt = namedtuple("Attempt", "when unit steps")
Attempt.__doc__ = "One attempt that was really made: when it began, on which service, (when, do, target) of its steps."


class Forbidden(BaseException):
    """What must never have been done; like Crash it passes by the handler, which goes on after an internal error."""


class Crash(BaseException):
    """We die here: nothing of ours may catch it."""


class Runner:
    """One service of the host."""

    def __init__(self, unit, needs, port, now):
        self.unit, self.needs, self.port = unit, needs, port
        self.faults = {}                    # name: when it ends by itself
        self.state, self.since, self.run = "up", now - 5000.0, 1
        self.ended = ""                     # how the last run ended
        self.starts, self.restarts = [], 0  # as systemd counts them for its start limit
        self.due = None                     # when systemd does the next thing with it
        self.lives = 120.0                  # seconds that a run lasts under the fault "loop"
        self.seen, self.seen_at, self.first_seen = frozenset(), 0.0, {}


class World:
    def __init__(self, chance, record, services=((GATEWAY, (OLLAMA, REDIS), 8002),)):
        self.chance, self.record = chance, record
        self.time, self.booted, self.boots, self.stepped = 1000000.0, 900000.0, 1, 0.0
        self.hides_boot_id = False
        self.faults = {}                    # of the dependencies and the host
        self.services = {unit: Runner(unit, needs, port, self.time) for unit, needs, port in services}
        self.stopped_by_operator, self.disabled = set(), set()
        self.maintenance = 0.0              # when it ends
        self.journal_has_ages = True
        self.failed = False                 # systemd has given up a service: OnFailure=
        self.receivers_silent = False         # wall(1) and the hook
        self.heard_by_hook, self.walls = [], 0
        self.attempts, self.context = [], None
        self.looks = 0
        self.fuse = None
        self.meanwhile = lambda: None       # an operator, in the middle of a plan
        self.note_stop = lambda unit, stop: None

    # --- clocks, and our own death

    def clock(self):
        up = self.time - self.booted
        boot_id = "boot-%d" % (self.boots if not self.hides_boot_id else self.chance.randrange(10 ** 9))
        return Now(8e8 + self.time + self.stepped, up, up, boot_id)

    def tick(self):
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                raise Crash

    def sleep(self, seconds):
        self.tick()
        assert 0 < seconds <= 120, "a pause of %s s" % seconds
        self.passes(seconds)

    def run(self, argv, timeout, stdin=b"", **how):
        """The programs that a pass calls by itself: wall(1), the hook, and those that gather evidence."""
        self.tick()
        if argv[0] == "wall" or argv[0].startswith("/"):
            if self.receivers_silent:
                return Answer(tuple(argv), 1, "", "nobody there", 0.1, False)
            if argv[0] == "wall":
                self.walls += 1
            else:
                said = from_json(stdin)
                self.heard_by_hook.append((said["kind"], said["incident"]))
            self.tick()
        return Answer(tuple(argv), 0, "", "", 0.1, False)

    @staticmethod
    def ask(targets, timeout):
        raise AssertionError("a pass asks by `observe`, `perform` and `verify`")

    # --- what happens to it

    def breaks(self, name, seconds=float("inf"), unit=GATEWAY):
        faults = self.services[unit].faults if name in OF_A_SERVICE else self.faults
        faults[name] = self.time + seconds
        for service in self.services.values() if faults is self.faults else [self.services[unit]]:
            if name in OF_A_DEPENDENCY and OF_A_DEPENDENCY[name] not in service.needs:
                continue
            if name == "loop":
                service.due = service.since + service.lives if service.state == "up" else service.due
            elif service.state != "up":
                continue
            elif name in TAKES_ALONG:
                self._ends(service, "taken", "dependency", OF_A_DEPENDENCY[name])
            elif name in FATAL and name not in ("redis-missing", "port"):
                self._ends(service, "auto-restart", "crash")
                service.ended = name

    def heals(self):
        """Every fault is over."""
        for faults in [self.faults] + [service.faults for service in self.services.values()]:
            faults.update(dict.fromkeys(faults, self.time))

    def operator_stops(self, unit, disables=False):
        if unit in self.stopped_by_operator:
            return
        self.stopped_by_operator.add(unit)
        if unit in self.services:
            if disables:
                self.disabled.add(unit)
            self._ends(self.services[unit], "stopped", "operator")
            return
        for service in self.services.values():
            if unit in service.needs and service.state in ("up", "auto-restart"):
                self._ends(service, "taken", "dependency", unit)

    def operator_starts(self, unit):
        service = self.services.get(unit)
        if service is not None and not self._can_be_started(service, by_operator=True):
            return                                              # refused, and no job: the operator sees it fail
        self.stopped_by_operator.discard(unit)
        self.disabled.discard(unit)
        if service is not None:
            self.stopped_by_operator -= set(service.needs)        # Requires= starts them along
            service.starts = []
            self._starts(service)
        for one in self.services.values():                      # WantedBy= brings back what had gone with it
            if (unit in one.needs or service is not None) and one.state in AWAY:
                self._starts(one)

    def reboots(self):
        """All that is enabled starts again; RAM is empty, and CLOCK_BOOTTIME begins anew."""
        self.time += 60.0
        self.booted, self.boots = self.time - 20.0, self.boots + 1
        self.stopped_by_operator &= self.disabled
        self.context = None
        for service in self.services.values():
            service.starts, service.restarts, service.due = [], 0, None
            for name in ENDS_WITH_THE_RUN:
                service.faults.pop(name, None)
            service.state, service.since = "never", self.time   # until its start has come to something
            self._starts(service)

    def passes(self, seconds):
        """Time goes by: faults end, systemd restarts until its limit, a run of the fault "loop" is over."""
        end = self.time + seconds
        while True:
            moments = [service.due for service in self.services.values() if service.due is not None]
            moments += list(self.faults.values())
            for service in self.services.values():
                moments += service.faults.values()
            self.time = max(self.time, min(moments + [end]))
            for service in self.services.values():
                for name in [name for name, until in service.faults.items() if until <= self.time]:
                    del service.faults[name]
                if service.due is not None and service.due <= self.time:
                    self._is_due(service)
            for name in [name for name, until in self.faults.items() if until <= self.time]:
                del self.faults[name]
                if name in TAKES_ALONG:
                    self._is_back(OF_A_DEPENDENCY[name])
            if self.time >= end:
                return

    def _is_due(self, service):
        service.due = None
        if service.state in ("auto-restart", "starting"):
            service.restarts += service.state == "auto-restart"
            service.state = "failed"                            # if it cannot even be tried
            self._starts(service)
        elif service.state == "up" and "loop" in service.faults:
            self._ends(service, "auto-restart", "crash")

    def _is_back(self, dependency):
        """WantedBy= brings back what went with it; mostly, for the start may have failed when it was tried."""
        for service in self.services.values():
            if dependency in service.needs and service.state in AWAY and self.chance.random() < 0.7:
                self._starts(service)

    def faults_of(self, service):
        """All that is the matter with it: its own, its dependencies', the host's."""
        return set(service.faults) | {name for name in self.faults
                                      if OF_A_DEPENDENCY.get(name, "") in service.needs + ("",)}

    def is_well(self, service):
        return service.state == "up" and not UNWELL & set(service.faults)

    def is_wanted(self, service):
        """Whether no operator wants it down, by itself or by what it needs."""
        return service.unit not in self.stopped_by_operator and not self.stopped_by_operator & set(service.needs)

    def _keeps_down(self, service):
        return bool(FATAL & self.faults_of(service)) or bool(self.stopped_by_operator & set(service.needs))

    def _ends(self, service, state, by, dependency=""):
        service.state, service.since, service.ended = state, self.time, "crash"
        service.due = self.time + RESTART_SEC if state == "auto-restart" else None
        self.note_stop(service.unit, Stop(by, dependency, "run%d" % service.run))
        for name in ENDS_WITH_THE_RUN:
            service.faults.pop(name, None)

    def _can_be_started(self, service, by_operator=False):
        faults = self.faults_of(service)
        return not ({"redis-missing", "unit-file"} & faults
                    or not by_operator and self.stopped_by_operator & set(service.needs + (service.unit,)))

    def _starts(self, service):
        """A start job of whoever's; the start limit refuses it when it is spent."""
        if not self._can_be_started(service):
            return                                              # the job fails; nothing has run
        service.starts = [when for when in service.starts if when > self.time - INTERVAL]
        if len(service.starts) >= BURST:
            service.state, service.since, service.due, self.failed = "failed", self.time, None, True
            return
        service.starts.append(self.time)
        service.run += 1
        if "gate" in service.faults:
            service.state, service.since, service.due = "starting", self.time, self.time + 60.0
        elif self._keeps_down(service):
            self._ends(service, "auto-restart", "crash")
            service.ended = min(FATAL & self.faults_of(service), default="crash")
        else:
            service.state, service.since = "up", self.time
            service.due = self.time + service.lives if "loop" in service.faults else None

    # --- what we do to it

    def perform(self, step, context):
        """Does one step as act.perform does; judged first, and with us dying before it, or right after it."""
        self.tick()
        if context is not self.context:
            self.context = context
            self.attempts.append(self._begun())
        limit = context.deadline.left() if step.do == "wait-ready" else min(step.seconds, context.deadline.left())
        if limit <= 0:
            return model.Outcome(step, model.SKIPPED, 0.0, "no time was left in this pass", {})
        if step.do in ON_A_UNIT + ON_THE_HOST:
            self._judge(step)
            self.attempts[-1].steps.append((self.time, step.do, step.target))
        began = self.time
        outcome, detail, seconds = self._effect(step)
        self.passes(min(limit, seconds))
        if self.chance.random() < 0.03:
            self.meanwhile()
        self.tick()
        return model.Outcome(step, outcome, self.time - began, detail, {})

    def _begun(self):
        """A new attempt, of the service whose count stands on record as of now: read from the file's own bytes. And
        there has to be evidence by now, or none will ever be had."""
        services = self.record.on_disk()["services"]
        for unit in self.services:
            if self._is_counted(unit, services, self.time):
                self.record.check_evidence(services[unit]["incident"])
                return Attempt(self.time, unit, [])
        raise Forbidden("an attempt that was not counted on disk before its first step")

    def _is_counted(self, unit, services, when):
        """Whether the newest attempt that stands on record of a unit was counted then; no two are at the same time."""
        attempts = services.get(unit, {}).get("attempts")
        return bool(attempts) and abs(attempts[-1][0][1] - (when - self.booted)) < 0.001

    def _effect(self, step):
        """(outcome, detail, seconds) of a step."""
        service = self.services.get(step.target)
        if step.do == "reset-failed":
            if service is not None:
                service.starts, service.restarts = [], 0
            return model.OK, "", 0.1
        if step.do == "start" and service is not None and service.state == "up":
            return model.SKIPPED, "it is active already", 0.1
        cured = [name for name in CURES if CURES[name] == step.do and self._is_about(name, step.target)
                 and self.chance.random() < 0.6]
        for name in cured:
            (service.faults if name in OF_A_SERVICE else self.faults).pop(name, None)
        if step.do == "wait-ready":
            return self._wait_ready(step)
        if step.do in ("start", "restart", "kill"):
            return self._job(step, service)
        took = self.chance.choice((0.1, 1.0, 6.0))
        if step.do == "thaw":
            still = service is not None and "frozen" in service.faults
            return (model.FAILED, "it is still frozen", took) if still else (model.OK, "", took)
        if step.do.startswith("relieve"):
            still = ("memory",) if step.do == "relieve-memory" else ("disk", "inodes")
            return (model.FAILED, "still short", took) if set(still) & set(self.faults) else (model.OK, "", took)
        return model.OK, "", took

    def _is_about(self, name, target):
        if name in OF_A_SERVICE:
            return target in self.services and name in self.services[target].faults
        return name in self.faults and OF_A_DEPENDENCY.get(name, target) == target

    def _job(self, step, service):
        if service is None:                                     # of a dependency
            for one in self.services.values():
                if step.target in one.needs and one.state == "up" and step.do != "start":
                    self._ends(one, "taken", "dependency", step.target)
            if step.do != "kill" and not self._is_down(step.target):
                self._is_back(step.target)
            return (model.FAILED, "it failed", 6.0) if self._is_down(step.target) else (model.OK, "", 1.0)
        if step.do == "kill":
            if service.state == "up":
                self._ends(service, "auto-restart", "crash")
            return model.OK, "SIGKILL", 0.2
        for name in ENDS_WITH_THE_RUN:
            if name != "frozen" and self.chance.random() < 0.6:
                service.faults.pop(name, None)
        before = service.run
        if "frozen" not in service.faults and not (step.do == "restart" and service.state == "up" and
                                                   not self._can_be_started(service)):
            self._starts(service)
        started = service.run != before and service.state in ("up", "starting")
        return (model.OK, "active", 1.0) if started else (model.FAILED, "it is %s" % service.state, 6.0)

    def _is_down(self, dependency):
        return dependency in self.stopped_by_operator or any(
            unit == dependency and name in self.faults for name, unit in OF_A_DEPENDENCY.items())

    def _wait_ready(self, step):
        loading = step.target == REDIS and "redis-loading" in self.faults
        patience = act.PATIENCE_LOADING if loading else step.seconds
        ends = [self.faults[name] - self.time for name, unit in OF_A_DEPENDENCY.items()
                if unit == step.target and name in self.faults]
        waited = max(ends + [0.2])
        if waited > patience or step.target in self.stopped_by_operator:
            return model.FAILED, "not ready", patience
        return model.OK, "ready", waited

    def verify(self, unit, context):
        """As act.verify: the same run for longer than RestartSec, and well at both ends of it."""
        self.tick()
        service, began = self.services[unit], self.time
        end = began + min(context.settings.recovery.verify_timeout, context.deadline.left())
        step = Step("verify", unit, "active is not healthy until it lasts and answers", end - began)
        while self.time < end:
            run, was_well = service.run, self.is_well(service)
            self.passes(min(RESTART_SEC + 0.5, end - self.time))
            if was_well and self.is_well(service) and service.run == run:
                return model.Outcome(step, model.OK, self.time - began, "", {})
            if service.state in ("failed", "stopped") + AWAY:
                break
        return model.Outcome(step, model.FAILED, self.time - began, "it is " + service.state, {})

    def _judge(self, step):
        """What no plan may ever do: what was so at the look that it came from, and is so still. Maintenance counts at
        the moment of the step itself, an operator may begin one at any time."""
        def forbid(why):
            raise Forbidden("%s %s for %s: %s" % (step.do, step.target, of.unit, why))

        of = self.services[self.attempts[-1].unit]
        if self.time < self.maintenance:
            forbid("in maintenance")
        known = {name for name in of.seen if name not in FAULTS or name in self.faults_of(of)}
        on_a_unit = step.do in ON_A_UNIT
        if "pid1" in known and on_a_unit:
            forbid("systemd does not answer")
        if "operator:" + step.target in known and step.target in self.stopped_by_operator and on_a_unit:
            forbid("an operator stopped it")
        if step.target == REDIS and "redis-loading" in known and step.do in ("restart", "kill", "start"):
            forbid("a restart prolongs the loading")
        if step.target == REDIS and "redis-refuses" in known and step.do in ("restart", "kill"):
            forbid("a restart loses what redis could not save")
        if step.target == OLLAMA and "ollama-restarting" in known and step.do in ("restart", "kill", "start"):
            forbid("systemd restarts it")
        if step.target in (OLLAMA, REDIS) and step.do in ("restart", "kill", "start"):
            if not any(OF_A_DEPENDENCY.get(name) == step.target for name in of.seen):
                forbid("it was well")
            if step.do != "kill" and not self._is_counted(step.target, self.record.on_disk()["services"],
                                                          self.attempts[-1].when):
                forbid("an attempt on it that was not counted on disk before")
        if step.do == "clean" and "well" in known and self.is_well(of):
            forbid("under a service that runs")
        if step.target != of.unit or step.do not in ("start", "restart", "kill"):
            return
        for fault in ("port", "settings", "unit-file", "redis-missing"):
            if fault in known and of.state != "up" and "up" not in known:
                forbid("a restart cannot help: " + fault)
        for unit in of.needs:
            if "operator:" + unit in known and unit in self.stopped_by_operator:
                forbid("Requires= would start %s, which an operator stopped" % unit)
        if of.state in known & {"auto-restart", "starting"}:
            forbid("systemd has it in hand: " + of.state)
        if "well" in known and self.is_well(of):
            forbid("it is well")
        wrong = known & set(FAULTS)
        if "up" in known and wrong and wrong <= UNCONFIRMED and all(
                of.first_seen[name] == of.seen_at for name in wrong):
            forbid("one bad minute")

    # --- how it looks

    def observe(self, settings, run=None, ask=None, now=None, stop_note=None, pause=None):
        self.tick()
        self.passes(0.1)
        self.looks += 1
        silent = "pid1" in self.faults
        services = tuple(self._look(self.services[one.unit], silent, stop_note) for one in settings.services)
        return Facts(Host(
            name="world", boot_id="b", monotonic=self._stamp(self.time),
            unanswered="systemctl did not answer within 10 s" if silent else "",
            disks=(Disk("/", "/", "", 100 * GIB, 0 if "disk" in self.faults else 50 * GIB, 1000000,
                        0 if "inodes" in self.faults else 900000, "read-only" in self.faults),),
            memory=Memory(32 * GIB, 0 if "memory" in self.faults else 16 * GIB)), services)

    def _stamp(self, moment):
        """Of CLOCK_MONOTONIC, as systemd has it: nothing is older than the boot."""
        return max(0.5, moment - self.booted)

    def _look(self, service, silent, stop_note):
        faults, up = self.faults_of(service), service.state == "up"
        service.first_seen = {name: service.first_seen.get(name, self.time) for name in faults}
        service.seen_at = self.time
        service.seen = frozenset(faults | {service.state} | {"operator:" + unit for unit in self.stopped_by_operator}
                                 | ({"well"} if self.is_well(service) else set()))
        unit = Unit(name=service.unit, load="", unit_file="", active="", sub="") if silent else self._unit(service)
        answer = "refused" if not up else "timeout" if {"hang", "unresponsive", "frozen"} & faults else (
            "http-error" if "http-error" in faults else "ok")
        problem = Problem("/opt/citadel/config/production.yaml", 7, "port", "is 8003")
        return Service(
            unit, Probe("http://127.0.0.1:%d/health" % service.port, answer, 500 if answer == "http-error" else 0,
                        4.0 if "slow" in faults else 0.01),
            tuple(self._ollama() if name == OLLAMA else self._redis() for name in service.needs),
            stop=stop_note(service.unit), port=service.port, slow_after=3,
            holder=Holder(service.port, 4711, 1000, "eve", "nc") if "port" in faults and not up else None,
            stopped_pids=(100,) if up and "hang" in faults else (),
            last_job=Job("stop", "done", self.time - service.since if self.journal_has_ages else None)
            if service.state == "stopped" else Job(),
            lines=(Line(3, None, "ValueError: production.yaml"),) if "settings" in faults else (),
            settings=(problem,) if "settings" in faults else ())

    def _unit(self, service):
        since = self._stamp(service.since)
        usual = dict(name=service.unit, invocation="run%d" % service.run, restart="always", start_burst=BURST,
                     start_interval=INTERVAL, control_group="/system.slice/" + service.unit, restarts=service.restarts,
                     unit_file="disabled" if service.unit in self.disabled else "enabled")
        if service.state == "up":
            return Unit(active_enter=since, freezer="frozen" if "frozen" in service.faults else "running", **usual)
        if service.state == "never":
            return Unit(active="inactive", sub="dead", main_pid=0, load=self._load(service), **usual)
        usual.update(active_exit=since, inactive_enter=since, active_enter=max(0.1, since - 2),
                     inactive_exit=max(0.1, since - 2), main_pid=0)
        if service.state == "auto-restart":
            return Unit(active="activating", sub="auto-restart", exec_code="exited", exec_status=1, **usual)
        if service.state == "starting":
            return Unit(active="activating", sub="start-pre", **usual)
        usual["load"] = self._load(service)
        if service.state == "failed":
            return Unit(active="failed", sub="failed", result="oom-kill" if service.ended == "oom" else "exit-code",
                        exec_code="exited", exec_status=1, **usual)
        return Unit(active="inactive", sub="dead", **usual)

    @staticmethod
    def _load(service):
        return "bad-setting" if "unit-file" in service.faults else "loaded"

    def _ollama(self):
        faults, unit = self.faults, Unit(name=OLLAMA, active_enter=self._stamp(self.booted + 10))
        if "ollama-restarting" in faults:
            return Dependency("ollama", unit._replace(active="activating", sub="auto-restart"), Probe("o", "refused"))
        if OLLAMA in self.stopped_by_operator:
            return self._stopped("ollama", unit)
        if "ollama-down" in faults:
            return Dependency("ollama", unit._replace(active="failed", sub="failed",
                                                      active_exit=self._stamp(self.time - 9)), Probe("o", "refused"))
        answer = "timeout" if "ollama-hung" in faults else "refused" if "ollama-useless" in faults else "ok"
        return Dependency("ollama", unit, Probe("o", answer))

    def _redis(self):
        faults, unit = self.faults, Unit(name=REDIS, active_enter=self._stamp(self.booted + 10))
        if "redis-missing" in faults:
            return Dependency("redis", Unit(name=REDIS, load="not-found", active="inactive"), Probe("r", "refused"))
        if REDIS in self.stopped_by_operator:
            return self._stopped("redis", unit)
        if "redis-loading" in faults:
            return Dependency("redis", unit, Probe("r", "loading"))
        if "redis-down" in faults:
            return Dependency("redis", unit._replace(active="failed", sub="failed",
                                                     active_exit=self._stamp(self.time - 9)), Probe("r", "refused"))
        return Dependency("redis", unit, Probe("r", "refusing-writes" if "redis-refuses" in faults else "ok"))

    def _stopped(self, name, unit):
        return Dependency(name, unit._replace(active="inactive", sub="dead", active_exit=self._stamp(self.time - 9)),
                          Probe(name, "refused"), last_job=Job("stop", "done", 9.0 if self.journal_has_ages else None))
