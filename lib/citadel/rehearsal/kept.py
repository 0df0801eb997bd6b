"""Into the copy that `citadel-rehearsal --keep` left running."""

import os

from citadel.core.errors import CitadelError
from citadel.core.mounts import mounts
from citadel.core.run import find
from citadel.rehearsal.machine import entry_command


def enter():
    """Becomes a shell in the one kept copy; CitadelError when there is none or more than one."""
    leaders = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_leader(pid)]
    if len(leaders) != 1:
        raise CitadelError("no copy is running: start one with --keep" if not leaders else
                           "%d copies are running: which one?" % len(leaders))
    command = entry_command(leaders[0]) + ["/bin/sh", "-c", "cd /; exec ${SHELL:-/bin/sh} -i"]
    os.execv(find(command[0]), command)


def _is_leader(pid):
    """PID 1 of a rehearsal's machine: the first of its PID namespace, on a root that is our overlay."""
    try:
        with open("/proc/%s/status" % pid) as file:
            numbers = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
        with open("/proc/%s/comm" % pid) as file:
            name = file.read().strip()
        roots = [mount for mount in mounts(pid) if mount.point == "/"]
    except OSError:
        return False
    return (len(numbers) > 1 and numbers[-1] == "1" and name in ("systemd", "init") and bool(roots)
            and any("/citadel-rehearsal/layers/" in option for option in roots[-1].super_options))
