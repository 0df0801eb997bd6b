"""Facts to findings: what is wrong with each service, the root cause first, with the evidence in a sentence.

Pure: the same facts always give the same finding. `check` runs through here each minute: nothing heavy is imported.

Read FAMILIES first. Each family of causes is a function that looks at one service and says what it sees; their order is
the precedence. A root stands before its consequence: a full disk makes redis refuse writes, and it is the disk that has
to be named. The first actionable cause becomes the finding's own; the others stand beneath it. What is known of a cause
beyond its condition is in model.CAUSES.
"""

from citadel.core.text import plural, printable, size, span
from citadel.diagnose import dependency, evidence, service
from citadel.diagnose.stopped import stopped_by
from citadel.model import DOWN, PASSING, RESTARTING, RUNNING, SERVING, STARTING, STOPPING, UNKNOWN, Cause, Finding

ALMOST_NONE = 0.2               # the share of a mark below which a service that still answers is about to stop doing so


def diagnose(facts, settings):
    """One Finding a service, in the order of the settings."""
    return tuple(_examine(one, facts.host, settings) for one in facts.services)


def _examine(one, host, settings):
    unit, seen = one.unit, evidence.Seen(one, host, settings, _condition(one, host, settings))
    causes = [cause for family in FAMILIES for cause in family(seen)]
    since = evidence.age_of(host, unit.active_enter if seen.condition in (SERVING, RUNNING) else evidence.end_of(unit))
    primary = next((cause for cause in causes if cause.actionable), Cause("", _why_well(seen, since)))
    others = tuple(cause for cause in causes if cause is not primary)
    return Finding(unit.name, primary.cause, primary.because, primary.target, others, since, seen.condition,
                   primary.actionable, primary.manner)


def _condition(one, host, settings):
    unit, probe = one.unit, one.probe
    if host.unanswered:
        return UNKNOWN
    if unit.sub.startswith("auto-restart"):             # auto-restart-queued on 257 and later
        return RESTARTING
    if unit.active in ("activating", "deactivating"):
        return STARTING if unit.active == "activating" else STOPPING
    if evidence.is_up(unit):
        if evidence.is_frozen(unit):
            return RUNNING
        if probe.outcome in ("ok", "none") and evidence.another_holder(one) is None:
            return SERVING
        # A Type=simple service is "active" at once and listens seconds later; one with workers listens before it can
        # answer. A process that was stopped (SIGSTOP) is not starting.
        young = evidence.is_young(unit, host, settings.service(unit.name).start_timeout)
        return STARTING if young and not one.stopped_pids else RUNNING
    if unit.job in ("start", "restart", "try-restart", "reload-or-start"):
        return STARTING                                 # queued behind what it is ordered after
    if unit.active == "inactive" and not unit.active_exit and host.state in ("initializing", "starting"):
        return STARTING                                 # the host boots; its turn has not come yet
    return DOWN


def _why_well(seen, since):
    unit, probe = seen.service.unit, seen.service.probe
    if seen.condition == SERVING:
        return "has been running%s%s" % (" for " + span(since) if since is not None else "", " and answers in " + span(
            probe.seconds) if probe.outcome == "ok" else "")
    age = evidence.age_of(seen.host, unit.active_enter if evidence.is_up(unit) else unit.inactive_exit)
    if seen.condition == STARTING and age is not None:
        return "has been starting for " + span(age)
    return "is " + seen.condition


# --- the families, roots before what they bring about -----------------------------------------------------------------

def _systemd(seen):
    """Without PID 1 nothing else is certain, or can be done."""
    if not seen.host.unanswered:
        return []
    outcome = seen.service.probe.outcome
    still = {"ok": "; the service still answers", "none": ""}.get(
        outcome, "; the service does not answer either (%s)" % outcome)
    return [Cause("systemd.unresponsive", "systemd could not be asked: %s%s" % (printable(seen.host.unanswered), still),
                  "systemd")]


def _left_down(seen):
    """The operator's decision goes before any cause: what was taken out of service is not broken."""
    unit, host = seen.service.unit, seen.host
    if seen.condition != DOWN:
        return []
    if "masked" in (unit.load, unit.unit_file):
        why = "is masked by an operator"
    elif host.state == "stopping":
        why = "is down because the system is shutting down"
    elif unit.unit_file == "disabled":
        why = "is disabled by an operator"
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
        return [Cause("unit.changed", "does not exist on this host: it has no unit file", unit.name)]
    why = "systemd cannot load %s" % unit.fragment if unit.fragment else "cannot be loaded by systemd"
    return [Cause("unit.changed", "%s (%s)" % (why, unit.load), unit.fragment or unit.name)]


def _settings(seen):
    """Settings are read at the start: they are the cause of a run whose own last words name the file, or that ended by
    itself before it was ready, with no other explanation. With a service that answers, was killed or ran for hours
    they are a remark."""
    if not seen.service.settings:
        return []
    explained = any(cause.actionable for family in (_disks, _dependencies, _port) for cause in family(seen))
    return [Cause("config.invalid", "%s: %s" % (printable("%s%s%s" % (
        one.file, ":%d" % one.line if one.line else "", ": " + one.key if one.key else ""), 160), printable(one.why)),
                  one.file, _is_named(one, seen) or (_ended_young(seen) and not explained))
            for one in seen.service.settings]


def _disks(seen):
    """A full disk stops nearly everything, and most of what is then seen is its consequence."""
    causes, done, marks = [], set(), seen.settings.disk
    for disk in seen.host.disks:
        device = disk.mount or disk.device or disk.path
        if device in done:                              # several of our paths on one file system
            continue
        done.add(device)
        where = "%s (%s)" % (disk.path, disk.mount) if disk.mount not in ("", disk.path) else disk.path
        if disk.read_only:
            causes.append(Cause("disk.readonly", "the file system of %s is mounted read-only, as the kernel does after "
                                "a disk error" % where, disk.path, seen.condition != SERVING))
        if disk.total and disk.free < marks.min_free.of(disk.total):
            causes.append(Cause("disk.full", "the file system of %s has %s of %s left" % (
                where, size(disk.free), size(disk.total)), disk.path,
                _is_actionable(seen, disk.free, marks.min_free.of(disk.total))))
        if disk.inodes and disk.inodes_free < marks.min_inodes.of(disk.inodes):
            causes.append(Cause("disk.inodes", "the file system of %s has %d of %d inodes left: room for %s" % (
                where, disk.inodes_free, disk.inodes, plural(disk.inodes_free, "file")), disk.path,
                _is_actionable(seen, disk.inodes_free, marks.min_inodes.of(disk.inodes))))
    return causes


def _dependencies(seen):
    """What the service needs. One that will be back by itself stands behind one that will not."""
    causes = [cause for cause in (dependency.fault_of(one, seen) for one in seen.service.dependencies) if cause]
    return sorted(causes, key=lambda cause: cause.manner == PASSING)


def _port(seen):
    """While another process has the port, no start can succeed."""
    holder = evidence.another_holder(seen.service)
    if holder is None:
        return []
    port, user = holder.port or seen.service.port, holder.user or ("" if holder.uid is None else str(holder.uid))
    who = [printable(holder.command, 60), "PID %d" % holder.pid, user and "user " + printable(user, 40),
           printable(holder.unit, 80)]
    return [Cause("port.taken", "port %d is in use by another process (%s)" % (port, ", ".join(filter(None, who))),
                  str(port))]


def _memory(seen):
    """MemAvailable and stalls, never "free": page cache is not used memory."""
    memory, marks = seen.host.memory, seen.settings.memory
    mark = marks.min_available.of(memory.total)
    low = memory.total and memory.available < mark
    stalled = memory.pressure is not None and memory.pressure > marks.max_pressure
    if not low and not stalled:
        return []
    why = ["%s of %s of memory are available" % (size(memory.available), size(memory.total))] if low else []
    why += ["processes waited for memory in %d %% of the last 10 s" % memory.pressure] if stalled else []
    users = ", ".join("%s %s" % (printable(name, 40), size(count)) for name, count in memory.biggest[:3])
    return [Cause("memory.low", "%s%s" % (" and ".join(why), "; biggest users: " + users if users else ""),
                  "memory", _is_actionable(seen, memory.available, mark))]


def _service(seen):
    if seen.condition in (UNKNOWN, STARTING, STOPPING) or _left_down(seen):
        return []
    if seen.condition == SERVING:
        return service.while_serving(seen)
    return [service.while_running(seen) if seen.condition == RUNNING else service.once_ended(seen)]


def _unit_files(seen):
    """A unit file that is not as installed, but loads, may be an operator's decision: a remark."""
    causes = [Cause("unit.changed", evidence.as_installed(one), one.file, False) for one in seen.host.installed.changed]
    unit = seen.service.unit
    if unit.need_reload:
        why = "%s has changed on disk since systemd read it: run `systemctl daemon-reload`" % unit.fragment
        causes.append(Cause("unit.changed", why.lstrip(), unit.fragment or unit.name, False))
    return causes


# The precedence.
FAMILIES = (
    _systemd,           # cannot be asked: nothing else is certain
    _left_down,         # an operator decided so
    _unloadable,        # nothing can start
    _settings,          # each start must fail
    _disks,             # beneath dependencies: redis refuses writes *because* the disk is full
    _dependencies,      # beneath the service: it is stopped with them, or hangs on them
    _port,              # a start would fail at bind()
    _memory,            # beneath OOM kills and timeouts
    _service,           # the symptom
    _unit_files,        # a remark, never a cause by itself
)


def _is_actionable(seen, left, mark):
    """Little is left: the cause for a service that is down, a remark for one that answers, until almost none is."""
    return seen.condition != SERVING or left < ALMOST_NONE * mark


def _is_named(problem, seen):
    """Whether the program's own words of an error name the file."""
    name = problem.file.rpartition("/")[2]
    return bool(name) and seen.condition not in (SERVING, STARTING, STOPPING) and any(
        name in line.text for line in evidence.telling(seen.service.lines))


def _ended_young(seen):
    """Whether the last run ended by itself, with an error, before it was ready."""
    unit = seen.service.unit
    return (seen.condition in (DOWN, RESTARTING) and unit.exec_code == "exited" and unit.exec_status != 0
            and unit.exec_status not in evidence.BEFORE_EXEC
            and evidence.last_run(unit) < seen.settings.service(unit.name).start_timeout)
