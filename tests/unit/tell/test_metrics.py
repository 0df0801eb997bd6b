"""The textfile: its form, where it is put, and that what counts does not fall."""

import os
import re
import stat

import pytest
from places import LIB

from citadel import __version__, model
from citadel.core.clock import Now
from citadel.model import DOWN, SERVING, Cause, Dependency, Disk, Facts, Finding, Host, Memory, Probe, Service, Unit
from citadel.record import notes
from citadel.record.directory import Directory
from citadel.record.store import Store
from citadel.settings import file as settings
from citadel.tell import metrics, spool

UNIT = "citadel-gateway.service"
OK = Probe("http://127.0.0.1:8002/health", "ok", 200, 0.012)
GIB = 1 << 30


def facts(restarts=3, unanswered="", load="loaded"):
    return Facts(
        Host(disks=(Disk("/", "/", "", 100 * GIB, 40 * GIB, 1000, 900), Disk("/net", "/net")),
             memory=Memory(32 * GIB, 16 * GIB), unanswered=unanswered),
        (Service(Unit(name=UNIT, restarts=restarts, load=load), OK, (
            Dependency("redis", Unit(name="redis.service"), Probe("r", "ok", 0, 0.001)),
            Dependency("ollama", Unit(name="ollama.service"), Probe("o", "refused")))),))


WELL = (Finding(UNIT, "", "it runs", condition=SERVING),)
ILL = (Finding(UNIT, "dependency.ollama.down", "it is down", condition=DOWN),)


def look(findings=WELL, **how):
    wanted = settings.parse("", "x")
    return metrics.text(metrics.of_look(wanted, facts(**how), findings, {UNIT: 7}, False, 2, 1, 1.8e9), metrics.LOOK)


def samples(text):
    """{name and labels: value} of a file in the text format; fails where it is not in it."""
    found, typed = {}, None
    for line in text.split("\n")[:-1]:
        if line.startswith("#"):
            word, name = line.split(" ", 3)[1:3]
            assert word in ("HELP", "TYPE") and name.startswith("citadel_")
            typed = name
            continue
        match = re.match(r'(citadel_[a-z_]+)((?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (\d+(?:\.\d+)?)$', line)
        assert match, line
        assert match.group(1) in (typed, typed + "_sum", typed + "_count"), "a sample outside its family"
        assert match.group(1) + match.group(2) not in found
        found[match.group(1) + match.group(2)] = float(match.group(3))
    assert text.endswith("\n")
    return found


# --- what is in it

def test_what_a_look_shows():
    assert samples(look()) == {
        'citadel_build_info{version="%s",host="%s"}' % (__version__, os.uname().nodename): 1,
        "citadel_last_check_timestamp_seconds": 1.8e9, 'citadel_service_healthy{unit="%s"}' % UNIT: 1,
        'citadel_service_response_seconds{unit="%s"}' % UNIT: 0.012,
        'citadel_dependency_healthy{unit="%s",dependency="redis"}' % UNIT: 1,
        'citadel_dependency_healthy{unit="%s",dependency="ollama"}' % UNIT: 0,
        'citadel_dependency_response_seconds{unit="%s",dependency="redis"}' % UNIT: 0.001,
        'citadel_restarts_total{unit="%s"}' % UNIT: 7, "citadel_maintenance": 0, "citadel_alerts_spooled": 2,
        "citadel_alerts_dropped_total": 1, 'citadel_disk_free_bytes{mountpoint="/"}': 40 * GIB,
        'citadel_disk_free_inodes{mountpoint="/"}': 900, 'citadel_disk_inodes{mountpoint="/"}': 1000,
        'citadel_disk_min_free_inodes{mountpoint="/"}': 30,
        'citadel_disk_size_bytes{mountpoint="/"}': 100 * GIB, 'citadel_disk_min_free_bytes{mountpoint="/"}': GIB,
        "citadel_memory_available_bytes": 16 * GIB, "citadel_memory_min_available_bytes": 512 << 20}


def test_a_service_that_is_not_well():
    assert samples(look(ILL))['citadel_service_healthy{unit="%s"}' % UNIT] == 0
    remark = (WELL[0]._replace(others=(Cause("disk.full", "nearly", "/", False),)),)
    assert samples(look(remark))['citadel_service_healthy{unit="%s"}' % UNIT] == 1


def test_every_name_of_the_contract_is_declared_with_its_kind():
    for name, kind in (("service_healthy", "gauge"), ("dependency_healthy", "gauge"), ("restarts_total", "counter"),
                       ("recoveries_total", "counter"), ("incident_open", "gauge"),
                       ("incident_start_timestamp_seconds", "gauge"), ("escalations_total", "counter"),
                       ("alerts_spooled", "gauge"), ("maintenance", "gauge"),
                       ("last_check_timestamp_seconds", "gauge"), ("build_info", "gauge")):
        assert metrics.FAMILIES[name][1] == kind
    for name, (_, kind, _) in metrics.FAMILIES.items():
        assert name.endswith("_total") == (kind == "counter")


def test_a_file_system_that_counts_no_inodes_shows_none():
    seen = facts()
    seen = seen._replace(host=seen.host._replace(disks=(Disk("/", "/", "", 100 * GIB, 40 * GIB),)))
    assert not [name for name, _, _ in metrics.of_look(settings.parse("", "x"), seen, WELL, {}, False, 0, 0, 1.8e9)
                if "inodes" in name]


def test_no_family_is_in_both_files():
    both = [metrics.text([], file) for file in (metrics.LOOK, metrics.RECORD)]
    names = [re.findall(r"# TYPE (\S+)", text) for text in both]
    assert not set(names[0]) & set(names[1]) and len(names[0] + names[1]) == len(metrics.FAMILIES)


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "\x1b[31m", "\u202ex", 'x"} 1\nevil 1'], ids=ascii)
def test_no_label_ends_before_its_end(value):
    text = metrics.text([("disk_free_bytes", {"mountpoint": value}, 1)], metrics.LOOK)
    assert len([line for line in text.split("\n") if line and line[0] != "#"]) == 1
    assert len(samples(text)) == 1


# --- the record

@pytest.fixture
def clock():
    class Clock:
        wall = 1.8e9

        def __call__(self):
            return Now(self.wall, self.wall - 1.7e9, self.wall - 1.7e9, "boot-a")
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    store = Store(str(tmp_path / "state"), clock, fallback=str(tmp_path / "ram"))
    with store.lock("check"):
        yield store


def record(store, now):
    services = [one for one in settings.parse("", "x").services if one.unit == UNIT]
    return {name.replace('{unit="%s"}' % UNIT, "").replace('{unit="%s",' % UNIT, "{"): value for name, value in samples(
        metrics.text(metrics.of_record(store, services, now), metrics.RECORD)).items()}


def test_an_incident_from_its_start_to_its_end(store, clock):
    before = record(store, clock.wall)
    assert before["citadel_incident_open"] == 0 and before["citadel_recoveries_total{outcome=\"recovered\"}"] == 0
    assert not [name for name in before if "incident_start" in name or "incident_cause" in name]
    store.of(UNIT).open_incident("gateway.hung", "it does not answer")
    store.of(UNIT).count_attempt("restart", window=1800)
    clock.wall += 30
    during = record(store, clock.wall)
    assert during["citadel_incident_open"] == 1 and during["citadel_incident_start_timestamp_seconds"] == 1.8e9
    assert during['citadel_incident_cause{cause="gateway.hung"}'] == 1 and during["citadel_attempts_total"] == 1
    store.of(UNIT).close_incident("recovered")
    after = record(store, clock.wall)
    assert after["citadel_incident_open"] == 0 and after['citadel_recoveries_total{outcome="recovered"}'] == 1
    assert after["citadel_recovery_duration_seconds_sum"] == 30
    assert after["citadel_recovery_duration_seconds_count"] == 1


def test_every_cause_is_counted_from_the_first_day(store, clock):
    counted = {name.split('"')[1]: value for name, value in record(store, clock.wall).items()
               if "incidents_total" in name}
    assert {"gateway.hung", "port.taken", "disk.inodes", "unknown", "dependency.ollama.down",
            "dependency.redis.missing"} <= set(counted) and set(counted.values()) == {0}
    assert {model.about(cause).name for cause in counted} == {row.name for row in model.CAUSES}


def test_an_incident_that_is_over_at_once_is_counted_by_its_first_cause(store, clock):
    first = record(store, clock.wall)
    assert first['citadel_incidents_total{cause="gateway.crashed"}'] == 0
    assert first['citadel_incidents_total{cause="dependency.redis.down"}'] == 0
    store.of(UNIT).open_incident("gateway.crashed", "exit 3")
    store.of(UNIT).open_incident("port.taken", "by another process")
    store.of(UNIT).close_incident("recovered")
    store.of(UNIT).open_incident("dependency.other.down", "not in the settings any more")
    after = record(store, clock.wall)
    assert {name: after[name] for name in after if "incidents_total" in name and after[name]} == {
        'citadel_incidents_total{cause="gateway.crashed"}': 1,
        'citadel_incidents_total{cause="dependency.other.down"}': 1}
    store.of(UNIT).forget()
    assert record(store, clock.wall) == after, "a reset takes no count back"


def test_the_causes_that_are_counted_are_not_endless(store):
    for number in range(150):
        store.of(UNIT).open_incident("dependency.d%d.down" % number, "x")
        store.of(UNIT).close_incident("recovered")
    counts = {what: number for what, number in store.of(UNIT).counts().items() if what.startswith(notes.INCIDENTS)}
    assert len(counts) == 101 and counts[notes.INCIDENTS + "unknown"] == 50


def test_the_start_of_an_incident_does_not_wander_when_the_clock_is_set(store, clock):
    store.of(UNIT).open_incident("gateway.hung", "it does not answer")
    clock.now = lambda: Now(1.8e9 - 3600, 1e8 + 30, 1e8 + 30, "boot-a")         # 30 s later, stepped back by an hour
    store.now = clock.now
    assert record(store, clock.now().wall)["citadel_incident_start_timestamp_seconds"] == 1.8e9


def test_a_reset_forgets_no_alert_that_is_open(store, clock):
    """The all-clear is due, there is no second alert, and it is counted once."""
    store.of(UNIT).open_incident("port.taken", "by another process")
    for _ in range(3):
        store.of(UNIT).mark_escalated("port.taken")
    held = store.of(UNIT).forget()
    assert held.escalation.count == 3 and store.of(UNIT).history().escalation.count == 1
    assert store.of(UNIT).history().escalation.cause == "port.taken"
    assert record(store, clock.wall)["citadel_escalated"] == 1
    store.of(UNIT).mark_escalated("port.taken")
    assert record(store, clock.wall)["citadel_escalations_total"] == 1
    store.of(UNIT).close_incident("recovered")
    assert record(store, clock.wall)['citadel_recoveries_total{outcome="escalated"}'] == 1
    store.of(UNIT).forget()
    assert store.of(UNIT).history().escalation is None


def test_an_escalation_is_counted_once_an_incident(store, clock):
    for number in (1, 2):
        store.of(UNIT).open_incident("port.taken", "by another process")
        store.of(UNIT).mark_escalated()
        store.of(UNIT).mark_escalated()              # each attempt after the alert makes the pauses grow
        assert record(store, clock.wall)["citadel_escalations_total"] == number
        assert record(store, clock.wall)["citadel_escalated"] == 1
        store.of(UNIT).close_incident("recovered")
    after = record(store, clock.wall)
    assert (after["citadel_escalated"], after['citadel_recoveries_total{outcome="escalated"}']) == (0, 2)


def test_counters_survive_a_reset_a_crash_and_a_reboot(store, clock, tmp_path):
    store.of(UNIT).open_incident("gateway.hung", "it does not answer")
    store.of(UNIT).count_attempt("restart", window=1800)
    store.of(UNIT).close_incident("recovered")
    before = record(store, clock.wall)
    store.of(UNIT).forget()
    again = Store(str(tmp_path / "state"), lambda: Now(1.8e9, 5.0, 5.0, "boot-b"), fallback=str(tmp_path / "ram"))
    after = record(again, clock.wall)
    assert {name: value for name, value in before.items() if "total" in name or "duration" in name} == {
        name: value for name, value in after.items() if "total" in name or "duration" in name}
    assert after["citadel_attempts_total"] == 1


def test_a_state_of_an_older_version_has_no_counts_yet(store, clock):
    store.of(UNIT).count_attempt("start", window=1800)
    del store.state.services()[UNIT]["counts"]
    store.state.save()
    store._state = None
    assert store.trouble == "" and record(store, clock.wall)["citadel_attempts_total"] == 0
    store.of(UNIT).count_attempt("start", window=1800)
    assert store.of(UNIT).counts() == {"attempts": 1}


# --- restarts

@pytest.mark.parametrize("seen, total", [
    pytest.param((0, 1, 2), 2, id="it restarts"),
    pytest.param((5,), 5, id="it had restarted before we came"),
    pytest.param((3, 0), 3, id="started by hand: systemd begins anew"),
    pytest.param((3, 0, 2), 5, id="and restarts again"),
    pytest.param((10, 1), 11, id="reset, and restarted since"),
    pytest.param((4, 4, 4), 4, id="nothing happens"),
])
def test_restarts_are_counted_over_the_resets_of_systemd(tmp_path, seen, total):
    state = str(tmp_path / "state")
    counted = [metrics.count_restarts(state, {UNIT: number})[UNIT] for number in seen]
    assert counted[-1] == total and counted == sorted(counted)


def test_a_healthy_check_writes_no_state(tmp_path):
    state = str(tmp_path / "state")
    metrics.count_restarts(state, {UNIT: 1})
    before = os.stat(os.path.join(state, metrics.RESTARTS))
    metrics.count_restarts(state, {UNIT: 1})
    assert os.stat(os.path.join(state, metrics.RESTARTS)).st_ino == before.st_ino


def test_two_that_count_at_once(tmp_path):
    import fcntl
    state = str(tmp_path / "state")
    metrics.count_restarts(state, {UNIT: 1})
    other = os.open(state, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert metrics.count_restarts(state, {UNIT: 3}) == {UNIT: 1}, "it is left to the other"
    os.close(other)
    assert metrics.count_restarts(state, {UNIT: 3}) == {UNIT: 3}


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"x", b"%s -1 2\n" % UNIT.encode(), b"a b c d\n" * 9], ids=repr)
def test_a_spoilt_count_begins_anew(tmp_path, data):
    state = str(tmp_path / "state")
    files = Directory(state)
    files.write(metrics.RESTARTS, data)
    assert metrics.count_restarts(state, {UNIT: 2}) == {UNIT: 2}


def test_what_systemd_could_not_be_asked_is_not_counted(tmp_path, directory):
    state = str(tmp_path / "state")
    for restarts, how in ((4, {}), (0, {"unanswered": "it hangs"}), (0, {"load": ""}), (0, {"load": "not-found"}),
                          (4, {})):
        assert metrics.after_check(with_directory(directory), facts(restarts, **how), ILL, state, 1.8e9) == ""
    assert 'citadel_restarts_total{unit="%s"} 4\n' % UNIT in read(directory, metrics.LOOK)


# --- writing it

@pytest.fixture
def directory(tmp_path):
    place = tmp_path / "textfiles"
    place.mkdir(mode=0o755)
    return str(place)


def with_directory(directory):
    return settings.parse("[metrics]\ndirectory = %s\n" % directory, "x")


def read(directory, name):
    with open(os.path.join(directory, name)) as file:
        return file.read()


def test_a_check_writes_both_files_the_first_time(tmp_path, directory):
    before = os.umask(0o077)
    try:
        assert metrics.after_check(with_directory(directory), facts(), WELL, str(tmp_path / "state"), 1.8e9) == ""
    finally:
        os.umask(before)
    assert sorted(os.listdir(directory)) == [metrics.RECORD, metrics.LOOK]
    assert "citadel_incident_open" in read(directory, metrics.RECORD)
    for name in os.listdir(directory):
        assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o644
        samples(read(directory, name))
    record = os.stat(os.path.join(directory, metrics.RECORD)).st_ino
    assert metrics.after_check(with_directory(directory), facts(), WELL, str(tmp_path / "state"), 1.8e9 + 60) == ""
    assert os.stat(os.path.join(directory, metrics.RECORD)).st_ino == record, "a pass writes it, no check"


def test_a_service_that_is_new_in_the_settings_is_shown_by_the_next_check(tmp_path, directory):
    conf, state = tmp_path / "citadel.conf", str(tmp_path / "state")
    text = "[metrics]\ndirectory = %s\n" % directory
    conf.write_text(text)
    assert metrics.after_check(settings.parse(text, str(conf)), facts(), WELL, state, 1.8e9) == ""
    assert "other.service" not in read(directory, metrics.RECORD)
    text += "[service other.service]\n"
    conf.write_text(text)
    os.utime(os.path.join(directory, metrics.RECORD), (1, 1))
    assert metrics.after_check(settings.parse(text, str(conf)), facts(), WELL, state, 1.8e9) == ""
    assert 'citadel_incident_open{unit="other.service"} 0\n' in read(directory, metrics.RECORD)


def test_labels_of_which_only_the_end_differs_stay_apart():
    long = "/srv/" + "x" * 300
    text = metrics.text([("disk_free_bytes", {"mountpoint": long + end}, 1) for end in ("a", "b")], metrics.LOOK)
    assert len(samples(text)) == 2


def test_a_pass_writes_both(store, clock, directory):
    store.of(UNIT).open_incident("gateway.hung", "it does not answer")
    store.intent.begin_maintenance(60, "new disks")
    assert metrics.after_pass(with_directory(directory), facts(), ILL, store, clock.wall) == ""
    assert 'citadel_incident_open{unit="%s"} 1\n' % UNIT in read(directory, metrics.RECORD)
    assert "citadel_maintenance 1\n" in read(directory, metrics.LOOK)


@pytest.mark.parametrize("began, on", [pytest.param(None, 1, id="now"), pytest.param(1e9, 0, id="years ago")])
def test_a_check_shows_maintenance_until_it_is_over(tmp_path, directory, began, on):
    state = str(tmp_path / "state")
    noted = Store(state, **({} if began is None else {"now": lambda: Now(began, 5.0, 5.0, "boot-0")}))
    noted.intent.begin_maintenance(60, "new disks")
    assert metrics.after_check(with_directory(directory), facts(), WELL, state, 1.8e9) == ""
    assert "citadel_maintenance %d\n" % on in read(directory, metrics.LOOK)


def test_off_and_absent_write_nothing(tmp_path):
    state = str(tmp_path / "state")
    for text in ("", "-" + str(tmp_path / "none")):
        assert metrics.after_check(with_directory(text), facts(), WELL, state, 1.8e9) == ""
        assert metrics.complaint(text) == ""
    assert not os.path.exists(str(tmp_path / "none"))


def place_of(kind, tmp_path):
    place = tmp_path / "place"
    if kind == "missing":
        return str(place), "does not exist"
    if kind == "a link":
        (tmp_path / "real").mkdir()
        place.symlink_to(tmp_path / "real")
        return str(place), "is a symbolic link"
    if kind == "below a link":
        (tmp_path / "real" / "in").mkdir(parents=True)
        place.symlink_to(tmp_path / "real")
        return str(place / "in"), "place is a symbolic link"
    if kind == "a file":
        place.write_text("")
        return str(place), "cannot be opened"
    place.mkdir()
    place.chmod(0o777)
    return str(place), "is writable by its group and everybody"


@pytest.mark.parametrize("kind", ["missing", "a link", "below a link", "a file", "everybody's"])
def test_a_directory_that_is_not_written_to(tmp_path, kind):
    place, why = place_of(kind, tmp_path)
    assert why in metrics.complaint(place) and metrics.complaint(place).count("\n") == 0
    assert why in metrics.write(place, metrics.LOOK, "x\n")
    if kind != "missing":
        assert why in metrics.complaint("-" + place), "only its absence may be meant so"
    assert [name for _, _, names in os.walk(str(tmp_path)) for name in names if name.startswith("citadel")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_directory_of_somebody_else(directory):
    os.chown(directory, 65534, 65534)
    assert "belongs to uid 65534" in metrics.write(directory, metrics.LOOK, "x\n")


def test_a_link_in_the_file_s_place_is_replaced_not_followed(tmp_path, directory):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(str(victim), os.path.join(directory, metrics.LOOK))
    assert metrics.write(directory, metrics.LOOK, "x\n") == ""
    assert victim.read_text() == "precious" and read(directory, metrics.LOOK) == "x\n"


def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(directory, monkeypatch):
    assert metrics.write(directory, metrics.LOOK, "old\n") == ""

    def full(descriptor, data):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "write", full)
    assert metrics.write(directory, metrics.LOOK, "new\n") == (
        directory + "/citadel.prom could not be written: No space left on device")
    monkeypatch.undo()
    assert os.listdir(directory) == [metrics.LOOK] and read(directory, metrics.LOOK) == "old\n"


def test_what_a_killed_writer_left_is_swept_and_in_nobody_s_way(directory):
    """Version 1.0 named its temporary files without a random part."""
    left = [".citadel.prom.999999999.0a0a0a0a.tmp", ".citadel-record.prom.999999999.0b0b0b0b.tmp",
            ".citadel.prom.999999999.tmp", ".citadel-record.prom.999999999.tmp"]
    kept = [".citadel.prom.%d.0a0a0a0a.tmp" % os.getpid(), ".citadel.prom.%d.tmp" % os.getpid(), ".citadel.prom.tmp",
            ".citadel.prom", ".citadel.tmp", ".other.prom.999999999.0c0c0c0c.tmp", ".other.prom.999999999.tmp"]
    for name in left + kept:
        open(os.path.join(directory, name), "w").close()
    assert metrics.write(directory, metrics.LOOK, "x\n") == ""
    metrics.sweep(directory)
    assert sorted(os.listdir(directory)) == sorted(kept + [metrics.LOOK])


def test_a_complaint_leaves_no_directory_open(directory):
    before = os.listdir("/proc/self/fd")
    assert metrics.complaint(directory) == ""
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_is_withdrawn_is_ours_alone(tmp_path, directory):
    metrics.after_check(with_directory(directory), facts(), WELL, str(tmp_path / "state"), 1.8e9)
    open(os.path.join(directory, "other.prom"), "w").close()
    assert metrics.withdraw("-" + directory) == [metrics.LOOK, metrics.RECORD]
    assert os.listdir(directory) == ["other.prom"]
    assert metrics.withdraw(directory) == metrics.withdraw(directory + "/none") == []


def test_alerts_that_wait_are_counted_without_reading_them(store):
    for number in (1, 2):
        spool.keep(spool.Letter("spool/2027011%d-firing.json" % number, model.Alert(
            "firing", UNIT, "port.taken", "x", "", "i", "h", 1.0, None, "critical"), ["hook"]), store)
    assert notes.spooled(store.files.path) == 2
    assert notes.spooled(store.files.path + "/nowhere") == 0


def test_the_path_of_a_healthy_check_imports_nothing_heavy():
    import subprocess
    import sys
    code = ("import sys; sys.path.insert(0, %r); from citadel.commands import check; "
            "print(sorted(set(sys.modules) & {'json', 're', 'socket', 'subprocess', 'logging', 'ssl', 'hashlib'}))")
    lib = LIB
    answer = subprocess.run([sys.executable, "-IS", "-c", code % lib], stdout=subprocess.PIPE, check=True)
    assert answer.stdout.strip() == b"[]"
