"""The record on disk: locks, budgets across boots and stepped clocks, incidents, maintenance, full disks, kills."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from places import LIB

from citadel.core import atomic
from citadel.core.clock import Moment, Now, age
from citadel.core.errors import LockHeld, NotPermitted, UsageError
from citadel.model import History, Stop
from citadel.record import forms
from citadel.record import incidents as records
from citadel.record.store import Store

UNIT = "citadel-gateway.service"


class Clock:
    """Time that passes only when told to."""

    def __init__(self, wall=1.8e9, boottime=50000.0, boot_id="boot-a"):
        self.wall, self.boottime, self.boot_id = wall, boottime, boot_id

    def __call__(self):
        return Now(self.wall, self.boottime, self.boottime, self.boot_id)

    def pass_by(self, seconds):
        self.wall, self.boottime = self.wall + seconds, self.boottime + seconds

    def reboot(self, down=60.0, wall=None):
        self.wall, self.boottime, self.boot_id = self.wall + down if wall is None else wall, 20.0, self.boot_id + "x"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def store(place, clock, tmp_path):
    return Store(place, clock, fallback=str(tmp_path / "ram"))


def again(store):
    """The record as the next pass reads it."""
    return Store(store.files.path, store.now, fallback=store.state.memory.path)


def forget_memory(store):
    """What a reboot does to the copy in RAM."""
    os.unlink(os.path.join(store.state.memory.path, "state.json"))


# --- ages

@pytest.mark.parametrize("then, now, expected", [
    pytest.param((100, 10, "a"), (160, 70, "a"), 60, id="one boot"),
    pytest.param((1e9, 10, "a"), (100, 70, "a"), 60, id="one boot, the wall clock stepped to 1970"),
    pytest.param((100, 9000, "a"), (4000, 50, "b"), 3900, id="after a reboot by wall"),
    pytest.param((1e9, 9000, "a"), (100, 50, "b"), 50, id="after a reboot into 1970, at least this boot's length"),
    pytest.param((1e9, 9000, "a"), (100, 5000, "b"), 5000, id="a clock in the past does not block for years"),
    pytest.param((100, 9000, "a"), (160, 9060, "random"), 60, id="the sandbox hides the boot id, the clocks agree"),
    pytest.param((100, 70, "a"), (160, 10, "a"), 60, id="a boot clock that went back is another boot"),
])
def test_age(then, now, expected):
    wall, boottime, boot_id = now
    assert age(Moment(*then), Now(wall, boottime, boottime, boot_id)) == expected


# --- the budget

def test_an_attempt_is_on_disk_before_it_is_made(store):
    with store.lock("check"):
        assert store.of(UNIT).count_attempt("restart ollama.service", level=3, window=1800)
        assert [one[1:] for one in again(store).of(UNIT).history().attempts] == [("restart ollama.service", 3)]


@pytest.mark.parametrize("wall", [None, 0.0, 1.7e9], ids=["clock right", "clock in 1970", "clock years behind"])
def test_a_reboot_hands_out_no_fresh_budget(store, clock, wall):
    with store.lock("check"):
        for _ in range(5):
            store.of(UNIT).count_attempt("start", window=1800)
    clock.reboot(wall=wall)
    ages = [one.age for one in again(store).of(UNIT).history().attempts]
    assert len(ages) == 5 and all(one < 1800 for one in ages)
    clock.pass_by(2000)
    assert all(one.age >= 1800 for one in again(store).of(UNIT).history().attempts)


def test_spoilt_state_is_set_aside_and_costs_nothing_while_its_copy_in_memory_lives(store, place, clock):
    with store.lock("check"):
        store.of(UNIT).count_attempt("start", window=1800)
        incident = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    before = again(store).of(UNIT).history()
    for spoil in (lambda path: open(path, "w").close(), os.unlink):
        spoil(place + "/state.json")
        late = again(store)
        with late.lock("check"):
            assert late.of(UNIT).history() == before and before.incident == incident
            assert "going on with its copy in " + store.state.memory.path in late.trouble
        forget_memory(store)                            # and it is back on disk
        assert again(store).of(UNIT).history() == before
        with late.lock("check"):
            late.of(UNIT).mark_pass("gateway.crashed", 600)
        before = again(store).of(UNIT).history()
    assert [name for name in os.listdir(place) if "corrupt" in name] == ["state.json.corrupt-1"]


def test_spoilt_state_counts_as_lost_after_a_reboot(store, place, clock):
    with store.lock("check"):
        store.of(UNIT).count_attempt("start", window=1800)
    forget_memory(store)
    with open(place + "/state.json", "w") as file:
        file.write('{"schema": 1, "state": {}}')
    assert again(store).of(UNIT).history().lost == 0
    assert not [name for name in os.listdir(place) if "corrupt" in name]      # a mere reader moves nothing
    clock.pass_by(5)
    late = again(store)
    with late.lock("check"):
        assert late.of(UNIT).history().lost == 0 and "checksum" in late.trouble
    assert "state.json.corrupt-1" in os.listdir(place)
    clock.pass_by(100)
    assert again(store).of(UNIT).history().lost == 100


def test_state_that_vanished_beside_its_incidents_is_lost_too(store, place):
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    os.unlink(place + "/state.json")
    forget_memory(store)
    assert again(store).of(UNIT).history().lost == 0


def test_the_first_day_is_no_loss(store):
    with store.lock("check"):
        assert store.of(UNIT).history() == History()


def test_what_a_later_version_adds_to_a_note_of_an_alert_costs_nothing(store, place):
    """As in 1.0, for a host that goes back to this version while an incident is open."""
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        store.of(UNIT).mark_escalated("gateway.crashed")
    forget_memory(store)
    with open(place + "/state.json", "rb") as file:
        state = atomic.from_json(file.read())["state"]
    state["services"][UNIT]["escalated"].append("new")
    with open(place + "/state.json", "wb") as file:
        file.write(atomic.to_json({"schema": 1, "sha256": forms.checksum(state), "state": state}))
    history = again(store).of(UNIT).history()
    assert (history.lost, history.escalation.cause) == (None, "gateway.crashed")


def test_five_spoilt_states_are_kept(store, place):
    for _ in range(8):
        with open(os.path.join(place, "state.json"), "w") if os.path.isdir(place) else open(os.devnull, "w") as file:
            file.write("{")
        with again(store).lock("check") as late:
            late.of(UNIT).history()
        if os.path.isdir(store.state.memory.path):
            forget_memory(store)
    kept = sorted(name for name in os.listdir(place) if "corrupt" in name)
    assert kept == ["state.json.corrupt-%d" % number for number in range(3, 8)]


def test_an_operator_s_reset_gives_a_clean_slate(store):
    with store.lock("check"):
        store.of(UNIT).count_attempt("start", window=1800)
        store.of(UNIT).set_level(3)
        store.of(UNIT).mark_escalated()
        assert len(store.of(UNIT).forget().attempts) == 1
    after = again(store).of(UNIT).history()
    assert (after.attempts, after.level, after.escalation) == ((), 0, None)


def test_health_and_what_was_seen_are_kept(store, clock):
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.hung", "it hangs")
        store.of(UNIT).mark_pass("gateway.hung", 600)
        store.of(UNIT).mark_pass("gateway.hung", 600)
        store.of(UNIT).mark_escalated("gateway.hung")
    clock.pass_by(100)
    history = again(store).of(UNIT).history()
    assert history.seen == {"gateway.hung": 2} and history.healthy_for is None
    assert (history.last_pass, history.escalation) == (100, (1, 100, "gateway.hung"))
    with again(store).lock("check") as late:
        late.of(UNIT).mark_pass("", 600)
        clock.pass_by(30)
        late.of(UNIT).mark_pass("", 600)
    assert again(store).of(UNIT).history().healthy_for == 30


def test_what_is_seen_is_counted_in_a_row(store):
    with store.lock("check"):
        for cause in ("gateway.slow", "", "gateway.slow", "gateway.hung", "gateway.slow", "gateway.slow"):
            store.of(UNIT).mark_pass(cause, 600)
    assert again(store).of(UNIT).history().seen == {"gateway.slow": 2, "gateway.hung": 0}


def test_the_open_incidents_are_listed_for_the_check(store):
    with store.lock("check"):
        first = store.of(UNIT).open_incident("gateway.hung", "it hangs")
        assert store.files.read("open") == ("%s %s\n" % (first, UNIT)).encode()
        second = store.of("b.service").open_incident("gateway.crashed", "it crashed")
        assert store.files.read("open").decode().split() == [first, UNIT, second, "b.service"]
        store.of(UNIT).close_incident("recovered")
        assert store.files.read("open").decode().split() == [second, "b.service"]
        store.of("b.service").close_incident("recovered")
    assert store.files.read("open") is None


def test_a_list_of_open_incidents_that_is_wrong_is_put_right(store):
    """Or a check would start a pass each minute, for ever."""
    with store.lock("check"):
        store.files.write("open", b"20261123T180000-1 citadel-gateway.service\n")
        store.incidents.list_open()
    assert store.files.read("open") is None


@pytest.mark.parametrize("well_for, count", [(30, 3), (599, 3), (600, 1)], ids=["flapping", "just short", "long well"])
def test_the_pauses_outlive_an_incident_the_alert_does_not(store, clock, well_for, count):
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        store.of(UNIT).mark_escalated()
        store.of(UNIT).mark_escalated()
        assert store.of(UNIT).history().escalation.count == 2
        store.of(UNIT).mark_pass("", 600)
        store.of(UNIT).close_incident("recovered")
        clock.pass_by(well_for)
        store.of(UNIT).mark_pass("gateway.crashed", 600)
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        assert store.of(UNIT).history().escalation is None
        store.of(UNIT).mark_escalated()
        assert store.of(UNIT).history().escalation.count == count


def fails_again(store, clock, cause, well_for=0.0):
    """An incident that a first attempt ends, and the same or another fault a while later."""
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        store.of(UNIT).set_level(2)
        clock.pass_by(60)
        store.of(UNIT).mark_pass("", 600)
        store.of(UNIT).close_incident("recovered")
        clock.pass_by(well_for)
        store.of(UNIT).mark_pass(cause, 600)
        store.of(UNIT).open_incident(cause, "again")
    clock.pass_by(10)
    return again(store).of(UNIT).history()


def test_a_fault_that_comes_back_goes_on_where_it_was(store, clock):
    history = fails_again(store, clock, "gateway.crash-loop", well_for=599)
    assert (history.level, history.relapsed, history.spell_for, history.open_for) == (2, True, 669, 10)


@pytest.mark.parametrize("cause, well_for", [("dependency.ollama.down", 30), ("gateway.crashed", 600)],
                         ids=["another fault", "well for long enough"])
def test_a_new_fault_begins_on_the_first_level(store, clock, cause, well_for):
    history = fails_again(store, clock, cause, well_for)
    assert (history.level, history.relapsed, history.spell_for) == (0, False, 10)


def test_an_incident_ended_when_the_service_became_well(store, clock):
    with store.lock("check"):
        name = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        clock.pass_by(50)
        store.of(UNIT).mark_pass("", 600)
        clock.pass_by(600)
        store.of(UNIT).close_incident("recovered")
    closed = again(store).incidents.read(name)
    assert (closed["start"], closed["end"], closed["duration"]) == (
        "2027-01-15T08:00:00Z", "2027-01-15T08:00:50Z", 50)
    assert store.of(UNIT).counts()["seconds"] == 50


@pytest.mark.parametrize("alerted, outcome", [(False, "recovered"), (True, "escalated")])
def test_an_alert_is_the_outcome_of_its_incident(store, alerted, outcome):
    with store.lock("check"):
        store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        if alerted:
            store.of(UNIT).mark_escalated()
        assert store.of(UNIT).close_incident("recovered")["outcome"] == outcome


@pytest.mark.parametrize("alerted", [False, True], ids=["not told", "told"])
def test_lost_state_does_not_lose_the_open_incident(store, place, alerted):
    """Else it would stay open for ever, its alert would be resolved while it lasts, and an operator told twice."""
    with store.lock("check"):
        closed = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
        store.of(UNIT).close_incident("recovered")
        name = store.of(UNIT).open_incident("gateway.hung", "it hangs")
        assert name != closed
        if alerted:
            store.of(UNIT).mark_escalated()
            store.incidents.amend(name, escalated="2027-01-15T08:00:00Z")
    os.unlink(place + "/state.json")
    forget_memory(store)
    foreseen = again(store).of(UNIT).history()
    assert (foreseen.incident, foreseen.escalation is not None, foreseen.lost) == (name, alerted, 0)
    with again(store).lock("check") as late:
        assert late.of(UNIT).history()._replace(lost=None) == foreseen._replace(lost=None)
        assert late.of(UNIT).open_incident("gateway.hung", "it hangs") == name
    assert len(again(store).incidents.newest_first()) == 2


def test_an_incident_that_never_got_on_record_is_taken_up_again(store, place):
    """We died between its file and the state."""
    with store.lock("check"):
        store.of(UNIT).mark_pass("gateway.hung", 600)
        before = store.files.read("state.json")
        name = store.of(UNIT).open_incident("gateway.hung", "it hangs")
    for directory in (store.files, store.state.memory):
        directory.write("state.json", before)
    assert again(store).of(UNIT).history().incident == ""
    with again(store).lock("check") as late:
        assert late.of(UNIT).open_incident("gateway.hung", "it hangs") == name


# --- a disk that takes nothing

def refuse(where, code):
    def write(name, data):
        raise OSError(code, os.strerror(code), name)
    where.write = write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "broken"])
def test_an_attempt_that_cannot_be_counted_is_granted_once_a_window(store, clock, code):
    with store.lock("check"):
        store.of(UNIT).history()
        refuse(store.files, code)
        assert store.of(UNIT).count_attempt("start", window=1800)
        assert os.strerror(code) in store.trouble
        clock.pass_by(1799)
        assert not store.of(UNIT).count_attempt("start", window=1800)
        clock.pass_by(2)
        assert store.of(UNIT).count_attempt("start", window=1800)
        assert not store.of(UNIT).count_attempt("start", window=1800)


def test_what_the_disk_does_not_take_is_remembered_until_it_does(store, clock):
    with store.lock("check"):
        store.of(UNIT).count_attempt("start", window=1800)
        take = store.files.write
        refuse(store.files, errno.EROFS)
        incident = store.of(UNIT).open_incident("disk.readonly", "it is read-only")
        store.of(UNIT).mark_escalated()
    clock.pass_by(60)
    history = again(store).of(UNIT).history()
    assert (history.incident, history.escalation.count, len(history.attempts)) == (incident, 1, 1)
    late = again(store)
    with late.lock("check"):
        assert late.of(UNIT).open_incident("disk.readonly", "it still is") == incident
        late.files.write = lambda name, data: take(name, data)
        late.of(UNIT).mark_escalated()
    forget_memory(store)
    assert again(store).of(UNIT).history().escalation.count == 2


def test_a_copy_in_memory_that_could_not_be_renewed_does_not_come_back(store, place):
    with store.lock("check"):
        store.of(UNIT).set_level(1)
        refuse(store.state.memory, errno.ENOSPC)
        store.of(UNIT).set_level(2)
    os.unlink(place + "/state.json")
    os.mkdir(place + "/incidents", 0o700)
    open(place + "/incidents/x", "w").close()
    assert again(store).of(UNIT).history().lost == 0


def test_a_note_in_memory_that_cannot_be_read_costs_a_window(store, tmp_path, clock):
    with store.lock("check"):
        store.of(UNIT).history()
        refuse(store.files, errno.ENOSPC)
        os.mkdir(str(tmp_path / "ram"), 0o700)
        (tmp_path / "ram" / ("attempt-%s.json" % UNIT)).write_text("garbage")
        assert not store.of(UNIT).count_attempt("start", window=1800)
        clock.pass_by(1801)
        assert store.of(UNIT).count_attempt("start", window=1800)


def test_nothing_can_be_noted_anywhere_nothing_is_granted(store, tmp_path):
    (tmp_path / "ram").write_text("not a directory")
    with store.lock("check"):
        store.of(UNIT).history()
        refuse(store.files, errno.ENOSPC)
        with pytest.raises(NotPermitted):
            store.state.memory.open()
        assert not store.of(UNIT).count_attempt("start", window=1800)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_really_full_disk_still_takes_the_count(tmp_path, clock):
    """On a tmpfs of 1 MiB that is filled to the last byte, the reserve makes the room."""
    script = """if 1:
        import os, sys
        sys.path.insert(0, %r)
        from citadel.record.store import Store
        place = %r
        store = Store(place + "/state", fallback="/nonexistent/x")
        with store.lock("check"):
            store.of("a.service").count_attempt("one", window=1800)
        with open(place + "/filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        late = Store(place + "/state", fallback="/nonexistent/x")
        late.files.keep_reserve = lambda: None
        with late.lock("check"):
            for number in range(30):
                assert late.of("a.service").count_attempt("two", window=1800), late.trouble
        assert len(Store(place + "/state").of("a.service").history().attempts) == 31
        assert not os.path.exists(place + "/state/reserve")
    """ % (LIB, str(tmp_path))
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
               'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3"', "sh", str(tmp_path), sys.executable, script]
    answer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = answer.communicate()[0].decode()
    if "unshare" in said or "mount:" in said:
        pytest.skip("no mount namespaces here: " + said.strip())
    assert answer.returncode == 0, said


# --- one at a time

def test_a_second_pass_is_told_who_holds_the_lock(store, clock):
    with store.lock("check"):
        clock.pass_by(12)
        with pytest.raises(LockHeld) as refusal:
            with again(store).lock("manual"):
                pass
    assert str(refusal.value) == ("another pass holds the lock: PID %d, citadel-recovery-handler --trigger check, "
                                  "for 12 s" % os.getpid())
    with again(store).lock("manual"):
        pass


def test_the_lock_is_closed_to_others(store, place):
    with store.lock("check"):
        assert oct(os.stat(place + "/lock").st_mode & 0o7777) == "0o600"
        assert oct(os.stat(place).st_mode & 0o7777) == "0o700"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o1700], ids=oct)
def test_a_directory_open_to_others_is_not_used(place, clock, mode):
    os.mkdir(place)
    os.chmod(place, mode)
    with pytest.raises(NotPermitted) as refusal:
        Store(place, clock).of(UNIT).history()
    assert "%04o" % mode in str(refusal.value)


def test_a_link_in_place_of_the_directory_is_not_followed(place, clock, tmp_path):
    os.mkdir(str(tmp_path / "elsewhere"), 0o700)
    os.symlink(str(tmp_path / "elsewhere"), place)
    with pytest.raises(NotPermitted):
        with Store(place, clock).lock("check"):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_another_s_directory_is_not_used(place, clock):
    os.mkdir(place, 0o700)
    os.chown(place, 65534, 65534)
    with pytest.raises(NotPermitted) as refusal:
        Store(place, clock).of(UNIT).history()
    assert "uid 65534" in str(refusal.value)


def test_reading_makes_nothing(store, place):
    assert store.of(UNIT).history() == History()
    assert store.incidents.newest_first() == []
    assert store.intent.maintenance() is None and store.intent.stop_note(UNIT) == Stop()
    assert not os.path.exists(place)


def test_what_dead_passes_left_is_swept(store, place):
    with store.lock("check"):
        store.of(UNIT).count_attempt("start", window=1800)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for pid in (child.pid, os.getpid()):
        with open(place + "/.state.json.%d.aabbccdd.tmp" % pid, "w"):
            pass
    with again(store).lock("check"):
        left = [name for name in os.listdir(place) if name.endswith(".tmp")]
    assert left == [".state.json.%d.aabbccdd.tmp" % os.getpid()]


def test_a_clock_that_is_read_before_the_note_makes_it_no_older(store, clock):
    """Each reading of a real clock is later than the one before."""
    class Ticking:
        def __call__(self):
            clock.pass_by(0.001)
            return clock()

    with store.lock("check"):
        store.of(UNIT).count_attempt("start", window=1800)
    with open(store.files.path + "/state.json", "w") as file:
        file.write("{")
    forget_memory(store)
    late = Store(store.files.path, Ticking(), fallback=store.state.memory.path)
    assert late.of(UNIT).history().lost < 1


# --- incidents

STEP = {"do": "start", "target": UNIT, "because": "it is down", "outcome": "ok", "seconds": 1.5, "detail": ""}


def test_an_incident_from_first_symptom_to_resolution(store, clock):
    with store.lock("check"):
        name = store.of(UNIT).open_incident("gateway.crashed", "it crashed", host="h", trigger="check")
        assert store.of(UNIT).open_incident("disk.full", "no room") == name
        assert store.of(UNIT).open_incident("disk.full", "less room") == name
        store.incidents.append(name, STEP)
        clock.pass_by(90)
        closed = store.of(UNIT).close_incident("recovered")
    kept = again(store).incidents.read(name)
    assert kept == closed and kept["duration"] == 90 and kept["outcome"] == "recovered"
    assert [one["cause"] for one in kept["causes"]] == ["gateway.crashed", "disk.full"]
    assert kept["steps"][0]["do"] == "start" and kept["id"] == "20270115T080000-1"
    assert again(store).of(UNIT).history().incident == ""


def test_two_in_one_second_have_two_names(store):
    with store.lock("check"):
        names = [store.of(unit).open_incident("unknown", "?") for unit in ("a.service", "b.service")]
    assert names == ["20270115T080000-1", "20270115T080000-2"]


def test_the_name_of_an_incident_that_makes_room_is_not_used_again(store, clock):
    """On a clock that stands still, as before the time is set."""
    store = Store(store.files.path, clock, most_incidents=1)
    with store.lock("check"):
        first = store.of(UNIT).open_incident("unknown", "?")
        store.of(UNIT).close_incident("recovered")
        assert store.of(UNIT).open_incident("unknown", "?") != first
    assert len(store.incidents.newest_first()) == 1


def test_steps_and_files_are_bounded(store, clock, monkeypatch):
    monkeypatch.setattr(records, "MOST_STEPS", 5)
    store = Store(store.files.path, clock, most_incidents=10)
    with store.lock("check"):
        still_open = store.of("open.service").open_incident("unknown", "?")
        for _ in range(8):
            store.incidents.append(still_open, STEP)
        for _ in range(30):
            clock.pass_by(60)
            store.of(UNIT).open_incident("unknown", "?")
            store.of(UNIT).close_incident("recovered")
        assert len(store.incidents.newest_first()) == 10 and store.incidents.read(still_open) is not None
        kept = store.incidents.read(still_open)
        assert (len(kept["steps"]), kept["dropped_steps"]) == (5, 3)


def test_an_incident_whose_file_is_spoilt_goes_on_under_its_name(store, place, clock):
    with store.lock("check"):
        name = store.of(UNIT).open_incident("gateway.hung", "it hangs")
        with open(place + "/incidents/%s.json" % name, "w") as file:
            file.write("[[[")
        assert store.incidents.newest_first() == []
        store.incidents.append(name, STEP)
        clock.pass_by(10)
        closed = store.of(UNIT).close_incident("recovered")
    assert closed["damaged"] and closed["duration"] == 10 and closed["unit"] == UNIT and len(closed["steps"]) == 1
    assert name + ".json.corrupt-1" in os.listdir(place + "/incidents")


def test_mean_times(store, clock):
    with store.lock("check"):
        assert store.incidents.summary() == (0, 0, None, None)
        for length in (10, 30):
            store.of(UNIT).open_incident("unknown", "?")
            clock.pass_by(length)
            store.of(UNIT).close_incident("recovered")
            clock.pass_by(1000 - length)
    assert store.incidents.summary() == (2, 2, 20, 1000)


@pytest.mark.parametrize("name", ["", "../state", "20261123T180000-1/../../x", "20261123T180000", "x" * 15 + "-1",
                                  "20261123T180000-٣"])
def test_only_ids_name_incidents(store, name):
    with pytest.raises(UsageError):
        store.incidents.read(name)


# --- the operator's word

def test_maintenance_ends_by_itself(store, clock):
    store.intent.begin_maintenance(7200, "new disks", "ada")
    clock.pass_by(7000)
    assert again(store).intent.maintenance() == ("new disks", 200, "ada", 1.8e9)
    clock.pass_by(200)
    assert again(store).intent.maintenance() is None


@pytest.mark.parametrize("wall", [None, 0.0, 4e9], ids=["right", "stepped back", "stepped ahead"])
def test_maintenance_ends_across_a_reboot(store, clock, wall):
    store.intent.begin_maintenance(7200, "new disks")
    clock.reboot(wall=wall)
    clock.pass_by(7200)
    assert again(store).intent.maintenance() is None


@pytest.mark.parametrize("seconds", [0, -5, 7 * 86400 + 1])
def test_maintenance_has_bounds(store, seconds):
    with pytest.raises(UsageError):
        store.intent.begin_maintenance(seconds, "for ever")


def test_maintenance_is_ended_by_hand(store):
    store.intent.begin_maintenance(60, "x")
    assert store.intent.end_maintenance() and store.intent.maintenance() is None and not store.intent.end_maintenance()


def test_a_stop_note_comes_back_with_its_age(store, clock):
    store.intent.note_stop(UNIT, Stop("dependency", "ollama.service", "abc"))
    clock.pass_by(3)
    assert again(store).intent.stop_note(UNIT) == Stop("dependency", "ollama.service", "abc", 3)


# --- kills

@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(place, tmp_path):
    writer = """if 1:
        import sys
        sys.path.insert(0, %r)
        from citadel.model import Stop
        from citadel.record.store import Store
        store = Store(%r, fallback=%r)
        with store.lock("check"):
            number = store.of("a.service").history().level
            sys.stdout.write("ready")
            sys.stdout.flush()
            while True:
                number += 1
                store.of("a.service").set_level(number)
                store.intent.note_stop("a.service", Stop("crash", "", str(number)))
    """ % (LIB, place, str(tmp_path / "ram"))
    level, rounds = 0, int(os.environ.get("CITADEL_KILLS", "15"))
    for number in range(rounds):
        child = subprocess.Popen([sys.executable, "-IS", "-c", writer], stdout=subprocess.PIPE)
        assert child.stdout.read(5) == b"ready"
        time.sleep(number % 20 / 2000.0)            # not awaited but aimed: each kill meets another phase of the write
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with Store(place, fallback=str(tmp_path / "ram")).lock("check") as store:
            assert store.trouble == ""
            history = store.of("a.service").history()
            assert history.lost is None and history.level >= level
            level = history.level
            assert not [name for name in os.listdir(place) if name.endswith(".tmp")]
    assert level > 0


def test_documents_that_no_clock_wrote_are_refused():
    for data in (b"", b"\xff", b"[" * 100000, b"NaN", b"1e999", b'{"a": Infinity}', b"9" * 10000):
        try:
            atomic.from_json(data)
        except ValueError:
            continue
        assert data == b"9" * 10000                 # before Python 3.11 a number, later a ValueError
