"""PID 1 of a throwaway machine, as this host sees it: finding it among our processes, and entering its namespaces."""

import contextlib
import os

from citadel.core.errors import CitadelError
from citadel.core.mounts import mounts
from citadel.core.run import find

# What a process that enters the machine from outside must not bring along (nspawn keeps these from its own).
TOO_POWERFUL = "-sys_time,-sys_boot,-sys_module,-sys_rawio,-syslog,-wake_alarm"


def entry_command(leader):
    """What to put before a command line to run it in a machine; `leader` is the PID of its PID 1 as we see it."""
    return ["nsenter", "--target", str(leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
            "--", "setpriv", "--bounding-set=" + TOO_POWERFUL, "--inh-caps=" + TOO_POWERFUL, "--"]


def below(parent):
    """The PID of the machine whose systemd-nspawn is `parent`, 0 as long as there is none."""
    return next((pid for pid in _leaders() if _status(pid, "PPid:") == [str(parent)]), 0)


def enter_kept():
    """Becomes a shell in the one machine that --keep left running; CitadelError if there is not one."""
    kept = [pid for pid in _leaders() if _is_on_our_overlay(pid)]
    if len(kept) != 1:
        raise CitadelError("no copy is running: start one with --keep" if not kept else
                           "%d copies are running: end all but the one to enter" % len(kept))
    command = entry_command(kept[0]) + ["/bin/sh", "-c", "cd /; exec ${SHELL:-/bin/sh} -i"]
    os.execv(find(command[0]), command)


def _leaders():
    """The PIDs of what is PID 1 of a namespace below ours and no longer nspawn's own child, but systemd already."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        numbers = _status(pid, "NSpid:")
        if len(numbers) > 1 and numbers[-1] == "1" and _status(pid, "Name:") in (["systemd"], ["init"]):
            yield int(pid)


def _status(pid, field):
    """The words of a line in /proc/PID/status; none if the process has ended."""
    with contextlib.suppress(OSError), open("/proc/%s/status" % pid, errors="replace") as file:
        return next((line.split()[1:] for line in file if line.startswith(field)), [])
    return []


def _is_on_our_overlay(pid):
    with contextlib.suppress(OSError):
        roots = [mount for mount in mounts(pid) if mount.point == "/"]
        return bool(roots) and any("/citadel-rehearsal/layers/" in option for option in roots[-1].super_options)
    return False
