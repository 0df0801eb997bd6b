"""The whole product as one file."""

import os
import signal
import subprocess
import sys

import pytest
from installing import ME, install, write
from places import TREE

from citadel.installer import archive, layout
from citadel.installer.main import main


def test_the_same_source_gives_the_same_bytes(product, source, root):
    for top, _, names in os.walk(source):
        for name in names:
            os.utime(os.path.join(top, name), (1, 1))
    write(source, "/lib/citadel/__pycache__/x.pyc", "")
    install(product, root)
    packed = archive.pack(layout.source_files(product))
    assert packed == archive.pack(layout.source_files(source))
    assert packed == archive.pack(layout.source_files(root + "/opt/citadel"))


def pythons():
    """Those of 3.6 and newer that can be found, oldest first; at least the one that runs us."""
    places = os.path.expanduser("~/.pyenv/versions")
    found = [os.path.join(places, name, "bin", "python3") for name in
             (os.listdir(places) if os.path.isdir(places) else ()) if name.startswith("3.6.")]
    return [path for path in found if os.path.exists(path)] or [sys.executable]


@pytest.fixture(scope="session")
def packed(whole, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("packed") / "citadel.pyz")
    assert main(["--pack", path], whole, "/", uid=ME) == 0
    return path


def call(*words):
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.skipif(ME == 0 and not os.path.exists("/usr/bin/systemd-sysusers"), reason="needs systemd-sysusers")
def test_the_one_file_installs_with_an_old_python(packed, whole, root, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        code, out, err = call(pythons()[0], packed, "install", "--root", root, "--schedule", "none")
    finally:
        del os.environ["TMPDIR"]
    assert (code, err) == (0, "")
    assert "is installed in " + root in out
    assert layout.source_files(root + "/opt/citadel") == layout.source_files(whole)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("words, code, complaint", [
    pytest.param(["frobnicate"], 64, "there is no command 'frobnicate'", id="an unknown command"),
    pytest.param(["install", "--bogus"], 64, "--bogus", id="an unknown option"),
    pytest.param(["install", "--root", "/nowhere"], 64, "/nowhere", id="a wrong root"),
])
def test_the_one_file_passes_complaints_and_codes_on(packed, words, code, complaint):
    got, _, err = call(sys.executable, packed, *words)
    assert got == code
    assert complaint in err
    assert len(err.splitlines()) == 1


STARTER = "import sys; sys.path.insert(0, sys.argv[1]); import archive_starter as it; sys.exit(it.run(sys.argv[2:]))"
WAITS = """import sys, time
try:
    print("here", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number, send, code", [
    pytest.param(signal.SIGTERM, os.kill, 143, id="SIGTERM, to the starter alone"),
    pytest.param(signal.SIGHUP, os.kill, 129, id="SIGHUP, to the starter alone"),
    pytest.param(signal.SIGINT, os.killpg, 130, id="Ctrl-C, to both of them"),
])
def test_the_one_file_passes_signals_on(number, send, code):
    starter = subprocess.Popen([sys.executable, "-B", "-c", STARTER, os.path.dirname(archive.__file__),
                                sys.executable, "-c", WAITS], stdout=subprocess.PIPE, start_new_session=True)
    with starter.stdout as said:
        assert said.readline() == b"here\n"
        send(starter.pid, number)
        assert starter.wait(20) == code


def test_an_old_python_gets_a_sentence(packed):
    place = os.path.expanduser("~/.pyenv/versions")
    old = [os.path.join(place, name, "bin", "python") for name in (os.listdir(place) if os.path.isdir(place) else ())
           if name.startswith("2.7")]
    if not old:
        pytest.skip("no Python 2.7 found")
    for words in ([os.path.join(TREE, "install.py")], [packed, "install"]):
        code, out, err = call(old[0], *words)
        assert (code, out) == (69, "")
        assert err.endswith("needs Python 3.6 or newer, and this is 2.7\n")
