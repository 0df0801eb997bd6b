"""Cgroups of our own in the cgroup2 tree, for what a rehearsal starts: made, joined, removed once they are empty."""

import contextlib
import os
import time

from citadel.core.mounts import mounts


def own_directory():
    """Where this process is in the cgroup2 tree (unified, or the `unified` part of a hybrid one), or ""."""
    with open("/proc/self/cgroup") as file:
        paths = [line.rstrip("\n")[3:] for line in file if line.startswith("0::")]
    for mount in mounts():
        if mount.type == "cgroup2" and paths:
            below = os.path.relpath(paths[0], mount.root) if mount.root != "/" else paths[0].lstrip("/")
            return os.path.normpath(os.path.join(mount.point, below))
    return ""


def make(parent, name):
    """The directory of a new cgroup `name` in that of `parent`; "" where `parent` is ""."""
    if parent:
        os.mkdir(os.path.join(parent, name))
    return parent and os.path.join(parent, name)


def join(group):
    """Moves this process into `group`; "" is none."""
    if group:
        with open(os.path.join(group, "cgroup.procs"), "w") as file:
            file.write("0")


def remove(group):
    """Removes a cgroup and those beneath it once their last processes have ended; a dying process takes a moment."""
    end = time.monotonic() + 5
    while group and os.path.isdir(group) and time.monotonic() < end:
        for path, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        time.sleep(0.01)
