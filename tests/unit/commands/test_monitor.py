import pytest

from citadel.commands import monitor
from citadel.commands.monitor import Look, Timeline
from citadel.core.errors import CannotLook
from citadel.model import Unit
from citadel.observe.moments import ENDED, EXITED, FAILED, SCHEDULED, STARTED, Moment


def unit(active="active", sub="running", run="a", restarts=0, pid=10, change=0.0, enter=0.0, left=0.0):
    return Unit(name="x.service", active=active, sub=sub, invocation=run, restarts=restarts, main_pid=pid,
                state_change=change, active_enter=enter, active_exit=left)


def look(time, answering=None, **of_unit):
    return Look(time, unit(**of_unit), answering, "" if answering is not False else "refused")


UP = look(100.0, change=50.0, enter=50.0)
DYING = dict(active="activating", sub="auto-restart", pid=0, change=101.0, enter=50.0, left=101.0)
BACK = dict(run="b", restarts=1, pid=20, change=106.0, enter=106.0, left=101.0)

TABLE = [
    pytest.param([(UP, ()), (look(160.0, change=50.0, enter=50.0), ())], (0, 0, 0.0, 100.0, True),
                 id="nothing happened"),
    pytest.param([(UP, ()), (look(101.2, **DYING), ()), (look(106.1, **BACK), ()), (look(160.0, **BACK), ())],
                 (1, 1, 5.0, 91.666667, True), id="a restart seen in two looks is one, by systemd's stamps"),
    pytest.param([(UP, ()), (look(160.0, **BACK), ())], (1, 1, 5.0, 91.666667, True),
                 id="a whole restart between two looks"),
    pytest.param([(UP, ()), (look(101.2, **DYING), ()),
                  (look(105.9, **dict(DYING, restarts=1)), ()), (look(106.1, **BACK), ()), (look(160.0, **BACK), ())],
                 (1, 1, 5.0, 91.666667, True), id="NRestarts that grows a look before the run begins is one restart"),
    pytest.param([(UP, ()),
                  (look(160.0, **dict(BACK, run="c", restarts=2, pid=30, change=110.0, enter=110.0, left=109.0)),
                   (Moment(101.0, EXITED, "a", "exited"), Moment(101.1, FAILED, "a", "failed"),
                    Moment(103.0, SCHEDULED, "a", "scheduled"), Moment(103.0, STARTED, "b", "started"),
                    Moment(109.0, EXITED, "b", "exited"), Moment(110.0, STARTED, "c", "started")))],
                 (2, 2, 3.0, 95.0, True), id="two restarts between two looks are two, each with its own time"),
    pytest.param([(UP, ()),
                  (look(160.0, **dict(BACK, run="c", restarts=2, pid=30, change=110.0, enter=110.0, left=109.0)),
                   (Moment(101.0, ENDED, "a", "ended"), Moment(103.0, STARTED, "b", "started"),
                    Moment(109.0, ENDED, "b", "ended"), Moment(110.0, STARTED, "c", "started")))],
                 (2, 2, 3.0, 95.0, True), id="two runs that ended well between two looks"),
    pytest.param([(UP, ()), (look(160.0, **dict(BACK, run="c", restarts=2)), ())], (2, 1, 5.0, 91.666667, True),
                 id="with journald stopped NRestarts still counts them"),
    pytest.param([(UP, ()), (look(160.0, **dict(BACK, restarts=0)), ())], (1, 1, 5.0, 91.666667, True),
                 id="a restart by hand has no NRestarts, but another run"),
    pytest.param([(UP, ()), (look(130.0, **BACK), ()),
                  (look(160.0, run="c", restarts=0, pid=30, change=140.0, enter=140.0, left=139.0), ())],
                 (2, 2, 6.0, 90.0, True), id="one by systemd, then one by hand"),
    pytest.param([(UP, ()),
                  (look(160.0, run="d", restarts=0, pid=30, change=110.0, enter=110.0, left=109.0),
                   (Moment(101.0, EXITED, "a", "exited"), Moment(103.0, STARTED, "b", "started"),
                    Moment(105.0, EXITED, "b", "exited"), Moment(106.0, STARTED, "c", "started"),
                    Moment(109.0, ENDED, "c", "ended"), Moment(110.0, STARTED, "d", "started")))],
                 (3, 3, 4.0, 93.333333, True), id="two by systemd and one by hand, which set NRestarts back"),
    pytest.param([(UP, ()), (look(101.2, **DYING), (Moment(101.0, EXITED, "a", "exited"),)),
                  (look(106.1, **BACK), (Moment(106.0, STARTED, "b", "started"),)), (look(160.0, **BACK), ())],
                 (1, 1, 5.0, 91.666667, True), id="looks and journal that tell the same do not add up"),
    pytest.param([(UP, ()), (look(130.0, **BACK), ()),
                  (look(130.5, **BACK), (Moment(101.0, EXITED, "a", "exited"), Moment(106.0, STARTED, "b", "started"))),
                  (look(160.0, **BACK), ())],
                 (1, 1, 5.0, 91.666667, True), id="a journal that is late begins no second outage"),
    pytest.param([(look(100.0, True, change=50.0, enter=50.0), ()),
                  (look(101.001, True, change=50.0, enter=50.0), (Moment(101.0, EXITED, "a", "exited"),)),
                  (look(101.2, **DYING), ()), (look(106.0, True, **BACK), ()), (look(160.0, True, **BACK), ())],
                 (1, 1, 5.0, 91.666667, True), id="a look that was overtaken by the end of its run ends no outage"),
    pytest.param([(look(100.0, active="inactive", sub="dead", pid=0, change=50.0, left=50.0), ()),
                  (look(160.0, active="inactive", sub="dead", pid=0, change=50.0, left=50.0), ())],
                 (0, 1, 60.0, 0.0, False), id="down all the time, counted from when we began to watch"),
    pytest.param([(look(100.0, True, change=50.0, enter=50.0), ()), (look(110.0, False, change=50.0, enter=50.0), ()),
                  (look(130.0, True, change=50.0, enter=50.0), ()), (look(160.0, True, change=50.0, enter=50.0), ())],
                 (0, 1, 20.0, 66.666667, True), id="active but not answering is an outage without a restart"),
    pytest.param([(look(100.0, True, change=50.0, enter=50.0), ()), (look(106.1, False, **BACK), ()),
                  (look(107.0, True, **BACK), ()), (look(160.0, True, **BACK), ())],
                 (1, 1, 6.0, 90.0, True), id="with a probe the outage ends at the first good answer"),
    pytest.param([(look(100.0, True, change=50.0, enter=50.0), ()), (look(107.0, True, **BACK), ()),
                  (look(160.0, True, **BACK), ())],
                 (1, 1, 6.0, 90.0, True), id="and begins when systemd saw it end, also between two looks"),
    pytest.param([(UP, ()), (look(160.0, active="reloading", sub="reload", change=120.0, enter=50.0), ())],
                 (0, 0, 0.0, 100.0, True), id="reloading is up"),
]


@pytest.mark.parametrize("fed, expected", TABLE)
def test_timeline(fed, expected):
    timeline = Timeline(fed[0][0])
    for seen, moments in fed[1:]:
        timeline.feed(seen, moments)
    summary = timeline.summary(160.0)
    assert (summary.restarts, summary.outages, round(summary.downtime, 6), round(summary.availability, 6),
            summary.up) == expected


def test_each_change_is_told_once_in_the_order_of_time():
    timeline = Timeline(UP)
    told = timeline.feed(look(101.2, **DYING), [Moment(101.1, EXITED, "a", "Main process exited")])
    told += timeline.feed(look(106.1, **BACK), [Moment(106.0, STARTED, "b", "Started x")])
    told += timeline.feed(look(107.1, **BACK))
    assert [event.text for event in told] == [
        "activating (auto-restart)", "down", "Main process exited",
        "active (running), PID 20, NRestarts 1", "up again after 5 s"]
    assert [event.time for event in told] == sorted(event.time for event in told)


def test_the_longest_outage_and_one_that_lasts():
    timeline = Timeline(look(0.0, True))
    for time, answering in ((10.0, False), (12.0, True), (20.0, False), (29.0, True), (30.0, False)):
        timeline.feed(look(time, answering))
    summary = timeline.summary(33.0)
    assert (summary.outages, summary.longest, summary.downtime, summary.up) == (3, 9.0, 14.0, False)
    assert timeline.down_for(33.0) == 3.0
    assert monitor.sentence(summary) == ("57.576 % available in 33 s: 0 restarts, 3 outages, down for 14 s in all, the "
                                         "longest 9 s; it is down now")


class Stage:
    """A clock that moves when one pauses, and a unit as it is at each time."""

    def __init__(self, states, end=1e9):
        self.time, self.states, self.end, self.asked, self.read = 0.0, states, end, 0, 0

    def clock(self):
        return self.time

    def pause(self, seconds):
        self.time += seconds
        return self.time < self.end

    def look(self):
        self.asked += 1
        state = [one for since, one in self.states if since <= self.time][-1]
        if state is None:
            self.time += 10
            raise CannotLook("systemd does not answer")
        return Look(self.time, state, None, "")

    def journal(self):
        self.read += 1
        return ()


def watch(stage, seconds):
    told = []
    timeline = monitor.watch(seconds, stage.look, stage.journal, stage.clock, stage.pause, told.append)
    return timeline.summary(stage.time), [event.text for event in told]


def test_watch_ends_when_the_time_is_over():
    stage = Stage([(0.0, unit())])
    summary, told = watch(stage, 60)
    assert (summary.watched, summary.availability, told) == (60.0, 100.0, ["active (running), PID 10"])
    assert 110 < stage.asked < 140, "half a second between looks at a quiet service"
    assert stage.read < 20, "the journal of a quiet service is left alone"


def test_watch_ends_when_asked_to():
    summary, _ = watch(Stage([(0.0, unit())], end=12.0), 60)
    assert 12.0 <= summary.watched < 12.6


def test_watch_looks_closely_while_something_goes_on():
    stage = Stage([(0.0, unit()), (10.0, unit(**dict(DYING, change=10.0, enter=0.0, left=10.0))),
                   (15.0, unit(**dict(BACK, change=15.0, enter=15.0, left=10.0)))])
    summary, told = watch(stage, 20)
    assert (summary.restarts, summary.downtime) == (1, 5.0)
    assert stage.asked > 60
    assert told[-1] == "up again after 5 s"


def test_watch_survives_a_systemd_that_does_not_answer_for_a_while():
    stage = Stage([(0.0, unit()), (10.0, None), (25.0, unit())])
    summary, told = watch(stage, 60)
    assert told == ["active (running), PID 10", "systemd does not answer", "systemd answers again"]
    assert (summary.blind, summary.restarts, summary.availability) == (20.0, 0, 100.0)
    assert "did not answer for 20 s" in monitor.sentence(summary)


def test_watch_does_not_begin_blind():
    with pytest.raises(CannotLook):
        watch(Stage([(0.0, None)]), 60)
