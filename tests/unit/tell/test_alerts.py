"""Alerts: to whom, once an incident, at least once to the hook, and what a journal entry looks like on the wire."""

import io
import json
import os
import socket
import struct
import time
from collections import namedtuple
from types import SimpleNamespace

import pytest
from network import Receiver
from places import UNITS

from citadel import model
from citadel.commands import gate, manager
from citadel.core import log
from citadel.core.clock import Now
from citadel.core.run import TIMED_OUT, Answer
from citadel.core.run import run as run_program
from citadel.model import Probe, Step, Stop
from citadel.record import notes
from citadel.record.store import Store
from citadel.settings import file as settings_file
from citadel.tell import alertmanager, alerts, metrics, spool, wording

UNIT = "citadel-gateway.service"
NOW = Now(1.8e9, 50000.0, 50000.0, "boot-a")
Section = namedtuple("Section", "wall command timeout urls credentials")
Settings = namedtuple("Settings", "recovery hook alertmanager")
Finding = namedtuple("Finding", "unit cause because target")
FINDING = Finding(UNIT, "port.taken", "port 8002 is held by PID 7, nc", "8002")
STEP = Step("escalate", UNIT, "port 8002 is held by PID 7, nc", 60)


def settings(wall=False, command="", timeout=5, urls=()):
    section = Section(wall, command, timeout, urls, "")
    return Settings(section, section, section)


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
        monkeypatch.setattr(log, "JOURNAL", path)
        yield receiver


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """A hook that is a real program: it appends its stdin to a file, and exits with what `fail` holds."""
    path, log, fail = tmp_path / "hook", tmp_path / "said", tmp_path / "fail"
    path.write_text("#!/bin/sh\n[ -e %s ] && { echo broken >&2; exit 3; }\ncat >> %s\n" % (fail, log))
    path.chmod(0o755)
    monkeypatch.setattr("citadel.tell.hook.untrusted_program", lambda path: "")

    class Hook:
        command = str(path)

        def break_it(self):
            fail.write_text("")

        def fix(self):
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
    return store.of(UNIT).open_incident(FINDING.cause, FINDING.because)


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
    assert entry["MESSAGE_ID"] == log.EVENTS["firing"][0]
    assert entry["MESSAGE"] == (
        "citadel-gateway.service needs an operator since 2027-01-15T08:00:00Z: port 8002 is held by PID 7, nc "
        "(port.taken). To do: stop that process, or give one of the two another port. Type: ss -ltnp sport = :8002")
    assert walls[0] == "Citadel on %s: %s\n" % (os.uname().nodename, entry["MESSAGE"])
    told = hook.heard()
    assert len(told) == 1 and told[0]["kind"] == "firing" and told[0]["started"] == "2027-01-15T08:00:00Z"
    assert told[0]["incident"] == incident and told[0]["ended"] is None
    assert notes.spooled(store.files.path) == 0 and not store.incidents.read(incident)["alerts"]["firing"]["waiting"]


def test_what_the_hook_did_not_take_is_sent_later_and_in_order(store, journald, hook):
    with_hook, incident = settings(command=hook.command), opened(store)
    hook.break_it()
    outcome = alerts.escalate(STEP, FINDING, incident, with_hook, store, NOW)
    assert outcome.outcome == "ok" and "hook exited 3: broken; it will be sent again" in outcome.detail
    document = store.of(UNIT).close_incident("recovered")
    alerts.resolve(STEP._replace(do="resolve", because="it answers"), document, with_hook, store, NOW)
    assert notes.spooled(store.files.path) == 2
    assert alerts.send_spooled(with_hook, store) == 0 and notes.spooled(store.files.path) == 2
    hook.fix()
    assert alerts.send_spooled(with_hook, store) == 2 and notes.spooled(store.files.path) == 0
    assert [one["kind"] for one in hook.heard()] == ["firing", "resolved"]
    assert hook.heard()[1]["ended"] == "2027-01-15T08:00:00Z"


def test_a_hook_that_hangs_is_waited_for_once_a_pass(store, journald, tmp_path, monkeypatch):
    """However many services need an operator, and whatever waits from before."""
    monkeypatch.setattr("citadel.tell.hook.untrusted_program", lambda path: "")
    hanging, log = tmp_path / "hook", tmp_path / "log"
    hanging.write_text("#!/bin/sh\necho . >>%s\nexec sleep 60\n" % log)
    hanging.chmod(0o755)
    to, began = settings(command=str(hanging), timeout=0.5), time.monotonic()
    for number in range(1, 5):
        unit = "service%d.service" % number
        alerts.escalate(STEP._replace(target=unit), FINDING._replace(unit=unit),
                        store.of(unit).open_incident(FINDING.cause, FINDING.because), to, store, NOW)
    alerts.send_spooled(to, store)
    assert log.read_text() == ".\n" and time.monotonic() - began < 1.5 and notes.spooled(store.files.path) == 4
    alerts.send_spooled(to, store)
    assert log.read_text() == ".\n" * 2, "and the next pass tries again"


def test_a_hook_that_is_slow_is_given_a_minute_in_the_middle_of_a_pass(store, journald, tmp_path, monkeypatch):
    """What is left goes to it when no service waits for us any more."""
    monkeypatch.setattr("citadel.tell.hook.untrusted_program", lambda path: "")
    monkeypatch.setattr("citadel.tell.hook.RETRYING", 0.5)
    slow, log = tmp_path / "hook", tmp_path / "log"
    slow.write_text("#!/bin/sh\nsleep 0.3\necho . >>%s\n" % log)
    slow.chmod(0o755)
    to, said = settings(command=str(slow)), []
    for number in range(1, 4):
        unit = "service%d.service" % number
        incident = store.of(unit).open_incident(FINDING.cause, FINDING.because)
        said.append(alerts.escalate(STEP._replace(target=unit), FINDING._replace(unit=unit), incident, to, store,
                                    NOW).detail)
    assert said[:2] == ["told: journal; hook"] * 2 and "hook: it is run at the end of the pass" in said[2]
    alerts.send_spooled(to, store)
    assert log.read_text() == ".\n" * 3 and notes.spooled(store.files.path) == 0


def test_what_the_hook_has_not_heard_delays_no_other_service_s_alert(store, journald, hook):
    """The new one goes at once, the older one has its turn when the pass ends."""
    to, other = settings(command=hook.command), "other.service"
    hook.break_it()
    older = opened(store)
    alerts.escalate(STEP, FINDING, older, to, store, NOW)
    alerts.send_spooled(to, store)
    hook.fix()
    newer = store.of(other).open_incident(FINDING.cause, FINDING.because)
    alerts.escalate(STEP._replace(target=other), FINDING._replace(unit=other), newer, to, store, NOW)
    assert [one["incident"] for one in hook.heard()] == [newer]
    alerts.send_spooled(to, store)
    assert [one["incident"] for one in hook.heard()] == [newer, older] and notes.spooled(store.files.path) == 0


def test_terminals_that_hang_are_waited_for_once_a_pass(store, journald):
    calls = []

    def run(argv, timeout, **more):
        calls.append(argv[0])
        return Answer(argv, TIMED_OUT, "", "", timeout, False)
    for number in range(1, 4):
        alerts.escalate(STEP, FINDING, "20270115T080000-%d" % number, settings(wall=True), store, NOW, run=run)
    assert calls == ["wall"]


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
    monkeypatch.setattr(spool, "MOST_SPOOLED", 2)
    hook.break_it()
    for number in range(1, 5):
        alerts.escalate(STEP, FINDING, "20270115T080000-%d" % number, settings(command=hook.command), store, NOW)
    assert notes.spooled(store.files.path) == 2 and notes.dropped(store.files.path) == 2
    assert [name for name in store.files.names("spool")][0] == "20270115T080000-1-firing.json"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"kind": 1}', b"[" * 100000], ids=repr)
def test_a_spoilt_entry_is_set_aside(store, journald, hook, data):
    hook.break_it()
    alerts.escalate(STEP, FINDING, opened(store), settings(command=hook.command), store, NOW)
    name = "spool/" + store.files.names("spool")[0]
    store.files.write(name, data)
    assert alerts.send_spooled(settings(command=hook.command), store) == 0
    assert notes.spooled(store.files.path) == 0 and "corrupt-1" in store.files.names("spool")[0]


def test_a_hook_that_hangs_is_given_up(store, journald, tmp_path, monkeypatch):
    monkeypatch.setattr("citadel.tell.hook.untrusted_program", lambda path: "")
    hanging = tmp_path / "hook"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    outcome = alerts.escalate(STEP, FINDING, opened(store), settings(command=str(hanging), timeout=0.3), store, NOW)
    assert outcome.seconds < 5 and "did not answer" in outcome.detail and notes.spooled(store.files.path) == 1


def test_nobody_could_be_told(store, monkeypatch):
    monkeypatch.setattr(log, "JOURNAL", "/nonexistent")
    assert alerts.escalate(STEP, FINDING, opened(store), settings(), store, NOW).outcome == "failed"


def test_a_full_disk_does_not_silence_the_alert(store, journald, hook):
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
        taken = [log.journal("step", "x" * 1000, path=path) for _ in range(2000)]
    assert taken[0] and not taken[-1]


@pytest.mark.parametrize("text", ["a\nPRIORITY=0\nMESSAGE_ID=forged", "x\n\x00\nCITADEL_CAUSE=y", "\ud800", "ä\n"],
                         ids=ascii)
def test_no_text_begins_a_field_of_its_own(journald, text):
    log.journal("step", text, unit=UNIT, cause="gateway.crashed")
    entry = fields(journald.recv(65536))
    assert entry["MESSAGE"].encode("utf-8", "backslashreplace") == text.encode("utf-8", "backslashreplace")
    assert entry["PRIORITY"] == "5" and entry["MESSAGE_ID"] == log.EVENTS["step"][0]
    assert entry["CITADEL_CAUSE"] == "gateway.crashed"


# --- Alertmanager

GOOD = "HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def receivers():
    """Real listeners in Alertmanager's place; what each answers can be changed while it runs."""
    made = []

    def make(answer=GOOD):
        one = Receiver(lambda connection, over: connection.sendall(one.answer.encode()) if one.answer
                       else over.wait(30))
        one.answer = answer
        made.append(one)
        return one
    yield make
    for one in made:
        one.close()


def posted(receiver):
    """(kind, incident) of all that was sent to it, a list for each POST."""
    return [[("resolved" if "endsAt" in alert else "firing", alert["annotations"]["incident"]) for alert in body]
            for _, body in receiver.heard]


def later(store, seconds):
    store.now = lambda: Now(NOW.wall + seconds, NOW.monotonic + seconds, NOW.boottime + seconds, NOW.boot_id)
    return store.now()


def over(store, to, now, because="it answers"):
    document = store.of(UNIT).close_incident("recovered")
    return alerts.resolve(STEP._replace(do="resolve", because=because), document, to, store, now)


def test_every_alertmanager_is_told_and_one_that_takes_it_is_enough(store, journald, receivers):
    up, broken = receivers(), receivers("HTTP/1.1 500 E\r\n\r\n")
    to, incident = settings(urls=(up.url, broken.url)), opened(store)
    outcome = alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    assert (outcome.outcome, outcome.detail) == ("ok", "told: journal; alertmanager")
    assert posted(up) == posted(broken) == [[("firing", incident)]] and notes.spooled(store.files.path) == 0


def test_what_fires_is_sent_again_by_each_pass_until_it_is_resolved(store, journald, receivers):
    up = receivers()
    to, incident = settings(urls=(up.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    for _ in range(2):
        alerts.send_spooled(to, store)
    over(store, to, later(store, 90))
    alerts.send_spooled(to, store)
    assert posted(up) == [[("firing", incident)]] * 3 + [[("resolved", incident)]], "and not once more after its end"
    bodies = [body[0] for _, body in up.heard]
    assert len({json.dumps([body["labels"], body["startsAt"]], sort_keys=True) for body in bodies}) == 1
    assert bodies[-1]["endsAt"] == "2027-01-15T08:01:30Z"


def test_it_is_resolved_by_the_labels_that_it_fired_with(store, journald, receivers):
    """The incident began with another cause than the one for which the alert was sent."""
    up = receivers()
    to = settings(urls=(up.url,))
    incident = store.of(UNIT).open_incident("gateway.crashed", "exit 3")
    store.of(UNIT).open_incident("port.taken", "by another process")
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    over(store, to, later(store, 90))
    fired, ended = [body[0] for _, body in up.heard]
    assert fired["labels"]["cause"] == "port.taken" and fired["labels"] == ended["labels"]


def changes(posts):
    """What was posted of one alert, without what was only sent again."""
    return [post for post, before in zip(posts, [None] + posts) if post != before]


def passes(to, store, minutes, start):
    """A pass each minute, from `start` on."""
    for minute in range(minutes):
        later(store, start + 60 * minute)
        alerts.send_spooled(to, store)


def test_after_an_outage_nothing_is_lost_and_every_group_interval_sees_it(store, journald, receivers):
    """Two incidents begin and end while nobody listens; then each is told in its order. Alertmanager looks at a group
    of alerts every 5 min, by default, and must find each of them as it was, whenever in these 5 min we come."""
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to, incidents = settings(urls=(down.url,)), []
    for seconds in (0, 1000):
        now = later(store, seconds)
        incidents.append(opened(store))
        outcome = alerts.escalate(STEP, FINDING, incidents[-1], to, store, now)
        assert "alertmanager: %s: HTTP 503 Busy; it will be sent again" % down.url in outcome.detail
        over(store, to, later(store, seconds + 60))
        alerts.send_spooled(to, store)
    assert notes.spooled(store.files.path) == 4
    down.answer, before = GOOD, len(down.heard)
    states = []                                 # what Alertmanager holds after each minute
    for minute in range(30):
        passes(to, store, 1, 2000 + 60 * minute)
        states.append(posted(down)[-1][0])
    first, second = incidents
    expected = [("firing", first), ("resolved", first), ("firing", second), ("resolved", second)]
    assert changes(posted(down)[before:]) == [[one] for one in expected] and notes.spooled(store.files.path) == 0
    for phase in range(5):
        assert changes(states[phase::5]) == expected, "an interval that begins in minute %d" % phase


def test_what_was_told_late_is_kept_alight_until_its_end_may_follow(store, journald, receivers):
    """For Alertmanager ends by itself what it has not heard of for 5 min. Over a reboot, too."""
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to, incident = settings(urls=(down.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    over(store, to, later(store, 60))
    alerts.send_spooled(to, store)
    down.answer, before = GOOD, len(down.heard)
    passes(to, store, 3, 120)
    again = Store(store.files.path, lambda: Now(NOW.wall + 300, 5.0, 5.0, "boot-b"), fallback=store.files.path + ".r")
    alerts.send_spooled(to, again)
    assert posted(down)[before:] == [[("firing", incident)]] * 4
    again.now = lambda: Now(NOW.wall + 120 + 331, 156.0, 156.0, "boot-b")
    alerts.send_spooled(to, again)
    assert posted(down)[-1] == [("resolved", incident)] and notes.spooled(store.files.path) == 0


def test_an_operator_who_is_needed_now_is_not_kept_waiting_by_an_older_end(store, journald, receivers):
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to, first = settings(urls=(down.url,)), opened(store)
    alerts.escalate(STEP, FINDING, first, to, store, NOW)
    over(store, to, later(store, 60))
    alerts.send_spooled(to, store)
    second = opened(store)
    alerts.escalate(STEP, FINDING, second, to, store, later(store, 120))
    down.answer, before = GOOD, len(down.heard)
    passes(to, store, 8, 180)
    assert changes(posted(down)[before:]) == [[("firing", first)], [("resolved", first)], [("firing", second)]]
    assert posted(down)[before] == [("firing", first)], "the alert itself goes at once"


OLD = model.Alert("firing", UNIT, "port.taken", "x", "", "i", "h", 1.0, None, "critical")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[[1, 2]]", b"[[[1, 2, 3], {}]]", b"\xff", b"[[[], {}]]",
                                  json.dumps([[["a", "b", "c"], OLD._asdict()]]).encode()], ids=repr)
def test_a_spoilt_note_of_what_was_told_late_holds_nothing_back(store, journald, receivers, data):
    up = receivers()
    store.files.write(spool.TOLD_LATE, data)
    to, incident = settings(urls=(up.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    over(store, to, later(store, 90))
    assert posted(up) == [[("firing", incident)], [("resolved", incident)]]


def test_alertmanager_is_back_when_the_incident_ends(store, journald, receivers):
    """The pass that ends the incident delivers its beginning, and a later one its end."""
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to, incident = settings(urls=(down.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    alerts.send_spooled(to, store)
    down.answer, before = GOOD, len(down.heard)
    over(store, to, later(store, 90))
    alerts.send_spooled(to, store)
    assert changes(posted(down)[before:]) == [[("firing", incident)]]
    passes(to, store, 6, 120)
    assert changes(posted(down)[before:]) == [[("firing", incident)], [("resolved", incident)]]
    assert notes.spooled(store.files.path) == 0


def test_the_spool_survives_a_reboot(store, journald, receivers, tmp_path):
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to, incident = settings(urls=(down.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    again = Store(str(tmp_path / "state"), lambda: Now(NOW.wall + 60, 5.0, 5.0, "boot-b"), fallback=str(tmp_path / "r"))
    down.answer, before = GOOD, len(down.heard)
    alerts.send_spooled(to, again)
    assert posted(down)[before:] == [[("firing", incident)]] and notes.spooled(again.files.path) == 0


def test_each_receiver_takes_it_once(store, journald, hook, receivers):
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to, incident = settings(command=hook.command, urls=(down.url,)), opened(store)
    assert "; hook; it will be sent again" in alerts.escalate(STEP, FINDING, incident, to, store, NOW).detail
    hook.break_it()
    down.answer, before = GOOD, len(down.heard)
    alerts.send_spooled(to, store)
    assert notes.spooled(store.files.path) == 0 and len(hook.heard()) == 1
    assert posted(down)[before:] == [[("firing", incident)]]


def test_a_hook_that_is_late_gets_the_older_one_first(store, journald, hook):
    to, incident = settings(command=hook.command), opened(store)
    hook.break_it()
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    alerts.send_spooled(to, store)
    hook.fix()
    over(store, to, later(store, 90))
    assert hook.heard() == [], "an end is not told before its beginning"
    alerts.send_spooled(to, store)
    assert [one["kind"] for one in hook.heard()] == ["firing", "resolved"] and notes.spooled(store.files.path) == 0


def test_one_pass_waits_for_all_alertmanagers_five_seconds_and_no_more(store, journald, receivers, monkeypatch):
    monkeypatch.setattr(alertmanager, "TOGETHER", 0.5)
    silent = [receivers("") for _ in range(3)]
    to = settings(urls=tuple(one.url for one in silent))
    began = time.monotonic()
    for number in range(1, 5):
        alerts.escalate(STEP, FINDING, "20270115T080000-%d" % number, to, store, NOW)
    alerts.send_spooled(to, store)
    assert 0.4 < time.monotonic() - began < 1.5 and notes.spooled(store.files.path) >= 4


def test_one_silent_alertmanager_beside_a_good_one_delays_nobody(store, journald, receivers, monkeypatch):
    """Three services in one pass: the silent one is given its second once, and each alert goes out at once."""
    monkeypatch.setattr(alertmanager, "GRACE", 0.5)
    up, silent = receivers(), receivers("")
    to, seconds = settings(urls=(up.url, silent.url)), []
    for number in range(3):
        unit = "service%d.service" % number
        incident = store.of(unit).open_incident(FINDING.cause, FINDING.because)
        outcome = alerts.escalate(STEP._replace(target=unit), FINDING._replace(unit=unit), incident, to, store, NOW)
        assert outcome.detail == "told: journal; alertmanager"
        seconds.append(outcome.seconds)
    alerts.send_spooled(to, store)
    assert len(silent.heard) == 1, "asked once in the pass"
    assert 0.4 < seconds[0] and max(seconds[1:]) < seconds[0]
    alerts.send_spooled(to, store)
    assert len(silent.heard) == 2, "the next pass asks it again"


def test_one_that_is_slow_to_take_it_uses_the_time_up_too(store, journald, monkeypatch, receivers):
    monkeypatch.setattr(alertmanager, "TOGETHER", 1.0)
    slow = Receiver(lambda connection, over: over.wait(0.6) or connection.sendall(GOOD.encode()))
    told = [alerts.escalate(STEP, FINDING, "20270115T080000-%d" % number, settings(urls=(slow.url,)), store, NOW).detail
            for number in range(1, 4)]
    slow.close()
    assert told[0] == "told: journal; alertmanager" and "no answer within 0." in told[1]
    assert "the time for Alertmanager in this pass is used up" in told[2]


def test_what_fires_is_sent_again_within_a_long_pass(store, journald, receivers, monkeypatch):
    up = receivers()
    to, incident = settings(urls=(up.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    alerts.keep_firing(to, store)
    assert len(up.heard) == 1, "it was told this very minute"
    monkeypatch.setattr(alertmanager, "AGAIN", 0)
    alerts.keep_firing(to, store)
    assert posted(up) == [[("firing", incident)]] * 2


def test_what_was_refused_in_a_long_pass_is_sent_again_with_the_next_round(store, journald, receivers, monkeypatch):
    """A minute is counted from the start of the pass, not from the alert that was refused."""
    monkeypatch.setattr(alertmanager, "AGAIN", 0.3)
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    to = settings(urls=(down.url,))
    alerts.keep_firing(to, store)
    time.sleep(0.35)
    alerts.escalate(STEP, FINDING, opened(store), to, store, NOW)
    alerts.keep_firing(to, store)
    assert len(down.heard) == 2


def test_sending_again_leaves_the_alerts_to_come_their_time(store, journald, receivers, monkeypatch):
    monkeypatch.setattr(alertmanager, "AGAIN", 0)
    monkeypatch.setattr(alertmanager, "AGAIN_SHARE", 0.3)
    silent = receivers()
    to = settings(urls=(silent.url,))
    alerts.escalate(STEP, FINDING, opened(store), to, store, NOW)
    alerts.send_spooled(to, store)
    silent.answer, began, before = "", time.monotonic(), len(silent.heard)
    for _ in range(5):
        alerts.keep_firing(to, store)
    assert 0.2 < time.monotonic() - began < 1 and len(silent.heard) == before + 1


def test_a_full_spool_tells_every_receiver_once_and_keeps_nothing(store, journald, hook, receivers, monkeypatch):
    monkeypatch.setattr(spool, "MOST_SPOOLED", 0)
    up = receivers()
    to = settings(command=hook.command, urls=(up.url,))
    alerts.escalate(STEP, FINDING, opened(store), to, store, NOW)
    alerts.send_spooled(to, store)
    assert len(hook.heard()) == 1 and notes.spooled(store.files.path) == 0 and notes.dropped(store.files.path) == 1


def test_a_full_spool_does_not_keep_the_newest_from_being_sent(store, journald, receivers, monkeypatch):
    monkeypatch.setattr(spool, "MOST_SPOOLED", 0)
    up = receivers()
    incident = opened(store)
    outcome = alerts.escalate(STEP, FINDING, incident, settings(urls=(up.url,)), store, NOW)
    assert outcome.detail == "told: journal; alertmanager" and posted(up) == [[("firing", incident)]]


def test_a_receiver_that_left_the_settings_is_waited_for_no_more(store, journald, hook, receivers):
    down = receivers("HTTP/1.1 503 Busy\r\n\r\n")
    hook.break_it()
    alerts.escalate(STEP, FINDING, opened(store), settings(command=hook.command, urls=(down.url,)), store, NOW)
    assert notes.spooled(store.files.path) == 1
    alerts.send_spooled(settings(command=hook.command), store)
    assert spool.letters_in(store)[0].waiting == ["hook"]
    alerts.send_spooled(settings(), store)
    assert notes.spooled(store.files.path) == 0


def test_what_fires_ends_when_its_incident_is_lost(store, journald, receivers):
    up = receivers()
    to, incident = settings(urls=(up.url,)), opened(store)
    alerts.escalate(STEP, FINDING, incident, to, store, NOW)
    store.state.services().clear()
    later(store, 600)
    for _ in range(2):
        alerts.send_spooled(to, store)
    assert changes(posted(up)) == [[("firing", incident)], [("resolved", incident)]]


def test_an_alert_that_version_1_0_has_kept_goes_to_the_hook(store, journald, hook, receivers):
    alert = model.Alert("firing", UNIT, "port.taken", "x", "", "20270115T080000-1", "h", 1.0, None, "critical")
    store.files.write("spool/20270115T080000-1-firing.json", json.dumps(dict(alert._asdict(), schema=1)).encode())
    up = receivers()
    alerts.send_spooled(settings(command=hook.command, urls=(up.url,)), store)
    assert len(hook.heard()) == 1 and up.heard == [] and notes.spooled(store.files.path) == 0


# --- within a pass

@pytest.fixture
def story(tmp_path):
    """A whole pass of the real handler on the host of test_histories, where the gateway has crashed."""
    from story import Journald, Never, Story
    before, log.JOURNAL = log.JOURNAL, str(tmp_path / "journal")
    listener = Journald(log.JOURNAL)
    made = Story(4, str(tmp_path), listener, limits="", second=False)
    made.chance = made.world.chance = Never()          # no attempt helps, so there are several
    made.world.meanwhile = lambda: None
    made.world.breaks("crash")
    yield made
    log.JOURNAL = before
    listener.socket.close()


def test_a_pass_that_lasts_sends_again_what_fires(story, receivers, monkeypatch):
    """Else Alertmanager would end it after 5 min, in the middle of a pass that may take 9."""
    up = receivers()
    monkeypatch.setattr(alertmanager, "AGAIN", 0)
    story.settings = settings_file.parse("[alertmanager]\nurls = %s\n[metrics]\ndirectory =\n" % up.url, "x")
    store = story.record.store(story.world.clock)
    spool.note_firing(model.Alert("firing", "other.service", "port.taken", "x", "", "20270115T080000-1", "h", 1.0,
                                     None, "critical"), store)
    during = []
    perform = story.handed_in.perform
    story.handed_in = story.handed_in._replace(perform=lambda *how: during.append(len(up.heard)) or perform(*how))
    assert story.recovery_pass("on-failure")
    assert during and during[0] >= 1, "before the first step"
    assert posted(up)[0] == [("firing", "20270115T080000-1")] and during[-1] > during[0], "and again between attempts"


def test_the_record_is_in_prometheus_before_the_first_step(story, tmp_path):
    """For the pass may end the incident that it began before anybody has looked."""
    textfiles, seen = tmp_path / "textfiles", []
    textfiles.mkdir(mode=0o755)
    story.settings = settings_file.parse("[metrics]\ndirectory = %s\n" % textfiles, "x")
    perform = story.handed_in.perform

    def look(*how):
        seen.append((textfiles / metrics.RECORD).read_text())
        return perform(*how)
    story.handed_in = story.handed_in._replace(perform=look)
    assert story.recovery_pass("on-failure")
    assert 'citadel_incident_open{unit="%s"} 1\n' % UNIT in seen[0]
    assert 'citadel_incident_cause{unit="%s",cause="gateway.' % UNIT in seen[0]


# --- what root does not run

@pytest.mark.parametrize("text, spoil, says", [
    pytest.param("", None, [], id="nobody is to be told"),
    pytest.param("[alertmanager]\nurls = http://127.0.0.1:9093\ncredentials = SECRET\n[hook]\ncommand = HOOK\n", None,
                 [], id="all is well"),
    pytest.param("[alertmanager]\nurls = http://127.0.0.1:9093\ncredentials = SECRET\n", ("secret", 0o644),
                 ["no alert can be sent to Alertmanager: SECRET is readable by its group and everybody; "],
                 id="everybody's"),
    pytest.param("[alertmanager]\nurls = http://127.0.0.1:9093\ncredentials = SECRET.not\n", None,
                 ["no alert can be sent to Alertmanager: SECRET.not: no such file"], id="no secret"),
    pytest.param("[hook]\ncommand = HOOK\n", ("hook", 0o777),
                 ["the hook is not run: HOOK is writable by its group and everybody"],
                 id="a hook that others can write"),
    pytest.param("[hook]\ncommand = HOOK.not\n", None, ["the hook is not run: HOOK.not: No such file"], id="no hook"),
])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root is told what root may not trust")
def test_a_check_says_who_would_not_hear_an_alert(store, text, spoil, says):
    """Here and now, not when an alert must be sent. (Not below /tmp, which everybody can write.)"""
    import shutil
    import tempfile

    from citadel.commands import check
    place = tempfile.mkdtemp(dir=os.path.expanduser("~"))
    try:
        for name, mode, words in (("secret", 0o600, "bearer s3cret\n"), ("hook", 0o755, "#!/bin/sh\n")):
            with open(os.path.join(place, name), "w") as file:
                file.write(words)
            os.chmod(os.path.join(place, name), mode)
        if spoil:
            os.chmod(os.path.join(place, spoil[0]), spoil[1])

        def named(words):
            return words.replace("SECRET", place + "/secret").replace("HOOK", place + "/hook")
        wanted = settings_file.parse(named(text) + "[metrics]\ndirectory =\n", "x")
        told = check.not_told(wanted, None, (), store.files.path, NOW)
        assert len(told) == len(says) and all(one.startswith(named(words)) for one, words in zip(told, says)), told
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is told what root may not trust")
def test_config_check_says_it_too(tmp_path, capsys):
    conf, out = tmp_path / "citadel.conf", io.StringIO()
    conf.write_text("[hook]\ncommand = /nonexistent/hook\n")
    assert manager.main(["config", "--check", str(conf)], out) == 0 and out.getvalue().endswith(" is valid\n")
    assert "warning: the hook is not run: /nonexistent/hook: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("steps, words", [
    ([], ""), ([("start", UNIT, "ok"), ("wait-ready", "ollama", "ok"), ("restart", "ollama.service", "failed"),
               ("start", UNIT, "failed"), ("relieve-disk", "/", "skipped"), ("escalate", UNIT, "ok")],
              "start, restart ollama.service")])
def test_an_alert_names_what_was_tried(store, journald, hook, steps, words):
    incident = opened(store)
    for do, target, outcome in steps:
        step = {"do": do, "target": target, "outcome": outcome, "because": "", "seconds": 0.1}
        store.incidents.append(incident, step)
    alerts.escalate(STEP, FINDING, incident, settings(command=hook.command), store, NOW)
    assert hook.heard()[0]["because"] == FINDING.because + ("; tried: " + words if words else "")


@pytest.mark.parametrize("cause, words", [
    ("dependency.ollama.down", "comes back by itself"), ("dependency.redis.missing", "install"),
    ("gateway.crash-loop", "read the log"), ("disk.full", "make room"), ("unknown", "explain")])
def test_advice(cause, words):
    said = wording.advice(FINDING._replace(cause=cause, target="t.service"))
    assert words in said and ". Type: " in said and "%" not in said


def test_every_event_has_an_id_of_its_own():
    ids = [message_id for message_id, _ in log.EVENTS.values()]
    assert len(set(ids)) == len(ids) and all(len(one) == 32 and int(one, 16) for one in ids)


# --- the gate

@pytest.mark.parametrize("stop, outcome, event, says", [
    pytest.param(Stop(), "ok", "", "", id="all is ready"),
    pytest.param(Stop(), "refused", "gate-refused", "ollama is not ready: no", id="it is not"),
    pytest.param(Stop("operator"), "ok", "gate-taken-back", "an operator stopped it", id="nobody asked for it"),
])
def test_what_the_gate_does_not_let_pass_is_told_before_it_is_done(stop, outcome, event, says):
    told, calls = [], []

    def run(argv, timeout, **more):
        calls.append((argv[1] if len(argv) > 1 else "", list(told)))
        shown = "\n\n".join(
            "Id=%s\nNames=%s\nLoadState=loaded\nActiveState=active\nNRestarts=1\n"
            "InactiveExitTimestampMonotonic=5000000\nActiveEnterTimestampMonotonic=5000000" % (name, name)
            for name in argv[argv.index("--") + 1:]) if "show" in argv else ""
        return Answer(argv, 0, shown, "", 0.0, False)
    wanted = settings_file.parse("[service %s]\nhealth =\ndepends = ollama\n" % UNIT, "x")
    seconds = iter(range(0, 10000, 30))
    world = SimpleNamespace(run=run, now=lambda: Now(0.0, next(seconds), 0.0, "b"), sleep=lambda seconds: None,
                            ask=lambda targets, timeout: {one: Probe(one, outcome, detail="no") for one in targets})
    gate.pass_gate(wanted.services[0], wanted, stop, world, say=lambda *words: told.append(words))
    assert [one[0] for one in told] == ([event] if event else []) and all(says in one[1] for one in told)
    acted = [before for word, before in calls if word in ("start", "stop")]
    assert all(before == told for before in acted) and bool(acted) == bool(event)


# --- the journal

BY_AN_OPERATOR = {"maintenance-on", "maintenance-off", "reset"}       # tests/live/test_monitoring.py does it


def test_every_event_is_written_by_some_pass(tmp_path):
    """Or it would be explained by the catalog and waited for by an administrator in vain; the gate's are seen above."""
    from story import Journald, play

    class Listener(Journald):
        events = set()

        def entries(self):
            found = super().entries()
            self.events.update(event for event, _, _ in found)
            return found
    before, log.JOURNAL = log.JOURNAL, str(tmp_path / "journal")
    listener, wanted = Listener(log.JOURNAL), set(log.EVENTS) - BY_AN_OPERATOR - {"gate-refused", "gate-taken-back"}
    try:
        for seed in range(40):
            if listener.events != wanted:
                play(seed, listener)
    finally:
        log.JOURNAL = before
        listener.socket.close()
    assert listener.events == wanted


# --- the journal catalog

CATALOG = os.path.join(UNITS, "catalog", "citadel.catalog")


def catalog():
    """{message id: (header fields, text)} of the shipped catalog, read as systemd reads it (catalog_import_file)."""
    with open(CATALOG) as file:
        entries = file.read().split("\n-- ")[1:]
    found = {}
    for entry in entries:
        head, _, text = entry.partition("\n\n")
        message_id, *fields = head.split("\n")
        assert message_id not in found
        found[message_id] = dict(field.split(": ", 1) for field in fields), text.strip()
    return found


def test_the_catalog_explains_every_event_and_nothing_else():
    assert set(catalog()) == {message_id for message_id, _ in log.EVENTS.values()}
    for fields, text in catalog().values():
        assert fields["Subject"] and fields["Defined-By"] == "Citadel" and len(text.splitlines()) > 2


def test_the_catalog_names_only_fields_that_an_entry_can_have(journald):
    log.journal("firing", "x", unit=UNIT, cause="port.taken", verdict="escalated", incident="20270115T080000-1")
    known = set(fields(journald.recv(65536)))
    with open(CATALOG) as file:
        used = set(file.read().split("@")[1::2])
    assert used and used <= known
