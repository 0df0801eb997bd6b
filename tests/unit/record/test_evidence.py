"""The evidence: what it holds, how large it may be, and that nothing holds a recovery up."""

import hashlib
import io
import os
import random
import string
import tarfile
from collections import namedtuple

import pytest

from citadel.core.clock import Now
from citadel.core.run import Answer
from citadel.record import evidence
from citadel.record.store import Store

UNIT = "citadel-gateway.service"
Settings = namedtuple("Settings", "file dependencies")
Dependency = namedtuple("Dependency", "units")
ServiceSettings = namedtuple("ServiceSettings", "settings")


class Wanted(Settings):
    def service(self, unit):
        return ServiceSettings(self.file + ".yaml")


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "state"), lambda: Now(1.8e9, 1.0, 1.0, "a"), fallback=str(tmp_path / "ram"))
    with store.lock("check"):
        yield store


@pytest.fixture
def wanted(tmp_path):
    (tmp_path / "citadel.conf").write_text("[hook]\ncommand = /x\n")
    (tmp_path / "citadel.conf.yaml").write_text("port: 8002\npassword: hunter2\n")
    return Wanted(str(tmp_path / "citadel.conf"), {"redis": Dependency(("redis.service",))})


def answers(out):
    def run(argv, timeout, **more):
        return Answer(tuple(argv), 0, out, "", 0.0, False)
    return run


def contents(store, record):
    data = store.files.read(record["file"], 2 << 20)
    assert hashlib.sha256(data).hexdigest() == record["sha256"] and len(data) == record["bytes"]
    assert store.files.read(record["file"] + ".sha256").decode().startswith(record["sha256"] + "  ")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {entry.name.partition("/")[2]: archive.extractfile(entry).read().decode() for entry in archive}


def test_a_bundle_holds_the_evidence_and_no_secret(store, wanted):
    incident = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    record = evidence.collect(store.files, incident, UNIT, wanted, answers("Id=x\nEnvironment=TOKEN=hunter2\n"))
    found = contents(store, record)
    assert "MemTotal" in found["proc/meminfo"] and found["settings/citadel.conf"].startswith("[hook]")
    assert "port: 8002" in found["settings/citadel.conf.yaml"] and "redis.service" in found["commands/show"]
    assert not any("hunter2" in text for text in found.values())


def test_noise_that_does_not_compress_is_cut_to_size(store, wanted):
    dice = random.Random(7)
    noise = "".join(dice.choice(string.ascii_letters + "\n") for _ in range(evidence.LARGEST_PART))
    incident = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    record = evidence.collect(store.files, incident, UNIT, wanted, answers(noise))
    assert 100000 < record["bytes"] <= evidence.LARGEST


def test_of_a_long_answer_the_newest_lines_are_kept(store, wanted):
    """Whatever fills the journal, what was said last is why it died."""
    incident = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    long = "".join("%d %s\n" % (number, "x" * 40000) for number in range(evidence.LINES)) + "the newest\n"

    def run(argv, timeout, cap):
        return Answer(tuple(argv), 0, long[:cap], "", 0.0, len(long) > cap)
    kept = contents(store, evidence.collect(store.files, incident, UNIT, wanted, run))["commands/journal"]
    assert kept.endswith("the newest\n") and kept.splitlines()[1].startswith("19"), "from the beginning of a line on"


def test_what_hangs_is_named_and_left_out(store, wanted):
    time_now = [0.0]

    def run(argv, timeout, **more):
        time_now[0] += timeout
        return Answer(tuple(argv), -1000, "", "", timeout, False)

    incident = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    found = contents(store, evidence.collect(store.files, incident, UNIT, wanted, run, clock=lambda: time_now[0]))
    assert time_now[0] <= evidence.SECONDS
    assert "did not answer" in found["commands/show"] and "no time was left" in found["commands/processes"]


def test_a_settings_file_that_is_a_trap_is_not_read(store, wanted):
    os.unlink(wanted.file + ".yaml")
    os.mkfifo(wanted.file + ".yaml")
    os.rename(wanted.file, wanted.file + ".real")
    os.symlink("/etc/shadow", wanted.file)
    incident = store.of(UNIT).open_incident("gateway.crashed", "it crashed")
    found = contents(store, evidence.collect(store.files, incident, UNIT, wanted, answers("")))
    assert "not a regular file" in found["settings/citadel.conf.yaml"]
    assert "could not be read" in found["settings/citadel.conf"]


def test_a_full_disk_is_said(store, wanted):
    incident = store.of(UNIT).open_incident("disk.full", "no room")

    def write(name, data):
        raise OSError(28, "No space left on device")
    store.files.write = write
    assert "No space left" in evidence.collect(store.files, incident, UNIT, wanted, answers(""))["error"]
