"""The host that is installed on: the running system, or a root directory that will be one later on."""

import fcntl
import os

from citadel.core.errors import LockHeld
from citadel.core.run import run as run_program
from citadel.installer.layout import STATE

SECONDS = 30


class Host:
    """Where to install (`tree`) and how to ask and tell: `run` starts programs, `say` and `complain` take a line."""

    def __init__(self, tree, say, complain, run=run_program):
        self.tree, self.root, self.run = tree, tree.root, run
        self.say, self.complain = say, complain
        self.lock = None                        # the descriptor that keeps other installations out
        self.is_running = self.root == "/"      # the running system, and not a root that is being prepared
        self.where = "" if self.is_running else " in " + self.root

    def call(self, program, words, seconds=SECONDS, stdin=b""):
        """Runs one of systemd's programs, with --root=DIR where the root is not the running system's; its Answer."""
        return self.run([program] + ([] if self.is_running else ["--root=" + self.root]) + words, seconds, stdin=stdin)

    def systemctl(self, *words, seconds=SECONDS):
        return self.call("systemctl", list(words), seconds)

    def hold_lock(self):
        """Keeps other installations out until `release`; raises LockHeld when one is running. The file is in the 0700
        directory: a file that others can open is a file that they can lock."""
        path = self.tree.locate(STATE + "/install.lock")
        self.lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld("another install.py is running")

    def release(self):
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None
