"""The plain data that travels through Citadel: facts, causes, plans, outcomes, the record. Imports nothing of ours.

`observe` fills in the facts; a test writes them by hand. Every field has a default that means "not looked at" or
"nothing there", so that a table of tests names only what matters to the row.

Units: seconds and bytes throughout. `*_enter` and `*_exit` are seconds of CLOCK_MONOTONIC, as systemd gives them
(org.freedesktop.systemd1(5)), 0.0 for "never since this unit was loaded"; `Host.monotonic` is the same clock's now.
"""

from collections import namedtuple


def _record(_kind, _doc, **defaults):
    """A namedtuple whose every field has a default (namedtuple(defaults=) needs Python 3.7)."""
    record = namedtuple(_kind, list(defaults))
    record.__new__.__defaults__ = tuple(defaults.values())
    record.__doc__ = _doc
    return record


Unit = _record("Unit", """One systemd unit as `systemctl show` tells it; None means that systemd did not say.
    Read as: `load` loaded|not-found|masked|bad-setting|error, `unit_file` enabled|disabled|static|masked|linked|...,
    `active` active|activating|deactivating|inactive|failed|reloading|maintenance, `sub` running|auto-restart|dead|...,
    `result` success|exit-code|signal|core-dump|oom-kill|timeout|start-limit-hit|watchdog|resources|protocol,
    `exec_code` exited|killed|dumped|"" with `exec_status` the exit status or the signal's number,
    `job` the type of the job now queued (start|stop|restart|...), `freezer` running|freezing|frozen.""",
    name="", load="loaded", unit_file="enabled", active="active", sub="running", result="success",
    main_pid=0, control_group="", exec_code="", exec_status=0, restarts=0, invocation="", job="", freezer="running",
    need_reload=False, fragment="", drop_ins=(), on_failure=(), exec_start="", environment="",
    memory=None, memory_max=None, tasks=None, restart="", restart_sec=None, start_burst=None, start_interval=None,
    state_change=0.0, active_enter=0.0, active_exit=0.0, inactive_enter=0.0, inactive_exit=0.0)

Probe = _record("Probe", """One question put to a socket, and its answer. `outcome`: ok | refused (nothing listens) |
    timeout (something listens and does not answer in full) | http-error (`status` holds the code) | loading |
    refusing-writes (redis' own words) | protocol (answers, but not in its protocol) | unreachable (any other error of
    the network) | none (no probe is set for it). `detail` is the evidence in a few words, already safe to print.""",
    target="", outcome="none", status=0, seconds=0.0, detail="")

Job = _record("Job", "The newest finished job of a unit in the journal (JOB_TYPE, JOB_RESULT); `age` in seconds.",
    type="", result="", age=None)

Stop = _record("Stop", """What our ExecStopPost= noted: `by` is crash|restart|dependency|shutdown|operator, `dependency`
    the unit that it stopped with, `invocation` the run that ended, `age` in seconds.""",
    by="", dependency="", invocation="", age=None)

Line = _record("Line", "One sanitised journal line of the unit's newest run; `by_systemd`: from PID 1, journald says.",
    priority=6, age=None, text="", by_systemd=False)

Holder = _record("Holder", "Who listens on a port. `unit` comes from its cgroup and is empty for what no unit holds.",
    port=0, pid=0, uid=None, user="", command="", unit="", control_group="")

PidFile = _record("PidFile", "A PID file beside what it names: `state` is absent|own|dead|other|unreadable.",
    path="", pid=0, state="absent", detail="")

Disk = _record("Disk", """One file system that we depend on; `path` is our reason to look. `free` is what an
    unprivileged writer has left (statvfs f_bavail); `inodes` 0: it does not count them (btrfs, vfat).""",
    path="", mount="", device="", total=0, free=0, inodes=0, inodes_free=0, read_only=False)

Memory = _record("Memory", """`available` is the kernel's MemAvailable: page cache is not used memory. `pressure` is PSI
    `some avg10` in percent, None without PSI. `biggest` is (name, bytes) of the largest users, largest first.""",
    total=0, available=0, swap_free=0, pressure=None, biggest=())

Problem = _record("Problem", "Something wrong in a file that we read: `file:line: key: why`.",
    file="", line=0, key="", why="")

Installed = _record("Installed", """What install.py left, and what became of it: `schedule` cron|timer|none, "" for
    nothing installed (or nothing that this user may see); `since` in seconds since 1970; whether the `cron` file is
    there; our own `units`; `changed`, a Problem for each unit file not as it was, `damaged` one for each code file.""",
    schedule="", since=0.0, cron=True, units=(), changed=(), damaged=())

Dependency = _record("Dependency", """A dependency by its name in the settings; `wanted`: the unit names asked for when
    none of them exists.""",
    name="", unit=Unit(), probe=Probe(), last_job=Job(), lines=(), wanted=())

Service = _record("Service", """A service and all that it leans on. `oom_kills` counts kernel OOM kills in its newest
    run; `stopped_pids` are its processes in state T (SIGSTOP).""",
    unit=Unit(), probe=Probe(), dependencies=(), last_job=Job(), stop=Stop(), lines=(), holder=None, port=0,
    pid_files=(), stopped_pids=(), oom_kills=0, settings=(), slow_after=None)

Host = _record("Host", """What all services share. `unanswered` says why systemd could not be asked ("" when it
    answered); `installed` is what we ourselves rest on, `recovery` our recovery unit and `timer` that of the health
    check, both as systemd has them (None: not asked for).""",
    name="", boot_id="", monotonic=0.0, systemd="", state="running", unanswered="", disks=(), memory=Memory(),
    installed=Installed(), recovery=None, timer=None)

Facts = _record("Facts", "Everything one look brought home.", host=Host(), services=())

# What the service does, whatever the cause.
SERVING = "serving"             # runs, and answers as it should
STARTING = "starting"           # within the time that a start may take
RESTARTING = "restarting"       # down, and systemd itself is about to start it again
STOPPING = "stopping"
RUNNING = "running"             # runs, and does not answer as it should
DOWN = "down"
UNKNOWN = "unknown"             # systemd could not be asked

# How a cause is to be treated, where its name alone does not say so.
PASSING = "passing"             # over by itself soon: loading, starting, or systemd is restarting it
FROZEN = "frozen"               # its cgroup is frozen: no signal reaches it before it is thawed
UNRESPONSIVE = "unresponsive"   # its processes live and do not answer, perhaps not even to SIGTERM
ACTIVE = "active"               # systemd has it running, so that only a restart, not a start, does anything

Cause = _record("Cause", """One thing that is wrong: its name in the contract, the evidence in a sentence, the unit,
    path or port that it is about (a sentence about the service itself goes without its subject: see `full_sentence`).
    One that is not `actionable` is a remark: worth a line, no reason to act.""",
    cause="", because="", target="", actionable=True, manner="")


class Finding(_record("Finding", "", unit="", cause="", because="", target="", others=(), since=None, condition=SERVING,
                      actionable=True, manner="")):
    """What is wrong with one service: its primary cause, "" for none, and the `others` beneath it. `since`: seconds in
    this condition, None if unknown."""

    __slots__ = ()

    @property
    def well(self):
        """Serving, and no cause to act. (A service that is starting has no cause either.)"""
        return not self.cause and self.condition == SERVING

    @property
    def actionable_causes(self):
        """All that has to be treated, by precedence, the primary cause first."""
        own = (Cause(self.cause, self.because, self.target, self.actionable, self.manner),) if self.cause else ()
        return own + tuple(cause for cause in self.others if cause.actionable)


def full_sentence(unit, cause):
    """The sentence of a Cause or Finding of that service where it stands alone, with its subject."""
    return "%s %s" % (unit, cause.because) if cause.target in ("", unit) else cause.because


START, CLEAN, REPAIR, RELIEVE = 1, 2, 3, 4              # the levels of the ladder (plan)
WARNING, CRITICAL, ALWAYS_CRITICAL = "warning", "critical", "critical, even while it passes by itself"

About = _record("About", """All that is known of a cause but its condition, which is in diagnose. `advice`: what the
    operator should do; `commands`: what to type for it. `level`: the level of the ladder that treats it.
    `confirmations`: how many looks in a row must find it before it is treated (a dependency's: while the service still
    answers). `veto`: why no restart can help, or "". `gravity`: what `check` makes of it, see `gravity_of`. In the
    texts %(unit)s is the service, %(target)s what the cause is about.""",
    name="", advice="", commands="", level=START, confirmations=1, veto="", gravity=CRITICAL)

_MANAGER = "/opt/citadel/bin/citadel-restart-manager --service %(unit)s "
_LOGS = _MANAGER + "logs"
_DEPENDENCY = "systemctl status %(target)s; journalctl -n 50 -u %(target)s"

CAUSES = (
    About("gateway.crashed", "read the log to learn why it ended", _LOGS),
    About("gateway.crash-loop", "read the log to learn why each run ends", _LOGS, CLEAN, gravity=ALWAYS_CRITICAL),
    About("gateway.hung", "read the log to learn why it does not answer", _LOGS),
    About("gateway.http-error", "read the log to learn why it answers with an error", _LOGS, confirmations=2),
    About("gateway.slow", "look for what uses processor, memory or disk", "top", confirmations=2, gravity=WARNING),
    About("gateway.oom", "raise its MemoryMax=, or give the host more", "free -h; systemctl cat %(unit)s", RELIEVE),
    About("gateway.start-timeout", "read the log to learn what its start waits for", _LOGS),
    About("gateway.stopped-by-operator", "start it when it is wanted again (if masked, unmask it first)",
          "systemctl start %(unit)s", veto="Citadel does not start what an operator has stopped", gravity=WARNING),
    About("gateway.stopped-with-dependency", "read the log of the dependency it stopped with", _MANAGER + "status"),
    About("port.taken", "stop that process, or give one of the two another port", "ss -ltnp sport = :%(target)s",
          veto="starting would fail, and Citadel never kills processes it does not manage"),
    About("disk.full", "make room on that file system", "df -h %(target)s; du -xh %(target)s | sort -h", RELIEVE),
    About("disk.inodes", "remove files there", "df -i %(target)s; du -x --inodes %(target)s | sort -n", RELIEVE),
    About("disk.readonly", "repair the disk, then mount it writable", "journalctl -k; findmnt -T %(target)s", RELIEVE),
    About("memory.low", "stop what uses it, or give the host more", "free -h; ps aux --sort=-rss | head", RELIEVE),
    About("config.invalid", "correct that line, then start the service", "systemctl start %(unit)s",
          veto="a restart would read the same %(target)s again"),
    About("unit.changed", "run install.py again, or `systemctl revert`; then reload systemd",
          "systemd-analyze verify %(unit)s; systemctl daemon-reload",
          veto="a start would fail while systemd cannot load its unit"),
    About("systemd.unresponsive", "look at the console; a reboot may be the only way", "journalctl -b -n 50 _PID=1",
          veto="without systemd nothing can be started or stopped"),
    About("unknown", "see what Citadel found and would do", _MANAGER + "explain"),
    About("dependency.*.down", "repair it; the service comes back by itself when it starts", _DEPENDENCY, REPAIR),
    About("dependency.*.hung", "read the log of that dependency", _DEPENDENCY, REPAIR, confirmations=2),
    About("dependency.*.loading", "wait until it is ready; a restart would begin anew", _DEPENDENCY, REPAIR),
    About("dependency.*.refusing-writes", "look at the disk and the memory of that dependency", _DEPENDENCY, REPAIR),
    About("dependency.*.missing", "install that dependency, or correct `depends` in citadel.conf",
          "systemctl list-unit-files", veto="the service cannot start without that dependency"),
    About("dependency.*.stopped-by-operator", "start it when it is wanted again (if masked, unmask it first)",
          "systemctl start %(target)s", gravity=WARNING,
          veto="starting the service would also start that dependency, which an operator has stopped"),
)
_ABOUT = {row.name: row for row in CAUSES}


def about(cause):
    """The row of a cause by its full name ("dependency.redis.hung"); that of "unknown" for a name without one."""
    if cause.startswith("dependency."):
        cause = "dependency.*." + cause.rpartition(".")[2]
    return _ABOUT.get(cause) or _ABOUT["unknown"]


def gravity_of(cause):
    """WARNING or CRITICAL, for a Cause or a Finding that has one."""
    gravity = about(cause.cause).gravity
    return WARNING if gravity == WARNING or (gravity == CRITICAL and cause.manner == PASSING) else CRITICAL


HEALTHY, WAITING, STOOD_DOWN, ESCALATED, ACT = "healthy", "waiting", "stood-down", "escalated", "act"

# Seconds that each kind of step may take. All steps of a plan together stay below the ten minutes of a pass.
PATIENCE = {"reset-failed": 10, "start": 30, "restart": 60, "kill": 10, "thaw": 10, "clean": 30, "relieve-disk": 60,
            "relieve-memory": 30, "wait-ready": 60, "escalate": 60, "resolve": 60}

Step = namedtuple("Step", "do target because seconds")
Step.__doc__ = "One thing to do, to what, why, and for how many seconds at most."

Plan = _record("Plan", """What to do now about one service. `verdict`: one of the contract's, or `act`, whose outcome is
    known after acting. `veto`: the sentence that forbids a restart, or "". `next_in`: seconds until the next attempt or
    useful look, None for nothing to come. `gives_up_in`: seconds until an alert is sent if nothing helps and each try
    takes its whole time, None if that is not in sight. `level`: of an attempt, for the record. `counts`: it is an
    attempt, to be counted before it is made.""",
    unit="", verdict="", steps=(), because="", veto="", next_in=None, gives_up_in=None, level=0, counts=False)

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

Outcome = namedtuple("Outcome", "step outcome seconds detail changed")
Outcome.__doc__ = """What came of a step: `outcome` ok|failed|skipped, `detail` the evidence in a few words, `changed`
what is different now (bytes_freed, files_removed, invocation, unloaded, ...)."""

Attempt = namedtuple("Attempt", "age what level")
Attempt.__doc__ = "One counted attempt, `age` seconds ago."

Escalation = _record("Escalation", """An alert was sent in the open incident: `age` seconds since then, or since the
    newest attempt after it; `count`: 1, and 1 more for each of these attempts, in any incident of the fault; `cause`:
    what was found.""",
    count=0, age=0.0, cause="")


class History(_record(
        "History", "", attempts=(), level=0, incident="", escalation=None, healthy_for=None, seen={}, last_pass=None,
        lost=None, open_for=None, spell_for=None, relapsed=False, maintenance="", treated={})):
    """What is on record of one service; ages in seconds, None for never. `attempts`: newest first, of any cause and
    incident. `level`: the highest level tried for this fault. A fault ends when the service was well for
    `healthy_forgets`, and may have several incidents: `spell_for` is its age, `relapsed`: the open incident is not its
    first. `seen`: passes in a row, by cause (0: not by the last one). `open_for`: the age of the incident. `lost`: of a
    loss of the state; until it is a window old, what was lost counts as made. Recovery adds the reason of a
    `maintenance`, and `treated`: attempts in the window by dependency unit, for all services."""

    __slots__ = ()

    @property
    def escalated(self):
        """Whether an alert was sent in the open incident."""
        return bool(self.escalation and self.open_for is not None and self.escalation.age <= self.open_for)

    @property
    def retries(self):
        """Attempts made since an alert was sent."""
        return max(0, self.escalation.count - 1) if self.escalation else 0

    @property
    def tries(self):
        """Attempts on `level` for this fault."""
        since = -1.0 if self.spell_for is None else self.spell_for
        return sum(one.level == self.level and one.age <= since for one in self.attempts)


Alert = namedtuple("Alert", "kind unit cause because advice incident host started ended severity")
Alert.__doc__ = """What operators are told: `kind` firing|resolved; `started` and `ended` in seconds since 1970, `ended`
None while it lasts. The identity is (incident, kind); nothing that changes from one look to the next is part of it."""
