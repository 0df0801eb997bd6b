"""Who stopped the service? Asked while it is stopping, by ExecStopPost=, because afterwards nobody can tell for sure.

`systemctl show` reads the same after `systemctl stop` and after a stop that a dependency's crash caused (inactive,
dead, success). What differs is the job that systemd works on while the service stops (seen on 247 to 262). Pure.
"""

from citadel.core.text import span
from citadel.diagnose.evidence import ago
from citadel.model import Stop

LEAVING = ("stop", "restart")
TOGETHER = 2.0                          # seconds between two jobs of one transaction (seen: milliseconds; a deliberate
                                        # stop after an earlier crash: 4.6 s)


def who_stopped(unit, dependencies, jobs, system_state):
    """A Stop (without its age) from what systemd says while `unit` (a Unit) is stopping.

    `dependencies` are its Units, `jobs` the queued jobs by unit name, `system_state` systemd's own state."""
    job = jobs.get(unit.name, "")
    leaving = next((one.name for one in dependencies if one.active != "active" or jobs.get(one.name) in LEAVING), "")
    by = ("crash" if not job else "shutdown" if system_state == "stopping" else "restart" if job != "stop" else
          "dependency" if leaving else "operator")
    return Stop(by, leaving if by == "dependency" else "", unit.invocation)


def unwanted_start(unit, dependencies, stop):
    """Why a start that is under way should be taken back, or "".

    An operator had stopped the service (`stop` is the newest note), and a dependency came up at this very moment,
    because systemd restarted it after a crash (NRestarts counts only such restarts; `systemctl start` sets it to 0):
    WantedBy= starts the service, too. A start that an operator asked for finds NRestarts=0, or the dependency up."""
    for dependency in dependencies:
        if (stop.by == "operator" and dependency.restarts
                and abs(unit.inactive_exit - dependency.active_enter) < TOGETHER):
            return ("an operator stopped it, and this start comes only from %s, which systemd restarted after a crash"
                    % dependency.name)
    return ""


def stopped_by(service, host):
    """("operator" | "dependency" | "", the sentence), by three witnesses, the best first: what ExecStopPost= noted; a
    dependency that stopped at the same instant; the newest job in the journal. A failed unit is asked about, too: one
    that did not heed its stop ends up failed."""
    unit, stop, job = service.unit, service.stop, service.last_job
    # A note about an earlier run says nothing about this end, nor does any once somebody has asked for a start since.
    fresh = not (stop.invocation and unit.invocation and stop.invocation != unit.invocation)
    job_is_newer = stop.age is not None and job.age is not None and job.age < stop.age
    if fresh and not (job_is_newer and job.type in ("start", "restart") and job.result == "failed"):
        if stop.by == "operator":
            return "operator", "was stopped by an operator" + ago(stop.age)
        if stop.by == "dependency":
            return "dependency", "it was stopped together with %s, which it needs" % (stop.dependency or "a dependency")
    for dependency in service.dependencies:
        if _stopped_together(unit, dependency.unit):
            return "dependency", "it was stopped together with %s, which it needs (%s apart)" % (
                dependency.unit.name, span(abs(unit.active_exit - dependency.unit.active_exit)))
    if fresh and stop.by == "crash" and not job_is_newer:
        return "", ""
    if ended_by_stop_job(unit, job, host):
        return "operator", ("was stopped by an operator%s: its newest job was a stop, and no dependency stopped with it"
                            % ago(job.age))
    if not job.type and not stop.by and can_only_have_been_stopped(unit):
        return "operator", ("was stopped by an operator: after a failure systemd would have restarted it "
                            "(Restart=always), and no dependency stopped with it")
    return "", ""


def _stopped_together(unit, dependency):
    """Both clocks are systemd's monotonic one; an unloaded unit reads 0, which says nothing."""
    return bool(unit.active_exit and dependency.active_exit
                and unit.active_exit - TOGETHER <= dependency.active_exit
                <= max(unit.inactive_enter, unit.active_exit) + TOGETHER)


def ended_by_stop_job(unit, job, host):
    """Whether the newest job is a stop, and of this boot: the newest job of a unit that has not started yet is the stop
    of the last shutdown, which was nobody's decision."""
    if job.type != "stop" or job.result != "done":
        return False
    if job.age is None or not host.monotonic:
        return True
    if unit.inactive_enter:
        return job.age <= host.monotonic - unit.inactive_enter + TOGETHER
    return job.age < host.monotonic


def can_only_have_been_stopped(unit):
    """Where the journal that held the job is gone: what ran in this boot, and ended well with Restart=always."""
    return (unit.active == "inactive" and unit.result == "success" and bool(unit.active_exit)
            and unit.restart == "always")
