"""Fixtures of the live tests: one booted machine with Citadel for the whole run, put in order before each test."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from host import GATEWAY, MOOD, OLLAMA, RECOVERY, REDIS, Host, furnish, install, install_gateway, machine_of  # noqa: E402

from citadel.rehearsal import isolation  # noqa: E402

SECONDS = []        # (what, seconds), for the table at the end


@pytest.fixture(scope="session")
def root_name(pytestconfig):
    if not isolation.inside():
        pytest.skip("needs root and tests/live/isolated.py: run tests/run")
    return pytestconfig.getoption("--root")


@pytest.fixture(scope="session")
def furnished(root_name):
    """A booted machine with everything but Citadel, and the listing of its files."""
    with machine_of(root_name) as machine:
        furnish(machine)
        machine.boot(120)
        install_gateway(machine)
        host = Host(machine, SECONDS)
        host.note("boot", machine.boot_seconds)
        host.files_before = host.files()
        yield host


@pytest.fixture(scope="session")
def installed(furnished):
    """The same machine, with Citadel installed; `installation` is what install.py answered."""
    furnished.installation = install(furnished.machine, "--schedule", "none")
    assert furnished.installation.ok, furnished.installation.out + furnished.installation.err
    furnished.wait_healthy()
    return furnished


@pytest.fixture
def host(installed):
    """The installed machine with all services up, healthy and without a history of restarts."""
    installed.do("rm", "-f", MOOD)
    installed.wait(lambda: installed.show(RECOVERY, "ActiveState") != "activating", "a pass to end", timeout=300)
    installed.do("systemctl", "reset-failed", GATEWAY, OLLAMA, REDIS, RECOVERY, ok=False)
    if not (installed.is_healthy() and installed.show(REDIS, "ActiveState") == "active"):
        installed.do("systemctl", "start", OLLAMA, REDIS, GATEWAY)
    installed.wait_healthy()
    installed.start = installed.cursor()
    return installed


def pytest_addoption(parser):
    parser.addoption("--root", default="/", help="what the machines are copies of: / or a release in the cache")


def pytest_configure(config):
    config.addinivalue_line("markers", "last: runs after all other tests, since it leaves the machine without Citadel")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter):
    if SECONDS:
        terminalreporter.section("seconds")
        for what, seconds in SECONDS:
            terminalreporter.write_line("%7.2f  %s" % (seconds, what))
