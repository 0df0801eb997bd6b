"""The one way to kill what is left of a unit: through systemd, who knows its processes."""

import os

from citadel.act.jobs import PAUSE, look
from citadel.core.text import printable
from citadel.model import FAILED, OK, SKIPPED
from citadel.observe import processes, systemctl

SIGKILL = 9


def kill(step, context, end, kill_process=None):
    """The step `kill`: SIGKILL to all processes of the unit, until its main process is gone."""
    before = look(step.target, context)
    if not before.main_pid and before.active in ("inactive", "failed"):
        return SKIPPED, "no process of it runs", {}
    how, why = kill_unit(before, context.run, kill_process=kill_process)
    if why:
        return FAILED, why, {}
    while context.clock() < end:
        unit = look(step.target, context)
        if unit.main_pid != before.main_pid or not before.main_pid:
            return OK, how, {"killed": before.main_pid}
        context.sleep(PAUSE)
    return FAILED, "PID %d is still there after %s; a process that waits for a disk cannot be killed" % (
        before.main_pid, how), {}


def kill_unit(unit, run, whom="all", kill_process=None):
    """SIGKILL through systemd to `whom` (all, or main) of a unit as it was just seen; where that fails (EIO is seen in
    containers), to the main process alone, by its number. (how it was done, why it was not: "" when it was)."""
    answer = systemctl.kill(unit.name, run=run, whom=whom)
    if answer.ok:
        return "SIGKILL", ""
    why, complaint = (kill_process or kill_verified)(unit.main_pid, unit.control_group), answer.complaint()
    return "SIGKILL to PID %d itself (%s)" % (unit.main_pid, complaint), why and "%s; %s" % (complaint, why)


def kill_verified(pid, control_group, proc="/proc"):
    """Kills a process of that control group; why not, or "". The process is held by a descriptor while it is looked
    at, where Python (3.9) and the kernel (5.3) can: the number alone may name another one a moment later."""
    if pid <= 1 or not control_group.strip("/"):
        return "there is no main process to kill"
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        descriptor = None
    try:
        if not processes.is_process_of(pid, control_group, proc):
            return "PID %d is not in %s any more" % (pid, printable(control_group))
        if descriptor is not None:
            import signal
            signal.pidfd_send_signal(descriptor, SIGKILL)
        else:
            os.kill(pid, SIGKILL)
        return ""
    except OSError as error:
        return "PID %d: %s" % (pid, error.strerror)
    finally:
        if descriptor is not None:
            os.close(descriptor)
