"""Telling a person: the journal, every terminal, and the hook of the settings.

One escalation an incident, one resolution. What the hook did not take is spooled, and sent again by each later pass
until it is taken: at least once, with the incident's id to know a second copy by. The journal and wall(1) are told at
once and not again.
"""

import json
import os
import socket
import time

from citadel import clock
from citadel.act import FAILED, OK, Outcome
from citadel.errors import CitadelError
from citadel.report import printable

JOURNAL = "/run/systemd/journal/socket"
MOST_SPOOLED = 100
WALL_PATIENCE = 5                       # seconds; a terminal that does not read can hold wall(1) up
CRIT, WARNING, NOTICE = 2, 4, 5

# MESSAGE_ID= an event, ours and fixed: `journalctl MESSAGE_ID=…` finds all of one kind. (sd-id128(3))
EVENTS = {
    "act": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c101", NOTICE),
    "waiting": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c102", NOTICE),
    "stood-down": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c103", NOTICE),
    "escalated": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c104", WARNING),
    "healthy": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c105", NOTICE),
    "step": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c106", NOTICE),
    "firing": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c107", CRIT),
    "resolved": ("6b7c1d9c7a1f4b5e9f60a3f0f5d7c108", NOTICE),
}

# What a person must do, where no machine could: by the cause, or by its last part.
ADVICE = {
    "config.invalid": "correct that line, then: systemctl start UNIT",
    "port.taken": "stop that process, or give one of the two another port",
    "unit.changed": "run install.py again, or `systemctl revert`, then: systemctl daemon-reload",
    "disk.full": "make room on that file system",
    "disk.inodes": "remove files on that file system",
    "disk.readonly": "look at the disk (journalctl -k), mend it, and mount it writable",
    "memory.low": "stop what uses that memory, or give the host more",
    "systemd.unresponsive": "PID 1 is stuck; look at the console, a reboot may be the only way",
    "missing": "install that dependency",
    "down": "repair that dependency; the gateway comes back by itself when it starts",
    "hung": "look at that dependency's log",
    "refusing-writes": "look at that dependency's disk and memory",
    "gateway.crash-loop": "read the gateway's log: citadel-restart-manager logs",
}


def advice(cause, unit):
    """What a person must do about it, in one line."""
    words = ADVICE.get(cause) or ADVICE.get(cause.rpartition(".")[2]) or "see: citadel-restart-manager explain"
    return words.replace("UNIT", unit)


def journal(event, message, unit="", cause="", verdict="", incident="", path=JOURNAL):
    """One structured entry, by journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). Never blocks: with
    journald stopped its socket fills up. Whether it was taken."""
    message_id, priority = EVENTS[event]
    fields = {"MESSAGE": printable(message, 1000), "MESSAGE_ID": message_id, "PRIORITY": str(priority),
              "SYSLOG_IDENTIFIER": "citadel", "CITADEL_UNIT": unit, "CITADEL_CAUSE": cause,
              "CITADEL_VERDICT": verdict, "CITADEL_INCIDENT": incident}
    datagram = "".join("%s=%s\n" % (name, value) for name, value in fields.items() if value).encode("utf-8", "replace")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(datagram, path)
        return True
    except OSError:
        return False


def escalate(step, finding, incident, settings, store, now, run):
    """Calls a person; an act.Outcome that says what took the call. Fails only when nobody could be told."""
    return _send(step, {
        "schema": 1, "status": "firing", "unit": finding.unit, "cause": finding.cause, "because": step.because,
        "advice": advice(finding.cause, finding.unit), "incident": incident, "host": os.uname().nodename,
        "time": clock.stamp(now.wall)}, settings, store, run)


def resolve(step, document, settings, store, now, run):
    """Tells whoever was called that the incident (its `document`) is over; an act.Outcome."""
    return _send(step, {
        "schema": 1, "status": "resolved", "unit": document["unit"], "cause": document["causes"][0]["cause"]
        if document["causes"] else "", "because": step.because, "advice": "", "incident": document["id"],
        "host": os.uname().nodename, "time": clock.stamp(now.wall), "seconds": document["duration"]},
        settings, store, run)


def _send(step, alert, settings, store, run):
    """By all means there are: journal, wall, hook."""
    took, trouble = [], ""
    started = time.monotonic()
    text = "%s: %s%s" % (alert["unit"], alert["because"], ". To do: " + alert["advice"] if alert["advice"] else "")
    if journal(alert["status"], text, alert["unit"], alert["cause"], incident=alert["incident"]):
        took.append("journal")
    if settings.recovery.wall and run(["wall", "Citadel: " + printable(text, 400)], WALL_PATIENCE).ok:
        took.append("wall")
    if settings.hook.command:
        trouble = _hook(alert, settings, run)
        if trouble:
            _spool(alert, store)
        took += [] if trouble else ["hook"]
    detail = ("told by " + ", ".join(took) if took else "nobody could be told") + (
        "; the hook is to be told later: " + trouble if trouble else "")
    return Outcome(step, OK if took else FAILED, time.monotonic() - started, detail, {})


def _hook(alert, settings, run):
    """Runs the hook with the alert as JSON on stdin; why that failed, or ""."""
    path = settings.hook.command
    try:
        status = os.lstat(path)
    except OSError as error:
        return error.strerror
    if status.st_uid != 0 or status.st_mode & 0o022 or status.st_mode & 0o170000 != 0o100000:
        return "%s is not root's own file" % path
    answer = run([path], settings.hook.timeout, stdin=json.dumps(alert, sort_keys=True).encode() + b"\n")
    return "" if answer.ok else printable(answer.complaint(), 120)


def _spool(alert, store):
    """Keeps an alert for later; when the spool is full the oldest are kept, which tell how it began."""
    name = "spool/%s-%s.json" % (alert["incident"], alert["status"])
    try:
        if len(store.files.names("spool")) < MOST_SPOOLED:
            store.files.write(name, json.dumps(alert, sort_keys=True).encode())
    except (OSError, CitadelError) as error:
        store.trouble = "an alert could not be spooled: %s" % error


def spooled(store):
    """How many alerts wait to be sent."""
    return len(store.files.names("spool"))


def send_spooled(settings, store, run):
    """Sends what waits, oldest first, until one is refused."""
    for name in sorted(store.files.names("spool")):
        path = "spool/" + name
        try:
            alert = json.loads((store.files.read(path) or b"").decode("utf-8"))
        except (OSError, ValueError):
            store.files.set_aside(path)
            continue
        if settings.hook.command and _hook(alert, settings, run):
            return
        store.files.remove(path)
