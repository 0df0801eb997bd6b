"""What is wrong with the service itself, where nothing beneath it explains more. Sentences without a subject. Pure."""

from citadel.core.text import plural, printable, size, span
from citadel.diagnose.evidence import age_of, answer, been_down, how_it_ended, is_frozen, last_run, said
from citadel.diagnose.stopped import stopped_by
from citadel.model import ACTIVE, DOWN, FROZEN, PASSING, RESTARTING, UNRESPONSIVE, Cause

LOOP = 3                        # automatic restarts in a row that are no accident any more


def while_serving(seen):
    service, causes = seen.service, []
    if service.slow_after and service.probe.outcome == "ok" and service.probe.seconds > service.slow_after:
        causes.append(Cause("gateway.slow", "answered, but only after %s; slow begins at %s" % (
            span(service.probe.seconds), span(service.slow_after)), service.unit.name))
    if service.oom_kills:
        causes.append(Cause("gateway.oom", "answers again after %s killed for lack of memory" % _processes(
            service.oom_kills, "was", "were"), service.unit.name, False))
    return causes


def while_running(seen):
    """Active, past the time that a start may take, and no good answer."""
    service, unit, probe = seen.service, seen.service.unit, seen.service.probe

    def cause(kind, why, manner=UNRESPONSIVE):
        return Cause("gateway." + kind, why, unit.name, True, manner)

    if is_frozen(unit):
        return cause("hung", "is frozen (`systemctl freeze`): none of its processes runs or takes a signal", FROZEN)
    if service.stopped_pids:
        return cause("hung", "is active and does not answer: %s stopped by a signal (SIGSTOP), PID %s%s" % (
            _processes(len(service.stopped_pids), "is", "are"), ", ".join(map(str, service.stopped_pids[:5])),
            ", …" if len(service.stopped_pids) > 5 else ""))
    if service.oom_kills:
        return cause("oom", "is active and does not answer (%s): %s killed for lack of memory%s" % (
            answer(probe), _processes(service.oom_kills, "was", "were"), _memory_limit(unit)))
    if probe.outcome in ("http-error", "protocol", "refusing-writes", "loading"):
        return cause("http-error", "answers with an error: %s%s" % (answer(probe), said(service.lines)), ACTIVE)
    age = age_of(seen.host, unit.active_enter)
    return cause("hung", "has been active%s and does not answer: %s" % (
        " for " + span(age) if age is not None else "", answer(probe)))


def once_ended(seen):
    """Down, or about to be restarted: how did its last run end?"""
    service, unit = seen.service, seen.service.unit
    manner = PASSING if seen.condition == RESTARTING else ""
    down, how = been_down(unit, seen.host), how_it_ended(unit, service.lines)

    def cause(kind, why):
        return Cause("gateway." + kind, down + why + _left_behind(service) + (
            "; systemd is restarting it" if manner else ""), unit.name, True, manner)

    if seen.condition == DOWN:
        who, why = stopped_by(service, seen.host)
        if who == "dependency":
            return cause("stopped-with-dependency", ": " + why)
    if _was_killed_for_memory(service):
        return cause("oom", ": it was killed for lack of memory" + _memory_limit(unit))
    if unit.result == "timeout" and unit.active_enter <= unit.inactive_exit:
        return cause("start-timeout", ": it did not start within its TimeoutStartSec=" + said(service.lines))
    if _limit_reached(unit):
        return cause("crash-loop", ": systemd gave up after %s%s" % (
            plural(unit.restarts, "restart") if unit.restarts else "too many starts", "; it " + how if how else ""))
    if unit.restarts >= LOOP and last_run(unit) < _sustainable_run(unit):
        return cause("crash-loop", "; automatic restarts: %d%s" % (unit.restarts, "; it " + how if how else ""))
    if how or unit.active == "failed" or manner or service.stop.by == "crash":
        return cause("crashed", ": it " + (how or "ended by itself"))
    return Cause("unknown", "is not running, and nothing on record says why: it was not stopped, it did not fail, and "
                 "it was not started since " + ("its last run" if unit.active_exit else "the host booted"), unit.name)


def _processes(count, one, many):
    return "1 of its processes %s" % one if count == 1 else "%d of its processes %s" % (count, many)


def _left_behind(service):
    """A PID file that an earlier run has left: some programs do not start beside one."""
    stale = next((one for one in service.pid_files if one.state in ("dead", "stranger")), None)
    return "; %s is from an earlier run: it names PID %d, which %s" % (
        printable(stale.path, 120), stale.pid,
        "does not exist" if stale.state == "dead" else "is not one of its processes") if stale else ""


def _sustainable_run(unit):
    """Runs shorter than this use up the start limit in the end; a crash a week, three weeks in a row, is no loop."""
    if unit.start_burst and unit.start_interval and unit.start_interval != float("inf"):
        return unit.start_interval / unit.start_burst
    return 180.0


def _limit_reached(unit):
    """Result=start-limit-hit on 262 only; on 247 to 257 the cause of the last failure stays, and NRestarts equals the
    burst."""
    return unit.result == "start-limit-hit" or (
        unit.active == "failed" and bool(unit.start_burst) and unit.restarts >= unit.start_burst)


def _was_killed_for_memory(service):
    """Result says so, or the journal where a start limit has overwritten it (262), or where the kernel's killer took
    the main process and systemd saw a mere SIGKILL. There only PID 1 is believed: a program may print what it likes."""
    return (service.unit.result == "oom-kill" or bool(service.oom_kills)
            or any(line.by_systemd and "killed by the OOM killer" in line.text for line in service.lines))


def _memory_limit(unit):
    return "; its limit is %s" % size(unit.memory_max) if unit.memory_max else ""
