"""What a look costs: one question to systemd, however many services there are."""

from citadel.clock import Now
from citadel.commands import Answer
from citadel.facts import Installed, Probe
from citadel.observe import observe
from citadel.settings import parse

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
