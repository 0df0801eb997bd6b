"""The interpreter line, and the byte code."""

import os
import stat
import subprocess
import sys

import pytest
from installing import ME, install, read, write

from citadel.core.errors import CannotLook
from citadel.installer import interpreter, layout
from citadel.installer.tree import Tree


@pytest.mark.parametrize("first, result", [
    pytest.param(b"#!/usr/bin/python3 -IS\nx", b"#!/py -IS\nx", id="ours"),
    pytest.param(b"#!/usr/bin/python3\nx", b"#!/py\nx", id="without options"),
    pytest.param(b"#!/bin/sh\nx", b"#!/bin/sh\nx", id="a shell's"),
    pytest.param(b"import os\n", b"import os\n", id="none"),
])
def test_the_interpreter_line(first, result):
    assert layout.with_interpreter(first, b"#!/py") == result


def test_platform_python_is_written_where_there_is_no_other(product, root):
    write(root, "/usr/libexec/platform-python", "")
    install(product, root)
    assert read(root, "/opt/citadel/bin/citadel-restart-manager").startswith("#!/usr/libexec/platform-python -IS\n")


@pytest.fixture
def renew(root):
    """Byte code as an installation makes it, under the umask that every command of ours has."""
    def renew(*sources):
        before = os.umask(0o077)
        try:
            interpreter.remove_byte_code(Tree(root, ME), sources)
            interpreter.write_byte_code(sys.executable, root + "/opt/citadel/lib")
        finally:
            os.umask(before)
    return renew


def test_there_is_the_byte_code_of_each_source_and_nothing_else(root, renew):
    one, other = "/opt/citadel/lib/citadel/one.py", "/opt/citadel/lib/citadel/room/other.py"
    write(root, one, "x = 1\n")
    write(root, other, "x = 1\n")
    renew(one, other)
    cache = root + "/opt/citadel/lib/citadel/__pycache__"
    write(cache, "/planted.pyc", "")
    os.unlink(root + other)
    write(root, one, "x = 22\n")
    renew(one, other)
    assert os.listdir(cache) == ["one.cpython-%d%d.pyc" % sys.version_info[:2]]
    assert stat.S_IMODE(os.stat(os.path.join(cache, os.listdir(cache)[0])).st_mode) == 0o644
    assert os.listdir(root + "/opt/citadel/lib/citadel/room") == []


def test_a_source_changed_by_hand_takes_effect_at_its_next_use(root, renew):
    write(root, "/opt/citadel/lib/one.py", "x = 1\n")
    renew("/opt/citadel/lib/one.py")
    words = [sys.executable, "-IS", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import one; print(one.x)"]
    written = os.listdir(root + "/opt/citadel/lib/__pycache__")
    assert subprocess.check_output(words + [root + "/opt/citadel/lib"]) == b"1\n"
    write(root, "/opt/citadel/lib/one.py", "x = 22\n")
    assert subprocess.check_output(words[:2] + ["-B"] + words[2:] + [root + "/opt/citadel/lib"]) == b"22\n"
    assert os.listdir(root + "/opt/citadel/lib/__pycache__") == written


def test_a_source_that_cannot_be_compiled_is_a_complaint(root, renew):
    write(root, "/opt/citadel/lib/one.py", "def (\n")
    with pytest.raises(CannotLook, match="byte code could not be written"):
        renew("/opt/citadel/lib/one.py")
