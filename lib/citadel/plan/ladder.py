"""The ladder: what one attempt at a service does, level by level (LADDER); after the last an alert is sent. Pure.

A known cause goes straight to the level that treats it (model.CAUSES), and each level includes what its cause needs.
"""

from collections import namedtuple

from citadel import model
from citadel.core.text import plural, span
from citadel.model import CLEAN, DOWN, FROZEN, PASSING, RELIEVE, REPAIR, RUNNING, SERVING, START, Plan, Step, about

LADDER = {START: "a plain start", CLEAN: "clean what is stale, then start", REPAIR: "repair what it needs, then start",
          RELIEVE: "relieve disk and memory, then start"}
RESTART_SEC = 5                         # seconds; of the shipped units


class Case(namedtuple("Case", "finding history settings dice")):
    """One service's finding beside its history, and what follows from both."""

    __slots__ = ()

    @property
    def limits(self):
        return self.settings.recovery

    @property
    def roots(self):
        """What lies beneath the service and can be treated without it: worth an attempt by itself."""
        return tuple(cause for cause in self.finding.actionable_causes if cause.manner != PASSING and (
            cause.cause in ("disk.full", "disk.inodes", "memory.low")
            or dependency_kind(cause) in ("down", "hung", "refusing-writes")))

    @property
    def on_its_own(self):
        """systemd is starting, stopping or restarting the service; we leave it alone."""
        return self.finding.condition in (model.STARTING, model.STOPPING, model.RESTARTING)

    @property
    def was_fixed(self):
        """An alert was sent for something beneath the service, and that is well now."""
        cause = self.history.escalation.cause if self.history.escalated else ""
        return bool(cause) and not cause.startswith("gateway.") and cause not in [
            one.cause for one in self.finding.actionable_causes]

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
        lost counts as made, so after a loss there is that one, and not before half a window has passed; then even a
        record that is lost again and again makes no more than the budget in any window."""
        if self.lost is not None:
            return 1 if self.limits.attempts > 1 and self.lost >= self.limits.window / 2.0 else 0
        return max(1, self.limits.attempts - 1)

    @property
    def own_level(self):
        """The level that treats all that was found."""
        return max([about(cause.cause).level for cause in self.finding.actionable_causes] or [START])

    @property
    def level(self):
        """The level of the next attempt; above RELIEVE the ladder has ended."""
        again = self.history.level and self.history.tries < self.limits.attempts_per_level
        return max(self.history.level if again else self.history.level + 1, self.own_level)

    @property
    def pause(self):
        """Seconds between the alert, or the last attempt after it, and the next attempt."""
        backoff = self.limits.backoff
        return backoff[min(self.history.retries, len(backoff) - 1)] * (1 + self.limits.jitter / 100.0 * self.dice)

    def is_planned(self, verdict, because, **more):
        return Plan(self.finding.unit, verdict, because=because, **more)


def attempt(case):
    """The steps of the level: what lies beneath first, the service last."""
    level, most = min(case.level, RELIEVE), case.limits.attempts_per_level
    steps = _relief(case, level) + _cleaning(case, level) + _repairs(case) + _revival(case, level)
    tried = case.history.tries if case.history.level == level else 0
    left = min((RELIEVE - level + 1) * most - min(tried, most - 1), case.allowance - len(case.recent))
    gives_up_in = left * (sum(one.seconds for one in steps) + case.limits.verify_timeout + RESTART_SEC)
    treatment = LADDER[level] if case.finding.condition == DOWN else LADDER[level].replace("start", "restart")
    # What only prepares for systemd's own restart does not count as a try of the level: if it fails, it comes again.
    return case.is_planned(
        model.ACT, "%s; attempt on level %d of %d: %s" % (case.finding.because, level, RELIEVE, treatment),
        steps=tuple(steps), next_in=0.0, level=case.history.level if case.on_its_own else level, counts=True,
        gives_up_in=0.0 if case.history.escalated else float(gives_up_in))


def _relief(case, level):
    """Room on disk and in memory: where that is the cause, or where nothing else has helped."""
    causes = {cause.cause: cause for cause in reversed(case.finding.actionable_causes)}
    refusing = [cause for cause in case.finding.actionable_causes if dependency_kind(cause) == "refusing-writes"]
    steps = [step("relieve-disk", causes[name].target, causes[name].because)
             for name in ("disk.full", "disk.inodes") if name in causes]
    if refusing and not steps:
        steps.append(step("relieve-disk", "", refusing[0].because + "; usually it cannot save to its disk"))
    short = [causes[name] for name in ("memory.low", "gateway.oom") if name in causes]
    if short:
        steps.append(step("relieve-memory", "memory", short[0].because))
    if (level == RELIEVE and not case.on_its_own and case.finding.condition != SERVING
            and not any(about(name).level == RELIEVE for name in causes)):
        why = "nothing else has helped, so Citadel frees what it can"
        steps += [] if refusing else [step("relieve-disk", "", why)]
        steps.append(step("relieve-memory", "memory", why))
    return steps


def _cleaning(case, level):
    """From the second level on; never under a service that runs."""
    goes_straight = case.own_level > CLEAN and case.history.level == 0     # a known cause, to its own treatment
    if level < CLEAN or goes_straight or case.finding.condition not in (DOWN, RUNNING):
        return []
    return [step("clean", case.finding.unit, "an earlier run may have left PID files and temporary files")]


def _repairs(case):
    """Unhealthy dependencies only, in their order, each waited for until it is ready, not merely started."""
    steps = []
    for cause in case.finding.actionable_causes:
        kind, unit, because = dependency_kind(cause), cause.target, cause.because
        ready = step("wait-ready", unit, "the service needs it ready, not only started")
        if kind in ("hung", "down") and case.history.treated.get(unit, 0) >= case.allowance:
            # Services that share it have budgets of their own; together they must not storm it.
            steps.append(ready._replace(because="%s; it was treated %s in %s, so Citadel only waits for it" % (
                because, plural(case.history.treated[unit], "time"), span(case.limits.window))))
        elif kind in ("loading", "refusing-writes") or (kind == "down" and cause.manner == PASSING):
            # A restart would begin the loading anew, lose what redis cannot save, or get in systemd's way.
            steps.append(ready._replace(because=because))
        elif kind == "hung" and cause.manner == FROZEN:
            steps += [step("thaw", unit, because), ready]
        elif kind == "hung":
            steps += [step("kill", unit, because + "; a stop would take its whole TimeoutStopSec="),
                      _reset_failed(unit), step("restart", unit, because), ready]
        elif kind == "down":
            do = "restart" if cause.manner == model.ACTIVE else "start"
            steps += [_reset_failed(unit), step(do, unit, because), ready]
    return steps


def _revival(case, level):
    """The service itself: started, restarted, or left alone where it comes by itself or serves already."""
    finding, unit = case.finding, case.finding.unit
    if case.on_its_own or (finding.condition == SERVING and finding.cause != "gateway.slow"):
        return []
    symptom = next((cause for cause in finding.actionable_causes if cause.cause.startswith("gateway.")), None)
    because, manner = (symptom.because, symptom.manner) if symptom else (finding.because, "")
    if finding.condition == DOWN:
        return [_reset_failed(unit), step("start", unit, because)]
    # Before all else: 257 refuses to restart a frozen unit.
    steps = [step("thaw", unit, because)] if manner == FROZEN else []
    if steps and level == START:
        return steps
    if manner in (model.UNRESPONSIVE, FROZEN):
        steps.append(step("kill", unit, "it is unresponsive: a stop would take its TimeoutStopSec=, a kill 0.1 s"))
    return steps + [_reset_failed(unit), step("restart", unit, because)]


def dependency_kind(cause):
    """The last part of dependency.<name>.<kind>, "" for every other cause."""
    return cause.cause.rpartition(".")[2] if cause.cause.startswith("dependency.") else ""


def step(do, target, because):
    return Step(do, target, because, model.PATIENCE[do])


def _reset_failed(unit):
    """Part of the same attempt: without it a restart counts against the start limit, and with that spent it stops a
    healthy service and leaves it failed (247 to 262)."""
    return step("reset-failed", unit, "so that systemd's start limit does not refuse the start")
