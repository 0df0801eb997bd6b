"""citadel-rehearsal from outside: what it answers, and that this host is as it was, however it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from citadel.rehearsal import cgroups, isolation
from citadel.rehearsal.machine import Machine

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WATCHED = ("/etc", "/usr", "/var", "/opt", "/run", "/srv", "/root")
# Where others are at work while a test runs: pytest's own, package managers', and the cached roots (which are large).
NOISE = ("/var/cache", "/var/log", "/var/lib/apt", "/root/.cache", "/root/.pyenv", "/run/systemd/journal")
SLOW_INSTALL = "import time\nprint('installing', flush=True)\ntime.sleep(120)\n"
BAD_INSTALL = "import sys\nsys.exit('there is no room for it')\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def only_on_this_host(pytestconfig):
    if pytestconfig.getoption("--root") != "/":
        pytest.skip("the rehearsal copies this host, whatever the matrix")


@pytest.fixture
def tree_with(tmp_path):
    """A function that makes a source tree whose install.py is the given text."""
    def make(install):
        tree = str(tmp_path / "tree")
        for name in ("bin", "lib", "units"):
            shutil.copytree(os.path.join(TREE, name), os.path.join(tree, name),
                            ignore=shutil.ignore_patterns("__pycache__"))
        with open(os.path.join(tree, "install.py"), "w") as file:
            file.write(install)
        return tree
    return make


class Rehearsal:
    """The command, running in a cgroup of its own so that what it leaves behind can be seen to be its own."""

    def __init__(self, words, tree=TREE):
        self.before = look()
        self.group = self._make_group()
        self.process = subprocess.Popen([os.path.join(tree, "bin", "citadel-rehearsal")] + words,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=self._join, universal_newlines=True)

    def _make_group(self):
        here = cgroups.own_directory()
        if not here or not os.access(here, os.W_OK) or os.path.isdir("/run/systemd/system"):
            return ""
        group = os.path.join(here, "citadel-test-%d" % (time.monotonic() * 1e6))
        os.mkdir(group)
        return group

    def _join(self):
        if self.group:
            with open(self.group + "/cgroup.procs", "w") as file:
                file.write("0")

    def await_line(self, word):
        """Reads the story up to a line that holds `word`."""
        for line in self.process.stdout:
            if word in line:
                return line
        pytest.fail("no line with %r: %s" % (word, self.process.stderr.read()))

    def end(self, seconds=60):
        """(exit code, stdout, stderr) once it has ended."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def left(self):
        """What of it is still there."""
        left = ["/tmp/" + name for name in os.listdir("/tmp") if name.startswith("nspawn-")]
        if self.group:
            left += [path for path, _, _ in os.walk(self.group)][1:]
            left += ["process " + pid for path, _, _ in os.walk(self.group) for pid in _processes(path)]
        return left

    def assert_nothing_changed(self):
        end = time.monotonic() + 10         # after SIGKILL the keeper tidies on its own time
        while self.left() and time.monotonic() < end:
            time.sleep(0.02)
        assert self.left() == []
        if self.group:
            os.rmdir(self.group)
        files, mounts = look()
        assert mounts == self.before[1]
        before = self.before[0]
        assert sorted(path for path in set(files) | set(before) if files.get(path) != before.get(path)) == []


def _processes(group):
    with open(group + "/cgroup.procs") as file:
        return file.read().split()


def look():
    """Every watched file with its time, size and mode; every mount."""
    files, waiting = {}, list(WATCHED)
    while waiting:
        directory = waiting.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError:
            continue
        for entry in entries:
            if entry.path in NOISE or entry.name == "__pycache__":
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            files[entry.path] = (status.st_mtime_ns, status.st_size, status.st_mode, status.st_ino)
    with open("/proc/self/mountinfo") as file:
        return files, file.read()


def test_one_fault_leaves_the_host_as_it_was():
    rehearsal = Rehearsal(["--only", "gateway-killed", "--json"])
    code, out, err = rehearsal.end(120)
    document = json.loads(out)
    assert (code, document["survived"]) == (0, True), out + err
    assert [step["step"] for step in document["steps"]] == [
        "boot", "install", "start", "check", "test-restart", "steady"]
    fault, = document["faults"]
    assert fault["cause"] == "gateway.crashed" and 4.5 < fault["seconds"] < 12
    rehearsal.assert_nothing_changed()


def test_a_step_that_fails_is_exit_1_and_the_host_as_it_was(tree_with):
    rehearsal = Rehearsal([], tree_with(BAD_INSTALL))
    code, out, _ = rehearsal.end()
    assert code == 1
    assert "there is no room for it" in out and "The rehearsal failed" in out
    rehearsal.assert_nothing_changed()


@pytest.mark.parametrize("number, expected", [
    pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
    pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
    pytest.param(signal.SIGHUP, 129, id="the terminal is closed"),
    pytest.param(signal.SIGKILL, -9, id="SIGKILL")])
def test_ended_in_the_middle_it_leaves_the_host_as_it_was(tree_with, number, expected):
    rehearsal = Rehearsal([], tree_with(SLOW_INSTALL))
    rehearsal.await_line("boot")
    assert rehearsal.left() != []           # or this test could not fail
    rehearsal.process.send_signal(number)
    code, _, err = rehearsal.end(20)
    assert code == expected, err
    rehearsal.assert_nothing_changed()


def test_when_its_keeper_is_killed_nothing_is_left_either(tree_with):
    rehearsal = Rehearsal([], tree_with(SLOW_INSTALL))
    rehearsal.await_line("boot")
    with open("/proc/%d/task/%d/children" % (rehearsal.process.pid, rehearsal.process.pid)) as file:
        keeper, = file.read().split()
    os.kill(int(keeper), signal.SIGKILL)
    assert rehearsal.end(20)[0] == 137
    rehearsal.assert_nothing_changed()


def test_the_source_tree_stays_as_it_was_cloned(tree_with):
    tree = tree_with(BAD_INSTALL)
    assert Rehearsal([], tree).end()[0] == 1
    assert [path for path, _, _ in os.walk(tree) if path.endswith("__pycache__")] == []


def test_kept_it_can_be_entered_and_ends_with_ctrl_c(tree_with):
    tree = tree_with(BAD_INSTALL)
    rehearsal = Rehearsal(["--keep"], tree)
    rehearsal.await_line("--enter")
    inside = subprocess.run([os.path.join(tree, "bin", "citadel-rehearsal"), "--enter"], input="hostname; exit 7\n",
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=20)
    assert (inside.returncode, inside.stdout) == (7, "citadel-rehearsal\n"), inside.stderr
    rehearsal.process.send_signal(signal.SIGINT)
    assert rehearsal.end(20)[0] == 1        # what failed stays failed
    rehearsal.assert_nothing_changed()


def test_on_a_host_whose_pid_1_is_systemd_it_runs_in_a_scope_and_leaves_none():
    """Such a host is a machine of ours, with the capabilities that a container lacks for one more container."""
    if not isolation.inside():
        pytest.skip("needs tests/live/isolated.py: run tests/run")
    binds = {"/mnt": TREE}
    with Machine("/", "systemd-host", binds=binds, options=["--capability=all"]) as host:
        host.boot()
        before = host.run(["find", "/etc", "/usr", "/opt", "/var", "/tmp", "-xdev", "-newer", "/proc/1"], 60).out
        answer = host.run(["systemd-run", "--quiet", "--pipe", "--wait", "/mnt/bin/citadel-rehearsal", "--json",
                           "--only", "gateway-killed"], 120)
        assert answer.ok and json.loads(answer.out)["survived"], answer.out + answer.err
        assert host.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "citadel-*.scope"], 10).out == ""
        assert host.run(["find", "/sys/fs/cgroup", "-name", "citadel-*"], 10).out == ""
        after = host.run(["find", "/etc", "/usr", "/opt", "/var", "/tmp", "-xdev", "-newer", "/proc/1"], 60).out
        assert sorted(set(after.split()) - set(before.split()) - {"/tmp", "/etc", "/var/log"}) == []


@pytest.mark.parametrize("words, code, complaint", [
    pytest.param(["--list"], 0, "", id="list"),
    pytest.param(["--only", "earthquake"], 64, "earthquake", id="a fault that is not known"),
    pytest.param(["--frobnicate"], 64, "--frobnicate", id="an option that is not known"),
    pytest.param(["--enter"], 1, "--keep", id="enter, with none kept")])
def test_the_command_line(words, code, complaint):
    answer = subprocess.run([os.path.join(TREE, "bin", "citadel-rehearsal")] + words, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=20)
    assert answer.returncode == code and complaint in answer.stderr and answer.stderr.count("\n") <= 1


def test_without_root_it_is_one_line_and_77():
    answer = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-IS", "-B",
                             os.path.join(TREE, "bin", "citadel-rehearsal")], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (77, "", 1)


def test_without_nspawn_it_names_the_package_and_ends_with_69():
    """systemd-nspawn is hidden in a mount namespace of the test's own."""
    program = shutil.which("systemd-nspawn")
    script = "mount --bind /dev/null %s && exec %s" % (program, os.path.join(TREE, "bin", "citadel-rehearsal"))
    answer = subprocess.run(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True)
    assert (answer.returncode, answer.stderr.count("\n")) == (69, 1)
    assert "systemd-container" in answer.stderr and "--get-nspawn" in answer.stderr


WRITING_INSTALL = """
import sys
with open('/srv/note') as file:
    text = file.read()
with open('/srv/note', 'w') as file:
    file.write('changed')
with open('/srv/note') as file:
    sys.exit('read %r, then %r' % (text, file.read()))
"""


def test_a_part_of_the_host_that_is_a_file_system_of_its_own_is_copied_and_untouched(tree_with):
    script = "mount -t tmpfs tmpfs /srv && printf kept >/srv/note && %s; cat /srv/note" % os.path.join(
        tree_with(WRITING_INSTALL), "bin", "citadel-rehearsal")
    answer = subprocess.run(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True)
    assert "read 'kept', then 'changed'" in answer.stdout, answer.stdout + answer.stderr
    assert answer.stdout.endswith("kept")


def test_the_program_cannot_write_to_the_host_at_all(tmp_path):
    """Inside the isolation the host's file systems are read-only: not only our care keeps the host as it was."""
    code = ("import sys; sys.path.insert(0, %r)\n"
            "from citadel.rehearsal.isolation import isolate\n"
            "isolate([sys.executable, '-c', sys.argv[1], sys.argv[1]], read_only=True)\n"
            "open(%r, 'w')      # /tmp alone can be written to, and nothing of it arrives\n"
            "open('/etc/citadel-was-here', 'w')\n" % (os.path.join(TREE, "lib"), str(tmp_path / "written")))
    answer = subprocess.run([sys.executable, "-B", "-c", code, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True)
    assert "Read-only file system: '/etc/citadel-was-here'" in answer.stderr
    assert os.listdir(str(tmp_path)) == [] and not os.path.exists("/etc/citadel-was-here")
