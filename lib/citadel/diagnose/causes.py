"""Facts to findings: what is wrong with each service, the root of it first, with the evidence in a sentence.

Pure: no clock, no files, no programs; the same facts always give the same finding. `check` runs through here each
minute, so nothing heavy is imported.

Read FAMILIES first. Each family of causes is one function that looks at one service and says what it sees; their
order is the precedence. A root stands before what it brings about: a full disk makes redis refuse writes, a redis that
is down takes the gateway along, and it is the disk that has to be named. The first cause that presses becomes the
finding's own; all the others stand beneath it.
"""

from collections import namedtuple

from citadel.core.text import plural, printable, size, span
from citadel.model import (
    ACTIVE,
    DOWN,
    FROZEN,
    PASSING,
    RESTARTING,
    RUNNING,
    SERVING,
    STARTING,
    STOPPING,
    UNKNOWN,
    UNRESPONSIVE,
    Cause,
    Finding,
)

Seen = namedtuple("Seen", "service host settings condition")
Seen.__doc__ = "What each family looks at: one service, its host, the settings, and the service's condition."

_SIGNALS = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
            11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM", 24: "SIGXCPU", 31: "SIGSYS"}
# Exit statuses that systemd itself sets before the program runs, systemd.exec(5), "Process Exit Codes".
_BEFORE_EXEC = {200: "its working directory cannot be entered", 203: "its program cannot be executed",
                209: "its log file cannot be opened", 216: "its group does not exist", 217: "its user does not exist",
                226: "its file system name space cannot be set up", 238: "its state directory cannot be set up",
                240: "its log directory cannot be set up"}
_SYSTEMD_SAYS = ("Started ", "Starting ", "Stopped ", "Stopping ", "Failed to start ", "Finished ", "Reloading ",
                 "Dependency failed for ", "Triggering OnFailure=")
_TELLING = ("error", "fatal", "exception", "panic", "cannot", "failed", "denied", "out of memory")
_TELLS_NOTHING = ("Application startup failed. Exiting",)

TOGETHER = 2.0                  # seconds between a dependency's end and ours that make one event (seen: 1 to 2 ms;
                                # a deliberate stop after an earlier crash: 4.6 s)
ALMOST_NONE = 0.2               # of a mark: a service that still answers is about to stop doing so
LOOP = 3                        # automatic restarts in a row that are no accident any more


def diagnose(facts, settings):
    """One Finding a service, in the order of the settings."""
    return tuple(_examine(service, facts.host, settings) for service in facts.services)


def unguarded(facts):
    """A sentence for each thing that would keep recovery from coming when it is needed: who watches the healer."""
    host, ours = facts.host, facts.host.installed
    told = ["%s (unit.changed)" % _as_installed(one) for one in ours.changed]
    told += ["%s: recovery may not come" % _as_installed(one) for one in ours.damaged[:3]]
    if not ours.schedule or host.unanswered:
        return tuple(told)
    if ours.schedule == "cron" and not ours.cron:
        told.append("/etc/cron.d/citadel is gone: nobody runs the health check")
    if ours.schedule == "timer" and host.timer is not None and host.timer.active != "active":
        told.append("%s is %s: nobody runs the health check" % (host.timer.name, host.timer.active))
    if host.recovery is not None and host.recovery.load != "loaded":
        told.append("%s is %s: nothing repairs" % (host.recovery.name, host.recovery.load))
    told += ["%s has no OnFailure=%s: a failure of it calls nobody" % (unit.name, host.recovery.name)
             for unit in (service.unit for service in facts.services)
             if host.recovery is not None and unit.name in ours.units and unit.load == "loaded"
             and host.recovery.name not in unit.on_failure]
    return tuple(told)


def _examine(service, host, settings):
    seen = Seen(service, host, settings, _condition(service, host, settings))
    causes = [cause for family in FAMILIES for cause in family(seen)]
    primary = next((cause for cause in causes if cause.actionable), None)
    since = _age(host, service.unit.active_enter if seen.condition in (SERVING, RUNNING) else _end(service.unit))
    if primary is None:
        return Finding(service.unit.name, "", _why_well(seen, since), "", tuple(causes), since, seen.condition)
    others = tuple(cause for cause in causes if cause is not primary)
    return Finding(service.unit.name, primary.cause, primary.because, primary.target, others, since, seen.condition,
                   primary.actionable, primary.manner)


def _condition(service, host, settings):
    unit, probe = service.unit, service.probe
    if host.unanswered:
        return UNKNOWN
    if unit.sub.startswith("auto-restart"):             # auto-restart-queued on 257 and later
        return RESTARTING
    if unit.active == "activating":
        return STARTING
    if unit.active == "deactivating":
        return STOPPING
    if _is_up(unit):
        if _is_frozen(unit):
            return RUNNING
        if probe.outcome in ("ok", "none") and _stranger(service) is None:
            return SERVING
        # A Type=simple service is "active" at once and listens seconds later; one with workers listens before it can
        # answer. A process that somebody has stopped is not starting.
        if _young(unit, host, settings.service(unit.name).start_timeout) and not service.stopped_pids:
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
        young = seen.service.unit.active_enter if _is_up(seen.service.unit) else seen.service.unit.inactive_exit
        age = _age(seen.host, young)
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
        who, why = _who_stopped(seen.service, host)
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
                                "an error of the disk" % where, disk.path, not _answers(seen)))
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
    causes = [cause for cause in (_dependency(one, seen) for one in seen.service.dependencies) if cause]
    return sorted(causes, key=lambda cause: cause.manner == PASSING)


def _port(seen):
    """Whoever holds our port while we do not: no start can succeed. Compared by cgroup; a name can be anybody's."""
    holder = _stranger(seen.service)
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
    actionable = not _answers(seen) or bool(low and memory.available < ALMOST_NONE * mark)
    return [Cause("memory.low", "%s%s" % (" and ".join(why), "; the biggest users: " + users if users else ""),
                  "memory", actionable)]


def _service(seen):
    """The service's own state: what is left to name when nothing beneath it explains more."""
    if seen.condition in (UNKNOWN, STARTING, STOPPING) or _left_down(seen):
        return []
    if seen.condition == SERVING:
        return _while_serving(seen)
    if seen.condition == RUNNING:
        return [_unanswering(seen)]
    return [_ended(seen)]


def _unit_files(seen):
    """A unit file that is not as installed, but loads, may be a person's good reason: named, and no more."""
    causes = [Cause("unit.changed", _as_installed(one), one.file, False) for one in seen.host.installed.changed]
    unit = seen.service.unit
    if unit.need_reload:
        causes.append(Cause("unit.changed", "%s has changed on disk since systemd read it; `systemctl daemon-reload` "
                            "is due" % (unit.fragment or unit.name), unit.fragment or unit.name, False))
    return causes


def _as_installed(problem):
    return "%s%s %s" % (printable(problem.file), ":%d" % problem.line if problem.line else "", problem.why)


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


# --- a dependency -----------------------------------------------------------------------------------------------------

def _dependency(dependency, seen):
    """The one thing wrong with a dependency, or None."""
    unit = dependency.unit

    def cause(kind, why, manner=""):
        return Cause("dependency.%s.%s" % (dependency.name, kind), why, unit.name, True, manner)

    if seen.condition == UNKNOWN:
        return _unanswered_dependency(dependency)
    if unit.load == "not-found":
        missing = cause("missing", "%s needs %s, and none of these units exists on this host: %s" % (
            seen.service.unit.name, dependency.name, " ".join(dependency.wanted or (unit.name,))))
        # What answers is there, by whatever means it was started: a remark then.
        return missing._replace(actionable=dependency.probe.outcome != "ok")
    if unit.load in ("bad-setting", "error") and not _is_up(unit):
        return cause("missing", "systemd cannot load %s (%s)" % (unit.name, unit.load))
    if _is_up(unit):
        return _running_dependency(dependency, seen, cause)
    if unit.sub.startswith("auto-restart"):
        return cause("down", _down(dependency, seen.host) + "; systemd is restarting it", PASSING)
    if unit.active in ("activating", "deactivating") or unit.job in ("start", "restart"):
        return cause("loading" if unit.active == "activating" else "down",
                     "%s is %s" % (unit.name, unit.active if unit.active != "inactive" else "about to start"), PASSING)
    if "masked" in (unit.load, unit.unit_file):
        return cause("stopped-by-operator", "%s is masked: a person has ruled out that it runs" % unit.name)
    if unit.active == "inactive" and _ended_by_stop_job(unit, dependency.last_job, seen.host):
        return cause("stopped-by-operator", "%s was stopped by a person%s: its newest job was a stop" % (
            unit.name, _ago(dependency.last_job.age)))
    if not dependency.last_job.type and _can_only_have_been_stopped(unit):
        return cause("stopped-by-operator", "%s was stopped, not broken: with Restart=always systemd would have "
                     "restarted it otherwise" % unit.name)
    return cause("down", _down(dependency, seen.host))


def _unanswered_dependency(dependency):
    """With systemd silent the probe alone speaks; what it says is a remark, for nothing can be done about it."""
    if dependency.probe.outcome in ("ok", "none"):
        return None
    return Cause("dependency.%s.down" % dependency.name, "%s gives no good answer: %s" % (
        dependency.name, _answer(dependency.probe)), dependency.unit.name, False)


def _running_dependency(dependency, seen, cause):
    """systemd has it running; whether it is well is for the probe to say."""
    unit, probe = dependency.unit, dependency.probe
    if _is_frozen(unit):
        return cause("hung", "%s is frozen (`systemctl freeze`): none of its processes runs" % unit.name, FROZEN)
    if probe.outcome in ("ok", "none"):
        return None
    if probe.outcome == "loading":
        return cause("loading", "%s is up and still loading its data%s; a restart would begin that anew" % (
            unit.name, _quoted(probe.detail)), PASSING)
    if probe.outcome == "refusing-writes":
        return cause("refusing-writes", "%s answers but refuses writes%s" % (unit.name, _quoted(probe.detail)), ACTIVE)
    if _young(unit, seen.host, seen.settings.dependencies[dependency.name].start_timeout):
        return cause("loading", "%s was started %s ago and is not ready yet: %s" % (
            unit.name, span(_age(seen.host, unit.active_enter)), _answer(probe)), PASSING)
    if probe.outcome == "timeout":
        return cause("hung", "%s is active and hangs: %s" % (unit.name, _answer(probe)), UNRESPONSIVE)
    return cause("down", "%s is active, but of no use: %s" % (unit.name, _answer(probe)), ACTIVE)


def _down(dependency, host):
    """"ollama.service has been down for 41 s: exited 1, 'CUDA error: out of memory'" """
    unit, age = dependency.unit, _age(host, _end(dependency.unit))
    how = _how_it_ended(unit, dependency.lines)
    return "%s %s%s" % (unit.name, "has been down for " + span(age) if age is not None else "is down",
                        ": " + how if how else "")


# --- the service itself -----------------------------------------------------------------------------------------------

def _while_serving(seen):
    service, causes = seen.service, []
    if service.slow_after and service.probe.outcome == "ok" and service.probe.seconds > service.slow_after:
        causes.append(Cause("gateway.slow", "%s answers, but took %s for it; slow begins at %s" % (
            service.unit.name, span(service.probe.seconds), span(service.slow_after)), service.unit.name))
    if service.oom_kills:
        causes.append(Cause("gateway.oom", "%s of %s killed for lack of memory in this run; it answers again" % (
            "1 process was" if service.oom_kills == 1 else "%d processes were" % service.oom_kills, service.unit.name),
            service.unit.name, False))
    return causes


def _unanswering(seen):
    """Active, past the time that a start may take, and no good answer."""
    service, unit, probe = seen.service, seen.service.unit, seen.service.probe
    if _is_frozen(unit):
        return Cause("gateway.hung", "%s is frozen (`systemctl freeze`): none of its processes runs, no signal reaches "
                     "them" % unit.name, unit.name, True, FROZEN)
    if service.stopped_pids:
        pids = ", ".join(str(pid) for pid in service.stopped_pids[:5])
        return Cause("gateway.hung", "%s is active and does not answer: %s stopped by a signal (SIGSTOP), PID %s%s" % (
            unit.name, "1 process is" if len(service.stopped_pids) == 1 else
            "%d processes are" % len(service.stopped_pids), pids, ", …" if len(service.stopped_pids) > 5 else ""),
            unit.name, True, UNRESPONSIVE)
    if service.oom_kills:
        return Cause("gateway.oom", "%s is active and does not answer (%s): %d of its processes were killed for lack "
                     "of memory%s" % (unit.name, _answer(probe), service.oom_kills, _limit(unit)),
                     unit.name, True, UNRESPONSIVE)
    if probe.outcome in ("http-error", "protocol", "refusing-writes", "loading"):
        return Cause("gateway.http-error", "%s answers, and not well: %s%s" % (
            unit.name, _answer(probe), _said(service.lines)), unit.name, True, ACTIVE)
    return Cause("gateway.hung", "%s has been active%s and does not answer: %s" % (
        unit.name, _lasting(_age(seen.host, unit.active_enter)), _answer(probe)), unit.name, True, UNRESPONSIVE)


def _ended(seen):
    """Down, or about to be restarted: how did its last run end?"""
    service, unit, host = seen.service, seen.service.unit, seen.host
    manner = PASSING if seen.condition == RESTARTING else ""
    age = _age(host, _end(unit))
    down = "%s %s" % (unit.name, "has been down for " + span(age) if age is not None else "is down")
    coming = "; systemd is restarting it" if manner else ""

    def cause(kind, why):
        return Cause("gateway." + kind, why + _left_behind(service) + coming, unit.name, True, manner)

    if seen.condition == DOWN:
        who, why = _who_stopped(service, host)
        if who == "dependency":
            return cause("stopped-with-dependency", "%s: %s" % (down, why))
    if _was_killed_for_memory(service):
        return cause("oom", "%s: it was killed for lack of memory%s" % (down, _limit(unit)))
    if unit.result == "timeout" and unit.active_enter <= unit.inactive_exit:
        return cause("start-timeout", "%s: it did not come up within the time that its unit gives it%s" % (
            down, _said(service.lines)))
    how = _how_it_ended(unit, service.lines)
    if _limit_reached(unit):
        return cause("crash-loop", "%s: systemd gave up after %s%s" % (
            down, plural(unit.restarts, "restart") if unit.restarts else "too many starts", "; " + how if how else ""))
    if unit.restarts >= LOOP and _last_run(unit) < _sustainable_run(unit):
        return cause("crash-loop", "%s and has been restarted %d times%s" % (
            down, unit.restarts, "; " + how if how else ""))
    if how or unit.active == "failed" or manner or service.stop.by == "crash":
        return cause("crashed", "%s: it %s" % (down, how or "ended by itself"))
    return Cause("unknown", "%s is not running, and nothing on record says why: nobody stopped it, it did not fail, "
                 "and it has not been started since %s" % (unit.name, "the host booted" if not unit.active_exit else
                                                           "its last run"), unit.name)


def _left_behind(service):
    """A PID file that an earlier run has left: some programs do not start beside one."""
    stale = [one for one in service.pid_files if one.state in ("dead", "stranger")]
    return "; %s is left of an earlier run: it names PID %d, %s" % (
        printable(stale[0].path, 120), stale[0].pid, "which is gone" if stale[0].state == "dead" else
        "which is no process of it") if stale else ""


# --- who stopped it ---------------------------------------------------------------------------------------------------

def _who_stopped(service, host):
    """("operator" | "dependency" | "", the sentence). `systemctl show` reads the same after `systemctl stop` and after
    a dependency's crash (inactive, dead, success; seen on 247 to 262), so three witnesses are heard, the best first:
    what ExecStopPost= noted while the stop was under way; whether a dependency left at the same instant; the newest
    job in the journal. A failed unit is asked about, too: one that was deaf to its stop ends up failed."""
    unit, stop, job = service.unit, service.stop, service.last_job
    # A note about an earlier run says nothing about this end, nor does any once somebody has asked for a start since.
    fresh = not (stop.invocation and unit.invocation and stop.invocation != unit.invocation)
    asked_to_start = (job.type in ("start", "restart") and job.result == "failed" and job.age is not None
                      and stop.age is not None and job.age < stop.age)
    if fresh and not asked_to_start:
        if stop.by == "operator":
            return "operator", "%s was stopped by a person%s" % (unit.name, _ago(stop.age))
        if stop.by == "dependency":
            return "dependency", "it was stopped together with %s, which it needs" % (stop.dependency or "a dependency")
    for dependency in service.dependencies:
        if _left_together(unit, dependency.unit):
            return "dependency", ("it was stopped together with %s, which it needs: %s apart" % (
                dependency.unit.name, span(abs(unit.active_exit - dependency.unit.active_exit))))
    if fresh and stop.by == "crash" and not (stop.age is not None and job.age is not None and job.age < stop.age):
        return "", ""
    if _ended_by_stop_job(unit, job, host):
        return "operator", "%s was stopped by a person%s: its newest job was a stop, and no dependency left with it" % (
            unit.name, _ago(job.age))
    if not job.type and not stop.by and _can_only_have_been_stopped(unit):
        return "operator", ("%s was stopped, not broken: with Restart=always systemd would have restarted it "
                            "otherwise, and no dependency left with it" % unit.name)
    return "", ""


def _left_together(unit, dependency):
    """Both clocks are systemd's monotonic one; an unloaded unit reads 0, which says nothing."""
    return bool(unit.active_exit and dependency.active_exit
                and unit.active_exit - TOGETHER <= dependency.active_exit
                <= max(unit.inactive_enter, unit.active_exit) + TOGETHER)


def _ended_by_stop_job(unit, job, host):
    """Whether the newest job is a stop, and of this boot: the newest job of a unit that has not started yet is the stop
    of the last shutdown, which was nobody's wish."""
    if job.type != "stop" or job.result != "done":
        return False
    if job.age is None or not host.monotonic:
        return True
    if unit.inactive_enter:
        return job.age <= host.monotonic - unit.inactive_enter + TOGETHER
    return job.age < host.monotonic


def _can_only_have_been_stopped(unit):
    """Where the journal that held the job is gone: what ran in this boot, and ended well with Restart=always."""
    return (unit.active == "inactive" and unit.result == "success" and bool(unit.active_exit)
            and unit.restart == "always")


# --- small readings ---------------------------------------------------------------------------------------------------

def _is_up(unit):
    return unit.active in ("active", "reloading", "refreshing")


def _is_frozen(unit):
    return unit.freezer in ("frozen", "freezing", "frozen-by-parent", "freezing-by-parent")


def _answers(seen):
    return seen.condition == SERVING


def _presses(seen, left, mark):
    """Short of something: a fault for a service that is down, a remark for one that answers, until it is critical."""
    return not _answers(seen) or left < ALMOST_NONE * mark


def _young(unit, host, limit):
    age = _age(host, unit.active_enter)
    return age is not None and age < limit


def _age(host, stamp):
    return max(0.0, host.monotonic - stamp) if stamp and host.monotonic else None


def _end(unit):
    """When it was last up; for what never was, when it fell into its state."""
    return unit.active_exit if unit.active_exit >= unit.active_enter and unit.active_exit else (
        unit.inactive_enter or unit.state_change)


def _last_run(unit):
    """Seconds that the last run was active; 0 for one that never got there."""
    return unit.active_exit - unit.active_enter if unit.active_exit > unit.active_enter else 0.0


def _sustainable_run(unit):
    """Runs shorter than this use up the start limit in the end; a crash a week, three weeks in a row, is no loop."""
    if unit.start_burst and unit.start_interval and unit.start_interval != float("inf"):
        return unit.start_interval / unit.start_burst
    return 180.0


def _limit_reached(unit):
    """Result=start-limit-hit on 262 only; on 247 to 257 the cause of the last failure stays, and NRestarts equals the
    burst."""
    if unit.result == "start-limit-hit":
        return True
    return unit.active == "failed" and bool(unit.start_burst) and unit.restarts >= unit.start_burst


def _was_killed_for_memory(service):
    """Result says so, or the journal where a start limit has overwritten it (262), or where the kernel's killer took
    the main process and systemd saw a mere SIGKILL. There only PID 1 is believed: a program may print what it likes."""
    return (service.unit.result == "oom-kill" or bool(service.oom_kills)
            or any(line.by_systemd and "killed by the OOM killer" in line.text for line in service.lines))


def _limit(unit):
    return "; its limit is %s" % size(unit.memory_max) if unit.memory_max else ""


def _stranger(service):
    """The holder of our port, if it is none of ours."""
    holder = service.holder
    if holder is None or not (holder.pid or holder.unit or holder.control_group):
        return None
    ours = service.unit.control_group
    if holder.unit == service.unit.name or (ours and (holder.control_group + "/").startswith(ours + "/")):
        return None
    return holder


def _is_named(problem, seen):
    """Whether the program's own telling words name the file."""
    name = problem.file.rpartition("/")[2]
    return bool(name) and seen.condition not in (SERVING, STARTING, STOPPING) and any(
        name in line.text for line in _telling(seen.service.lines))


def _ended_young(seen):
    """Whether the last run ended by itself, with an error, before it ever got going."""
    unit = seen.service.unit
    return (seen.condition in (DOWN, RESTARTING) and unit.exec_code == "exited" and unit.exec_status != 0
            and unit.exec_status not in _BEFORE_EXEC
            and _last_run(unit) < seen.settings.service(unit.name).start_timeout)


def _place(problem):
    where = "%s:%d" % (problem.file, problem.line) if problem.line else problem.file
    return printable(": ".join(part for part in (where, problem.key) if part), 160)


def _how_it_ended(unit, lines):
    """"exited 1, 'CUDA error: out of memory'"; what the process itself said last, in quotes."""
    if unit.exec_code == "exited" and unit.exec_status:
        meaning = _BEFORE_EXEC.get(unit.exec_status)
        how = "exited %d%s" % (unit.exec_status, " (%s)" % meaning if meaning else "")
    elif unit.exec_code in ("killed", "dumped"):
        how = "was killed by %s%s" % (_SIGNALS.get(unit.exec_status, "signal %d" % unit.exec_status),
                                      " and dumped core" if unit.exec_code == "dumped" else "")
    elif unit.result == "timeout":
        how = "did not stop in time and had to be killed" if unit.active_enter > unit.inactive_exit else "timed out"
    elif unit.result in ("resources", "protocol", "watchdog", "oom-kill", "exec-condition"):
        how = {"resources": "could not be started for lack of a resource", "protocol": "broke systemd's protocol",
               "watchdog": "missed its watchdog", "oom-kill": "was killed for lack of memory",
               "exec-condition": "was kept back by its ExecCondition="}[unit.result]
    elif unit.exec_code == "exited" and unit.active == "failed":
        how = "failed (%s)" % unit.result if unit.result not in ("", "success") else ""
    else:
        how = ""
    if unit.exec_code == "killed":
        return how + _said(lines, telling_only=True)        # "startup complete" is no reason to be killed
    return how + _said(lines) if how else _said(lines).lstrip(", ") if unit.active == "failed" else ""


def _said(lines, telling_only=False):
    """The last telling line of the program itself, or, failing that, its last."""
    said = _telling(lines, telling_only)
    return _quoted(said[-1].text) if said else ""


def _telling(lines, telling_only=False):
    """The program's own lines that tell of an error, or, failing that, its last; PID 1's say only what we know."""
    own = [line for line in lines if not _is_systemds(line.text) and line.text.strip()
           and not any(nothing in line.text for nothing in _TELLS_NOTHING)]
    telling = [line for line in own if line.priority <= 3
               or any(word in line.text.lower() for word in _TELLING)]
    return telling or ([] if telling_only else own[-1:])


def _is_systemds(text):
    first = text.partition(" ")[0]
    return text.startswith(_SYSTEMD_SAYS) or (first.endswith(":") and first[:-1].endswith(".service"))


def _quoted(text):
    return ", '%s'" % printable(text, 120) if text else ""


def _answer(probe):
    """What the probe got, in words."""
    words = {"refused": "nothing listens there", "timeout": "no full answer within %s" % span(probe.seconds),
             "http-error": "HTTP %d" % probe.status, "protocol": "an answer that is not of its protocol",
             "unreachable": "it cannot be reached", "loading": "it is loading", "refusing-writes": "it refuses writes",
             "none": "it is not probed", "ok": "it answers"}.get(probe.outcome, probe.outcome)
    return (probe.target + " gave " if probe.target and probe.outcome in ("http-error", "protocol") else
            probe.target + ": " if probe.target else "") + words + (
                " (%s)" % printable(probe.detail, 120) if probe.detail else "")


def _ago(age):
    return " %s ago" % span(age) if age is not None else ""


def _lasting(age):
    return " for " + span(age) if age is not None else ""
