"""The evidence of an incident, kept before the first step changes it: a file that an operator can carry off the host.

incidents/ID.tar.gz below our state directory (its SHA-256 beside it, and in the incident), with what an engineer asks
for first. Secrets are redacted; it holds at most LARGEST bytes; it is made within SECONDS, and what could not be had in
that time is named in it. Nothing that goes wrong here keeps a recovery waiting.
"""

import hashlib
import io
import os
import tarfile
import time

from citadel.core.redaction import redact
from citadel.core.trust import open_file

LARGEST = 1 << 20
LARGEST_PART = 256 * 1024
SECONDS = 5
LINES = 200
LARGEST_ANSWER = LINES * 65536          # of one command; journalctl cuts a line at 64 KiB (sd_journal_get_data(3))

PROC = ("meminfo", "loadavg", "uptime", "pressure/cpu", "pressure/io", "pressure/memory", "self/mountinfo", "net/tcp",
        "net/tcp6")


def collect(files, incident, unit, settings, run, clock=time.monotonic):
    """Makes the bundle; its record {"file", "sha256", "bytes", "seconds"} for the incident, or {"error": why}."""
    started = clock()
    data = pack(incident, _parts(unit, settings, run, clock, started + SECONDS))
    name, digest = "incidents/%s.tar.gz" % incident, hashlib.sha256(data).hexdigest()
    try:
        files.write(name, data)
        files.write(name + ".sha256", ("%s  %s.tar.gz\n" % (digest, incident)).encode("ascii"))
    except OSError as error:
        return {"error": "the evidence could not be written: %s" % error.strerror}
    return {"file": name, "sha256": digest, "bytes": len(data), "seconds": round(clock() - started, 2)}


def _parts(unit, settings, run, clock, end):
    """Name to text of all that goes into it."""
    parts = {"proc/" + name.replace("/", "-"): _read("/proc/" + name) for name in PROC}
    service = settings.service(unit)
    for path in filter(None, (settings.file, service.settings if service else "")):
        parts["settings/" + os.path.basename(path)] = _read(path)
    for name, argv in _questions(unit, settings):
        left, said = end - clock(), "not asked: no time was left\n"
        if left > 0.1:
            answer = run(argv, min(left, SECONDS / 2.0), cap=LARGEST_ANSWER)
            said = _newest(answer.out) + ("" if answer.ok else answer.complaint() + "\n")
        parts["commands/" + name] = "$ %s\n%s" % (" ".join(argv), said)
    return parts


def _questions(unit, settings):
    units = [unit] + sorted({name for one in settings.dependencies.values() for name in one.units} - {unit})
    return (("show", ["systemctl", "show", "--no-pager", "--"] + units),
            ("journal", ["journalctl", "--no-pager", "--lines=%d" % LINES, "--output=short-iso"]
             + ["--unit=" + name for name in units]),
            ("jobs", ["systemctl", "list-jobs", "--no-pager"]),
            ("failed", ["systemctl", "list-units", "--failed", "--no-pager", "--plain"]),
            ("df", ["df", "-kPl"]), ("df-inodes", ["df", "-iPl"]),
            ("processes", ["ps", "-eo", "pid,ppid,user,stat,rss,etimes,cgroup,comm"]))


def pack(incident, parts):
    """The bundle's bytes: a .tar.gz of the redacted parts, the end of the long ones, until it is small enough."""
    texts = {name: redact(text).encode("utf-8", "backslashreplace") for name, text in parts.items()}
    allowance = LARGEST_PART
    while True:
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:gz") as archive:
            for name in sorted(texts):
                kept = texts[name][-allowance:]
                entry = tarfile.TarInfo("%s/%s" % (incident, name))
                entry.size, entry.mode = len(kept), 0o600
                archive.addfile(entry, io.BytesIO(kept))
        if len(memory.getvalue()) <= LARGEST or allowance <= 1024:
            return memory.getvalue()
        allowance //= 2


def _newest(text):
    """The end of an answer, from the beginning of a line on: the journal's newest lines stand there."""
    end = text[-LARGEST_PART:]
    return text if len(text) <= LARGEST_PART else end.partition("\n")[2] or end


def _read(path):
    """The beginning of a file that others may have made: no link, no FIFO, one name only."""
    try:
        with open(open_file(path), "rb") as file:
            if os.fstat(file.fileno()).st_nlink != 1:
                return "not read: it has more than one name\n"
            return file.read(LARGEST_PART).decode("utf-8", "backslashreplace")
    except OSError as error:
        return "could not be read: %s\n" % error.strerror
