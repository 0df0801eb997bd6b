"""Unit tests leave the host alone: they start no unit, write to no journal and address no operator.

An audit hook (Python 3.8 and later) sees every program that this process or a fork of it starts, whoever starts it,
and every socket that it addresses. What acts on the host is refused, and check() fails the test that tried, also where
the code under test took the refusal for an answer. A fake that a test has written itself may do anything.
"""

import os
import shutil
import sys
import tempfile

import pytest

WORKS = hasattr(sys, "addaudithook")
SYSTEM = ("/bin/", "/sbin/", "/usr/")           # where the host's own programs lie
READS = ("show", "cat", "status", "is-active", "is-enabled", "is-failed", "is-system-running", "list-units",
         "list-unit-files", "list-timers", "list-jobs")
NEVER = ("systemd-run", "systemd-cat", "logger", "wall", "sendmail", "mail", "shutdown", "reboot", "poweroff")
SOCKETS = ("/run/systemd/", "/dev/log", "/run/dbus/")

_record = ""                                    # the file that forks write into, too


def refusal(event, arguments):
    """What is wrong with this event of sys.addaudithook, or ""."""
    if event in ("os.exec", "os.posix_spawn", "subprocess.Popen"):
        program, words = os.fsdecode(arguments[0] or arguments[1][0]), list(map(os.fsdecode, arguments[1]))
        path = program if "/" in program else shutil.which(program) or "/usr/bin/" + program
        return " ".join(words) if path.startswith(SYSTEM) and _acts(os.path.basename(path), words[1:]) else ""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, (str, bytes)) and os.fsdecode(address).startswith(SOCKETS):
            return "a message to " + os.fsdecode(address)
    return ""


def _acts(program, words):
    if program == "systemctl":
        verb = next((word for word in words if not word.startswith("-")), "")
        return bool(verb) and verb not in READS
    if program == "journalctl":
        return any(word.startswith(("--vacuum", "--rotate", "--flush", "--relinquish")) for word in words)
    return program in NEVER


def begin():
    """From here on, for as long as this process lives."""
    global _record
    handle, _record = tempfile.mkstemp(prefix="citadel-guard-")
    os.close(handle)
    os.chmod(_record, 0o666)                    # a fork may have become somebody else
    if WORKS:
        sys.addaudithook(_hook)


def end():
    os.unlink(_record)


def _hook(event, arguments):
    what = refusal(event, arguments)
    if what:
        with open(_record, "a") as file:
            file.write(what + "\n")
        raise AssertionError("refused, since unit tests leave the host alone: " + what)


def check():
    """Fails the test in which something was refused."""
    with open(_record, "r+") as file:
        tried = file.read().splitlines()
        file.truncate(0)
    if tried:
        pytest.fail("a unit test must leave the host alone, and this one tried: %s" % "; ".join(tried))
