import io
import json
import os

import pytest
from calls import call
from places import UNITS

from citadel.commands import config, manager
from citadel.core.errors import CitadelError

UNIT = "x.service"


def same(shipped, shown, section="Service", alike=()):
    settings = config.compare(UNIT, "[%s]\n%s\n" % (section, shipped), shown, [], alike)
    return [one.same for one in settings]


ALIKE = [("redis-server.service", "redis.service")]


@pytest.mark.parametrize("shipped, shown, expected", [
    pytest.param("Restart=always", {"Restart": "always"}, True, id="the same word"),
    pytest.param("Restart=always", {"Restart": "no"}, False, id="another word"),
    pytest.param("RestartSec=5", {"RestartUSec": "5s"}, True, id="seconds without a unit"),
    pytest.param("RestartSec=5", {"RestartUSec": "100ms"}, False, id="another time"),
    pytest.param("StartLimitIntervalSec=1800", {"StartLimitIntervalUSec": "30min"}, True, id="the same time in words"),
    pytest.param("TimeoutStartSec=120", {"TimeoutStartUSec": "infinity"}, False, id="no time-out at all"),
    pytest.param("TimeoutStopSec=1min 30s", {"TimeoutStopUSec": "1min 30s"}, True, id="a time of two words"),
    pytest.param("MemoryMax=8G", {"MemoryMax": "8589934592"}, True, id="bytes"),
    pytest.param("MemoryMax=8G", {"MemoryMax": "infinity"}, False, id="no memory limit"),
    pytest.param("CPUQuota=400%", {"CPUQuotaPerSecUSec": "4s"}, True, id="CPU time per second"),
    pytest.param("CPUQuota=400%", {"CPUQuotaPerSecUSec": "infinity"}, False, id="no CPU quota"),
    pytest.param("NoNewPrivileges=true", {"NoNewPrivileges": "yes"}, True, id="truth in other words"),
    pytest.param("NoNewPrivileges=yes", {"NoNewPrivileges": "no"}, False, id="a sandbox switched off"),
    pytest.param("After=a.service b.service", {"After": "sysinit.target b.service a.service"}, True,
                 id="systemd adds dependencies of its own"),
    pytest.param("Requires=a.service b.service", {"Requires": "a.service"}, False, id="a dependency is missing"),
    pytest.param("Requires=redis-server.service", {"Requires": "redis.service sysinit.target"}, True,
                 id="redis by its other name"),
    pytest.param("RestrictAddressFamilies=AF_INET AF_UNIX", {"RestrictAddressFamilies": "AF_UNIX AF_INET"}, True,
                 id="a list in another order"),
    pytest.param("RestrictAddressFamilies=AF_UNIX", {"RestrictAddressFamilies": "AF_UNIX AF_INET"}, False,
                 id="a list that allows more"),
    pytest.param("CapabilityBoundingSet=", {"CapabilityBoundingSet": ""}, True, id="no capabilities"),
    pytest.param("CapabilityBoundingSet=", {"CapabilityBoundingSet": "cap_kill"}, False, id="a capability given back"),
    pytest.param("Environment=A=1 B=2", {"Environment": "B=2 A=1"}, True, id="the environment"),
    pytest.param("ExecStartPre=+-/bin/a --unit %n",
                 {"ExecStartPre": "{ path=/bin/a ; argv[]=/bin/a --unit x.service ; ignore_errors=yes ; pid=0 }"}, True,
                 id="a command with prefix and specifier"),
    pytest.param("ExecStart=/bin/a --workers 8",
                 {"ExecStart": "{ path=/bin/a ; argv[]=/bin/a --workers 2 ; ignore_errors=no ; pid=0 }"}, False,
                 id="a command with another argument"),
])
def test_same(shipped, shown, expected):
    assert same(shipped, shown, alike=ALIKE) == [expected]


@pytest.mark.parametrize("shipped, shown", [
    pytest.param("RestartMode=direct", {}, id="a directive that this systemd does not know"),
    pytest.param("SystemCallFilter=@system-service", {"SystemCallFilter": "read write"}, id="a set that show expands"),
    pytest.param("Description=A", {"Description": "B"}, id="what says nothing about how it runs"),
])
def test_not_compared(shipped, shown):
    assert same(shipped, shown) == []


@pytest.mark.parametrize("text, found", [
    pytest.param("[Service]\nA=1\n# c\n;d\n\nB = two  words \n",
                 [("A", "1", 2), ("B", "two words", 6)], id="plain"),
    pytest.param("[Unit]\nA=one \\\n  two \\\n# a comment within\n  three\nB=1", [
        ("A", "one two three", 2), ("B", "1", 6)], id="continued lines"),
    pytest.param("A=0\n[Unit]\nnonsense\nA=", [("A", "0", 1), ("A", "", 4)], id="nonsense is passed over"),
    pytest.param("", [], id="nothing"),
])
def test_assignments(text, found):
    assert config.assignments(text) == found


FILES = [("/unit", "[Service]\nRestartSec=5\nEnvironment=A=1\n"),
         ("/a.conf", "[Service]\nRestartSec=6\nRestartSec=7\n"),
         ("/b.conf", "[Service]\nTimeoutSec=9\n")]


@pytest.mark.parametrize("key, where", [
    pytest.param("RestartSec", "/a.conf:3", id="the last file that sets it"),
    pytest.param("Environment", "/unit:3", id="the unit file itself"),
    pytest.param("TimeoutStopSec", "/b.conf:2", id="a wider spelling"),
    pytest.param("MemoryMax", "", id="no file sets it"),
])
def test_origin(key, where):
    written = [(path, config.assignments(text)) for path, text in FILES]
    assert config.origin(key, written) == where


def test_a_difference_says_both_values_and_where_it_comes_from():
    shipped = "[Service]\nRestartSec=5\nRestart=always\n"
    found = config.compare(UNIT, shipped, {"RestartUSec": "7s", "Restart": "always"}, FILES)
    assert [tuple(one) for one in found] == [("Restart", "always", "always", True, ""),
                                             ("RestartSec", "7 s", "5 s", False, "/a.conf:3")]


def test_an_assignment_that_clears_a_list_begins_it_anew():
    assert same("After=a.service\nAfter=\nAfter=b.service", {"After": "b.service"}) == [True]


def test_what_is_always_shown_is_set_in_the_shipped_unit():
    path = os.path.join(UNITS, "citadel-gateway.service")
    with open(path, encoding="utf-8") as file:
        asked = config.asked_for(file.read())
    for name in config.RESTART:
        assert config.PROPERTIES.get(name, name) in asked


def test_what_the_shipped_unit_sets_twice_is_known_to_be_a_list():
    """Else only its last line would be compared, and `config` would tell of a difference that is none."""
    path = os.path.join(UNITS, "citadel-gateway.service")
    with open(path, encoding="utf-8") as file:
        keys = [key for key, _, _ in config.assignments(file.read())]
    twice = {key for key in keys if keys.count(key) > 1}
    assert "UnsetEnvironment" in twice
    assert twice <= set(config.LISTS + config.COMMANDS + config.LEFT_OUT)


@pytest.mark.parametrize("text, code, ok", [
    pytest.param("[recovery]\nattempts = 3\n", 0, True, id="valid"),
    pytest.param("", 0, True, id="empty is valid"),
    pytest.param("[recovery]\nattempts = none\nwindwo = 5min\n", 78, False, id="two things wrong"),
])
def test_config_check(tmp_path, text, code, ok):
    path = tmp_path / "citadel.conf"
    path.write_text(text)
    path.chmod(0o644)
    out = io.StringIO()
    assert manager.main(["config", "--check", str(path), "--json"], out) == code
    document = json.loads(out.getvalue())
    assert (document["ok"], document["schema"], document["action"]) == (ok, 1, "config")
    assert len(document["problems"]) == (0 if ok else 2)


def test_config_check_warns_root_of_settings_that_it_cannot_compare(tmp_path):
    path, yaml = tmp_path / "citadel.conf", tmp_path / "production.yaml"
    path.write_text("[service a.service]\nsettings = %s\ndepends =\n" % yaml)
    path.chmod(0o644)
    yaml.write_text("server: &s\n  port: 1\n")
    made, out = call(["config", "--check", str(path), "--json"], is_root=True)
    assert made.perform() == 0
    warning, = json.loads(out.getvalue())["warnings"]
    assert warning.startswith("%s:1: server: an anchor" % yaml)


def test_config_check_names_every_line(tmp_path, capsys):
    path = tmp_path / "citadel.conf"
    path.write_text("[recovery]\nattempts = none\nwindwo = 5min\n")
    path.chmod(0o644)
    with pytest.raises(CitadelError) as caught:
        manager.main(["config", "--check", str(path)], io.StringIO())
    complaints = str(caught.value) + capsys.readouterr().err
    assert "citadel.conf:2: " in complaints and "citadel.conf:3: " in complaints and caught.value.code == 78
