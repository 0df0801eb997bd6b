"""Programs that do not end as they should."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from places import LIB

from citadel.core import run


def test_what_cannot_even_be_killed_is_given_up(monkeypatch):
    """A process that waits for a dead disk (state D) does not die of SIGKILL: here the signal is lost on its way."""
    lost = []
    monkeypatch.setattr(run, "_kill_group", lost.append)
    started = time.monotonic()
    try:
        answer = run.run(["sleep", "60"], 0.2)
        assert answer.timed_out and time.monotonic() - started < 0.2 + run.DYING + 1
    finally:
        os.kill(lost[0], signal.SIGKILL)
        os.waitpid(lost[0], 0)


def test_who_started_us_may_have_ignored_its_children_and_blocked_our_signals():
    """Both are inherited through exec: then no child can be awaited, and systemd's SIGTERM is not heard."""
    code = ("import os, signal, sys; sys.path.insert(0, %r)\n"
            "from citadel.core import run as commands, entry\n"
            "def main(arguments):\n"
            "    print(commands.run(['sh', '-c', 'exit 7'], 5).code)\n"
            "    print(sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())))\n"
            "    return 0\n"
            "entry.enter(main, 'x', trusted_tree=False)\n" % LIB)

    def surround():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD))
    said = subprocess.run([sys.executable, "-IS", "-B", "-c", code], stdout=subprocess.PIPE, preexec_fn=surround)
    assert (said.returncode, said.stdout) == (0, b"7\n[]\n")


@pytest.mark.parametrize("call, after, error", [
    ("pipe", 0, errno.EMFILE), ("pipe", 2, errno.EMFILE), ("fork", 0, errno.EAGAIN), ("fork", 0, errno.ENOMEM)])
def test_what_cannot_be_started_is_an_answer_and_leaves_nothing_open(monkeypatch, call, after, error):
    """No descriptor, no memory or no task left: those whom we look after may be just as short of them."""
    real, called = getattr(os, call), []

    def fails():
        called.append(1)
        if len(called) > after:
            raise OSError(error, os.strerror(error))
        return real()

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, call, fails)
    answer = run.run(["true"], 5)
    assert (answer.ok, answer.code) == (False, run.NOT_STARTED)
    assert answer.complaint().endswith("cannot start %s: %s" % (run.find("true"), os.strerror(error)))
    assert os.listdir("/proc/self/fd") == before
