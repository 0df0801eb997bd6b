"""Who stopped the service? Asked while it is stopping, by ExecStopPost=, because afterwards nobody can tell.

`systemctl show` reads the same after `systemctl stop` and after a stop that a dependency's crash caused. What tells
them apart is the job that systemd works on while the service stops (seen on 247, 252, 257 and 262).
"""

from citadel.model import Stop

LEAVING = ("stop", "restart")
TOGETHER = 2.0                          # seconds between two starts of the same transaction; seen: milliseconds


def who_stopped(unit, dependencies, jobs, system_state):
    """A Stop (without its age) from what systemd says while `unit` (a Unit) is stopping.

    `dependencies` are its Units, `jobs` the queued jobs by unit name, `system_state` systemd's own state. Pure.
    """
    job = jobs.get(unit.name, "")
    if not job:
        return Stop("crash", "", unit.invocation)
    if system_state == "stopping":
        return Stop("shutdown", "", unit.invocation)
    if job != "stop":
        return Stop("restart", "", unit.invocation)
    for dependency in dependencies:
        if dependency.active != "active" or jobs.get(dependency.name, "") in LEAVING:
            return Stop("dependency", dependency.name, unit.invocation)
    return Stop("operator", "", unit.invocation)


def unwanted_start(unit, dependencies, stop):
    """Why a start that is under way should be taken back, or "". Pure.

    A person had stopped the service (`stop` is the newest note, so nothing has run since), and one of its dependencies
    came up in this very moment because systemd restarted it after a crash (NRestarts counts only such restarts; a
    person's `systemctl start` sets it to 0): WantedBy= then starts the service along, which nobody asked
    for. A start that a person asked for finds the dependencies up, or brings them up with NRestarts=0.
    """
    if stop.by != "operator":
        return ""
    for dependency in dependencies:
        if dependency.restarts and abs(unit.inactive_exit - dependency.active_enter) < TOGETHER:
            return ("an operator stopped it, and this start comes only of %s, which systemd has restarted after a crash"
                    % dependency.name)
    return ""
