"""Performs one step of a plan and says what came of it; `verify` then says whether the service is well.

A step ends at its own limit or at the pass's deadline, whichever comes first. Jobs are queued with --no-block and
watched: the deadline is ours, and if we die PID 1 finishes what was begun. What fails is an Outcome, not an exception.
"""

import os
from collections import namedtuple

from citadel.act import cleanup, ollama
from citadel.core.errors import CitadelError
from citadel.core.text import plural, printable, size, span
from citadel.model import FAILED, OK, SKIPPED, Outcome, Step
from citadel.observe import disks, processes, systemctl
from citadel.observe.look import port_holder
from citadel.record import intent
from citadel.settings.values import address

PAUSE = 0.2                             # seconds between two looks at a unit, a systemctl call of some 10 ms
GLANCE = 5                              # seconds that one probe may take while we wait for it to become ready
PATIENCE_LOADING = 300                  # what says that it is loading will be ready; a restart begins it anew
RESTART_SEC = 5                         # of the shipped units, where systemd does not tell
LASTS = 2                               # seconds that a run must last at least, where RestartSec is less
GONE = 5                                # seconds after which what is dead, with no job, is not coming by itself
EXCHANGE = 5                            # seconds for one request to Ollama
MOST_MODELS = 20                        # that are unloaded in one step; more are never loaded at once
SETTLE = 5                              # seconds in which unloaded memory shows as available,
SHOWS = 64 << 20                        # and by how much at least
SIGKILL = 9

Context = namedtuple("Context", "run ask clock sleep settings store deadline")
Context.__doc__ = """What acting needs of the world: commands.run, probes.ask, a monotonic clock, a pause, the settings,
the record, and the Deadline of the whole pass."""


def perform(step, context):
    """Does one Step; its Outcome. Never raises for what the host does."""
    started = context.clock()
    limit = min(step.seconds, context.deadline.left())
    try:
        if limit <= 0:
            outcome, detail, changed = SKIPPED, "no time was left in this pass", {}
        else:
            outcome, detail, changed = STEPS[step.do](step, context, started + limit)
    except (CitadelError, OSError) as error:
        outcome, detail, changed = FAILED, str(error), {}
    return Outcome(step, outcome, context.clock() - started, printable(detail, 400), changed)


# --- jobs of systemd

def _reset_failed(step, context, end):
    answer = systemctl.reset_failed(step.target, run=context.run)
    if answer.ok:
        try:
            intent.note_reset(context.store.files, step.target, context.store.now())
        except OSError:
            return OK, "test-restart will not know of it", {}
        return OK, "", {}
    return FAILED if answer.timed_out or answer.code != 1 else SKIPPED, answer.complaint(), {}


def _start(step, context, end):
    before = _look(step.target, context)
    if before.active == "active" and not before.job:
        return SKIPPED, "it is active already", {}
    if "masked" in (before.load, before.unit_file) or before.unit_file == "disabled" and _is_a_service(step, context):
        return FAILED, "a person has taken it out of service meanwhile", {}
    return _watch(before, systemctl.start(step.target, run=context.run), context, end)


def _is_a_service(step, context):
    """One of those that are kept alive; a dependency that is disabled may well be started by hand."""
    return context.settings.service(step.target) is not None


def _restart(step, context, end):
    before = _look(step.target, context)
    return _watch(before, systemctl.restart(step.target, run=context.run), context, end)


def _watch(before, answer, context, end):
    """Looks until the job that `answer` queued has come to something. A unit that is still starting at the end is not
    failed: its ExecStartPre= may wait for what it needs, and `verify` or `wait-ready` sees to the rest."""
    if not answer.ok:
        return FAILED, answer.complaint(), {}
    while True:
        unit = _look(before.name, context)
        verdict = _job_outcome(before, unit)
        if verdict is not None:
            return verdict + ({"invocation": unit.invocation} if verdict[0] == OK else {},)
        if context.clock() >= end:
            if unit.active == "activating":
                return OK, "still starting (%s)" % unit.sub, {"invocation": unit.invocation}
            return FAILED, "still %s (%s) at the end of its time" % (unit.active, unit.sub), {}
        context.sleep(PAUSE)


def _job_outcome(before, unit):
    """(outcome, detail) of a start or restart, None while it is under way. Pure."""
    anew = unit.invocation and unit.invocation != before.invocation
    if unit.job:
        return None
    if unit.active == "active" and anew:
        return OK, "active as PID %d" % unit.main_pid if unit.main_pid else "active"
    if unit.active == "active" and before.active != "active":
        return OK, "active"
    if unit.sub.startswith("auto-restart") and anew:
        return FAILED, "it ended again at once: " + _end_of(unit)
    if unit.active == "failed":
        return FAILED, "it failed: " + _end_of(unit)
    if unit.active == "inactive":
        return FAILED, ("it ended at once: " + _end_of(unit) if anew else
                        "systemd took the job back; something that it requires did not start")
    return None


def _end_of(unit):
    if unit.exec_code and unit.result not in ("success", "start-limit-hit"):
        return "%s, %s %d" % (unit.result, "exit status" if unit.exec_code == "exited" else "signal", unit.exec_status)
    return unit.result


def _kill(step, context, end, kill_process=None):
    """SIGKILL through systemd; where that fails (EIO was seen in containers), to the main process itself, once it is
    known to be in the unit's control group still."""
    before = _look(step.target, context)
    if not before.main_pid and before.active in ("inactive", "failed"):
        return SKIPPED, "no process of it runs", {}
    answer = systemctl.kill(step.target, run=context.run)
    how = "SIGKILL"
    if not answer.ok:
        why = (kill_process or kill_verified)(before.main_pid, before.control_group)
        if why:
            return FAILED, "%s; %s" % (answer.complaint(), why), {}
        how = "SIGKILL to PID %d itself (%s)" % (before.main_pid, answer.complaint())
    while context.clock() < end:
        unit = _look(step.target, context)
        if unit.main_pid != before.main_pid or not before.main_pid:
            return OK, how, {"killed": before.main_pid}
        context.sleep(PAUSE)
    return FAILED, "PID %d is still there after %s; a process that waits for a disk cannot be killed" % (
        before.main_pid, how), {}


def kill_verified(pid, control_group, proc="/proc"):
    """Kills a process of that control group; why not, or "". The process is held by a descriptor while it is looked
    at, where Python (3.9) and the kernel (5.3) can: the number alone may name another one a moment later."""
    if pid <= 1 or not control_group.strip("/"):
        return "there is no main process to kill"
    descriptor = None
    try:
        if hasattr(os, "pidfd_open"):
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                descriptor = None
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


def _thaw(step, context, end):
    if _look(step.target, context).freezer in ("running", ""):
        return SKIPPED, "it is not frozen", {}
    answer = systemctl.thaw(step.target, run=context.run)
    if not answer.ok:
        return FAILED, answer.complaint(), {}
    while True:
        unit = _look(step.target, context)
        if unit.freezer == "running":
            return OK, "", {}
        if context.clock() >= end:
            return FAILED, "it is still %s" % unit.freezer, {}
        context.sleep(PAUSE)


def _look(name, context):
    return systemctl.units([name], run=context.run)[name]


# --- room

def _clean(step, context, end):
    """Stale PID and temporary files of the service, and what our own tmpfiles.d file says has aged."""
    service = context.settings.service(step.target)
    removed = cleanup.Removed()
    if service is not None:
        for path in service.pid_files:
            removed += cleanup.remove_stale_pid_file(path)
        for pattern in service.temp_files:
            removed += cleanup.remove_old_files(pattern, context.settings.cleanup.temp_age)
    removed += cleanup.clean_by_age(context.run, max(1.0, end - context.clock()))
    return (OK if removed.files or not removed.complaints else SKIPPED, removed.sentence(), removed.as_data())


def _relieve_disk(step, context, end, statvfs=os.statvfs):
    """Our own rotated logs and the journal, where the disk that they are on is short, until enough is free."""
    wanted = context.settings.cleanup
    tight = cleanup.Tightness(context.settings.disk, statvfs)
    places = [step.target] if step.target.startswith("/") else list(context.settings.disk.paths)
    devices = tight.devices(places)
    if not devices:
        return SKIPPED, "enough is free on all of them", {}
    before = tight.free(devices)
    removed = cleanup.clean_by_age(context.run, max(1.0, (end - context.clock()) / 3))
    if tight.journal_matters(devices):
        removed += cleanup.vacuum_journal(wanted.journal_size, context.run, max(1.0, (end - context.clock()) / 2))
    for directory in wanted.log_directories:
        if tight.device(directory) in devices:
            removed += cleanup.remove_rotated_logs(directory, wanted.keep_logs, lambda: tight.has_enough(directory),
                                                   max(1.0, end - context.clock()))
    still = [path for path in devices.values() if not tight.has_enough(path)]
    freed = max(0, tight.free(devices) - before)
    data = dict(removed.as_data(), bytes_freed=freed)
    sentence = "%s; %s more is free" % (removed.sentence(), size(freed))
    if still:
        return FAILED, "%s, and there is still too little on the disk of %s: nothing else there is ours to remove" % (
            sentence, ", ".join(printable(path, 80) for path in still)), data
    return OK, sentence, data


def _relieve_memory(step, context, end, memory=disks.memory):
    """Asks Ollama to unload its idle models, and names who uses most. The page cache is no used memory, and stays."""
    before = memory(biggest=True)
    biggest = ", ".join("%s %s" % (printable(name, 60), size(held)) for name, held in before.biggest[:3])
    unloaded, complaints = [], []
    dependency = context.settings.dependencies.get("ollama")
    if context.settings.memory.unload_models and dependency is not None and dependency.probe.startswith("http://"):
        unloaded, complaints = _unload_models(address(dependency.probe), context, end)
    available = before.available
    settle = min(end, context.clock() + SETTLE)
    while unloaded and context.clock() < settle and available < before.available + SHOWS:
        context.sleep(PAUSE)
        available = memory().available
    freed = max(0, available - before.available)
    words = ["unloaded %s, %s more is available" % (", ".join(unloaded), size(freed))
             if unloaded else "no model to unload"] + complaints
    if biggest:
        words.append("biggest users: " + biggest)
    return (OK if unloaded else SKIPPED, "; ".join(words),
            {"unloaded": unloaded, "bytes_freed": freed, "biggest": [list(one) for one in before.biggest]})


def _unload_models(place, context, end):
    """The names of the models that Ollama was asked to unload, and why it went no further. They go into the record;
    whoever holds Ollama's port could make them long and many."""
    unloaded = []
    try:
        for model in ollama.loaded_models(place, min(EXCHANGE, max(0.1, end - context.clock())))[:MOST_MODELS]:
            if context.clock() >= end:
                break
            ollama.unload(place, model, min(EXCHANGE, max(0.1, end - context.clock())))
            unloaded.append(printable(model, 60))
    except (OSError, ValueError) as error:
        return unloaded, ["asking Ollama: " + printable(str(error), 100)]
    return unloaded, []


# --- waiting

def _wait_ready(step, context, end):
    """Until the target's probe is answered well. A target that says it is loading is given more time than the step."""
    target = _probe_of(step.target, context.settings)
    if not target:
        return SKIPPED, "no probe is set for it, so systemd's word has to do", {}
    started, latest = context.clock(), context.clock() + min(PATIENCE_LOADING, context.deadline.left())
    while True:
        probe = context.ask([target], max(0.1, min(GLANCE, latest - context.clock())))[target]
        waited = context.clock() - started
        if probe.outcome == "ok":
            return OK, "ready after %s" % span(waited), {}
        if context.clock() >= (latest if probe.outcome == "loading" else end):
            return FAILED, "not ready after %s: %s" % (span(waited), probe.detail or probe.outcome), {}
        if probe.outcome == "refused":
            unit = _look(step.target, context)
            if unit.active == "failed" and not unit.job:
                return FAILED, "it failed: " + _end_of(unit), {}
        context.sleep(PAUSE)


def _probe_of(unit, settings):
    service = settings.service(unit)
    if service is not None:
        return service.health
    return next((one.probe for one in settings.dependencies.values() if unit in one.units), "")


STEPS = {"reset-failed": _reset_failed, "start": _start, "restart": _restart, "kill": _kill, "thaw": _thaw,
         "clean": _clean, "relieve-disk": _relieve_disk, "relieve-memory": _relieve_memory,
         "wait-ready": _wait_ready}


# --- is it well?

def verify(unit, context):
    """Outcome ok when the service is active as one and the same run for longer than its RestartSec (and LASTS), and its
    probe is answered well at the start of that time and at its end: two looks at "active" gave false OKs."""
    limit = min(context.settings.recovery.verify_timeout, context.deadline.left())
    step = Step("verify", unit, "active is not healthy until it lasts and answers", limit)
    started = context.clock()
    try:
        outcome, detail, changed = _verify(unit, context, started + limit)
    except (CitadelError, OSError) as error:
        outcome, detail, changed = FAILED, str(error), {}
    return Outcome(step, outcome, context.clock() - started, printable(detail, 400), changed)


def _verify(name, context, end):
    target = _probe_of(name, context.settings)
    started, run, since, runs, gone = context.clock(), "", 0.0, set(), None
    while True:
        unit = _look(name, context)
        looked = context.clock()
        why = _not_running(unit)
        dead = unit.active in ("failed", "inactive") and not unit.job
        gone = (looked if gone is None else gone) if dead else None
        if dead and (unit.active == "failed" or looked - gone > GONE):
            return FAILED, why, {}
        if why:
            run = ""
        elif unit.invocation != run or not run:
            runs.add(unit.invocation)
            why = _not_answering(target, context, end) or _answered_for(unit, context)
            run, since = ("", 0.0) if why else (unit.invocation or "?", looked)
        elif looked - since > max(LASTS, RESTART_SEC if unit.restart_sec is None else unit.restart_sec):
            why = _not_answering(target, context, end) or _answered_for(unit, context)
            same = _look(name, context).invocation == unit.invocation
            if not why and same:
                return OK, "the same run for %s%s" % (span(looked - since), ", and it answers" if target else ""), {
                    "invocation": unit.invocation}
            run = ""
        if context.clock() >= end:
            many = "; %s in that time" % plural(len(runs), "run") if len(runs) > 1 else ""
            return FAILED, "not well for long enough within %s: %s%s" % (
                span(context.clock() - started), why or "it has not lasted yet", many), {}
        context.sleep(PAUSE)


def _not_running(unit):
    if unit.active == "active" and not unit.job and unit.freezer in ("running", ""):
        return ""
    if unit.active == "failed":
        return "it failed: " + _end_of(unit)
    frozen = ", " + unit.freezer if unit.freezer not in ("running", "") else ""
    return "it is %s (%s)%s" % (unit.active, unit.sub, frozen)


def _answered_for(unit, context):
    """Why the good answer was not the unit's own, or "": it may not listen yet, and a stranger may."""
    wanted = context.settings.service(unit.name)
    holder = port_holder(wanted, unit.control_group) if wanted is not None else None
    if holder is None or not holder.pid or processes.is_within(holder.control_group, unit.control_group):
        return ""
    return "port %d is answered by %s (PID %d), and not by it" % (holder.port, holder.command or "a process", holder.pid)


def _not_answering(target, context, end):
    if not target:
        return ""
    probe = context.ask([target], max(0.1, min(GLANCE, end - context.clock())))[target]
    return "" if probe.outcome == "ok" else probe.detail or probe.outcome
