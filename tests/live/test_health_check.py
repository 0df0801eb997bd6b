"""The health check as cron runs it, and as citadel-health.timer does: silent when all is well, else a recovery pass."""

import json

import pytest

from host import GATEWAY, OLLAMA, RECOVERY, install

HEALTH = "citadel-health.service"
HEARTBEAT = "/var/lib/citadel-recovery/last-check"
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
            host.wait(lambda: host.show(HEALTH, "InvocationID") not in ("", before), "the timer to elapse", timeout=20)
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
    """A pass sees it down and may not wait; by the next minute systemd has restarted it."""
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
    assert newest["outcome"] == "recovered" and newest["causes"][0]["cause"] == "gateway.stopped-with-dependency"


@pytest.fixture
def by_real_cron(host):
    """Debian's cron with our line in cron.d, and a sendmail that keeps what it is given."""
    host.write("/usr/sbin/sendmail", "#!/bin/sh\ncat >>/root/mail\n", 0o755)
    host.do("rm", "-f", "/root/mail")
    assert install(host.machine, "--schedule", "cron").ok
    host.do("systemctl", "start", "cron.service")
    host.wait(lambda: checked_at(host) is not None, "cron to run its first check", timeout=90)
    host.start = host.cursor()
    yield host
    assert install(host.machine, "--schedule", "none").ok
    host.do("rm", "-f", "/usr/sbin/sendmail", "/root/mail", HEARTBEAT)


def checked_at(host):
    return host.read(HEARTBEAT) if host.do("test", "-e", HEARTBEAT, ok=False).ok else None


def test_cron_checks_each_minute_in_silence_and_calls_for_recovery(by_real_cron):
    host, before = by_real_cron, checked_at(by_real_cron)
    host.wait(lambda: checked_at(host) != before, "cron's next check", timeout=90)
    said = [entry for entry in host.entries(since=host.start) if entry.get("_SYSTEMD_UNIT") != "cron.service"
            and "session" not in str(entry.get("_SYSTEMD_UNIT"))]
    assert [entry for entry in said if "citadel" in json.dumps(entry)] == []
    commands = [entry for entry in host.entries("_COMM=cron", since=host.start) if "CMD" in str(entry["MESSAGE"])]
    assert 1 <= len(commands) <= 2
    assert not host.do("test", "-e", "/root/mail", ok=False).ok

    passes = host.show(RECOVERY, "InvocationID")
    host.mood("error")
    host.note("cron: from an error to the start of the recovery pass", host.wait(
        lambda: host.show(RECOVERY, "InvocationID") not in ("", passes), "a recovery pass", timeout=90))
    host.mood("ok")
    host.wait_state(RECOVERY, "inactive", "failed", timeout=200)
    assert host.read("/root/mail").count("(gateway.http-error)") == 1
    host.wait(lambda: host.manager("check", ok=False).code == 0, "all to be well again", timeout=120)


def test_check_is_critical_when_nobody_would_come(by_real_cron):
    """Who watches the healer."""
    host = by_real_cron

    def critical():
        answer = host.manager("check", ok=False)
        return answer.out if answer.code == 2 else ""

    assert not critical()
    host.do("mv", "/etc/cron.d/citadel", "/root/cron-line")
    assert "/etc/cron.d/citadel is gone" in critical()
    host.do("mv", "/root/cron-line", "/etc/cron.d/citadel")
    host.do("systemctl", "mask", "--runtime", RECOVERY)
    assert RECOVERY + " is masked" in critical()
    host.do("systemctl", "unmask", "--runtime", RECOVERY)
    unit = "/usr/local/lib/systemd/system/" + GATEWAY
    host.do("cp", "-p", unit, "/root/")
    host.do("sed", "-i", "s/^OnFailure=.*/OnFailure=/", unit)
    host.do("systemctl", "daemon-reload")
    line = 1 + host.read("/root/" + GATEWAY).split("\n").index("OnFailure=" + RECOVERY)
    assert "%s:%d is not as it was installed (unit.changed)" % (unit, line) in critical()
    assert "has no OnFailure=" + RECOVERY in critical()
    host.do("mv", "/root/" + GATEWAY, unit)
    host.do("systemctl", "daemon-reload")
    assert not critical()
