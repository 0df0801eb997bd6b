"""Facts to findings: what is wrong with each service, the root of it first, with the evidence in a sentence.

Pure: no clock, no files, no programs; the same facts always give the same finding. `check` runs through here each
minute, so nothing heavy is imported.

Read FAMILIES first. Each family of causes is one function that looks at one service and says what it sees; their
order is the precedence. A root stands before what it brings about: a full disk makes redis refuse writes, a redis that
is down takes the gateway along, and it is the disk that has to be named. The first cause that presses becomes the
finding's own; all the others stand beneath it.
"""

from citadel.core.text import plural, printable, size, span
from citadel.diagnose import dependency, service
from citadel.diagnose.evidence import (
    BEFORE_EXEC,
    Seen,
    age_of,
    another_holder,
    as_installed,
    end_of,
    is_frozen,
    is_up,
    is_young,
    last_run,
    telling,
)
from citadel.diagnose.stopped import stopped_by
from citadel.model import DOWN, PASSING, RESTARTING, RUNNING, SERVING, STARTING, STOPPING, UNKNOWN, Cause, Finding

ALMOST_NONE = 0.2               # of a mark: a service that still answers is about to stop doing so


def diagnose(facts, settings):
    """One Finding a service, in the order of the settings."""
    return tuple(_examine(one, facts.host, settings) for one in facts.services)


def _examine(one, host, settings):
    unit, seen = one.unit, Seen(one, host, settings, _condition(one, host, settings))
    causes = [cause for family in FAMILIES for cause in family(seen)]
    primary = next((cause for cause in causes if cause.actionable), None)
    since = age_of(host, unit.active_enter if seen.condition in (SERVING, RUNNING) else end_of(unit))
    if primary is None:
        return Finding(unit.name, "", _why_well(seen, since), "", tuple(causes), since, seen.condition)
    others = tuple(cause for cause in causes if cause is not primary)
    return Finding(unit.name, primary.cause, primary.because, primary.target, others, since, seen.condition,
                   primary.actionable, primary.manner)


def _condition(one, host, settings):
    unit, probe = one.unit, one.probe
    if host.unanswered:
        return UNKNOWN
    if unit.sub.startswith("auto-restart"):             # auto-restart-queued on 257 and later
        return RESTARTING
    if unit.active == "activating":
        return STARTING
    if unit.active == "deactivating":
        return STOPPING
    if is_up(unit):
        if is_frozen(unit):
            return RUNNING
        if probe.outcome in ("ok", "none") and another_holder(one) is None:
            return SERVING
        # A Type=simple service is "active" at once and listens seconds later; one with workers listens before it can
        # answer. A process that somebody has stopped is not starting.
        if is_young(unit, host, settings.service(unit.name).start_timeout) and not one.stopped_pids:
            return STARTING
        return RUNNING
    if unit.job in ("start", "restart", "try-restart", "reload-or-start"):
        return STARTING                                 # queued behind what it is ordered after
    if unit.active == "inactive" and not unit.active_exit and host.state in ("initializing", "starting"):
        return STARTING                                 # the host boots; its turn has not come yet
    return DOWN


def _why_well(seen, since):
    name, duration = seen.service.unit.name, " for " + span(since) if since is not None else ""
    if seen.condition == SERVING:
        probe = seen.service.probe
        answer = " and answers in " + span(probe.seconds) if probe.outcome == "ok" else ""
        return "%s has been running%s%s" % (name, duration, answer)
    if seen.condition == STARTING:
        young = seen.service.unit.active_enter if is_up(seen.service.unit) else seen.service.unit.inactive_exit
        age = age_of(seen.host, young)
        return "%s is starting%s" % (name, ", since " + span(age) if age is not None else "")
    return "%s is %s" % (name, seen.condition)


# --- the families, roots before what they bring about -----------------------------------------------------------------

def _systemd(seen):
    """Without PID 1 nothing else can be believed, or done."""
    if not seen.host.unanswered:
        return []
    still = ("; %s still answers" % seen.service.unit.name if seen.service.probe.outcome == "ok" else
             "; %s gives no good answer either (%s)" % (seen.service.unit.name, seen.service.probe.outcome)
             if seen.service.probe.outcome != "none" else "")
    return [Cause("systemd.unresponsive", "systemd could not be asked: %s%s" % (printable(seen.host.unanswered), still),
                  "systemd")]


def _left_down(seen):
    """A person's will goes before any cause: what somebody took out of service is not broken."""
    unit, host = seen.service.unit, seen.host
    if seen.condition != DOWN:
        return []
    if "masked" in (unit.load, unit.unit_file):
        why = "%s is masked: a person has ruled out that it runs" % unit.name
    elif host.state == "stopping":
        why = "the system is shutting down, and %s with it" % unit.name
    elif unit.unit_file == "disabled":
        why = "%s is disabled: a person has taken it out of service" % unit.name
    else:
        who, why = stopped_by(seen.service, host)
        if who != "operator":
            return []
    return [Cause("gateway.stopped-by-operator", why, unit.name)]


def _unloadable(seen):
    """A unit that systemd cannot read will not start, however often it is asked."""
    unit = seen.service.unit
    if seen.condition != DOWN or unit.load not in ("not-found", "bad-setting", "error"):
        return []
    if unit.load == "not-found":
        return [Cause("unit.changed", "%s does not exist on this host: it has no unit file" % unit.name, unit.name)]
    return [Cause("unit.changed", "systemd cannot load %s (%s): `systemd-analyze verify %s` names the line"
                  % (unit.fragment or unit.name, unit.load, unit.name), unit.fragment or unit.name)]


def _settings(seen):
    """Settings are read at the start: they are to blame for a run that the program's own last words lay to the file,
    or that ended by itself before it ever got going, with nothing else to lay it to. A service that answers, was killed
    or ran for hours has lived with them, whatever we think of them; then they are a remark."""
    if not seen.service.settings:
        return []
    explained = any(cause.actionable for family in (_disks, _dependencies, _port) for cause in family(seen))
    return [Cause("config.invalid", "%s: %s" % (_place(problem), printable(problem.why)), problem.file,
                  _is_named(problem, seen) or (_ended_young(seen) and not explained))
            for problem in seen.service.settings]


def _disks(seen):
    """A full disk stops nearly everything, and nearly everything else that is then seen is its consequence."""
    causes, done, marks = [], set(), seen.settings.disk
    for disk in seen.host.disks:
        device = disk.mount or disk.device or disk.path
        if device in done:                              # several of our paths on one file system
            continue
        done.add(device)
        where = "%s (%s)" % (disk.path, disk.mount) if disk.mount not in ("", disk.path) else disk.path
        if disk.read_only:
            causes.append(Cause("disk.readonly", "the file system of %s is mounted read-only, as the kernel does after "
                                "an error of the disk" % where, disk.path, seen.condition != SERVING))
        if disk.total and disk.free < marks.min_free.of(disk.total):
            causes.append(Cause("disk.full", "the file system of %s has %s of %s left" % (
                where, size(disk.free), size(disk.total)), disk.path,
                _presses(seen, disk.free, marks.min_free.of(disk.total))))
        if disk.inodes and disk.inodes_free < marks.min_inodes.of(disk.inodes):
            causes.append(Cause("disk.inodes", "the file system of %s has %d of %d inodes left, that is room for %s" % (
                where, disk.inodes_free, disk.inodes, plural(disk.inodes_free, "file")), disk.path,
                _presses(seen, disk.inodes_free, marks.min_inodes.of(disk.inodes))))
    return causes


def _dependencies(seen):
    """What the service leans on. One that will be back by itself stands behind one that will not."""
    causes = [cause for cause in (dependency.fault_of(one, seen) for one in seen.service.dependencies) if cause]
    return sorted(causes, key=lambda cause: cause.manner == PASSING)


def _port(seen):
    """Whoever holds our port while we do not: no start can succeed. Compared by cgroup; a name can be anybody's."""
    holder = another_holder(seen.service)
    if holder is None:
        return []
    who = "%s (PID %d%s)" % (printable(holder.command or "a process", 60), holder.pid,
                             ", user " + printable(holder.user, 40) if holder.user else
                             ", uid %d" % holder.uid if holder.uid is not None else "")
    return [Cause("port.taken", "port %d is held by %s%s, and not by %s" % (
        holder.port or seen.service.port, who, " of " + printable(holder.unit, 80) if holder.unit else "",
        seen.service.unit.name), str(holder.port or seen.service.port))]


def _memory(seen):
    """MemAvailable and stalls, never "free": page cache is not used memory."""
    memory, marks = seen.host.memory, seen.settings.memory
    mark = marks.min_available.of(memory.total)
    low = memory.total and memory.available < mark
    stalled = memory.pressure is not None and memory.pressure > marks.max_pressure
    if not low and not stalled:
        return []
    why = ["%s of %s are available" % (size(memory.available), size(memory.total))] if low else []
    why += ["processes waited for memory in %d %% of the last 10 s" % memory.pressure] if stalled else []
    users = ", ".join("%s %s" % (printable(name, 40), size(count)) for name, count in memory.biggest[:3])
    return [Cause("memory.low", "%s%s" % (" and ".join(why), "; the biggest users: " + users if users else ""),
                  "memory", _presses(seen, memory.available, mark))]


def _service(seen):
    """The service's own state: what is left to name when nothing beneath it explains more."""
    if seen.condition in (UNKNOWN, STARTING, STOPPING) or _left_down(seen):
        return []
    if seen.condition == SERVING:
        return service.while_serving(seen)
    if seen.condition == RUNNING:
        return [service.while_running(seen)]
    return [service.once_ended(seen)]


def _unit_files(seen):
    """A unit file that is not as installed, but loads, may be a person's good reason: named, and no more."""
    causes = [Cause("unit.changed", as_installed(one), one.file, False) for one in seen.host.installed.changed]
    unit = seen.service.unit
    if unit.need_reload:
        causes.append(Cause("unit.changed", "%s has changed on disk since systemd read it; `systemctl daemon-reload` "
                            "is due" % (unit.fragment or unit.name), unit.fragment or unit.name, False))
    return causes


# The precedence.
FAMILIES = (
    _systemd,           # cannot be asked: all else is guesswork
    _left_down,         # a person wanted it so
    _unloadable,        # nothing can start
    _settings,          # the start itself is doomed
    _disks,             # beneath dependencies: redis refuses writes *because* the disk is full
    _dependencies,      # beneath the service: it is stopped with them, or hangs on them
    _port,              # a start would fail at bind()
    _memory,            # beneath OOM kills and timeouts
    _service,           # the symptom
    _unit_files,        # a remark, never a cause by itself
)


# --- small readings ---------------------------------------------------------------------------------------------------

def _presses(seen, left, mark):
    """Short of something: a fault for a service that is down, a remark for one that answers, until it is critical."""
    return seen.condition != SERVING or left < ALMOST_NONE * mark


def _is_named(problem, seen):
    """Whether the program's own telling words name the file."""
    name = problem.file.rpartition("/")[2]
    return bool(name) and seen.condition not in (SERVING, STARTING, STOPPING) and any(
        name in line.text for line in telling(seen.service.lines))


def _ended_young(seen):
    """Whether the last run ended by itself, with an error, before it ever got going."""
    unit = seen.service.unit
    return (seen.condition in (DOWN, RESTARTING) and unit.exec_code == "exited" and unit.exec_status != 0
            and unit.exec_status not in BEFORE_EXEC
            and last_run(unit) < seen.settings.service(unit.name).start_timeout)


def _place(problem):
    where = "%s:%d" % (problem.file, problem.line) if problem.line else problem.file
    return printable(": ".join(part for part in (where, problem.key) if part), 160)
