"""The health check as cron runs it, and as citadel-health.timer does: silent when all is well, else a recovery pass."""

import json

import pytest
from host import GATEWAY, OLLAMA, RECOVERY

HEALTH = "citadel-health.service"
TIMER = "citadel-health.timer"


def by_cron(host):
    """The very line of the cron.d file, in cron's surroundings."""
    line = [line for line in host.read("/opt/citadel/units/cron.d/citadel").splitlines() if line.startswith("*")][0]
    return host.do("env", "-i", "SHELL=/bin/sh", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                   "LOGNAME=root", "HOME=/root", "/bin/sh", "-c", line.split(None, 6)[6], ok=False)


def by_timer(host):
    return host.do("systemctl", "start", HEALTH, ok=False)


@pytest.mark.parametrize("check", [by_cron, by_timer])
def test_all_is_well_and_nothing_is_said(host, check):
    answer = check(host)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert host.entries("_SYSTEMD_UNIT=" + HEALTH, since=host.start) == []
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
    """Each minute by its file; each second here, for the rest of the test."""
    assert host.do("systemctl", "cat", TIMER).out.count("\nOnCalendar=*:*:00\n") == 1
    before = host.show(HEALTH, "InvocationID")
    host.write("/run/systemd/system/%s.d/test.conf" % TIMER,
               "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nRandomizedDelaySec=0\n")
    host.do("systemctl", "daemon-reload")
    host.do("systemctl", "start", TIMER)
    try:
        for _ in range(2):
            host.wait(lambda before=before: host.show(HEALTH, "InvocationID") not in ("", before),
                      "the timer to elapse", timeout=20)
            before = host.show(HEALTH, "InvocationID")
        host.wait_state(HEALTH, "inactive", "failed")
        assert host.show(HEALTH, "Result") == "success"
    finally:
        host.do("systemctl", "stop", TIMER)
        host.do("rm", "-r", "/run/systemd/system/%s.d" % TIMER)
        host.do("systemctl", "daemon-reload")


def test_the_units_are_as_systemd_wants_them(host):
    answer = host.do("systemd-analyze", "verify", "/usr/local/lib/systemd/system/" + HEALTH,
                     "/usr/local/lib/systemd/system/" + TIMER, ok=False)
    lines = [line for line in (answer.out + answer.err).splitlines() if "citadel-health" in line]
    assert lines == []
    answer = host.do("systemd-analyze", "security", "--no-pager", HEALTH, ok=False)
    assert float(answer.out.strip().splitlines()[-1].split(": ")[1].split()[0]) <= 2.2


def test_an_incident_of_a_service_that_came_back_by_itself_is_closed_by_the_next_check(host):
    """A pass sees it down and may not treat it, so an operator is told; by the next minute it is back."""
    host.do("systemctl", "stop", OLLAMA)
    host.do("systemctl", "--job-mode=ignore-dependencies", "start", OLLAMA)
    host.manager("maintenance", "on", "--for", "5m", "--reason", "a test")
    host.handler()
    host.manager("maintenance", "off")
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()
    host.wait(lambda: host.age(GATEWAY) > 6, "a run that lasts")
    answer = host.manager("check", ok=False)
    assert answer.code == 1 and "is well again, incident" in answer.out
    assert by_cron(host).out == ""
    host.wait(lambda: host.manager("check", ok=False).code == 0, "the incident to be closed")
    newest = json.loads(host.manager("history", "--json").out)["incidents"][0]
    assert newest["outcome"] == "escalated" and newest["causes"][0]["cause"] == "gateway.stopped-with-dependency"
