"""Alerts: to whom, once an incident, at least once to the hook, and what a journal entry looks like on the wire."""

import json
import os
import socket
import struct
from collections import namedtuple

import pytest

from citadel import alerts
from citadel.clock import Now
from citadel.commands import Answer, run as run_program
from citadel.incidents import Store
from citadel.plan import Step

UNIT = "citadel-gateway.service"
NOW = Now(1.8e9, 50000.0, 50000.0, "boot-a")
Section = namedtuple("Section", "wall command timeout")
Settings = namedtuple("Settings", "recovery hook")
Finding = namedtuple("Finding", "unit cause because")
FINDING = Finding(UNIT, "port.taken", "port 8002 is held by PID 7, nc")
STEP = Step("escalate", UNIT, "port 8002 is held by PID 7, nc", 60)


def settings(wall=False, command="", timeout=5):
    section = Section(wall, command, timeout)
    return Settings(section, section)


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "state"), lambda: NOW, fallback=str(tmp_path / "ram"))
    with store.lock("check"):
        yield store


@pytest.fixture
def journald(tmp_path, monkeypatch):
    """A real datagram socket in journald's place."""
    path = str(tmp_path / "journal.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.settimeout(2)
        send = alerts.journal
        monkeypatch.setattr(alerts, "journal", lambda *a, **k: send(*a, **dict(k, path=path)))
        yield receiver


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """A hook that is a real program: it appends its stdin to a file, and exits with what `fail` holds."""
    path, log, fail = tmp_path / "hook", tmp_path / "said", tmp_path / "fail"
    path.write_text("#!/bin/sh\n[ -e %s ] && { echo broken >&2; exit 3; }\ncat >> %s\n" % (fail, log))
    path.chmod(0o755)
    monkeypatch.setattr(alerts, "untrusted", lambda path: "")

    class Hook:
        command = str(path)

        def break_it(self):
            fail.write_text("")

        def mend(self):
            fail.unlink()

        def heard(self):
            decoder, text, documents = json.JSONDecoder(), log.read_text() if log.exists() else "", []
            while text.strip():
                document, end = decoder.raw_decode(text)
                documents.append(document)
                text = text[end:].lstrip()
            return documents
    return Hook()


def fields(datagram):
    """A native datagram back to its fields, as journald reads it."""
    found = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length, = struct.unpack("<Q", rest[:8])
            value, rest = rest[8:8 + length], rest[8 + length + 1:]
        found[name.decode()] = value.decode()
        datagram = rest
    return found


def opened(store):
    return store.open_incident(UNIT, FINDING.cause, FINDING.because)


def test_an_escalation_is_told_by_every_means(store, journald, hook):
    walls = []

    def run(argv, timeout, stdin=b"", **more):
        if argv[0] == "wall":
            walls.append(stdin.decode())
            return Answer(argv, 0, "", "", 0.1, False)
        return run_program(argv, timeout, stdin=stdin)

    incident = opened(store)
    outcome = alerts.escalate(STEP, FINDING, incident, settings(True, hook.command), store, NOW, run=run)
    assert (outcome.outcome, outcome.detail) == ("ok", "told: journal; wall; hook")
    entry = fields(journald.recv(65536))
    assert entry["PRIORITY"] == "2" and entry["CITADEL_CAUSE"] == "port.taken" and entry["CITADEL_UNIT"] == UNIT
    assert entry["CITADEL_INCIDENT"] == incident and entry["CITADEL_VERDICT"] == "escalated"
    assert entry["MESSAGE_ID"] == alerts.EVENTS["firing"][0] and "stop that process" in entry["MESSAGE"]
    assert "needs a person" in walls[0] and walls[0].count("\n") == 1
    told = hook.heard()
    assert len(told) == 1 and told[0]["kind"] == "firing" and told[0]["started"] == "2027-01-15T08:00:00Z"
    assert told[0]["incident"] == incident and told[0]["ended"] is None
    assert alerts.spooled(store) == 0 and not store.incident(incident)["alerts"]["firing"]["waiting"]


def test_what_the_hook_did_not_take_is_sent_later_and_in_order(store, journald, hook):
    with_hook, incident = settings(command=hook.command), opened(store)
    hook.break_it()
    outcome = alerts.escalate(STEP, FINDING, incident, with_hook, store, NOW)
    assert outcome.outcome == "ok" and "hook exited 3: broken; it will be sent again" in outcome.detail
    document = store.close_incident(UNIT, "recovered")
    alerts.resolve(STEP._replace(do="resolve", because="it answers"), document, with_hook, store, NOW)
    assert alerts.spooled(store) == 2
    assert alerts.send_spooled(with_hook, store) == 0 and alerts.spooled(store) == 2
    hook.mend()
    assert alerts.send_spooled(with_hook, store) == 2 and alerts.spooled(store) == 0
    assert [one["kind"] for one in hook.heard()] == ["firing", "resolved"]
    assert hook.heard()[1]["ended"] == "2027-01-15T08:00:00Z"


def test_a_crash_between_sending_and_noting_sends_twice_not_never(store, journald, hook):
    class Killed(BaseException):
        pass

    def run(argv, timeout, stdin=b"", **more):
        run_program(argv, timeout, stdin=stdin)
        raise Killed

    with pytest.raises(Killed):
        alerts.escalate(STEP, FINDING, opened(store), settings(command=hook.command), store, NOW, run=run)
    assert alerts.send_spooled(settings(command=hook.command), store) == 1
    first, second = hook.heard()
    assert first == second


def test_the_spool_is_bounded_and_counts_what_it_drops(store, journald, hook, monkeypatch):
    monkeypatch.setattr(alerts, "MOST_SPOOLED", 2)
    hook.break_it()
    for number in range(1, 5):
        alerts.escalate(STEP, FINDING, "20270115T080000-%d" % number, settings(command=hook.command), store, NOW)
    assert alerts.spooled(store) == 2 and alerts.dropped(store) == 2
    assert [name for name in store.files.names("spool")][0] == "20270115T080000-1-firing.json"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"kind": 1}', b"[" * 100000], ids=repr)
def test_a_spoilt_entry_is_set_aside(store, journald, hook, data):
    hook.break_it()
    alerts.escalate(STEP, FINDING, opened(store), settings(command=hook.command), store, NOW)
    name = "spool/" + store.files.names("spool")[0]
    store.files.write(name, data)
    assert alerts.send_spooled(settings(command=hook.command), store) == 0
    assert alerts.spooled(store) == 0 and "corrupt-1" in store.files.names("spool")[0]


def test_a_hook_that_hangs_is_given_up(store, journald, tmp_path, monkeypatch):
    monkeypatch.setattr(alerts, "untrusted", lambda path: "")
    hanging = tmp_path / "hook"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    outcome = alerts.escalate(STEP, FINDING, opened(store), settings(command=str(hanging), timeout=0.3), store, NOW)
    assert outcome.seconds < 5 and "did not answer" in outcome.detail and alerts.spooled(store) == 1


def test_nobody_could_be_told(store, monkeypatch):
    monkeypatch.setattr(alerts, "JOURNAL", "/nonexistent")
    send = alerts.journal
    monkeypatch.setattr(alerts, "journal", lambda *a, **k: send(*a, **dict(k, path="/nonexistent")))
    assert alerts.escalate(STEP, FINDING, opened(store), settings(), store, NOW).outcome == "failed"


def test_a_full_disk_does_not_silence_the_call(store, journald, hook):
    def write(name, data):
        raise OSError(28, "No space left on device")
    incident = opened(store)
    store.files.write = write
    outcome = alerts.escalate(STEP, FINDING, incident, settings(command=hook.command), store, NOW)
    assert outcome.outcome == "ok" and len(hook.heard()) == 1


def test_a_stopped_journald_does_not_hold_us_up(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        taken = [alerts.journal("step", "x" * 1000, path=path) for _ in range(2000)]
    assert taken[0] and not taken[-1]


@pytest.mark.parametrize("text", ["a\nPRIORITY=0\nMESSAGE_ID=forged", "x\n\x00\nCITADEL_CAUSE=y", "\ud800", "ä\n"],
                         ids=ascii)
def test_no_text_begins_a_field_of_its_own(journald, text):
    alerts.journal("step", text, unit=UNIT, cause="gateway.crashed")
    entry = fields(journald.recv(65536))
    assert entry["MESSAGE"].encode("utf-8", "backslashreplace") == text.encode("utf-8", "backslashreplace")
    assert entry["PRIORITY"] == "5" and entry["MESSAGE_ID"] == alerts.EVENTS["step"][0]
    assert entry["CITADEL_CAUSE"] == "gateway.crashed"


# --- what root does not run

def test_a_hook_must_be_root_s_alone(tmp_path):
    uid, hook = os.geteuid(), tmp_path / "hook"
    assert "No such file" in alerts.untrusted(str(hook), uid)
    assert "absolute" in alerts.untrusted("hook", uid)
    hook.write_text("#!/bin/sh\n")
    assert "not executable" in alerts.untrusted(str(hook), uid)
    hook.chmod(0o755)
    assert alerts.untrusted(str(hook), uid) == ""
    hook.chmod(0o775)
    assert "written by others" in alerts.untrusted(str(hook), uid)
    hook.chmod(0o755)
    tmp_path.chmod(0o777)
    assert "written by others" in alerts.untrusted(str(hook), uid)
    tmp_path.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(hook)
    assert "no regular file" in alerts.untrusted(str(link), uid)
    (tmp_path / "folder").symlink_to(tmp_path)
    assert "no directory" in alerts.untrusted(str(tmp_path / "folder" / "hook"), uid)
    if uid == 0:
        os.chown(str(hook), 65534, 65534)
        assert "uid 65534" in alerts.untrusted(str(hook))


@pytest.mark.parametrize("cause, words", [
    ("dependency.ollama.down", "comes back by itself"), ("dependency.redis.missing", "install"),
    ("gateway.crash-loop", "read the log"), ("disk.full", "make room"), ("unknown", "explain")])
def test_advice(cause, words):
    assert words in alerts.advice(cause, UNIT) and "UNIT" not in alerts.advice(cause, UNIT)


def test_every_event_has_an_id_of_its_own():
    ids = [message_id for message_id, _ in alerts.EVENTS.values()]
    assert len(set(ids)) == len(ids) and all(len(one) == 32 and int(one, 16) for one in ids)
