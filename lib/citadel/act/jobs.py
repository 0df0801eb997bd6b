"""Steps that are one order to systemd: reset-failed, start, restart, thaw; each watched until it has come to something.

Jobs are queued with --no-block and watched: the deadline is ours, and if we die PID 1 finishes what was begun.
"""

from citadel.model import FAILED, OK, SKIPPED
from citadel.observe import systemctl

PAUSE = 0.2                             # seconds between two looks at a unit, a systemctl call of some 10 ms


def look(name, context):
    return systemctl.units([name], run=context.run)[name]


def reset_failed(step, context, end):
    answer = systemctl.reset_failed(step.target, run=context.run)
    if not answer.ok:
        return FAILED if answer.timed_out or answer.code != 1 else SKIPPED, answer.complaint(), {}
    try:
        context.store.intent.note_reset(step.target)
    except OSError:
        return OK, "test-restart will not know of it", {}
    return OK, "", {}


def start(step, context, end):
    before = look(step.target, context)
    if before.active == "active" and not before.job:
        return SKIPPED, "it is active already", {}
    # A dependency that is disabled may well be started by hand.
    if "masked" in (before.load, before.unit_file) or (
            before.unit_file == "disabled" and context.settings.service(step.target) is not None):
        return FAILED, "an operator has taken it out of service meanwhile", {}
    return _watch(before, systemctl.start(step.target, run=context.run), context, end)


def restart(step, context, end):
    before = look(step.target, context)
    return _watch(before, systemctl.restart(step.target, run=context.run), context, end)


def _watch(before, answer, context, end):
    """Looks until the job that `answer` queued has come to something. A unit that is still starting at the end is not
    failed: its ExecStartPre= may wait for what it needs, and `verify` or `wait-ready` sees to the rest."""
    if not answer.ok:
        return FAILED, answer.complaint(), {}
    while True:
        unit = look(before.name, context)
        verdict = _job_outcome(before, unit)
        if verdict is not None:
            return verdict + ({"invocation": unit.invocation} if verdict[0] == OK else {},)
        if context.clock() >= end:
            if unit.active == "activating":
                return OK, "still starting (%s)" % unit.sub, {"invocation": unit.invocation}
            return FAILED, "still %s (%s) when its time was over" % (unit.active, unit.sub), {}
        context.sleep(PAUSE)


def _job_outcome(before, unit):
    """(outcome, detail) of a start or restart, None while it is under way. Pure."""
    anew = unit.invocation and unit.invocation != before.invocation
    if unit.job:
        return None
    if unit.active == "active" and (anew or before.active != "active"):
        return OK, "active as PID %d" % unit.main_pid if anew and unit.main_pid else "active"
    if unit.sub.startswith("auto-restart") and anew:
        return FAILED, "it ended again at once: " + end_of(unit)
    if unit.active == "failed":
        return FAILED, "it failed: " + end_of(unit)
    if unit.active == "inactive":
        return FAILED, ("it ended at once: " + end_of(unit) if anew else
                        "systemd cancelled the job: something that it requires did not start")
    return None


def end_of(unit):
    if unit.exec_code and unit.result not in ("success", "start-limit-hit"):
        return "%s, %s %d" % (unit.result, "exit status" if unit.exec_code == "exited" else "signal", unit.exec_status)
    return unit.result


def thaw(step, context, end):
    if look(step.target, context).freezer in ("running", ""):
        return SKIPPED, "it is not frozen", {}
    answer = systemctl.thaw(step.target, run=context.run)
    if not answer.ok:
        return FAILED, answer.complaint(), {}
    while True:
        unit = look(step.target, context)
        if unit.freezer == "running":
            return OK, "", {}
        if context.clock() >= end:
            return FAILED, "it is still %s" % unit.freezer, {}
        context.sleep(PAUSE)
