"""What is wrong with a dependency. Pure."""

from citadel.core.text import span
from citadel.diagnose.evidence import age_of, ago, answer, been_down, how_it_ended, is_frozen, is_up, is_young, quoted
from citadel.diagnose.stopped import can_only_have_been_stopped, ended_by_stop_job
from citadel.model import ACTIVE, FROZEN, PASSING, UNKNOWN, UNRESPONSIVE, Cause


def fault_of(dependency, seen):
    """The one thing wrong with a dependency, or None."""
    unit, how = dependency.unit, how_it_ended(dependency.unit, dependency.lines)
    down = been_down(unit, seen.host) + (": " + how if how else "")

    def cause(kind, why, manner=""):
        return Cause("dependency.%s.%s" % (dependency.name, kind), why, unit.name, True, manner)

    if seen.condition == UNKNOWN:
        return _unanswered_dependency(dependency)
    if unit.load == "not-found":
        missing = cause("missing", "%s needs %s, and none of these units exists on this host: %s" % (
            seen.service.unit.name, dependency.name, " ".join(dependency.wanted or (unit.name,))))
        # What answers is there, by whatever means it was started: a remark then.
        return missing._replace(actionable=dependency.probe.outcome != "ok")
    if unit.load in ("bad-setting", "error") and not is_up(unit):
        return cause("missing", "systemd cannot load %s (%s)" % (unit.name, unit.load))
    if is_up(unit):
        return _running_dependency(dependency, seen, cause)
    if unit.sub.startswith("auto-restart"):
        return cause("down", down + "; systemd is restarting it", PASSING)
    if unit.active in ("activating", "deactivating") or unit.job in ("start", "restart"):
        return cause("loading" if unit.active == "activating" else "down",
                     "%s is %s" % (unit.name, unit.active if unit.active != "inactive" else "about to start"), PASSING)
    if "masked" in (unit.load, unit.unit_file):
        return cause("stopped-by-operator", "%s is masked: a person has ruled out that it runs" % unit.name)
    if unit.active == "inactive" and ended_by_stop_job(unit, dependency.last_job, seen.host):
        return cause("stopped-by-operator", "%s was stopped by a person%s: its newest job was a stop" % (
            unit.name, ago(dependency.last_job.age)))
    if not dependency.last_job.type and can_only_have_been_stopped(unit):
        return cause("stopped-by-operator", "%s was stopped, not broken: with Restart=always systemd would have "
                     "restarted it otherwise" % unit.name)
    return cause("down", down)


def _unanswered_dependency(dependency):
    """With systemd silent the probe alone speaks; what it says is a remark, for nothing can be done about it."""
    if dependency.probe.outcome in ("ok", "none"):
        return None
    return Cause("dependency.%s.down" % dependency.name, "%s gives no good answer: %s" % (
        dependency.name, answer(dependency.probe)), dependency.unit.name, False)


def _running_dependency(dependency, seen, cause):
    """systemd has it running; whether it is well is for the probe to say."""
    unit, probe = dependency.unit, dependency.probe
    if is_frozen(unit):
        return cause("hung", "%s is frozen (`systemctl freeze`): none of its processes runs" % unit.name, FROZEN)
    if probe.outcome in ("ok", "none"):
        return None
    if probe.outcome == "loading":
        return cause("loading", "%s is up and still loading its data%s; a restart would begin that anew" % (
            unit.name, quoted(probe.detail)), PASSING)
    if probe.outcome == "refusing-writes":
        return cause("refusing-writes", "%s answers but refuses writes%s" % (unit.name, quoted(probe.detail)), ACTIVE)
    if is_young(unit, seen.host, seen.settings.dependencies[dependency.name].start_timeout):
        return cause("loading", "%s was started %s ago and is not ready yet: %s" % (
            unit.name, span(age_of(seen.host, unit.active_enter)), answer(probe)), PASSING)
    if probe.outcome == "timeout":
        return cause("hung", "%s is active and hangs: %s" % (unit.name, answer(probe)), UNRESPONSIVE)
    return cause("down", "%s is active, but of no use: %s" % (unit.name, answer(probe)), ACTIVE)
