"""The flow chart, arrow by arrow, with nobody's hand in it: systemd and the handler alone, watched in the journal.

failure -> wait RestartSec -> dependencies ready? -> restart -> running
                              not ready -> recovery -> repair them -> start -> running
           tenth failure -> recovery -> clean, start -> in vain -> an operator is told
"""

import pytest
from host import ALERT, GATEWAY, OLLAMA, RECOVERY
from injections import CONF, crash_loop, drop_in, no_drop_in, processes, repair_uvicorn
from shortened import SETTINGS, START_TIMEOUT

ALARM = "citadel-recovery-alarm.service"
LOG = "/opt/citadel/logs/api-gateway/service.log"
EXITED = "98e322203f7a4ed290d09fe03c09fe15"         # MESSAGE_IDs of systemd's own: sd-messages(3)
SCHEDULED = "5eb03494b6584870a536b337290809b3"
STARTED = "39f53479d3a045ac8e11786248231fbf"


@pytest.fixture
def unwatched(host):
    """Healthy, with a full budget; the shipped settings but for the waiting times."""
    shipped = host.read(CONF)
    host.write(CONF, SETTINGS)
    host.handler()
    host.manager("reset")
    host.start = host.cursor()
    yield host
    host.write(CONF, shipped)


def events(host):
    """What systemd and the handler said since the test began: (name, entry), in order."""
    names = {EXITED: "exited", SCHEDULED: "scheduled", STARTED: "started", ALERT: "alert"}
    return [(names[entry["MESSAGE_ID"]], entry) for entry in host.entries(since=host.start)
            if entry.get("MESSAGE_ID") in names
            and GATEWAY in (entry.get("UNIT"), entry.get("CITADEL_UNIT"))]


def test_failure_wait_restart_running(unwatched):
    host, logged = unwatched, len(unwatched.read(LOG))
    host.wait_healthy(not_pid=host.kill(GATEWAY))
    seen = events(host)
    assert [name for name, _ in seen] == ["exited", "scheduled", "started"]
    stamps = [int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6 for _, entry in seen]
    assert stamps[1] - stamps[0] >= 5.0
    assert "dependencies are ready" in host.read(LOG)[logged:]


def test_dependencies_not_ready_recovery_repairs_them_and_it_runs(unwatched):
    """Ollama hangs, then the gateway fails: the gate waits in vain, calls for recovery, and that restarts Ollama."""
    host = unwatched
    host.wait(lambda: host.age(OLLAMA) > START_TIMEOUT + 0.5, "Ollama past its start")
    hung = host.pid(OLLAMA)
    host.do("kill", "-STOP", *processes(host, OLLAMA))
    old = host.kill(GATEWAY)
    host.note("Ollama hangs and the gateway is killed: to the next 200", host.wait_healthy(not_pid=old, timeout=240))
    assert host.pid(OLLAMA) != hung
    told = [(entry["CITADEL_EVENT"], entry.get("CITADEL_CAUSE")) for entry in host.entries(since=host.start)
            if entry.get("CITADEL_EVENT") in ("gate-refused", "act")]
    assert told[:2] == [("gate-refused", None), ("act", "dependency.ollama.hung")]


def test_the_tenth_failure_recovery_in_vain_an_alert_is_sent(unwatched):
    host = unwatched
    try:
        crash_loop(host)
        host.note("a crash loop that nothing helps: to the alert", host.wait(
            lambda: any(name == "alert" for name, _ in events(host)), "an alert", timeout=200))
        alert = [entry for name, entry in events(host) if name == "alert"]
        assert len(alert) == 1
        assert alert[0]["CITADEL_CAUSE"] == "gateway.crash-loop" and "To do: " in alert[0]["MESSAGE"]
        first = [name for name, _ in events(host)]
        assert first[:first.index("alert")].count("exited") >= 10
    finally:
        repair_uvicorn(host)
        host.wait(lambda: host.show(RECOVERY, "ActiveState") != "activating", "the pass to end", timeout=200)


def test_a_pass_that_breaks_is_told_unless_the_next_one_is_well(unwatched):
    host = unwatched
    settings = host.read(CONF)

    def broken_pass():
        host.write(CONF, "[recovery]\nattempts = many\n")
        assert not host.do("systemctl", "start", RECOVERY, ok=False).ok
        host.wait_state(ALARM, "activating")

    def alarms():
        return host.entries("SYSLOG_IDENTIFIER=citadel", "PRIORITY=2", since=host.start)

    drop_in(host, ALARM, "[Service]\nEnvironment=PATIENCE=6\n")
    try:
        broken_pass()
        host.write(CONF, settings)
        host.do("systemctl", "start", RECOVERY)
        host.wait_state(ALARM, "inactive")
        assert alarms() == []
        broken_pass()
        host.wait_state(ALARM, "inactive")
        alarm, = alarms()
        assert "not being looked after" in alarm["MESSAGE"] and CONF + ":2: attempts: " in alarm["MESSAGE"]
    finally:
        host.write(CONF, settings)
        no_drop_in(host, ALARM)
        host.do("systemctl", "reset-failed", ALARM, ok=False)
