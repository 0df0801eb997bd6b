"""What is wrong with the service itself: what is left to name when nothing beneath it explains more. Pure."""

from citadel.core.text import plural, printable, size, span
from citadel.diagnose.evidence import age_of, answer, been_down, how_it_ended, is_frozen, last_run, said
from citadel.diagnose.stopped import stopped_by
from citadel.model import ACTIVE, DOWN, FROZEN, PASSING, RESTARTING, UNRESPONSIVE, Cause

LOOP = 3                        # automatic restarts in a row that are no accident any more


def while_serving(seen):
    service, causes = seen.service, []
    if service.slow_after and service.probe.outcome == "ok" and service.probe.seconds > service.slow_after:
        causes.append(Cause("gateway.slow", "%s answers, but took %s for it; slow begins at %s" % (
            service.unit.name, span(service.probe.seconds), span(service.slow_after)), service.unit.name))
    if service.oom_kills:
        causes.append(Cause("gateway.oom", "%s of %s killed for lack of memory in this run; it answers again" % (
            "1 process was" if service.oom_kills == 1 else "%d processes were" % service.oom_kills, service.unit.name),
            service.unit.name, False))
    return causes


def while_running(seen):
    """Active, past the time that a start may take, and no good answer."""
    service, unit, probe = seen.service, seen.service.unit, seen.service.probe
    if is_frozen(unit):
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
                     "of memory%s" % (unit.name, answer(probe), service.oom_kills, _limit(unit)),
                     unit.name, True, UNRESPONSIVE)
    if probe.outcome in ("http-error", "protocol", "refusing-writes", "loading"):
        return Cause("gateway.http-error", "%s answers, and not well: %s%s" % (
            unit.name, answer(probe), said(service.lines)), unit.name, True, ACTIVE)
    age = age_of(seen.host, unit.active_enter)
    return Cause("gateway.hung", "%s has been active%s and does not answer: %s" % (
        unit.name, " for " + span(age) if age is not None else "", answer(probe)), unit.name, True, UNRESPONSIVE)


def once_ended(seen):
    """Down, or about to be restarted: how did its last run end?"""
    service, unit, host = seen.service, seen.service.unit, seen.host
    manner = PASSING if seen.condition == RESTARTING else ""
    down = been_down(unit, host)
    coming = "; systemd is restarting it" if manner else ""

    def cause(kind, why):
        return Cause("gateway." + kind, why + _left_behind(service) + coming, unit.name, True, manner)

    if seen.condition == DOWN:
        who, why = stopped_by(service, host)
        if who == "dependency":
            return cause("stopped-with-dependency", "%s: %s" % (down, why))
    if _was_killed_for_memory(service):
        return cause("oom", "%s: it was killed for lack of memory%s" % (down, _limit(unit)))
    if unit.result == "timeout" and unit.active_enter <= unit.inactive_exit:
        return cause("start-timeout", "%s: it did not come up within the time that its unit gives it%s" % (
            down, said(service.lines)))
    how = how_it_ended(unit, service.lines)
    if _limit_reached(unit):
        return cause("crash-loop", "%s: systemd gave up after %s%s" % (
            down, plural(unit.restarts, "restart") if unit.restarts else "too many starts", "; " + how if how else ""))
    if unit.restarts >= LOOP and last_run(unit) < _sustainable_run(unit):
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
