"""What was seen on the host: plain data, no judgement.

`observe` fills these in, `diagnose` reads them; a test writes them by hand. Every field has a default that means
"not looked at" or "nothing there", so that a table of tests names only what matters to the row.

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


Unit = _record(
    "Unit",
    """One systemd unit as `systemctl show` tells it; None means that systemd did not say.

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

Probe = _record(
    "Probe",
    """One question put to a socket, and how far up the ladder (port, protocol, a real request) it got.

    `outcome`: ok | refused (nothing listens) | timeout (something listens and does not answer in full) |
    http-error (`status` holds the code) | loading | refusing-writes (redis' own words) | protocol (answers, but not
    in its protocol) | unreachable (any other error of the network) | none (no probe is set for it).
    `detail` is the evidence in a few words, already safe to print.""",
    target="", outcome="none", status=0, seconds=0.0, detail="")

Job = _record(
    "Job",
    "The newest finished job of a unit in the journal (fields JOB_TYPE, JOB_RESULT); `age` in seconds.",
    type="", result="", age=None)

Stop = _record(
    "Stop",
    """What our ExecStopPost= noted while the unit was stopping: `by` is crash|restart|dependency|shutdown|operator,
    `dependency` the unit that took it along, `invocation` the run that ended, `age` in seconds.""",
    by="", dependency="", invocation="", age=None)

Line = _record(
    "Line",
    "One journal line of the unit's newest run, sanitised; `by_systemd` that it is PID 1's, by journald's own word.",
    priority=6, age=None, text="", by_systemd=False)

Holder = _record(
    "Holder",
    "Who listens on a port. `unit` comes from its cgroup and is empty for what no unit holds.",
    port=0, pid=0, uid=None, user="", command="", unit="", control_group="")

PidFile = _record(
    "PidFile",
    "A PID file beside what it names: `state` is absent|own|dead|stranger|unreadable.",
    path="", pid=0, state="absent", detail="")

Disk = _record(
    "Disk",
    """One file system that we depend on, `path` being our reason to look. `free` is what an unprivileged writer has
    left (statvfs f_bavail); `inodes` 0 means that the file system does not count them (btrfs, vfat).""",
    path="", mount="", device="", total=0, free=0, inodes=0, inodes_free=0, read_only=False)

Memory = _record(
    "Memory",
    """`available` is the kernel's MemAvailable: page cache is not used memory. `pressure` is PSI `some avg10` in
    percent, None where the kernel has no PSI. `biggest` is (name, bytes) of the largest users, largest first.""",
    total=0, available=0, swap_free=0, pressure=None, biggest=())

Problem = _record(
    "Problem", "Something wrong in a file that we read: `file:line: key: why`.", file="", line=0, key="", why="")

Installed = _record(
    "Installed",
    """What install.py left, and what became of it: `schedule` cron|timer|none, "" for nothing installed (or nothing
    that this user may see); `since` in seconds since 1970; whether the `cron` file is there; our own `units`;
    `changed`, a Problem for each unit file that is not as it was, and `damaged` one for each file of our code.""",
    schedule="", since=0.0, cron=True, units=(), changed=(), damaged=())

Dependency = _record(
    "Dependency",
    "A dependency by its name in the settings; `wanted` are the unit names asked for when none of them exists.",
    name="", unit=Unit(), probe=Probe(), last_job=Job(), lines=(), wanted=())

Service = _record(
    "Service",
    """A service and all that it leans on. `oom_kills` counts kernel OOM kills in its newest run; `stopped_pids` are
    its processes in state T (SIGSTOP).""",
    unit=Unit(), probe=Probe(), dependencies=(), last_job=Job(), stop=Stop(), lines=(), holder=None, port=0,
    pid_files=(), stopped_pids=(), oom_kills=0, settings=(), slow_after=None)

Host = _record(
    "Host",
    """What all services share. `unanswered` says why systemd could not be asked ("" when it answered);
    `installed` is what we ourselves rest on, `recovery` our recovery unit and `timer` that of the health check, both
    as systemd has them (None: not asked for).""",
    name="", boot_id="", monotonic=0.0, systemd="", state="running", unanswered="", disks=(), memory=Memory(),
    installed=Installed(), recovery=None, timer=None)

Facts = _record("Facts", "Everything one look brought home.", host=Host(), services=())

# What the service does, seen apart from why.
SERVING = "serving"             # runs, and answers as it should
STARTING = "starting"           # on its way up, and within its time
RESTARTING = "restarting"       # down, and systemd itself is about to start it again
STOPPING = "stopping"           # on its way down
RUNNING = "running"             # runs, and does not answer as it should
DOWN = "down"
UNKNOWN = "unknown"             # systemd could not be asked

# How a cause is to be met, where its name alone does not say so.
PASSING = "passing"             # over by itself soon: loading, starting, or systemd is restarting it
FROZEN = "frozen"               # its cgroup is frozen: no signal reaches it before it is thawed
UNRESPONSIVE = "unresponsive"                   # its processes live and do not answer, nor may they to SIGTERM
ACTIVE = "active"               # systemd has it running, so that only a restart, not a start, does anything

Cause = namedtuple("Cause", "cause because target actionable manner")
Cause.__new__.__defaults__ = ("", True, "")
Cause.__doc__ = """One thing that is wrong: its name in the contract, the sentence that says how we know, the unit, path
or port that it is about. What does not press is a remark: worth a line, no reason to act. `manner` as above."""

_Finding = namedtuple("Finding", "unit cause because target others since condition actionable manner")
_Finding.__new__.__defaults__ = ("", "", "", (), None, SERVING, True, "")


class Finding(_Finding):
    """What is wrong with one service: its primary cause, "" for none, and the `others` beneath it.

    `since` is for how many seconds it has been in this condition, None if nobody knows. A service on its way up has no
    cause either; so ask `well`.
    """

    __slots__ = ()

    @property
    def well(self):
        """Serving, and nothing that presses."""
        return not self.cause and self.condition == SERVING

    @property
    def actionable_causes(self):
        """All that has to be met, by precedence, the primary cause first."""
        own = (Cause(self.cause, self.because, self.target, self.actionable, self.manner),) if self.cause else ()
        return own + tuple(cause for cause in self.others if cause.actionable)

HEALTHY, WAITING, STOOD_DOWN, ESCALATED, ACT = "healthy", "waiting", "stood-down", "escalated", "act"

# Seconds that each kind of step may take. All steps of a plan together stay below the ten minutes of a pass.
PATIENCE = {"reset-failed": 10, "start": 30, "restart": 60, "kill": 10, "thaw": 10, "clean": 30, "relieve-disk": 60,
            "relieve-memory": 30, "wait-ready": 60, "escalate": 60, "resolve": 60}

Step = namedtuple("Step", "do target because seconds")
Step.__doc__ = "One thing to do, to what, why, and for how many seconds at most."

Plan = namedtuple("Plan", "unit verdict steps because veto next_in gives_up_in level counts")
Plan.__new__.__defaults__ = ((), "", "", None, None, 0, False)
Plan.__doc__ = """What to do now about one service.

`verdict` is one of the contract's, or `act`: what then comes of it is known after acting. `veto` is the sentence that
forbids a restart, or "". `next_in`: seconds until the next attempt or the next look worth having, None for nothing to
come; `gives_up_in`: seconds until a person is called if nothing helps and each try takes its whole time, None if that is not
in sight. `level` is the
rung that an attempt stands on, for the record. `counts`: it is an attempt, to be counted before it is made."""

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

Outcome = namedtuple("Outcome", "step outcome seconds detail changed")
Outcome.__doc__ = """What came of a step: `outcome` ok|failed|skipped, `detail` the evidence in a few words, `changed`
what is different now (bytes_freed, files_removed, invocation, unloaded, ...)."""

Attempt = namedtuple("Attempt", "age what level")
Attempt.__doc__ = "One counted attempt, `age` seconds ago."

Escalation = namedtuple("Escalation", "count age cause")
Escalation.__new__.__defaults__ = ("",)
Escalation.__doc__ = """A person was called in the incident that is open: `age` seconds since the call, or since the
newest attempt after it; `count` goes on from incident to incident until the service was well for long enough; `cause`
is what was found then."""

History = namedtuple("History", "attempts level incident escalation healthy_for seen last_pass lost open_for "
                                "spell_for relapsed")
History.__new__.__defaults__ = ((), 0, "", None, None, {}, None, None, None, None, False)
History.__doc__ = """What is on record of one service; ages in seconds, None for never.

`attempts` newest first, `seen` passes in a row by cause (0: it was seen, but not by the last pass),
`spell_for` since the illness began whose end was not lasting yet: an incident is over when the service is well, the
spell when it was well for long enough, and till then the `level` stays; `relapsed`: the open incident is not its first,
`lost` the age of a loss of the state: until it is a window old, the attempts that were lost must be taken as made."""

Alert = namedtuple("Alert", "kind unit cause because advice incident host started ended severity")
Alert.__doc__ = """What a person is told: `kind` firing|resolved; `started` and `ended` in seconds since 1970, `ended`
None while it lasts. The identity is (incident, kind); nothing that changes from one look to the next is part of it."""
