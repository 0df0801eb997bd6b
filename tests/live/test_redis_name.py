"""Where redis is redis.service (Fedora, SUSE, many a hand-made host), and no redis-server.service is known."""

import pytest
from host import GATEWAY, Host, furnish, install, install_gateway, machine_of

UNIT = "redis.service"


@pytest.fixture(scope="module")
def renamed(root_name):
    """A machine whose redis goes by the other name, with Citadel installed on it."""
    with machine_of(root_name, "-redis") as machine:
        furnish(machine)
        text = "".join(line for line in machine.read("/lib/systemd/system/redis-server.service").splitlines(True)
                       if not line.startswith("Alias="))
        machine.boot(120)
        host = Host(machine, [])
        host.do("systemctl", "stop", "redis-server.service")
        host.do("rm", "-f", "/etc/systemd/system/redis.service", "/lib/systemd/system/redis-server.service",
                "/etc/init.d/redis-server", "/etc/systemd/system/multi-user.target.wants/redis-server.service")
        machine.write("/etc/systemd/system/" + UNIT, text)
        install_gateway(machine)
        host.do("systemctl", "enable", "--now", UNIT)
        answer = install(machine, "--schedule", "none")
        assert answer.ok, answer.out + answer.err
        yield host


def test_the_gateway_runs_and_needs_it(renamed):
    renamed.wait_healthy()
    assert UNIT in renamed.show(GATEWAY, "Requires").split()
    assert renamed.show(GATEWAY, "NRestarts") == "0"


def test_redis_is_stopped_then_started(renamed):
    renamed.wait_healthy()
    old = renamed.pid()
    renamed.do("systemctl", "stop", UNIT)
    renamed.wait_state(GATEWAY, "inactive", "failed")
    renamed.do("systemctl", "start", UNIT)
    renamed.wait_healthy(not_pid=old)


def test_redis_is_killed(renamed):
    renamed.wait_healthy()
    old = renamed.kill(UNIT)
    renamed.wait(lambda: renamed.pid(UNIT) not in (0, old) and renamed.show(UNIT, "ActiveState") == "active", "redis")
    renamed.wait_healthy()
