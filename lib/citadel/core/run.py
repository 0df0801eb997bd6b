"""The one place where programs are started: argv, deadline, output cap, clean environment, no shell.

Failure is an answer, not an exception: a program that exits 1, is killed at its deadline, is not found or cannot be
started gives an `Answer` that says so. os.fork and execve instead of `subprocess`: the health check that cron starts
each minute would pay for `import subprocess` each time (10 ms, as much as the rest of the check).
"""

import _signal
import os
import select
import time
from collections import namedtuple

PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
ENVIRONMENT = {"PATH": ":".join(PATH), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "HOME": "/root", "TERM": "dumb",
               "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "SYSTEMD_URLIFY": "0"}
OUTPUT_CAP = 64 * 1024
DYING = 1.0                             # seconds; what waits for a dead disk (state D) dies later, and alone
NOT_STARTED, NOT_FOUND, TIMED_OUT = 126, 127, -1000


class Answer(namedtuple("Answer", "argv code out err seconds truncated")):
    """What a program answered. `code` is its exit status, the negative number of the signal that ended it, NOT_FOUND,
    NOT_STARTED, or TIMED_OUT when it and its process group were killed at the deadline. `out` and `err` are text, at
    most the cap each, undecodable bytes shown as backslash escapes; `truncated` says that there was more."""

    __slots__ = ()

    @property
    def ok(self):
        return self.code == 0

    @property
    def timed_out(self):
        return self.code == TIMED_OUT

    def complaint(self):
        """One line that says how it ended, for a message or a `because`."""
        name = os.path.basename(self.argv[0])
        if self.timed_out:
            return "%s did not answer within %.0f s" % (name, self.seconds)
        if self.code == NOT_FOUND and not self.out:
            return "%s is not installed on this host" % name
        how = "was killed by signal %d" % -self.code if self.code < 0 else "exited %d" % self.code
        words = (self.err.strip() or self.out.strip()).splitlines()
        return "%s %s%s" % (name, how, ": " + words[-1].strip() if words else "")


class Deadline:
    """A point on CLOCK_MONOTONIC that several questions share."""

    def __init__(self, seconds, clock=time.monotonic):
        self._clock = clock
        self._end = clock() + seconds

    def left(self):
        """Seconds left, never below 0."""
        return max(0.0, self._end - self._clock())


def find(name):
    """The absolute path of a program, searched in the system's directories only, or None."""
    paths = [name] if "/" in name else [directory + "/" + name for directory in PATH]
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def run(argv, timeout, stdin=b"", cap=OUTPUT_CAP, environment=None):
    """Runs `argv` to its end, or kills its whole process group after `timeout` seconds; never raises for its failure.
    It gets a session of its own, `stdin` on a pipe (empty by default), nothing else of our open files, and
    ENVIRONMENT with `environment` laid over it."""
    started = time.monotonic()
    argv = tuple(os.fspath(word) for word in argv)
    path = find(argv[0])
    if path is None:
        return Answer(argv, NOT_FOUND, "", "", 0.0, False)
    surroundings = dict(ENVIRONMENT, **(environment or {}))
    pipes = []
    try:
        for _ in range(3):
            pipes.append(os.pipe())
        pid = os.fork()
    except OSError as error:            # no memory, no descriptor left, TasksMax= reached
        for descriptor in [one for pair in pipes for one in pair]:
            os.close(descriptor)
        return Answer(argv, NOT_STARTED, "", "cannot start %s: %s" % (path, error.strerror), 0.0, False)
    (child_in, our_in), (our_out, child_out), (our_err, child_err) = pipes
    if pid == 0:
        _become(path, argv, surroundings, child_in, child_out, child_err)
    for descriptor in (child_in, child_out, child_err):
        os.close(descriptor)
    out, err, truncated, timed_out = _converse(our_in, stdin, our_out, our_err, cap, started + timeout)
    code = None if timed_out else reap(pid, started + timeout)
    if code is None:
        _kill_group(pid)
        reap(pid, time.monotonic() + DYING)
        code = TIMED_OUT
    return Answer(argv, code, out, err, time.monotonic() - started, truncated)


def _become(path, argv, environment, stdin, stdout, stderr):
    """In the child: only descriptors 0 to 2, default signals, a process group of its own, then the program."""
    try:
        os.setsid()
        for number, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, number)
        os.closerange(3, 4096)
        for signal in (_signal.SIGPIPE, _signal.SIGINT, _signal.SIGTERM):
            _signal.signal(signal, _signal.SIG_DFL)
        os.execve(path, argv, environment)
    except OSError as error:
        os.write(2, ("cannot start %s: %s\n" % (path, error.strerror)).encode("utf-8", "backslashreplace"))
    finally:
        os._exit(NOT_STARTED)


def _converse(to_child, stdin, from_out, from_err, cap, end):
    """Writes stdin, keeps at most `cap` bytes of each output: both as text, is one truncated, was the time up first."""
    kept, rest, truncated = {from_out: bytearray(), from_err: bytearray()}, memoryview(stdin), False
    open_ones, poll = {to_child, from_out, from_err}, select.poll()
    os.set_blocking(to_child, False)
    for descriptor in open_ones:
        poll.register(descriptor, select.POLLOUT if descriptor == to_child else select.POLLIN)
    while open_ones - {to_child}:
        left = end - time.monotonic()
        if left <= 0:                       # poll(2) would take a negative number for "without an end"
            break
        for descriptor, _ in poll.poll(left * 1000):
            if descriptor == to_child:
                try:
                    rest = rest[os.write(to_child, rest[:65536]):]
                except OSError:             # it does not read any more
                    rest = rest[:0]
                at_end = not rest
            else:
                chunk = os.read(descriptor, 65536)
                room = cap - len(kept[descriptor])
                truncated = truncated or len(chunk) > room
                kept[descriptor] += chunk[:room]
                at_end = not chunk
            if at_end:
                poll.unregister(descriptor)
                os.close(descriptor)
                open_ones.remove(descriptor)
    for descriptor in open_ones:
        os.close(descriptor)
    out, err = (kept[one].decode("utf-8", "backslashreplace") for one in (from_out, from_err))
    return out, err, truncated, bool(open_ones - {to_child})


def reap(pid, end):
    """The exit status once there is one, or None at the deadline (a program may close its output and go on)."""
    pause = 0.0005
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        if time.monotonic() >= end:
            return None
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _kill_group(pid):
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, _signal.SIGKILL)
            return
        except OSError:
            continue
