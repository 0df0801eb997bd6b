"""What anybody sees of a machine: from outside, without asking the systemd or any program in it.

Threads of ours stand in the machine's network namespace (setns(2) is of the thread that calls it). One asks /health
twice a second and looks up the gateway's main process in its cgroup; two others are what an operator carries: a pager
(one JSON document a connection) and a mailbox (SMTP). A thread of ours that has ended says so (`broken`): nobody was
told, and nobody could have been, are two things.
"""

import ctypes
import json
import os
import re
import socket
import threading
import time
import traceback

from survival.judge import Call, Sample

PAUSE = 0.5
PATIENCE = 3.0                  # seconds that an answer may take, all of it
PAGER, MAIL = 9099, 2525
CLONE_NEWNET = 0x40000000
_GATEWAY = "/sys/fs/cgroup/system.slice/citadel-gateway.service/"
_libc = ctypes.CDLL(None, use_errno=True)


class Observer:
    """Watches from `begin` on; `samples` and `calls` count their seconds from there."""

    def __init__(self, leader):
        self.leader, self.samples, self.calls, self.broken = leader, [], [], ""
        self.began_at = time.time()     # seconds since 1970
        self._began, self._lock, self._ended = time.monotonic(), threading.Lock(), False
        for work in (self._look, self._take_pages, self._take_mail):
            threading.Thread(target=self._in_the_machine, args=(work,), daemon=True).start()

    def forget_calls(self):
        """Before a fault is made; a call may come before all of it is."""
        with self._lock:
            self.calls = []

    def begin(self):
        """The fault is made: forgets what was seen before, and counts from now."""
        with self._lock:
            self._began, self.began_at, self.samples = time.monotonic(), time.time(), []
            self.calls = [call._replace(at=0.0) for call in self.calls]

    def now(self):
        return time.monotonic() - self._began

    def seen(self):
        """(samples, calls) so far."""
        with self._lock:
            return tuple(self.samples), tuple(self.calls)

    def sees_all_well(self):
        """Whether the newest look, no older than a look may take, found all well."""
        with self._lock:
            last = self.samples[-1] if self.samples else None
            return bool(last and last.status == 200 and last.pid and not last.needs
                        and time.monotonic() - self._began - last.at < 4 * PAUSE)

    def called(self, source, key, cause, text):
        with self._lock:
            self.calls.append(Call(self.now(), source, key, cause, text))

    def end(self):
        self._ended = True

    def _in_the_machine(self, work):
        try:
            descriptor = os.open("/proc/%d/ns/net" % self.leader, os.O_RDONLY)
            if _libc.setns(descriptor, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.close(descriptor)
            work()
        except Exception:
            self.broken = "an observer's thread has ended (%s): %s" % (work.__name__, traceback.format_exc(limit=-2))

    # --- the gateway

    def _look(self):
        while not self._ended:
            began = time.monotonic()
            pid, status, needs = main_pid(self.leader), http_status(), silent_dependencies()
            with self._lock:
                if began >= self._began:
                    self.samples.append(Sample(time.monotonic() - self._began, status, pid, needs))
            time.sleep(PAUSE)

    # --- what an operator carries

    def _take_pages(self):
        serve(listener_on(PAGER), lambda connection: self.paged(read_page(connection)), lambda: self._ended)

    def _take_mail(self):
        serve(listener_on(MAIL), lambda connection: self.mail(read_mail(connection)), lambda: self._ended)

    def paged(self, alert):
        """What Citadel's hook says. What is over is no alert."""
        if alert.get("kind") == "firing":
            self.called("pager", str(alert.get("incident", "")), str(alert.get("cause", "")),
                        str(alert.get("because", "")))

    def mail(self, subject):
        """A mail by Monit: `monit alert -- EVENT SERVICE`. What is over, or was done, is no alert."""
        match = re.match(r"monit alert --\s+(.*?)\s+(\S+)$", subject or "")
        if not match:
            return
        event, service = match.groups()
        if not re.search(r"succeeded|Exists|changed|Instance|recovered|Action done|ok$", event):
            self.called("mail", "%s %s" % (service, event), "%s: %s" % (service, event), subject)


def listener_on(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(50)
    return listener


def serve(listener, receive, ended):
    """Hands each connection to `receive`, one after another. One that breaks is no end of the service."""
    while not ended():
        connection = listener.accept()[0]
        with connection:
            connection.settimeout(10)
            try:
                receive(connection)
            except (OSError, ValueError) as error:
                print("a connection broke: %s" % error, flush=True)


def read_page(connection):
    """One JSON document; what is none is an alert all the same."""
    text = b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")
    try:
        alert = json.loads(text)
    except ValueError:
        alert = None
    return alert if isinstance(alert, dict) else {"kind": "firing", "because": text}


def read_mail(connection):
    """The subject of one mail: the server's part of RFC 5321."""
    def say(text):
        connection.sendall(text.encode() + b"\r\n")

    subject, within, taken = "", False, False
    say("220 survival")
    with connection.makefile("rb") as lines:
        for line in lines:
            line = line.decode("utf-8", "replace").rstrip("\r\n")
            word = line[:4].upper()
            if within:
                if line == ".":
                    within, taken = False, True
                    say("250 taken")
                elif line.lower().startswith("subject:"):
                    subject = line[8:].strip()
            elif word == "DATA":
                within = True
                say("354 go on")
            elif word == "QUIT":
                say("221 bye")
                break
            else:
                say("250 survival")
    if not taken:
        raise ConnectionError("half a mail: " + subject)
    return subject


def silent_dependencies():
    """Which of Ollama and redis give no good answer."""
    silent = [] if http_status(("127.0.0.1", 11434), "/api/version", PATIENCE / 2) == 200 else ["ollama"]
    return tuple(silent + ([] if redis_answers() else ["redis"]))


def redis_answers(address=("127.0.0.1", 6379), patience=PATIENCE / 2):
    """Whether redis says PONG; LOADING and MISCONF are none."""
    try:
        with socket.create_connection(address, patience) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def http_status(address=("127.0.0.1", 8002), path="/health", patience=PATIENCE):
    """The status of one GET whose answer arrives whole within `patience` seconds, else 0."""
    end, data = time.monotonic() + patience, b""
    try:
        with socket.create_connection(address, patience) as connection:
            connection.sendall(("GET %s HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n" % path).encode())
            while True:
                connection.settimeout(max(0.01, end - time.monotonic()))
                piece = connection.recv(65536)
                data += piece
                if time.monotonic() > end:
                    return 0
                head, blank, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length:\s*(\d+)", head)
                if blank and length and len(body) >= int(length.group(1)):
                    break
                if not piece:
                    if blank and not length:
                        break
                    return 0
        return int(data.split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def main_pid(leader):
    """The main process of the gateway's unit, as a PID of ours: a uvicorn in its cgroup whose parent is the machine's
    PID 1. Its ExecStartPre= and ExecStopPost= are none."""
    try:
        with open("/proc/%d/root%scgroup.procs" % (leader, _GATEWAY)) as file:
            pids = file.read().split()
    except OSError:
        return 0
    for pid in pids:
        try:
            with open("/proc/%s/stat" % pid) as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                command = file.read()
        except (OSError, ValueError, IndexError):
            continue
        if parent == leader and b"uvicorn" in command and b"citadel-recovery-handler" not in command:
            return int(pid)
    return 0
