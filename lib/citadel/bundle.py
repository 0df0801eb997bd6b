"""The evidence of an incident, kept before the first step changes it: a file that a person can carry off the host.

incidents/ID.tar.gz below our state directory (its SHA-256 beside it, and in the incident), with what an engineer asks
for first. Secrets are redacted; it holds at most LARGEST bytes; it is made within SECONDS, and what could not be had in
that time is named in it. Nothing that goes wrong here keeps a recovery waiting.
"""

import hashlib
import io
import os
import re
import stat
import tarfile
import time

LARGEST = 1 << 20
LARGEST_PART = 256 * 1024
SECONDS = 5
LINES = 200

PROC = ("meminfo", "loadavg", "uptime", "pressure/cpu", "pressure/io", "pressure/memory", "self/mountinfo", "net/tcp",
        "net/tcp6")

# Every pattern begins at a place that few positions have and repeats within bounds, so that no text, however it was
# made, takes more than linear time: a line of the journal may come from an attacker, and a recovery waits for us.
_SECRET = re.compile(r"pass(?:word|wd|phrase)|secret|token|credential|key$|[_-]key|apikey|^auth$|authorization|cookie|"
                     r"dsn$")
_NAME = r"[\w.-]{1,120}"
_KEY = re.compile(r"(?<![\w.-])(" + _NAME + r")(?![\w.-])[\"']?[ \t]{0,8}[:=][ \t]{0,8}")
_FLAG = re.compile(r"(?<![\w-])--?(" + _NAME + r")[ \t]{1,8}(?=[^\s-])")
_FIRST = re.compile(r"[ \t]{0,80}(?:-[ \t]{1,8})?(?:export[ \t]{1,8})?[\"']?(" + _NAME + r")(?![\w.-])[\"']?"
                    r"[ \t]{0,8}[:=][ \t]{0,8}")
_VALUE = re.compile(r"\"[^\"]*\"?|'[^']*'?|[^\s,;&\"']+")
_BLOCK = re.compile(r"[|>][+-]?\d?[ \t]*$")
_FORMS = tuple((re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in (
    (r"://[^/\s@\"']{1,500}@", "://[redacted]@"),
    (r"\b(bearer|basic)[ \t]{1,4}[A-Za-z0-9+/=._~-]{8,}", r"\1 [redacted]"),
    (r"\beyJ[\w-]{8,2000}\.[\w.-]+", "[redacted token]"),
    (r"\bsk-[\w-]{16,}", "[redacted key]")))
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)")
_LONGEST_LINE = 4000


def collect(store, incident, unit, settings, run, clock=time.monotonic, proc="/proc"):
    """Makes the bundle; its record {"file", "sha256", "bytes", "seconds"} for the incident, or {"error": why}."""
    started = clock()
    data = pack(incident, _parts(unit, settings, run, clock, started + SECONDS, proc))
    name, digest = "incidents/%s.tar.gz" % incident, hashlib.sha256(data).hexdigest()
    try:
        store.files.write(name, data)
        store.files.write(name + ".sha256", ("%s  %s.tar.gz\n" % (digest, incident)).encode("ascii"))
    except OSError as error:
        return {"error": "the evidence could not be written: %s" % error.strerror}
    return {"file": name, "sha256": digest, "bytes": len(data), "seconds": round(clock() - started, 2)}


def _parts(unit, settings, run, clock, end, proc):
    """Name to text of all that goes into it."""
    parts = {"proc/" + name.replace("/", "-"): _read("%s/%s" % (proc, name)) for name in PROC}
    service = settings.service(unit)
    for path in (settings.file, service.settings if service else ""):
        if path:
            parts["settings/" + os.path.basename(path)] = _read(path)
    for name, argv in _questions(unit, settings):
        left = end - clock()
        if left <= 0.1:
            parts["commands/" + name] = "$ %s\nnot asked: no time was left\n" % " ".join(argv)
            continue
        answer = run(argv, min(left, SECONDS / 2.0), cap=LARGEST_PART)
        parts["commands/" + name] = "$ %s\n%s%s" % (" ".join(argv), answer.out, "" if answer.ok else
                                                    answer.complaint() + "\n")
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


def redact(text):
    """Without what looks like a secret: values of telling keys, Authorization headers, users and passwords in URLs,
    private keys and tokens that can be told by their form. Rather too much than too little."""
    lines, block = [], None
    for line in _PRIVATE.sub("[redacted private key]", text).split("\n"):
        indent = len(line) - len(line.lstrip())
        if block is not None:
            if not line.strip() or indent > block:
                continue                # a further line of a YAML block that holds a secret
            block = None
        first = _FIRST.match(line)
        if first and _is_secret(first.group(1)) and line[first.end():].strip():
            if _BLOCK.match(line, first.end()):
                block = indent
            lines.append(line[:first.end()] + "[redacted]")
        else:
            lines.append(_redact_within(line[:_LONGEST_LINE]))
    return "\n".join(lines)


def _redact_within(line):
    """Values in the middle of a line end at the next space: the rest may be evidence."""
    for pattern, replacement in _FORMS:
        line = pattern.sub(replacement, line)
    for pattern in (_KEY, _FLAG):
        pieces, done = [], 0
        for key in pattern.finditer(line):
            if key.end() < done or not _is_secret(key.group(1)):
                continue
            value = _VALUE.match(line, key.end())
            if value:
                whole = value.end() if "authorization" not in key.group(1).lower() else len(line)
                pieces += [line[done:key.end()], "[redacted]"]
                done = whole
        line = "".join(pieces) + line[done:]
    return line


def _is_secret(name):
    return _SECRET.search(name.lower()) is not None


def _read(path):
    """The beginning of a file that somebody else may have made: no link, no FIFO, one name only."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                return "not read: not a regular file with one name\n"
            return file.read(LARGEST_PART).decode("utf-8", "backslashreplace")
    except OSError as error:
        return "could not be read: %s\n" % error.strerror
