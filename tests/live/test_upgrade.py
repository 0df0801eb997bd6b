"""From 1.0 to this version while an incident is open: tests/samples/citadel-1.0.0.tar.xz is 1.0 as it was released."""

import json
import os
import tarfile

import pytest
from host import CHECKOUT, GATEWAY, RECOVERY, Host, furnish, install_gateway, machine_of
from injections import CONF, settings_invalid, settings_valid
from places import SAMPLES
from shortened import SETTINGS

from citadel.core.log import EVENTS

OLD = "/srv/citadel-1.0.0"


@pytest.fixture(scope="module")
def host(root_name):
    """A machine with 1.0 installed by its own install.py, and a gateway that is well."""
    with machine_of(root_name, "-upgrade") as machine:
        furnish(machine)
        with tarfile.open(os.path.join(SAMPLES, "citadel-1.0.0.tar.xz")) as archive:
            archive.extractall(machine.path("/srv") + "/citadel-1.0.0")
        machine.boot(120)
        install_gateway(machine)
        host = Host(machine, [])
        host.do("python3", OLD + "/install.py", "--schedule", "none")
        host.wait_healthy()
        host.write(CONF, SETTINGS)
        host.start = host.cursor()
        yield host


def told(host, event):
    """The incidents of which that event was told, one for each time."""
    return [entry["CITADEL_INCIDENT"] for entry in host.entries("MESSAGE_ID=" + EVENTS[event][0], since=host.start)]


def library(host):
    return host.do("ls", "/opt/citadel/lib/citadel").out.split()


def result(host):
    return json.loads(host.handler("--json").out)["services"][0]


def test_an_upgrade_goes_on_with_the_open_incident(host):
    host.do("systemctl", "mask", "--runtime", RECOVERY)         # the passes are made here, one at a time
    settings_invalid(host)
    host.wait_state(GATEWAY, "failed", timeout=180)
    before = result(host)
    assert (before["verdict"], before["cause"]) == ("escalated", "config.invalid")
    assert told(host, "firing") == [before["incident"]]

    assert "incidents.py" in library(host), "1.0 it was"
    answer = host.do("python3", CHECKOUT + "/install.py")
    assert answer.err == "" and host.read(CONF) == SETTINGS
    assert "incidents.py" not in library(host) and "record" in library(host), "and 1.0 it is no more"
    after = result(host)
    assert (after["verdict"], after["cause"], after["incident"]) == ("escalated", "config.invalid", before["incident"])
    assert told(host, "firing") == [before["incident"]], "no second alert"

    settings_valid(host)
    host.manager("reset")
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()
    host.wait(lambda: result(host)["incident"] == "", "the incident to be over")
    assert told(host, "resolved") == [before["incident"]]
    kept = next(one for one in json.loads(host.manager("history", "--json").out)["incidents"]
                if one["id"] == before["incident"])
    assert kept["outcome"] == "escalated" and kept["end"] and [one["cause"] for one in kept["causes"]][:1] == [
        "config.invalid"]
