"""citadel-restart-manager on a real systemd: every action, as an operator would type it."""

import json
import os
import re

import pytest
from host import GATEWAY, MANAGER, OLLAMA, RECOVERY

DROP_IN = "/run/systemd/system/%s.d/test.conf" % GATEWAY
SAID = "/var/lib/citadel-recovery/check-said"


@pytest.fixture
def fresh(host):
    """The machine with our own record and systemd's start counter cleared."""
    host.manager("reset")
    host.manager("maintenance", "off")
    return host


@pytest.fixture
def drop_in(fresh):
    """A function that lays a drop-in over the gateway's unit; it is taken away again."""
    def lay(text):
        fresh.write(DROP_IN, text)
        fresh.do("systemctl", "daemon-reload")
    yield lay
    fresh.do("rm", "-f", DROP_IN)
    fresh.do("systemctl", "daemon-reload")


def document(host, *words, code=0, timeout=120):
    answer = host.manager(*words, "--json", ok=False, timeout=timeout)
    assert answer.code == code, answer.out + answer.err
    return json.loads(answer.out)


def test_test_restart_gives_another_pid_after_restart_sec(fresh):
    before = fresh.pid()
    answer = fresh.manager("test-restart")
    assert fresh.pid() not in (0, before)
    downtime = float(re.search(r"down for ([0-9.]+) s", answer.out).group(1))
    assert 5.0 <= downtime < 30, answer.out
    fresh.note("test-restart: downtime", downtime)
    assert re.search(r"^ok .* NRestarts grew from 0 to 1$", answer.out, re.M)
    assert fresh.show(GATEWAY, "NRestarts") == "1"


def test_test_restart_in_json(fresh):
    before = fresh.pid()
    result = document(fresh, "test-restart")
    assert result["ok"] and result["old_pid"] == before and result["new_pid"] == fresh.pid()
    assert [step["ok"] for step in result["steps"]] == [True] * 5


def test_test_restart_refuses_in_maintenance_and_obeys_force(fresh):
    fresh.manager("maintenance", "on", "--for", "5min", "--reason", "a test")
    before = fresh.pid()
    answer = fresh.manager("test-restart", ok=False)
    assert (answer.code, answer.out) == (1, "") and "a test" in answer.err and fresh.pid() == before
    assert fresh.manager("test-restart", "--force").ok and fresh.pid() != before
    assert fresh.manager("maintenance", "off").out == "maintenance is off\n"


def test_test_restart_refuses_when_it_would_use_up_the_start_limit(fresh, drop_in):
    drop_in("[Unit]\nStartLimitBurst=2\n")
    fresh.manager("test-restart")               # one start since the reset
    before = fresh.pid()
    answer = fresh.manager("test-restart", ok=False)
    assert answer.code == 1 and "had 1 start in" in answer.err and "would reach 2, where systemd gives up" in answer.err
    assert fresh.pid() == before
    fresh.manager("reset")
    assert fresh.manager("test-restart").ok, "after a reset the counter begins anew"


def test_test_restart_refuses_when_the_service_is_down(fresh):
    fresh.do("systemctl", "stop", GATEWAY)
    answer = fresh.manager("test-restart", "--force", ok=False)
    assert answer.code == 1 and "is down" in answer.err


def test_config_as_installed_differs_in_nothing(fresh):
    answer = fresh.manager("config")
    assert "none differs" in answer.out
    for setting, value in (("Restart", "always"), ("RestartSec", "5 s"), ("StartLimitBurst", "10"),
                           ("MemoryMax", "8 GiB"), ("StartLimitIntervalSec", "30 min"), ("CPUQuota", "400%")):
        assert re.search(r"^  %s +%s$" % (setting, re.escape(value)), answer.out, re.M), answer.out


def test_config_names_the_file_and_line_of_each_difference(fresh, drop_in):
    drop_in("[Service]\nRestartSec=7\n\nMemoryMax=1G\nNoNewPrivileges=no\n")
    found = document(fresh, "config", code=1)
    differ = [one for one in found["settings"] if not one["same"]]
    assert {one["name"]: (one["value"], one["shipped"], one["origin"]) for one in differ} == {
        "RestartSec": ("7 s", "5 s", DROP_IN + ":2"), "MemoryMax": ("1 GiB", "8 GiB", DROP_IN + ":4"),
        "NoNewPrivileges": ("no", "yes", DROP_IN + ":5")}


def test_config_sees_what_was_set_at_run_time(fresh):
    fresh.do("systemctl", "set-property", "--runtime", GATEWAY, "MemoryMax=2G")
    try:
        answer = fresh.manager("config", ok=False)
        assert answer.code == 1 and re.search(r"shipped 8 GiB; set in /run/systemd/system.control/.*:\d+", answer.out)
    finally:
        fresh.do("rm", "-rf", "/run/systemd/system.control/%s.d" % GATEWAY)
        fresh.do("systemctl", "daemon-reload")


def test_status_shows_all_that_is_promised(fresh):
    out = fresh.manager("status").out
    for wanted in ("enabled: enabled", "active: active (running)", "PID %d" % fresh.pid(), "port: 8002", "workers: 8",
                   "environment: production", "restart: always", "after 5 s", "at most 10 starts in 30 min",
                   "on failure: starts " + RECOVERY, "ollama: %s active (running), answers" % OLLAMA,
                   "open incident: none",
                   "last recovery:", "maintenance: off", "├─ ", "└─ "):
        assert wanted in out, out
    assert "\x1b" not in out
    assert document(fresh, "status")["well"] is True


def test_status_of_a_service_that_is_down_says_why_and_exits_1(fresh):
    fresh.do("systemctl", "stop", GATEWAY)
    answer = fresh.manager("status", ok=False)
    assert answer.code == 1 and "gateway.stopped-by-operator" in answer.out


def watch(host, seconds, meanwhile):
    """The document of `monitor SECONDS`, while a shell command runs beside it."""
    script = "%s monitor %d --json > /tmp/monitor.json & sleep 1; %s; wait $!; echo code $?" % (
        MANAGER, seconds, meanwhile)
    answer = host.do("sh", "-c", script, timeout=seconds + 60)
    host.monitor_code = int(answer.out.rpartition("code ")[2])
    return json.loads(host.read("/tmp/monitor.json"))


def test_monitor_of_a_quiet_service(fresh):
    seen = watch(fresh, 3, "true")
    assert seen["summary"]["availability"] == 100.0 and seen["summary"]["restarts"] == 0 and len(seen["events"]) == 1
    assert fresh.monitor_code == 0


def test_monitor_measures_a_restart(fresh):
    seen = watch(fresh, 30, "kill -KILL %d" % fresh.pid())
    summary = seen["summary"]
    assert (summary["restarts"], summary["outages"], summary["up"]) == (1, 1, True), seen["events"]
    assert 5.0 <= summary["downtime"] < summary["watched"] - 1 and summary["longest"] == summary["downtime"]
    fresh.note("monitor: downtime of a killed gateway", summary["downtime"])
    assert any("code=killed" in event["text"] for event in seen["events"])


def test_monitor_misses_no_restart_between_two_looks(fresh):
    """A service that lives for 20 ms and is restarted after 100 ms, several times between two looks."""
    unit = "test-quick.service"
    fresh.write("/etc/citadel-test.conf", "[service %s]\n" % unit)
    fresh.write("/run/systemd/system/" + unit, "[Service]\nExecStart=/bin/sleep 0.02\nRestart=always\nRestartSec=20ms\n"
                "[Unit]\nStartLimitBurst=1000\nStartLimitIntervalSec=1000\n")
    fresh.do("systemctl", "daemon-reload")
    words = ("--config", "/etc/citadel-test.conf", "monitor", "5", "--json")
    fresh.do("systemctl", "start", unit)
    try:
        before = int(fresh.show(unit, "NRestarts"))
        answer = fresh.do(MANAGER, *words, ok=False)
        after = int(fresh.show(unit, "NRestarts"))
    finally:
        fresh.do("systemctl", "stop", unit)
        fresh.do("rm", "/run/systemd/system/" + unit, "/etc/citadel-test.conf")
        fresh.do("systemctl", "daemon-reload")
    summary = json.loads(answer.out)["summary"]
    happened = after - before                   # in slightly more than the five seconds
    assert 0.75 * happened - 3 <= summary["restarts"] <= happened, (summary, happened)
    assert summary["outages"] >= 0.9 * summary["restarts"] - 2, "each has its own outage: %r" % summary
    assert 10 < summary["availability"] < 90


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_monitor_ends_early_with_its_summary(fresh, signal):
    answer = fresh.do("timeout", "--signal=" + signal, "2", MANAGER, "monitor", "60", ok=False)
    assert answer.code == 124 and answer.err == ""
    assert re.search(r"100\.000 % available in [12](\.\d)? s: 0 restarts, no outage\n$", answer.out)


def test_logs(fresh):
    assert len(fresh.manager("logs", "3").out.splitlines()) == 3
    assert "systemd[1]" in fresh.manager("logs", "200").out
    assert document(fresh, "logs", "2")["lines"][-1]["text"]
    fresh.status()
    assert "GET /health" in fresh.manager("logs", "--app", "20").out


def test_logs_of_an_application_that_writes_escape_sequences_and_links(fresh):
    log = "/opt/citadel/logs/api-gateway/service.log"
    fresh.do("sh", "-c", "printf 'a\\033[2Jb\\n' >> " + log)
    assert "a\\x1b[2Jb" in fresh.manager("logs", "--app", "50").out
    fresh.do("mv", log, log + ".real")
    fresh.do("ln", "-s", "/etc/shadow", log)
    try:
        answer = fresh.manager("logs", "--app", ok=False)
        assert answer.code == 77 and "symbolic link" in answer.err and "root:" not in answer.out
    finally:
        fresh.do("mv", log + ".real", log)


def test_logs_follow(fresh):
    script = ("timeout --signal=INT 6 %s logs 1 -f --app > /tmp/followed & sleep 1; echo one more line "
              ">> /opt/citadel/logs/api-gateway/service.log; wait $!" % MANAGER)
    fresh.do("sh", "-c", script, ok=False)
    assert "one more line" in fresh.read("/tmp/followed")


@pytest.mark.parametrize("words, code", [(("--incident", "nonsense"), 64), (("--incident", "20200101T000000-1"), 1)])
def test_logs_of_an_incident_that_there_is_not(fresh, words, code):
    assert fresh.manager("logs", *words, ok=False).code == code


def test_reset_says_what_it_cleared(fresh):
    old = fresh.kill(GATEWAY)
    fresh.wait_healthy(not_pid=old)
    answer = fresh.manager("reset")
    assert "NRestarts, which was 1" in answer.out
    assert fresh.show(GATEWAY, "NRestarts") == "0"


def test_check_of_a_healthy_service(fresh):
    answer = fresh.manager("check")
    assert re.match(r"OK: citadel-gateway\.service .* \| response=0\.\d{3}s;3;5;0 ollama_response=0\.\d{3}s;;5;0 "
                    r"redis_response=0\.\d{3}s;;5;0\n$", answer.out), answer.out
    assert fresh.manager("check", "--quiet").out == ""
    fresh.note("check: healthy", answer.seconds)


def test_check_by_a_user_who_is_not_root(fresh):
    words = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", MANAGER)
    assert fresh.do(*(words + ("check",))).out.startswith("OK: ")
    assert "without root, `status` cannot see" in fresh.do(*(words + ("status",))).out
    for action in ("test-restart", "reset"):
        answer = fresh.do(*(words + (action,)), ok=False)
        assert answer.code == 77 and answer.err.count("\n") == 1


def test_check_of_a_hung_service_ends_in_time_and_tells_cron_once(fresh):
    group = "/sys/fs/cgroup" + fresh.show(GATEWAY, "ControlGroup")
    pids = fresh.do("cat", group + "/cgroup.procs").out.split()
    fresh.do("kill", "-STOP", *pids)
    try:
        answer = fresh.manager("check", "--quiet", ok=False)
        assert answer.code == 2 and answer.seconds < 10
        assert answer.out.startswith("CRITICAL: ") and "gateway.hung" in answer.out and answer.out.count("\n") == 1
        fresh.note("check: hung service", answer.seconds)
        again = fresh.manager("check", "--quiet", ok=False)
        assert (again.code, again.out, again.err) == (2, "", "")
    finally:
        fresh.do("kill", "-CONT", *pids)
    fresh.wait_healthy()
    assert fresh.manager("check", "--quiet").out == ""
    assert not os.path.exists(fresh.machine.path(SAID))


def test_check_while_systemd_restarts_the_service(fresh):
    fresh.kill(GATEWAY)
    fresh.wait(lambda: fresh.show(GATEWAY, "SubState").startswith("auto-restart"), "the pause before a restart")
    answer = fresh.manager("check", ok=False)
    assert answer.code == 1 and "systemd is restarting it" in answer.out


def test_check_of_a_service_that_an_operator_stopped(fresh):
    fresh.do("systemctl", "stop", GATEWAY)
    answer = fresh.manager("check", ok=False)
    assert answer.code == 1 and "gateway.stopped-by-operator" in answer.out


def test_check_of_wrong_settings_is_unknown(fresh):
    fresh.write("/run/citadel-test.conf", "nonsense\n")
    answer = fresh.do(MANAGER, "--config", "/run/citadel-test.conf", "check", ok=False)
    assert answer.code == 3 and answer.out.startswith("UNKNOWN: /run/citadel-test.conf:1: ")
    answer = fresh.do(MANAGER, "--config", "/run/citadel-test.conf", "status", ok=False)
    assert answer.code == 78 and answer.err.startswith("citadel-restart-manager: /run/citadel-test.conf:1: ")
    fresh.do("rm", "/run/citadel-test.conf")


def test_explain_of_a_healthy_service(fresh):
    answer = fresh.manager("explain")
    assert "no cause to act" in answer.out and "verdict  healthy" in answer.out
    assert document(fresh, "explain")["services"][0]["steps"] == []


def test_explain_changes_nothing(fresh):
    fresh.do("systemctl", "stop", GATEWAY)
    assert "stood-down" in fresh.manager("explain").out
    assert fresh.show(GATEWAY, "ActiveState") == "inactive"


def test_maintenance_ends_by_itself(fresh):
    fresh.manager("maintenance", "on", "--for", "2s", "--reason", "short")
    assert "short" in fresh.manager("maintenance", "status").out
    assert document(fresh, "maintenance", "status")["reason"] == "short"
    fresh.wait(lambda: fresh.manager("maintenance", "status").out == "maintenance is off\n", "maintenance to end", 10)


def test_history(fresh):
    assert isinstance(document(fresh, "history")["incidents"], list)
    assert fresh.manager("history", "1").ok


def test_an_incident_is_foretold_and_then_found_in_history_status_and_logs(fresh):
    pids = fresh.do("cat", "/sys/fs/cgroup%s/cgroup.procs" % fresh.show(GATEWAY, "ControlGroup")).out.split()
    fresh.do("kill", "-STOP", *pids)
    foretold = document(fresh, "explain")["services"][0]
    assert foretold["cause"] == "gateway.hung" and "restart" in [step["do"] for step in foretold["steps"]]
    fresh.handler("--trigger", "check", ok=True)
    incident = document(fresh, "history", "1")["incidents"][0]
    assert incident["causes"][0]["cause"] == "gateway.hung" and incident["outcome"] == "recovered"
    done = [step["do"] for step in incident["steps"]]
    assert [step["do"] for step in foretold["steps"]] == done[:len(foretold["steps"])]
    assert "last recovery: " + incident["id"] in fresh.manager("status").out
    lines = fresh.manager("logs", "--incident", incident["id"]).out
    assert "code=killed" in lines and "Started " in lines
    assert "gateway.hung" in fresh.manager("history").out


def test_a_wrong_word_is_named(fresh):
    answer = fresh.manager("stauts", ok=False)
    assert (answer.code, answer.out) == (64, "") and "'stauts'" in answer.err and answer.err.count("\n") == 1


def test_nobody_hears_when_the_reader_has_gone(fresh):
    answer = fresh.do("sh", "-c", MANAGER + " status | true; echo done")
    assert (answer.out, answer.err) == ("done\n", "")
