"""The evidence: what is redacted, how large it may be, and that nothing holds a recovery up."""

import hashlib
import io
import os
import random
import string
import tarfile
import time
from collections import namedtuple

import pytest

from citadel import bundle
from citadel.clock import Now
from citadel.commands import Answer
from citadel.incidents import Store

UNIT = "citadel-gateway.service"
Settings = namedtuple("Settings", "file dependencies")
Dependency = namedtuple("Dependency", "units")
ServiceSettings = namedtuple("ServiceSettings", "settings")


class Wanted(Settings):
    def service(self, unit):
        return ServiceSettings(self.file + ".yaml")


@pytest.mark.parametrize("text, hidden", [
    ("password: hunter2 is long", "hunter2 is long"),
    ("  db_password = 'hunter2'", "hunter2"),
    ("- api_key: hunter2", "hunter2"),
    ("api-key=hunter2", "hunter2"),
    ("Environment=A=1 OPENAI_API_KEY=hunter2 B=2", "hunter2"),
    ('"client_secret": "hunter2", "port": 8002', "hunter2"),
    ("GET /x?access_token=hunter2&y=1", "hunter2"),
    ("redis_url: redis://:hunter2@127.0.0.1:6379/0", "hunter2"),
    ("https://ada:hunter2@host/path", "hunter2"),
    ("https://ada:hun:ter2@host/path", "ter2"),
    ("Authorization: Bearer hunter2hunter2", "hunter2"),
    ("curl -H 'Authorization: Basic aHVudGVyMg=='", "aHVudGVyMg"),
    ("sent bearer hunter2hunter2 to", "hunter2"),
    ("uvicorn --ssl-keyfile-password hunter2 --port 8002", "hunter2"),
    ("tool --token=hunter2 --x", "hunter2"),
    ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nafter", "hunter2"),
    ("-----BEGIN PRIVATE KEY-----\nhunter2 (cut)", "hunter2"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJodW50ZXIyIjoxfQ.c2ln", "eyJodW50ZXIyIjoxfQ"),
    ("secret: |\n  hunter2\n  hunter3\nport: 8002", "hunter3"),
    ("auth:\n  token: >-\n    hunter2\n    hunter3\n  port: 1", "hunter3"),
    ("Jun 1 host app[1]: connecting with secret_token='hunter2' now", "hunter2"),
    ("key: hunter2", "hunter2"),
])
def test_secrets_are_redacted(text, hidden):
    assert hidden in text and hidden not in bundle.redact(text) and "redacted" in bundle.redact(text)


@pytest.mark.parametrize("text", [
    "port: 8002\nworkers: 8\nenvironment: production\n", "Restart=always\nRestartUSec=5s\n", "MemAvailable: 12 kB\n",
    "http://127.0.0.1:11434/api/version", "Started citadel-gateway.service", "tcp LISTEN 127.0.0.1:8002",
    "monkey patching done", "secret: |\n  x\nport: 8002\n"[13:]])
def test_evidence_is_kept(text):
    assert bundle.redact(text) == text


def test_what_follows_a_block_is_kept():
    assert bundle.redact("secret: |\n  hunter2\nport: 8002\n").endswith("port: 8002\n")


def test_no_pattern_takes_for_ever():
    for text in ("a" * 200000, "key" * 60000, "password" * 30000, "://" * 80000, "-----BEGIN PRIVATE KEY-----" * 9000,
                 " " * 200000, "- " * 100000, "secret: |\n" * 25000, "--token" * 30000, "\"'" * 100000):
        started = time.monotonic()
        bundle.redact(text[:bundle.LARGEST_PART])
        assert time.monotonic() - started < 2, text[:20]


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
    incident = store.open_incident(UNIT, "gateway.crashed", "it crashed")
    record = bundle.collect(store, incident, UNIT, wanted, answers("Id=x\nEnvironment=TOKEN=hunter2\n"))
    found = contents(store, record)
    assert "MemTotal" in found["proc/meminfo"] and found["settings/citadel.conf"].startswith("[hook]")
    assert "port: 8002" in found["settings/citadel.conf.yaml"] and "redis.service" in found["commands/show"]
    assert not any("hunter2" in text for text in found.values())


def test_noise_that_does_not_compress_is_cut_to_size(store, wanted):
    dice = random.Random(7)
    noise = "".join(dice.choice(string.ascii_letters + "\n") for _ in range(bundle.LARGEST_PART))
    incident = store.open_incident(UNIT, "gateway.crashed", "it crashed")
    record = bundle.collect(store, incident, UNIT, wanted, answers(noise))
    assert 100000 < record["bytes"] <= bundle.LARGEST


def test_what_hangs_is_named_and_left_out(store, wanted):
    time_now = [0.0]

    def run(argv, timeout, **more):
        time_now[0] += timeout
        return Answer(tuple(argv), -1000, "", "", timeout, False)

    incident = store.open_incident(UNIT, "gateway.crashed", "it crashed")
    found = contents(store, bundle.collect(store, incident, UNIT, wanted, run, clock=lambda: time_now[0]))
    assert time_now[0] <= bundle.SECONDS
    assert "did not answer" in found["commands/show"] and "no time was left" in found["commands/processes"]


def test_a_settings_file_that_is_a_trap_is_not_read(store, wanted):
    os.unlink(wanted.file + ".yaml")
    os.mkfifo(wanted.file + ".yaml")
    os.rename(wanted.file, wanted.file + ".real")
    os.symlink("/etc/shadow", wanted.file)
    incident = store.open_incident(UNIT, "gateway.crashed", "it crashed")
    found = contents(store, bundle.collect(store, incident, UNIT, wanted, answers("")))
    assert "not read" in found["settings/citadel.conf.yaml"] and "could not be read" in found["settings/citadel.conf"]


def test_a_full_disk_is_said(store, wanted):
    incident = store.open_incident(UNIT, "disk.full", "no room")

    def write(name, data):
        raise OSError(28, "No space left on device")
    store.files.write = write
    assert "No space left" in bundle.collect(store, incident, UNIT, wanted, answers(""))["error"]
