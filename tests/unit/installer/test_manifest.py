"""The list of what is installed."""

import pytest

from citadel.installer import layout, manifest


def test_the_list_survives_being_written_and_read():
    whole = manifest.Manifest({"/opt/citadel/bin/x": "a" * 64}, {layout.REDIS_ALIAS: "/lib/redis.service"}, "b" * 64,
                              ["/opt/citadel"], "citadel", "timer", "1.0.0")
    assert manifest.parse(whole.render()) == whole


@pytest.mark.parametrize("line", [
    pytest.param("a" * 64 + "  /etc/passwd", id="a path that is not ours"),
    pytest.param("a" * 64 + "  /opt/citadel/lib/../../../etc/passwd", id="a way out of ours"),
    pytest.param("a" * 64 + "  /usr/local/lib/systemd/system/ollama.service", id="another package's unit"),
    pytest.param("a" * 64 + "  /opt/citadel/venv/bin/uvicorn", id="the gateway's own"),
    pytest.param("# link /etc/passwd -> x", id="a link that is not ours"),
    pytest.param("a" * 63 + "  /opt/citadel/bin/x", id="a cut line"),
    pytest.param("\x00\ufffd", id="noise"),
])
def test_a_damaged_list_makes_us_delete_nothing_else(line):
    found = manifest.parse((line + "\n").encode())
    assert (found.files, found.links) == ({}, {})
