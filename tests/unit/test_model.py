"""The table of causes, and what follows from a service's record."""

import pytest

from citadel.model import (
    ALWAYS_CRITICAL,
    CAUSES,
    CRITICAL,
    PASSING,
    WARNING,
    Attempt,
    Cause,
    Escalation,
    History,
    about,
    gravity_of,
)

UNIT, TARGET = "citadel-gateway.service", "/the/target"


@pytest.mark.parametrize("row", CAUSES, ids=lambda row: row.name)
def test_a_row_says_what_to_do_and_what_to_type(row):
    for text in (row.advice, row.commands, row.veto):
        assert "%" not in text % {"unit": UNIT, "target": TARGET}
    assert row.advice and row.commands
    assert row.level in (1, 2, 3, 4) and row.confirmations in (1, 2)
    assert row.gravity in (WARNING, CRITICAL, ALWAYS_CRITICAL)


def test_a_cause_has_one_row():
    assert len({row.name for row in CAUSES}) == len(CAUSES)


@pytest.mark.parametrize("cause, name", [
    pytest.param("disk.full", "disk.full", id="by its name"),
    pytest.param("dependency.redis.hung", "dependency.*.hung", id="a dependency of any name"),
    pytest.param("dependency.redis.melted", "unknown", id="a dependency in a state without a row"),
    pytest.param("gateway.melted", "unknown", id="no such cause"),
    pytest.param("gateway.down", "unknown", id="what only a dependency can be"),
    pytest.param("", "unknown", id="no cause"),
])
def test_about(cause, name):
    assert about(cause).name == name


@pytest.mark.parametrize("cause, manner, gravity", [
    pytest.param("gateway.crashed", "", CRITICAL, id="down"),
    pytest.param("gateway.crashed", PASSING, WARNING, id="down, and systemd restarts it"),
    pytest.param("gateway.crash-loop", PASSING, CRITICAL, id="that is no comfort the fifth time"),
    pytest.param("gateway.slow", "", WARNING, id="slow"),
    pytest.param("gateway.stopped-by-operator", "", WARNING, id="stopped by an operator"),
    pytest.param("dependency.redis.stopped-by-operator", "", WARNING, id="a dependency stopped by an operator"),
    pytest.param("dependency.redis.loading", PASSING, WARNING, id="a dependency that loads"),
    pytest.param("dependency.redis.missing", "", CRITICAL, id="a dependency that is missing"),
])
def test_gravity(cause, manner, gravity):
    assert gravity_of(Cause(cause, "", "", True, manner)) == gravity


def test_what_follows_from_the_record():
    history = History(tuple(Attempt(age, "x", 2) for age in (10.0, 50.0, 900.0)) + (Attempt(20.0, "x", 1),), 2, "i",
                      Escalation(2, 30.0, "gateway.slow"), open_for=100.0, spell_for=100.0)
    assert (history.escalated, history.retries, history.tries) == (True, 1, 2)


def test_nothing_on_record():
    history = History()
    assert (history.escalated, history.retries, history.tries) == (False, 0, 0)


def test_an_alert_before_this_incident_is_not_this_incidents():
    history = History(escalation=Escalation(3, 500.0, "gateway.slow"), incident="i", open_for=100.0)
    assert (history.escalated, history.retries) == (False, 2)
