"""What Citadel asks systemd, and how the answer reads. The only module that knows systemctl's words. What acts does not
wait for its job (`--no-block`): the caller has its own deadline.

A systemctl that is missing, silent past its deadline or refused is CannotLook, never an empty answer: "could not
ask" must not read as "nothing there". With PID 1 stuck a call would take 90 s (measured), hence TIMEOUT.
"""

from citadel.core.errors import CannotLook, UsageError
from citadel.core.run import run as run_program
from citadel.model import Unit
from citadel.settings.values import valid_name

TIMEOUT = 10

PROPERTIES = (
    "Id", "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "MainPID", "ControlGroup", "ExecMainCode",
    "ExecMainStatus", "NRestarts", "InvocationID", "Job", "FreezerState", "NeedDaemonReload", "FragmentPath",
    "DropInPaths", "OnFailure", "MemoryCurrent", "MemoryMax", "TasksCurrent", "Restart", "RestartUSec",
    "StartLimitBurst", "StartLimitIntervalUSec", "StateChangeTimestampMonotonic", "ActiveEnterTimestampMonotonic",
    "ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic")

_EXEC_CODES = {"1": "exited", "2": "killed", "3": "dumped"}     # CLD_* of siginfo, waitid(2)
_SPANS = {"y": 31557600, "month": 2629800, "w": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3,
          "us": 1e-6}


def show(names, properties=PROPERTIES, run=run_program):
    """{name: {property: text}}, asked for at once; the LoadState of a name that systemd does not know is `not-found`.
    Raises CannotLook when systemd does not answer, UsageError on an unusable name."""
    for name in names:
        if not valid_name(name, name[name.rfind("."):] if "." in name else ".service"):
            raise UsageError("%r is not a unit name" % name)
    if not names:
        return {}
    answer = run(["systemctl", "show", "--no-pager", "-p", ",".join(properties), "--"] + list(names), TIMEOUT,
                 cap=4096 * len(names) + 65536)
    if not answer.ok:
        raise CannotLook("systemd does not answer: " + answer.complaint())
    blocks = parse_blocks(answer.out)
    if len(blocks) != len(names):
        raise CannotLook("systemctl show answered for %d of %d units" % (len(blocks), len(names)))
    return dict(zip(names, blocks))


def units(names, run=run_program):
    """A Unit for each name that is asked for."""
    return {name: read_unit(name, block) for name, block in show(names, run=run).items()}


def parse_blocks(text):
    """`systemctl show`'s blocks in the order asked; a property given twice (repeated drop-ins) keeps all values."""
    blocks = []
    for chunk in text.strip("\n").split("\n\n"):
        block = {}
        for line in chunk.split("\n"):
            name, equals, value = line.partition("=")
            if equals:
                block[name] = block[name] + " " + value if name in block and value else value
        blocks += [block] if block else []
    return blocks


def read_unit(name, block):
    """One block of `show` to a Unit; what is missing or unreadable in it becomes the "systemd did not say" value. Asked
    by an alias, it has its own name: jobs and the journal know no other. `job` is a number; `job_types` says more."""
    def word(key, otherwise=""):
        return block.get(key, otherwise)

    def whole(key):
        """None for "[not set]", "infinity" and UINT64_MAX, which say "no value"."""
        text = word(key)
        return int(text) if text.isdecimal() and len(text) <= 20 and text != "18446744073709551615" else None

    def moment(key):
        return (whole(key + "TimestampMonotonic") or 0) / 1e6

    return Unit(
        name=word("Id") or name, load=word("LoadState"), unit_file=word("UnitFileState"), active=word("ActiveState"),
        sub=word("SubState"), result=word("Result"), main_pid=whole("MainPID") or 0, control_group=word("ControlGroup"),
        exec_code=_EXEC_CODES.get(word("ExecMainCode"), ""), exec_status=whole("ExecMainStatus") or 0,
        restarts=whole("NRestarts") or 0, invocation=word("InvocationID"), job=word("Job").lstrip("0"),
        freezer=word("FreezerState", "running"), need_reload=word("NeedDaemonReload") == "yes",
        fragment=word("FragmentPath"), drop_ins=tuple(word("DropInPaths").split()),
        on_failure=tuple(word("OnFailure").split()), memory=whole("MemoryCurrent"), memory_max=whole("MemoryMax"),
        tasks=whole("TasksCurrent"), restart=word("Restart"), restart_sec=seconds(word("RestartUSec")),
        start_burst=whole("StartLimitBurst"), start_interval=seconds(word("StartLimitIntervalUSec")),
        state_change=moment("StateChange"), active_enter=moment("ActiveEnter"), active_exit=moment("ActiveExit"),
        inactive_enter=moment("InactiveEnter"), inactive_exit=moment("InactiveExit"))


def seconds(span):
    """systemd's time span ("1min 30s", "5s", "infinity"; systemd.time(7)) in seconds; None for what is not one."""
    if span == "infinity":
        return float("inf")
    total, words = 0.0, span.split()
    for word in words:
        digits = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        try:
            total += float(digits) * _SPANS[word[len(digits):]] if word != "0" else 0
        except (KeyError, ValueError):
            return None
    return total if words else None


def system_state(run=run_program):
    """systemd's own state: running, degraded, starting, stopping, maintenance, ... Raises CannotLook."""
    answer = run(["systemctl", "is-system-running"], TIMEOUT)
    state = answer.out.strip()
    if answer.timed_out or not state or state in ("offline", "unknown"):
        raise CannotLook("systemd does not answer: " + (answer.complaint() if answer.timed_out or not state
                                                        else "it says %s" % state))
    return state


def job_types(run=run_program):
    """The queued jobs: unit name to start|stop|restart|... Raises CannotLook."""
    answer = run(["systemctl", "list-jobs", "--no-legend", "--no-pager", "--plain"], TIMEOUT)
    if not answer.ok:
        raise CannotLook("systemd does not answer: " + answer.complaint())
    rows = (line.split() for line in answer.out.splitlines())
    return {row[1]: row[2] for row in rows if len(row) >= 4 and row[0].isdecimal()}


def version(run=run_program):
    """systemd's version as `systemctl --version` gives it, e.g. "252 (252.39-1~deb12u2)"; "" if it does not say."""
    return run(["systemctl", "--version"], TIMEOUT).out.partition("\n")[0].partition(" ")[2]


def start(name, run=run_program):
    return _order(["start", "--no-block"], name, run)


def stop(name, run=run_program):
    """For the gate alone, which takes back a start that nobody asked for. A recovery pass never stops a service."""
    return _order(["stop", "--no-block"], name, run)


def restart(name, run=run_program):
    """One `restart` job, never stop and then start: if Citadel dies in between, PID 1 finishes it."""
    return _order(["restart", "--no-block"], name, run)


def reset_failed(name, run=run_program):
    """Clears the failed state, NRestarts and the start-limit counter. On a unit that is not loaded systemctl says so
    with rc 1, which is harmless."""
    return _order(["reset-failed"], name, run)


def kill(name, run=run_program, whom="all"):
    """SIGKILL to the unit's processes. `--kill-who` because 247 does not know `--kill-whom`."""
    return _order(["kill", "--signal=SIGKILL", "--kill-who=" + whom], name, run)


def thaw(name, run=run_program):
    return _order(["thaw"], name, run)


def _order(words, name, run):
    if not valid_name(name):
        raise UsageError("%r is not a service's name" % name)
    return run(["systemctl"] + words + ["--", name], TIMEOUT)
