"""Thousands of random histories: whatever breaks, whoever asks, however often we crash or forget, no restart storm.

Each history is made from its seed, and a failure names it: history(SEED) plays it again. The host is tests/world.py,
which judges every step by what is really the matter; the budget is counted from what was really done, not from what
our own record says.
"""

import random

import pytest
from world import FAULTS, GATEWAY, REDIS, World

from citadel.diagnose import diagnose
from citadel.plan import History, Limits, plan

SEEDS, PARTS = 2000, 4
LIMITS = (Limits(), Limits(budget=1), Limits(budget=3, window=600, backoff=(60,)), Limits(budget=10, per_level=2))
ENDS = ("healthy", "waiting", "stood-down", "escalated")


class Crash(Exception):
    """We die in the middle of a pass."""


class Record:
    """What incidents.Store keeps, in memory. `loses` is a file that can't be read any more."""

    def __init__(self, lost_at=None):
        self.attempts, self.level, self.tries = [], 0, 0
        self.incident, self.opened, self.called_at, self.retries = "", None, None, 0
        self.well_since, self.well_for, self.seen, self.lost_at = None, None, {}, lost_at

    def recall(self, now, cause, maintenance):
        return History(
            tuple(now - then for then in self.attempts), self.level, self.tries, self.called_at is not None,
            self.retries, None if self.called_at is None else now - self.called_at, maintenance, self.incident,
            self.well_for, None if self.lost_at is None else now - self.lost_at, self.seen.get(cause, 0),
            now - self.opened if self.incident else 0.0)


class Story:
    """One history: a world, a record, and the passes between them."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.world, self.record = World(self.chance), Record()
        self.limits = LIMITS[seed % len(LIMITS)]
        self.incidents = 0
        self.told = {}                      # incident: [escalations, resolutions]
        self.attempt = 0

    # --- a pass, in the order in which handler.py goes

    def recovery_pass(self, may_crash=True):
        try:
            for _ in range(self.limits.budget + 2):
                planned = self._once(may_crash)
                if planned.verdict != "act":
                    assert planned.verdict in ENDS, planned
                    return planned
                self.world.passes(self.chance.choice((1.0, 10.0, 120.0)))       # verification
        except Crash:
            return None
        raise AssertionError("a pass without an end: %s" % (planned,))

    def _once(self, may_crash):
        world, record = self.world, self.record
        finding = diagnose(world.look())[0]
        self._note(finding)
        in_maintenance = "disk swap" if world.now < world.maintenance_until else ""
        planned = plan(finding, record.recall(world.now, finding.cause, in_maintenance), self.limits,
                       self.chance.random())
        dies_at = self.chance.randrange(8) if may_crash and self.chance.random() < 0.1 else None
        if dies_at == 0:
            raise Crash
        if planned.counts:
            self._count(planned)
        self.attempt += 1
        for step in planned.steps:
            world.judge(step)
        for number, step in enumerate(planned.steps, 1):
            if step.do in ("escalate", "resolve"):
                self._tell(step)
            world.perform(step, self.attempt)
            if number == dies_at:
                raise Crash
        return planned

    def _note(self, finding):
        record, now = self.record, self.world.now
        if finding.well:
            record.well_since = now if record.well_since is None else record.well_since
            record.well_for = now - record.well_since
            record.seen = {}
            return
        record.well_since = None
        record.seen = {finding.cause: record.seen.get(finding.cause, 0) + 1}
        if not record.incident and finding.cause and not finding.cause.endswith("stopped-by-operator"):
            self.incidents += 1
            record.incident, record.opened = "incident-%d" % self.incidents, now
            record.level = record.tries = 0
            record.called_at = None

    def _count(self, planned):
        """Before the first step: what is not on record is not done."""
        record, now = self.record, self.world.now
        record.tries = record.tries + 1 if record.level == planned.level else 1
        record.level = planned.level
        record.attempts.append(now)
        if record.called_at is not None:
            record.called_at, record.retries = now, record.retries + 1

    def _tell(self, step):
        """On record first as well: what is in the spool is sent again, what was told twice can't be taken back."""
        record = self.record
        told = self.told.setdefault(record.incident or "none", [0, 0])
        if step.do == "escalate":
            record.called_at, told[0] = self.world.now, told[0] + 1
        else:
            record.incident, record.called_at, told[1] = "", None, told[1] + 1
            record.level = record.tries = 0

    # --- what happens meanwhile

    def something_happens(self):
        chance, world = self.chance, self.world
        event = chance.random()
        if event < 0.35:
            world.breaks(chance.choice(FAULTS), chance.choice((5, 60, 600, 7200)))
        elif event < 0.42:
            world.person_stops(chance.choice((GATEWAY, REDIS)))
        elif event < 0.50:
            world.person_starts(chance.choice((GATEWAY, REDIS)))
        elif event < 0.55:
            world.maintenance_until = world.now + chance.choice((60, 900))
        elif event < 0.60:
            self.record = Record(lost_at=world.now)
        elif event < 0.63:
            world.journal_has_ages = not world.journal_has_ages                 # the clock was stepped

    def trigger(self):
        """By the minute, after a longer silence, or a burst of OnFailure= and impatient people."""
        kind = self.chance.random()
        if kind < 0.25:
            self.world.passes(self.chance.choice((300, 900, 3600)))
        for _ in range(self.chance.randrange(2, 12) if kind > 0.85 else 1):
            self.world.passes(self.chance.choice((0.0, 0.5, 5.0)) if kind > 0.85 else 60.0)
            self.recovery_pass()


def history(seed, events=12):
    story = Story(seed)
    for _ in range(events):
        story.something_happens()
        story.trigger()
    return story


def check_budget(story):
    """Never more attempts in any window than the budget, however they are lined up; and so for each unit."""
    begun = {}
    for when, attempt, do, _ in story.world.ledger:
        begun.setdefault(attempt, when)
    moments = sorted(begun.values())
    for first, when in enumerate(moments):
        within = [other for other in moments[first:] if other < when + story.limits.window]
        assert len(within) <= story.limits.budget, "%d attempts in a window: %s" % (len(within), within)
    starts = {}
    for when, attempt, do, unit in story.world.ledger:
        if do in ("start", "restart"):
            starts[attempt, unit] = starts.get((attempt, unit), 0) + 1
    assert all(count == 1 for count in starts.values()), "a unit was started twice in one attempt"


def check_messages(story):
    for incident, (escalations, resolutions) in story.told.items():
        assert incident != "none", "a message about no incident"
        assert escalations <= 1 and resolutions <= 1, "%s: %d escalations, %d resolutions" % (
            incident, escalations, resolutions)


def check_it_comes_back(story):
    """All faults over, nobody in the way: within the longest pause and a window it is well, and nothing is open."""
    world = story.world
    for name in list(world.faults):
        world.faults[name] = world.now
    world.passes(1)
    for unit in list(world.stopped_by_person):
        world.person_starts(unit)
    world.maintenance_until = 0.0
    last = None
    for _ in range(100):
        world.passes(60)
        last = story.recovery_pass(may_crash=False)
        if last.verdict == "healthy" and not story.record.incident:
            return
    raise AssertionError("not well after 100 minutes without a fault: %s, %s" % (world.state, last))


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_makes_a_restart_storm(part):
    """Also: no step in maintenance, none that a veto forbids (world.Forbidden), always an end, and in the end well."""
    for seed in range(part, SEEDS, PARTS):
        try:
            story = history(seed)
            check_budget(story)
            check_messages(story)
            check_it_comes_back(story)
            check_budget(story)
            check_messages(story)
        except Exception as error:
            raise AssertionError("history(%d): %s: %s" % (seed, type(error).__name__, error))


@pytest.mark.parametrize("number", range(len(LIMITS)))
def test_a_record_lost_at_the_worst_moments(number):
    """A crash that nothing cures, a pass each minute, and the record is lost twice, at each minute in turn."""
    for variant in range(30):
        first = variant % 10                # the first attempts fall into these minutes
        story = Story(number + len(LIMITS) * variant)
        story.world.breaks("crash", 1e9)
        story.world.gives_up_after = 6.0        # so that one attempt follows the other
        losses = (first, first + story.chance.randrange(1, 40))
        for minute in range(90):
            if minute in losses:
                story.record = Record(lost_at=story.world.now)
            story.world.passes(60)
            story.recovery_pass(may_crash=False)
        check_budget(story)
        assert len({attempt for _, attempt, _, _ in story.world.ledger}) >= 2, "it never tried again"


def test_the_histories_are_worth_their_name():
    """They get as far as to the last rung, the budget's end, vetoes, calls and returns; or they would prove nothing."""
    verdicts, rungs, done = {}, set(), set()

    class Watched(Story):
        def _once(self, may_crash):
            planned = Story._once(self, may_crash)
            verdicts[planned.verdict, bool(planned.veto)] = verdicts.get((planned.verdict, bool(planned.veto)), 0) + 1
            rungs.add(planned.level)
            done.update(step.do for step in planned.steps)
            return planned

    for seed in range(150):
        story = Watched(seed)
        for _ in range(12):
            story.something_happens()
            story.trigger()
    assert rungs == {0, 1, 2, 3, 4}
    assert done == {"start", "restart", "reset-failed", "kill", "thaw", "clean", "relieve-disk", "relieve-memory",
                    "wait-ready", "escalate", "resolve"}
    for kind in (("act", False), ("healthy", False), ("waiting", True), ("stood-down", True), ("escalated", True)):
        assert verdicts[kind] >= 20, (kind, verdicts)
