"""A finding and a history in, a verdict and steps out."""

import pytest

from citadel.model import (
    ACTIVE,
    DOWN,
    FROZEN,
    PASSING,
    PATIENCE,
    RESTARTING,
    RUNNING,
    SERVING,
    STARTING,
    STOPPING,
    UNKNOWN,
    UNRESPONSIVE,
    Attempt,
    Cause,
    Escalation,
    Finding,
    History,
)
from citadel.plan.decisions import plan
from citadel.settings.file import parse

GATEWAY, OLLAMA, REDIS = "citadel-gateway.service", "ollama.service", "redis-server.service"
OPEN = dict(incident="20261123T180000-1", open_for=60.0, seen=2)
SETTINGS = parse("", "citadel.conf")


def found(*causes, **more):
    """A Finding with these causes, the first of them primary."""
    primary = causes[0] if causes else Cause("", "%s runs" % GATEWAY, "")
    return Finding(GATEWAY, primary.cause, primary.because, primary.target, causes[1:], more.get("since", 100.0),
                   more.get("condition", DOWN if causes else SERVING), primary.actionable, primary.manner)


def decide(finding, known, settings=SETTINGS, dice=0.0):
    return plan(finding, history(finding.cause, **known), settings, dice)


def history(cause="", attempts=(), tries=0, seen=1, escalated=None, retries=0, escalated_for="", **more):
    """A History. `attempts`: ages of attempts on no level; `tries`: earlier ones on its level, which are no limit any
    more; `seen`: looks in a row that found `cause`; `escalated`: how long ago an alert was sent in this incident."""
    more["attempts"] = tuple(Attempt(age, "x", 0) for age in attempts) + (
        Attempt(5000.0, "x", more.get("level", 0)),) * tries
    if escalated is not None:
        more.update(escalation=Escalation(retries + 1, escalated, escalated_for),
                    open_for=max(escalated, more.get("open_for", 0.0)))
    return History(seen={cause: seen}, spell_for=10000.0, **more)


def own(kind, manner=""):
    return Cause("gateway." + kind, "the gateway: " + kind, GATEWAY, True, manner)


def ollama(kind, manner=""):
    return Cause("dependency.ollama." + kind, "ollama: " + kind, OLLAMA, True, manner)


def redis(kind, manner=""):
    return Cause("dependency.redis." + kind, "redis: " + kind, REDIS, True, manner)


DISK = Cause("disk.full", "the disk is full", "/var/log")
MEMORY = Cause("memory.low", "no memory", "memory")
CONFIG = Cause("config.invalid", "production.yaml:7: port", "/opt/citadel/config/production.yaml")
PORT = Cause("port.taken", "port 8002 is held by nc", "8002")
UNIT_FILE = Cause("unit.changed", "cannot be loaded", "/usr/local/lib/systemd/system/" + GATEWAY)
PID_1 = Cause("systemd.unresponsive", "systemd does not answer", "systemd")
REMARK = DISK._replace(actionable=False)


def steps_of(planned):
    return " ".join("%s:%s" % (step.do, {GATEWAY: "gateway", OLLAMA: "ollama", REDIS: "redis"}.get(
        step.target, step.target)) for step in planned.steps)


START = "reset-failed:gateway start:gateway"
RESTART = "reset-failed:gateway restart:gateway"
KILL = "kill:gateway " + RESTART

ATTEMPTS = [
    pytest.param(found(own("crashed")), 0, 1, START, id="a crash: a plain start first"),
    pytest.param(found(own("crashed")), 1, 2, "clean:gateway " + START, id="then clean, then start"),
    pytest.param(found(own("crashed")), 2, 3, "clean:gateway " + START, id="nothing to repair: the third start"),
    pytest.param(found(own("crashed")), 3, 4, "relieve-disk: relieve-memory:memory clean:gateway " + START,
                 id="then free what can be spared, then start"),
    pytest.param(found(own("stopped-with-dependency")), 0, 1, START,
                 id="stopped with a dependency that is well again"),
    pytest.param(found(Cause("unknown", "nobody knows", GATEWAY)), 0, 1, START,
                 id="unknown: the ladder from its first level"),
    pytest.param(found(own("start-timeout")), 0, 1, START, id="a start that timed out"),
    pytest.param(found(own("crash-loop")), 0, 2, "clean:gateway " + START,
                 id="a crash loop begins with cleaning: systemd has tried plain starts"),
    pytest.param(found(ollama("down"), own("stopped-with-dependency")), 0, 3,
                 "reset-failed:ollama start:ollama wait-ready:ollama " + START,
                 id="a dependency that is down: straight to its repair, until it is ready"),
    pytest.param(found(ollama("down"), redis("down"), own("crashed")), 0, 3,
                 "reset-failed:ollama start:ollama wait-ready:ollama reset-failed:redis start:redis wait-ready:redis "
                 + START, id="two dependencies down, in their order"),
    pytest.param(found(ollama("down", ACTIVE), own("crashed")), 0, 3,
                 "reset-failed:ollama restart:ollama wait-ready:ollama " + START,
                 id="a dependency that runs to no use is restarted"),
    pytest.param(found(ollama("hung", UNRESPONSIVE), own("crashed")), 0, 3,
                 "kill:ollama reset-failed:ollama restart:ollama wait-ready:ollama " + START,
                 id="a hung dependency is killed first"),
    pytest.param(found(ollama("hung", FROZEN), own("crashed")), 0, 3, "thaw:ollama wait-ready:ollama " + START,
                 id="a frozen dependency is thawed, and that is all"),
    pytest.param(found(ollama("down"), redis("loading", PASSING), own("crashed")), 0, 3,
                 "reset-failed:ollama start:ollama wait-ready:ollama wait-ready:redis " + START,
                 id="one is repaired, the one that loads is waited for"),
    pytest.param(found(redis("refusing-writes", ACTIVE), own("crashed")), 0, 3,
                 "relieve-disk: wait-ready:redis " + START, id="redis that cannot save is given room, never restarted"),
    pytest.param(found(ollama("down"), own("crashed")), 3, 4, "relieve-disk: relieve-memory:memory clean:gateway "
                 "reset-failed:ollama start:ollama wait-ready:ollama " + START,
                 id="the last level holds all that the lower ones do"),
    pytest.param(found(ollama("down"), condition=SERVING), 0, 3, "reset-failed:ollama start:ollama wait-ready:ollama",
                 id="a service that still answers is left alone while its dependency is repaired"),
    pytest.param(found(redis("down"), condition=STARTING), 0, 0, "reset-failed:redis start:redis wait-ready:redis",
                 id="a service at its gate is left alone while what it waits for is repaired"),
    pytest.param(found(redis("down"), own("crashed", PASSING), condition=RESTARTING), 0, 0,
                 "reset-failed:redis start:redis wait-ready:redis",
                 id="a service that systemd restarts is left alone while its dependency is repaired"),
    pytest.param(found(DISK, own("crashed")), 0, 4, "relieve-disk:/var/log " + START,
                 id="a full disk: room, then start"),
    pytest.param(found(DISK._replace(cause="disk.inodes"), own("crashed")), 0, 4, "relieve-disk:/var/log " + START,
                 id="no inodes: room, then start"),
    pytest.param(found(DISK, condition=SERVING), 0, 4, "relieve-disk:/var/log",
                 id="a critical disk under a service that answers"),
    pytest.param(found(DISK._replace(cause="disk.readonly"), own("crashed")), 0, 4, START,
                 id="a read-only disk: one try, for it may not matter"),
    pytest.param(found(MEMORY, own("crashed")), 0, 4, "relieve-memory:memory " + START,
                 id="no memory: relief, then start"),
    pytest.param(found(own("oom")), 0, 4, "relieve-memory:memory " + START, id="killed for memory: relief, then start"),
    pytest.param(found(MEMORY, own("oom")), 0, 4, "relieve-memory:memory " + START, id="relieved once, not twice"),
    pytest.param(found(own("oom", UNRESPONSIVE), condition=RUNNING), 0, 4, "relieve-memory:memory " + KILL,
                 id="hung since a kill for memory"),
    pytest.param(found(own("hung", UNRESPONSIVE), condition=RUNNING), 0, 1, KILL, id="hung: kill, then restart"),
    pytest.param(found(own("hung", FROZEN), condition=RUNNING), 0, 1, "thaw:gateway", id="frozen: thaw"),
    pytest.param(found(own("hung", FROZEN), condition=RUNNING), 1, 2, "clean:gateway thaw:gateway " + KILL,
                 id="frozen, and thawing did not help: thaw, kill, restart"),
    pytest.param(found(own("http-error", ACTIVE), condition=RUNNING), 0, 1, RESTART,
                 id="an HTTP error, twice: restart"),
    pytest.param(found(own("slow"), condition=SERVING), 0, 1, RESTART, id="slow, twice: one restart"),
    pytest.param(found(ollama("down"), own("slow"), condition=SERVING), 0, 3,
                 "reset-failed:ollama start:ollama wait-ready:ollama", id="slow for want of a dependency: repair that"),
]


@pytest.mark.parametrize("finding, level, next_level, steps", ATTEMPTS)
def test_attempt(finding, level, next_level, steps):
    planned = decide(finding, dict(level=level, tries=1 if level else 0, **OPEN))
    assert (planned.verdict, planned.level, steps_of(planned)) == ("act", next_level, steps)
    assert planned.counts and not planned.veto and planned.gives_up_in > 0
    assert all(step.because and step.seconds == PATIENCE[step.do] for step in planned.steps)


# Nothing is done: (finding, history, verdict, steps, words of the veto)
NO_ATTEMPT = [
    pytest.param(found(), dict(), "healthy", "", "", id="healthy"),
    pytest.param(found(REMARK._replace(cause=""), REMARK, condition=SERVING), dict(), "healthy", "", "",
                 id="a remark is no reason to act"),
    pytest.param(found(), dict(**OPEN), "healthy", "resolve:20261123T180000-1", "",
                 id="well again: the incident is over"),
    pytest.param(found(), dict(escalated=0.0, maintenance="disk swap", **OPEN), "healthy",
                 "resolve:20261123T180000-1", "", id="well again during maintenance, which mutes no message"),
    pytest.param(found(since=2.0), dict(**OPEN), "waiting", "", "", id="up for 2 s proves nothing yet"),
    pytest.param(found(since=400.0), dict(relapsed=True, healthy_for=400.0, **OPEN), "waiting", "", "",
                 id="what failed again has to last for 10 minutes"),
    pytest.param(found(since=900.0), dict(relapsed=True, healthy_for=5.0, **OPEN), "waiting", "", "",
                 id="... also where no restart shows how long it is well"),
    pytest.param(found(since=601.0), dict(relapsed=True, healthy_for=601.0, **OPEN), "healthy",
                 "resolve:20261123T180000-1", "", id="... and then its incident is over"),
    pytest.param(found(own("crashed")), dict(maintenance="disk swap", **OPEN), "stood-down", "escalate:gateway",
                 "maintenance", id="maintenance: an alert is sent for what would be treated"),
    pytest.param(found(own("crashed")), dict(maintenance="disk swap", escalated=0.0, **OPEN), "stood-down", "",
                 "maintenance", id="... once"),
    pytest.param(found(PID_1), dict(maintenance="disk swap"), "stood-down", "escalate:gateway", "maintenance",
                 id="maintenance, systemd silent"),
    pytest.param(found(ollama("stopped-by-operator")), dict(maintenance="disk swap"), "stood-down", "",
                 "maintenance", id="maintenance, and an operator stopped what it needs"),
    pytest.param(found(own("crashed", PASSING), condition=RESTARTING), dict(maintenance="disk swap"), "stood-down",
                 "", "maintenance", id="maintenance, and systemd is restarting it"),
    pytest.param(found(own("stopped-by-operator")), dict(), "stood-down", "", "operator has stopped",
                 id="an operator stopped it"),
    pytest.param(found(own("stopped-by-operator"), ollama("down"), DISK), dict(**OPEN), "stood-down", "",
                 "operator has stopped", id="an operator stopped it, and much else is wrong"),
    pytest.param(found(redis("stopped-by-operator"), own("stopped-with-dependency")), dict(**OPEN), "stood-down", "",
                 "would also start that dependency", id="an operator stopped what it needs"),
    pytest.param(found(ollama("down"), redis("stopped-by-operator"), own("crashed")), dict(**OPEN), "stood-down", "",
                 "would also start that dependency",
                 id="one dependency is down, an operator stopped the other: Requires= would start both"),
    pytest.param(found(PID_1, condition=UNKNOWN), dict(), "escalated", "escalate:gateway", "without systemd",
                 id="systemd silent: send an alert, ask it nothing"),
    pytest.param(found(own("crashed", PASSING), condition=RESTARTING), dict(), "waiting", "", "still restarting",
                 id="systemd is restarting it"),
    pytest.param(found(own("oom", PASSING), condition=RESTARTING), dict(), "waiting", "", "still restarting",
                 id="systemd is restarting it after a kill for memory"),
    pytest.param(found(CONFIG, own("crashed", PASSING), condition=RESTARTING), dict(), "waiting", "",
                 "still restarting", id="systemd has not given up on wrong settings yet"),
    pytest.param(found(condition=STARTING), dict(), "waiting", "", "starting", id="starting"),
    pytest.param(found(condition=STOPPING), dict(), "waiting", "", "stopping", id="stopping"),
    pytest.param(found(redis("loading", PASSING), own("stopped-with-dependency")), dict(**OPEN), "waiting", "",
                 "a restart would only delay", id="redis loads its data"),
    pytest.param(found(ollama("down", PASSING), condition=SERVING), dict(), "waiting", "", "ready by itself",
                 id="systemd is restarting Ollama"),
    pytest.param(found(ollama("down", PASSING), own("crashed")), dict(open_for=239.0, incident="i", seen=9),
                 "waiting", "", "ready by itself", id="a dependency that systemd restarts"),
    pytest.param(found(ollama("down", PASSING), own("crashed")), dict(open_for=241.0, incident="i", seen=9),
                 "escalated", "escalate:gateway", "without success",
                 id="a dependency that systemd restarts in circles"),
    pytest.param(found(own("crashed", PASSING), condition=RESTARTING), dict(open_for=241.0, incident="i", seen=1,
                                                                               relapsed=True),
                 "escalated", "escalate:gateway", "without success", id="it crashes and comes back, over and over"),
    pytest.param(found(redis("loading", PASSING), own("crashed")), dict(open_for=1801.0, incident="i", seen=9),
                 "escalated", "escalate:gateway", "only delay",
                 id="it has been loading for a whole window: an alert is sent"),
    pytest.param(found(redis("loading", PASSING), own("crashed")), dict(open_for=1801.0, incident="i", seen=9,
                                                                           escalated=1.0),
                 "waiting", "", "only delay", id="... once"),
    pytest.param(found(CONFIG, own("crashed")), dict(**OPEN), "escalated", "escalate:gateway", "would read the same",
                 id="wrong settings"),
    pytest.param(found(UNIT_FILE, own("crashed")), dict(**OPEN), "escalated", "escalate:gateway",
                 "cannot load",
                 id="a unit that cannot be loaded"),
    pytest.param(found(PORT, own("crashed")), dict(**OPEN), "escalated", "escalate:gateway", "never kills",
                 id="another process on the port"),
    pytest.param(found(redis("missing"), own("crashed")), dict(**OPEN), "escalated", "escalate:gateway",
                 "cannot start without", id="a dependency that does not exist"),
    pytest.param(found(PORT, own("crashed")), dict(escalated=9999.0, **OPEN), "escalated", "",
                 "never kills", id="a veto holds after the alert, however long ago, and is not told twice"),
    pytest.param(found(own("slow"), condition=SERVING), dict(seen=1), "waiting", "", "not yet confirmed",
                 id="slow once"),
    pytest.param(found(own("http-error", ACTIVE), condition=RUNNING), dict(seen=1), "waiting", "",
                 "not yet confirmed", id="an HTTP error once"),
    pytest.param(found(ollama("hung", UNRESPONSIVE), condition=SERVING), dict(seen=1), "waiting", "",
                 "not yet confirmed", id="a dependency silent once, under a gateway that answers"),
    pytest.param(found(own("slow"), condition=SERVING), dict(level=1, tries=1, **OPEN), "escalated",
                 "escalate:gateway", "only add an outage", id="slow again after a restart"),
    pytest.param(found(own("crashed")), dict(attempts=(2.0,), level=1, tries=1, **OPEN), "waiting", "", "",
                 id="RestartSec between two attempts"),
    pytest.param(found(own("crashed")), dict(level=4, tries=1, attempts=(60.0,), **OPEN), "escalated",
                 "escalate:gateway", "", id="the ladder has ended"),
    pytest.param(found(own("crashed")), dict(attempts=(100.0, 200.0, 300.0, 1700.0), **OPEN), "escalated",
                 "escalate:gateway", "budget", id="the budget of the window is spent"),
    pytest.param(found(ollama("down"), own("crashed")), dict(attempts=(100.0, 200.0, 300.0, 400.0), **OPEN),
                 "escalated", "escalate:gateway", "budget", id="dependencies' repairs are no exception"),
    pytest.param(found(own("crashed")), dict(lost=10.0, **OPEN), "escalated", "escalate:gateway", "budget",
                 id="a lost record counts as spent"),
    pytest.param(found(own("crashed")), dict(lost=1000.0, attempts=(50.0,), **OPEN), "escalated",
                 "escalate:gateway", "budget", id="and leaves one attempt a window"),
    pytest.param(found(own("crashed")), dict(escalated=299.0, level=4, **OPEN), "escalated",
                 "", "", id="after the alert, 5 min pass first"),
    pytest.param(found(own("crashed")), dict(escalated=599.0, level=4, retries=1,
                                                **OPEN), "escalated", "", "", id="then 10 min"),
    pytest.param(found(own("crashed")), dict(escalated=400.0, level=4, attempts=(
        400.0, 500.0, 600.0, 700.0), **OPEN), "escalated", "", "budget",
                 id="after the alert, the budget holds as well"),
]


@pytest.mark.parametrize("finding, known, verdict, steps, veto", NO_ATTEMPT)
def test_noop(finding, known, verdict, steps, veto):
    planned = decide(finding, known)
    assert (planned.verdict, steps_of(planned)) == (verdict, steps)
    assert veto in planned.veto and bool(veto) == bool(planned.veto)
    assert not planned.counts and planned.because
    assert planned.next_in is None or planned.next_in > 0


DUE = [
    pytest.param(dict(escalated=1.0, **OPEN), 0.0,
                 id="an alert that no attempt came before delays none"),
    pytest.param(dict(escalated=300.0, level=4, **OPEN), 0.0, id="5 min after the alert"),
    pytest.param(dict(escalated=1200.0, level=4, retries=2, **OPEN), 0.0,
                 id="20 min after the second try"),
    pytest.param(dict(escalated=3600.0, level=4, retries=99, **OPEN), 0.0,
                 id="each hour for ever"),
    pytest.param(dict(escalated=330.0, level=4, **OPEN), 0.999, id="with the jitter on top"),
    pytest.param(dict(lost=901.0, **OPEN), 0.0, id="half a window after a loss"),
    pytest.param(dict(lost=1800.0, attempts=(1000.0, 1100.0, 1200.0), **OPEN), 0.0,
                 id="a loss a window ago is past"),
    pytest.param(dict(attempts=(100.0, 200.0, 300.0, 1800.0), **OPEN), 0.0, id="an attempt a window ago is past"),
    pytest.param(dict(attempts=(5.0,), level=1, tries=1, **OPEN), 0.0, id="RestartSec after the last attempt"),
]


@pytest.mark.parametrize("known, dice", DUE)
def test_due(known, dice):
    assert decide(found(own("crashed")), known, dice=dice).verdict == "act"


def test_who_needs_a_hung_dependency_does_not_wait_a_minute_for_the_second_look():
    assert decide(found(ollama("hung", UNRESPONSIVE), condition=SERVING), dict(seen=1)).next_in == 5
    assert decide(found(own("slow"), condition=SERVING), dict(seen=1)).next_in == 60


def test_a_gateway_that_is_down_with_it_does_not_wait_for_a_second_look_at_ollama():
    assert decide(found(ollama("hung", UNRESPONSIVE), own("stopped-with-dependency")), dict(seen=1)).verdict == "act"


def test_what_is_waited_for_is_given_up_in_the_end():
    coming = found(own("crashed", PASSING), condition=RESTARTING)
    assert decide(coming, dict(open_for=40.0, incident="i")).gives_up_in == 200.0
    assert decide(coming, dict(open_for=400.0, incident="i", escalated=0.0)).gives_up_in is None
    assert decide(found(CONFIG), dict(**OPEN)).gives_up_in == 0.0


def test_jitter_makes_a_pause_longer_never_shorter():
    known = dict(escalated=0.0, level=4, **OPEN)
    waits = [decide(found(own("crashed")), known, dice=dice).next_in for dice in (0.0, 0.5, 0.999)]
    assert waits[0] == 300.0 and waits[1] == 315.0 and 329.0 < waits[2] < 330.0


@pytest.mark.parametrize("known", [
    pytest.param(dict(attempts=(100.0, 200.0, 300.0, 1700.0)), id="until an attempt is a window ago"),
    pytest.param(dict(lost=10.0), id="until a loss is half a window ago"),
    pytest.param(dict(lost=1000.0, attempts=(50.0,)), id="until a loss is a window ago"),
    pytest.param(dict(escalated=20.0, level=4), id="until the pause is over"),
])
def test_the_wait_that_is_foretold_is_the_wait(known):
    def after(seconds):
        aged = {key: tuple(age + seconds for age in value) if key == "attempts" else value + seconds
                for key, value in dict(known, open_for=60.0).items() if key != "level"}
        return decide(found(own("crashed")), dict(dict(known, **OPEN), **aged))
    wait = after(0).next_in
    assert (after(wait - 1).verdict, after(wait).verdict) == ("escalated", "act")


@pytest.mark.parametrize("cause, verdict", [
    pytest.param("dependency.ollama.down", "act", id="what the alert was about is fixed"),
    pytest.param("dependency.redis.down", "escalated", id="it is not"),
    pytest.param("gateway.crash-loop", "escalated", id="another symptom does not make it fixed"),
])
def test_no_pause_once_what_the_alert_was_about_is_fixed(cause, verdict):
    known = dict(escalated=20.0, level=3, escalated_for=cause, **OPEN)
    assert decide(found(own("crash-loop"), redis("down")), known).verdict == verdict


def test_relief_while_systemd_restarts_it_is_no_try_of_the_level():
    """Else a start limit that is hit a moment later would end the ladder without a start of ours."""
    planned = decide(found(DISK, own("crashed", PASSING), condition=RESTARTING), dict(**OPEN))
    assert steps_of(planned) == "relieve-disk:/var/log" and planned.counts and planned.level == 0
    after = decide(found(own("crash-loop")), dict(attempts=(6.0,), **OPEN))
    assert after.verdict == "act" and "start:gateway" in steps_of(after)


def test_a_dependency_that_others_had_treated_is_left_alone():
    """Three services that share Ollama have a budget each; Ollama has one."""
    case = found(ollama("down"), own("stopped-with-dependency"))
    assert "start:ollama" in steps_of(decide(case, dict(treated={OLLAMA: 3}, **OPEN)))
    planned = decide(case, dict(treated={OLLAMA: 4}, **OPEN))
    assert steps_of(planned) == "wait-ready:ollama " + START
    assert "treated 4 times in 30 min" in planned.steps[0].because


def test_a_level_may_be_tried_more_than_once():
    settings = parse("[recovery]\nattempts = 20\nattempts_per_level = 2\n", "citadel.conf")
    levels = [decide(found(own("crashed")), dict(level=level, tries=tries, **OPEN), settings).level
             for level, tries in ((0, 0), (1, 1), (1, 2), (2, 1), (4, 1))]
    assert levels == [1, 1, 2, 2, 4]
    assert decide(found(own("crashed")), dict(level=4, tries=2, **OPEN), settings).verdict == "escalated"


def test_a_budget_of_one_is_one_and_none_after_a_loss():
    settings = parse("[recovery]\nattempts = 1\n", "citadel.conf")
    verdicts = [decide(found(own("crashed")), known, settings).verdict for known in (
        dict(**OPEN), dict(attempts=(9.0,), **OPEN), dict(lost=1700.0, **OPEN))]
    assert verdicts == ["act", "escalated", "escalated"]


def test_an_attempt_ends_within_the_ten_minutes_of_a_pass():
    worst = found(redis("refusing-writes", ACTIVE), ollama("hung", UNRESPONSIVE), MEMORY, own("hung", UNRESPONSIVE),
                  condition=RUNNING)
    planned = decide(worst, dict(level=3, tries=1, **OPEN))
    assert sum(step.seconds for step in planned.steps) + SETTINGS.recovery.verify_timeout <= 600


def test_it_says_how_long_until_it_gives_up():
    planned = [decide(found(own("crashed")), dict(level=level, tries=min(level, 1), attempts=(60.0,) * level, **OPEN))
               for level in range(4)]
    assert [one.gives_up_in for one in planned] == [660.0, 585.0, 390.0, 285.0]


def test_the_settings_are_the_limits():
    settings = parse("[recovery]\nattempts = 3\nwindow = 10min\nbackoff = 1min 2min\njitter = 50%\n", "x")
    spent = decide(found(own("crashed")), dict(attempts=(100.0, 200.0), **OPEN), settings)
    assert (spent.verdict, spent.next_in) == ("escalated", 400.0)
    pauses = [decide(found(own("crashed")), dict(escalated=0.0, level=4, retries=retries, **OPEN), settings, 0.5)
              for retries in (0, 1, 9)]
    assert [one.next_in for one in pauses] == [75.0, 150.0, 150.0]
