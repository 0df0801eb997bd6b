"""Each cause of the contract that can be made in a container, made for real: named at the first pass, foretold by
`explain`, and then either treated or handed to a person with what there is to do.

A Fault is: make it, have `explain` name it, perhaps take away what made it (as time or a person would), one pass of
citadel-recovery.service, and a look at what became of it.
"""

import json
from collections import namedtuple

import pytest

from host import GATEWAY, HANDLER, OLLAMA, RECOVERY, REDIS, install

CONF = "/opt/citadel/etc/citadel.conf"
STATE = "/var/lib/citadel-recovery"
UNIT_FILE = "/usr/local/lib/systemd/system/" + GATEWAY
UVICORN = "/opt/citadel/venv/bin/uvicorn"
LOGS = "/opt/citadel/logs"
ALERT = "b0f1a5865abe4a3f816dad0c3a64c21c"         # MESSAGE_ID of a call for a person
QUICK = "[Service]\nRestartSec=100ms\n"

START_TIMEOUT = 6
# So that a test need not wait two minutes until a gateway counts as hung.
SETTINGS = """\
[service citadel-gateway.service]
start_timeout = {0}
[dependency ollama]
start_timeout = {0}
[dependency redis]
start_timeout = {0}
[recovery]
verify_timeout = 25s
attempts = 50
probe_timeout = 4s
""".format(START_TIMEOUT)

Fault = namedtuple("Fault", "make cause verdict undo repair says")
Fault.__new__.__defaults__ = (None, None, "")
Fault.__doc__ = """`make` it; the `cause` and the `verdict` of the first pass; `undo` runs between explain and the pass;
`repair` runs at the end where the pass itself must not mend it; `says` is a part of the sentence that explains."""


def drop_in(host, unit, text):
    host.write("/run/systemd/system/%s.d/fault.conf" % unit, text)
    host.do("systemctl", "daemon-reload")


def no_drop_in(host, unit):
    host.do("rm", "-rf", "/run/systemd/system/%s.d" % unit)
    host.do("systemctl", "daemon-reload")


def processes(host, unit):
    """PIDs in the unit's cgroup."""
    return host.do("cat", "/sys/fs/cgroup%s/cgroup.procs" % host.show(unit, "ControlGroup")).out.split()


def stop_signal(unit):
    def make(host):
        host.grown_up(unit)
        host.do("kill", "-STOP", *processes(host, unit))
    return make


def crash_loop(host):
    host.do("mv", UVICORN, UVICORN + ".away")
    host.write(UVICORN, "#!/bin/sh\necho 'cannot open the model store' >&2\nsleep 0.2\nexit 3\n", 0o755)
    drop_in(host, GATEWAY, QUICK)
    host.kill(GATEWAY)
    host.wait_state(GATEWAY, "failed")


def mend_uvicorn(host):
    host.do("mv", UVICORN + ".away", UVICORN)
    no_drop_in(host, GATEWAY)


def crash_for_good(host):
    drop_in(host, GATEWAY, "[Service]\nRestart=no\n")
    host.kill(GATEWAY)
    host.wait_state(GATEWAY, "failed")


def freeze(host):
    host.grown_up(GATEWAY)
    if not host.do("systemctl", "freeze", GATEWAY, ok=False).ok:
        pytest.skip("this container cannot freeze a unit")


def start_timeout(host):
    drop_in(host, GATEWAY, "[Service]\nRestart=no\nTimeoutStartSec=1\nExecStartPre=/bin/sleep 60\n")
    host.do("systemctl", "restart", GATEWAY, ok=False)
    host.wait_state(GATEWAY, "failed")


def ill(word):
    def make(host):
        host.grown_up(GATEWAY)
        host.mood("%s %d" % (word, host.pid()))
    return make


def operator_stops(host):
    host.do("systemctl", "stop", GATEWAY)


def operator_disables(host):
    host.do("systemctl", "disable", "--now", GATEWAY)


def operator_masks(host):
    host.do("systemctl", "mask", "--now", GATEWAY)


def stopped_with_ollama(host):
    """Ollama is back, but not in a way that brings the gateway along."""
    host.do("systemctl", "stop", OLLAMA)
    host.do("systemctl", "--job-mode=ignore-dependencies", "start", OLLAMA)


def ollama_down(host):
    host.write("/run/citadel-rehearsal/ollama", "crash\n")
    drop_in(host, OLLAMA, "[Service]\nRestartSec=0\n")
    host.kill(OLLAMA)
    host.wait_state(OLLAMA, "failed")


def ollama_can_run(host):
    host.do("rm", "-f", "/run/citadel-rehearsal/ollama")
    no_drop_in(host, OLLAMA)


def ollama_missing(host):
    host.do("systemctl", "stop", OLLAMA)
    host.do("mv", "/etc/systemd/system/" + OLLAMA, "/root/")
    host.do("systemctl", "daemon-reload")


def ollama_found(host):
    host.do("mv", "/root/" + OLLAMA, "/etc/systemd/system/")
    host.do("systemctl", "daemon-reload")


def operator_stops_ollama(host):
    host.do("systemctl", "stop", OLLAMA)


def redis_down(host):
    drop_in(host, REDIS, "[Service]\nType=simple\nExecStart=\nExecStart=/bin/false\nRestartSec=0\n")
    host.kill(REDIS)
    host.wait_state(REDIS, "failed")


def redis_loading(host):
    """60 MB that redis reads slowly: a key each 150 ms."""
    host.do("redis-cli", "eval", "for i=1,60 do redis.call('set', 'k'..i, string.rep('x', 1000000)) end", "0")
    host.do("redis-cli", "config", "set", "rdbcompression", "no")
    host.do("redis-cli", "save")
    host.do("sh", "-c", "echo 'key-load-delay 150000' >>/etc/redis/redis.conf")
    host.kill(REDIS)
    host.wait(lambda: "LOADING" in host.do("redis-cli", "ping", ok=False).out, "redis to be loading")


def redis_empty(host):
    host.do("sed", "-i", "/key-load-delay/d", "/etc/redis/redis.conf")
    host.do("redis-cli", "config", "set", "key-load-delay", "0")
    host.wait(lambda: "PONG" in host.do("redis-cli", "ping", ok=False).out, "redis to be loaded")
    host.do("redis-cli", "flushall")
    host.do("redis-cli", "save")


def redis_refuses_writes(host):
    """Its dump file is a directory, so saving fails, so it takes no more writes."""
    place = host.do("redis-cli", "config", "get", "dir").out.split()[-1]
    host.do("sh", "-c", "rm -f %s/dump.rdb && mkdir -p %s/dump.rdb/in-the-way" % (place, place))
    host.do("redis-cli", "config", "set", "save", "3600 1")
    host.do("redis-cli", "set", "a", "b")
    host.do("redis-cli", "bgsave")
    host.wait(lambda: "MISCONF" in host.do("redis-cli", "ping", ok=False).out, "redis to refuse writes")


def redis_writes_soon(host):
    place = host.do("redis-cli", "config", "get", "dir").out.split()[-1]
    host.do("systemd-run", "--on-active=3s", "sh", "-c", "rm -rf %s/dump.rdb; redis-cli bgsave" % place)


def port_taken(host):
    """A stranger is quicker than the gateway's restart."""
    drop_in(host, GATEWAY, "[Service]\nRestartSec=2\n")
    host.kill(GATEWAY)
    host.do("systemd-run", "--unit=stranger", "python3", "-m", "http.server", "8002", "--bind", "127.0.0.1")
    host.wait(lambda: host.show(GATEWAY, "NRestarts") not in ("0", ""), "a first restart")
    drop_in(host, GATEWAY, QUICK)
    host.wait_state(GATEWAY, "failed")


def stranger_leaves(host):
    host.do("systemctl", "stop", "stranger.service")
    no_drop_in(host, GATEWAY)


def own_disk(host, options):
    """The application log on a small file system of its own."""
    host.do("systemctl", "stop", GATEWAY)
    host.do("sh", "-c", "mount -t tmpfs -o mode=755,%s logs %s && mkdir %s/api-gateway && touch %s/api-gateway/service.log "
            "&& chown citadel:citadel %s/api-gateway/service.log" % (options, LOGS, LOGS, LOGS, LOGS))
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()


def disk_full(host):
    own_disk(host, "size=8m")
    host.do("sh", "-c", "cd %s/api-gateway; for i in 7 6 5 4 3 2; do dd if=/dev/zero of=service.log.$i bs=1M count=1; "
            "touch -d \"-$i hour\" service.log.$i; done; dd if=/dev/zero of=service.log.1 bs=64k; "
            "chown citadel:citadel *; true" % LOGS)


def disk_inodes(host):
    own_disk(host, "size=8m,nr_inodes=100")
    host.do("sh", "-c", "cd %s/api-gateway; i=1; while touch service.log.$i; do i=$((i+1)); done 2>/dev/null; "
            "chown citadel:citadel *; true" % LOGS)


def disk_readonly(host):
    """Its log file cannot be opened for writing, so no start succeeds."""
    own_disk(host, "size=8m")
    drop_in(host, GATEWAY, "[Service]\nRestartSec=3\n")
    host.kill(GATEWAY)
    host.wait(lambda: host.do("mount", "-o", "remount,ro", LOGS, ok=False).ok, "the disk to be read-only")
    drop_in(host, GATEWAY, QUICK)
    host.wait_state(GATEWAY, "failed")


def own_disk_away(host):
    no_drop_in(host, GATEWAY)
    host.do("systemctl", "stop", GATEWAY)
    host.do("umount", "-l", LOGS)


def settings_invalid(host):
    """Its own settings say another port than its unit, and it ends at once."""
    host.write("/opt/citadel/config/production.yaml",
               host.read("/opt/citadel/config/production.yaml").replace("port: 8002", "port: 9002"))
    host.do("mv", UVICORN, UVICORN + ".away")
    host.write(UVICORN, "#!/bin/sh\necho 'production.yaml: port 9002 is not mine' >&2\nexit 3\n", 0o755)
    drop_in(host, GATEWAY, QUICK)
    host.kill(GATEWAY)
    host.wait_state(GATEWAY, "failed")


def settings_valid(host):
    host.write("/opt/citadel/config/production.yaml",
               host.read("/opt/citadel/config/production.yaml").replace("port: 9002", "port: 8002"))
    mend_uvicorn(host)


def unit_gone(host):
    crash_for_good(host)
    host.do("mv", UNIT_FILE, "/root/")
    no_drop_in(host, GATEWAY)


def unit_installed_again(host):
    answer = install(host.machine, "--schedule", "none")
    assert answer.ok, answer.out + answer.err
    host.do("rm", "-f", "/root/" + GATEWAY)


FAULTS = {
    "it crashed, and systemd may not restart it": Fault(
        crash_for_good, "gateway.crashed", "recovered", undo=lambda host: no_drop_in(host, GATEWAY), says="SIGKILL"),
    "it crashed until systemd gave up, and is mended": Fault(
        crash_loop, "gateway.crash-loop", "recovered", undo=mend_uvicorn, says="exited 3"),
    "it crashes whatever we do": Fault(crash_loop, "gateway.crash-loop", "escalated", repair=mend_uvicorn),
    "all its processes are stopped by SIGSTOP": Fault(stop_signal(GATEWAY), "gateway.hung", "recovered", says="SIGSTOP"),
    "its cgroup is frozen": Fault(freeze, "gateway.hung", "recovered", says="frozen"),
    "it accepts and never answers": Fault(ill("hang"), "gateway.hung", "recovered", says="does not answer"),
    "it answers with 500": Fault(ill("error"), "gateway.http-error", "recovered", says="500"),
    "it did not come up in time": Fault(
        start_timeout, "gateway.start-timeout", "recovered", undo=lambda host: no_drop_in(host, GATEWAY)),
    "a person stopped it": Fault(operator_stops, "gateway.stopped-by-operator", "stood-down", says="by a person"),
    "a person disabled it": Fault(operator_disables, "gateway.stopped-by-operator", "stood-down", says="disabled"),
    "a person masked it": Fault(operator_masks, "gateway.stopped-by-operator", "stood-down", says="masked"),
    "it was stopped with Ollama and left behind": Fault(
        stopped_with_ollama, "gateway.stopped-with-dependency", "recovered", says=OLLAMA),
    "Ollama failed, and is mended": Fault(
        ollama_down, "dependency.ollama.down", "recovered", undo=ollama_can_run, says="CUDA error: out of memory"),
    "Ollama hangs": Fault(stop_signal(OLLAMA), "dependency.ollama.hung", "recovered"),
    "Ollama is missing": Fault(ollama_missing, "dependency.ollama.missing", "escalated", repair=ollama_found),
    "a person stopped Ollama": Fault(
        operator_stops_ollama, "dependency.ollama.stopped-by-operator", "stood-down", says="by a person"),
    "redis failed, and is mended": Fault(
        redis_down, "dependency.redis.down", "recovered", undo=lambda host: no_drop_in(host, REDIS)),
    "redis hangs": Fault(stop_signal(REDIS), "dependency.redis.hung", "recovered"),
    "redis is loading": Fault(redis_loading, "dependency.redis.loading", "healthy", repair=redis_empty),
    "redis refuses writes, and is mended meanwhile": Fault(
        redis_refuses_writes, "dependency.redis.refusing-writes", "recovered", undo=redis_writes_soon),
    "a stranger holds the port": Fault(
        port_taken, "port.taken", "escalated", repair=stranger_leaves, says="stranger.service"),
    "the log's disk is full": Fault(disk_full, "disk.full", "recovered", repair=own_disk_away, says=LOGS),
    "the log's disk has no inodes left": Fault(disk_inodes, "disk.inodes", "recovered", repair=own_disk_away),
    "the log's disk is read-only": Fault(disk_readonly, "disk.readonly", "escalated", repair=own_disk_away),
    "its settings contradict its unit": Fault(
        settings_invalid, "config.invalid", "escalated", repair=settings_valid, says="production.yaml:4"),
    "its unit file is gone": Fault(unit_gone, "unit.changed", "escalated", repair=unit_installed_again),
}


@pytest.fixture(scope="module")
def patient(installed):
    """The machine with settings for impatient tests."""
    shipped = installed.read(CONF)
    installed.write(CONF, SETTINGS)
    yield installed
    installed.write(CONF, shipped)


@pytest.fixture
def well(host, patient):
    """Healthy, with a full budget, no incident open, and no pass but ours: the triggers are off until `go`."""
    host.handler()
    host.manager("reset")
    host.do("systemctl", "mask", "--runtime", RECOVERY)
    host.grown_up = lambda unit: host.wait(lambda: host.age(unit) > START_TIMEOUT + 0.5, unit + " past its start")
    yield host
    host.do("systemctl", "unmask", "--runtime", RECOVERY, ok=False)
    host.do("systemctl", "unmask", GATEWAY, ok=False)
    host.do("systemctl", "enable", GATEWAY, ok=False)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_cause_is_named_foretold_and_met(well, name):
    host, fault = well, FAULTS[name]
    fault.make(host)
    foretold = json.loads(host.manager("explain", "--json").out)["services"][0]
    before = {one["id"] for one in json.loads(host.manager("history", "--json").out)["incidents"]}
    if fault.undo:
        fault.undo(host)
    answer = explained = None
    try:
        assert foretold["cause"] == fault.cause, foretold["because"]
        assert fault.says in foretold["because"]
        host.do("systemctl", "unmask", "--runtime", RECOVERY)
        answer = host.do(HANDLER, "--json", timeout=400, ok=False)
        assert answer.out, answer
        explained = json.loads(answer.out)["services"][0]
        assert (explained["verdict"], explained["cause"]) == (fault.verdict, fault.cause), answer.out
        assert answer.code == (1 if fault.verdict == "escalated" else 0)
        host.note("%s (%s): the pass" % (name, fault.verdict), answer.seconds)
        if fault.verdict == "recovered":
            assert host.is_healthy()
        if fault.verdict in ("recovered", "escalated"):
            incident = next(one for one in json.loads(host.manager("history", "--json").out)["incidents"]
                            if one["id"] not in before)
            assert incident["causes"][0]["cause"] == fault.cause
            assert bool(incident["end"]) == (fault.verdict == "recovered")
        if fault.verdict == "escalated":
            alert = [entry for entry in host.entries(since=host.start) if entry.get("MESSAGE_ID") == ALERT][0]
            assert (alert["PRIORITY"], alert["CITADEL_CAUSE"]) == ("2", fault.cause)
            assert "To do: " in alert["MESSAGE"]
        if fault.verdict == "stood-down":
            assert explained["steps"] == [] and host.show(GATEWAY, "ActiveState") == "inactive"
    finally:
        if fault.repair:
            fault.repair(host)
