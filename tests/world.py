"""A small host that lives in memory: faults come and go, systemd does what it does, a person interferes, and each of
our steps has its effect, or hasn't. It knows what is really the matter, and checks every step that is done to it.

`look` gives the same Facts that a real host in that state gives, so that the road from facts to steps is the real one.
"""

from citadel.facts import (Dependency, Disk, Facts, Holder, Host, Job, Line, Memory, Probe, Problem, Service, Stop,
                           Unit)

GATEWAY, OLLAMA, REDIS = "citadel-gateway.service", "ollama.service", "redis-server.service"
GIB = 1 << 30

# What a step cures, if chance will have it; what is not here ends only by itself.
CURES = {"hang": ("kill", GATEWAY), "frozen": ("thaw", GATEWAY), "slow": ("restart", GATEWAY),
         "http-error": ("restart", GATEWAY), "stale-file": ("clean", GATEWAY), "ollama-down": ("start", OLLAMA),
         "ollama-useless": ("restart", OLLAMA), "ollama-hung": ("kill", OLLAMA), "redis-down": ("start", REDIS),
         "redis-refuses": ("relieve-disk", None), "disk": ("relieve-disk", None), "inodes": ("relieve-disk", None),
         "memory": ("relieve-memory", None)}
INCURABLE = ("crash", "deaf", "port", "settings", "unit-file", "pid1", "redis-loading", "redis-missing", "read-only",
             "ollama-restarting", "gate", "oom")
FAULTS = tuple(CURES) + INCURABLE
# What keeps the service from coming up, or brings it down.
FATAL = {"crash", "stale-file", "port", "settings", "unit-file", "disk", "inodes", "memory", "oom", "ollama-down",
         "redis-down", "redis-missing", "read-only"}
TAKES_ALONG = {"ollama-down", "redis-down", "ollama-restarting"}
TOUCHING = ("start", "restart", "kill", "thaw", "reset-failed")


class Forbidden(AssertionError):
    """A step that must never have been taken."""


class World:
    def __init__(self, chance):
        self.chance = chance
        self.now = 10000.0
        self.faults = {}                    # name: when it ends by itself
        self.state, self.since = "up", 5000.0
        self.run = 1
        self.note = Stop()
        self.noted_at = 0.0
        self.gives_up_after = 75.0          # systemd's start limit, in seconds of trying
        self.ended = ""                     # how the last run ended: crashed | oom
        self.stopped_by_person = set()      # units
        self.maintenance_until = 0.0
        self.journal_has_ages = True
        self.ledger = []                    # (when, attempt, do, unit) of each step that touched a unit

    # --- what happens to it

    def breaks(self, name, seconds):
        self.faults[name] = self.now + seconds
        if name in TAKES_ALONG and self.state == "up":
            self._ends("taken", "dependency", OLLAMA if name.startswith("ollama") else REDIS)
        elif name in FATAL and self.state == "up" and name not in ("redis-missing", "port"):
            self._ends("auto-restart", "crash")
            self.ended = name

    def person_stops(self, unit):
        if unit in self.stopped_by_person:
            return
        self.stopped_by_person.add(unit)
        if unit == GATEWAY:
            self._ends("stopped", "operator")
        elif self.state in ("up", "auto-restart"):
            self._ends("taken", "dependency", REDIS)

    def person_starts(self, unit):
        if {"redis-missing", "unit-file"} & set(self.faults):
            return                                              # refused, and no job: the person sees it fail
        self.stopped_by_person.discard(unit)
        if unit == GATEWAY:
            self.stopped_by_person.discard(REDIS)               # Requires= starts it along
        if unit == GATEWAY or self.chance.random() < 0.5:       # WantedBy= brings it back, or the start had failed
            self._starts()

    def passes(self, seconds):
        """Time goes by, faults end, and systemd restarts until its limit."""
        self.now += seconds
        for name in [name for name, end in self.faults.items() if end <= self.now]:
            self.faults.pop(name, None)
            if name in TAKES_ALONG and self.state == "taken" and self.chance.random() < 0.7:
                self._starts()
        if self.state == "auto-restart" and self.now - self.since > 5:
            if self._keeps_down() and self.now - self.since > self.gives_up_after:
                self.state = "failed"
            elif not self._keeps_down():
                self._starts()
        if self.state == "starting" and self.now - self.since > 60:
            self._starts()

    def _keeps_down(self):
        return bool(FATAL & set(self.faults)) or REDIS in self.stopped_by_person

    def _ends(self, state, by, dependency=""):
        self.state, self.since = state, self.now
        self.note, self.noted_at = Stop(by, dependency, "run%d" % self.run), self.now
        self.ended = "crash"
        for name in ("hang", "deaf", "frozen", "slow", "http-error"):
            self.faults.pop(name, None)

    def _starts(self):
        if GATEWAY in self.stopped_by_person:
            return
        if "redis-missing" in self.faults or REDIS in self.stopped_by_person or "unit-file" in self.faults:
            return                                              # the job fails; nothing has run
        self.run += 1
        if "gate" in self.faults:
            self.state, self.since = "starting", self.now
        elif self._keeps_down():
            self._ends("auto-restart", "crash")
            self.ended = next(iter(FATAL & set(self.faults)), "crash")
        else:
            self.state, self.since = "up", self.now

    # --- what we do to it

    def perform(self, step, attempt):
        """Does one step. Judged were all of them before the first: a plan is right or wrong when it is made."""
        if step.do in TOUCHING or step.do in ("clean", "relieve-disk", "relieve-memory"):
            self.ledger.append((self.now, attempt, step.do, step.target))
        for name in [name for name in self.faults if name in CURES and CURES[name][0] == step.do
                     and CURES[name][1] in (None, step.target) and self.chance.random() < 0.6]:
            self.faults.pop(name, None)
        if step.target == GATEWAY and step.do in ("start", "restart"):
            for name in ("hang", "slow", "http-error", "deaf"):
                if self.chance.random() < 0.6:
                    self.faults.pop(name, None)
            self._starts()
        self.passes(self.chance.choice((0.1, 1.0, 6.0)))

    def judge(self, step):
        """What no plan may ever do, whatever it was told."""
        def forbid(why):
            raise Forbidden("%s %s: %s" % (step.do, step.target, why))

        if step.do in ("escalate", "resolve"):
            return
        if self.now < self.maintenance_until:
            forbid("in maintenance")
        if "pid1" in self.faults and step.do in TOUCHING:
            forbid("systemd does not answer")
        if step.target in self.stopped_by_person and step.do in TOUCHING:
            forbid("a person stopped it")
        if step.target == REDIS and "redis-loading" in self.faults and step.do in ("restart", "kill", "start"):
            forbid("a restart prolongs the loading")
        if step.target == REDIS and "redis-refuses" in self.faults and step.do in ("restart", "kill"):
            forbid("a restart loses what redis could not save")
        if step.target == OLLAMA and "ollama-restarting" in self.faults and step.do in ("restart", "kill", "start"):
            forbid("systemd restarts it")
        if step.target == GATEWAY and step.do in ("start", "restart", "kill"):
            for fault in ("port", "settings", "unit-file", "redis-missing"):
                if fault in self.faults and self.state != "up":
                    forbid("a restart cannot help: " + fault)
            if REDIS in self.stopped_by_person:
                forbid("Requires= would start redis, which a person stopped")
            if self.state in ("auto-restart", "starting"):
                forbid("systemd has it in hand: " + self.state)
            if self.state == "up" and not {"hang", "deaf", "frozen", "slow", "http-error"} & set(self.faults):
                forbid("it is well")

    # --- how it looks

    def look(self):
        faults = self.faults
        silent = "pid1" in faults
        return Facts(Host(
            name="world", boot_id="b", monotonic=self.now, unanswered="systemctl did not answer within 10 s" if silent
            else "", disks=(Disk("/", "/", "", 100 * GIB, 0 if "disk" in faults else 50 * GIB, 1000000,
                                 0 if "inodes" in faults else 900000, "read-only" in faults),),
            memory=Memory(32 * GIB, 0 if "memory" in faults else 16 * GIB)), (self._service(silent),))

    def _service(self, silent):
        faults, up = self.faults, self.state == "up"
        unit = Unit(name=GATEWAY, load="", unit_file="", active="", sub="") if silent else self._unit()
        answer = "refused" if not up else "timeout" if {"hang", "deaf", "frozen"} & set(faults) else (
            "http-error" if "http-error" in faults else "ok")
        holder = Holder(8002, 4711, 1000, "eve", "nc") if "port" in faults and not up else None
        problem = Problem("/opt/citadel/config/production.yaml", 7, "port", "is 8003")
        return Service(
            unit, Probe("http://127.0.0.1:8002/health", answer, 500 if answer == "http-error" else 0,
                        4.0 if "slow" in faults else 0.01), (self._ollama(), self._redis()),
            stop=self.note._replace(age=self._age(self.noted_at)), holder=holder, port=8002, slow_after=3,
            stopped_pids=(100,) if up and "hang" in faults else (), last_job=Job(),
            lines=(Line(3, None, "ValueError: production.yaml"),) if "settings" in faults else (),
            settings=(problem,) if "settings" in faults else ())

    def _age(self, when):
        return self.now - when if self.journal_has_ages else None

    def _unit(self):
        usual = dict(name=GATEWAY, invocation="run%d" % self.run, restart="always", start_burst=10,
                     start_interval=1800.0, control_group="/system.slice/" + GATEWAY)
        if self.state == "up":
            return Unit(active_enter=self.since - (0 if self.since < self.now - 200 else 200),
                        freezer="frozen" if "frozen" in self.faults else "running", **usual)
        usual.update(active_exit=self.since, inactive_enter=self.since, active_enter=self.since - 2,
                     inactive_exit=self.since - 2, main_pid=0)
        if self.state == "auto-restart":
            return Unit(active="activating", sub="auto-restart", exec_code="exited", exec_status=1, **usual)
        if self.state == "starting":
            return Unit(active="activating", sub="start-pre", **usual)
        if self.state == "failed":
            return Unit(active="failed", sub="failed", result="oom-kill" if self.ended == "oom" else "exit-code",
                        restarts=10, exec_code="exited", exec_status=1, load=self._load(), **usual)
        return Unit(active="inactive", sub="dead", load=self._load(), **usual)

    def _load(self):
        return "bad-setting" if "unit-file" in self.faults else "loaded"

    def _ollama(self):
        faults, unit = self.faults, Unit(name=OLLAMA, active_enter=100.0)
        if "ollama-restarting" in faults:
            return Dependency("ollama", unit._replace(active="activating", sub="auto-restart"), Probe("o", "refused"))
        if "ollama-down" in faults:
            return Dependency("ollama", unit._replace(active="failed", sub="failed", active_exit=self.now - 9),
                              Probe("o", "refused"))
        answer = "timeout" if "ollama-hung" in faults else "refused" if "ollama-useless" in faults else "ok"
        return Dependency("ollama", unit, Probe("o", answer))

    def _redis(self):
        faults, unit = self.faults, Unit(name=REDIS, active_enter=100.0)
        if "redis-missing" in faults:
            return Dependency("redis", Unit(name=REDIS, load="not-found", active="inactive"), Probe("r", "refused"))
        if REDIS in self.stopped_by_person:
            return Dependency("redis", unit._replace(active="inactive", sub="dead", active_exit=self.now - 9), Probe(
                "r", "refused"), last_job=Job("stop", "done", None))
        if "redis-loading" in faults:
            return Dependency("redis", unit, Probe("r", "loading"))
        if "redis-down" in faults:
            return Dependency("redis", unit._replace(active="failed", sub="failed", active_exit=self.now - 9),
                              Probe("r", "refused"))
        return Dependency("redis", unit, Probe("r", "refusing-writes" if "redis-refuses" in faults else "ok"))
