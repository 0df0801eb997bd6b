"""citadel-recovery-handler: one recovery pass over every service in the settings.

    observe -> diagnose -> plan -> act -> verify -> record -> escalate

`recovery_pass` is that road, from start to end. The cause is named first and treated; what a veto forbids is not done;
what is about to be tried is counted on disk before it is tried; and each decision carries the sentence that says why.

A trigger that arrives while a pass runs is lost (systemd starts the one unit once), so a pass does not end with a step
done but with a look that finds the service well, or a reason to wait that somebody else will end. It goes in rounds, an
attempt a service, so that none waits for the end of another's trouble.
"""

import os
import random
import time
from collections import namedtuple

from citadel import model
from citadel.act import steps as act
from citadel.core import clock, log
from citadel.core.entry import write_internal_error
from citadel.core.errors import CitadelError
from citadel.core.run import Deadline, run
from citadel.core.text import span
from citadel.diagnose.causes import diagnose, marks_of
from citadel.model import ACT, ESCALATED, HEALTHY, PATIENCE, STOOD_DOWN, UNKNOWN, WAITING, Plan, Step
from citadel.observe import probes
from citadel.observe.look import observe, within
from citadel.plan.decisions import limits_of, plan, recall
from citadel.record import evidence
from citadel.tell import alerts, metrics

NAME = "citadel-recovery-handler"
RECOVERED = "recovered"

LONGEST_PASS = 9 * 60                   # seconds; the unit's TimeoutStartSec is 15 min
LONGEST_LOOK = 45                       # seconds for all that one look asks, whatever hangs
MAY_FAIL = ("clean", "relieve-disk", "relieve-memory", "reset-failed")      # without ending the attempt
WORTH_WAITING = 65                      # seconds until the next look for which a pass stays: a minute, to confirm

World = namedtuple("World", "run ask now sleep dice observe perform verify")
World.__doc__ = """All that a pass knows of the world outside: programs, probes, the clock, the pause, chance in [0, 1);
and, made of these, how it is looked at and how a step is done (observe.observe, act.perform, act.verify)."""

Result = namedtuple("Result", "unit verdict cause because incident steps veto acted")
Result.__doc__ = """What a pass came to for one service; `steps` are act.Outcomes (plan.Steps where nothing was done), `veto`
the sentence that forbids a restart, or "", `acted` whether any attempt was made."""


# --- the road ---------------------------------------------------------------------------------------------------------

def recovery_pass(settings, store, trigger, world):
    """Looks at every service and treats those that need it, round after round until each is well, a person was called,
    or it is somebody else's turn; a Result for each. The caller holds `store.lock`."""
    deadline = Deadline(LONGEST_PASS, clock=lambda: world.now().monotonic)
    results, due = {}, {}
    facts, findings = look(settings, store, world)
    pending = findings
    while pending:
        acted = False
        for finding in pending:
            due.pop(finding.unit, None)
            if acted:                   # for another service, which may have changed this one
                finding = look(settings, store, world, units=(finding.unit,))[1][0]
            before = results.get(finding.unit)
            results[finding.unit], planned = treat(finding, before, settings, store, trigger, world, deadline)
            acted = acted or planned.verdict == ACT
            next_look = look_again_in(planned, deadline)
            if next_look is not None:
                due[finding.unit] = world.now().monotonic + next_look
        pending = wait_for_the_next(due, settings, store, world)
    store.list_open()
    alerts.send_spooled(settings, store, world.run)     # after the recovery: no receiver may delay it
    if settings.metrics.directory:
        if not all(finding.well for finding in findings):       # then it may have changed since
            facts, findings = look(settings, store, world)
        metrics.after_pass(settings, facts, findings, store, world.now().wall)
    return list(results.values())


def look_again_in(planned, deadline):
    """In how many seconds the pass looks again: after an attempt at once, and when the next look is worth having within
    a minute; None where the rest is somebody else's."""
    if planned.verdict == ACT:
        return 0.0 if deadline.left() > 0 else None
    if planned.verdict != WAITING or planned.next_in is None or planned.next_in > WORTH_WAITING:
        return None
    return max(1.0, planned.next_in) if planned.next_in + 1 <= deadline.left() else None


def wait_for_the_next(due, settings, store, world):
    """The Findings of the services whose time comes first; none where nobody's comes."""
    if not due:
        return ()
    first = min(due.values())
    if first > world.now().monotonic:
        world.sleep(first - world.now().monotonic)
    # What is due within the next second needs no look, and no round, of its own.
    return look(settings, store, world, units=[unit for unit, moment in due.items() if moment <= first + 1])[1]


def look(settings, store, world, units=None):
    """The facts and a Finding for each service (of `units`, where given)."""
    if units is not None:
        settings = settings._replace(services=tuple(one for one in settings.services if one.unit in units))
    run, ask = within(Deadline(LONGEST_LOOK, clock=lambda: world.now().monotonic), world.run, world.ask)
    facts = world.observe(settings, run=run, ask=ask, now=world.now, stop_note=store.stop_note, pause=world.sleep)
    return facts, diagnose(facts, marks_of(settings))


def decide(finding, settings, store, dice, unrecorded=0):
    """The Plan for a Finding, by what is on record; `unrecorded` looks that found this and were not noted."""
    maintenance = store.maintenance()
    limits = limits_of(settings)
    treated = {cause.target: store.history(cause.target).attempts for cause in finding.actionable_causes
               if cause.cause.startswith("dependency.")}
    record = recall(store.history(finding.unit), finding.cause, maintenance.reason if maintenance else "",
                    limits.window, treated)
    return plan(finding, record._replace(seen=record.seen + unrecorded), limits, dice)


def foresee(settings, store, world=None):
    """What a pass would decide now: (finding, plan) for each service. Changes nothing, not even the record."""
    return [(finding, decide(finding, settings, store, 0.0, unrecorded=1))
            for finding in look(settings, store, world or real_world())[1]]


def treat(finding, before, settings, store, trigger, world, deadline):
    """One decision about one service, and what it asks for: (Result, Plan). `before` is the Result of the rounds before
    this one. An internal error here must not keep an operator from hearing, nor the other services waiting."""
    try:
        planned, incident, outcomes = decide_and_do(finding, settings, store, trigger, world, deadline)
    except CitadelError:
        raise
    except Exception as error:
        finding = finding._replace(cause="unknown", because=write_internal_error(NAME, error), others=())
        planned, incident, outcomes = own_up(finding, settings, store, trigger, world, deadline)
    acted = planned.verdict == ACT or bool(before and before.acted)
    verdict = {HEALTHY: RECOVERED if acted else HEALTHY, ACT: WAITING}.get(planned.verdict, planned.verdict)
    if finding.condition == UNKNOWN and not (incident and store.history(finding.unit).escalation):
        verdict = UNKNOWN
    return Result(finding.unit, verdict, finding.cause or first_cause(store, incident), planned.because, incident,
                  (before.steps if before else ()) + tuple(outcomes), planned.veto, acted), planned


def decide_and_do(finding, settings, store, trigger, world, deadline):
    """The Plan, the incident that it belongs to, and the Outcomes of its steps."""
    alerts.keep_firing(settings, store, world.run)
    first_time = notice(finding, settings, store)
    planned = decide(finding, settings, store, world.dice())
    if planned.verdict == ACT and deadline.left() < time_for(planned, settings):
        planned = planned._replace(verdict=WAITING, steps=(), next_in=None,
                                   because=finding.because + "; no time is left in this pass, the next one treats it")
    if finding.cause and (planned.steps or planned.verdict not in (HEALTHY, STOOD_DOWN)):
        begin_incident(finding, settings, store, trigger, world)
    tell(finding, planned, store, first_time)
    if planned.verdict == ACT and not count(finding, planned, settings, store):
        because = finding.because + "; " + store.trouble
        planned = planned._replace(verdict=ESCALATED, because=because, steps=call_for(finding, because, store))
    incident = store.history(finding.unit).incident
    return planned, incident, carry_out(planned, finding, settings, store, world, deadline)


def own_up(finding, settings, store, trigger, world, deadline):
    """What is left to do for a service at which our own code broke: its incident, and a person who hears of it."""
    incident = store.open_incident(finding.unit, finding.cause, finding.because, os.uname().nodename, trigger)
    planned = Plan(finding.unit, ESCALATED, call_for(finding, finding.because, store), finding.because)
    return planned, incident, carry_out(planned, finding, settings, store, world, deadline)


def call_for(finding, because, store):
    """The step that calls a person, unless one was called."""
    return () if store.history(finding.unit).escalation else (
        Step("escalate", finding.unit, because, PATIENCE["escalate"]),)


def time_for(planned, settings):
    """Seconds that an attempt may need; none is begun, and counted, that cannot be finished. A long one gets half a
    pass, or it would never begin."""
    return min(sum(step.seconds for step in planned.steps) + settings.recovery.verify_timeout, LONGEST_PASS / 2)


def carry_out(planned, finding, settings, store, world, deadline):
    """Performs a plan's steps in their order, and verifies; what fails ends the attempt, for the look that follows
    knows more than the plan did. So does a maintenance that has begun meanwhile."""
    context = act.Context(world.run, world.ask, lambda: world.now().monotonic, world.sleep, settings, store, deadline)
    outcomes, incident = [], store.history(finding.unit).incident
    for step in planned.steps:
        if step.do == "escalate":
            outcome = call_a_person(step, finding, settings, store, world)
        elif step.do == "resolve":
            outcome = close(step, finding, settings, store, world)
        elif store.maintenance():
            outcome = model.Outcome(step, model.FAILED, 0.0, "maintenance has begun meanwhile", {})
        else:
            outcome = world.perform(step, context)
        outcomes.append(outcome)
        record(outcome, finding, planned, incident, store)
        if outcome.outcome == model.FAILED and (step.do not in MAY_FAIL or store.maintenance()):
            break
    else:
        if planned.verdict == ACT and any(step.target == finding.unit and step.do in ("start", "restart", "thaw")
                                          for step in planned.steps):
            outcomes.append(world.verify(finding.unit, context))
            record(outcomes[-1], finding, planned, incident, store)
    return outcomes


# --- the record -------------------------------------------------------------------------------------------------------

def notice(finding, settings, store):
    """Notes that a pass has seen this; whether it is news since the service was last well."""
    before = store.history(finding.unit)
    store.mark_pass(finding.unit, finding.cause or ("" if finding.well else finding.condition),
                    settings.recovery.healthy_forgets)
    return bool(finding.cause) and (before.healthy_for is not None or finding.cause not in before.seen)


def begin_incident(finding, settings, store, trigger, world):
    """One incident from the first symptom to its end; the evidence is kept before the first step changes anything."""
    known = store.history(finding.unit).incident
    incident = store.open_incident(finding.unit, finding.cause, finding.because, os.uname().nodename, trigger)
    if not known:
        metrics.write_record(settings, store, world.now().wall)
    document = store.incident(incident)
    if not known or (document and document["bundle"] is None):      # or we died before it was collected
        store.amend(incident, bundle=evidence.collect(store, incident, finding.unit, settings, world.run))


def count(finding, planned, settings, store):
    """Counts an attempt before it is made, for the service and for each dependency that it treats; whether it may be
    made."""
    what = "%s: %s" % (finding.cause, ", ".join(step.do for step in planned.steps))
    for unit in {step.target for step in planned.steps if step.do in ("start", "restart")
                 and step.target != finding.unit}:
        store.count_attempt(unit, "for %s: %s" % (finding.unit, what), planned.level, settings.recovery.window)
    store.set_level(finding.unit, planned.level)
    if store.history(finding.unit).escalation:
        store.mark_escalated(finding.unit, finding.cause)       # the pause after this one grows
    return store.count_attempt(finding.unit, what, planned.level, settings.recovery.window)


def record(outcome, finding, planned, incident, store):
    if incident and store.history(finding.unit).incident:       # that it was closed is no step of it
        store.append(incident, outcome_as_data(outcome))
    log.journal("step", "%s %s: %s, %s" % (outcome.step.do, outcome.step.target, outcome.outcome, outcome.detail
                                              or span(outcome.seconds)),
                   unit=finding.unit, cause=finding.cause or first_cause(store, incident), verdict=planned.verdict,
                   incident=incident)


def outcome_as_data(outcome):
    """A step, with what came of it where it was done."""
    if not hasattr(outcome, "step"):
        return dict(outcome._asdict())
    return {"do": outcome.step.do, "target": outcome.step.target, "because": outcome.step.because,
            "outcome": outcome.outcome, "seconds": round(outcome.seconds, 2), "detail": outcome.detail,
            "changed": outcome.changed}


def first_cause(store, incident):
    """What a service that is well again had suffered from."""
    document = store.incident(incident) if incident else None
    return document["causes"][0]["cause"] if document and document["causes"] else ""


# --- telling ----------------------------------------------------------------------------------------------------------

def tell(finding, planned, store, first_time):
    """A decision goes to the journal when it is news; a service that is well is not, nor is a minute like the last."""
    if planned.verdict == ACT or first_time:
        log.journal(planned.verdict, "%s: %s%s" % (finding.unit, planned.because, "; not restarted: " + planned.veto
                                                      if planned.veto else ""),
                       unit=finding.unit, cause=finding.cause, verdict=planned.verdict,
                       incident=store.history(finding.unit).incident)


def call_a_person(step, finding, settings, store, world):
    """One escalation an incident: sent first, then noted, so that a crash of ours in between tells a person twice and
    not never; what cannot be delivered is spooled and sent later."""
    incident = store.history(finding.unit).incident
    outcome = alerts.escalate(step, finding, incident, settings, store, world.now(), run=world.run)
    if outcome.outcome == model.FAILED:           # nobody heard, and nothing was kept for later: the next pass calls
        return outcome
    store.mark_escalated(finding.unit, finding.cause)
    store.amend(incident, escalated=clock.stamp(world.now().wall))
    metrics.write_record(settings, store, world.now().wall)
    return outcome


def close(step, finding, settings, store, world):
    """The incident is over; whoever was called hears that, too."""
    history = store.history(finding.unit)
    store.amend(history.incident)       # where its file was lost, or never written for want of room, it is there now
    document = store.incident(history.incident)
    acted = any(one.get("do") not in ("escalate", "resolve") for one in (document or {}).get("steps", ()))
    verdict = RECOVERED if acted else HEALTHY       # by a hand of ours, or by itself
    log.journal(verdict, "%s: %s" % (finding.unit, step.because), finding.unit,
                   cause=first_cause(store, history.incident), verdict=verdict, incident=history.incident)
    outcome = model.Outcome(step, model.OK, 0.0, "nobody had been called", {})
    was_called = history.escalation is not None or history.incident in alerts.firing(store)     # and we died of it
    if was_called and document is not None:
        outcome = alerts.resolve(step, document, settings, store, world.now(), run=world.run)
    store.close_incident(finding.unit, RECOVERED)
    return outcome


def real_world():
    return World(run, probes.ask, clock.now, time.sleep, random.random, observe, act.perform, act.verify)
