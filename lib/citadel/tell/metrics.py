"""What Prometheus sees of us, by node_exporter's textfile collector.

Two files, because two know: LOOK is written by each health check and by each pass, from what was just seen; RECORD by
each pass, from the record on disk, which nobody else changes. So a healthy check reads no state and pays for one small
write. Each file is put in place whole, by a rename in its directory, readable by all and writable by root alone.

Nothing here may hurt who calls it: what cannot be written is a sentence, never an exception. Counters are kept on disk
and do not fall: those of RECORD in the state (incidents.Store.counts), the restarts, which checks count as well, in
a file of their own.
"""

import os
import stat

from citadel import __version__
from citadel.core.text import printable
from citadel.record import notes
from citadel.record.notes import INCIDENTS

LOOK, RECORD = "citadel.prom", "citadel-record.prom"
RESTARTS = "restarts"                   # in our state directory: a line each, "UNIT LAST TOTAL"
PREFIX = "citadel_"
LABEL = 1024                            # characters of a label's value; a cut one might be another's

# name: (file, type, help); the order is that of the files.
FAMILIES = {
    "build_info": (LOOK, "gauge", "The version of Citadel and the host's own name, always 1."),
    "last_check_timestamp_seconds": (LOOK, "gauge", "When the health check, or a recovery pass, last looked."),
    "service_healthy": (LOOK, "gauge", "Whether the service runs, answers, and has all that it needs (1) or not (0)."),
    "service_response_seconds": (LOOK, "gauge", "Time in which the service answered its health probe."),
    "dependency_healthy": (LOOK, "gauge", "Whether a dependency of the service runs and answers (1) or not (0)."),
    "dependency_response_seconds": (LOOK, "gauge", "Time in which a dependency answered its probe."),
    "restarts_total": (LOOK, "counter", "Automatic restarts by systemd (NRestarts, over all resets of it)."),
    "maintenance": (LOOK, "gauge", "Whether maintenance is on, which mutes actions (1) or not (0)."),
    "alerts_spooled": (LOOK, "gauge", "Alerts that wait to be taken by Alertmanager or the hook."),
    "alerts_dropped_total": (LOOK, "counter", "Alerts that found the spool full."),
    "disk_free_bytes": (LOOK, "gauge", "Free space of a watched file system, as an unprivileged writer has it."),
    "disk_size_bytes": (LOOK, "gauge", "Size of a watched file system."),
    "disk_min_free_bytes": (LOOK, "gauge", "Below this a file system counts as full (min_free in [disk])."),
    "disk_free_inodes": (LOOK, "gauge", "Free inodes of a watched file system that counts them."),
    "disk_inodes": (LOOK, "gauge", "Inodes of a watched file system that counts them."),
    "disk_min_free_inodes": (LOOK, "gauge", "Below this a file system counts as full (min_inodes in [disk])."),
    "memory_available_bytes": (LOOK, "gauge", "Available memory (MemAvailable)."),
    "memory_min_available_bytes": (LOOK, "gauge", "Below this memory counts as low (min_available in [memory])."),
    "last_pass_timestamp_seconds": (RECORD, "gauge", "When a recovery pass was last at work."),
    "incident_open": (RECORD, "gauge", "Whether an incident of the service is open (1) or not (0)."),
    "incident_start_timestamp_seconds": (RECORD, "gauge", "When the open incident began; absent without one."),
    "incident_cause": (RECORD, "gauge", "The cause found first in the open incident, always 1; absent without one."),
    "incidents_total": (RECORD, "counter", "Incidents that began, by the cause that was found first."),
    "escalated": (RECORD, "gauge", "Whether a person was called in the open incident (1) or not (0)."),
    "escalations_total": (RECORD, "counter", "Incidents in which a person was called."),
    "attempts_total": (RECORD, "counter", "Attempts at recovery: starts, restarts and what belongs to them."),
    "recoveries_total": (RECORD, "counter", "Incidents that ended: without calling a person (recovered), or after a "
                                            "person was called (escalated)."),
    "recovery_duration_seconds": (RECORD, "summary", "Time from the start of an incident to its end."),
}

# Each cause has its counter from the first day, at 0: Prometheus sees no increase in a series that begins at 1.
CAUSES = ("gateway.crashed", "gateway.crash-loop", "gateway.hung", "gateway.http-error", "gateway.slow", "gateway.oom",
          "gateway.start-timeout", "gateway.stopped-by-operator", "gateway.stopped-with-dependency", "port.taken",
          "disk.full", "disk.inodes", "disk.readonly", "memory.low", "config.invalid", "unit.changed",
          "systemd.unresponsive", "unknown")
OF_A_DEPENDENCY = ("down", "hung", "loading", "refusing-writes", "missing", "stopped-by-operator")


# --- what is measured -------------------------------------------------------------------------------------------------

def of_look(settings, facts, findings, restarts, maintenance, spooled, dropped, now):
    """Samples (name, labels, value) of what was seen at `now`, seconds since 1970. Pure; `restarts` by unit."""
    samples = [("build_info", {"version": __version__, "host": os.uname().nodename}, 1),
               ("last_check_timestamp_seconds", {}, round(now, 3)),
               ("maintenance", {}, int(maintenance)), ("alerts_spooled", {}, spooled),
               ("alerts_dropped_total", {}, dropped)]
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
        name = service.unit
        unit, history, counts = {"unit": name}, store.of(name).history(), store.of(name).counts()
        samples += [("incident_open", unit, int(bool(history.incident))),
                    ("escalated", unit, int(history.escalation is not None)),
                    ("escalations_total", unit, counts.get("escalations", 0)),
                    ("attempts_total", unit, counts.get("attempts", 0))]
        samples += [("recoveries_total", dict(unit, outcome=outcome), counts.get(outcome, 0))
                    for outcome in ("recovered", "escalated")]
        samples += [("recovery_duration_seconds_sum", unit, counts.get("seconds", 0)),
                    ("recovery_duration_seconds_count", unit, counts.get("recovered", 0) + counts.get("escalated", 0))]
        begun = dict.fromkeys(CAUSES + tuple("dependency.%s.%s" % (one, how) for one in service.depends
                                             for how in OF_A_DEPENDENCY), 0)
        begun.update((what[len(INCIDENTS):], number) for what, number in sorted(counts.items())
                     if what.startswith(INCIDENTS))
        samples += [("incidents_total", dict(unit, cause=cause), number) for cause, number in begun.items()]
        document = store.incidents.read(history.incident) if history.incident else None
        if history.incident:
            began = document["opened"][0] if document else now - (history.open_for or 0)
            samples.append(("incident_start_timestamp_seconds", unit, round(began, 3)))
            causes = document["causes"] if document else ()
            samples.append(("incident_cause", dict(unit, cause=causes[0].get("cause", "unknown") if causes
                                                   else "unknown"), 1))
    return samples


def text(samples, file):
    """A file in Prometheus' text format: every family that belongs in it, also one without a sample today."""
    by_family = {}
    for name, labels, value in samples:
        family = name if name in FAMILIES else name.rpartition("_")[0]      # a summary's _sum and _count
        by_family.setdefault(family, []).append("%s%s%s %s\n" % (PREFIX, name, _labels(labels), value))
    lines = []
    for name, (where, kind, meaning) in FAMILIES.items():
        if where == file:
            lines += ["# HELP %s%s %s\n# TYPE %s%s %s\n" % (PREFIX, name, meaning, PREFIX, name, kind)]
            lines += by_family.get(name, ())
    return "".join(lines)


def _labels(labels):
    if not labels:
        return ""
    return "{%s}" % ",".join('%s="%s"' % (name, printable(value, LABEL).replace("\\", "\\\\").replace('"', '\\"'))
                             for name, value in labels.items())


# --- when it is written -----------------------------------------------------------------------------------------------

def after_check(settings, facts, findings, state, now):
    """Writes LOOK, and RECORD where no pass has written it since the settings name these services; why one could not
    be, or ""."""
    directory = settings.metrics.directory
    if _is_off(directory):
        return ""
    maintenance = False
    if os.path.exists(os.path.join(state, "maintenance.json")):
        maintenance = _store(state).intent.maintenance() is not None
    why = _write_look(settings, facts, findings, state, maintenance, now)
    if not why and _is_older(os.path.join(directory.lstrip("-"), RECORD), settings.file):
        why = write_record(settings, _store(state), now)
    return why


def _is_off(directory):
    """Whether no metrics are wanted, or only where their directory is, and it is not."""
    return not directory or directory.startswith("-") and not os.path.lexists(directory[1:])


def _is_older(record, settings_file):
    try:
        written = os.stat(record).st_mtime
    except OSError:
        return True
    try:
        return written < os.stat(settings_file).st_mtime
    except OSError:
        return False                            # the settings that are built in have no file


def after_pass(settings, facts, findings, store, now):
    """Writes both; why that could not be, or "". Nobody needs to be told here: the next check, a minute later, writes
    to the same place, and says so to cron and to Nagios."""
    if _is_off(settings.metrics.directory):
        return ""
    sweep(settings.metrics.directory)
    return (write_record(settings, store, now)
            or _write_look(settings, facts, findings, store.files.path, store.intent.maintenance() is not None, now))


def write_record(settings, store, now):
    """Writes RECORD; also in the middle of a pass, for what begins and ends in it would never be seen. Why it could not
    be, or ""."""
    if _is_off(settings.metrics.directory):
        return ""
    return write(settings.metrics.directory, RECORD, text(of_record(store, settings.services, now), RECORD))


def _write_look(settings, facts, findings, state, maintenance, now):
    known = {} if facts.host.unanswered else {
        service.unit.name: service.unit.restarts for service in facts.services
        if service.unit.load not in ("", "not-found") and service.unit.restarts is not None}
    samples = of_look(settings, facts, findings, count_restarts(state, known), maintenance,
                      notes.spooled(state), notes.dropped(state), now)
    return write(settings.metrics.directory, LOOK, text(samples, LOOK))


def _store(state):
    from citadel.record.store import Store
    return Store(state)


def count_restarts(state, seen):
    """{unit: restarts ever counted}, brought up to `seen`, {unit: NRestarts now}. systemd begins at 0 again at each
    start by hand and at each reset-failed, and so does not this. A check and a pass may count at once: one of them
    then leaves it to the other."""
    before = _counted(state)
    if all(unit in before and before[unit][0] == number for unit, number in seen.items()):
        return {unit: total for unit, (_, total) in before.items()}
    import fcntl

    from citadel.core.atomic import Directory
    from citadel.core.errors import NotPermitted
    try:
        files = Directory(state)
        lock = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=files.open(create=True))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = _counted(state)
            after = dict(before)
            for unit, number in seen.items():
                last, total = before.get(unit, (0, 0))
                after[unit] = number, total + (number - last if number >= last else number)
            files.write(RESTARTS, "".join("%s %d %d\n" % ((unit,) + counted) for unit, counted
                                          in sorted(after.items())).encode())
            before = after
        finally:
            os.close(lock)
            files.close()
    except (OSError, NotPermitted):
        pass                                    # counted with the next look: systemd does not forget by itself
    return {unit: total for unit, (_, total) in before.items()}


def _counted(state):
    found = {}
    for line in notes.read(state, RESTARTS).splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
            found[words[0]] = int(words[1]), int(words[2])
    return found


# --- the directory ----------------------------------------------------------------------------------------------------

def complaint(directory):
    """Why no metrics can be written to that directory of the settings, or ""; also for users who may not write it."""
    if not directory:
        return ""
    try:
        descriptor = _open(directory.lstrip("-"))
    except FileNotFoundError as error:
        return "" if directory.startswith("-") else str(error)
    except PermissionError:
        return ""                               # not for us to see
    except OSError as error:
        return str(error)
    os.close(descriptor)
    return ""


def write(directory, name, content):
    """Puts a file in place in that directory of the settings; why that could not be done, or ""."""
    try:
        base = _open(directory.lstrip("-"))
    except FileNotFoundError as error:
        return "" if directory.startswith("-") else str(error)
    except OSError as error:
        return str(error)
    temporary = ".%s.%d.tmp" % (name, os.getpid())      # no *.prom: the collector must not read half of it
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o600, dir_fd=base)
        except FileExistsError:                         # of one with our number, that died
            os.unlink(temporary, dir_fd=base)
            descriptor = os.open(temporary, flags, 0o600, dir_fd=base)
        try:
            rest = content.encode("utf-8", "backslashreplace")
            while rest:
                rest = rest[os.write(descriptor, rest):]
            os.fchmod(descriptor, 0o644)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=base, dst_dir_fd=base)
        return ""
    except OSError as error:
        try:
            os.unlink(temporary, dir_fd=base)
        except OSError:
            pass                                        # it was never made, or the disk takes nothing at all
        return "%s/%s could not be written: %s" % (directory.lstrip("-"), name, error.strerror)
    finally:
        os.close(base)


def sweep(directory):
    """Removes what writers of ours left that died while writing."""
    try:
        base = _open(directory.lstrip("-"))
    except OSError:
        return
    try:
        for name in os.listdir(base):
            words = name.split(".")
            if name.startswith(".citadel") and words[-1] == "tmp" and not os.path.exists("/proc/" + words[-2]):
                os.unlink(name, dir_fd=base)
    except OSError:
        pass                                            # the next pass tries again
    finally:
        os.close(base)


def withdraw(directory):
    """Removes our files from that directory of the settings, when we are uninstalled: a heartbeat that nobody renews
    would be an alert for ever. The names of those that were there."""
    gone = []
    try:
        base = _open(directory.lstrip("-"))
    except OSError:
        return gone
    for name in (LOOK, RECORD):
        try:
            os.unlink(name, dir_fd=base)
            gone.append(name)
        except OSError:
            pass                                        # mostly because it is not there
    os.close(base)
    return gone


def _open(path):
    """A descriptor of the directory; OSError with a whole sentence when there is none that root may write into. No
    part of the path may be a link: whoever can make one would choose where root writes."""
    here, descriptor = "", os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts = [part for part in path.split("/") if part]
        for number, part in enumerate(parts, 1):
            here += "/" + part
            how = os.O_RDONLY if number == len(parts) else os.O_PATH
            try:
                inner = os.open(part, how | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            except OSError as error:
                raise type(error)(_why(error, part, here, descriptor)) from None
            os.close(descriptor)
            descriptor = inner
        status = os.fstat(descriptor)
        if status.st_uid not in (0, os.geteuid()):
            raise OSError("%s belongs to uid %d, not to root: no metrics are written there" % (path, status.st_uid))
        if status.st_mode & 0o022:
            raise OSError("%s can be written by others than root: no metrics are written there" % path)
        kept, descriptor = descriptor, -1
        return kept
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _why(error, part, here, base):
    try:
        is_link = stat.S_ISLNK(os.lstat(part, dir_fd=base).st_mode)
    except OSError:
        is_link = False
    return "%s %s: no metrics are written" % (here, "is a symbolic link, and none is followed" if is_link else
                                              "does not exist" if isinstance(error, FileNotFoundError) else
                                              "cannot be opened (%s)" % error.strerror)
