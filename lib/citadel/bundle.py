"""The evidence of an incident, kept before the first step changes it: a file that a person can carry off the host.

incidents/ID.tar.gz below our state directory, with what an engineer asks for first. Secrets are redacted; it holds at
most 1 MiB; it is made within seconds, or not at all, and never keeps a recovery waiting.
"""

import hashlib
import io
import re
import tarfile
import time

LARGEST = 1 << 20
LARGEST_PART = 256 * 1024
SECONDS = 5
SECRET = re.compile(r"(?i)((?:[a-z0-9_.-]*(?:pass(?:word|wd|phrase)?|secret|token|credential|api[_-]?key|private[_-]?key)"
                    r"[a-z0-9_.-]*)[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|\S+)")
AUTHORIZATION = re.compile(r"(?i)(authorization\s*[:=]\s*)[^\r\n]+")
USERINFO = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]*@", re.IGNORECASE)

FILES = ("/proc/meminfo", "/proc/loadavg", "/proc/pressure/memory", "/proc/self/mountinfo", "/proc/net/tcp",
         "/proc/net/tcp6", "/opt/citadel/etc/citadel.conf")


def collect(store, incident, unit, settings, run, clock=time.monotonic):
    """Makes the bundle; its record {"file", "sha256", "bytes"} for the incident, or {"error": why}."""
    end = clock() + SECONDS
    parts = {}
    service = settings.service(unit)
    for path in FILES + ((service.settings,) if service and service.settings else ()):
        parts["files" + path] = _read(path)
    for name, argv in _questions(unit, settings):
        if clock() >= end:
            parts["commands/" + name] = "not asked: no time left\n"
            continue
        answer = run(argv, max(0.5, end - clock()), cap=LARGEST_PART)
        parts["commands/" + name] = "$ %s\n%s%s" % (" ".join(argv), answer.out, "" if answer.ok else
                                                    answer.complaint() + "\n")
    data = pack(incident, parts)
    try:
        store.files.write("incidents/%s.tar.gz" % incident, data)
    except OSError as error:
        return {"error": "%s" % error.strerror}
    return {"file": "incidents/%s.tar.gz" % incident, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _questions(unit, settings):
    units = [unit] + [name for one in settings.dependencies.values() for name in one.units]
    return (("show", ["systemctl", "show", "--no-pager", "--"] + units),
            ("journal", ["journalctl", "--no-pager", "--lines=200", "--output=short-iso"]
             + ["--unit=" + name for name in units]),
            ("df", ["df", "-h"]), ("df-inodes", ["df", "-i"]), ("jobs", ["systemctl", "list-jobs", "--no-pager"]),
            ("processes", ["ps", "-eo", "pid,ppid,user,stat,rss,etimes,cgroup,comm"]))


def pack(incident, parts):
    """The bundle's bytes: a .tar.gz of the redacted parts, the largest ones cut until it is small enough."""
    allowance = LARGEST_PART
    while True:
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:gz") as archive:
            for name in sorted(parts):
                text = redact(parts[name]).encode("utf-8", "backslashreplace")
                entry = tarfile.TarInfo("%s/%s" % (incident, name.strip("/")))
                entry.size, entry.mode = len(text[-allowance:]), 0o600
                archive.addfile(entry, io.BytesIO(text[-allowance:]))
        if memory.tell() <= LARGEST or allowance <= 1024:
            return memory.getvalue()
        allowance //= 2


def redact(text):
    """Without what looks like a secret: values of telling keys, Authorization headers, users and passwords in URLs."""
    return SECRET.sub(r"\1[redacted]", AUTHORIZATION.sub(r"\1[redacted]", USERINFO.sub(r"\1[redacted]@", text)))


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(LARGEST_PART)
    except OSError as error:
        return "could not be read: %s\n" % error.strerror
