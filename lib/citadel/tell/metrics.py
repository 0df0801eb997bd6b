"""The metrics for Prometheus, in files for node_exporter's textfile collector.

LOOK is written by each health check and each pass, from what was just seen; RECORD by each pass, from the record on
disk. So a healthy check reads no state and writes one small file. What cannot be written is a sentence, never an
exception. Counters are kept on disk and do not fall.
"""

import os

from citadel import __version__
from citadel.core import atomic
from citadel.core.errors import NotPermitted
from citadel.core.text import printable
from citadel.core.trust import open_directory
from citadel.model import CAUSES
from citadel.record import notes

LOOK, RECORD = "citadel.prom", "citadel-record.prom"
RESTARTS = "restarts"                   # in our state directory: a line each, "UNIT LAST TOTAL"
PREFIX = "citadel_"
LABEL = 1024                            # characters of a label's value; a cut one might be another's

# name: (file, type, help); the order is that of the files.
FAMILIES = {
    "build_info": (LOOK, "gauge", "The version of Citadel and the host's own name, always 1."),
    "last_check_timestamp_seconds": (LOOK, "gauge", "When a health check or a recovery pass last looked at the host."),
    "service_healthy": (LOOK, "gauge", "Whether the service runs and answers, and no cause was found (1), or not (0)."),
    "service_response_seconds": (LOOK, "gauge", "Response time of the health probe."),
    "dependency_healthy": (LOOK, "gauge", "Whether a dependency of the service runs and answers (1) or not (0)."),
    "dependency_response_seconds": (LOOK, "gauge", "Response time of the probe of a dependency."),
    "restarts_total": (LOOK, "counter", "Automatic restarts by systemd (NRestarts, summed over its resets)."),
    "maintenance": (LOOK, "gauge", "Whether maintenance is on and mutes actions (1), or not (0)."),
    "alerts_spooled": (LOOK, "gauge", "Alerts that Alertmanager or the hook has not taken yet."),
    "alerts_dropped_total": (LOOK, "counter", "Alerts that were dropped because the spool was full."),
    "disk_free_bytes": (LOOK, "gauge", "Free space of a watched file system for unprivileged users."),
    "disk_size_bytes": (LOOK, "gauge", "Size of a watched file system."),
    "disk_min_free_bytes": (LOOK, "gauge", "With less, a file system counts as full (min_free in [disk])."),
    "disk_free_inodes": (LOOK, "gauge", "Free inodes of a watched file system that counts them."),
    "disk_inodes": (LOOK, "gauge", "Inodes of a watched file system that counts them."),
    "disk_min_free_inodes": (LOOK, "gauge", "With fewer, a file system counts as full (min_inodes in [disk])."),
    "memory_available_bytes": (LOOK, "gauge", "Available memory (MemAvailable)."),
    "memory_min_available_bytes": (LOOK, "gauge", "With less, memory counts as low (min_available in [memory])."),
    "last_pass_timestamp_seconds": (RECORD, "gauge", "When a recovery pass last ran."),
    "incident_open": (RECORD, "gauge", "Whether an incident of the service is open (1) or not (0)."),
    "incident_start_timestamp_seconds": (RECORD, "gauge", "When the open incident began; absent if none is open."),
    "incident_cause": (RECORD, "gauge", "The first cause of the open incident, always 1; absent if none is open."),
    "incidents_total": (RECORD, "counter", "Incidents that began, by their first cause."),
    "escalated": (RECORD, "gauge", "Whether an alert was sent for the open incident (1) or not (0)."),
    "escalations_total": (RECORD, "counter", "Incidents for which an alert was sent."),
    "attempts_total": (RECORD, "counter", "Recovery attempts."),
    "recoveries_total": (RECORD, "counter", "Ended incidents: without an alert (recovered) or with one (escalated)."),
    "recovery_duration_seconds": (RECORD, "summary", "Time from the start of an incident to its end."),
}


def of_look(settings, facts, findings, restarts, maintenance, spooled, dropped, now):
    """Samples (name, labels, value) of what was seen at `now`, seconds since 1970. Pure; `restarts` by unit."""
    samples = [("build_info", {"version": __version__, "host": os.uname().nodename}, 1),
               ("last_check_timestamp_seconds", {}, round(now, 3)), ("maintenance", {}, int(maintenance)),
               ("alerts_spooled", {}, spooled), ("alerts_dropped_total", {}, dropped)]
    for service, finding in zip(facts.services, findings):
        unit = {"unit": finding.unit}
        samples.append(("service_healthy", unit, int(finding.well)))
        if service.probe.outcome == "ok":
            samples.append(("service_response_seconds", unit, round(service.probe.seconds, 6)))
        if finding.unit in restarts:
            samples.append(("restarts_total", unit, restarts[finding.unit]))
        for one in service.dependencies:
            which = {"unit": finding.unit, "dependency": one.name}
            well = one.unit.active == "active" and one.probe.outcome in ("ok", "none")
            samples.append(("dependency_healthy", which, int(well)))
            if one.probe.outcome == "ok":
                samples.append(("dependency_response_seconds", which, round(one.probe.seconds, 6)))
    for disk in facts.host.disks:
        if disk.total:
            mount = {"mountpoint": disk.mount}
            samples += [("disk_free_bytes", mount, disk.free), ("disk_size_bytes", mount, disk.total),
                        ("disk_min_free_bytes", mount, settings.disk.min_free.of(disk.total))]
            if disk.inodes:
                samples += [("disk_free_inodes", mount, disk.inodes_free), ("disk_inodes", mount, disk.inodes),
                            ("disk_min_free_inodes", mount, settings.disk.min_inodes.of(disk.inodes))]
    memory = facts.host.memory
    if memory.total:
        samples += [("memory_available_bytes", {}, memory.available),
                    ("memory_min_available_bytes", {}, settings.memory.min_available.of(memory.total))]
    return samples


def of_record(store, services, now):
    """Samples of what is on record of those services of the settings."""
    samples = [("last_pass_timestamp_seconds", {}, round(now, 3))]
    for service in services:
        unit, record = {"unit": service.unit}, store.of(service.unit)
        history, counts = record.history(), record.counts()
        recovered, escalated = counts.get("recovered", 0), counts.get("escalated", 0)
        samples += [("incident_open", unit, int(bool(history.incident))),
                    ("escalated", unit, int(history.escalation is not None)),
                    ("escalations_total", unit, counts.get("escalations", 0)),
                    ("attempts_total", unit, counts.get("attempts", 0)),
                    ("recoveries_total", dict(unit, outcome="recovered"), recovered),
                    ("recoveries_total", dict(unit, outcome="escalated"), escalated),
                    ("recovery_duration_seconds_sum", unit, counts.get("seconds", 0)),
                    ("recovery_duration_seconds_count", unit, recovered + escalated)]
        begun = dict.fromkeys(_causes(service.depends), 0)
        begun.update((what[len(notes.INCIDENTS):], number) for what, number in sorted(counts.items())
                     if what.startswith(notes.INCIDENTS))
        samples += [("incidents_total", dict(unit, cause=cause), number) for cause, number in begun.items()]
        if history.incident:
            document = store.incidents.read(history.incident)
            began = document["opened"][0] if document else now - (history.open_for or 0)
            cause = store.incidents.first_cause(history.incident) or "unknown"
            samples += [("incident_start_timestamp_seconds", unit, round(began, 3)),
                        ("incident_cause", dict(unit, cause=cause), 1)]
    return samples


def _causes(dependencies):
    """Each cause has its counter from the first day, at 0: Prometheus sees no increase in a series that begins at 1."""
    for row in CAUSES:
        for name in dependencies if "*" in row.name else ("",):
            yield row.name.replace("*", name)


def text(samples, file):
    """A file in Prometheus' text format: every family that belongs in it, also one without a sample today."""
    texts = {name: "# HELP %s%s %s\n# TYPE %s%s %s\n" % (PREFIX, name, meaning, PREFIX, name, kind)
             for name, (where, kind, meaning) in FAMILIES.items() if where == file}
    for name, labels, value in samples:
        family = name if name in texts else name.rpartition("_")[0]         # a summary's _sum and _count
        words = ",".join('%s="%s"' % (label, printable(said, LABEL).replace("\\", "\\\\").replace('"', '\\"'))
                         for label, said in labels.items())
        texts[family] += "%s%s%s %s\n" % (PREFIX, name, "{%s}" % words if words else "", value)
    return "".join(texts.values())


def after_check(settings, facts, findings, state, now):
    """Writes LOOK, and RECORD where no pass has written it since the settings changed; why one could not be, or ""."""
    directory = settings.metrics.directory
    if _is_off(directory):
        return ""
    written, changed = _mtime(os.path.join(directory.lstrip("-"), RECORD)), _mtime(settings.file)
    is_old = written is None or (changed is not None and written < changed)
    store = None
    if is_old or os.path.exists(os.path.join(state, "maintenance.json")):
        from citadel.record.store import Store  # a healthy check does not load it
        store = Store(state)
    maintenance = store is not None and store.intent.maintenance() is not None
    why = _write_look(settings, facts, findings, state, maintenance, now)
    return why or (write_record(settings, store, now) if is_old else "")


def _is_off(directory):
    """Whether no metrics are wanted, or only where their directory is, and it is not."""
    return not directory or directory.startswith("-") and not os.path.lexists(directory[1:])


def _mtime(path):
    """None for no file, as the settings that are built in have none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def after_pass(settings, facts, findings, store, now):
    """Writes both; why that could not be, or "". The next check writes to the same place and reports it."""
    if _is_off(settings.metrics.directory):
        return ""
    sweep(settings.metrics.directory)
    return (write_record(settings, store, now)
            or _write_look(settings, facts, findings, store.files.path, store.intent.maintenance() is not None, now))


def write_record(settings, store, now):
    """Writes RECORD; why it failed, or "". Also within a pass: what begins and ends in it would not be seen."""
    return write(settings.metrics.directory, RECORD, text(of_record(store, settings.services, now), RECORD))


def _write_look(settings, facts, findings, state, maintenance, now):
    known = {} if facts.host.unanswered else {
        service.unit.name: service.unit.restarts for service in facts.services
        if service.unit.load not in ("", "not-found") and service.unit.restarts is not None}
    samples = of_look(settings, facts, findings, count_restarts(state, known), maintenance,
                      notes.spooled(state), notes.dropped(state), now)
    return write(settings.metrics.directory, LOOK, text(samples, LOOK))


def count_restarts(state, seen):
    """{unit: restarts ever counted}, brought up to `seen`, {unit: NRestarts now}, which begins at 0 again at each start
    by hand and at each reset-failed. Where a check and a pass count at once, one leaves it to the other."""
    counted = _counted(state)
    if any(unit not in counted or counted[unit][0] != number for unit, number in seen.items()):
        import fcntl

        from citadel.record.directory import Directory
        files = Directory(state)
        try:
            fcntl.flock(files.open(create=True), fcntl.LOCK_EX | fcntl.LOCK_NB)
            after = _counted(state)
            for unit, number in seen.items():
                last, total = after.get(unit, (0, 0))
                after[unit] = number, total + (number - last if number >= last else number)
            files.write(RESTARTS, "".join("%s %d %d\n" % ((unit,) + both) for unit, both
                                          in sorted(after.items())).encode())
            counted = after
        except (OSError, NotPermitted):
            pass                                # counted with the next look: systemd does not forget by itself
        finally:
            files.close()
    return {unit: total for unit, (_, total) in counted.items()}


def _counted(state):
    lines = (line.split() for line in notes.read(state, RESTARTS).splitlines())
    return {words[0]: (int(words[1]), int(words[2])) for words in lines
            if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal()}


def complaint(directory):
    """Why no metrics can be written to that directory of the settings, or ""; also for users who may not write it."""
    descriptor, why = _open(directory)
    if descriptor is not None:
        os.close(descriptor)
    return why


def write(directory, name, content):
    """Puts a file in place in that directory of the settings; why that could not be done, or ""."""
    descriptor, why = _open(directory)
    if descriptor is None:
        return why
    try:
        # No fsync: a check writes it each minute. The temporary name is no *.prom, or the collector would read it.
        atomic.write_file(name, content.encode("utf-8", "backslashreplace"), 0o644, descriptor, sync=False)
        return ""
    except OSError as error:
        return "%s/%s could not be written: %s" % (directory.lstrip("-"), name, error.strerror)
    finally:
        os.close(descriptor)


def sweep(directory):
    """Removes what writers of ours left that died while writing."""
    descriptor, _ = _open(directory)
    if descriptor is not None:
        try:
            for file in (LOOK, RECORD):
                atomic.sweep(descriptor, file + ".")
        except OSError:
            pass                                            # the next pass tries again
        finally:
            os.close(descriptor)


def withdraw(directory):
    """Removes our files from that directory of the settings, when Citadel is uninstalled: a heartbeat that nobody
    renews would be an alert for ever. The names of those that were there."""
    gone = []
    descriptor, _ = _open(directory)
    for name in () if descriptor is None else (LOOK, RECORD):
        try:
            os.unlink(name, dir_fd=descriptor)
            gone.append(name)
        except OSError:
            pass                                            # mostly because it is not there
    if descriptor is not None:
        os.close(descriptor)
    return gone


def _open(directory):
    """(the descriptor of that directory of the settings, ""), or (None, why no metrics are written there). There is no
    reason to complain where none is wanted, where it may be absent, and where we may not see it."""
    if not directory:
        return None, ""
    try:
        return open_directory(directory.lstrip("-"), check_itself=True), ""
    except FileNotFoundError as error:
        why = "" if directory.startswith("-") else "%s does not exist" % error.filename
    except NotPermitted as error:
        why = str(error)
    except OSError as error:
        hidden = isinstance(error, PermissionError) and os.geteuid()
        why = "" if hidden else "%s cannot be opened: %s" % (error.filename, error.strerror)
    return None, why and why + "; no metrics are written"
