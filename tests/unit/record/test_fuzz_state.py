"""Seeded rubbish in every file of the record: never an exception, never a fresh budget."""

import os
import random

import pytest

from citadel.commands.history import steps_of
from citadel.commands.logs import span_of
from citadel.core.clock import Now
from citadel.model import Stop
from citadel.record.intent import LONGEST_MAINTENANCE
from citadel.record.store import Store

UNIT = "citadel-gateway.service"
SEED = 20261123
STEP = {"do": "start", "target": UNIT, "because": "it is down", "outcome": "ok", "seconds": 1, "detail": ""}
ROUNDS = int(os.environ.get("CITADEL_FUZZ", "300"))


def now():
    return Now(1.8e9, 50000.0, 50000.0, "boot-a")


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "state"), now, fallback=str(tmp_path / "ram"))
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        for _ in range(5):
            store.of(UNIT).count_attempt("start", level=1, window=1800)
        store.of(UNIT).mark_escalated()
        store.of(UNIT).mark_pass("gateway.crashed", 600)
        store.incidents.append(store.of(UNIT).history().incident, STEP)
    store.intent.begin_maintenance(3600, "new disks", "ada")
    store.intent.note_stop(UNIT, Stop("operator", "", "abcdef"))
    return store


def spoilt(data, seed):
    """Every truncation, then seeded changes: bytes flipped, cut out, doubled, replaced by rubbish and by JSON."""
    for length in range(len(data)):
        yield data[:length]
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        changed = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(changed) + 1)
            changed[at:at + dice.choice((0, 0, 1, 1, 4, 100))] = dice.choice((
                bytes([dice.randrange(256)]), bytes(dice.randrange(256) for _ in range(20)), b"", b"0", b"-1", b"1e308",
                b"null", b"[]", b"{}", b"9" * 50, b'"', b"true", b"\x00", b"NaN", data[at:at + 40]))
        yield bytes(changed)
    for _ in range(ROUNDS // 10):
        yield bytes(dice.randrange(256) for _ in range(dice.randrange(2000)))
    yield from (b"[" * 200000, b'{"a":' * 50000, b"\xff\xfe", b"null", b"[]", b"{}", b"1", b'""', b" " * (2 << 20),
                b'{"schema":1,"sha256":null,"state":null}', b'{"schema":2}')


def put(store, name, data):
    with open(os.path.join(store.files.path, name), "wb") as file:
        file.write(data)


def again(store):
    return Store(store.files.path, now, fallback=store.state.memory.path)


def test_state(store):
    whole, expected = store.files.read("state.json"), store.of(UNIT).history()
    for number, data in enumerate(spoilt(whole, SEED)):
        put(store, "state.json", data)
        store.state.memory.remove("state.json")
        late = again(store)
        if number % 10:
            history = late.of(UNIT).history()
        else:
            with late.lock("check"):
                history = late.of(UNIT).history()
                assert late.of(UNIT).count_attempt("start", window=1800)
        late.files.close()
        late.state.memory.close()
        assert history == expected or history.lost == 0, data


def test_incident(store):
    name = store.of(UNIT).history().incident
    whole, state = store.files.read("incidents/%s.json" % name), store.files.read("state.json")
    for number, data in enumerate(spoilt(whole, SEED + 1)):
        put(store, "incidents/%s.json" % name, data)
        late = again(store)
        late.incidents.newest_first()
        late.incidents.summary()
        late.incidents.first_cause(name)
        document = late.incidents.read(name)
        if document:
            span_of(document)
            steps_of(document)
        if number % 10 == 0:
            with late.lock("check"):
                late.incidents.append(name, STEP)
                assert late.incidents.read(name)["steps"][-1]["do"] == "start"
        assert len(late.of(UNIT).history().attempts) == 5
        if number % 50 == 0:
            with late.lock("check"):
                assert late.of(UNIT).close_incident("recovered")["id"] == name
            store.files.write("state.json", state)
            store.state.memory.write("state.json", state)
        late.files.close()
        late.state.memory.close()


def test_maintenance(store):
    whole = store.files.read("maintenance.json")
    for data in spoilt(whole, SEED + 2):
        put(store, "maintenance.json", data)
        late = again(store)
        active = late.intent.maintenance()
        assert active is None or 0 < active.left <= LONGEST_MAINTENANCE, data
        late.files.close()
        late.state.memory.close()


def test_stop_note(store):
    whole = store.files.read("stops/%s.json" % UNIT)
    for data in spoilt(whole, SEED + 3):
        put(store, "stops/%s.json" % UNIT, data)
        late = again(store)
        note = late.intent.stop_note(UNIT)
        assert note == Stop() or (note.age >= 0 and note.by), data
        late.files.close()
        late.state.memory.close()


def test_the_lock_s_words(store):
    from citadel.core.errors import LockHeld
    with store.lock("check"):
        whole = store.files.read("lock")
        for data in spoilt(whole, SEED + 4):
            put(store, "lock", data)
            with pytest.raises(LockHeld) as refusal:
                late = again(store)
                with late.lock("manual"):
                    pass
            late.files.close()
            late.state.memory.close()
            assert str(refusal.value).startswith("another pass holds the lock")
            assert len(str(refusal.value)) < 400


def test_fallback_note(store):
    """The note in RAM that grants one attempt a window."""
    def refuse(name, data):
        raise OSError(28, "No space left on device")
    with store.lock("check"):
        store.of(UNIT).history()
        store.files.write = refuse
        assert store.of(UNIT).count_attempt("start", window=1800)
        name = "attempt-%s.json" % UNIT
        whole = store.state.memory.read(name)
        granted = 0
        for data in spoilt(whole, SEED + 5):
            with open(os.path.join(store.state.memory.path, name), "wb") as file:
                file.write(data)
            granted += store.of(UNIT).count_attempt("start", window=1800)
    assert granted < 40                             # only a changed digit that still reads as an old moment can grant
