"""An upgrade from 1.0 while an incident is open: tests/samples/1.0-record is what a pass of 1.0 left on disk (without
the evidence, the lock and the reserve), with an alert sent after three attempts; `as-1.0-read-it` is what 1.0 read of
it at the end of that pass."""

import json
import os
import shutil

import pytest
from places import SAMPLES
from story import Always, Story
from world import BATCH, GATEWAY

SAMPLE = os.path.join(SAMPLES, "1.0-record")
EXPECTED = json.load(open(os.path.join(SAMPLE, "as-1.0-read-it")))
INCIDENT = EXPECTED["services"][GATEWAY]["history"]["incident"]


@pytest.fixture
def story(place, journald):
    """The same host at the same time, its record as 1.0 left it."""
    story = Story(0, place, journald, limits="", second=True)
    story.chance = story.world.chance = Always()
    story.world.meanwhile = lambda: None
    story.world.time = story.world.booted + EXPECTED["now"][2]
    for service in story.world.services.values():
        service.since = story.world.time - 60
    shutil.copytree(SAMPLE, story.record.place)
    os.chmod(story.record.place, 0o700)
    return story


def incident_file():
    with open(os.path.join(SAMPLE, "incidents", INCIDENT + ".json")) as file:
        return json.load(file)


def test_what_1_0_kept_reads_as_1_0_read_it(story):
    store = story.operator_store
    for unit, expected in EXPECTED["services"].items():
        history = json.loads(json.dumps(store.of(unit).history()._asdict()))
        assert {name: history[name] for name in expected["history"]} == expected["history"]
        assert store.of(unit).counts() == expected["counts"]
    assert list(store.incidents.summary()) == EXPECTED["summary"]
    assert store.incidents.read(INCIDENT) == incident_file()
    assert store.state.trouble == ""


@pytest.mark.parametrize("loses", [(), ("state.json",)], ids=["all of it there", "the state lost"])
def test_the_next_pass_goes_on_with_the_incident_and_closes_it(loses, story):
    for name in loses:
        os.unlink(os.path.join(story.record.place, name))
    results = {result.unit: result for result in story.recovery_pass()}
    assert (results[GATEWAY].verdict, results[GATEWAY].incident) == ("healthy", INCIDENT)
    before, after = incident_file(), story.operator_store.incidents.read(INCIDENT)
    for name in ("id", "start", "opened", "causes", "bundle", "escalated"):
        assert after[name] == before[name]
    assert after["steps"][:len(before["steps"])] == before["steps"]
    assert after["end"] and after["outcome"] == "escalated" and not after["damaged"]
    assert story.told == {(GATEWAY, INCIDENT): [0, 1]}, "the all-clear, and no second alert"
    assert not os.path.exists(os.path.join(story.record.place, "open"))
    history = story.operator_store.of(GATEWAY).history()
    assert history.incident == "" and (history.lost is None) is not bool(loses)
    if not loses:
        assert len(history.attempts) == 3
        counts = EXPECTED["services"][GATEWAY]["counts"]
        assert story.operator_store.of(GATEWAY).counts() == dict(counts, escalated=1, seconds=after["duration"])
        assert story.operator_store.of(BATCH).counts() == EXPECTED["services"][BATCH]["counts"]


def test_an_incident_that_goes_on_is_the_same_one(story):
    story.world.breaks("crash")
    story.world.passes(1)
    result = story.recovery_pass()[0]
    assert result.incident == INCIDENT
    assert story.told == {}, "no second alert"
