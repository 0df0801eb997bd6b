"""Single whole passes, by the minute: who is treated when, what a pass owes to the others, and what is left of it when
it dies at any moment or breaks in our own code. The host is tests/world.py, and checks each step by itself."""

import errno
import os
import tempfile

import pytest
from story import Always, Never, Story
from world import BATCH, GATEWAY, OLLAMA, Crash, Forbidden

from citadel import model
from citadel.commands import handler
from citadel.core import entry, log
from citadel.tell import metrics


def a_story(place, journald, chance, second=False, limits=""):
    story = Story(0, place, journald, limits=limits, second=second)
    story.chance = story.world.chance = chance()
    story.world.meanwhile = lambda: None
    return story


def alerted_then_fixed(story):
    """The gateway crashed on settings that are wrong, an alert was sent; an operator corrects them and starts it."""
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    story.minute()
    story.world.heals()
    story.world.passes(1)
    story.world.operator_starts(GATEWAY)


def verdicts(results):
    return {result.unit: result.verdict for result in results}


def attempts_on(story, unit):
    return [one for one in story.world.attempts if one.unit == unit]


def alerts(story):
    """[firing, resolved] over all incidents."""
    return [sum(told[kind] for told in story.told.values()) for kind in (0, 1)]


def until(story, condition, minutes=20):
    """Minutes go by until that is so."""
    for _ in range(minutes):
        results = story.minute()
        if condition(results):
            return results
    raise AssertionError("not so after %d minutes: %s" % (minutes, results))


def gives_up(story):
    """A service that systemd itself has given up."""
    story.world.breaks("crash")
    story.world.passes(120)
    assert story.world.services[GATEWAY].state == "failed"


# --- rounds -----------------------------------------------------------------------------------------------------------

def test_one_that_waits_keeps_no_other_waiting(place, journald):
    """Redis loads for minutes, and the other service is down: its attempt is made at once, and not after that."""
    story = a_story(place, journald, Always, second=True)
    story.world.breaks("redis-loading", 240)
    story.world.breaks("stale-file", unit=BATCH)
    story.world.passes(90)
    began = story.world.time
    story.recovery_pass()
    assert [(one.unit, one.when - began < 1) for one in story.world.attempts] == [(BATCH, True)]
    assert story.world.is_well(story.world.services[BATCH])


def test_what_one_attempt_has_fixed_is_not_attempted_again(place, journald):
    """Both are down with Ollama; the attempt of the first brings it back, and the second with it."""
    story = a_story(place, journald, Always, second=True)
    story.world.breaks("ollama-down")
    results = story.recovery_pass()
    assert [one.unit for one in story.world.attempts] == [GATEWAY]
    assert verdicts(results) == {GATEWAY: "recovered", BATCH: "healthy"}


def test_an_attempt_that_does_not_fit_into_the_pass_is_not_counted(place, journald):
    story = a_story(place, journald, Never, second=True)
    story.world.breaks("crash")
    story.world.breaks("crash", unit=BATCH)
    story.world.passes(120)
    whole = story.handed_in

    def takes_long(step, context):
        story.world.passes(140)
        return model.Outcome(step, model.FAILED, 140.0, "", {})

    story.handed_in = whole._replace(perform=takes_long)
    results = {result.unit: result for result in story.recovery_pass()}
    assert results[BATCH].verdict == "waiting" and "no time is left in this pass" in results[BATCH].because
    services = story.record.state()["services"]
    assert len(services[GATEWAY]["attempts"]) == 1 and not services[BATCH]["attempts"]
    story.handed_in = whole
    story.minute()
    assert attempts_on(story, BATCH)


def test_two_that_share_a_dependency_do_not_storm_it(place, journald):
    story = a_story(place, journald, Never, second=True)
    story.world.breaks("ollama-useless")
    for _ in range(35):
        story.minute()
    story.check_budget()
    restarts = [one for one in story.world.attempts if ("restart", OLLAMA) in [step[1:] for step in one.steps]]
    assert {one.unit for one in restarts} == {GATEWAY, BATCH} and len(restarts) >= 3


def test_a_second_look_at_one_service_leaves_both_in_the_metrics(place, journald):
    """GATEWAY is well again and its incident still open, so the pass looks at it alone once more."""
    story = a_story(place, journald, Always, second=True)
    story.settings = story.settings._replace(metrics=story.settings.metrics._replace(directory=place))
    alerted_then_fixed(story)
    story.world.passes(1)
    looks = story.world.looks
    assert verdicts(story.recovery_pass()) == {GATEWAY: "healthy", BATCH: "healthy"} and story.world.looks == looks + 2
    with open(os.path.join(place, metrics.LOOK)) as file:
        lines = file.read().splitlines()
    for unit in (GATEWAY, BATCH):
        assert 'citadel_service_healthy{unit="%s"} 1' % unit in lines
        assert [line for line in lines if line.startswith('citadel_restarts_total{unit="%s"}' % unit)]


# --- counting and telling ---------------------------------------------------------------------------------------------

def test_the_pauses_grow_after_an_alert(place, journald):
    story = a_story(place, journald, Never)
    gives_up(story)
    for _ in range(200):
        story.minute()
    moments = [one.when for one in story.world.attempts]
    pauses = [late - early for early, late in zip(moments, moments[1:])]
    assert alerts(story) == [1, 0]
    for pause, wanted in zip(pauses[-3:], (1200, 2400, 3600)):      # those before are the budget's, or shorter
        assert wanted <= pause <= wanted * 1.1 + 90, pauses


@pytest.mark.parametrize("minutes, levels", ((4, []), (12, [False, False, True])))
def test_the_ladder_begins_anew_after_ten_good_minutes_and_not_before(minutes, levels, place, journald):
    """All of it was tried: an alert at once for what comes back soon; what comes back later is another fault."""
    story = a_story(place, journald, Never, limits="window = 5min")     # so that no budget is in the way
    gives_up(story)
    until(story, lambda results: alerts(story) == [1, 0])
    assert ["relieve-memory" in [do for _, do, _ in one.steps] for one in story.world.attempts] == [
        False, False, True], "each level once, the last one relieves"
    story.world.heals()
    story.world.passes(1)
    story.world.operator_starts(GATEWAY)
    for _ in range(minutes):
        story.minute()
    before = len(story.world.attempts)
    gives_up(story)
    story.minute()
    assert ["relieve-memory" in [do for _, do, _ in one.steps] for one in story.world.attempts[before:]] == levels
    assert alerts(story) == [2, 1]


def test_in_maintenance_one_alert_is_sent_and_nothing_is_touched(place, journald):
    story = a_story(place, journald, Always)
    story.operator_store.intent.begin_maintenance(900, "disk swap")
    story.world.maintenance = story.world.time + 900
    gives_up(story)
    for _ in range(10):
        assert verdicts(story.minute()) == {GATEWAY: "stood-down"}
    assert alerts(story) == [1, 0] and not story.world.attempts
    story.world.heals()
    until(story, lambda results: verdicts(results)[GATEWAY] == "recovered")
    assert alerts(story) == [1, 1] and story.world.time > story.world.maintenance


def test_what_needs_no_operator_is_no_alert_in_maintenance(place, journald):
    story = a_story(place, journald, Always)
    story.operator_store.intent.begin_maintenance(900, "disk swap")
    story.world.maintenance = story.world.time + 900
    story.world.operator_stops(GATEWAY)
    for _ in range(5):
        assert verdicts(story.minute()) == {GATEWAY: "stood-down"}
    assert alerts(story) == [0, 0] and not story.world.attempts


def test_a_maintenance_that_begins_within_a_plan_ends_it(place, journald):
    story = a_story(place, journald, Always)
    gives_up(story)

    def begins():
        story.operator_store.intent.begin_maintenance(900, "disk swap")
        story.world.maintenance = story.world.time + 900

    story.world.meanwhile = begins
    result, = story.recovery_pass()
    assert len(story.world.attempts) == 1 and len(story.world.attempts[0].steps) == 1
    assert result.verdict == "stood-down"
    assert "maintenance has begun meanwhile" in [step.detail for step in result.steps]


def test_an_alert_that_nobody_took_is_sent_again(place, journald):
    story = a_story(place, journald, Never)
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    story.world.receivers_silent, log.JOURNAL = True, place + "/nobody"
    try:
        for _ in range(2):
            assert verdicts(story.minute()) == {GATEWAY: "escalated"}
    finally:
        log.JOURNAL = journald.path
    assert alerts(story) == [0, 0] and not story.world.walls
    story.world.receivers_silent = False
    for _ in range(3):
        assert verdicts(story.minute()) == {GATEWAY: "escalated"}
    assert alerts(story) == [1, 0] and story.world.walls == 1


def test_the_evidence_is_of_before_the_first_step_and_taken_once(place, journald):
    story = a_story(place, journald, Never)
    gives_up(story)
    asked = []
    run = story.handed_in.run

    def asks(argv, *rest, **how):
        asked.append((argv[0], len(story.world.attempts)))
        return run(argv, *rest, **how)

    story.handed_in = story.handed_in._replace(run=asks)
    for _ in range(3):
        story.minute()
    assert [attempts for program, attempts in asked if program == "df"] == [0, 0], "df and df -i, and no more"


def test_an_alert_outlives_the_loss_of_the_state(place, journald):
    """Both copies are gone; the incident's own file still tells that an alert was sent."""
    story = a_story(place, journald, Never)
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    story.minute()
    incident, = {incident for _, incident in story.told}
    story.loses((story.record.place, story.record.ram))
    for _ in range(3):
        assert story.minute()[0].incident == incident
    assert alerts(story) == [1, 0]
    story.world.heals()
    story.world.passes(1)
    story.world.operator_starts(GATEWAY)
    until(story, lambda results: not results[0].incident)
    assert alerts(story) == [1, 1]


def test_on_a_disk_that_takes_nothing_there_is_one_attempt_a_window(place, journald):
    story = a_story(place, journald, Never)
    story.minute()
    story.record.refuses = lambda: errno.EROFS
    story.world.breaks("crash")
    for _ in range(70):
        story.minute()
    moments = [one.when for one in story.world.attempts]
    assert len(moments) in (2, 3) and all(late - early >= 1800 for early, late in zip(moments, moments[1:]))
    assert alerts(story) == [1, 0]


def test_what_can_be_noted_nowhere_is_not_tried(place, journald):
    story = a_story(place, journald, Never)
    story.minute()
    story.record.refuses, story.record.has_ram = lambda: errno.ENOSPC, False
    gives_up(story)
    result, = story.recovery_pass()
    assert result.verdict == "escalated" and "could not be written" in result.because
    assert not story.world.attempts


@pytest.mark.parametrize("fault, done", (
    ("ollama-down", ["reset-failed", "start"]),                     # of Ollama; without it no start of ours is any good
    ("disk", ["relieve-disk", "reset-failed", "start"]),            # what could not be cleaned away keeps none back
))
def test_a_step_that_fails_ends_its_attempt_unless_it_only_prepares(fault, done, place, journald):
    story = a_story(place, journald, Never)
    story.world.breaks(fault)
    story.world.passes(120)
    story.recovery_pass()
    assert [do for _, do, _ in story.world.attempts[0].steps if do != "clean"] == done


def test_room_is_made_while_systemd_restarts_what_is_needed(place, journald):
    """Ollama comes by itself, the full disk does not get empty by itself: an attempt, and Ollama is left alone."""
    story = a_story(place, journald, Never)
    story.world.breaks("disk")
    story.world.breaks("ollama-restarting")
    story.world.passes(120)
    story.recovery_pass()
    assert "relieve-disk" in [do for _, do, _ in story.world.attempts[0].steps]
    assert OLLAMA not in [target for one in story.world.attempts for _, _, target in one.steps]


def test_what_was_done_stands_in_the_incident_and_so_does_what_came_of_it(place, journald):
    story = a_story(place, journald, Always)
    story.world.breaks("stale-file")
    story.world.passes(120)
    result, = story.recovery_pass()
    wanted = [("clean", "ok"), ("reset-failed", "ok"), ("start", "ok"), ("verify", "ok"), ("resolve", "ok")]
    assert [(step.step.do, step.outcome) for step in result.steps] == wanted
    document, = story.operator_store.incidents.newest_first()
    assert [(step["do"], step["outcome"]) for step in document["steps"]] == wanted[:-1], "all but its end"
    assert document["outcome"] == "recovered" and document["trigger"] == "check"


# --- an internal error ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("where", ("perform", "verify"))
def test_an_internal_error_at_one_service_is_told_once_and_the_other_is_treated(where, place, journald, monkeypatch):
    monkeypatch.setattr(entry.write_internal_error, "__defaults__", (place,))       # not to where a host would keep it
    monkeypatch.setattr(tempfile, "tempdir", place)
    story = a_story(place, journald, Always, second=True)
    story.world.breaks("hang")
    story.world.breaks("hang", unit=BATCH)
    story.world.passes(150)
    whole = story.handed_in

    def broken(what, context):
        if GATEWAY in (what, getattr(what, "target", "")):
            story.world.passes(1)
            raise ValueError("no such thing")
        return getattr(whole, where)(what, context)

    story.handed_in, story.is_broken = whole._replace(**{where: broken}), True
    results = story.recovery_pass()
    assert "internal error: ValueError: no such thing" in results[0].because
    assert (results[0].verdict, results[0].cause) == ("escalated", "unknown")
    assert attempts_on(story, BATCH) and results[1].verdict == "recovered"
    for _ in range(3):
        story.minute()
    assert list(story.told) == [(GATEWAY, results[0].incident)] and alerts(story)[0] == 1
    story.handed_in, story.is_broken = whole, False
    until(story, lambda results: story.world.is_well(story.world.services[GATEWAY]) and not results[0].incident)
    assert alerts(story) == [1, 1]


# --- dying ------------------------------------------------------------------------------------------------------------

def dies_at_each_moment(place, journald, chance, prepare, every=1):
    """The Story after a pass that died at its first moment, at its second, ... until one came to its end."""
    for moment in range(0, 10000, every):
        inside = tempfile.mkdtemp(dir=place)
        story = a_story(inside, journald, chance)
        prepare(story)
        story.fuse = moment
        if story.recovery_pass() is not None:
            assert moment > 20, "it did nothing"
            return
        story.fuse = None
        try:
            yield story
        except (AssertionError, Forbidden) as error:
            raise AssertionError("died at %d: %s" % (moment, error))


def test_a_pass_that_dies_while_it_treats_costs_an_attempt_and_no_more(place, journald):
    def has_left_a_stale_file(story):
        story.world.breaks("stale-file")
        story.world.passes(120)

    for story in dies_at_each_moment(place, journald, Always, has_left_a_stale_file, every=2):
        until(story, lambda results: verdicts(results) == {GATEWAY: "healthy"} and not results[0].incident)
        assert story.world.is_well(story.world.services[GATEWAY]) and len(story.world.attempts) <= 2
        assert all(one["end"] for one in story.operator_store.incidents.newest_first())
        story.check_budget()
        assert alerts(story) == [0, 0]


def test_a_pass_that_dies_while_it_alerts_alerts_once_or_twice_and_never_not(place, journald):
    def is_hopeless(story):
        story.world.breaks("settings")
        story.world.breaks("crash")
        story.world.passes(120)

    retold = 0
    for story in dies_at_each_moment(place, journald, Never, is_hopeless):
        for _ in range(3):
            story.minute()
        assert alerts(story)[0] in (1, 2) and not story.world.attempts
        retold += alerts(story)[0] == 2
        heard = [kind for kind, _ in story.world.heard_by_hook]
        assert heard.count("firing") in (1, 2)
    assert retold >= 3, "it never died between telling and noting"


def test_a_pass_that_dies_while_it_closes_tells_the_end_once_or_twice_and_never_not(place, journald):
    def is_over(story):
        alerted_then_fixed(story)
        story.world.passes(60)

    for story in dies_at_each_moment(place, journald, Never, is_over):
        until(story, lambda results: not results[0].incident)
        assert alerts(story)[0] == 1 and alerts(story)[1] in (1, 2)
        kinds = [kind for kind, _ in story.world.heard_by_hook]
        assert kinds.count("firing") == 1 and kinds.count("resolved") in (1, 2)
        documents = [one["end"] for one in story.operator_store.incidents.newest_first()]
        assert documents and all(documents), "an incident stays open for ever"


def test_the_world_lets_nothing_of_ours_catch_a_death():
    assert not issubclass(Crash, Exception) and not issubclass(Forbidden, Exception)
    assert handler.TRIGGERS


# --- what random histories have found

def test_one_that_is_due_later_is_not_dropped_from_the_pass(place, journald):
    """Round 1: GATEWAY waits (looks again in 5 s), BATCH is tried (looks again at once, which is 6.7 s later). Round 2
    takes who is due first, GATEWAY; and BATCH is in nobody's list any more."""
    story = a_story(place, journald, Always, second=True)
    story.world.breaks("redis-loading", 240)
    story.world.breaks("stale-file", unit=BATCH)
    story.world.passes(90)
    assert verdicts(story.recovery_pass())[BATCH] == "recovered"


def test_nor_are_the_further_attempts_of_one_that_is_due_later(place, journald):
    story = a_story(place, journald, Never, second=True)
    story.world.breaks("redis-loading", 1200)
    story.world.breaks("crash", unit=BATCH)
    story.world.passes(120)
    story.recovery_pass()
    assert len(attempts_on(story, BATCH)) >= 3


def test_an_alert_is_not_forgotten_while_its_incident_is_open(place, journald):
    """Well, and waiting for the end of a relapse to be lasting; nobody looks for ten minutes; it fails again: the
    same incident is open, and no second alert is sent."""
    story = a_story(place, journald, Never)
    gateway = story.world.services[GATEWAY]
    for _ in range(2):                                  # the second is a relapse: it has to last for ten minutes
        story.world.breaks("settings")
        story.world.breaks("crash")
        story.world.passes(120)
        story.minute()
        incident = story.record.state()["services"][GATEWAY]["incident"]
        story.world.heals()
        story.world.passes(1)
        story.world.operator_starts(GATEWAY)
        story.world.passes(10)
        story.recovery_pass()
    assert story.record.state()["services"][GATEWAY]["incident"] == incident
    assert story.told[GATEWAY, incident] == [1, 0]
    story.world.passes(700)
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    for _ in range(3):
        story.minute()
    assert story.told[GATEWAY, incident] == [1, 0]
    story.world.heals()
    story.world.passes(1)
    story.world.operator_starts(GATEWAY)
    until(story, lambda results: not results[0].incident)
    assert story.told[GATEWAY, incident] == [1, 1] and story.world.is_well(gateway)


def test_two_incidents_of_one_second_are_two_on_a_disk_that_takes_nothing_too(place, journald):
    story = a_story(place, journald, Never, second=True)
    story.minute()
    story.record.refuses = lambda: 30
    for unit in (GATEWAY, BATCH):
        story.world.breaks("settings", unit=unit)
        story.world.breaks("crash", unit=unit)
    story.world.passes(120)
    results = story.recovery_pass()
    assert results[0].incident != results[1].incident


def test_what_was_closed_on_a_disk_that_took_nothing_is_not_reopened(place, journald):
    story = a_story(place, journald, Never)
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    story.minute()
    first = story.record.state()["services"][GATEWAY]["incident"]
    story.record.refuses = lambda: 30
    story.world.heals()
    story.world.passes(1)
    story.world.operator_starts(GATEWAY)
    until(story, lambda results: not results[0].incident)
    story.record.refuses = lambda: 0
    story.world.passes(3 * 3600)
    story.minute()
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    assert story.minute()[0].incident != first
    assert story.told[GATEWAY, first] == [1, 1]


def test_who_was_sent_an_alert_that_was_not_noted_is_told_its_end(place, journald):
    """We die between telling the journal and noting it, and the service becomes well by itself meanwhile: the hook and
    Alertmanager are told of the end (firing/), the journal and the terminals are not."""
    story = a_story(place, journald, Never)
    story.world.breaks("settings")
    story.world.breaks("crash")
    story.world.passes(120)
    run = story.handed_in.run

    def dies_at_the_terminals(argv, *rest, **how):
        if argv[0] == "wall":
            story.world.fuse = 0
        return run(argv, *rest, **how)

    story.handed_in = story.handed_in._replace(run=dies_at_the_terminals)
    story.world.fuse = None
    story.fuse = 10 ** 6
    while story.recovery_pass() is not None:
        pass
    story.fuse, story.handed_in = None, story.handed_in._replace(run=run)
    assert alerts(story) == [1, 0]
    story.world.heals()
    story.world.passes(1)
    story.world.operator_starts(GATEWAY)
    until(story, lambda results: not results[0].incident)
    assert alerts(story) == [1, 1]


@pytest.mark.parametrize("lives", (170, 300))
def test_a_slower_crash_loop_is_told_once_too(lives, place, journald):
    story = Story(lives, place, journald, limits="", second=False)
    story.world.services[GATEWAY].lives = lives
    story.world.breaks("loop")
    began = story.world.time
    while story.world.time < began + 24 * 3600:
        story.world.passes(story.chance.uniform(55, 65))
        story.recovery_pass("on-failure" if story.world.failed else "check")
        story.world.failed = False
    assert alerts(story)[0] == 1, alerts(story)


def test_an_operator_is_told_of_what_could_be_noted_nowhere(place, journald):
    """No disk and no RAM takes a note: nothing is tried, and an operator is told, rather each minute than never."""
    story = a_story(place, journald, Never)
    story.minute()
    story.record.refuses, story.record.has_ram = lambda: 28, False
    story.world.breaks("crash")
    story.world.passes(120)
    assert verdicts(story.recovery_pass()) == {GATEWAY: "escalated"}
    assert alerts(story)[0] == 1 and not story.world.attempts
