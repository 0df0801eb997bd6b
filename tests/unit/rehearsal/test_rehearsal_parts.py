"""The rehearsal's parts that need no machine: the fault table, the narrator, paths, mounts, and the stand-ins."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from citadel.core import mounts
from citadel.core.errors import CitadelError, UsageError
from citadel.rehearsal import faults, isolation, main, stage, standins
from citadel.rehearsal.machine import Machine
from citadel.rehearsal.narrator import Narrator

# --- the command line

@pytest.mark.parametrize("words, complaint", [
    pytest.param(["--only", "flood"], "'flood'", id="a fault that is not known"),
    pytest.param(["--only"], "--only", id="a fault that is not named"),
    pytest.param(["--loud"], "--loud", id="an option that is not known"),
    pytest.param(["now"], "now", id="a word too many")])
def test_a_wrong_command_line_names_the_word(words, complaint):
    with pytest.raises(UsageError) as error:
        main.main(words)
    assert complaint in str(error.value)


def test_list_names_each_fault_once():
    out = io.StringIO()
    assert main.main(["--list"], out) == 0
    names = [line.split()[0] for line in out.getvalue().splitlines()]
    assert names == [fault.name for fault in faults.FAULTS]
    assert len(set(names)) == len(names)


# --- faults

class Theatre:
    """A stage on which nothing is real, for `perform`'s own decisions."""

    standins = ("gateway",)

    def __init__(self, said=None):
        self.will_say, self.said, self.repaired = said or {}, {}, 0

    def make_ready(self):
        return "before"

    def repair(self):
        self.repaired += 1


def fault(seen, causes=(), needs="", prepare=lambda stage: None):
    return faults.Fault("a-fault", "it breaks", lambda stage: None, seen, causes, 10, needs, prepare)


def says(cause):
    def seen(theatre, before, fault):
        theatre.said = {"cause": cause, "because": "it was " + cause}
        return "back"
    return seen


def fails(*_):
    raise CitadelError("not back after 10 s")


@pytest.mark.parametrize("one, survived, happened", [
    pytest.param(fault(says("x"), ("x", "y")), True, "back", id="back, and rightly named"),
    pytest.param(fault(says("z")), True, "back", id="back, whatever it is called"),
    pytest.param(fault(says("z"), ("x",)), False, "back, but the cause that was named is z", id="back, but misnamed"),
    pytest.param(fault(says(""), ("x",)), False, "back, but the cause that was named is none", id="not named"),
    pytest.param(fault(fails), False, "not back after 10 s", id="not back"),
    pytest.param(fault(fails, needs="redis"), None, "not tried: it needs a stand-in for redis", id="impossible here"),
    pytest.param(fault(says("x"), prepare=fails), False, "the gateway was not healthy before the fault",
                 id="no way to begin")])
def test_what_comes_of_a_fault(one, survived, happened):
    theatre = Theatre()
    result = faults.perform(one, theatre)
    assert (result.survived, result.happened) == (survived, happened)
    assert theatre.repaired == (0 if survived is None else 1)


# --- telling it

class Quiet:
    standins = ("ollama",)


RESULTS = (faults.Result("one", True, "back", "it was killed", "gateway.crashed", 5.25),
           faults.Result("two", None, "not tried: it needs a stand-in for gateway", "", "", 0.0))


def test_in_a_pipe_the_story_is_plain_lines():
    out = io.StringIO()
    narrator = Narrator(out, False, clock=lambda: 0.0)
    narrator.begin("one", "it breaks")
    narrator.end_fault(RESULTS[0], Quiet())
    narrator.close(RESULTS, True, Quiet())
    text = out.getvalue()
    assert "\x1b" not in text and "\r" not in text
    assert "1 of 1 fault survived" in text and "it was killed" in text and "not tried" in text


def test_json_is_one_document_and_nothing_else():
    out = io.StringIO()
    narrator = Narrator(out, True, clock=lambda: 0.0)
    narrator.step("boot", lambda: "systemd 252", Quiet())
    narrator.begin("one", "it breaks")
    narrator.end_fault(RESULTS[0], Quiet())
    narrator.close(RESULTS, True, Quiet())
    document = json.loads(out.getvalue())
    assert document["survived"] is True and document["steps"][0]["because"] == "systemd 252"
    assert [one["survived"] for one in document["faults"]] == [True, None]


# --- isolation and the machine

@pytest.mark.parametrize("line, point, kind, files", [
    pytest.param("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw", "/", "ext4", True, id="the root"),
    pytest.param(r"31 27 0:9 / /srv/two\040words rw shared:5 - xfs /dev/sdb1 rw", "/srv/two words", "xfs", True,
                 id="a space in the path"),
    pytest.param("23 27 0:22 / /sys rw,relatime - sysfs sysfs rw", "/sys", "sysfs", False, id="a kernel interface"),
    pytest.param("25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw", "/dev/shm", "tmpfs", False, id="the system's own tmpfs"),
    pytest.param("40 27 0:30 / /var rw - tmpfs tmpfs rw", "/var", "tmpfs", True, id="a tmpfs that holds files"),
    pytest.param("99 27 0:50 / /opt rw - overlay overlay rw,lowerdir=/a", "/opt", "overlay", True, id="an overlay")])
def test_a_mount_is_read_as_the_kernel_writes_it(line, point, kind, files):
    mount, = mounts.parse(line + "\n")
    assert (mount.point, mount.type, isolation.is_for_files(mount)) == (point, kind, files)


@pytest.mark.parametrize("path, expected", [
    pytest.param("/etc/hostname", "etc/hostname", id="a plain file"),
    pytest.param("/var/run/x", "run/x", id="an absolute link stays inside"),
    pytest.param("/bin/sh", "usr/bin/sh", id="a relative link"),
    pytest.param("/etc/../../../etc/passwd", "etc/passwd", id="no way out by dots"),
    pytest.param("/up/etc/passwd", "etc/passwd", id="no way out by a link with dots")])
def test_a_path_of_the_machine_never_leaves_its_root(tmp_path, path, expected):
    machine = Machine(name="m", directory=str(tmp_path))
    for directory in ("etc", "run", "usr/bin", "var"):
        os.makedirs(os.path.join(machine.root, directory))
    os.symlink("/run", os.path.join(machine.root, "var/run"))
    os.symlink("usr/bin", os.path.join(machine.root, "bin"))
    os.symlink("../../../..", os.path.join(machine.root, "up"))
    assert machine.path(path) == os.path.join(machine.root, expected)


def test_a_loop_of_links_is_refused(tmp_path):
    machine = Machine(name="m", directory=str(tmp_path))
    os.makedirs(machine.root)
    os.symlink("/loop", os.path.join(machine.root, "loop"))
    with pytest.raises(CitadelError):
        machine.path("/loop/x")


def test_outside_of_the_isolation_no_machine_is_made(tmp_path):
    if isolation.inside():
        pytest.skip("this test run is isolated itself")
    with pytest.raises(CitadelError) as error:
        with Machine(directory=str(tmp_path)):
            pass
    assert "isolate" in str(error.value) and os.listdir(str(tmp_path)) == []


# --- the stand-ins

@pytest.mark.parametrize("words, answer", [
    pytest.param(["PING"], "+PONG\r\n", id="ping"),
    pytest.param(["GET", "none"], "$-1\r\n", id="a key that is not there"),
    pytest.param(["INFO"], "$108\r\n# Server\r\n", id="INFO is answered with its length"),
    pytest.param(["FLUSHALL"], "-ERR unknown command", id="a command that it does not know")])
def test_the_stand_in_for_redis_answers_as_redis_does(words, answer):
    assert standins.answer(words).startswith(answer)


@pytest.fixture
def uvicorn(tmp_path):
    program = shutil.copy(stage.STANDINS, str(tmp_path / "uvicorn"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, program, "citadel_llm.api.gateway:app", "--host", "127.0.0.1",
                                "--port", str(port), "--workers", "2"], stdout=subprocess.DEVNULL)
    yield process, port
    process.terminate()
    process.wait(10)


def get(port, path, seconds=10):
    """The HTTP status; waits until the port is open."""
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path).encode())
                return int(connection.recv(64).split()[1])
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(word) for word in file.read().split()]


def two_workers(pid, but=(), seconds=10):
    """The first worker answers before the second is there, and a dead one is replaced in its time."""
    end = time.monotonic() + seconds
    while len(set(children(pid)) - set(but)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    return sorted(set(children(pid)) - set(but))


def test_the_stand_in_for_uvicorn_serves_and_replaces_a_worker(uvicorn):
    process, port = uvicorn
    assert get(port, "/health") == 200
    assert get(port, "/elsewhere") == 404
    workers = two_workers(process.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert len(two_workers(process.pid, but=workers[:1])) == 2
    assert get(port, "/health") == 200


def test_the_stand_in_for_uvicorn_ends_by_sigterm_with_0(uvicorn):
    process, port = uvicorn
    assert get(port, "/health") == 200
    process.terminate()
    assert process.wait(10) == 0
