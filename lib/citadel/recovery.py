"""One recovery pass over every service in the settings:

    observe -> diagnose -> plan -> act -> verify -> record -> tell

Read `Pass.run`, then `Treatment.perform`. What is about to be tried is counted on disk before it is tried.

A trigger that arrives while a pass runs is lost (systemd starts the one unit once). So a pass ends with a look that
finds the service well, or a reason to wait that systemd or an operator will end. It goes in rounds, an attempt a
service, so that no service waits for the end of another's trouble.
"""

import os
import random
import time
from collections import namedtuple

from citadel import model
from citadel.act import steps as act
from citadel.core import clock
from citadel.core.entry import write_internal_error
from citadel.core.errors import CitadelError
from citadel.core.log import journal
from citadel.core.run import Deadline, run
from citadel.core.text import span
from citadel.diagnose.causes import diagnose
from citadel.model import ACT, ESCALATED, FAILED, HEALTHY, STOOD_DOWN, UNKNOWN, WAITING, Outcome, Plan, Step
from citadel.observe import probes
from citadel.observe.look import observe, within
from citadel.plan.decisions import plan
from citadel.record import evidence
from citadel.tell import alerts, metrics

NAME = "citadel-recovery-handler"
RECOVERED = "recovered"

LONGEST_PASS = 9 * 60                   # seconds; the unit's TimeoutStartSec is 15 min
LONGEST_LOOK = 45                       # seconds for all that one look asks, whatever hangs
WORTH_WAITING = 65                      # seconds until the next look for which a pass stays: a minute, to confirm
MAY_FAIL = ("clean", "relieve-disk", "relieve-memory", "reset-failed")      # without ending the attempt
REVIVES = ("start", "restart", "thaw")

World = namedtuple("World", "run ask now sleep dice observe perform verify")
World.__doc__ = """All that a pass knows of the world outside: programs, probes, the clock, the pause, chance in [0, 1);
and, made of these, how it is looked at and how a step is done (observe.look, act.steps)."""

Result = namedtuple("Result", "unit verdict cause because incident steps veto acted")
Result.__doc__ = """What a pass came to for one service; `steps` are Outcomes (Steps where nothing was done), `veto` the
sentence that forbids a restart, or "", `acted` whether any attempt was made."""


def real_world():
    return World(run, probes.ask, clock.now, time.sleep, random.random, observe, act.perform, act.verify)


def recovery_pass(settings, store, trigger, world):
    """Looks at every service and treats those that need it; a Result for each. The caller holds `store.lock`."""
    return Pass(settings, store, trigger, world).run()


def foresee(settings, store, world=None):
    """What a pass would decide now: (finding, plan) for each service. Changes nothing, not even the record."""
    one = Pass(settings, store, "manual", world or real_world())
    return [(finding, Treatment(one, finding).decide(0.0, unrecorded=1)) for finding in one.look()[1]]


class Pass:
    """One pass: the settings, the record, who asked for it, the world outside, and the time that is left."""

    def __init__(self, settings, store, trigger, world):
        self.settings, self.store, self.trigger, self.world = settings, store, trigger, world
        self.deadline = Deadline(LONGEST_PASS, clock=self.monotonic)

    def monotonic(self):
        return self.world.now().monotonic

    def run(self):
        """Round after round, until each service is well, or an alert was sent, or this pass can do no more."""
        results, due = {}, {}
        facts, findings = self.look()
        pending = findings
        while pending:
            acted = False
            for finding in pending:
                due.pop(finding.unit, None)
                if acted:               # for another service, which may have changed this one
                    finding = self.look(units=(finding.unit,))[1][0]
                results[finding.unit], planned = Treatment(self, finding).perform(results.get(finding.unit))
                acted = acted or planned.verdict == ACT
                next_look = self.look_again_in(planned)
                if next_look is not None:
                    due[finding.unit] = self.monotonic() + next_look
            pending = self.wait_for_the_next(due)
        self.store.incidents.list_open()
        alerts.send_spooled(self.settings, self.store, self.world.run)  # after the recovery: no receiver may delay it
        if self.settings.metrics.directory:
            if not all(finding.well for finding in findings):           # then it may have changed since
                facts, findings = self.look()
            metrics.after_pass(self.settings, facts, findings, self.store, self.world.now().wall)
        return list(results.values())

    def look(self, units=None):
        """The Facts, and a Finding for each service (of `units`, where given)."""
        settings = self.settings if units is None else self.settings._replace(
            services=tuple(one for one in self.settings.services if one.unit in units))
        run, ask = within(Deadline(LONGEST_LOOK, clock=self.monotonic), self.world.run, self.world.ask)
        facts = self.world.observe(settings, run=run, ask=ask, now=self.world.now, pause=self.world.sleep,
                                   stop_note=self.store.intent.stop_note)
        return facts, diagnose(facts, settings)

    def look_again_in(self, planned):
        """In how many seconds the pass looks again: after an attempt at once, and when the next look is worth having
        within a minute; None where this pass has nothing left to do."""
        if planned.verdict == ACT:
            return 0.0 if self.deadline.left() > 0 else None
        if planned.verdict != WAITING or planned.next_in is None or planned.next_in > WORTH_WAITING:
            return None
        return max(1.0, planned.next_in) if planned.next_in + 1 <= self.deadline.left() else None

    def wait_for_the_next(self, due):
        """The Findings of the services whose time comes first; none where nobody's comes."""
        if not due:
            return ()
        first = min(due.values())
        if first > self.monotonic():
            self.world.sleep(first - self.monotonic())
        # What is due within the next second needs no look, and no round, of its own.
        return self.look(units=[unit for unit, moment in due.items() if moment <= first + 1])[1]


class Treatment:
    """What a pass does about one Finding: `record` is the service's."""

    def __init__(self, one_pass, finding):
        self.one_pass, self.finding = one_pass, finding
        self.settings, self.store, self.world = one_pass.settings, one_pass.store, one_pass.world
        self.record = self.store.of(finding.unit)

    def perform(self, before):
        """One decision, and what it asks for: (Result, Plan). `before` is the Result of the rounds before this one. An
        internal error in here must neither stay silent nor keep the other services waiting."""
        try:
            planned, incident, outcomes = self.decide_and_do()
        except CitadelError:
            raise
        except Exception as error:
            because = write_internal_error(NAME, error)
            self.finding = self.finding._replace(cause="unknown", because=because, others=())
            incident = self.open_incident()
            planned = Plan(self.finding.unit, ESCALATED, self.alert_for(because), because)
            outcomes = self.carry_out(planned)
        acted = planned.verdict == ACT or bool(before and before.acted)
        verdict = {HEALTHY: RECOVERED if acted else HEALTHY, ACT: WAITING}.get(planned.verdict, planned.verdict)
        if self.finding.condition == UNKNOWN and not (incident and self.record.history().escalation):
            verdict = UNKNOWN
        return Result(self.finding.unit, verdict, self.finding.cause or self.store.incidents.first_cause(incident),
                      planned.because, incident, (before.steps if before else ()) + tuple(outcomes), planned.veto,
                      acted), planned

    def decide_and_do(self):
        """The Plan, the incident that it belongs to, and the Outcomes of its steps."""
        finding = self.finding
        alerts.keep_firing(self.settings, self.store, self.world.run)
        is_news = self.notice()
        planned = self.decide(self.world.dice())
        # An attempt that could not be finished is neither begun nor counted; a long one gets half a pass, or it would
        # never begin.
        needed = sum(step.seconds for step in planned.steps) + self.settings.recovery.verify_timeout
        if planned.verdict == ACT and self.one_pass.deadline.left() < min(needed, LONGEST_PASS / 2):
            planned = planned._replace(verdict=WAITING, steps=(), next_in=None, because="%s; no time is left in this "
                                       "pass, the next one treats it" % finding.because)
        if finding.cause and (planned.steps or planned.verdict not in (HEALTHY, STOOD_DOWN)):
            self.begin_incident()
        if planned.verdict == ACT or is_news:       # not that a service is well, nor a minute like the last
            veto = "; not restarted: " + planned.veto if planned.veto else ""
            journal(planned.verdict, "%s: %s%s" % (finding.unit, planned.because, veto), finding.unit, finding.cause,
                    planned.verdict, self.record.history().incident)
        if planned.verdict == ACT and not self.count(planned):
            because = "%s; %s" % (finding.because, self.store.trouble)
            planned = planned._replace(verdict=ESCALATED, because=because, steps=self.alert_for(because))
        return planned, self.record.history().incident, self.carry_out(planned)

    def notice(self):
        """Notes that a pass has seen this; whether it is news since the service was last well."""
        finding, before = self.finding, self.record.history()
        self.record.mark_pass(finding.cause or ("" if finding.well else finding.condition),
                              self.settings.recovery.healthy_forgets)
        return bool(finding.cause) and (before.healthy_for is not None or finding.cause not in before.seen)

    def decide(self, dice, unrecorded=0):
        """The Plan, by what is on record; `unrecorded` looks that found this and were not noted."""
        history, maintenance = self.record.history(), self.store.intent.maintenance()
        treated = {cause.target: sum(one.age < self.settings.recovery.window
                                     for one in self.store.of(cause.target).history().attempts)
                   for cause in self.finding.actionable_causes if cause.cause.startswith("dependency.")}
        seen = dict(history.seen)
        seen[self.finding.cause] = seen.get(self.finding.cause, 0) + unrecorded
        return plan(self.finding, history._replace(maintenance=maintenance.reason if maintenance else "",
                                                   treated=treated, seen=seen), self.settings, dice)

    def alert_for(self, because):
        """The step that alerts an operator, unless one was alerted."""
        return () if self.record.history().escalation else (
            Step("escalate", self.finding.unit, because, model.PATIENCE["escalate"]),)

    def begin_incident(self):
        """One incident from the first symptom to its end; its evidence is kept before the first step changes it."""
        known, incident = self.record.history().incident, self.open_incident()
        if not known:
            metrics.write_record(self.settings, self.store, self.world.now().wall)
        document = self.store.incidents.read(incident)
        if not known or (document and document["bundle"] is None):      # or we died before it was collected
            self.store.incidents.amend(incident, bundle=evidence.collect(
                self.store.files, incident, self.finding.unit, self.settings, self.world.run))

    def open_incident(self):
        return self.record.open_incident(self.finding.cause, self.finding.because, os.uname().nodename,
                                         self.one_pass.trigger)

    def count(self, planned):
        """Counts an attempt before it is made, for each service that it treats; whether it may be made."""
        unit, window = self.finding.unit, self.settings.recovery.window
        what = "%s: %s" % (self.finding.cause, ", ".join(step.do for step in planned.steps))
        for other in {step.target for step in planned.steps if step.do in ("start", "restart")} - {unit}:
            self.store.of(other).count_attempt("for %s: %s" % (unit, what), planned.level, window=window)
        self.record.set_level(planned.level)
        if self.record.history().escalation:
            self.record.mark_escalated(self.finding.cause)      # the pause after this one grows
        return self.record.count_attempt(what, planned.level, window=window)

    def note(self, outcome, planned, incident):
        if incident and self.record.history().incident:         # that it was closed is no step of it
            self.store.incidents.append(incident, outcome_as_data(outcome))
        journal("step", "%s %s: %s, %s" % (outcome.step.do, outcome.step.target, outcome.outcome,
                                           outcome.detail or span(outcome.seconds)),
                self.finding.unit, self.finding.cause or self.store.incidents.first_cause(incident), planned.verdict,
                incident)

    def carry_out(self, planned):
        """Performs a plan's steps in their order, and verifies; what fails ends the attempt, for the look that follows
        knows more than the plan did. So does a maintenance that has begun meanwhile."""
        context = act.Context(self.world.run, self.world.ask, self.one_pass.monotonic, self.world.sleep, self.settings,
                              self.store, self.one_pass.deadline)
        outcomes, incident = [], self.record.history().incident
        for step in planned.steps:
            if step.do == "escalate":
                outcome = self.alert_an_operator(step)
            elif step.do == "resolve":
                outcome = self.close(step)
            elif self.store.intent.maintenance():
                outcome = Outcome(step, FAILED, 0.0, "maintenance has begun meanwhile", {})
            else:
                outcome = self.world.perform(step, context)
            outcomes.append(outcome)
            self.note(outcome, planned, incident)
            if outcome.outcome == FAILED and (step.do not in MAY_FAIL or self.store.intent.maintenance()):
                return outcomes
        if planned.verdict == ACT and any(step.target == self.finding.unit and step.do in REVIVES
                                          for step in planned.steps):
            outcomes.append(self.world.verify(self.finding.unit, context))
            self.note(outcomes[-1], planned, incident)
        return outcomes

    def alert_an_operator(self, step):
        """One alert an incident: sent first, then noted, so that a crash of ours in between sends it twice and not
        never; what cannot be delivered is spooled and sent later."""
        incident = self.record.history().incident
        outcome = alerts.escalate(step, self.finding, incident, self.settings, self.store, self.world.now(),
                                  run=self.world.run)
        if outcome.outcome == FAILED:           # neither sent nor kept for later: the next pass tries again
            return outcome
        self.record.mark_escalated(self.finding.cause)
        self.store.incidents.amend(incident, escalated=clock.stamp(self.world.now().wall))
        metrics.write_record(self.settings, self.store, self.world.now().wall)
        return outcome

    def close(self, step):
        """The incident is over; whoever was alerted is told that, too."""
        history, incidents = self.record.history(), self.store.incidents
        incident = history.incident
        incidents.amend(incident)       # its file is there then, even where it was lost or had no room
        document = incidents.read(incident)
        acted = any(one.get("do") not in ("escalate", "resolve") for one in (document or {}).get("steps", ()))
        verdict = RECOVERED if acted else HEALTHY       # by an action of ours, or by itself
        journal(verdict, "%s: %s" % (self.finding.unit, step.because), self.finding.unit,
                incidents.first_cause(incident), verdict, incident)
        outcome = Outcome(step, model.OK, 0.0, "no alert had been sent", {})
        alerted = history.escalation is not None or incident in alerts.firing(self.store)   # and we died of it
        if alerted and document is not None:
            outcome = alerts.resolve(step, document, self.settings, self.store, self.world.now(), run=self.world.run)
        self.record.close_incident(RECOVERED)
        return outcome


def outcome_as_data(outcome):
    """A step as JSON has it, with what came of it where it was done."""
    if not hasattr(outcome, "step"):
        return dict(outcome._asdict())
    return {"do": outcome.step.do, "target": outcome.step.target, "because": outcome.step.because,
            "outcome": outcome.outcome, "seconds": round(outcome.seconds, 2), "detail": outcome.detail,
            "changed": outcome.changed}
