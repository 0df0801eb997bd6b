import time

import pytest
from calls import call

from citadel.commands import explain
from citadel.core.clock import Now
from citadel.model import ACT, DOWN, ESCALATED, HEALTHY, STOOD_DOWN, Cause, Finding, Plan, Step

NOON = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))          # in whatever time zone this host is
UNIT, BECAUSE = "x.service", "has been down for 1 min: it exited 3"
WELL = Finding(UNIT, because="has been running for 2 h")
CRASHED = Finding(UNIT, "gateway.crashed", BECAUSE, UNIT, (), None, DOWN)
STEPS = (Step("reset-failed", UNIT, "so that systemd's start limit cannot refuse it", 10), Step("start", UNIT, "", 30))
ALARM = (Step("escalate", UNIT, BECAUSE + "; 5 attempts did not help", 60),)


@pytest.mark.parametrize("finding, plan, expected", [
    pytest.param(WELL, Plan(UNIT, HEALTHY, next_in=60.0, gives_up_in=600.0), [
        "x.service: no cause to act", "  because  x.service has been running for 2 h", "  verdict  healthy"],
        id="a healthy service"),
    pytest.param(CRASHED, Plan(UNIT, ACT, STEPS, BECAUSE + "; a plain start", "", 0.0, 165.0), [
        "x.service: gateway.crashed", "  because  x.service " + BECAUSE, "  verdict  act: a plain start",
        "  step 1   reset-failed x.service, at most 10 s: so that systemd's start limit cannot refuse it",
        "  step 2   start x.service, at most 30 s", "  next     now",
        "  gives up in about 2 min 45 s if nothing helps; an alert is sent then"], id="what it would do"),
    pytest.param(CRASHED._replace(others=(Cause("memory.low", "64 MiB are available", "memory"),)),
                 Plan(UNIT, ESCALATED, ALARM, "", "the attempts are used up", 300.0, 0.0), [
        "x.service: gateway.crashed", "  because  x.service " + BECAUSE, "  also     memory.low: 64 MiB are available",
        "  verdict  escalated", "  step 1   escalate x.service, at most 1 min: 5 attempts did not help",
        "  no restart: the attempts are used up", "  next     look in 5 min (2026-11-23 12:05:00)",
        "  gives up now; an alert is sent; nothing is tried while a restart is ruled out"], id="it gives up"),
    pytest.param(CRASHED, Plan(UNIT, ESCALATED, (), "", "", 60.0, 0.0), [
        "x.service: gateway.crashed", "  because  x.service " + BECAUSE, "  verdict  escalated",
        "  next     attempt in 1 min (2026-11-23 12:01:00)", "  gave up already; attempts go on at growing intervals"],
        id="it gave up before"),
    pytest.param(CRASHED, Plan(UNIT, STOOD_DOWN, (), "maintenance is on (new disk); found: " + BECAUSE), [
        "x.service: gateway.crashed", "  because  x.service " + BECAUSE,
        "  verdict  stood-down: maintenance is on (new disk)"],
        id="what was said is not said again"),
])
def test_lines(finding, plan, expected):
    made, _ = call(["explain"], now=lambda: Now(NOON, 0.0, 0.0, "b"))
    assert list(explain._lines(made, finding, plan)) == expected
