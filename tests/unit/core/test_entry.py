"""What every command does first and last: whose code root runs, and what an internal error leaves behind."""

import os
import subprocess
import sys

import pytest
from places import LIB

from citadel import PACKAGE
from citadel.core import entry
from citadel.core.errors import NotPermitted


def test_an_internal_error_each_minute_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)           # whose files they are is all that it asks
    for number in range(entry.MOST_REPORTS + 5):
        path = tmp_path / ("defect-x-%d.txt" % number)
        path.write_text("")
        os.utime(str(path), (1000 + number, 1000 + number))
    (tmp_path / "state.json").write_text("{}")
    sentence = entry.write_internal_error("x", ValueError("no\x1b[31m\nsuch"), str(tmp_path))
    left = sorted(path.name for path in tmp_path.glob("defect-*"))
    assert len(left) == entry.MOST_REPORTS and (tmp_path / "state.json").exists()
    assert "defect-x-5.txt" not in left and "defect-x-6.txt" in left, "the oldest go"
    assert sentence.startswith(
        "internal error: ValueError: no\\x1b[31m such; the details are in %s/defect-x-" % tmp_path)
    assert os.path.basename(sentence.rpartition(" ")[2]) in left


def test_an_internal_error_without_a_word(tmp_path):
    sentence = entry.write_internal_error("x", ValueError(), str(tmp_path / "nowhere"))
    assert sentence.startswith("internal error: ValueError:; the")


@pytest.mark.parametrize("leave", ("sys.exit", "os._exit"))
def test_what_was_printed_is_out_when_it_leaves(leave):
    code = ("import os, sys; sys.path.insert(0, %r)\n"
            "from citadel.core.entry import enter\n"
            "%s(enter(lambda words: print('done', end='') or 3, 'x', trusted_tree=False))" % (LIB, leave))
    answer = subprocess.run([sys.executable, "-IS", "-B", "-c", code], stdout=subprocess.PIPE)
    assert (answer.returncode, answer.stdout) == (3, b"done")


# --- whose code root runs

@pytest.fixture
def tree(tmp_path):
    """A copy of all our wings, a file each and its byte code, in directories that only their owner can write."""
    package = tmp_path / "citadel"
    for wing in [name for name in os.listdir(PACKAGE) if os.path.isdir(os.path.join(PACKAGE, name))]:
        for place in (package / wing, package / wing / "__pycache__"):
            place.mkdir(parents=True, mode=0o755)
            (place / "code").write_text("")
            (place / "code").chmod(0o644)
    package.chmod(0o755)
    tmp_path.chmod(0o755)
    return package


def wings():
    return sorted(name for name in os.listdir(PACKAGE)
                  if os.path.isdir(os.path.join(PACKAGE, name)) and name != "__pycache__")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who trusts only root's files")
def test_a_tree_that_root_alone_can_change_is_run(tree):
    entry.refuse_untrusted_tree(str(tree))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who trusts only root's files")
@pytest.mark.parametrize("path", wings() + [wing + more for wing in wings() for more in ("/code", "/__pycache__/code")])
def test_what_others_can_write_in_any_wing_is_refused(tree, path):
    (tree / path).chmod(0o646 if path.endswith("code") else 0o757)
    with pytest.raises(NotPermitted, match="%s is writable by everybody" % (tree / path)):
        entry.refuse_untrusted_tree(str(tree))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
@pytest.mark.parametrize("path", ["..", ".", "core", "tell/code"])
def test_what_belongs_to_somebody_else_is_refused(tree, path):
    os.chown(str(tree / path), 12345, 12345)
    with pytest.raises(NotPermitted, match="belongs to uid 12345, not to root"):
        entry.refuse_untrusted_tree(str(tree))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who trusts only root's files")
@pytest.mark.parametrize("mode, trusted", [(0o775, False), (0o1777, True)])
def test_a_directory_above_the_tree_that_others_can_write(tree, mode, trusted):
    tree.parent.chmod(mode)
    if trusted:
        entry.refuse_untrusted_tree(str(tree))
    else:
        with pytest.raises(NotPermitted, match="%s is writable by its group" % tree.parent):
            entry.refuse_untrusted_tree(str(tree))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for whom alone the tree is looked at")
def test_the_whole_package_is_what_a_command_looks_at(monkeypatch):
    looked_at = []
    monkeypatch.setattr(entry, "_clean_environment", lambda: None)
    monkeypatch.setattr(entry, "refuse_untrusted_tree", looked_at.append)
    assert entry.enter(lambda words: 0, "x") == 0
    assert [os.path.basename(path) for path in looked_at] == ["citadel"]
    assert set(wings()) >= {"core", "observe", "tell", "commands"}
