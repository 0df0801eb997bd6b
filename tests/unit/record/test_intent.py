"""What operators decided: notes that are small, and no notes where they cannot be read. test_store.py has maintenance
across boots and clocks."""

import pytest

from citadel.core.clock import Now
from citadel.record.directory import Directory
from citadel.record.intent import Intent

NOW = Now(1.8e9, 100.0, 100.0, "boot-1")


def at(files, **moment):
    return Intent(files, lambda: NOW._replace(**moment))


def test_a_reset_is_remembered_within_its_boot(tmp_path):
    files = Directory(str(tmp_path / "state"))
    assert at(files).since_reset("x.service") is None
    at(files).note_reset("x.service")
    assert at(files, monotonic=160.0).since_reset("x.service") == 60.0
    assert at(files).since_reset("y.service") is None
    assert at(files, boot_id="boot-2").since_reset("x.service") is None


@pytest.mark.parametrize("spoilt", [b"", b"null", b"{", b"[]", b"\xff" * 5000,
                                    b'{"boot_id": "boot-1", "monotonic": "x"}'])
def test_a_spoilt_note_is_no_note(tmp_path, spoilt):
    files = Directory(str(tmp_path / "state"))
    files.write("resets/x.service.json", spoilt)
    assert at(files).since_reset("x.service") is None
