"""A finding and its history to a verdict and steps: what to do now, why, and what must not be done.

Pure: no clock, no chance (the dice are handed in), no files. `explain` and `--dry-run` print what is decided here.

Read DECISIONS first: one question each, in this order; the first that has an answer gives the plan. Only when none has,
an attempt is due, and the ladder says which:

    1 start                 2 clean what is stale, then start        3 repair what it depends on, then start
    4 relieve disk and memory, then start                            then a person is called

A known cause goes straight to the rung that treats it, and each rung includes what its cause needs. One attempt is one
plan with `counts`; whoever performs it counts it on disk before its first step, so that no crash of ours makes it free.
"""

from citadel.core.text import plural, span
from citadel.model import (
    ACT,
    ESCALATED,
    HEALTHY,
    PASSING,
    RELIEVE,
    RESTARTING,
    SERVING,
    STARTING,
    STOOD_DOWN,
    STOPPING,
    UNKNOWN,
    WAITING,
    about,
)
from citadel.plan.ladder import RESTART_SEC, Case, attempt, dependency_kind, step

INTERVAL = 60                                                   # seconds between two passes of the health check
GLANCE = 5                                                      # seconds until a second look at a hung dependency


def plan(finding, history, settings, dice=0.0):
    """The Plan for one Finding. `dice` in [0, 1) spreads the pauses of many hosts."""
    case = Case(finding, history, settings, dice)
    for decide in DECISIONS:
        decided = decide(case)
        if decided is not None:
            return decided
    return attempt(case)


# --- the questions, in order ------------------------------------------------------------------------------------------

def is_it_well(case):
    """Healthy is the same run for longer than RestartSec and a good answer: two looks at "active" gave false OKs. What
    was ill again within `healthy_forgets` has to last for that long: else who is called would hear of an end, and of
    the next beginning, over and over."""
    finding, history = case.finding, case.history
    if finding.cause or finding.condition != SERVING:
        return None
    if not history.incident:
        return case.is_planned(HEALTHY, finding.because)
    needed, lasted = RESTART_SEC, RESTART_SEC + 1 if finding.since is None else finding.since
    if history.relapsed:
        needed, lasted = case.limits.healthy_forgets, min(lasted, history.healthy_for or 0.0)
    if lasted <= needed:
        return case.is_planned(WAITING, "%s; it has to last longer than %s before incident %s is over%s" % (
            finding.because, span(needed), history.incident, ", as it had been ill shortly before" if history.relapsed
            else ""), next_in=needed - lasted)
    return case.is_planned(HEALTHY, finding.because, steps=(
        step("resolve", history.incident, "%s; the cause is gone" % finding.because),))


def is_it_in_maintenance(case):
    """Actions are muted, alerts are not: a person is called, once, for what would otherwise be treated or escalated."""
    if not case.history.maintenance:
        return None
    otherwise = plan(case.finding, case.history._replace(maintenance=""), case.settings, case.dice)
    because = "maintenance is on (%s); found: %s" % (case.history.maintenance, case.finding.because)
    call = otherwise.verdict in (ACT, ESCALATED) and not case.history.escalated
    return case.is_planned(STOOD_DOWN, because, veto="in maintenance nothing is touched",
                           steps=(step("escalate", case.finding.unit, because),) if call else ())


def does_a_person_want_it_down(case):
    if case.finding.cause != "gateway.stopped-by-operator":
        return None
    return case.is_planned(STOOD_DOWN, case.finding.because, veto=_veto(case.finding, case))


def can_systemd_be_asked(case):
    """With PID 1 stuck every call takes 90 s and changes nothing: escalate by means that do not need it."""
    if case.finding.cause != "systemd.unresponsive" and case.finding.condition != UNKNOWN:
        return None
    return _call_a_person(case, case.finding.because, about("systemd.unresponsive").veto, next_in=INTERVAL)


def is_it_coming_by_itself(case):
    """systemd restarts it, it is starting, or what it needs is loading: a second hand only disturbs. But not for ever:
    what is not up after twice the time that a start of ours is given goes in circles, and a person hears of it; what is
    loading, or has had an attempt of ours, has a whole window."""
    passing = [cause for cause in case.finding.actionable_causes if cause.manner == PASSING]
    if case.roots or not (passing or case.on_its_own) or _dependency_veto(case):
        return None
    dependency = next((cause for cause in passing if dependency_kind(cause)), None)
    loading = bool(dependency) and dependency_kind(dependency) == "loading"
    if case.on_its_own:
        veto = {RESTARTING: "systemd is still restarting it", STARTING: "it is starting",
                STOPPING: "it is stopping"}[case.finding.condition]
    else:
        veto = "%s will be ready by itself; a restart would only prolong that" % dependency.target
    patience = case.limits.window if loading or case.history.level else 2 * case.limits.verify_timeout
    open_for = case.history.open_for or 0.0
    if open_for > patience and not case.history.escalated:
        lasting = "it keeps coming back and failing, for" if case.history.relapsed else "that has lasted for"
        return _call_a_person(case, "%s; %s %s" % (case.finding.because, lasting, span(open_for)),
                              veto if loading else "systemd does so already, and in vain", next_in=INTERVAL)
    return case.is_planned(WAITING, case.finding.because, veto=veto, next_in=RESTART_SEC,
                           gives_up_in=None if case.history.escalated else patience - open_for)


def would_a_restart_do_harm(case):
    """The vetoes of the table: what no restart can help. A dependency's holds always, that of another cause where a
    start would be ours to make."""
    finding = case.finding
    vetoed = _dependency_veto(case) or next((
        cause for cause in finding.actionable_causes
        if about(cause.cause).veto and finding.condition not in (SERVING, STARTING)), None)
    if vetoed and dependency_kind(vetoed) == "stopped-by-operator":
        return case.is_planned(STOOD_DOWN, vetoed.because, veto=_veto(vetoed, case))
    if vetoed:
        return _call_a_person(case, vetoed.because, _veto(vetoed, case), next_in=INTERVAL)
    if finding.cause == "gateway.slow" and (case.history.level or case.history.escalated):
        return _call_a_person(case, finding.because, "it was restarted once and is slow again; another restart would "
                              "only add an outage", next_in=INTERVAL)
    return None


def is_it_confirmed(case):
    """A slow answer or an HTTP error may be one bad minute; a restart makes it an outage for everybody. So may the
    silence of what a service needs that answers still: killing Ollama would take the gateway along."""
    beneath = bool(dependency_kind(case.finding))
    wanted = 1 if beneath and case.finding.condition != SERVING else about(case.finding.cause).confirmations
    if case.history.seen.get(case.finding.cause, 0) >= wanted:
        return None
    # A hung dependency has been asked twice already by one look, and all who need it wait.
    wait = GLANCE if beneath else INTERVAL
    return case.is_planned(WAITING, "%s; seen for the first time, so it gets another %s" % (
        case.finding.because, span(wait)), veto="not yet confirmed by a second look", next_in=wait)


def is_it_due(case):
    """RestartSec between two attempts; after a person was called, the growing pauses. But no pause where no attempt
    came before the call (a veto, maintenance), nor when what it was about, beneath the service, has been mended."""
    if case.history.escalated and case.history.level and not case.was_mended:
        left = case.pause - case.history.escalation.age
        if left > 0:
            return case.is_planned(ESCALATED, "%s; a person was called, and the next attempt comes in %s" % (
                case.finding.because, span(left)), next_in=max(left, _budget_free_in(case)), gives_up_in=0.0)
    if case.recent and case.recent[0] < RESTART_SEC:
        left = RESTART_SEC - case.recent[0]
        return case.is_planned(WAITING, "%s; the last attempt was %s ago, the next comes in %s" % (
            case.finding.because, span(case.recent[0]), span(left)), next_in=left)
    return None


def is_there_budget(case):
    """What keeps every road from becoming a restart storm: whatever was found, whoever asked, however often."""
    if len(case.recent) < case.allowance:
        return None
    if case.lost is not None:
        spent = "the record of earlier attempts was lost %s ago, so they are taken as made" % span(case.lost)
    else:
        spent = "%s in %s did not help" % (plural(len(case.recent), "attempt"), span(case.limits.window))
    return _call_a_person(case, "%s; %s" % (case.finding.because, spent), "the budget of attempts is spent",
                          next_in=max(_budget_free_in(case), 1.0))


def has_the_ladder_ended(case):
    if case.rung <= RELIEVE or case.history.escalated:
        return None
    return _call_a_person(case, "%s; all that treats this was tried (%s)" % (
        case.finding.because, plural(len(case.recent), "attempt")), "", next_in=max(case.pause, _budget_free_in(case)))


DECISIONS = (
    is_it_well,
    is_it_in_maintenance,
    does_a_person_want_it_down,
    can_systemd_be_asked,
    is_it_coming_by_itself,
    would_a_restart_do_harm,
    is_it_confirmed,
    is_it_due,
    is_there_budget,
    has_the_ladder_ended,
)


# --- small readings ---------------------------------------------------------------------------------------------------

def _call_a_person(case, because, veto, next_in):
    """Once an incident; after that only the verdict says so."""
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
        return (case.limits.window - case.recent[case.allowance - 1] if len(case.recent) >= case.allowance else 0.0)
    if case.limits.attempts > 1 and lost < half and not case.recent:
        return half - lost
    return case.limits.window - lost if case.allowance == 0 or case.recent else 0.0
