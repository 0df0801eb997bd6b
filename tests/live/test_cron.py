"""Debian's cron with our line in cron.d: silent when all is well, a recovery pass when it is not, who watches it."""

import json

import pytest
from host import GATEWAY, RECOVERY, install

HEARTBEAT = "/var/lib/citadel-recovery/last-check"


@pytest.fixture
def by_real_cron(host):
    """Debian's cron with our line in cron.d, and a sendmail that keeps what it is given."""
    host.write("/usr/sbin/sendmail", "#!/bin/sh\ncat >>/root/mail\n", 0o755)
    host.do("rm", "-f", "/root/mail", HEARTBEAT)
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
    commands = [entry for entry in host.entries("SYSLOG_IDENTIFIER=CRON", since=host.start)
                if "CMD" in str(entry["MESSAGE"])]
    assert 1 <= len(commands) <= 2
    assert not host.do("test", "-e", "/root/mail", ok=False).ok

    # Until then it counts as starting, whatever it answers.
    host.wait(lambda: host.age(GATEWAY) > 121, "a gateway older than its start_timeout", timeout=150)
    passes = host.show(RECOVERY, "InvocationID")
    host.mood("error")
    host.note("cron: from an error to the start of the recovery pass", host.wait(
        lambda: host.show(RECOVERY, "InvocationID") not in ("", passes), "a recovery pass", timeout=90))
    host.mood("ok")
    host.wait_state(RECOVERY, "inactive", "failed", timeout=200)
    assert host.read("/root/mail").count("(gateway.http-error)") == 1
    host.wait(lambda: host.manager("check", ok=False).code == 0, "all to be well again", timeout=120)


def test_check_is_critical_when_nobody_would_come(by_real_cron):
    """check watches Citadel itself."""
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
