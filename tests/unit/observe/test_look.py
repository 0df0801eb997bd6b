"""What a look costs: one question to systemd, however many services there are. And who it says has our port."""

import os
import signal
import socket

import pytest
from network import port_of_nobody

from citadel.core.clock import Now
from citadel.core.run import Answer
from citadel.model import Installed, Probe
from citadel.observe.look import observe
from citadel.settings.file import parse

BLOCK = "Id=%s\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nFreezerState=running\n"


def test_a_hundred_services_that_are_well_are_one_question():
    text = "".join("[service s%d.service]\nhealth = http://127.0.0.1:%d/\ndepends = redis\n" % (number, 9000 + number)
                   for number in range(100))
    asked, probed = [], []

    def run(argv, timeout, **how):
        asked.append(argv)
        names = argv[argv.index("--") + 1:]
        return Answer(argv, 0, "\n".join(BLOCK % name for name in names), "", 0.01, False)

    def ask(targets, timeout):
        probed.append(targets)
        return {target: Probe(target=target, outcome="ok", seconds=0.01) for target in targets}

    settings = parse(text + "[dependency redis]\nunit = redis.service\nprobe = redis://127.0.0.1:6379\n", "citadel.conf")
    facts = observe(settings, run=run, ask=ask, now=lambda: Now(1.0, 1.0, 1.0, "b"), installation=Installed)
    assert len(facts.services) == 100 and all(service.probe.outcome == "ok" for service in facts.services)
    assert len(asked) == 1 and asked[0][1] == "show"
    assert len(probed) == 1 and len(probed[0]) == 101, "and redis, which all of them need, is asked once"


@pytest.mark.parametrize("age, looked", [(5, True), (119, True), (121, False)])
def test_while_a_service_may_not_listen_yet_its_port_is_looked_at(age, looked):
    """What answers there may be another process."""
    words = []

    def run(argv, timeout, **how):
        words.append(argv[1])
        return Answer(argv, 0, BLOCK % "s.service" + "ActiveEnterTimestampMonotonic=%d\n" % ((1000 - age) * 10 ** 6), "",
                      0.01, False)

    settings = parse("[service s.service]\nhealth = http://127.0.0.1:9/\ndepends =\nsettings =\n", "citadel.conf")
    observe(settings, run=run, ask=lambda targets, timeout: {one: Probe(one, "ok") for one in targets},
            now=lambda: Now(1000.0, 1000.0, 1000.0, "b"), installation=Installed)
    assert ("is-system-running" in words) is looked


@pytest.fixture
def another_process():
    """Starts a process that listens at an address, on any port; gives that port."""
    children = []

    def listen(family, at):
        server = socket.socket(family)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((at, port_of_nobody()))
        server.listen(1)
        children.append(os.fork())
        if not children[-1]:
            signal.pause()
        port = server.getsockname()[1]
        server.close()
        return port
    yield listen
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("family, at, named", [
    pytest.param(socket.AF_INET, "127.0.0.1", True, id="where we are asked"),
    pytest.param(socket.AF_INET, "0.0.0.0", True, id="everywhere"),
    pytest.param(socket.AF_INET, "127.0.0.2", False, id="at another loopback address"),
    pytest.param(socket.AF_INET6, "::1", False, id="at IPv6's loopback"),
    pytest.param(socket.AF_INET6, "::", False, id="on all of IPv6, and IPv6 alone"),
])
def test_only_who_is_in_our_way_holds_our_port(another_process, family, at, named):
    """Any local user may listen at 127.0.0.2:8002 while the gateway is down; that must keep nobody from starting it."""
    try:
        port = another_process(family, at)
    except OSError as error:
        pytest.skip("this host has no IPv6: %s" % error)
    down = BLOCK.replace("=active", "=failed") % "s.service"
    settings = parse("[service s.service]\nhealth = http://127.0.0.1:%d/\ndepends =\nsettings =\n" % port, "citadel.conf")
    facts = observe(settings, run=lambda argv, *more, **how: Answer(argv, 0, down, "", 0.01, False),
                    ask=lambda targets, timeout: {target: Probe(target=target, outcome="refused") for target in targets},
                    now=lambda: Now(1.0, 1.0, 1.0, "b"), installation=Installed)
    holder = facts.services[0].holder
    assert (holder is not None) is named
    if named and os.geteuid() == 0:
        assert holder.pid and holder.port == port
