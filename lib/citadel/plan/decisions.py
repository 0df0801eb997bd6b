"""A finding and its history to a verdict and steps: what to do now, why, and what must not be done.

Pure: no clock, no chance (the dice are handed in), no files. `explain` and `--dry-run` print what is decided here.

Read DECISIONS first: one question each, in this order; the first that has an answer gives the plan. Only when none has,
an attempt is due, and the ladder says which:

    1 start                 2 clean what is stale, then start        3 repair what it depends on, then start
    4 relieve disk and memory, then start                            then a person is called

A known cause goes straight to the rung that treats it, and each rung includes what its cause needs. One attempt is one
plan with `counts`; whoever performs it counts it on disk before its first step, so that no crash of ours makes it free.
"""

from collections import namedtuple

from citadel.core.text import plural, span
from citadel.model import (
    ACT,
    ACTIVE,
    CLEAN,
    DOWN,
    ESCALATED,
    FROZEN,
    HEALTHY,
    PASSING,
    PATIENCE,
    RELIEVE,
    REPAIR,
    RESTARTING,
    RUNNING,
    SERVING,
    START,
    STARTING,
    STOOD_DOWN,
    STOPPING,
    UNKNOWN,
    UNRESPONSIVE,
    WAITING,
    Plan,
    Step,
    about,
)

LADDER = {START: "a plain start", CLEAN: "clean what is stale, then start", REPAIR: "repair what it needs, then start",
          RELIEVE: "relieve disk and memory, then start"}

INTERVAL = 60                                                   # seconds between two passes of the health check
GLANCE = 5                                                      # seconds until a second look at a hung dependency

History = namedtuple("History", "attempts level tries escalated escalation_count since_escalation maintenance incident "
                                "healthy_for lost seen open_for treated called_for relapsed")
History.__new__.__defaults__ = ((), 0, 0, False, 0, None, "", "", None, None, 1, 0.0, {}, "", False)
History.__doc__ = """What is on record of one service; ages in seconds.

`attempts`: the age of each attempt, whatever its cause and incident. `level`: the highest rung tried in this spell of
illness, `tries` how often; a spell ends when the service was well for `healthy_forgets`, and may have several incidents.
`relapsed`: the open one is not its first. `escalated`: a person was called in this incident. `escalation_count`: attempts
made since a person was called, kept for the spell; `since_escalation`: since the call, or the newest of these attempts.
`maintenance`: its reason, or "". `incident`: the id of the open one, or "".
`healthy_for`: for how long passes have found the service well, None if the last did not. `lost`: the age of a loss of
this record, or None.
`seen`: passes in a row that found this cause, this one included. `open_for`: since the incident began.
`treated`: how often, in the window, each dependency's unit was treated, for whichever of the services that need it.
`called_for`: the cause that was found when a person was called, or at the newest attempt after that."""

Limits = namedtuple("Limits", "budget window backoff jitter restart_sec healthy_forgets verify per_level")
Limits.__new__.__defaults__ = (5, 1800, (300, 600, 1200, 2400, 3600), 0.1, 5, 600, 120, 1)
Limits.__doc__ = """Never more than `budget` attempts in any `window` seconds; `backoff`, the pauses after a person was
called, each longer by up to `jitter` of itself; `per_level` attempts a rung, `restart_sec` apart, each given `verify`
seconds."""


def plan(finding, history=History(), limits=Limits(), dice=0.0):
    """The Plan for one Finding. `dice` in [0, 1) spreads the pauses of many hosts."""
    case = Case(finding, history, limits, dice)
    for decide in DECISIONS:
        decided = decide(case)
        if decided is not None:
            return decided
    return _attempt(case)


def limits_of(settings):
    """The Limits that the settings ask for."""
    recovery = settings.recovery
    return Limits(recovery.attempts, recovery.window, tuple(recovery.backoff), recovery.jitter / 100.0,
                  healthy_forgets=recovery.healthy_forgets, verify=recovery.verify_timeout,
                  per_level=recovery.attempts_per_level)


def recall(record, cause="", maintenance="", window=1800, treated=None):
    """incidents.History, the record as it is kept, as this module reads it. `treated`: dependency unit to its attempts
    on record."""
    # The pauses outlive an incident, the call for a person does not.
    called = bool(record.escalation and record.open_for is not None and record.escalation.age <= record.open_for)
    in_spell = [one for one in record.attempts if record.spell_for is not None and one.age <= record.spell_for]
    lost = record.lost if record.lost is not None and record.lost < window else None
    return History(tuple(one.age for one in record.attempts), record.level,
                   sum(1 for one in in_spell if one.level == record.level), called,
                   max(0, record.escalation.count - 1) if record.escalation else 0,
                   record.escalation.age if record.escalation else None, maintenance, record.incident,
                   record.healthy_for, lost, record.seen.get(cause, 0), record.open_for or 0.0,
                   {unit: sum(1 for one in attempts if one.age < window)
                    for unit, attempts in (treated or {}).items()},
                   record.escalation.cause if called else "", record.relapsed)


class Case(namedtuple("Case", "finding history limits dice")):
    """One service's finding beside its history, and what follows from both."""

    __slots__ = ()

    @property
    def roots(self):
        """What lies beneath the service, presses, and can be treated without it: worth an attempt by itself."""
        return tuple(cause for cause in self.finding.actionable_causes if cause.manner != PASSING and (
            cause.cause in ("disk.full", "disk.inodes", "memory.low")
            or _kind(cause) in ("down", "hung", "refusing-writes")))

    @property
    def on_its_own(self):
        """The service is on its way, down or up, by systemd's hand; we keep ours off it."""
        return self.finding.condition in (STARTING, STOPPING, RESTARTING)

    @property
    def was_mended(self):
        """A person was called for something beneath the service, and that is well now."""
        called_for = self.history.called_for
        return bool(called_for) and not called_for.startswith("gateway.") and called_for not in [
            cause.cause for cause in self.finding.actionable_causes]

    @property
    def recent(self):
        """The ages of the attempts that count against the budget, youngest first."""
        return sorted(age for age in self.history.attempts if age < self.limits.window)

    @property
    def allowance(self):
        """How many attempts a window may hold. One of the budget is held back for when the record is lost: what was
        lost must be taken as made, so after a loss there is that one, and not before half a window has passed; then
        even a record that is lost time and again makes no more than the budget in any window."""
        lost = self.history.lost
        if lost is not None and lost < self.limits.window:
            return 1 if self.limits.budget > 1 and lost >= self.limits.window / 2.0 else 0
        return max(1, self.limits.budget - 1)

    @property
    def rung(self):
        """The rung for the next attempt; above RELIEVE the ladder has ended."""
        history = self.history
        if history.level and history.tries < self.limits.per_level:
            climbed = history.level
        else:
            climbed = history.level + 1
        return max(climbed, _own_level(self))

    @property
    def pause(self):
        """Seconds between the call for a person, or the last attempt after it, and the next attempt."""
        backoff = self.limits.backoff
        return backoff[min(self.history.escalation_count, len(backoff) - 1)] * (1 + self.limits.jitter * self.dice)

    def is_planned(self, verdict, because, **more):
        return Plan(self.finding.unit, verdict, because=because, **more)


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
    needed, lasted = case.limits.restart_sec, case.limits.restart_sec + 1 if finding.since is None else finding.since
    if history.relapsed:
        needed, lasted = case.limits.healthy_forgets, min(lasted, history.healthy_for or 0.0)
    if lasted <= needed:
        return case.is_planned(WAITING, "%s; it has to last longer than %s before incident %s is over%s" % (
            finding.because, span(needed), history.incident, ", as it had been ill shortly before" if history.relapsed
            else ""), next_in=needed - lasted)
    return case.is_planned(HEALTHY, finding.because, steps=(
        _step("resolve", history.incident, "%s; the cause is gone" % finding.because),))


def is_it_in_maintenance(case):
    """Actions are muted, alerts are not: a person is called, once, for what would otherwise be treated or escalated."""
    if not case.history.maintenance:
        return None
    otherwise = plan(case.finding, case.history._replace(maintenance=""), case.limits, case.dice)
    because = "maintenance is on (%s); found: %s" % (case.history.maintenance, case.finding.because)
    call = otherwise.verdict in (ACT, ESCALATED) and not case.history.escalated
    return case.is_planned(STOOD_DOWN, because, veto="in maintenance nothing is touched",
                           steps=(_step("escalate", case.finding.unit, because),) if call else ())


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
    dependency = next((cause for cause in passing if _kind(cause)), None)
    loading = bool(dependency) and _kind(dependency) == "loading"
    if case.on_its_own:
        veto = {RESTARTING: "systemd is still restarting it", STARTING: "it is starting",
                STOPPING: "it is stopping"}[case.finding.condition]
    else:
        veto = "%s will be ready by itself; a restart would only prolong that" % dependency.target
    patience = case.limits.window if loading or case.history.level else 2 * case.limits.verify
    if case.history.open_for > patience and not case.history.escalated:
        lasting = "it keeps coming back and failing, for" if case.history.relapsed else "that has lasted for"
        return _call_a_person(case, "%s; %s %s" % (case.finding.because, lasting, span(case.history.open_for)),
                              veto if loading else "systemd does so already, and in vain", next_in=INTERVAL)
    return case.is_planned(WAITING, case.finding.because, veto=veto, next_in=case.limits.restart_sec,
                           gives_up_in=None if case.history.escalated else patience - case.history.open_for)


def would_a_restart_do_harm(case):
    """The vetoes of the table: what no restart can help. A dependency's holds always, that of another cause where a
    start would be ours to make."""
    finding = case.finding
    vetoed = _dependency_veto(case) or next((
        cause for cause in finding.actionable_causes
        if about(cause.cause).veto and finding.condition not in (SERVING, STARTING)), None)
    if vetoed and _kind(vetoed) == "stopped-by-operator":
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
    beneath = bool(_kind(case.finding))
    wanted = 1 if beneath and case.finding.condition != SERVING else about(case.finding.cause).confirmations
    if case.history.seen >= wanted:
        return None
    # A hung dependency has been asked twice already by one look, and all who need it wait.
    wait = GLANCE if beneath else INTERVAL
    return case.is_planned(WAITING, "%s; seen for the first time, so it gets another %s" % (
        case.finding.because, span(wait)), veto="not yet confirmed by a second look", next_in=wait)


def is_it_due(case):
    """RestartSec between two attempts; after a person was called, the growing pauses. But no pause where no attempt
    came before the call (a veto, maintenance), nor when what it was about, beneath the service, has been mended."""
    if case.history.escalated and case.history.level and not case.was_mended:
        left = case.pause - (case.history.since_escalation or 0.0)
        if left > 0:
            return case.is_planned(ESCALATED, "%s; a person was called, and the next attempt comes in %s" % (
                case.finding.because, span(left)), next_in=max(left, _budget_free_in(case)), gives_up_in=0.0)
    if case.recent and case.recent[0] < case.limits.restart_sec:
        left = case.limits.restart_sec - case.recent[0]
        return case.is_planned(WAITING, "%s; the last attempt was %s ago, the next comes in %s" % (
            case.finding.because, span(case.recent[0]), span(left)), next_in=left)
    return None


def is_there_budget(case):
    """What keeps every road from becoming a restart storm: whatever was found, whoever asked, however often."""
    if len(case.recent) < case.allowance:
        return None
    if case.history.lost is not None:
        spent = "the record of earlier attempts was lost %s ago, so they are taken as made" % span(case.history.lost)
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


# --- an attempt -------------------------------------------------------------------------------------------------------

def _attempt(case):
    """The steps of the rung: what lies beneath first, the service last."""
    rung = min(case.rung, RELIEVE)
    steps = _relief(case, rung) + _cleaning(case, rung) + _repairs(case) + _revival(case, rung)
    attempts_left = min(_rungs_left(case, rung), case.allowance - len(case.recent))
    gives_up_in = attempts_left * (sum(step.seconds for step in steps) + case.limits.verify + case.limits.restart_sec)
    treatment = LADDER[rung] if case.finding.condition == DOWN else LADDER[rung].replace("start", "restart")
    why = "%s; attempt on rung %d of %d: %s" % (case.finding.because, rung, RELIEVE, treatment)
    # What only prepares the ground for systemd's own restart is no try of the rung: if that fails, it comes again.
    level = case.history.level if case.on_its_own else rung
    return Plan(case.finding.unit, ACT, tuple(steps), why, next_in=0.0, level=level, counts=True,
                gives_up_in=0.0 if case.history.escalated else float(gives_up_in))


def _rungs_left(case, rung):
    tried = case.history.tries if case.history.level == rung else 0
    return (RELIEVE - rung + 1) * case.limits.per_level - min(tried, case.limits.per_level - 1)


def _relief(case, rung):
    """Room on disk and in memory: where that is the trouble, or where nothing else has helped."""
    causes = {cause.cause: cause for cause in reversed(case.finding.actionable_causes)}
    refusing = [cause for cause in case.finding.actionable_causes if _kind(cause) == "refusing-writes"]
    last_resort = rung == RELIEVE and not case.on_its_own and case.finding.condition != SERVING and (
        not set(causes) & {"disk.full", "disk.inodes", "disk.readonly", "memory.low", "gateway.oom"})
    steps = []
    for name in ("disk.full", "disk.inodes"):
        if name in causes:
            steps.append(_step("relieve-disk", causes[name].target, causes[name].because))
    if refusing and not steps:
        steps.append(_step("relieve-disk", "", refusing[0].because + "; mostly because it cannot save to its disk"))
    for name in ("memory.low", "gateway.oom"):
        if name in causes and not any(step.do == "relieve-memory" for step in steps):
            steps.append(_step("relieve-memory", "memory", causes[name].because))
    if last_resort:
        why = "nothing else has helped; whatever can be spared is freed"
        steps += [] if refusing else [_step("relieve-disk", "", why)]
        steps.append(_step("relieve-memory", "memory", why))
    return steps


def _cleaning(case, rung):
    """From the second rung on; never under a service that runs."""
    if rung < CLEAN or case.finding.condition not in (DOWN, RUNNING):
        return []
    if _own_level(case) > CLEAN and case.history.level == 0:
        return []                               # a known cause goes straight to its own treatment
    return [_step("clean", case.finding.unit, "an earlier run may have left stale PID and temporary files in the way")]


def _repairs(case):
    """Unhealthy dependencies only, in their order, each waited for until it is ready, not merely started."""
    steps = []
    for cause in case.finding.actionable_causes:
        kind, unit = _kind(cause), cause.target
        if kind in ("hung", "down") and case.history.treated.get(unit, 0) >= case.allowance:
            # Services that share it have budgets of their own; together they must not storm it.
            steps.append(_step("wait-ready", unit, "%s; it was treated %s in %s already, and is left alone now" % (
                cause.because, plural(case.history.treated[unit], "time"), span(case.limits.window))))
            continue
        ready = _step("wait-ready", unit, "started is not ready: what needs it would fail on it")
        if kind in ("loading", "refusing-writes") or (kind == "down" and cause.manner == PASSING):
            # A restart would begin the loading anew, lose what redis cannot save, or get in systemd's way.
            steps.append(_step("wait-ready", unit, cause.because))
        elif kind == "hung" and cause.manner == FROZEN:
            steps += [_step("thaw", unit, cause.because), ready]
        elif kind == "hung":
            steps += [_step("kill", unit, cause.because + "; asked politely, it would take its whole stop timeout"),
                      _reset_failed(unit), _step("restart", unit, cause.because), ready]
        elif kind == "down":
            steps += [_reset_failed(unit), _step("restart" if cause.manner == ACTIVE else "start", unit, cause.because),
                      ready]
    return steps


def _revival(case, rung):
    """The service itself: started, restarted, or left alone where it comes by itself or serves already."""
    finding, unit = case.finding, case.finding.unit
    slow = finding.cause == "gateway.slow"
    if case.on_its_own or (finding.condition == SERVING and not slow):
        return []
    symptom = next((cause for cause in finding.actionable_causes if cause.cause.startswith("gateway.")), None)
    because = symptom.because if symptom else finding.because
    if finding.condition == DOWN:
        return [_reset_failed(unit), _step("start", unit, because)]
    steps = []
    if symptom and symptom.manner == FROZEN:
        steps.append(_step("thaw", unit, because))      # before all else: 257 refuses to restart a frozen unit
        if rung == START:
            return steps
    if symptom and symptom.manner in (UNRESPONSIVE, FROZEN):
        steps.append(_step("kill", unit, "it is deaf: a stop would take the whole TimeoutStopSec, a kill 0.1 s"))
    return steps + [_reset_failed(unit), _step("restart", unit, because)]


# --- small readings ---------------------------------------------------------------------------------------------------

def _call_a_person(case, because, veto, next_in):
    """Once an incident; after that only the verdict says so."""
    steps = () if case.history.escalated else (_step("escalate", case.finding.unit, because),)
    return case.is_planned(ESCALATED, because, steps=steps, veto=veto, next_in=next_in, gives_up_in=0.0)


def _veto(cause, case):
    return about(cause.cause).veto % {"unit": case.finding.unit, "target": cause.target}


def _dependency_veto(case):
    """A dependency without which no start is allowed; one stopped on purpose goes before one that is missing."""
    vetoes = [cause for cause in case.finding.actionable_causes if _kind(cause) and about(cause.cause).veto]
    return min(vetoes, key=lambda cause: _kind(cause) != "stopped-by-operator") if vetoes else None


def _budget_free_in(case):
    """Seconds until the budget allows the next attempt."""
    lost = case.history.lost
    waits = [0.0]
    if lost is not None and lost < case.limits.window:
        half = case.limits.window / 2.0
        waits.append(half - lost if case.limits.budget > 1 and lost < half and not case.recent else
                     case.limits.window - lost if case.allowance == 0 or case.recent else 0.0)
    elif len(case.recent) >= case.allowance:
        waits.append(case.limits.window - case.recent[case.allowance - 1])
    return max(waits)


def _kind(cause):
    """The last part of dependency.<name>.<kind>, "" for every other cause."""
    return cause.cause.rpartition(".")[2] if cause.cause.startswith("dependency.") else ""


def _own_level(case):
    """The level of the ladder that treats all that was found."""
    return max([about(cause.cause).level for cause in case.finding.actionable_causes] or [START])


def _step(do, target, because):
    return Step(do, target, because, PATIENCE[do])


def _reset_failed(unit):
    """Part of the same attempt: without it a restart counts against the start limit, and with that spent it stops a
    healthy service and leaves it failed (247 to 262)."""
    return _step("reset-failed", unit, "so that systemd's start limit cannot refuse it")
