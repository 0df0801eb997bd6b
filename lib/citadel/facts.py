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
