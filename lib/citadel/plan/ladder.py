"""The ladder: what one attempt at a service does, its levels from the mildest to the last. Pure."""

from collections import namedtuple

from citadel.core.text import plural, span
from citadel.model import (
    ACT,
    ACTIVE,
    CLEAN,
    DOWN,
    FROZEN,
    PASSING,
    PATIENCE,
    RELIEVE,
    REPAIR,
    RESTARTING,
    RUNNING,
    SERVING,
    START,
    STARTING,
    STOPPING,
    UNRESPONSIVE,
    Plan,
    Step,
    about,
)

LADDER = {START: "a plain start", CLEAN: "clean what is stale, then start", REPAIR: "repair what it needs, then start",
          RELIEVE: "relieve disk and memory, then start"}
RESTART_SEC = 5                                                 # seconds; of the shipped units


class Case(namedtuple("Case", "finding history settings dice")):
    """One service's finding beside its history, and what follows from both."""

    __slots__ = ()

    @property
    def limits(self):
        return self.settings.recovery

    @property
    def roots(self):
        """What lies beneath the service, presses, and can be treated without it: worth an attempt by itself."""
        return tuple(cause for cause in self.finding.actionable_causes if cause.manner != PASSING and (
            cause.cause in ("disk.full", "disk.inodes", "memory.low")
            or dependency_kind(cause) in ("down", "hung", "refusing-writes")))

    @property
    def on_its_own(self):
        """The service is on its way, down or up, by systemd's hand; we keep ours off it."""
        return self.finding.condition in (STARTING, STOPPING, RESTARTING)

    @property
    def was_mended(self):
        """A person was called for something beneath the service, and that is well now."""
        called_for = self.history.escalated_for
        return bool(called_for) and not called_for.startswith("gateway.") and called_for not in [
            cause.cause for cause in self.finding.actionable_causes]

    @property
    def recent(self):
        """The ages of the attempts that count against the budget, youngest first."""
        return sorted(one.age for one in self.history.attempts if one.age < self.limits.window)

    @property
    def lost(self):
        """The age of a loss of the record, None once it is a window ago."""
        lost = self.history.lost
        return lost if lost is not None and lost < self.limits.window else None

    @property
    def allowance(self):
        """How many attempts a window may hold. One of the budget is held back for when the record is lost: what was
        lost must be taken as made, so after a loss there is that one, and not before half a window has passed; then
        even a record that is lost time and again makes no more than the budget in any window."""
        if self.lost is not None:
            return 1 if self.limits.attempts > 1 and self.lost >= self.limits.window / 2.0 else 0
        return max(1, self.limits.attempts - 1)

    @property
    def rung(self):
        """The rung for the next attempt; above RELIEVE the ladder has ended."""
        history = self.history
        if history.level and history.tries < self.limits.attempts_per_level:
            climbed = history.level
        else:
            climbed = history.level + 1
        return max(climbed, own_level(self))

    @property
    def pause(self):
        """Seconds between the call for a person, or the last attempt after it, and the next attempt."""
        backoff = self.limits.backoff
        return backoff[min(self.history.retries, len(backoff) - 1)] * (1 + self.limits.jitter / 100.0 * self.dice)

    def is_planned(self, verdict, because, **more):
        return Plan(self.finding.unit, verdict, because=because, **more)


def attempt(case):
    """The steps of the rung: what lies beneath first, the service last."""
    rung = min(case.rung, RELIEVE)
    steps = _relief(case, rung) + _cleaning(case, rung) + _repairs(case) + _revival(case, rung)
    attempts_left = min(_rungs_left(case, rung), case.allowance - len(case.recent))
    gives_up_in = attempts_left * (sum(step.seconds for step in steps) + case.limits.verify_timeout + RESTART_SEC)
    treatment = LADDER[rung] if case.finding.condition == DOWN else LADDER[rung].replace("start", "restart")
    why = "%s; attempt on rung %d of %d: %s" % (case.finding.because, rung, RELIEVE, treatment)
    # What only prepares the ground for systemd's own restart is no try of the rung: if that fails, it comes again.
    level = case.history.level if case.on_its_own else rung
    return Plan(case.finding.unit, ACT, tuple(steps), why, next_in=0.0, level=level, counts=True,
                gives_up_in=0.0 if case.history.escalated else float(gives_up_in))


def _rungs_left(case, rung):
    tried = case.history.tries if case.history.level == rung else 0
    return (RELIEVE - rung + 1) * case.limits.attempts_per_level - min(tried, case.limits.attempts_per_level - 1)


def _relief(case, rung):
    """Room on disk and in memory: where that is the trouble, or where nothing else has helped."""
    causes = {cause.cause: cause for cause in reversed(case.finding.actionable_causes)}
    refusing = [cause for cause in case.finding.actionable_causes if dependency_kind(cause) == "refusing-writes"]
    last_resort = rung == RELIEVE and not case.on_its_own and case.finding.condition != SERVING and (
        not set(causes) & {"disk.full", "disk.inodes", "disk.readonly", "memory.low", "gateway.oom"})
    steps = []
    for name in ("disk.full", "disk.inodes"):
        if name in causes:
            steps.append(step("relieve-disk", causes[name].target, causes[name].because))
    if refusing and not steps:
        steps.append(step("relieve-disk", "", refusing[0].because + "; mostly because it cannot save to its disk"))
    for name in ("memory.low", "gateway.oom"):
        if name in causes and not any(step.do == "relieve-memory" for step in steps):
            steps.append(step("relieve-memory", "memory", causes[name].because))
    if last_resort:
        why = "nothing else has helped; whatever can be spared is freed"
        steps += [] if refusing else [step("relieve-disk", "", why)]
        steps.append(step("relieve-memory", "memory", why))
    return steps


def _cleaning(case, rung):
    """From the second rung on; never under a service that runs."""
    if rung < CLEAN or case.finding.condition not in (DOWN, RUNNING):
        return []
    if own_level(case) > CLEAN and case.history.level == 0:
        return []                               # a known cause goes straight to its own treatment
    return [step("clean", case.finding.unit, "an earlier run may have left stale PID and temporary files in the way")]


def _repairs(case):
    """Unhealthy dependencies only, in their order, each waited for until it is ready, not merely started."""
    steps = []
    for cause in case.finding.actionable_causes:
        kind, unit = dependency_kind(cause), cause.target
        if kind in ("hung", "down") and case.history.treated.get(unit, 0) >= case.allowance:
            # Services that share it have budgets of their own; together they must not storm it.
            steps.append(step("wait-ready", unit, "%s; it was treated %s in %s already, and is left alone now" % (
                cause.because, plural(case.history.treated[unit], "time"), span(case.limits.window))))
            continue
        ready = step("wait-ready", unit, "started is not ready: what needs it would fail on it")
        if kind in ("loading", "refusing-writes") or (kind == "down" and cause.manner == PASSING):
            # A restart would begin the loading anew, lose what redis cannot save, or get in systemd's way.
            steps.append(step("wait-ready", unit, cause.because))
        elif kind == "hung" and cause.manner == FROZEN:
            steps += [step("thaw", unit, cause.because), ready]
        elif kind == "hung":
            steps += [step("kill", unit, cause.because + "; asked politely, it would take its whole stop timeout"),
                      _reset_failed(unit), step("restart", unit, cause.because), ready]
        elif kind == "down":
            steps += [_reset_failed(unit), step("restart" if cause.manner == ACTIVE else "start", unit, cause.because),
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
        return [_reset_failed(unit), step("start", unit, because)]
    steps = []
    if symptom and symptom.manner == FROZEN:
        steps.append(step("thaw", unit, because))      # before all else: 257 refuses to restart a frozen unit
        if rung == START:
            return steps
    if symptom and symptom.manner in (UNRESPONSIVE, FROZEN):
        steps.append(step("kill", unit, "it is deaf: a stop would take the whole TimeoutStopSec, a kill 0.1 s"))
    return steps + [_reset_failed(unit), step("restart", unit, because)]


# --- small readings ---------------------------------------------------------------------------------------------------

def dependency_kind(cause):
    """The last part of dependency.<name>.<kind>, "" for every other cause."""
    return cause.cause.rpartition(".")[2] if cause.cause.startswith("dependency.") else ""


def own_level(case):
    """The level of the ladder that treats all that was found."""
    return max([about(cause.cause).level for cause in case.finding.actionable_causes] or [START])


def step(do, target, because):
    return Step(do, target, because, PATIENCE[do])


def _reset_failed(unit):
    """Part of the same attempt: without it a restart counts against the start limit, and with that spent it stops a
    healthy service and leaves it failed (247 to 262)."""
    return step("reset-failed", unit, "so that systemd's start limit cannot refuse it")
