"""What others could have touched: how it is opened, and who may be trusted with it."""

import os
import socket

import pytest

from citadel.core import trust
from citadel.core.errors import NotPermitted

ROOT = os.geteuid() == 0
ME = os.geteuid()
OTHER = 12345
needs_root = pytest.mark.skipif(not ROOT, reason="needs root to give a file away")


def made(kind, path):
    """Something of that kind at `path`."""
    if kind == "file":
        with open(path, "wb") as file:
            file.write(b"content")
    elif kind == "link":
        made("file", path + ".real")
        os.symlink(path + ".real", path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.chdir(os.path.dirname(path))             # a socket's path is short
        socket.socket(socket.AF_UNIX).bind(os.path.basename(path))
    return path


class Status:
    """What os.stat tells of an owner and a mode."""

    def __init__(self, uid=0, mode=0o100644):
        self.st_uid, self.st_mode = uid, mode


# --- opening

def test_a_file_is_read(tmp_path):
    assert trust.read_file(made("file", str(tmp_path / "x")), 7) == b"content"


def test_a_file_is_read_from_a_directory_s_descriptor(tmp_path):
    made("file", str(tmp_path / "x"))
    folder = os.open(str(tmp_path), os.O_RDONLY)
    assert trust.read_file("x", 7, folder) == b"content" and trust.read_file("y", 7, folder) is None
    os.close(folder)


@pytest.mark.parametrize("kind, why", [
    ("link", "Too many levels"), ("directory", "not a regular file"), ("fifo", "not a regular file"),
    ("socket", "No such device")])
def test_what_is_no_file_is_not_opened_and_nothing_hangs(tmp_path, monkeypatch, kind, why):
    monkeypatch.chdir(tmp_path)
    path = made(kind, str(tmp_path / "x"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=why):
        trust.read_file(path, 100)
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor is left open"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(path):
    with pytest.raises(OSError, match="not a regular file"):
        trust.open_file(path)


def test_more_than_the_limit_is_an_error_and_no_half_answer(tmp_path):
    with pytest.raises(OSError, match="larger than 6 bytes"):
        trust.read_file(made("file", str(tmp_path / "x")), 6)


def test_no_child_inherits_what_is_opened(tmp_path):
    descriptor = trust.open_file(made("file", str(tmp_path / "x")))
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


# --- directories

@pytest.fixture
def place(tmp_path):
    path = tmp_path / "above" / "place"
    path.mkdir(parents=True)
    path.chmod(0o755)
    path.parent.chmod(0o755)
    return path


def opened(path, **how):
    """Whether the directory was opened, and is the one of that path; the refusal's words otherwise."""
    try:
        descriptor = trust.open_directory(str(path), **how)
    except NotPermitted as refusal:
        return str(refusal)
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(str(path)))
    finally:
        os.close(descriptor)


def test_a_directory_is_opened(place):
    assert opened(place) is True and opened("/") is True
    assert opened(place, check_parents=True, check_itself=True) is True


@pytest.mark.parametrize("part", ["above", "above/place"])
def test_no_part_of_a_directory_s_path_may_be_a_link(place, part):
    link = place.parent.parent / part
    link.rename(str(link) + ".real")
    link.symlink_to(str(link) + ".real")
    assert opened(place) == "%s is a symbolic link; citadel follows none" % link


@pytest.mark.parametrize("part, mode, how, why", [
    pytest.param("above", 0o775, {"check_parents": True}, "is writable by its group", id="its group may write above"),
    pytest.param("above", 0o757, {"check_parents": True}, "is writable by everybody", id="all may write above"),
    pytest.param("above", 0o1777, {"check_parents": True}, "", id="the sticky bit keeps a parent's names apart"),
    pytest.param("above", 0o777, {"check_itself": True}, "", id="parents that are not asked about"),
    pytest.param("above/place", 0o777, {"check_parents": True}, "", id="itself not asked about"),
    pytest.param("above/place", 0o777, {"check_itself": True}, "is writable by its group and everybody",
                 id="a directory all may write"),
    pytest.param("above/place", 0o1777, {"check_itself": True}, "is writable by its group and everybody",
                 id="the sticky bit does not keep new files out")])
def test_who_may_write_on_the_way(place, part, mode, how, why):
    part = place.parent.parent / part
    part.chmod(mode)
    assert opened(place, **how) == ("%s %s" % (part, why) if why else True)


@needs_root
@pytest.mark.parametrize("part, how", [("above", "check_parents"), ("above/place", "check_itself")])
def test_a_directory_of_somebody_else_on_the_way(place, part, how):
    os.chown(str(place.parent.parent / part), OTHER, OTHER)
    assert opened(place, **{how: True}) == "%s belongs to uid 12345, not to root" % (place.parent.parent / part)
    assert opened(place) is True


@pytest.mark.parametrize("path, error", [("absent", FileNotFoundError), ("file", NotADirectoryError),
                                         ("file/below", NotADirectoryError)])
def test_what_cannot_be_opened_is_an_oserror_that_names_the_part(place, path, error):
    made("file", str(place / "file"))
    with pytest.raises(error) as caught:
        trust.open_directory(str(place / path))
    assert caught.value.filename == str(place / path.split("/")[0])


def test_a_relative_directory_is_refused():
    assert opened("tmp") == "tmp is not an absolute path"


def test_no_descriptor_is_left_open_by_a_refusal(place):
    before = len(os.listdir("/proc/self/fd"))
    place.chmod(0o777)
    assert opened(place, check_itself=True) is not True
    with pytest.raises(OSError):
        trust.open_directory(str(place / "absent"))
    assert len(os.listdir("/proc/self/fd")) == before


# --- the verdict

@pytest.mark.parametrize("status, how, why", [
    pytest.param(Status(), {}, "", id="root's"),
    pytest.param(Status(33), {}, "belongs to uid 33, not to root", id="another's"),
    pytest.param(Status(33), {"owners": (0, 33)}, "", id="one of the owners"),
    pytest.param(Status(33), {"owners": None}, "", id="anybody's, where that is no matter"),
    pytest.param(Status(33), {"owners": (0, 44)}, "belongs to uid 33, not to uid 44", id="for a user"),
    pytest.param(Status(0, 0o100664), {}, "is writable by its group", id="its group writes"),
    pytest.param(Status(0, 0o100646), {}, "is writable by everybody", id="everybody writes"),
    pytest.param(Status(0, 0o100666), {}, "is writable by its group and everybody", id="both write"),
    pytest.param(Status(0, 0o100664), {"forbidden": 0o002}, "", id="its group may"),
    pytest.param(Status(0, 0o100640), {"forbidden": 0o077}, "is readable by its group", id="a secret"),
    pytest.param(Status(0, 0o100604), {"forbidden": 0o077}, "is readable by everybody", id="no secret at all"),
    pytest.param(Status(0, 0o100600), {"forbidden": 0o077}, "", id="a secret that is one"),
    pytest.param(Status(0, 0o041777), {}, "is writable by its group and everybody", id="sticky is not enough"),
    pytest.param(Status(0, 0o041777), {"sticky": True}, "", id="sticky is enough"),
    pytest.param(Status(33, 0o041777), {"sticky": True}, "belongs to uid 33, not to root", id="another's, sticky"),
    pytest.param(Status(0, 0o120777), {}, "", id="a link's mode says nothing"),
    pytest.param(Status(33, 0o120777), {}, "belongs to uid 33, not to root", id="a link's owner does")])
def test_objection(status, how, why):
    assert trust.objection(status, **how) == why


def spoilt(path, how):
    """Makes the program `path` one that root must not run."""
    if how == "missing":
        path.unlink()
    elif how == "a link":
        path.rename(str(path) + ".real")
        path.symlink_to(str(path) + ".real")
    elif how == "below a link":
        path.parent.rename(str(path.parent) + ".real")
        path.parent.symlink_to(str(path.parent) + ".real")
    elif how == "a directory":
        path.unlink()
        path.mkdir()
    else:
        (path.parent if how.startswith("below") else path).chmod(
            0o644 if how == "not executable" else 0o777)


@pytest.mark.parametrize("how, why", [
    ("", ""), ("missing", "program: No such file"), ("a link", "program is not a regular file"),
    ("below a link", "place is not a directory (a link?)"), ("a directory", "program is not a regular file"),
    ("not executable", "program is not executable"), ("all may write it", "program is writable by its group and"),
    ("below a directory that all may write", "place is writable by its group and everybody")])
def test_what_root_may_run(place, how, why):
    program = place / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    if how:
        spoilt(program, how)
    found = trust.untrusted_program(str(program), ME)
    assert why in found and bool(found) == bool(how)


@needs_root
def test_root_runs_nobody_else_s_program(place):
    program = made("file", str(place / "program"))
    os.chmod(program, 0o755)
    os.chown(program, OTHER, OTHER)
    assert trust.untrusted_program(program) == program + " belongs to uid 12345, not to root"
    assert trust.untrusted_program(program, OTHER) == ""


def test_a_program_without_a_path_is_refused():
    assert trust.untrusted_program("program") == "program is not an absolute path"
