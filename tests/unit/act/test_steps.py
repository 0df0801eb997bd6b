"""One step, and what came of it. systemd is a script here: unit states at points in time; time passes by sleeping."""

import json
import os
import socket
import threading
from collections import namedtuple

import pytest
from network import port_of_nobody

from citadel.act import kill, relief
from citadel.act.steps import Context, perform, verify
from citadel.core.run import Answer, Deadline
from citadel.model import Memory, Probe, Step
from citadel.settings import file as settings_file

UNIT, OLLAMA = "citadel-gateway.service", "ollama.service"
HEALTH = "http://127.0.0.1:%d/health" % port_of_nobody()
SETTINGS = settings_file.parse("[service %s]\nhealth = %s\n" % (UNIT, HEALTH), "citadel.conf")

RUNNING = dict(ActiveState="active", SubState="running", Result="success", MainPID="10", InvocationID="aaa", Job="",
               ControlGroup="/system.slice/x", LoadState="loaded", RestartUSec="5s", FreezerState="running",
               ExecMainCode="0", ExecMainStatus="0")
ANEW = dict(RUNNING, MainPID="11", InvocationID="bbb")
DEAD = dict(RUNNING, ActiveState="inactive", SubState="dead", MainPID="0")
FAILED = dict(DEAD, ActiveState="failed", SubState="failed", Result="exit-code", ExecMainCode="1", ExecMainStatus="3")
QUEUED = dict(DEAD, Job="77")
STARTING = dict(ANEW, ActiveState="activating", SubState="start-pre", MainPID="0")


class World:
    """Answers `systemctl show` by the clock; `script` maps seconds to a unit's state from then on."""

    def __init__(self, script, probes=None, orders=None):
        self.now, self.script, self.probes, self.orders = 0.0, script, probes or {0: "ok"}, orders or {}
        self.asked = []

    def at(self, table):
        return table[max(moment for moment in table if moment <= self.now)]

    def run(self, argv, timeout, **more):
        if argv[:2] == ["systemctl", "show"]:
            state = self.at(self.script)
            return Answer(tuple(argv), 0, "\n".join("%s=%s" % item for item in state.items()) + "\n", "", 0, False)
        self.asked.append(" ".join(argv))
        code, words = self.orders.get(argv[1], (0, ""))
        return Answer(tuple(argv), code, "", words, 0, False)

    def ask(self, targets, seconds):
        outcome = self.at(self.probes)
        if outcome == "timeout":
            self.now += seconds
        return {target: Probe(target, outcome, detail="it says " + outcome) for target in targets}

    def sleep(self, seconds):
        self.now += seconds

    def clock(self):
        return self.now

    def context(self, settings=SETTINGS, left=540):
        return Context(self.run, self.ask, self.clock, self.sleep, settings, None, Deadline(left, self.clock))


def step(do, target=UNIT, seconds=30):
    return Step(do, target, "because", seconds)


@pytest.mark.parametrize("do, script, outcome, detail, at_most", [
    pytest.param("start", {0: DEAD, 1: QUEUED, 2: ANEW}, "failed", "cancelled the job", 1, id="a job that vanishes"),
    pytest.param("start", {0: DEAD, 0.0001: QUEUED, 2: ANEW}, "ok", "PID 11", 2.5, id="queued, then active"),
    pytest.param("start", {0: RUNNING}, "skipped", "active already", 0, id="nothing to start"),
    pytest.param("start", {0: DEAD, 0.0001: QUEUED, 2: FAILED}, "failed", "exit-code, exit status 3", 2.5,
                 id="it fails"),
    pytest.param("start", {0: DEAD, 0.0001: STARTING}, "ok", "still starting (start-pre)", 30.5,
                 id="still waiting at its gate"),
    pytest.param("start", {0: DEAD, 0.0001: QUEUED}, "failed", "still inactive", 30.5, id="a job that never runs"),
    pytest.param("restart", {0: RUNNING, 3: ANEW}, "ok", "PID 11", 3.5, id="only a new run is a restart"),
    pytest.param("restart", {0: RUNNING}, "failed", "still active (running)", 30.5, id="the old run is no restart"),
    pytest.param("restart", {0: RUNNING, 1: dict(STARTING, SubState="auto-restart")}, "failed", "ended again", 1.5,
                 id="systemd restarts it again"),
    pytest.param("thaw", {0: dict(RUNNING, FreezerState="frozen"), 1: RUNNING}, "ok", "", 1.5, id="thawed"),
    pytest.param("thaw", {0: RUNNING}, "skipped", "not frozen", 0, id="nothing to thaw"),
    pytest.param("thaw", {0: dict(RUNNING, FreezerState="frozen")}, "failed", "still frozen", 30.5, id="frozen solid"),
    pytest.param("kill", {0: RUNNING, 1: dict(ANEW, ActiveState="activating")}, "ok", "SIGKILL", 1.5, id="killed"),
    pytest.param("kill", {0: RUNNING}, "failed", "waits for a disk", 30.5, id="in an uninterruptible wait"),
    pytest.param("kill", {0: DEAD}, "skipped", "no process", 0, id="nothing to kill"),
])
def test_a_job_and_what_came_of_it(do, script, outcome, detail, at_most):
    world = World(script)
    if 0.0001 in script:                    # what systemd shows from the order on
        inner = world.run
        world.run = lambda argv, timeout, **more: (inner(argv, timeout, **more),
                                                   world.sleep(0.0001 if argv[1] == do else 0))[0]
    found = perform(step(do), world.context())
    assert (found.outcome, found.step.do) == (outcome, do) and detail in found.detail
    assert found.seconds <= at_most


@pytest.mark.parametrize("do", ["start", "restart", "reset-failed", "thaw", "kill"])
def test_an_order_that_is_refused_says_why(do):
    state = dict(DEAD, FreezerState="frozen", MainPID="10", ActiveState="deactivating")
    world = World({0: state}, orders={do: (4, "Access denied")})
    found = perform(step(do), world.context())
    assert found.outcome == "failed" and "Access denied" in found.detail


def test_reset_failed_of_what_is_not_loaded_is_harmless():
    world = World({0: DEAD}, orders={"reset-failed": (1, "Unit x.service not loaded.")})
    assert perform(step("reset-failed"), world.context()).outcome == "skipped"


def test_orders_do_not_block_and_name_the_unit_last():
    world = World({0: RUNNING, 1: ANEW})
    perform(step("restart"), world.context())
    assert world.asked == ["systemctl restart --no-block -- " + UNIT]


def test_a_systemd_that_does_not_answer_is_an_outcome():
    world = World({0: RUNNING})
    context = world.context()._replace(run=lambda argv, timeout, **more: Answer(argv, -1000, "", "", 10.0, False))
    for do in ("start", "restart", "kill", "thaw"):
        found = perform(step(do), context)
        assert found.outcome == "failed" and "does not answer" in found.detail
    assert "does not answer" in verify(UNIT, context).detail


def test_the_deadline_of_the_pass_comes_first():
    world = World({0: RUNNING})
    assert perform(step("restart", seconds=60), world.context(left=5)).seconds <= 5.5
    assert perform(step("restart"), World({0: RUNNING}).context(left=0)).outcome == "skipped"


# --- kill

def test_when_systemd_cannot_kill_the_main_process_is_killed_itself():
    killed = []

    def kill_process(pid, group):
        killed.append((pid, group))
        world.script = {0: dict(ANEW, MainPID="0")}
        return ""
    world = World({0: RUNNING}, orders={"kill": (1, "Input/output error")})
    outcome, detail, changed = kill.kill(step("kill"), world.context(), 30, kill_process)
    assert killed == [(10, "/system.slice/x")] and outcome == "ok" and "PID 10 itself" in detail


@pytest.mark.parametrize("pid, group, why", [
    (0, "/system.slice/x", "no main process"), (1, "/system.slice/x", "no main process"), (-1, "/x", "no main process"),
    (os.getpid(), "/", "no main process"), (os.getpid(), "", "no main process"),
    (os.getpid(), "/system.slice/not-ours", "not in /system.slice/not-ours"), (4194300, "/x", "not in /x")])
def test_no_process_outside_the_unit_is_ever_killed(pid, group, why):
    assert why in kill.kill_verified(pid, group)


@pytest.mark.parametrize("target, state, started", [
    (UNIT, "disabled", False), (UNIT, "masked", False), (UNIT, "enabled", True), (OLLAMA, "disabled", True),
    (OLLAMA, "masked", False)])
def test_what_an_operator_has_taken_out_of_service_meanwhile_is_not_started(target, state, started):
    world = World({0: dict(DEAD, UnitFileState=state)})
    found = perform(step("start", target), world.context())
    assert bool(world.asked) is started and ("out of service" in found.detail) is not started


# --- verify

@pytest.mark.parametrize("script, probes, outcome, detail, least, most", [
    pytest.param({0: RUNNING}, {0: "ok"}, "ok", "the same run for", 5, 6, id="well from the start"),
    pytest.param({0: STARTING, 4: RUNNING}, {0: "refused", 10: "ok"}, "ok", "the same run for", 15, 17,
                 id="slow to answer"),
    pytest.param({0: RUNNING, 3: ANEW}, {0: "ok"}, "ok", "the same run", 8, 9.5, id="a new run begins anew"),
    pytest.param({0: RUNNING}, {0: "ok", 4: "http-error"}, "failed", "it says http-error", 120, 122,
                 id="good at the start only"),
    pytest.param({0: FAILED}, {0: "ok"}, "failed", "it failed: exit-code, exit status 3", 0, 0, id="failed at once"),
    pytest.param({0: DEAD}, {0: "ok"}, "failed", "it is inactive (dead)", 5, 6, id="dead, and nobody starts it"),
    pytest.param({0: DEAD, 3: RUNNING}, {0: "ok"}, "ok", "the same run", 8, 9.5, id="started along by a dependency"),
    pytest.param({0: QUEUED, 20: RUNNING}, {0: "ok"}, "ok", "the same run", 25, 27, id="its job waits"),
    pytest.param({number * 0.8: dict(RUNNING, InvocationID="r%d" % number, RestartUSec="100ms")
                  for number in range(200)}, {0: "ok"}, "failed", "runs in that time", 120, 121,
                 id="a fast crash loop with a short RestartSec"),
    pytest.param({0: RUNNING}, {0: "timeout"}, "failed", "it says timeout", 120, 125.5, id="never answers"),
    pytest.param({0: dict(RUNNING, FreezerState="frozen")}, {0: "ok"}, "failed", "frozen", 120, 121, id="frozen"),
    pytest.param({number * 3: dict(RUNNING, InvocationID="r%d" % number) for number in range(50)}, {0: "ok"}, "failed",
                 "runs in that time", 120, 121, id="a crash loop that is active at every look"),
])
def test_well_is_what_lasts_and_answers(script, probes, outcome, detail, least, most):
    world = World(script, probes)
    found = verify(UNIT, world.context())
    assert found.outcome == outcome and detail in found.detail
    assert least <= found.seconds <= most


@pytest.mark.skipif(os.geteuid() != 0, reason="who holds a port is shown to root alone")
def test_the_good_answer_of_another_process_is_not_the_units():
    """A unit that is active and does not listen yet, and another process does: this test."""
    address = HEALTH.split("/")[2].split(":")
    with socket.socket() as listener:
        listener.bind((address[0], int(address[1])))
        listener.listen(1)
        found = verify(UNIT, World({0: RUNNING}, {0: "ok"}).context())
    assert found.outcome == "failed"
    assert "another process answers at port" in found.detail and "(PID %d)" % os.getpid() in found.detail


# --- waiting

@pytest.mark.parametrize("probes, outcome, detail, most", [
    ({0: "refused", 3: "ok"}, "ok", "ready after 3", 3.5), ({0: "refused"}, "failed", "it says refused", 31),
    ({0: "loading", 200: "ok"}, "ok", "ready after 3 min 20 s", 201), ({0: "loading"}, "failed", "loading", 301),
    ({0: "timeout"}, "failed", "it says timeout", 36)], ids=["soon", "never", "loading", "loading for ever", "hung"])
def test_wait_ready(probes, outcome, detail, most):
    found = perform(step("wait-ready", OLLAMA), World({0: RUNNING}, probes).context())
    assert found.outcome == outcome and detail in found.detail and found.seconds <= most


def test_what_failed_is_not_waited_for():
    found = perform(step("wait-ready", OLLAMA), World({0: FAILED}, {0: "refused"}).context())
    assert (found.outcome, found.seconds) == ("failed", 0) and "exit status 3" in found.detail


# --- room

def test_clean_removes_what_the_settings_name(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "gateway.pid").write_text("4194300\n")
    wanted = SETTINGS._replace(services=(SETTINGS.services[0]._replace(
        pid_files=(str(tmp_path / "gateway.pid"),), temp_files=(str(tmp_path / "*.tmp"),)),))
    found = perform(step("clean"), World({0: DEAD}).context(wanted))
    assert found.outcome == "ok" and found.changed["files_removed"] == 1
    assert not (tmp_path / "gateway.pid").exists()


def test_disk_is_relieved_until_the_mark(tmp_path):
    tmp_path.chmod(0o755)
    for number in range(6):
        (tmp_path / ("a.log.%d" % number)).write_bytes(b"x" * 1000)
        os.utime(str(tmp_path / ("a.log.%d" % number)), (1e9 - number, 1e9 - number))
    wanted = SETTINGS._replace(
        cleanup=SETTINGS.cleanup._replace(log_directories=(str(tmp_path),), keep_logs=1),
        disk=SETTINGS.disk._replace(enough_free=settings_file.Mark(None, 500),
                                    enough_inodes=settings_file.Mark(0, None)))
    Statvfs = namedtuple("Statvfs", "f_bavail f_frsize f_blocks f_files f_favail")

    def statvfs(path):                      # each file that goes frees 100 bytes
        return Statvfs(100 * (9 - len(list(tmp_path.iterdir()))), 1, 1000, 0, 0)
    world = World({0: DEAD})
    relieve = step("relieve-disk", str(tmp_path))
    outcome, detail, changed = relief.relieve_disk(relieve, world.context(wanted), 30, statvfs)
    assert outcome == "ok" and changed["files_removed"] == 2 and changed["bytes_freed"] == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log.%d" % number for number in range(4)]
    tight = wanted._replace(disk=wanted.disk._replace(enough_free=settings_file.Mark(None, 5000)))
    outcome, detail, changed = relief.relieve_disk(relieve, world.context(tight), 30, statvfs)
    assert outcome == "failed" and "is still too full" in detail
    assert [path.name for path in tmp_path.iterdir()] == ["a.log.0"]


@pytest.fixture
def ollama():
    """A real server that speaks the two requests of Ollama's API that are used."""
    heard, models = [], ["llama3:8b"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    question = connection.recv(65536).decode()
                    heard.append((question.partition(" HTTP")[0], question.partition("\r\n\r\n")[2]))
                    loaded = {"models": [{"name": name} for name in models]}
                    body = json.dumps(loaded if "/api/ps" in question else {})
                    connection.sendall(("HTTP/1.0 200 OK\r\n\r\n" + body).encode())
        threading.Thread(target=serve, daemon=True).start()
        yield "http://127.0.0.1:%d/api/version" % listener.getsockname()[1], heard, models
        listener.shutdown(socket.SHUT_RDWR)


def test_memory_is_relieved_by_unloading_models(ollama):
    probe, heard, _ = ollama
    wanted = SETTINGS._replace(dependencies=dict(
        SETTINGS.dependencies, ollama=SETTINGS.dependencies["ollama"]._replace(probe=probe)))
    memories = iter([Memory(8 << 30, 1 << 30, biggest=(("ollama.service", 5 << 30),)), Memory(8 << 30, 6 << 30)])
    outcome, detail, changed = relief.relieve_memory(step("relieve-memory"), World({0: RUNNING}).context(wanted), 30,
                                                   lambda biggest=False: next(memories))
    assert outcome == "ok" and changed["unloaded"] == ["llama3:8b"] and changed["bytes_freed"] == 5 << 30
    assert detail == "unloaded llama3:8b, 5 GiB more is available; biggest users: ollama.service 5 GiB"
    assert [question for question, _ in heard] == ["GET /api/ps", "POST /api/generate"]
    assert '"keep_alive": 0' in heard[1][1] and '"model": "llama3:8b"' in heard[1][1]


def test_what_holds_ollamas_port_cannot_fill_the_record(ollama):
    """Whoever answers there chooses the names of its models, and how many there are."""
    probe, _, models = ollama
    models[:] = ["\x1b[2J" + "m" * 500 + str(number) for number in range(50)]
    wanted = SETTINGS._replace(dependencies=dict(
        SETTINGS.dependencies, ollama=SETTINGS.dependencies["ollama"]._replace(probe=probe)))
    changed = relief.relieve_memory(step("relieve-memory"), World({0: RUNNING}).context(wanted), 30,
                                  lambda biggest=False: Memory(8 << 30, 1 << 30))[2]
    assert len(changed["unloaded"]) == relief.MOST_MODELS
    assert all(name.isprintable() and len(name) <= 60 for name in changed["unloaded"])


def test_without_ollama_the_biggest_users_are_named():
    wanted = SETTINGS._replace(dependencies={})
    outcome, detail, _ = relief.relieve_memory(step("relieve-memory"), World({0: RUNNING}).context(wanted), 30,
                                             lambda biggest=False: Memory(8, 1, biggest=(("evil\nname", 3 << 30),)))
    assert outcome == "skipped" and detail == "no model to unload; biggest users: evil name 3 GiB"
