"""`explain`: what a recovery pass would do now, and why; the same road, ended after `plan`."""

from citadel import recovery
from citadel.commands.call import finding_as_data
from citadel.core.errors import CANNOT_LOOK, OK
from citadel.core.text import local_time, printable, span
from citadel.model import UNKNOWN, full_sentence


def perform(call):
    foreseen = recovery.foresee(call.settings, call.store)
    if call.options.service:
        unit = call.unit
        foreseen = [(finding, plan) for finding, plan in foreseen if finding.unit == unit]
    call.report(*[line for finding, plan in foreseen for line in _lines(call, finding, plan)], services=[dict(
        finding_as_data(finding), verdict=plan.verdict, plan_because=plan.because, veto=plan.veto, next_in=plan.next_in,
        gives_up_in=plan.gives_up_in, steps=plan.steps) for finding, plan in foreseen])
    return CANNOT_LOOK if any(finding.condition == UNKNOWN for finding, _ in foreseen) else OK


def _lines(call, finding, plan):
    yield "%s: %s" % (call.paint(finding.unit, "strong"),
                      call.paint(finding.cause or "no cause to act", "bad" if finding.cause else "good"))
    yield "  because  " + printable(full_sentence(finding.unit, finding), 600)
    for cause in finding.others:
        yield "  also     %s: %s" % (cause.cause, printable(full_sentence(finding.unit, cause), 400))
    yield "  verdict  %s%s" % (plan.verdict, _beyond(finding.because, plan.because))
    for number, step in enumerate(plan.steps, 1):
        limit = ", at most %s" % span(step.seconds) if step.seconds else ""
        yield "  step %d   %s %s%s%s" % (number, step.do, printable(step.target), limit,
                                       _beyond(finding.because, step.because))
    if plan.veto:
        yield "  no restart: " + printable(plan.veto, 400)
    if plan.next_in is not None and finding.cause:
        yield "  next     %s" % ("now" if plan.next_in <= 0 else "%s in %s (%s)" % (
            "look" if plan.veto else "attempt", span(plan.next_in), local_time(call.now().wall + plan.next_in)))
    if plan.gives_up_in is None or not finding.cause:
        return
    if plan.gives_up_in > 0:
        yield "  gives up in about %s if nothing helps; an alert is sent then" % span(plan.gives_up_in)
    else:
        escalates = any(step.do == "escalate" for step in plan.steps)
        yield "  %s; %s" % (
            "gives up now; an alert is sent" if escalates else "gave up already",
            "nothing is tried while a restart is ruled out" if plan.veto else "attempts go on at growing intervals")


def _beyond(known, because):
    """": " and a reason, as far as it says more than what was said already."""
    because = because.replace("; found: " + known, "")
    if because.startswith(known):
        because = because[len(known):].lstrip("; ")
    return ": " + printable(because, 400) if because else ""
