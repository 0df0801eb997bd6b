import os
import signal
import tracemalloc

import pytest

from citadel.commands import logs
from citadel.core.errors import CannotLook, CitadelError, NotPermitted


def shown(path, lines, **how):
    out = []
    logs.show_file(str(path), lines, out.append, **how)
    return "".join(text + "\n" for text in out)


@pytest.mark.parametrize("content, lines, expected", [
    pytest.param("a\nb\nc\n", 2, "b\nc\n", id="the last two"),
    pytest.param("a\nb\nc", 2, "b\nc\n", id="a last line without an end"),
    pytest.param("a\nb\n", 50, "a\nb\n", id="more than there are"),
    pytest.param("a\nb\n", 2, "a\nb\n", id="exactly as many as there are"),
    pytest.param("", 5, "", id="an empty file"),
    pytest.param("\n\n\n", 2, "\n\n", id="empty lines are lines"),
    pytest.param("x" * 100000 + "\nlast\n", 1, "last\n", id="behind a line longer than a chunk"),
    pytest.param("l\n" * 200000, 150000, "l\n" * 150000, id="over several chunks"),
    pytest.param("\x1b[2Jcleared\n", 1, "\\x1b[2Jcleared\n", id="escape sequences are shown, not obeyed"),
])
def test_the_last_lines(tmp_path, content, lines, expected):
    path = tmp_path / "service.log"
    path.write_text(content)
    assert shown(path, lines) == expected


def test_bytes_that_are_not_utf_8(tmp_path):
    path = tmp_path / "service.log"
    path.write_bytes(b"caf\xe9\n")
    assert shown(path, 5) == "caf\\xe9\n"


def test_a_line_without_end_does_not_grow_in_memory(tmp_path):
    path = tmp_path / "service.log"
    with open(str(path), "wb") as file:
        file.write(b"x" * 5000000)
    tracemalloc.start()
    try:
        assert len(shown(path, 1)) <= logs.LONGEST_LINE + 1
        assert tracemalloc.get_traced_memory()[1] < 1000000
    finally:
        tracemalloc.stop()


@pytest.fixture
def in_time():
    """Ends a test that would read a terabyte."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("reads all of it"))
    signal.alarm(10)
    yield
    signal.alarm(0)


def huge(path):
    with open(str(path), "wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")


def test_a_file_that_is_huge_and_has_holes_is_not_read_to_its_beginning(tmp_path, in_time):
    huge(tmp_path / "service.log")
    text = shown(tmp_path / "service.log", 50)
    assert text.endswith("\nlast\n") and len(text) <= 2 * logs.LONGEST_LINE


def test_an_operator_ends_the_search_for_the_first_line(tmp_path, in_time):
    huge(tmp_path / "service.log")
    assert shown(tmp_path / "service.log", 10 ** 12, pause=lambda seconds: False) == ""


def test_an_operator_ends_what_scrolls_by(tmp_path, in_time):
    path, written = tmp_path / "service.log", []
    add(path, "line\n" * 100000)
    logs.show_file(str(path), 100000, written.append, pause=lambda seconds: not written)
    assert len(written) == 1


@pytest.mark.parametrize("make, error", [
    pytest.param(lambda path: os.symlink("/etc/passwd", path), NotPermitted, id="a link to somewhere else"),
    pytest.param(os.mkfifo, NotPermitted, id="a FIFO without a writer"),
    pytest.param(os.mkdir, NotPermitted, id="a directory"),
    pytest.param(lambda path: None, CitadelError, id="no file"),
])
def test_what_is_not_followed(tmp_path, make, error):
    path = str(tmp_path / "service.log")
    make(path)
    with pytest.raises(error):
        shown(path, 5)


def test_a_hard_link_to_another_file(tmp_path):
    (tmp_path / "secret").write_text("secret\n")
    os.link(str(tmp_path / "secret"), str(tmp_path / "service.log"))
    with pytest.raises(NotPermitted):
        shown(tmp_path / "service.log", 5)


def follow(path, steps):
    """Follows the file while `steps` (functions) happen to it, one at each pause."""
    steps = list(steps)

    def pause(seconds):
        if not seconds:
            return True
        if not steps:
            return False
        steps.pop(0)()
        return True
    return shown(path, 1, follow=True, pause=pause)


def add(path, text):
    with open(str(path), "a") as file:
        file.write(text)


def test_following_what_is_added(tmp_path):
    path = tmp_path / "service.log"
    add(path, "old\nlast\n")
    assert follow(path, [lambda: add(path, "new\n"), lambda: add(path, "ha"), lambda: add(path, "lf\n")]) == (
        "last\nnew\nhalf\n")


def test_following_across_a_rotation(tmp_path):
    path, rotated = tmp_path / "service.log", tmp_path / "service.log.1"
    add(path, "last\n")
    assert follow(path, [lambda: add(path, "before\n"), lambda: path.rename(rotated), lambda: add(rotated, "late"),
                         lambda: add(path, "after\n"), lambda: add(path, "more\n")]) == (
        "last\nbefore\nlate\nafter\nmore\n")


def test_following_across_a_truncation(tmp_path):
    path = tmp_path / "service.log"
    add(path, "a long last line\n")
    assert follow(path, [lambda: path.write_text("new\n"), lambda: add(path, "more\n")]) == (
        "a long last line\n--- the file was truncated ---\nnew\nmore\n")


def test_following_does_not_follow_a_link_that_replaces_the_file(tmp_path):
    path = tmp_path / "service.log"
    add(path, "last\n")
    (tmp_path / "secret").write_text("secret\n")

    def replace():
        path.unlink()
        path.symlink_to(tmp_path / "secret")
    assert follow(path, [replace, lambda: None]) == "last\n"


@pytest.mark.parametrize("how, words", [
    pytest.param((50,), ["--lines=50"], id="the last lines"),
    pytest.param((10, True), ["--lines=10", "--follow"], id="following"),
    pytest.param((None, False, 100, 200), ["--since=@100", "--until=@201"], id="an incident's span"),
])
def test_journal_command(how, words):
    command = logs.journal_command("x.service", *how)
    assert command[:5] == ["journalctl", "--no-pager", "--quiet", "--output=short-iso", "--unit=x.service"]
    assert command[5:] == words


def test_becoming_a_program():
    became = []
    logs.become(["sh", "-c", "true"], execute=lambda *words: became.append(words))
    path, argv, environment = became[0]
    assert path.startswith("/") and argv == ["sh", "-c", "true"] and "LD_PRELOAD" not in environment
    with pytest.raises(CannotLook):
        logs.become(["no-such-program"])
