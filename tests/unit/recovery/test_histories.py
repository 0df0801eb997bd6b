"""Random histories of whole passes: whatever breaks, whoever asks, however often we crash or forget, no restart storm.

The real recovery.recovery_pass with the real record on disk goes through each; only the host is tests/support/world.py.
It judges every step at the moment it is done, by what is really the matter. The budget is counted from its ledger, the
alerts from what arrives at the journal's socket: neither from what our own record says.

Each history is made from its seed, and a failure names the command that plays it again, with all that happens printed.
"""

import os

import pytest
from story import LIMITS, PARTS, SEEDS, Story, play
from world import GATEWAY, Forbidden


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_makes_a_restart_storm(part, journald):
    """Also: no step in maintenance, none that a veto forbids (world.Forbidden), none uncounted or without evidence,
    always an end, one alert an incident, and in the end well."""
    for seed in range(part, SEEDS, PARTS):
        try:
            play(seed, journald)
        except (Exception, Forbidden) as error:
            raise AssertionError("%s: %s; python3 tests/support/play.py %d plays it again" % (
                type(error).__name__, error, seed)) from error


@pytest.mark.parametrize("number", range(len(LIMITS)))
def test_a_record_lost_at_the_worst_moments(number, place, journald):
    """A crash that nothing cures, a pass each minute, and both copies of the record are lost twice, at each minute in
    turn."""
    for variant in range(10):
        inside = os.path.join(place, str(variant))
        os.mkdir(inside)
        story = Story(number + len(LIMITS) * variant, inside, journald, second=False)
        story.world.breaks("crash")
        losses = (variant, variant + story.chance.randrange(1, 30))     # the first attempts fall into these minutes
        for minute in range(40):
            if minute in losses:
                story.loses((story.record.place, story.record.ram))
            story.minute()
        story.check_budget()
        assert story.world.attempts, "it never tried"


@pytest.mark.parametrize("lives", (20, 40, 60, 120))
def test_a_slow_crash_loop_is_one_incident_and_one_alert(lives, place, journald):
    """It comes up, answers for a while and crashes again, for hours: not one alert a relapse, and not none."""
    story = Story(lives, place, journald, limits="", second=False)
    service, began = story.world.services[GATEWAY], story.world.time
    service.lives = lives
    story.world.breaks("loop")
    while story.world.time < began + 6 * 3600:
        story.world.passes(60)
        story.recovery_pass("on-failure" if story.world.failed else "check")
        story.world.failed = False
        assert story.told or story.world.time < began + 7200, "no alert was sent"
    assert list(story.told.values()) == [[1, 0]]
    story.check_budget()
    story.check_it_comes_back()
    assert list(story.told.values()) == [[1, 1]]


def test_the_histories_are_worth_their_name(journald):
    """They get as far as to the last level, the budget's end, vetoes, alerts and returns, and we die and forget in
    them; or they would prove nothing."""
    verdicts, done, crashes = {}, set(), 0
    for seed in range(1, 100, 3):
        story = play(seed, journald)
        for verdict in story.verdicts:
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
        done.update(do for attempt in story.world.attempts for _, do, _ in attempt.steps)
        crashes += story.crashes
    assert done == {"start", "restart", "reset-failed", "kill", "thaw", "clean", "relieve-disk", "relieve-memory"}
    for kind in (("healthy", False), ("recovered", False), ("waiting", True), ("stood-down", True), ("escalated", True),
                 ("escalated", False)):
        assert verdicts.get(kind, 0) >= 5, (kind, verdicts)
    assert crashes >= 20
