"""The operator's day, in the order of the README: look, drill, watch, read, reset."""

import json

from host import GATEWAY, MANAGER, OLLAMA


def test_the_installer_said_what_it_did(installed):
    assert "is installed." in installed.installation.out
    assert installed.installation.err == ""


def test_check_says_ok_in_one_line_of_nagios(host):
    answer = host.manager("check")
    assert answer.code == 0
    assert answer.out.startswith("OK") and "|" in answer.out and answer.out.count("\n") == 1
    assert answer.err == ""


def test_check_says_critical_for_a_gateway_that_is_down(host):
    host.do("systemctl", "stop", GATEWAY)
    answer = host.manager("check", ok=False)
    assert answer.code in (1, 2) and "stopped by an operator" in answer.out
    assert answer.out.count("\n") == 1


def test_check_from_cron_is_silent_when_all_is_well(host):
    answer = host.manager("check", "--quiet")
    assert (answer.out, answer.err) == ("", "")


def test_status_shows_the_service_and_its_dependencies(host):
    text = host.manager("status").out
    for word in (GATEWAY, "enabled", "active", "8002", "production", "ollama", "redis"):
        assert word in text
    data = json.loads(host.manager("status", "--json").out)
    assert data["well"] and data["port"] == 8002 and data["workers"] == 8 and data["environment"] == "production"


def test_config_finds_no_difference_then_names_the_file_of_one(host):
    assert host.manager("config").code == 0
    host.write("/etc/systemd/system/%s.d/mine.conf" % GATEWAY, "[Service]\nRestartSec=7\n")
    host.do("systemctl", "daemon-reload")
    try:
        answer = host.manager("config", ok=False)
        assert answer.code == 1
        assert "/etc/systemd/system/%s.d/mine.conf" % GATEWAY in answer.out
    finally:
        host.do("systemctl", "revert", GATEWAY)
    assert host.manager("config").code == 0


def test_test_restart_measures_a_real_restart(host):
    host.manager("reset")
    answer = host.manager("test-restart")
    assert answer.code == 0 and "systemd restarted %s:" % GATEWAY in answer.out
    host.manager("reset")
    data = json.loads(host.manager("test-restart", "--json").out)
    assert data["ok"] and data["old_pid"] != data["new_pid"]
    assert data["new_restarts"] == data["old_restarts"] + 1
    assert data["new_pid"] == host.pid()
    assert data["downtime"] >= 5.0
    host.note("test-restart: downtime as it measures it", data["downtime"])


def test_test_restart_refuses_when_the_service_is_down(host):
    host.do("systemctl", "stop", GATEWAY)
    answer = host.manager("test-restart", ok=False)
    assert answer.code == 1 and "is down" in answer.err


def test_monitor_sees_a_restart_between_two_looks(host):
    host.do("systemctl", "restart", GATEWAY)
    host.wait_healthy()
    host.do("sh", "-c", "(sleep 1; kill -KILL %d) >/dev/null 2>&1 &" % host.pid())
    data = json.loads(host.manager("monitor", "30", "--json").out)
    assert data["summary"]["restarts"] == 1
    assert data["summary"]["downtime"] >= 5.0
    assert data["summary"]["longest"] <= data["summary"]["downtime"] + 0.001


def test_logs_shows_the_journal_and_the_application_log(host):
    assert "Uvicorn running on" in host.manager("logs", "500").out
    assert "started, environment production" in host.manager("logs", "--app", "200").out


def test_reset_says_what_it_cleared(host):
    host.wait_healthy(not_pid=host.kill(GATEWAY))
    assert "NRestarts, which was 1" in host.manager("reset").out
    assert host.show(GATEWAY, "NRestarts") == "0"


def test_maintenance_mutes_actions_and_expires(host):
    host.manager("maintenance", "on", "--for", "1h", "--reason", "the story")
    try:
        host.do("systemctl", "stop", OLLAMA)
        answer = json.loads(host.handler("--json").out)["services"][0]
        assert answer["verdict"] == "stood-down" and "the story" in answer["because"] and answer["steps"] == []
    finally:
        host.manager("maintenance", "off")
        host.do("systemctl", "start", OLLAMA)
    host.wait_healthy()


def test_an_unknown_word_is_named(host):
    answer = host.do(MANAGER, "frobnicate", ok=False)
    assert answer.code == 64 and "frobnicate" in answer.err
