import pytest

from citadel.core.atomic import Directory
from citadel.core.clock import Now
from citadel.record import intent


def test_a_reset_is_remembered_within_its_boot(tmp_path):
    files = Directory(str(tmp_path / "state"))
    now = Now(1.8e9, 100.0, 100.0, "boot-1")
    assert intent.since_reset(files, "x.service", now) is None
    intent.note_reset(files, "x.service", now)
    assert intent.since_reset(files, "x.service", now._replace(monotonic=160.0)) == 60.0
    assert intent.since_reset(files, "y.service", now) is None
    assert intent.since_reset(files, "x.service", now._replace(boot_id="boot-2")) is None


@pytest.mark.parametrize("spoilt", [b"", b"null", b"{", b"[]", b"\xff" * 5000,
                                    b'{"boot_id": "boot-1", "monotonic": "x"}'])
def test_a_spoilt_note_is_no_note(tmp_path, spoilt):
    files = Directory(str(tmp_path / "state"))
    files.write("resets/x.service.json", spoilt)
    assert intent.since_reset(files, "x.service", Now(1.8e9, 100.0, 100.0, "boot-1")) is None
