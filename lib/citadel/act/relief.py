"""Room on disk and in memory, and stale files out of the way."""

import os
from functools import partial

from citadel.act import cleanup, ollama
from citadel.act.jobs import PAUSE
from citadel.core.text import printable, size
from citadel.model import FAILED, OK, SKIPPED
from citadel.observe import disks
from citadel.settings.values import address

JOURNALS = ("/var/log/journal", "/run/log/journal")
EXCHANGE = 5                            # seconds for one request to Ollama
MOST_MODELS = 20                        # that are unloaded in one step; more are never loaded at once
SETTLE = 5                              # seconds in which unloaded memory shows as available,
SHOWS = 64 << 20                        # and by how much at least


def clean(step, context, end):
    """Stale PID and temporary files of the service, and what our own tmpfiles.d file says has aged."""
    service = context.settings.service(step.target)
    removed = cleanup.Removed()
    for path in service.pid_files:
        removed += cleanup.remove_stale_pid_file(path)
    for pattern in service.temp_files:
        removed += cleanup.remove_old_files(pattern, context.settings.cleanup.temp_age)
    removed += cleanup.clean_by_age(context.run, max(1.0, end - context.clock()))
    return (OK if removed.files or not removed.complaints else SKIPPED, removed.sentence(), removed.as_data())


def relieve_disk(step, context, end, statvfs=os.statvfs):
    """Our own rotated logs and the journal, where the disk that they are on is short, until enough is free."""
    wanted = context.settings.cleanup
    tight = cleanup.Tightness(context.settings.disk, statvfs)
    devices = tight.devices([step.target] if step.target.startswith("/") else context.settings.disk.paths)
    if not devices:
        return SKIPPED, "enough is free on all of them", {}
    before = tight.free(devices)
    removed = cleanup.clean_by_age(context.run, max(1.0, (end - context.clock()) / 3))
    if any(tight.device(path) in devices for path in JOURNALS):
        removed += cleanup.vacuum_journal(wanted.journal_size, context.run, max(1.0, (end - context.clock()) / 2))
    for directory in wanted.log_directories:
        if tight.device(directory) in devices:
            removed += cleanup.remove_rotated_logs(directory, wanted.keep_logs, partial(tight.has_enough, directory),
                                                   max(1.0, end - context.clock()))
    still = [path for path in devices.values() if not tight.has_enough(path)]
    freed = max(0, tight.free(devices) - before)
    sentence = "%s; %s more is free" % (removed.sentence(), size(freed))
    if still:
        sentence += ", and the disk of %s is still too full: Citadel may remove nothing else there" % ", ".join(
            printable(path, 80) for path in still)
    return FAILED if still else OK, sentence, dict(removed.as_data(), bytes_freed=freed)


def relieve_memory(step, context, end, memory=disks.memory):
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
