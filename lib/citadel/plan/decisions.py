"""A finding and its history to a verdict and steps: what to do now, why, and what must not be done.

Pure, with the dice handed in. Read DECISIONS first: one question each, in this order; the first that has an answer
gives the plan. Only when none has, an attempt is due, the last of them (ladder.py). One attempt is one plan with
`counts`; whoever performs it counts it on disk before its first step, so that no crash of ours makes it free.
"""

from citadel import model
from citadel.core.text import plural, span
from citadel.model import ESCALATED, PASSING, RELIEVE, SERVING, STARTING, STOOD_DOWN, WAITING, about
from citadel.plan.ladder import RESTART_SEC, Case, attempt, dependency_kind, step

INTERVAL = 60                           # seconds between two passes of the health check
GLANCE = 5                              # seconds until a second look at a hung dependency


def plan(finding, history, settings, dice=0.0):
    """The Plan for one Finding. `dice` in [0, 1) spreads the pauses of many hosts."""
    case = Case(finding, history, settings, dice)
    return next(filter(None, (decide(case) for decide in DECISIONS)))


# --- the questions, in order ------------------------------------------------------------------------------------------

def is_it_well(case):
    """Well is the same run for longer than RestartSec and a good answer: two looks at "active" gave false OKs. What
    failed again within `healthy_forgets` has to last for that long, or operators would hear of an end and a beginning
    over and over."""
    finding, history = case.finding, case.history
    if finding.cause or finding.condition != SERVING:
        return None
    if not history.incident:
        return case.is_planned(model.HEALTHY, finding.because)
    needed, lasted = RESTART_SEC, RESTART_SEC + 1 if finding.since is None else finding.since
    if history.relapsed:
        needed, lasted = case.limits.healthy_forgets, min(lasted, history.healthy_for or 0.0)
    if lasted <= needed:
        return case.is_planned(WAITING, "%s; incident %s ends when this has lasted for %s%s" % (
            finding.because, history.incident, span(needed),
            ", because it failed again shortly before" if history.relapsed else ""), next_in=needed - lasted)
    return case.is_planned(model.HEALTHY, finding.because, steps=(
        step("resolve", history.incident, "%s; the cause is gone" % finding.because),))


def is_it_in_maintenance(case):
    """Actions are muted, alerts are not: one is sent, once, for what would otherwise be treated or escalated."""
    if not case.history.maintenance:
        return None
    otherwise = plan(case.finding, case.history._replace(maintenance=""), case.settings, case.dice)
    because = "maintenance is on (%s); found: %s" % (case.history.maintenance, case.finding.because)
    alert = otherwise.verdict in (model.ACT, ESCALATED) and not case.history.escalated
    return case.is_planned(STOOD_DOWN, because, veto="Citadel changes nothing during maintenance",
                           steps=(step("escalate", case.finding.unit, because),) if alert else ())


def did_an_operator_stop_it(case):
    if case.finding.cause != "gateway.stopped-by-operator":
        return None
    return case.is_planned(STOOD_DOWN, case.finding.because, veto=_veto(case.finding, case))


def can_systemd_be_asked(case):
    """With PID 1 stuck every call takes 90 s and changes nothing: escalate by means that do not need it."""
    if case.finding.cause != "systemd.unresponsive" and case.finding.condition != model.UNKNOWN:
        return None
    return _escalate(case, case.finding.because, about("systemd.unresponsive").veto)


def is_it_coming_by_itself(case):
    """systemd restarts it, it is starting, or what it needs is loading: a second hand only disturbs. But not for ever:
    an alert is sent for what is not up after twice the time that a start of ours is given; what is loading, or has had
    an attempt of ours, has a whole window."""
    finding, history = case.finding, case.history
    passing = [cause for cause in finding.actionable_causes if cause.manner == PASSING]
    if case.roots or not (passing or case.on_its_own) or _dependency_veto(case):
        return None
    loading = "loading" in [dependency_kind(cause) for cause in passing if dependency_kind(cause)][:1]
    veto = {model.RESTARTING: "systemd is still restarting it", STARTING: "it is starting",
            model.STOPPING: "it is stopping"}.get(
                finding.condition, "that dependency will be ready by itself; a restart would only delay it")
    patience = case.limits.window if loading or history.level else 2 * case.limits.verify_timeout
    open_for = history.open_for or 0.0
    if open_for > patience and not history.escalated:
        lasting = "it has been restarting and failing for" if history.relapsed else "this has lasted for"
        return _escalate(case, "%s; %s %s" % (finding.because, lasting, span(open_for)),
                         veto if loading else "systemd restarts it already, without success")
    return case.is_planned(WAITING, finding.because, veto=veto, next_in=RESTART_SEC,
                           gives_up_in=None if history.escalated else patience - open_for)


def would_a_restart_do_harm(case):
    """The vetoes of the table: what no restart can help. A dependency's holds always, that of another cause where a
    start would be ours to make."""
    finding, history = case.finding, case.history
    vetoed = _dependency_veto(case) or next((
        cause for cause in finding.actionable_causes
        if about(cause.cause).veto and finding.condition not in (SERVING, STARTING)), None)
    if vetoed and dependency_kind(vetoed) == "stopped-by-operator":
        return case.is_planned(STOOD_DOWN, vetoed.because, veto=_veto(vetoed, case))
    if vetoed:
        return _escalate(case, vetoed.because, _veto(vetoed, case))
    if finding.cause == "gateway.slow" and (history.level or history.escalated):
        return _escalate(case, finding.because, "it was restarted once and is slow again; another restart would only "
                         "add an outage")
    return None


def is_it_confirmed(case):
    """A slow answer or an HTTP error may be one bad minute; a restart makes it an outage for everybody. So may the
    silence of a dependency whose service still answers: killing Ollama would stop the gateway too."""
    beneath = bool(dependency_kind(case.finding))
    wanted = 1 if beneath and case.finding.condition != SERVING else about(case.finding.cause).confirmations
    if case.history.seen.get(case.finding.cause, 0) >= wanted:
        return None
    # A hung dependency has been asked twice already by one look, and all who need it wait.
    wait = GLANCE if beneath and wanted > 1 else INTERVAL
    return case.is_planned(WAITING, "%s; seen for the first time, so Citadel looks again in %s" % (
        case.finding.because, span(wait)), veto="not yet confirmed by a second look", next_in=wait)


def is_it_due(case):
    """RestartSec between two attempts; after an alert, the growing pauses. But no pause where no attempt came before
    the alert (a veto, maintenance), nor when what it was about, beneath the service, is fixed."""
    finding, history = case.finding, case.history
    if history.escalated and history.level and not case.was_fixed:
        left = case.pause - history.escalation.age
        if left > 0:
            return case.is_planned(ESCALATED, "%s; an alert was sent, and the next attempt comes in %s" % (
                finding.because, span(left)), next_in=max(left, _budget_free_in(case)), gives_up_in=0.0)
    if case.recent and case.recent[0] < RESTART_SEC:
        left = RESTART_SEC - case.recent[0]
        return case.is_planned(WAITING, "%s; the last attempt was %s ago, the next comes in %s" % (
            finding.because, span(case.recent[0]), span(left)), next_in=left)
    return None


def is_there_budget(case):
    """What keeps every case from becoming a restart storm: whatever was found, whoever asked, however often."""
    if len(case.recent) < case.allowance:
        return None
    if case.lost is not None:
        spent = "the record of earlier attempts was lost %s ago, so they count as made" % span(case.lost)
    else:
        spent = "%s in %s did not help" % (plural(len(case.recent), "attempt"), span(case.limits.window))
    return _escalate(case, "%s; %s" % (case.finding.because, spent), "the budget of attempts is used up",
                     max(_budget_free_in(case), 1.0))


def has_the_ladder_ended(case):
    if case.level <= RELIEVE or case.history.escalated:
        return None
    return _escalate(case, "%s; everything that treats this was tried (%s)" % (
        case.finding.because, plural(len(case.recent), "attempt")), "", max(case.pause, _budget_free_in(case)))


DECISIONS = (is_it_well, is_it_in_maintenance, did_an_operator_stop_it, can_systemd_be_asked, is_it_coming_by_itself,
             would_a_restart_do_harm, is_it_confirmed, is_it_due, is_there_budget, has_the_ladder_ended,
             attempt)


def _escalate(case, because, veto, next_in=INTERVAL):
    """An alert, once an incident; after that only the verdict says so."""
    steps = () if case.history.escalated else (step("escalate", case.finding.unit, because),)
    return case.is_planned(ESCALATED, because, steps=steps, veto=veto, next_in=next_in, gives_up_in=0.0)


def _veto(cause, case):
    return about(cause.cause).veto % {"unit": case.finding.unit, "target": cause.target}


def _dependency_veto(case):
    """A dependency without which no start is allowed; one stopped on purpose goes before one that is missing."""
    vetoes = [cause for cause in case.finding.actionable_causes if dependency_kind(cause) and about(cause.cause).veto]
    return min(vetoes, key=lambda cause: dependency_kind(cause) != "stopped-by-operator") if vetoes else None


def _budget_free_in(case):
    """Seconds until the budget allows the next attempt."""
    lost, half = case.lost, case.limits.window / 2.0
    if lost is None:
        return case.limits.window - case.recent[case.allowance - 1] if len(case.recent) >= case.allowance else 0.0
    if case.limits.attempts > 1 and lost < half and not case.recent:
        return half - lost
    return case.limits.window - lost if case.allowance == 0 or case.recent else 0.0
