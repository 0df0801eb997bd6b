"""Is it well? Waiting until a unit is ready, and the proof that a service is well again."""

from citadel.act.jobs import PAUSE, end_of, look
from citadel.core.text import plural, span
from citadel.model import FAILED, OK, SKIPPED
from citadel.observe import processes
from citadel.observe.look import port_holder

GLANCE = 5                              # seconds that one probe may take while we wait for it to become ready
PATIENCE_LOADING = 300                  # what says that it is loading will be ready; a restart begins it anew
RESTART_SEC = 5                         # of the shipped units, where systemd does not tell
LASTS = 2                               # seconds that a run must last at least, where RestartSec is less
GONE = 5                                # seconds after which what is dead, with no job, is not coming by itself


def wait_ready(step, context, end):
    """Until the target's probe is answered well. A target that says it is loading is given more time than the step."""
    target = _probe_of(step.target, context.settings)
    if not target:
        return SKIPPED, "no probe is set for it; systemd says that it runs", {}
    started, latest = context.clock(), context.clock() + min(PATIENCE_LOADING, context.deadline.left())
    while True:
        probe = context.ask([target], max(0.1, min(GLANCE, latest - context.clock())))[target]
        waited = context.clock() - started
        if probe.outcome == "ok":
            return OK, "ready after %s" % span(waited), {}
        if context.clock() >= (latest if probe.outcome == "loading" else end):
            return FAILED, "not ready after %s: %s" % (span(waited), probe.detail or probe.outcome), {}
        if probe.outcome == "refused":
            unit = look(step.target, context)
            if unit.active == "failed" and not unit.job:
                return FAILED, "it failed: " + end_of(unit), {}
        context.sleep(PAUSE)


def _probe_of(unit, settings):
    service = settings.service(unit)
    if service is not None:
        return service.health
    return next((one.probe for one in settings.dependencies.values() if unit in one.units), "")


def lasts_and_answers(step, context, end):
    """Ok when the service is active as one and the same run for longer than its RestartSec (and LASTS) and its probe is
    answered well at the start of that time and at its end: two looks at "active" gave false OKs."""
    name, target = step.target, _probe_of(step.target, context.settings)
    started, run, since, runs, gone = context.clock(), "", 0.0, set(), None
    while True:
        unit = look(name, context)
        looked = context.clock()
        why = _not_running(unit)
        dead = unit.active in ("failed", "inactive") and not unit.job
        gone = (looked if gone is None else gone) if dead else None
        if dead and (unit.active == "failed" or looked - gone > GONE):
            return FAILED, why, {}
        if why:
            run = ""
        elif unit.invocation != run or not run:
            runs.add(unit.invocation)
            why = _not_answering(target, unit, context, end)
            run, since = ("", 0.0) if why else (unit.invocation or "?", looked)
        elif looked - since > max(LASTS, RESTART_SEC if unit.restart_sec is None else unit.restart_sec):
            why = _not_answering(target, unit, context, end)
            same = look(name, context).invocation == unit.invocation
            if not why and same:
                return OK, "the same run for %s%s" % (span(looked - since), ", and it answers" if target else ""), {
                    "invocation": unit.invocation}
            run = ""
        if context.clock() >= end:
            many = "; %s in that time" % plural(len(runs), "run") if len(runs) > 1 else ""
            return FAILED, "not well for long enough within %s: %s%s" % (
                span(context.clock() - started), why or "it has not lasted yet", many), {}
        context.sleep(PAUSE)


def _not_running(unit):
    if unit.active == "active" and not unit.job and unit.freezer in ("running", ""):
        return ""
    if unit.active == "failed":
        return "it failed: " + end_of(unit)
    frozen = ", " + unit.freezer if unit.freezer not in ("running", "") else ""
    return "it is %s (%s)%s" % (unit.active, unit.sub, frozen)


def _not_answering(target, unit, context, end):
    """Why there was no good answer, or not the unit's own, or "": it may not listen yet, and another process may."""
    if target:
        probe = context.ask([target], max(0.1, min(GLANCE, end - context.clock())))[target]
        if probe.outcome != "ok":
            return probe.detail or probe.outcome
    wanted = context.settings.service(unit.name)
    holder = port_holder(wanted, unit.control_group) if wanted is not None else None
    if holder is None or not holder.pid or processes.is_within(holder.control_group, unit.control_group):
        return ""
    return "another process answers at port %d: %s (PID %d)" % (holder.port, holder.command or "unnamed", holder.pid)
