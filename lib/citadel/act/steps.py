"""Performs one step of a plan and says what came of it.

A step ends at its own limit or at the pass's deadline, whichever comes first. What fails is an Outcome, not an
exception. To add a step: a function here in STEPS, its patience in model.PATIENCE, and plan/ladder.py, which plans it.
"""

from collections import namedtuple

from citadel.act import jobs, kill, relief
from citadel.act.verify import lasts_and_answers, wait_ready
from citadel.core.errors import CitadelError
from citadel.core.text import printable
from citadel.model import FAILED, SKIPPED, Outcome, Step

Context = namedtuple("Context", "run ask clock sleep settings store deadline")
Context.__doc__ = """What acting needs of the world: core.run.run, probes.ask, a monotonic clock, a pause, the settings,
the record, and the Deadline of the whole pass."""

# Each is given the step, the Context and the moment at which it has to end; it returns (outcome, detail, changed).
STEPS = {"reset-failed": jobs.reset_failed, "start": jobs.start, "restart": jobs.restart, "thaw": jobs.thaw,
         "kill": kill.kill, "clean": relief.clean, "relieve-disk": relief.relieve_disk,
         "relieve-memory": relief.relieve_memory, "wait-ready": wait_ready}


def perform(step, context):
    """Does one Step; its Outcome. Never raises for what the host does."""
    if min(step.seconds, context.deadline.left()) <= 0:
        return Outcome(step, SKIPPED, 0.0, "no time was left in this pass", {})
    return _timed(STEPS[step.do], step, context)


def verify(unit, context):
    """The Outcome of `lasts_and_answers`, which takes at least one look."""
    limit = min(context.settings.recovery.verify_timeout, context.deadline.left())
    step = Step("verify", unit, "active is not healthy until it lasts and answers", limit)
    return _timed(lasts_and_answers, step, context)


def _timed(act, step, context):
    started = context.clock()
    try:
        outcome, detail, changed = act(step, context, started + min(step.seconds, context.deadline.left()))
    except (CitadelError, OSError) as error:
        outcome, detail, changed = FAILED, str(error), {}
    return Outcome(step, outcome, context.clock() - started, printable(detail, 400), changed)
