"""A file is written whole, or the old one stays."""

import errno
import os

import pytest

from citadel.core import atomic

DEAD = 4194305                          # no process has that number (PID_MAX_LIMIT)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


def test_a_file_is_put_in_place_with_its_mode_whatever_the_umask(target):
    before = os.umask(0o077)
    atomic.write_file(str(target), b"new", 0o644)
    os.umask(before)
    assert target.read_text() == "new" and target.stat().st_mode & 0o7777 == 0o644
    assert os.listdir(str(target.parent)) == ["file"]


def test_a_file_is_written_below_a_directory_s_descriptor(target):
    folder = os.open(str(target.parent), os.O_RDONLY)
    atomic.write_file("file", b"new", dir_fd=folder)
    os.close(folder)
    assert target.read_text() == "new" and target.stat().st_mode & 0o7777 == 0o600


def test_what_stood_in_its_place_is_replaced_and_not_written_through(tmp_path, target):
    (tmp_path / "link").symlink_to(target)
    atomic.write_file(str(tmp_path / "link"), b"new")
    assert target.read_text() == "old" and not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("call", ["write", "fchmod", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(target, monkeypatch, call):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_file(str(target), b"new")
    assert target.read_text() == "old" and os.listdir(str(target.parent)) == ["file"]


@pytest.mark.parametrize("sync, order", [
    (True, ["write", "fsync", "replace", "fsync"]), (False, ["write", "replace"])])
def test_the_file_is_on_disk_before_its_name_is_and_the_name_before_we_say_so(target, monkeypatch, sync, order):
    called = []
    for call in ("write", "fsync", "replace"):
        def noted(*words, _call=call, _real=getattr(os, call), **named):
            called.append(_call)
            return _real(*words, **named)
        monkeypatch.setattr(os, call, noted)
    atomic.write_file(str(target), b"new", sync=sync)
    assert called == order


def test_a_write_that_takes_a_part_goes_on(target, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:2]))
    atomic.write_file(str(target), b"new content")
    assert target.read_text() == "new content"


@pytest.mark.parametrize("made", ["file", "link", "dangling"])
def test_a_staged_file_never_takes_the_place_of_another(tmp_path, target, made):
    path = {"file": target, "link": tmp_path / "link", "dangling": tmp_path / "dangling"}[made]
    if made != "file":
        path.symlink_to(target if made == "link" else tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        atomic.stage(str(path), b"new")
    assert target.read_text() == "old" and not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_staged_file_is_its_owner_s(tmp_path):
    atomic.stage(str(tmp_path / "x"), b"", 0o640, owner=(12345, 54321))
    status = (tmp_path / "x").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (12345, 54321, 0o640)


@pytest.mark.parametrize("name, prefix, goes", [
    pytest.param(".file.%d.aabbccdd.tmp" % DEAD, "", True, id="its writer died"),
    pytest.param(".file.%d.aabbccdd.tmp" % os.getpid(), "", False, id="its writer lives"),
    pytest.param(".citadel.prom.%d.aabbccdd.tmp" % DEAD, "citadel", True, id="one of ours among others"),
    pytest.param(".other.%d.aabbccdd.tmp" % DEAD, "citadel", False, id="another program's"),
    pytest.param("file.%d.aabbccdd.tmp" % DEAD, "", False, id="no leading dot"),
    pytest.param(".file.%d.aabbccdd" % DEAD, "", False, id="not temporary"),
    pytest.param(".file.tmp", "", False, id="without a number")])
def test_what_a_dead_writer_left_is_swept(tmp_path, name, prefix, goes):
    (tmp_path / name).write_text("")
    folder = os.open(str(tmp_path), os.O_RDONLY)
    atomic.sweep(folder, prefix)
    os.close(folder)
    assert os.listdir(str(tmp_path)) == ([] if goes else [name])


def test_one_that_cannot_be_removed_does_not_keep_the_others(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / (".%s.%d.aabbccdd.tmp" % (name, DEAD))).write_text("")
    called, real = [], os.unlink

    def unlink(name, **named):
        called.append(name)
        if len(called) == 1:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        real(name, **named)

    monkeypatch.setattr(os, "unlink", unlink)
    folder = os.open(str(tmp_path), os.O_RDONLY)
    atomic.sweep(folder)
    os.close(folder)
    assert len(called) == 3 and os.listdir(str(tmp_path)) == called[:1]


def test_what_is_written_is_swept_when_its_writer_dies(tmp_path, monkeypatch):
    """The name that `write_file` gives is the one that `sweep` knows."""
    monkeypatch.setattr(os, "replace", lambda *_, **__: os._exit(0))
    child = os.fork()
    if child == 0:
        atomic.write_file(str(tmp_path / "file"), b"new")
    os.waitpid(child, 0)
    assert len(os.listdir(str(tmp_path))) == 1
    folder = os.open(str(tmp_path), os.O_RDONLY)
    atomic.sweep(folder)
    os.close(folder)
    assert os.listdir(str(tmp_path)) == []
