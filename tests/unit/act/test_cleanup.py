"""What may be deleted, what may not, and an attacker who swaps directories while we look."""

import os
import signal
import time
from collections import namedtuple

import pytest
from places import LIB

from citadel.act import cleanup, removal
from citadel.core.run import Answer

ROOT = os.geteuid() == 0
NOBODY = 65534
OLD = 1.7e9

Marks = namedtuple("Marks", "enough_free enough_inodes")


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "logs"
    place.mkdir()
    place.chmod(0o755)
    return place


def make(directory, *names, age=0):
    for number, name in enumerate(names):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 5000)
        os.utime(str(path), (OLD - age - number, OLD - age - number))


def left(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def never():
    return False


# --- names of rotated logs

@pytest.mark.parametrize("name, log", [
    ("service.log.1", "service.log"), ("service.log.12.gz", "service.log"), ("service.log-20261123", "service.log"),
    ("service.log-20261123.xz", "service.log"), ("service.log.2026-11-23", "service.log"),
    ("service.log.2026-11-23_10-15", "service.log"), ("service.log-20261123-1700000000.gz", "service.log"),
    ("service.log.old", "service.log"), ("service.log.2026-11-23_10-15-30_123456", "service.log"),
    ("service.log.20261123T101530", "service.log"), ("service.log.20261123101530", "service.log"),
    ("error.err.3", "error.err"), ("access.json.1.zst", "access.json"),
    ("service.log", None), ("service.log.gz", None), ("data.1", None), ("core.1234", None), ("passwd", None),
    ("service.log.1.bak", None), ("log.1", None), (".log.1", None), ("service.log.1\n", None), ("", None),
    ("service.logs.1", None), ("service.log.x1", None), ("service.log.٣", None)])
def test_rotated_names(name, log):
    found = cleanup.ROTATED.match(name)
    assert (found and found.group("log")) == log


@pytest.mark.parametrize("part", ["-20260101-1-1-1-1-1", "-20260101-1-1", "-20260101", "-1", ".1", ".log.1", "_1"])
def test_no_name_has_more_readings_than_one(part):
    """A file's owner chooses its name: some of 60 characters once took minutes."""
    name = "a.log" + part * (240 // len(part)) + "x"
    started = time.monotonic()
    assert not cleanup.ROTATED.match(name)
    assert time.monotonic() - started < 0.2


# --- rotated logs

def test_the_oldest_go_first_and_only_until_there_is_enough(place):
    make(place, "a.log", "a.log.1", "b/b.log.1", "a.log.2", "b/b.log.2", "a.log.3")
    removed = cleanup.remove_rotated_logs(str(place), 0, lambda: len(left(place)) <= 4)
    assert left(place) == ["a.log", "a.log.1", "a.log.2", "b/b.log.1"]
    assert removed.files == 2 and removed.bytes >= 10000


def test_the_newest_of_each_log_stay(place):
    make(place, *["a.log.%d" % number for number in range(1, 7)])
    make(place, "b.log.1", age=1000)
    cleanup.remove_rotated_logs(str(place), 3, never)
    assert left(place) == ["a.log.1", "a.log.2", "a.log.3", "b.log.1"]


def test_with_enough_free_nothing_is_even_looked_at(place):
    assert cleanup.remove_rotated_logs("/nonexistent", 0, lambda: True) == cleanup.Removed()


def test_an_open_file_stays(place):
    make(place, "a.log.1", "a.log.2")
    with open(str(place / "a.log.2")):
        cleanup.remove_rotated_logs(str(place), 0, never)
    assert left(place) == ["a.log.2"]


def test_links_and_other_things_stay(place, tmp_path):
    make(tmp_path, "outside.log.1", "hard.log.1")
    os.symlink(str(tmp_path / "outside.log.1"), str(place / "soft.log.1"))
    os.link(str(tmp_path / "hard.log.1"), str(place / "hard.log.1"))
    os.mkfifo(str(place / "pipe.log.1"))
    (place / "folder.log.1").mkdir()
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / "elsewhere", "a.log.1")
    os.symlink(str(tmp_path / "elsewhere"), str(place / "linked"))
    assert cleanup.remove_rotated_logs(str(place), 0, never).files == 0
    assert (tmp_path / "elsewhere" / "a.log.1").exists() and (tmp_path / "outside.log.1").exists()


def test_a_place_reached_through_a_link_is_refused(place, tmp_path):
    make(place, "a.log.1")
    os.symlink(str(place), str(tmp_path / "link"))
    removed = cleanup.remove_rotated_logs(str(tmp_path / "link"), 0, never)
    assert removed.files == 0 and "symbolic link" in removed.sentence()


def test_a_place_below_another_s_directory_is_refused(place, tmp_path):
    make(place, "a.log.1")
    tmp_path.chmod(0o777)
    removed = cleanup.remove_rotated_logs(str(place), 0, never)
    assert removed.files == 0 and "%s is writable by its group and everybody" % tmp_path in removed.sentence()


def test_a_place_open_to_everybody_is_refused(place):
    make(place, "a.log.1")
    place.chmod(0o777)
    removed = cleanup.remove_rotated_logs(str(place), 0, never)
    assert removed.files == 0 and "is writable by everybody; nothing" in removed.sentence()


def test_entries_are_capped_and_the_rest_comes_next_time(place, monkeypatch):
    monkeypatch.setattr(removal, "MOST_ENTRIES", 10)
    make(place, *["a.log.%d" % number for number in range(25)])
    removed = [cleanup.remove_rotated_logs(str(place), 0, never).files for _ in range(4)]
    assert removed == [10, 10, 5, 0]


def test_no_time_nothing_removed(place):
    make(place, "a.log.1")
    assert cleanup.remove_rotated_logs(str(place), 0, never, seconds=0).files == 0


@pytest.mark.skipif(not ROOT, reason="needs root to give files away")
def test_in_another_s_directory_its_owner_removes(place):
    """Seen from the kernel's side: a file that only root may remove (a root-owned sub-directory) stays."""
    make(place, "a.log.1", "a.log.2")
    make(place, "root/b.log.1")
    os.chown(str(place), NOBODY, NOBODY)
    removed = cleanup.remove_rotated_logs(str(place), 0, never)
    assert left(place) == ["root/b.log.1"] and removed.files == 2
    assert "belongs to another user" in removed.sentence()


@pytest.mark.skipif(not ROOT, reason="needs root to give files away")
def test_the_child_is_the_owner_and_cannot_come_back():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            became = removal._become(NOBODY)
            try:
                os.setuid(0)
                back = True
            except PermissionError:
                back = False
            os.write(writer, ("%s %s %s %s" % (became, back, os.getresuid(), os.getgroups())).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 200) == b"True False (65534, 65534, 65534) []"
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(not ROOT, reason="needs root to mount")
def test_a_bind_mount_is_not_entered(place, tmp_path):
    import subprocess
    import sys
    make(tmp_path / "protected", "a.log.1")
    (place / "mounted").mkdir()
    lib = LIB
    script = ("import sys; sys.path.insert(0, %r); from citadel.act import cleanup; "
              "print(cleanup.remove_rotated_logs(%r, 0, lambda: False).sentence())" % (lib, str(place)))
    child = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$1" "$2" && exec "$3" -c "$4"',
         "sh", str(tmp_path / "protected"), str(place / "mounted"), sys.executable, script],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = child.communicate()[0].decode()
    if child.returncode:
        pytest.skip("no mount namespaces here: " + said.strip())
    assert "is another mount" in said
    assert (tmp_path / "protected" / "a.log.1").exists()


@pytest.mark.skipif(not ROOT, reason="needs root to have something to protect")
@pytest.mark.parametrize("can_become", [True, False], ids=["as the owner", "as root, where the sandbox forbids more"])
def test_a_race_with_an_attacker_deletes_nothing_protected(place, tmp_path, monkeypatch, can_become):
    """The directory's owner swaps a sub-directory for a link to root's files, as fast as it can, while we clean."""
    if not can_become:
        monkeypatch.setattr(removal, "_become", lambda uid: False)
    monkeypatch.setattr(removal, "files_in_use", lambda names, end: (set(), False))     # its 15 ms leave fewer rounds
    protected = tmp_path / "protected"
    protected.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if str(parent) != "/" and not os.stat(str(parent)).st_mode & 0o001:
            parent.chmod(0o711)
    make(protected, *["a.log.%d" % number for number in range(5)])
    (place / "sub").mkdir()
    os.chown(str(place), NOBODY, NOBODY)
    os.chown(str(place / "sub"), NOBODY, NOBODY)
    attacker = os.fork()
    if attacker == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.chdir(str(place))
            os.symlink(str(protected), "trap")
            while True:
                for number in range(5):
                    os.close(os.open("sub/a.log.%d" % number, os.O_CREAT | os.O_WRONLY, 0o644))
                os.rename("sub", "kept")
                os.rename("trap", "sub")
                os.rename("sub", "trap")
                os.rename("kept", "sub")
        except OSError as error:
            os.write(2, ("attacker: %s\n" % error).encode())
        finally:
            os._exit(1)
    try:
        end = time.monotonic() + float(os.environ.get("CITADEL_RACE", "1.5"))
        rounds = removed = 0
        while time.monotonic() < end:
            removed += cleanup.remove_rotated_logs(str(place), 0, never).files
            rounds += 1
        assert os.waitpid(attacker, os.WNOHANG) == (0, 0), "the attacker gave up"
    finally:
        os.kill(attacker, signal.SIGKILL)
        os.waitpid(attacker, 0)
    print("%d rounds, %d files removed" % (rounds, removed))
    assert rounds > 5 and removed > 0
    assert len(left(protected)) == 5


def test_what_was_swapped_since_we_looked_stays(place):
    make(place, "a.log.1", "b.log.1")
    with removal.Folder(str(place)) as folder:
        candidates = [folder.candidate(name, folder.look(name)) for name in ("a.log.1", "b.log.1")]
        make(place, "new")
        os.rename(str(place / "new"), str(place / "a.log.1"))
        assert removal._unlink(candidates, never, time.monotonic() + 5).files == 1
    assert left(place) == ["a.log.1"]


@pytest.mark.skipif(not ROOT, reason="needs root to become somebody")
def test_an_owner_who_stops_our_child_holds_nothing_up(place, monkeypatch):
    """The child that cleans is a process of the directory's owner, who may send it a SIGSTOP."""
    become, clean_for = removal._become, []

    def become_and_be_stopped(uid):
        become(uid)
        os.kill(os.getpid(), signal.SIGSTOP)
        return True
    monkeypatch.setattr(removal, "_become", become_and_be_stopped)
    make(place, "a.log.1")
    os.chown(str(place), NOBODY, NOBODY)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waits for a process that is stopped"))
    signal.alarm(20)
    try:
        clean_for.append(cleanup.remove_rotated_logs(str(place), 0, never, seconds=0.5))
    finally:
        signal.alarm(0)
    assert "the process that cleans for uid 65534 did not end in time" in clean_for[0].sentence()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)                  # nor is it left behind


# --- temporary files

def test_old_temporary_files_go_young_and_open_ones_stay(tmp_path):
    tmp_path = tmp_path / "run"
    tmp_path.mkdir()
    tmp_path.chmod(0o755)
    make(tmp_path, "a.tmp", "b.tmp", "a.txt", "sub/c.tmp")
    now = time.time()
    os.utime(str(tmp_path / "a.tmp"), (now, now))
    later = lambda: now + 7200                                      # noqa: E731
    with open(str(tmp_path / "b.tmp")):
        assert cleanup.remove_old_files(str(tmp_path) + "/*.tmp", 3600, later).files == 1
    assert left(tmp_path) == ["a.txt", "b.tmp", "sub/c.tmp"]
    assert cleanup.remove_old_files(str(tmp_path) + "/*.tmp", 3600, later).files == 1
    make(tmp_path, "d.tmp")                                         # an old mtime, but made just now
    assert cleanup.remove_old_files(str(tmp_path) + "/*.tmp", 3600, lambda: now + 60).files == 0


def test_what_there_was_no_time_to_ask_about_stays(tmp_path):
    """Somebody's process can have so many files open that to look at them takes longer than the call may."""
    (tmp_path / "1" / "fd").mkdir(parents=True)
    os.symlink("/somewhere/else", str(tmp_path / "1" / "fd" / "0"))
    assert removal.files_in_use({"a"}, time.monotonic() + 60, str(tmp_path)) == (set(), False)
    assert removal.files_in_use({"a"}, time.monotonic(), str(tmp_path)) == (set(), True)
    old = tmp_path / "old"
    old.mkdir()
    make(old, "a.tmp")
    assert cleanup.remove_old_files(str(old) + "/*.tmp", 0, lambda: time.time() + 7200, seconds=0).files == 0
    assert left(old) == ["a.tmp"]


def test_private_directories_of_systemd_are_never_meant(tmp_path):
    assert "needed by running services" in cleanup.remove_old_files("/tmp/systemd-private-*", 0).sentence()


@pytest.mark.skipif(not ROOT, reason="needs root to give files away")
@pytest.mark.parametrize("can_become", [True, False], ids=["can become the owner", "cannot"])
def test_where_everybody_writes_only_a_file_s_owner_removes_it(tmp_path, monkeypatch, can_become):
    if not can_become:
        monkeypatch.setattr(removal, "_become", lambda uid: False)
    shared = tmp_path / "shared"
    shared.mkdir()
    make(shared, "root.tmp", "theirs.tmp")
    os.chown(str(shared / "theirs.tmp"), NOBODY, NOBODY)
    shared.chmod(0o1777)
    removed = cleanup.remove_old_files(str(shared) + "/*.tmp", 3600, lambda: time.time() + 7200)
    assert left(shared) == ([] if can_become else ["theirs.tmp"])
    assert can_become or "cannot become" in removed.sentence()


# --- PID files

@pytest.mark.parametrize("content, goes", [
    (b"4194300\n", True), (b" 4194300", True), (b"1\n", False), (b"0", False), (b"-1", False), (b"", False),
    (b"x", False), (b"%d" % os.getpid(), False), (b"9" * 60, False), (b"4194300" + b" " * 5000000 + b"1", False),
    (b"4194300\n1", False), (b"4194305", False), (b"9999999999\n", False)], ids=lambda value: repr(value)[:30])
def test_pid_files(place, content, goes):
    path = place / "a.pid"
    path.write_bytes(content)
    removed = cleanup.remove_stale_pid_file(str(path))
    assert removed.files == (1 if goes else 0) and path.exists() == (not goes)


def test_pid_files_that_are_no_files(place, tmp_path):
    make(tmp_path, "real")
    (tmp_path / "real").write_bytes(b"4194300")
    os.symlink(str(tmp_path / "real"), str(place / "link.pid"))
    os.mkfifo(str(place / "pipe.pid"))
    for name in ("link.pid", "pipe.pid", "missing.pid"):
        assert cleanup.remove_stale_pid_file(str(place / name)).files == 0
    assert cleanup.remove_stale_pid_file("/nonexistent/x.pid").complaints
    assert left(place) == ["link.pid", "pipe.pid"]


# --- what others do

def test_tmpfiles_is_asked_for_our_own_file_only(tmp_path):
    asked = []

    def run(argv, seconds):
        asked.append(argv)
        return Answer(argv, 1, "", "no\n", 0.0, False)
    (tmp_path / "citadel.conf").write_text("")
    removed = cleanup.clean_by_age(run, 5, str(tmp_path / "citadel.conf"))
    assert asked == [["systemd-tmpfiles", "--clean", str(tmp_path / "citadel.conf")]]
    assert removed.sentence() == "nothing to remove; systemd-tmpfiles exited 1: no"
    assert cleanup.clean_by_age(run, 5, "/nonexistent") == cleanup.Removed() and len(asked) == 1


class At(int):
    """A mark: so many bytes, whatever the size of the disk."""

    def of(self, total):
        return int(self)


@pytest.mark.parametrize("free, inodes, enough", [(50, 9, False), (500, 9, True), (500, 1, False)])
def test_what_is_enough(tmp_path, free, inodes, enough):
    Statvfs = namedtuple("Statvfs", "f_bavail f_frsize f_blocks f_files f_favail")
    tight = cleanup.Tightness(Marks(At(100), At(5)), lambda path: Statvfs(free, 1, 1000, 10, inodes))
    assert tight.has_enough(str(tmp_path)) is enough
    assert bool(tight.devices([str(tmp_path), "/nonexistent"])) is not enough
