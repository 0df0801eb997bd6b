"""Three services of one citadel.conf that share their dependencies."""

import json

import pytest
from host import GATEWAY, OLLAMA, RECOVERY, REDIS
from injections import CONF, drop_in, no_drop_in, ollama_can_run, ollama_down
from shortened import SETTINGS

A, B = "a.service", "b.service"
STARTED = "39f53479d3a045ac8e11786248231fbf"        # MESSAGE_ID of "Started": sd-messages(3)
UNIT = """\
[Unit]
Requires=%(needs)s
BindsTo=ollama.service
After=%(needs)s
[Service]
ExecStart=/bin/sh -c "exec python3 -m http.server %(port)d --bind 127.0.0.1 --directory /usr/share >/dev/null 2>&1"
"""
MORE = """\
[service a.service]
health = http://127.0.0.1:9101/
depends = ollama
settings =
[service b.service]
health = http://127.0.0.1:9102/
depends = ollama redis
settings =
"""


@pytest.fixture
def three(host):
    shipped = host.read(CONF)
    host.write(CONF, SETTINGS + MORE)
    host.write("/run/systemd/system/" + A, UNIT % {"needs": "ollama.service", "port": 9101})
    host.write("/run/systemd/system/" + B, UNIT % {"needs": "ollama.service redis-server.service", "port": 9102})
    host.do("systemctl", "daemon-reload")
    host.do("systemctl", "start", A, B)
    host.handler()                      # closes what an earlier test has left open
    host.wait(lambda: host.manager("check", ok=False).code == 0, "all three to be well")
    host.do("systemctl", "mask", "--runtime", RECOVERY)
    for unit in (GATEWAY, A, B):
        host.manager("--service", unit, "reset")
    yield host
    no_drop_in(host, A)
    host.do("systemctl", "stop", A, B)
    host.do("rm", "/run/systemd/system/" + A, "/run/systemd/system/" + B)
    host.do("systemctl", "daemon-reload")
    host.write(CONF, shipped)
    host.do("systemctl", "unmask", "--runtime", RECOVERY)


def one_pass(host):
    answer = host.handler("--json")
    return {one["unit"]: one for one in json.loads(answer.out)["services"]}


def test_what_they_share_is_repaired_once(three):
    host = three
    ollama_down(host)
    ollama_can_run(host)
    since = host.cursor()
    found = one_pass(host)
    assert {unit: one["verdict"] for unit, one in found.items()} == dict.fromkeys((GATEWAY, A, B), "recovered"), found
    assert found[GATEWAY]["cause"] == "dependency.ollama.down"
    assert len(host.entries("MESSAGE_ID=" + STARTED, "UNIT=" + OLLAMA, since=since)) == 1
    assert [one["verdict"] for one in one_pass(host).values()] == ["healthy"] * 3


def test_their_causes_are_kept_apart(three):
    host = three
    drop_in(host, A, "[Service]\nRestart=no\n")
    host.kill(A)
    host.wait_state(A, "failed")
    host.do("systemctl", "stop", B)
    found = one_pass(host)
    assert {unit: (one["verdict"], one["cause"]) for unit, one in found.items()} == {
        GATEWAY: ("healthy", ""), A: ("recovered", "gateway.crashed"),
        B: ("stood-down", "gateway.stopped-by-operator")}, found
    assert host.show(REDIS, "ActiveState") == host.show(A, "ActiveState") == "active"
    assert host.show(B, "ActiveState") == "inactive"
