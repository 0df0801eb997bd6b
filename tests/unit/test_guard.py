"""The guard bites: a unit test that acts on the host fails. Each trial is harmless, should the guard not work."""

import os
import socket
import subprocess

import guard
import pytest

from citadel.core import log, run

pytestmark = pytest.mark.skipif(not guard.WORKS, reason="audit hooks came with Python 3.8")
FAILED = pytest.fail.Exception


def by_run(*argv):
    assert run.run(argv, 5).code != 0


def by_subprocess(*argv):
    with pytest.raises(AssertionError):
        subprocess.call(argv)


def by_spawn(*argv):
    with pytest.raises(AssertionError):
        os.posix_spawn(run.find(argv[0]), argv, os.environ)


@pytest.mark.parametrize("way", (by_run, by_subprocess, by_spawn))
@pytest.mark.parametrize("argv", ("systemctl start --help", "systemd-run --version", "wall --version",
                                  "logger --version"))
def test_a_program_that_acts_on_the_host_is_refused_and_fails_the_test(way, argv):
    words = argv.split()
    if not run.find(words[0]):
        pytest.skip("%s is not on this host" % words[0])
    way(*words)
    with pytest.raises(FAILED) as failure:
        guard.check()
    assert argv in str(failure.value)
    guard.check()                       # once: the next test is not blamed


def test_an_entry_in_the_hosts_journal_is_refused_and_fails_the_test():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, pytest.raises(AssertionError):
        sender.sendto(b"MESSAGE=x\n", "/run/systemd/journal/nobody")
    with pytest.raises(FAILED):
        guard.check()


def test_our_own_entries_go_nowhere():
    assert log.journal("step", "x") is False


@pytest.mark.parametrize("event, arguments, refused", [
    pytest.param("os.exec", ("/usr/bin/systemctl", ["systemctl", "--no-block", "restart", "x.service"], {}), True,
                 id="a restart"),
    pytest.param("os.exec", ("/bin/systemctl", ["systemctl", "daemon-reload"], {}), True, id="a reload"),
    pytest.param("os.exec", ("/usr/bin/systemctl", ["systemctl", "show", "--", "x.service"], {}), False,
                 id="noop: a question"),
    pytest.param("os.exec", ("/usr/bin/systemctl", ["systemctl", "--version"], {}), False, id="noop: no verb"),
    pytest.param("os.exec", ("/tmp/fakes/systemctl", ["systemctl", "restart", "x.service"], {}), False,
                 id="noop: a test's own fake"),
    pytest.param("os.exec", (b"/usr/sbin/sendmail", [b"sendmail", b"root"], {}), True, id="mail, in bytes"),
    pytest.param("os.exec", ("/usr/bin/journalctl", ["journalctl", "--vacuum-size=1M"], {}), True,
                 id="entries deleted"),
    pytest.param("os.exec", ("/usr/bin/journalctl", ["journalctl", "-n1"], {}), False, id="noop: entries read"),
    pytest.param("subprocess.Popen", (None, ["wall", "hello"], None, None), True, id="every terminal"),
    pytest.param("socket.connect", (None, "/dev/log"), True, id="syslog"),
    pytest.param("socket.connect", (None, ("127.0.0.1", 8002)), False, id="noop: loopback"),
    pytest.param("open", ("/usr/bin/systemctl", "r", 0), False, id="noop: another event")])
def test_what_is_refused(event, arguments, refused):
    assert bool(guard.refusal(event, arguments)) == refused


def test_it_watches_every_unit_test(request):
    assert "host_is_left_alone" in request.fixturenames
