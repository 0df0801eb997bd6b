"""Command lines, mounts, accounts and stamps: text to data."""

import pytest

from citadel.core import accounts, clock, mounts
from citadel.core.arguments import Parser
from citadel.core.errors import UsageError

# --- the command line

def parser():
    made = Parser(prog="x")
    made.add_argument("--verbose", action="store_true")
    made.add_argument("--count", type=int)
    made.add_argument("word", nargs="?", choices=("on", "off"))
    return made


@pytest.mark.parametrize("words, named", [
    (["--wrong"], "--wrong"), (["maybe"], "maybe"), (["--count", "five"], "five"), (["--count"], "--count"),
    (["--verb"], "--verb"), (["on", "two\nlines"], "two lines")])
def test_a_usage_error_names_the_word_in_one_line_and_prints_nothing(capsys, words, named):
    with pytest.raises(UsageError) as caught:
        parser().parse_args(words)
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_a_right_command_line_is_read():
    options = parser().parse_args(["--count", "5", "off"])
    assert (options.verbose, options.count, options.word) == (False, 5, "off")


# --- mounts

@pytest.mark.parametrize("line, mount", [
    pytest.param("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
                 mounts.Mount("/", "/", ["rw", "relatime"], "ext4", "/dev/vda", ["rw"]), id="the root"),
    pytest.param(r"31 27 0:9 /sub\040dir /srv/two\040words ro shared:5 master:2 - xfs /dev/b\011c rw,noquota",
                 mounts.Mount("/sub dir", "/srv/two words", ["ro"], "xfs", "/dev/b\tc", ["rw", "noquota"]),
                 id="escapes and optional fields"),
    pytest.param("31 27 0:9 / /proc rw - proc  rw", mounts.Mount("/", "/proc", ["rw"], "proc", "", ["rw"]),
                 id="no source")])
def test_a_line_of_mountinfo(line, mount):
    assert mounts.parse(line + "\n") == [mount]


@pytest.mark.parametrize("text", ["", "\n", "27 1 254:0 / /", "27 1 254:0 / / rw - ext4 /dev/vda"])
def test_a_line_that_was_cut_is_left_out(text):
    assert mounts.parse("1 1 0:1 / /a rw - tmpfs tmpfs rw\n" + text) == [
        mounts.Mount("/", "/a", ["rw"], "tmpfs", "tmpfs", ["rw"])]


@pytest.mark.parametrize("word, text", [
    ("/a\\040b", "/a b"), ("\\011\\012\\134", "\t\n\\"), ("/a", "/a"), ("/\\x", "/\\x"), ("/\\04", "/\\04"),
    ("/\\089", "/\\089"), ("\\", "\\")])
def test_octal_escapes_of_mountinfo(word, text):
    assert mounts.unescaped(word) == text


def test_mounts_are_listed_in_their_order(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "mountinfo").write_bytes(b"1 1 0:1 / /\xff rw - tmpfs a rw\n2 1 0:2 / / rw - tmpfs b rw\n")
    assert [mount.point for mount in mounts.mounts("7", str(tmp_path))] == ["/\udcff", "/"]
    with pytest.raises(OSError):
        mounts.mounts("8", str(tmp_path))


# --- accounts

PASSWD = ("root:x:0:0:root:/root:/bin/sh\n\n# comment\nnis:x:+:::\nllm:x:990:985::/:/bin/false\ntoor:x:0:7::/:\n"
          "short:x:5\n")


def test_accounts_are_read_and_what_is_none_is_left_out():
    assert accounts.parse(PASSWD) == [accounts.Account("root", 0, 0), accounts.Account("llm", 990, 985),
                                      accounts.Account("toor", 0, 7)]


@pytest.mark.parametrize("uid, name", [(0, "root"), (990, "llm"), (985, None)])
def test_the_first_account_of_a_number(tmp_path, uid, name):
    (tmp_path / "passwd").write_text(PASSWD)
    found = accounts.by_uid(uid, str(tmp_path / "passwd"))
    assert (found and found.name) == name


def test_without_the_file_there_is_no_account(tmp_path):
    assert accounts.by_uid(0, str(tmp_path / "passwd")) is None


# --- stamps

@pytest.mark.parametrize("wall, text", [(0, "1970-01-01T00:00:00Z"), (1795456800.9, "2026-11-23T18:00:00Z")])
def test_a_stamp_is_rfc_3339_and_read_again(wall, text):
    assert clock.stamp(wall) == text and clock.parse_stamp(text) == int(wall)


@pytest.mark.parametrize("text", ["", "2026-11-23", "2026-11-23T18:00:00", "2026-13-23T18:00:00Z",
                                  "2026-11-23T18:00:00Z x"])
def test_what_is_no_stamp(text):
    with pytest.raises(ValueError):
        clock.parse_stamp(text)
