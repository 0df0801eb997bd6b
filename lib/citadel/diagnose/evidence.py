"""Small readings of facts, and the words for them. Pure."""

from collections import namedtuple

from citadel.core.text import printable, span

Seen = namedtuple("Seen", "service host settings condition")
Seen.__doc__ = "What each family of causes looks at: one service, its host, the settings, the service's condition."

_SIGNALS = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
            11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM", 24: "SIGXCPU", 31: "SIGSYS"}
# Exit statuses that systemd itself sets before the program runs, systemd.exec(5), "Process Exit Codes".
BEFORE_EXEC = {200: "its working directory cannot be entered", 203: "its program cannot be executed",
               209: "its log file cannot be opened", 216: "its group does not exist", 217: "its user does not exist",
               226: "its file system name space cannot be set up", 238: "its state directory cannot be set up",
               240: "its log directory cannot be set up"}
_SYSTEMD_SAYS = ("Started ", "Starting ", "Stopped ", "Stopping ", "Failed to start ", "Finished ", "Reloading ",
                 "Dependency failed for ", "Triggering OnFailure=")
_TELLING = ("error", "fatal", "exception", "panic", "cannot", "failed", "denied", "out of memory")
_TELLS_NOTHING = "Application startup failed. Exiting"


def is_up(unit):
    return unit.active in ("active", "reloading", "refreshing")


def is_frozen(unit):
    return unit.freezer in ("frozen", "freezing", "frozen-by-parent", "freezing-by-parent")


def is_young(unit, host, limit):
    age = age_of(host, unit.active_enter)
    return age is not None and age < limit


def age_of(host, stamp):
    return max(0.0, host.monotonic - stamp) if stamp and host.monotonic else None


def end_of(unit):
    """When it was last up; for what never was, when it fell into its state."""
    return unit.active_exit if unit.active_exit >= unit.active_enter and unit.active_exit else (
        unit.inactive_enter or unit.state_change)


def been_down(unit, host):
    age = age_of(host, end_of(unit))
    return "has been down for " + span(age) if age is not None else "is down"


def last_run(unit):
    """Seconds that the last run was active; 0 for one that never got there."""
    return unit.active_exit - unit.active_enter if unit.active_exit > unit.active_enter else 0.0


def another_holder(service):
    """The Holder of the service's port, if it is another process. Compared by cgroup; a name can be anybody's."""
    holder = service.holder
    if holder is None or not (holder.pid or holder.unit or holder.control_group):
        return None
    ours = service.unit.control_group
    if holder.unit == service.unit.name or (ours and (holder.control_group + "/").startswith(ours + "/")):
        return None
    return holder


def as_installed(problem):
    return "%s%s %s" % (printable(problem.file), ":%d" % problem.line if problem.line else "", problem.why)


def how_it_ended(unit, lines):
    """"exited 1, 'CUDA error: out of memory'", with the process' own last words in quotes; "" if nothing is known."""
    if unit.exec_code == "exited" and unit.exec_status:
        meaning = BEFORE_EXEC.get(unit.exec_status)
        how = "exited %d%s" % (unit.exec_status, " (%s)" % meaning if meaning else "")
    elif unit.exec_code in ("killed", "dumped"):
        how = "was killed by %s%s" % (_SIGNALS.get(unit.exec_status, "signal %d" % unit.exec_status),
                                      " and dumped core" if unit.exec_code == "dumped" else "")
    elif unit.result == "timeout":
        how = "did not stop in time and had to be killed" if unit.active_enter > unit.inactive_exit else "timed out"
    elif unit.result in ("resources", "protocol", "watchdog", "oom-kill", "exec-condition"):
        how = {"resources": "could not be started for lack of a resource", "protocol": "broke systemd's protocol",
               "watchdog": "missed its watchdog", "oom-kill": "was killed for lack of memory",
               "exec-condition": "was not started because of its ExecCondition="}[unit.result]
    elif unit.exec_code == "exited" and unit.active == "failed" and unit.result not in ("", "success"):
        how = "failed (%s)" % unit.result
    else:
        return "said" + said(lines)[1:] if unit.active == "failed" and said(lines) else ""
    return how + said(lines, errors_only=unit.exec_code == "killed")    # "startup complete" is no reason to be killed


def said(lines, errors_only=False):
    """The program's own last words, quoted after a comma, or ""."""
    told = telling(lines, errors_only)
    return quoted(told[-1].text) if told else ""


def telling(lines, errors_only=False):
    """The program's own lines that tell of an error, or, failing that, its last; PID 1's say only what we know."""
    own = [line for line in lines if line.text.strip() and not line.text.startswith(_SYSTEMD_SAYS)
           and not line.text.partition(" ")[0].endswith(".service:") and _TELLS_NOTHING not in line.text]
    errors = [line for line in own if line.priority <= 3 or any(word in line.text.lower() for word in _TELLING)]
    return errors or ([] if errors_only else own[-1:])


def quoted(text):
    return ", '%s'" % printable(text, 120) if text else ""


def answer(probe):
    """What the probe got, in words."""
    words = {"refused": "nothing listens there", "timeout": "no full answer within %s" % span(probe.seconds),
             "http-error": "HTTP %d" % probe.status, "protocol": "an answer in another protocol",
             "unreachable": "it cannot be reached", "loading": "it is loading", "refusing-writes": "it refuses writes",
             "none": "it is not probed", "ok": "it answers"}.get(probe.outcome, probe.outcome)
    return (probe.target + " gave " if probe.target and probe.outcome in ("http-error", "protocol") else
            probe.target + ": " if probe.target else "") + words + (
                " (%s)" % printable(probe.detail, 120) if probe.detail else "")


def ago(age):
    return " %s ago" % span(age) if age is not None else ""
