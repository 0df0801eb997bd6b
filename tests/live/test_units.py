"""The shipped units on a real systemd: they come back from every fault, and stay away when an operator says so."""

import pytest
from host import GATEWAY, OLLAMA, RECOVERY, REDIS, install

PATTERN = "uvicorn.*citadel_llm.api.gateway"
LOG = "/opt/citadel/logs/api-gateway/service.log"
RESTART_SEC = 5.0


def test_it_is_enabled_and_active(host):
    assert host.do("systemctl", "is-enabled", GATEWAY).out.strip() == "enabled"
    assert host.do("systemctl", "is-active", GATEWAY).out.strip() == "active"


@pytest.mark.parametrize("name, value", [
    ("Restart", "always"), ("RestartUSec", "5s"), ("StartLimitIntervalUSec", "30min"), ("StartLimitBurst", "10"),
    ("TimeoutStartUSec", "2min"), ("TimeoutStopUSec", "1min"), ("BindsTo", "ollama.service"),
    ("OnFailure", RECOVERY), ("MemoryMax", str(8 << 30)), ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"), ("User", "citadel"), ("LoadState", "loaded"), ("NeedDaemonReload", "no"),
    ("FragmentPath", "/usr/local/lib/systemd/system/" + GATEWAY)])
def test_systemd_reads_the_unit_as_it_was_meant(host, name, value):
    assert host.show(GATEWAY, name) == value


@pytest.mark.parametrize("name, part", [
    ("After", "network-online.target"), ("Wants", "network-online.target"), ("Requires", OLLAMA), ("Requires", REDIS),
    ("After", OLLAMA), ("After", REDIS), ("WantedBy", OLLAMA), ("WantedBy", "multi-user.target")])
def test_it_leans_on_what_it_should(host, name, part):
    assert part in host.show(GATEWAY, name).split()


def test_a_cpu_quota_bounds_it(host):
    assert host.show(GATEWAY, "CPUQuotaPerSecUSec") not in ("", "infinity")


def test_eight_workers_answer_on_port_8002(host):
    assert host.status() == 200
    assert "--port 8002 --workers 8" in host.show(GATEWAY, "ExecStart")
    host.wait(lambda: len(workers(host)) == 8, "eight workers")


def test_killed_it_is_back_after_restart_sec(host):
    old = host.kill(GATEWAY)
    seconds = host.wait_healthy(not_pid=old)
    gap = host.restart_gap()
    host.note("killed: from its end to the new main process", gap)
    host.note("killed: to the next 200", seconds)
    assert gap >= RESTART_SEC
    answer = host.do("systemctl", "show", GATEWAY, "--property=NRestarts,RestartUSec")
    assert sorted(answer.out.split()) == ["NRestarts=1", "RestartUSec=5s"]


def test_pkill_of_everything_called_uvicorn_and_back(host):
    old = host.pid()
    host.do("pkill", "-f", PATTERN)
    host.note("pkill: to the next 200", host.wait_healthy(not_pid=old))
    assert host.restart_gap() >= RESTART_SEC
    assert host.show(GATEWAY, "NRestarts") == "1"


def test_the_gateway_writes_its_own_log(host):
    assert "environment production" in host.read(LOG)
    before = host.do("stat", "-c", "%U %s", LOG).out.split()
    host.wait_healthy(not_pid=host.kill(GATEWAY))
    after = host.do("stat", "-c", "%U %s", LOG).out.split()
    assert before[0] == after[0] == "citadel"
    assert int(after[1]) > int(before[1])


def test_one_worker_killed_is_replaced_without_a_restart(host):
    main = host.pid()
    host.wait(lambda: len(workers(host)) == 8, "eight workers")
    victim = workers(host)[3]
    host.do("kill", "-KILL", victim)
    host.note("a worker killed: to eight again", host.wait(
        lambda: len(workers(host)) == 8 and victim not in workers(host), "a new worker"))
    assert host.pid() == main and host.is_healthy()


def kill_ollama(host):
    host.kill(OLLAMA)


def stop_and_start_ollama(host):
    host.do("systemctl", "stop", OLLAMA)
    host.wait_state(GATEWAY, "inactive", "failed")
    host.do("systemctl", "start", OLLAMA)


def stop_and_start_redis(host):
    host.do("systemctl", "stop", REDIS)
    host.wait_state(GATEWAY, "inactive", "failed")
    host.do("systemctl", "start", REDIS)


def restart_ollama(host):
    host.do("systemctl", "restart", OLLAMA)


def break_ollama_and_repair_it(host):
    """It fails until systemd gives it up, the gateway goes with it, and an operator repairs it."""
    host.write("/run/citadel-rehearsal/ollama", "crash\n")
    host.write("/run/systemd/system/ollama.service.d/fast.conf", "[Service]\nRestartSec=0\n")
    host.do("systemctl", "daemon-reload")
    host.kill(OLLAMA)
    host.wait_state(OLLAMA, "failed")
    host.do("rm", "-r", "/run/citadel-rehearsal/ollama", "/run/systemd/system/ollama.service.d")
    host.do("systemctl", "daemon-reload")
    host.do("systemctl", "reset-failed", OLLAMA)
    host.do("systemctl", "start", OLLAMA)


@pytest.mark.parametrize("fault", [
    pytest.param(kill_ollama, id="Ollama is killed"),
    pytest.param(stop_and_start_ollama, id="Ollama is stopped, then started"),
    pytest.param(restart_ollama, id="Ollama is restarted"),
    pytest.param(break_ollama_and_repair_it, id="Ollama fails for good, and is repaired"),
    pytest.param(stop_and_start_redis, id="redis is stopped, then started")])
def test_it_comes_back_when_a_dependency_does(host, fault, request):
    old = host.pid()
    fault(host)
    host.note(request.node.callspec.id + ": to the next 200", host.wait_healthy(not_pid=old))
    assert host.show(OLLAMA, "ActiveState") == host.show(REDIS, "ActiveState") == "active"


@pytest.mark.parametrize("breakage", [
    pytest.param("echo 'raise SystemExit(' >>/opt/citadel/lib/citadel/commands/handler.py",
                 id="a file that is no Python"),
    pytest.param("mv /opt/citadel/lib/citadel/plan/decisions.py /root/", id="a file that is missing"),
    pytest.param("mv /opt/citadel/bin/citadel-recovery-handler /root/", id="no program at all"),
    pytest.param("chmod o+w /opt/citadel/lib/citadel", id="a tree that root must not trust")])
def test_a_defect_of_ours_does_not_keep_it_down(host, breakage):
    """Half an upgrade, say."""
    host.do("cp", "-a", "/opt/citadel/bin", "/opt/citadel/lib", "/root/")
    try:
        host.do("sh", "-c", breakage)
        host.wait_healthy(not_pid=host.kill(GATEWAY))
    finally:
        host.do("sh", "-c", "cd /opt/citadel && rm -rf bin lib && mv /root/bin /root/lib . && "
                "rm -f /root/*.py /root/citadel-*")


def test_it_outlives_a_crash_of_redis(host):
    """redis-server restarts itself in 100 ms; Requires= takes the gateway along only when redis is stopped."""
    old = host.kill(REDIS)
    host.wait(lambda: host.pid(REDIS) not in (0, old) and host.show(REDIS, "ActiveState") == "active", "redis")
    host.wait_healthy()


@pytest.mark.parametrize("words", [
    pytest.param(["stop"], id="stopped"), pytest.param(["disable", "--now"], id="disabled")])
def test_what_an_operator_stopped_stays_down_when_ollama_crashes(host, words):
    host.do("systemctl", *(words + [GATEWAY]))
    assert host.show(GATEWAY, "ActiveState") == "inactive"
    old = host.kill(OLLAMA)
    host.wait(lambda: host.pid(OLLAMA) not in (0, old), "Ollama to be back")
    host.wait(lambda: GATEWAY not in host.do("systemctl", "list-jobs", "--plain").out, "its jobs to end")
    assert host.show(GATEWAY, "ActiveState") == "inactive"
    if words[0] == "disable":
        host.do("systemctl", "enable", GATEWAY)
    # A start within two seconds of Ollama's own restart is taken for its consequence.
    host.wait(lambda: host.age(OLLAMA) > 2.5, "Ollama to be older than a moment")
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()


def test_a_crash_loop_calls_for_recovery_once(host):
    """Ten starts, then systemd gives up: one run of OnFailure=, also where it would come at every restart (257)."""
    host.write("/run/systemd/system/%s.d/loop.conf" % GATEWAY,
               "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=100ms\n")
    host.write("/run/systemd/system/%s.d/count.conf" % RECOVERY,
               "[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo run >>/var/lib/citadel-recovery/test-runs'\n")
    host.do("systemctl", "daemon-reload")
    host.do("systemctl", "restart", GATEWAY, ok=False)
    try:
        host.note("a crash loop: to systemd giving up", host.wait_state(GATEWAY, "failed"))
        assert host.show(GATEWAY, "NRestarts") in ("9", "10")
        host.wait_state(RECOVERY, "inactive")
        assert host.read("/var/lib/citadel-recovery/test-runs") == "run\n"
    finally:
        host.do("rm", "-rf", "/run/systemd/system/%s.d" % GATEWAY, "/run/systemd/system/%s.d" % RECOVERY,
                "/var/lib/citadel-recovery/test-runs")
        host.do("systemctl", "daemon-reload")


def test_mask_and_unmask(host):
    host.do("systemctl", "mask", "--now", GATEWAY)
    assert host.show(GATEWAY, "LoadState") == "masked"
    assert not host.do("systemctl", "start", GATEWAY, ok=False).ok
    host.do("systemctl", "unmask", GATEWAY)
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()


EDITOR = """\
#!/bin/sh
for file; do :; done
printf '[Service]\\nRestartSec=7\\n' >"$file"
"""

EDIT = """\
import os, pty, sys
os.environ["SYSTEMD_EDITOR"] = "/root/editor"
sys.exit(os.WEXITSTATUS(pty.spawn(["systemctl", "edit", sys.argv[1]])))
"""


def test_edit_lays_a_drop_in_over_it(host):
    """`systemctl edit` insists on a terminal and an editor (whose last word is the file); it gets both."""
    host.write("/root/editor", EDITOR, 0o755)
    host.do("python3", "-IS", "-c", EDIT, GATEWAY)
    assert host.show(GATEWAY, "RestartUSec") == "7s"
    host.do("systemctl", "revert", GATEWAY)
    assert host.show(GATEWAY, "RestartUSec") == "5s"


@pytest.mark.parametrize("drop_in, arrives", [
    pytest.param("", False, id="as shipped"),
    pytest.param("UnsetEnvironment=\n", True, id="without our list, which shows that it is the list")])
def test_what_an_environment_file_says_to_the_loader_reaches_no_command_of_root(host, drop_in, arrives):
    """The commands with + get the gateway's environment, and an EnvironmentFile= may be the gateway's own to write."""
    names = set(host.show(GATEWAY, "UnsetEnvironment").split())
    assert {"LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"} <= names
    host.write("/run/gateway.env", "HARMLESS=1\n" + "".join("%s=/run/nowhere\n" % name for name in sorted(names)))
    host.write("/run/systemd/system/%s.d/environment.conf" % GATEWAY, "[Service]\n" + drop_in +
               "EnvironmentFile=/run/gateway.env\nExecStartPre=+/bin/sh -c 'env >/run/before'\n"
               "ExecStopPost=+-/bin/sh -c 'env >/run/after'\n")
    try:
        host.do("systemctl", "daemon-reload")
        host.do("systemctl", "restart", GATEWAY)
        host.wait_healthy()
        for place in ("/run/before", "/run/after", "/proc/%d/environ" % host.pid()):
            seen = {line.partition("=")[0] for line in host.do("cat", place).out.replace("\0", "\n").splitlines()}
            assert "HARMLESS" in seen and bool(names & seen) is arrives, place
    finally:
        host.do("rm", "-rf", "/run/gateway.env", "/run/before", "/run/after", "/run/systemd/system/%s.d" % GATEWAY)
        host.do("systemctl", "daemon-reload")
        host.do("systemctl", "restart", GATEWAY)
    host.wait_healthy()


def test_verify_has_nothing_to_say_but_for_restart_mode(host):
    answer = host.do("systemd-analyze", "verify", "/usr/local/lib/systemd/system/" + GATEWAY,
                     "/usr/local/lib/systemd/system/" + RECOVERY, ok=False)
    lines = [line for line in (answer.out + answer.err).splitlines() if line.strip()]
    ours = [line for line in lines if "citadel" in line]
    if host.machine.systemd_version() < 254:
        ours = [line for line in ours if "RestartMode" not in line]
    assert ours == []


@pytest.mark.parametrize("unit, most", [(GATEWAY, 1.1), (RECOVERY, 2.2)])
def test_its_exposure(host, unit, most):
    answer = host.do("systemd-analyze", "security", "--no-pager", unit, ok=False)
    exposure = float(answer.out.strip().splitlines()[-1].split(": ")[1].split()[0])
    assert exposure <= most


@pytest.mark.last
def test_uninstalled_nothing_is_left(host):
    host.do("rm", "-f", "/root/editor")
    answer = install(host.machine, "--uninstall", "--purge")
    assert answer.ok, answer.out + answer.err
    now, before = gateways_own_left_out(host.files()), gateways_own_left_out(host.files_before)
    assert now == before, "left: %s; missing: %s" % (sorted(now - before), sorted(before - now))
    assert host.do("systemctl", "list-unit-files", "citadel-*.service", "--no-legend", ok=False).out == ""
    assert host.do("systemctl", "is-active", OLLAMA, REDIS).out.split() == ["active", "active"]


def gateways_own_left_out(listing):
    """Without /opt/citadel/config: it was there before, and is the account's to read from the installation on."""
    return {entry for entry in listing if entry[0] != "/opt/citadel/config"}


def workers(host):
    """PIDs of the gateway's worker processes: the main one's children that serve (one more keeps semaphores)."""
    children = host.do("pgrep", "-f", "-P", str(host.pid()), "spawn_main", ok=False)
    return children.out.split()
