"""Facts in, findings out. The host is seen at 10,000 s of its monotonic clock; a healthy service has run for 5,000."""

import pytest

from citadel.diagnose.causes import diagnose
from citadel.diagnose.healer import unguarded
from citadel.model import (
    ACTIVE,
    CAUSES,
    DOWN,
    FROZEN,
    PASSING,
    RESTARTING,
    RUNNING,
    SERVING,
    STARTING,
    STOPPING,
    UNKNOWN,
    UNRESPONSIVE,
    Dependency,
    Disk,
    Facts,
    Holder,
    Host,
    Installed,
    Job,
    Line,
    Memory,
    PidFile,
    Probe,
    Problem,
    Service,
    Stop,
    Unit,
    about,
)
from citadel.settings.file import parse

NOW = 10000.0
GATEWAY, OLLAMA, REDIS = "citadel-gateway.service", "ollama.service", "redis-server.service"
HEALTH, OLLAMA_AT, REDIS_AT = "http://127.0.0.1:8002/health", "http://127.0.0.1:11434/", "redis://127.0.0.1:6379"
GIB = 1 << 30
SETTINGS = parse("", "citadel.conf")
YAML = "/opt/citadel/config/production.yaml"


def unit(name=GATEWAY, **changes):
    usual = dict(name=name, control_group="/system.slice/" + name, main_pid=100, invocation="run1", restart="always",
                 start_burst=10, start_interval=1800.0, inactive_exit=NOW - 5000, active_enter=NOW - 5000,
                 fragment="/usr/local/lib/systemd/system/" + name)
    return Unit(**dict(usual, **changes))


def gone(name=GATEWAY, ago=41, active="failed", **changes):
    """A unit that was up and isn't any more."""
    return unit(name, **dict(dict(active=active, sub="failed" if active == "failed" else "dead", main_pid=0,
                                  result="exit-code" if active == "failed" else "success", active_exit=NOW - ago,
                                  inactive_enter=NOW - ago), **changes))


def probe(outcome="ok", target=HEALTH, **more):
    return Probe(target=target, outcome=outcome, seconds=more.pop("seconds", 0.01), **more)


def ollama(state=None, answer="ok", **more):
    return Dependency("ollama", state or unit(OLLAMA), probe(answer, OLLAMA_AT, **more.pop("answered", {})),
                      wanted=(OLLAMA,), **more)


def redis(state=None, answer="ok", **more):
    return Dependency("redis", state or unit(REDIS), probe(answer, REDIS_AT, **more.pop("answered", {})),
                      wanted=(REDIS, "redis.service"), **more)


def service(state=None, answer="ok", dependencies=None, **more):
    return Service(unit=state or unit(), probe=probe(answer, **more.pop("answered", {})), port=8002, slow_after=3,
                   dependencies=(ollama(), redis()) if dependencies is None else dependencies, **more)


def host(**changes):
    return Host(**dict(dict(name="h", boot_id="b", monotonic=NOW, disks=(disk(),), memory=Memory(
        total=32 * GIB, available=16 * GIB, pressure=0.0)), **changes))


def edited(path):
    return host(installed=Installed(changed=(Problem(path, 3, "", "is not as it was installed"),)))


def disk(free=50 * GIB, total=100 * GIB, inodes=1000000, inodes_free=900000, path="/", **more):
    return Disk(path=path, mount=more.pop("mount", path), total=total, free=free, inodes=inodes,
                inodes_free=inodes_free, **more)


def examine(one, on=None, settings=SETTINGS):
    return diagnose(Facts(on or host(), (one,)), settings)[0]


CRASHED = gone(exec_code="exited", exec_status=1)
OTHER = Holder(port=8002, pid=4711, uid=1000, user="eve", command="nc -l 8002", control_group="/user.slice/x")
EXITED_EARLY = gone(exec_code="exited", exec_status=1, active_enter=NOW - 44, inactive_exit=NOW - 44)
YAML_PROBLEM = Problem(YAML, 7, "port", "is 8003, but the unit listens on 8002")
SHUT_REDIS = gone(REDIS, active="inactive")

# One row at least for every cause of the contract: (service, host, cause, target, condition, words of the sentence)
FOUND = [
    pytest.param(service(), host(unanswered="systemctl did not answer within 10 s"), "systemd.unresponsive", "systemd",
                 UNKNOWN, "did not answer within 10 s; the service still answers",
                 id="systemd that cannot be asked goes before all else"),
    pytest.param(service(gone(active="inactive"), "refused", stop=Stop("operator", "", "run1", 60)), None,
                 "gateway.stopped-by-operator", GATEWAY, DOWN, "was stopped by an operator 1 min ago",
                 id="our note of the stop names the operator"),
    pytest.param(service(gone(active="inactive", load="masked"), "refused"), None, "gateway.stopped-by-operator",
                 GATEWAY, DOWN, "is masked", id="masked is an operator's decision"),
    pytest.param(service(gone(unit_file="disabled"), "refused"), None, "gateway.stopped-by-operator", GATEWAY, DOWN,
                 "is disabled", id="disabled is an operator's decision, even for a unit that failed"),
    pytest.param(service(gone(active="inactive"), "refused"), host(state="stopping"), "gateway.stopped-by-operator",
                 GATEWAY, DOWN, "the system is shutting down", id="nothing is broken while the system shuts down"),
    pytest.param(service(gone(active="inactive"), "refused", last_job=Job("stop", "done", 41)), None,
                 "gateway.stopped-by-operator", GATEWAY, DOWN, "its newest job was a stop",
                 id="without a note, the newest job being a stop names the operator"),
    pytest.param(service(gone(active="inactive"), "refused"), None, "gateway.stopped-by-operator", GATEWAY, DOWN,
                 "(Restart=always)", id="without note and journal, success under Restart=always can only be a stop"),
    pytest.param(service(gone(result="timeout", exec_code="killed", exec_status=9), "refused",
                         stop=Stop("operator", "", "run1", 41)), None, "gateway.stopped-by-operator", GATEWAY, DOWN,
                 "stopped by an operator",
                 id="a service that ignored the operator's stop ends failed, and was stopped all the same"),
    pytest.param(service(gone(active="inactive"), "refused", stop=Stop("crash", "", "run1", 300),
                         last_job=Job("stop", "done", 41)), None, "gateway.stopped-by-operator", GATEWAY, DOWN,
                 "its newest job was a stop", id="a stop during auto-restart, which ExecStopPost does not see"),
    pytest.param(service(gone(active="inactive"), "refused", stop=Stop("dependency", OLLAMA, "run1", 41)), None,
                 "gateway.stopped-with-dependency", GATEWAY, DOWN, "together with ollama.service",
                 id="our note names the dependency that it was stopped with"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(unit(OLLAMA, active_exit=NOW - 41.002)), redis()),
                         last_job=Job("stop", "done", 41)), None, "gateway.stopped-with-dependency", GATEWAY, DOWN,
                 "ollama.service",
                 id="without a note, a dependency that stopped 2 ms before is the reason, not the stop job"),
    pytest.param(service(gone(active="inactive", load="not-found"), "refused", stop=Stop("crash")), None,
                 "unit.changed", GATEWAY, DOWN, "has no unit file", id="a service without a unit file"),
    pytest.param(service(gone(load="bad-setting"), "refused"), None, "unit.changed",
                 "/usr/local/lib/systemd/system/" + GATEWAY, DOWN, "cannot load",
                 id="a unit file that systemd refuses"),
    pytest.param(service(CRASHED, "refused", pid_files=(PidFile("/run/citadel/gateway.pid", 4711, "dead"),)), None,
                 "gateway.crashed", GATEWAY, DOWN, "/run/citadel/gateway.pid is from an earlier run: it names PID "
                 "4711, which does not exist", id="a stale PID file is part of the evidence"),
    pytest.param(service(CRASHED, "refused", pid_files=(PidFile("/run/citadel/gateway.pid", 20, "other"),)), None,
                 "gateway.crashed", GATEWAY, DOWN, "it names PID 20, which is not one of its processes",
                 id="a PID file that names another process is part of the evidence"),
    pytest.param(service(EXITED_EARLY, "refused", settings=(YAML_PROBLEM,)), None, "config.invalid", YAML, DOWN,
                 YAML + ":7: port: is 8003", id="wrong settings and a run that ended before it got going"),
    pytest.param(service(unit(), "timeout", settings=(YAML_PROBLEM,),
                         lines=(Line(3, 9, "ValueError: production.yaml: port"),)), None, "config.invalid", YAML,
                 RUNNING, "port: is 8003", id="wrong settings that the hanging service's own log complains of"),
    pytest.param(service(CRASHED, "refused"), host(disks=(disk(free=100 << 20),)), "disk.full", "/", DOWN,
                 "100 MiB of 100 GiB left", id="a full disk and a service that is down"),
    pytest.param(service(), host(disks=(disk(free=100 << 20),)), "disk.full", "/", SERVING, "100 MiB",
                 id="a disk so full that the healthy service is next"),
    pytest.param(service(CRASHED, "refused"), host(disks=(disk(inodes_free=20000),)), "disk.inodes", "/", DOWN,
                 "20000 of 1000000 inodes", id="no inodes left, with bytes to spare"),
    pytest.param(service(CRASHED, "refused"), host(disks=(disk(path="/var/log", read_only=True),)), "disk.readonly",
                 "/var/log", DOWN, "mounted read-only", id="a file system that the kernel has made read-only"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(gone(
        OLLAMA, exec_code="exited", exec_status=1), "refused", lines=(
            Line(6, 50, "loading the model"), Line(3, 42, "CUDA error: out of memory"),
            Line(4, 41, "ollama.service: Failed with result 'exit-code'."))), redis())), None,
                 "dependency.ollama.down", OLLAMA, DOWN,
                 "ollama.service has been down for 41 s: exited 1, 'CUDA error: out of memory'",
                 id="a dependency that failed, with its own last words"),
    pytest.param(service(answer="ok", dependencies=(ollama(gone(OLLAMA), "refused"), redis())), None,
                 "dependency.ollama.down", OLLAMA, SERVING, "ollama.service has been down",
                 id="a dependency down under a service that still answers"),
    pytest.param(service(dependencies=(ollama(answer="refused"), redis())), None, "dependency.ollama.down", OLLAMA,
                 SERVING, "nothing listens there", id="a dependency that systemd calls active and nothing listens"),
    pytest.param(service(dependencies=(ollama(answer="http-error", answered={"status": 500}), redis())), None,
                 "dependency.ollama.down", OLLAMA, SERVING, "HTTP 500",
                 id="a dependency that answers with errors only"),
    pytest.param(service(dependencies=(ollama(answer="timeout", answered={"seconds": 5}), redis())), None,
                 "dependency.ollama.hung", OLLAMA, SERVING, "no full answer within 5 s",
                 id="a dependency that takes connections and does not answer"),
    pytest.param(service(dependencies=(ollama(unit(OLLAMA, freezer="frozen"), "timeout"), redis())), None,
                 "dependency.ollama.hung", OLLAMA, SERVING, "is frozen", id="a dependency whose cgroup is frozen"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(), redis(answer="loading", answered={
        "detail": "LOADING Redis is loading the dataset in memory"})),
                         stop=Stop("dependency", REDIS, "run1", 41)), None,
                 "dependency.redis.loading", REDIS, DOWN, "LOADING Redis is loading", id="redis that loads its data"),
    pytest.param(service(dependencies=(ollama(), redis(answer="refusing-writes", answered={
        "detail": "MISCONF unable to persist to disk"}))), None, "dependency.redis.refusing-writes", REDIS, SERVING,
                 "MISCONF", id="redis that refuses writes"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(), redis(Unit(
        name=REDIS, load="not-found", active="inactive", sub="dead"), "refused")), stop=Stop("crash")), None,
                 "dependency.redis.missing", REDIS, DOWN, "there is no redis-server.service or redis.service",
                 id="a dependency of which no unit exists"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(), redis(
        SHUT_REDIS, "refused", last_job=Job("stop", "done", 41))), stop=Stop("dependency", REDIS, "run1", 41)), None,
                 "dependency.redis.stopped-by-operator", REDIS, DOWN, "stopped by an operator 41 s ago",
                 id="a dependency that an operator stopped"),
    pytest.param(service(dependencies=(ollama(), redis(gone(REDIS, load="masked"), "refused"))), None,
                 "dependency.redis.stopped-by-operator", REDIS, SERVING, "masked", id="a dependency that is masked"),
    pytest.param(service(dependencies=[ollama(), redis(SHUT_REDIS, "refused")]), None,
                 "dependency.redis.stopped-by-operator", REDIS, SERVING, "(Restart=always)",
                 id="a dependency that an operator stopped, and whose job the journal has lost"),
    pytest.param(service(EXITED_EARLY, "ok", holder=OTHER), None, "port.taken", "8002", DOWN,
                 "port 8002 is in use by another process (nc -l 8002, PID 4711, user eve)",
                 id="another process on the port, whose answer does not make the service healthy"),
    pytest.param(service(CRASHED, "refused"), host(memory=Memory(32 * GIB, 100 << 20, biggest=(("llama", 20 * GIB),))),
                 "memory.low", "memory", DOWN, "100 MiB of 32 GiB of memory are available; biggest users: llama 20 GiB",
                 id="memory that runs out, with who uses it"),
    pytest.param(service(CRASHED, "refused"), host(memory=Memory(32 * GIB, 8 * GIB, pressure=75.0)), "memory.low",
                 "memory", DOWN, "waited for memory in 75 %",
                 id="memory to spare on paper, and everybody waits for it"),
    pytest.param(service(gone(result="oom-kill", exec_code="killed", exec_status=9, memory_max=8 * GIB), "refused"),
                 None, "gateway.oom", GATEWAY, DOWN, "for lack of memory; its limit is 8 GiB",
                 id="killed by its limit"),
    pytest.param(service(gone(result="start-limit-hit", restarts=10, exec_code="killed", exec_status=9), "refused",
                         lines=(Line(4, 50, GATEWAY + ": A process of this unit has been killed by the OOM killer.",
                                     by_systemd=True),)), None, "gateway.oom", GATEWAY, DOWN, "for lack of memory",
                 id="killed for memory, under a start limit that has overwritten the result (262)"),
    pytest.param(service(gone(exec_code="exited", exec_status=1), "refused",
                         lines=(Line(3, 42, "a worker was killed by the OOM killer"),)), None, "gateway.crashed",
                 GATEWAY, DOWN, "exited 1, 'a worker was killed by the OOM killer'",
                 id="what a program itself says about memory does not count"),
    pytest.param(service(gone(result="timeout", active_enter=NOW - 5000, inactive_exit=NOW - 161,
                              active_exit=NOW - 4000), "refused"), None, "gateway.start-timeout", GATEWAY, DOWN,
                 "did not start within its TimeoutStartSec=",
                 id="a start that did not end in time"),
    pytest.param(service(gone(restarts=10, exec_code="exited", exec_status=3), "refused"), None, "gateway.crash-loop",
                 GATEWAY, DOWN, "systemd gave up after 10 restarts; it exited 3",
                 id="the start limit, as 247 to 257 tell it"),
    pytest.param(service(gone(result="start-limit-hit", exec_code="exited", exec_status=3), "refused"), None,
                 "gateway.crash-loop", GATEWAY, DOWN, "systemd gave up", id="the start limit, as 262 tells it"),
    pytest.param(service(gone(active="activating", sub="auto-restart", restarts=3, active_enter=NOW - 50), "refused"),
                 None, "gateway.crash-loop", GATEWAY, RESTARTING, "automatic restarts: 3",
                 id="three short runs in a row, and systemd goes on"),
    pytest.param(service(gone(exec_code="killed", exec_status=11), "refused"), None, "gateway.crashed", GATEWAY, DOWN,
                 "was killed by SIGSEGV", id="a crash with its signal"),
    pytest.param(service(gone(exec_code="exited", exec_status=203), "refused"), None, "gateway.crashed", GATEWAY, DOWN,
                 "its program cannot be executed", id="an application that isn't there yet"),
    pytest.param(service(gone(active="activating", sub="auto-restart", exec_code="killed", exec_status=9, ago=2),
                         "refused"), None, "gateway.crashed", GATEWAY, RESTARTING, "systemd is restarting it",
                 id="killed 2 s ago: systemd restarts it itself"),
    pytest.param(service(gone(active="activating", sub="auto-restart-queued", ago=2), "refused"), None,
                 "gateway.crashed", GATEWAY, RESTARTING, "systemd is restarting it",
                 id="auto-restart-queued, as 257 and 262 call it"),
    pytest.param(service(answer="timeout", answered={"seconds": 5}), None, "gateway.hung", GATEWAY, RUNNING,
                 "does not answer", id="active, and silent"),
    pytest.param(service(answer="timeout", stopped_pids=(100, 101)), None, "gateway.hung", GATEWAY, RUNNING,
                 "2 of its processes are stopped by a signal (SIGSTOP), PID 100, 101",
                 id="hung because it was stopped (SIGSTOP)"),
    pytest.param(service(unit(freezer="frozen"), "timeout"), None, "gateway.hung", GATEWAY, RUNNING, "is frozen",
                 id="hung because its cgroup is frozen"),
    pytest.param(service(answer="refused"), None, "gateway.hung", GATEWAY, RUNNING, "nothing listens there",
                 id="active for long, and its port is closed"),
    pytest.param(service(unit(active_enter=NOW - 3), "timeout", stopped_pids=(100,)), None, "gateway.hung", GATEWAY,
                 RUNNING, "SIGSTOP", id="stopped (SIGSTOP) seconds after its start is hung, not starting"),
    pytest.param(service(answer="http-error", answered={"status": 503}), None, "gateway.http-error", GATEWAY, RUNNING,
                 "HTTP 503", id="an HTTP error"),
    pytest.param(service(answer="protocol"), None, "gateway.http-error", GATEWAY, RUNNING, "in another protocol",
                 id="an answer that is no HTTP"),
    pytest.param(service(answered={"seconds": 4.0}), None, "gateway.slow", GATEWAY, SERVING, "only after 4 s",
                 id="a good answer that came late"),
    pytest.param(service(answer="timeout", oom_kills=2), None, "gateway.oom", GATEWAY, RUNNING, "2 of its processes",
                 id="hung since its workers were killed for memory"),
    pytest.param(service(Unit(name=GATEWAY, active="inactive", sub="dead", restart="always"), "refused"), None,
                 "unknown", GATEWAY, DOWN, "nothing on record says why", id="never started, and nobody knows why"),
]


@pytest.mark.parametrize("one, on, cause, target, condition, words", FOUND)
def test_cause(one, on, cause, target, condition, words):
    finding = examine(one, on)
    assert (finding.cause, finding.target, finding.condition) == (cause, target, condition)
    assert words in finding.because
    assert not finding.well
    assert "\n" not in finding.because and len(finding.because) < 400


# Looks like a fault, but is none: (service, host, condition)
NOTHING = [
    pytest.param(service(), None, SERVING, id="healthy"),
    pytest.param(service(answer="none"), None, SERVING, id="no probe is set: systemd's word is enough"),
    pytest.param(service(unit(active="reloading")), None, SERVING, id="reloading while it answers"),
    pytest.param(service(unit(restarts=7)), None, SERVING, id="restarted seven times, and well since"),
    pytest.param(service(unit(active_enter=NOW - 3), "refused"), None, STARTING,
                 id="active for 3 s, its port still closed (Type=simple)"),
    pytest.param(service(unit(active_enter=NOW - 3), "timeout"), None, STARTING,
                 id="active for 3 s, listening, its workers still loading"),
    pytest.param(service(unit(active_enter=NOW - 3), "http-error", answered={"status": 503}), None, STARTING,
                 id="active for 3 s, and says that it is not ready"),
    pytest.param(service(unit(active="activating", sub="start-pre", active_enter=0.0), "refused"), None, STARTING,
                 id="waiting at its gate"),
    pytest.param(service(gone(active="inactive", job="start"), "refused"), None, STARTING, id="its start is queued"),
    pytest.param(service(unit(active="inactive", sub="dead", active_enter=0.0), "refused"), host(state="starting"),
                 STARTING, id="the host boots and its turn has not come"),
    pytest.param(service(unit(active="deactivating", sub="stop-sigterm"), "refused"), None, STOPPING,
                 id="on its way down"),
    pytest.param(service(holder=OTHER._replace(control_group="/system.slice/%s/worker" % GATEWAY, user="citadel")),
                 None, SERVING, id="the port's holder is a worker of its own"),
    pytest.param(service(answered={"seconds": 2.9}), None, SERVING, id="just fast enough"),
    pytest.param(service(), host(disks=(disk(free=1, total=0),)), SERVING, id="a file system without a size"),
    pytest.param(service(), host(disks=(disk(inodes=0, inodes_free=0),)), SERVING,
                 id="a file system that does not count inodes (btrfs)"),
    pytest.param(service(), host(disks=(disk(free=30 * GIB, total=1000 * GIB),)), SERVING,
                 id="3 % free of a large disk is plenty"),
    pytest.param(service(), host(memory=Memory()), SERVING, id="memory that was not looked at"),
    pytest.param(service(dependencies=()), None, SERVING, id="nothing that it depends on"),
]


@pytest.mark.parametrize("one, on, condition", NOTHING)
def test_noop(one, on, condition):
    finding = examine(one, on)
    assert (finding.cause, finding.others, finding.condition) == ("", (), condition)
    assert finding.well == (condition == SERVING)
    assert finding.because


# A remark beneath a service that answers: named, and no reason to act.
REMARKS = [
    pytest.param(service(settings=(YAML_PROBLEM,)), None, "config.invalid", id="wrong settings that it lives with"),
    pytest.param(service(), host(disks=(disk(free=900 << 20),)), "disk.full", id="a disk that fills up"),
    pytest.param(service(), host(disks=(disk(inodes_free=20000),)), "disk.inodes", id="inodes that run out"),
    pytest.param(service(), host(disks=(disk(read_only=True),)), "disk.readonly", id="a read-only file system"),
    pytest.param(service(), host(memory=Memory(32 * GIB, 400 << 20)), "memory.low", id="memory that runs low"),
    pytest.param(service(), edited("/x/y.service"), "unit.changed", id="a unit file not as installed"),
    pytest.param(service(unit(need_reload=True)), None, "unit.changed", id="a unit file newer than what systemd read"),
    pytest.param(service(oom_kills=1), None, "gateway.oom", id="a worker was killed for memory and respawned"),
    pytest.param(service(dependencies=(ollama(), redis(Unit(name=REDIS, load="not-found", active="inactive")))), None,
                 "dependency.redis.missing", id="a dependency that answers without a unit of its name"),
]


@pytest.mark.parametrize("one, on, cause", REMARKS)
def test_remark(one, on, cause):
    finding = examine(one, on)
    assert finding.well and [other.cause for other in finding.others] == [cause]
    assert not finding.actionable_causes


# Two things wrong at once: the root first, what it brings about beneath it.
TOGETHER = [
    pytest.param(service(gone(active="inactive"), "refused", (ollama(gone(OLLAMA), "refused"), redis()),
                         stop=Stop("dependency", OLLAMA, "run1", 41)), None,
                 ["dependency.ollama.down", "gateway.stopped-with-dependency"],
                 id="a dependency and what stopped with it"),
    pytest.param(service(CRASHED, "refused", (ollama(), redis(answer="refusing-writes"))),
                 host(disks=(disk(free=0),)), ["disk.full", "dependency.redis.refusing-writes", "gateway.crashed"],
                 id="the disk is full, therefore redis refuses, therefore it crashes"),
    pytest.param(service(gone(result="oom-kill"), "refused"), host(memory=Memory(32 * GIB, 1 << 20)),
                 ["memory.low", "gateway.oom"], id="the host's memory before the kill"),
    pytest.param(service(EXITED_EARLY, "refused", settings=(YAML_PROBLEM,)), edited("/x.service"),
                 ["config.invalid", "gateway.crashed", "unit.changed"], id="a changed unit file comes last"),
    pytest.param(service(gone(exec_code="killed", exec_status=9), "refused", settings=(YAML_PROBLEM,)), None,
                 ["gateway.crashed", "config.invalid"], id="settings are not the cause of a SIGKILL"),
    pytest.param(service(EXITED_EARLY, "refused", [ollama(), redis(gone(REDIS, 300), "refused")],
                         settings=(YAML_PROBLEM,)), None,
                 ["dependency.redis.down", "config.invalid", "gateway.crashed"],
                 id="wrong settings are not the cause while redis is down"),
    pytest.param(service(EXITED_EARLY, "refused", settings=(YAML_PROBLEM,)), host(disks=(disk(free=0),)),
                 ["disk.full", "config.invalid", "gateway.crashed"],
                 id="wrong settings are not the cause while the disk is full"),
    pytest.param(service(EXITED_EARLY, "ok", holder=OTHER, settings=(YAML_PROBLEM,)), None,
                 ["port.taken", "config.invalid", "gateway.crashed"],
                 id="wrong settings are not the cause while another process has the port"),
    pytest.param(service(EXITED_EARLY, "refused", [ollama(), redis(gone(REDIS, 300), "refused")],
                         settings=(YAML_PROBLEM,), lines=(Line(3, 9, "ValueError: production.yaml: port"),)), None,
                 ["config.invalid", "dependency.redis.down", "gateway.crashed"],
                 id="settings that the program's own error names are the cause, whatever else is wrong"),
    pytest.param(service(EXITED_EARLY, "refused", settings=(YAML_PROBLEM,), lines=(
        Line(3, 9, "ValueError: production.yaml: port"),)), host(disks=(disk(free=0),)),
                 ["config.invalid", "disk.full", "gateway.crashed"], id="... also while the disk is full"),
    pytest.param(service(gone(exec_code="exited", exec_status=1), "refused", settings=(YAML_PROBLEM,), lines=(
        Line(6, 60, "reading /opt/citadel/config/production.yaml"), Line(6, 50, "RuntimeError: no model"))), None,
                 ["gateway.crashed", "config.invalid"],
                 id="a line that names the settings without an error does not count"),
    pytest.param(service(gone(exec_code="exited", exec_status=1, active_exit=NOW - 41, active_enter=NOW - 5000),
                         "refused", settings=(YAML_PROBLEM,)), None, ["gateway.crashed", "config.invalid"],
                 id="settings that it ran with for an hour are not the cause"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(gone(
        OLLAMA, active="activating", sub="auto-restart"), "refused"), redis(gone(REDIS), "refused")),
        stop=Stop("dependency", OLLAMA, "run1", 41)), None,
        ["dependency.redis.down", "dependency.ollama.down", "gateway.stopped-with-dependency"],
        id="a dependency that stays down before one that systemd restarts"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(gone(OLLAMA), "refused"), redis()),
                         stop=Stop("operator", "", "run1", 60)), None,
                 ["gateway.stopped-by-operator", "dependency.ollama.down"],
                 id="stopped by an operator goes before whatever else is down"),
    pytest.param(service(unit(), "ok", (ollama(gone(OLLAMA), "refused"), redis())),
                 host(unanswered="no"), ["systemd.unresponsive", "dependency.ollama.down"],
                 id="with systemd silent, what the probes say is a remark"),
    pytest.param(service(unit(active="activating", sub="start-pre"), "refused", (ollama(), redis(
        gone(REDIS), "refused"))), None, ["dependency.redis.down"], id="at its gate, and what it waits for is down"),
    pytest.param(service(CRASHED, "refused"), host(disks=(disk(free=0), disk(free=0, path="/var/log", mount="/"))),
                 ["disk.full", "gateway.crashed"], id="two of our paths on one full disk are one cause"),
]


@pytest.mark.parametrize("one, on, causes", TOGETHER)
def test_precedence(one, on, causes):
    finding = examine(one, on)
    assert [finding.cause] + [other.cause for other in finding.others] == causes


def test_every_cause_that_is_found_has_a_row_in_the_table_and_every_row_is_found():
    findings = [examine(*row.values[:2]) for row in FOUND + REMARKS + TOGETHER]
    found = {cause.cause for finding in findings for cause in (finding,) + finding.others} - {""}
    assert {cause for cause in found if about(cause).name == "unknown"} == {"unknown"}
    assert {about(cause).name for cause in found} == {row.name for row in CAUSES}


# Not the operator: a stop that must be undone reads very much like one that must not.
NOT_THE_OPERATOR = [
    pytest.param(service(gone(active="inactive"), "refused", stop=Stop("operator", "", "run0", 900),
                         last_job=Job("start", "failed", 41)), "unknown", id="a note about an earlier run"),
    pytest.param(service(gone(active="inactive"), "refused", stop=Stop("operator", "", "run1", 900),
                         last_job=Job("start", "failed", 20)), "unknown",
                 id="a start was asked for since, and refused"),
    pytest.param(service(gone(active="inactive"), "refused", stop=Stop("crash", "", "run1", 41),
                         last_job=Job("stop", "done", 900)), "gateway.crashed",
                 id="a crash long after an earlier stop"),
    pytest.param(service(unit(active="inactive", sub="dead", inactive_enter=0.0, active_enter=0.0),
                         "refused", last_job=Job("stop", "done", NOW + 60)), "unknown",
                 id="the stop of the last shutdown, before this boot"),
    pytest.param(service(gone(active="inactive"), "refused", (ollama(unit(OLLAMA, active_exit=NOW - 40)), redis()),
                         last_job=Job("stop", "done", 41)), "gateway.stopped-with-dependency",
                 id="a dependency that left 1 s later, in the same stop"),
    pytest.param(service(CRASHED, "refused", last_job=Job("start", "done", 900)), "gateway.crashed",
                 id="its newest job was a start"),
    pytest.param(service(gone(active="inactive", restart="no"), "refused"), "unknown",
                 id="a unit that a drop-in keeps from restarting may just have ended"),
]


@pytest.mark.parametrize("one, cause", NOT_THE_OPERATOR)
def test_not_the_operator(one, cause):
    assert examine(one).cause == cause


def test_a_stop_long_after_a_dependencys_crash_is_the_operators():
    """Measured: a deliberate stop after an earlier crash of Ollama was 4.6 s apart."""
    one = service(gone(active="inactive", ago=41), "refused", (ollama(unit(OLLAMA, active_exit=NOW - 45.6)), redis()),
                  last_job=Job("stop", "done", 41))
    assert examine(one).cause == "gateway.stopped-by-operator"


DEPENDENCY_PASSES = [
    pytest.param(ollama(gone(OLLAMA, active="activating", sub="auto-restart"), "refused"), "down", id="auto-restart"),
    pytest.param(ollama(unit(OLLAMA, active="activating", sub="start"), "refused"), "loading", id="starting"),
    pytest.param(ollama(unit(OLLAMA, active_enter=NOW - 3), "refused"), "loading", id="started 3 s ago"),
    pytest.param(ollama(unit(OLLAMA, active_enter=NOW - 3), "timeout"), "loading", id="started 3 s ago, silent"),
    pytest.param(ollama(answer="loading"), "loading", id="says that it is loading, for however long"),
    pytest.param(ollama(gone(OLLAMA, job="start"), "refused"), "down", id="its start is queued"),
]


@pytest.mark.parametrize("dependency, kind", DEPENDENCY_PASSES)
def test_what_passes_by_itself(dependency, kind):
    finding = examine(service(dependencies=(dependency,)))
    assert (finding.cause, finding.manner) == ("dependency.ollama." + kind, PASSING)


@pytest.mark.parametrize("one, manner", [
    pytest.param(service(unit(freezer="frozen"), "timeout"), FROZEN, id="frozen is to be thawed"),
    pytest.param(service(answer="timeout", stopped_pids=(1,)), UNRESPONSIVE, id="stopped is to be killed"),
    pytest.param(service(answer="timeout"), UNRESPONSIVE, id="silent is to be killed"),
    pytest.param(service(answer="http-error"), ACTIVE, id="an HTTP error is to be restarted in order"),
    pytest.param(service(gone(), "refused"), "", id="down is to be started"),
    pytest.param(service(dependencies=(ollama(answer="timeout"),)), UNRESPONSIVE,
                 id="a hung dependency is to be killed"),
    pytest.param(service(dependencies=(ollama(answer="refused"),)), ACTIVE,
                 id="a useless dependency is to be restarted"),
])
def test_manner(one, manner):
    assert examine(one).manner == manner


def test_three_crashes_in_three_months_are_no_loop():
    one = service(gone(active="activating", sub="auto-restart", restarts=3, ago=2, exec_code="killed", exec_status=11),
                  "refused")
    assert examine(one).cause == "gateway.crashed"


def test_the_settings_say_what_is_low_and_how_long_a_start_takes():
    settings = parse("[disk]\nmin_free = 10% 20G\nenough_free = 20% 30G\n"
                     "[dependency ollama]\nstart_timeout = 7s\n", "citadel.conf")
    full = host(disks=(disk(free=9 * GIB),))
    assert [examine(service(), full, one).others != () for one in (settings, SETTINGS)] == [True, False]
    young = service(dependencies=(ollama(unit(OLLAMA, active_enter=NOW - 8), "refused"),))
    assert [examine(young, None, one).manner for one in (settings, SETTINGS)] == [ACTIVE, PASSING]


def test_foreign_text_is_made_printable():
    one = service(EXITED_EARLY, "refused", holder=OTHER._replace(command="a\x1b[31m\nb\u202e"),
                  lines=(Line(3, 1, "error: \x1b]0;x\x07\u2066 y"),))
    finding = examine(one)
    for text in [finding.because] + [other.because for other in finding.others]:
        assert not set(text) & set("\x1b\x07\n\u202e\u2066")


def test_the_same_facts_give_the_same_finding_and_one_for_each_service():
    facts = Facts(host(), (service(), service(CRASHED, "refused")))
    assert diagnose(facts, SETTINGS) == diagnose(facts, SETTINGS)
    assert [finding.well for finding in diagnose(facts, SETTINGS)] == [True, False]


def test_empty_facts_are_survived():
    assert diagnose(Facts(), SETTINGS) == ()
    for answer in ("ok", "refused", "timeout", "http-error", "loading", "refusing-writes", "protocol", "unreachable"):
        for active in ("active", "activating", "deactivating", "inactive", "failed", "maintenance", ""):
            for on in (Host(), host()):
                finding = examine(Service(unit=Unit(GATEWAY, active=active), probe=Probe(outcome=answer), dependencies=(
                    Dependency("ollama", Unit(active=active), Probe(outcome=answer)),)), on)
                assert finding.because


RECOVERY, TIMER = unit("citadel-recovery.service", active="inactive"), unit("citadel-health.timer")
ARMED = unit(on_failure=("citadel-recovery.service",))
BY_CRON, BY_TIMER = Installed("cron", units=(GATEWAY,)), Installed("timer", units=(GATEWAY,))


@pytest.mark.parametrize("state, changes, words", [
    pytest.param(ARMED, dict(installed=BY_CRON, recovery=RECOVERY), (), id="all is there"),
    pytest.param(ARMED, dict(installed=BY_TIMER, recovery=RECOVERY, timer=TIMER), (), id="all is there, by timer"),
    pytest.param(unit(), {}, (), id="nothing was installed: nothing to say"),
    pytest.param(ARMED, dict(recovery=RECOVERY, installed=BY_CRON._replace(damaged=(
        Problem("/opt/citadel/lib/citadel/plan.py", 0, "", "is not as it was installed"),))),
                 ("/opt/citadel/lib/citadel/plan.py is not as it was installed: recovery may not work",),
                 id="our own code was cut short"),
    pytest.param(unit(), dict(installed=BY_CRON, unanswered="silent"), (), id="systemd was not heard"),
    pytest.param(ARMED, dict(installed=Installed("none", units=(GATEWAY,), cron=False), recovery=RECOVERY), (),
                 id="no schedule was wanted"),
    pytest.param(ARMED, dict(installed=BY_CRON._replace(cron=False), recovery=RECOVERY), ("cron.d",),
                 id="the cron file is gone"),
    pytest.param(ARMED, dict(installed=BY_TIMER, recovery=RECOVERY, timer=TIMER._replace(active="inactive")),
                 ("citadel-health.timer is inactive",), id="the timer is stopped"),
    pytest.param(ARMED, dict(installed=BY_CRON, recovery=RECOVERY._replace(load="masked")), ("is masked",),
                 id="the recovery unit is masked"),
    pytest.param(unit(), dict(installed=BY_CRON, recovery=RECOVERY), ("no OnFailure=",), id="OnFailure= is gone"),
    pytest.param(unit("mine.service"), dict(installed=BY_CRON, recovery=RECOVERY), (),
                 id="a unit that is not ours may do without OnFailure="),
])
def test_who_watches_the_healer(state, changes, words):
    told = unguarded(Facts(host(**changes), (service(state),)))
    assert len(told) == len(words) and all(word in text for word, text in zip(words, told))
