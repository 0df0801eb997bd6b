"""What is wrong with a dependency. Pure."""

from citadel.core.text import span
from citadel.diagnose.evidence import age_of, ago, answer, been_down, how_it_ended, is_frozen, is_up, is_young, quoted
from citadel.diagnose.stopped import can_only_have_been_stopped, ended_by_stop_job
from citadel.model import ACTIVE, FROZEN, PASSING, UNKNOWN, UNRESPONSIVE, Cause


def fault_of(dependency, seen):
    """The Cause, or None."""
    unit, how = dependency.unit, how_it_ended(dependency.unit, dependency.lines)
    down = been_down(unit, seen.host) + (": " + how if how else "")

    def cause(kind, why, manner="", actionable=True):
        return Cause("dependency.%s.%s" % (dependency.name, kind), "%s %s" % (unit.name, why), unit.name, actionable,
                     manner)

    if seen.condition == UNKNOWN:               # nothing can be done about what the probe says
        return None if dependency.probe.outcome in ("ok", "none") else cause(
            "down", "gives no good answer: " + answer(dependency.probe), actionable=False)
    if unit.load == "not-found":                # what answers is there, however it was started
        return cause("missing", "", actionable=dependency.probe.outcome != "ok")._replace(
            because="the dependency %s does not exist on this host: there is no %s" % (
                dependency.name, " or ".join(dependency.wanted or (unit.name,))))
    if is_up(unit):
        return _while_running(dependency, seen, cause)
    if unit.load in ("bad-setting", "error"):
        return cause("missing", "cannot be loaded by systemd (%s)" % unit.load)
    if unit.sub.startswith("auto-restart"):
        return cause("down", down + "; systemd is restarting it", PASSING)
    if unit.active in ("activating", "deactivating") or unit.job in ("start", "restart"):
        return cause("loading" if unit.active == "activating" else "down",
                     "is " + (unit.active if unit.active != "inactive" else "about to start"), PASSING)
    if "masked" in (unit.load, unit.unit_file):
        return cause("stopped-by-operator", "is masked by an operator")
    if unit.active == "inactive" and ended_by_stop_job(unit, dependency.last_job, seen.host):
        return cause("stopped-by-operator", "was stopped by an operator%s: its newest job was a stop" % (
            ago(dependency.last_job.age)))
    if not dependency.last_job.type and can_only_have_been_stopped(unit):
        return cause("stopped-by-operator", "was stopped by an operator: after a failure systemd would have restarted "
                     "it (Restart=always)")
    return cause("down", down)


def _while_running(dependency, seen, cause):
    """systemd has it running; the probe says whether it is well."""
    unit, probe = dependency.unit, dependency.probe
    if is_frozen(unit):
        return cause("hung", "is frozen (`systemctl freeze`): none of its processes runs", FROZEN)
    if probe.outcome in ("ok", "none"):
        return None
    if probe.outcome == "loading":
        return cause("loading", "is still loading its data%s; a restart would begin again" % quoted(probe.detail),
                     PASSING)
    if probe.outcome == "refusing-writes":
        return cause("refusing-writes", "answers but refuses writes" + quoted(probe.detail), ACTIVE)
    if is_young(unit, seen.host, seen.settings.dependencies[dependency.name].start_timeout):
        return cause("loading", "was started %s ago and is not ready yet: %s" % (
            span(age_of(seen.host, unit.active_enter)), answer(probe)), PASSING)
    if probe.outcome == "timeout":
        return cause("hung", "is active and does not answer: " + answer(probe), UNRESPONSIVE)
    return cause("down", "is active but does not work: " + answer(probe), ACTIVE)
