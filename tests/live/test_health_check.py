"""The health check as cron runs it, and as citadel-health.timer does: silent when all is well, else a recovery pass."""

import pytest

from host import GATEWAY, RECOVERY

HEALTH = "citadel-health.service"
TIMER = "citadel-health.timer"


def by_cron(host):
    """The very line of the cron.d file, in cron's surroundings."""
    line = [line for line in host.read("/opt/citadel/units/cron.d/citadel").splitlines() if line.startswith("*")][0]
    return host.do("env", "-i", "SHELL=/bin/sh", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                   "LOGNAME=root", "HOME=/root", "/bin/sh", "-c", line.split(None, 6)[6], ok=False)


def by_timer(host):
    return host.do("systemctl", "start", HEALTH, ok=False)


def passes(host):
    """How many recovery passes have begun since the test did."""
    return len(host.entries("UNIT=" + RECOVERY, "JOB_TYPE=start", "JOB_RESULT=done", since=host.start))


@pytest.mark.parametrize("check", [by_cron, by_timer])
def test_all_is_well_and_nothing_is_said(host, check):
    answer = check(host)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert host.journal("-u", HEALTH, "-o", "cat", since=host.start) in ([], ["-- No entries --"])
    assert host.show(RECOVERY, "ActiveState") == "inactive"


@pytest.mark.parametrize("check", [by_cron, by_timer])
def test_an_error_calls_for_a_recovery_pass(host, check):
    before = host.show(RECOVERY, "InvocationID")
    host.mood("error")
    check(host)
    host.wait(lambda: host.show(RECOVERY, "InvocationID") not in ("", before), "a recovery pass")
    host.mood("ok")
    host.wait_state(RECOVERY, "inactive", "failed")


def test_the_timer_checks_each_minute(host):
    host.do("systemctl", "start", TIMER)
    try:
        assert host.show(TIMER, "ActiveState") == "active"
        assert host.show(TIMER, "TimersCalendar").startswith("{ OnCalendar=*-*-* *:*:00 ")
        host.wait(lambda: host.show(HEALTH, "ExecMainExitTimestampMonotonic") != "0"
                  and host.show(TIMER, "LastTriggerUSec") != "", "the timer to elapse", timeout=80)
        assert host.show(HEALTH, "Result") == "success"
    finally:
        host.do("systemctl", "stop", TIMER)


def test_the_units_are_as_systemd_wants_them(host):
    answer = host.do("systemd-analyze", "verify", "/usr/local/lib/systemd/system/" + HEALTH,
                     "/usr/local/lib/systemd/system/" + TIMER, ok=False)
    lines = [line for line in (answer.out + answer.err).splitlines() if "citadel-health" in line]
    assert lines == []
    answer = host.do("systemd-analyze", "security", "--no-pager", HEALTH, ok=False)
    assert float(answer.out.strip().splitlines()[-1].split(": ")[1].split()[0]) <= 2.2
