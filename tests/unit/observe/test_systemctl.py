import pytest

from citadel.core.errors import CannotLook, UsageError
from citadel.core.run import TIMED_OUT, Answer
from citadel.observe import systemctl

SPANS = (
    pytest.param("5s", 5, id="seconds"),
    pytest.param("1min 30s", 90, id="two words"),
    pytest.param("1h 1min 500ms 7us", 3660.500007, id="hours and parts of seconds"),
    pytest.param("1w 2d", 777600, id="weeks and days"),
    pytest.param("1month", 2629800, id="a month is a twelfth of a year"),
    pytest.param("0", 0, id="nothing at all"),
    pytest.param("infinity", float("inf"), id="no limit"),
    pytest.param("", None, id="not told"),
    pytest.param("5", None, id="a number without a unit"),
    pytest.param("5 parsecs", None, id="no unit of time"),
    pytest.param("s", None, id="a unit without a number"),
)


@pytest.mark.parametrize("text, seconds", SPANS)
def test_a_time_span_of_systemd(text, seconds):
    assert systemctl.seconds(text) == seconds


def answering(out="", code=0):
    return lambda argv, timeout, **how: Answer(argv, code, out, "", 0.01, False)


CANNOT_LOOK = (
    pytest.param(systemctl.units, (["a.service"],), answering(code=1), id="show is refused"),
    pytest.param(systemctl.units, (["a.service"],), answering(code=TIMED_OUT), id="show is silent"),
    pytest.param(systemctl.units, (["a.service", "b.service"],), answering("Id=a.service\n"), id="a unit is missing"),
    pytest.param(systemctl.system_state, (), answering("offline\n", 1), id="there is no systemd"),
    pytest.param(systemctl.system_state, (), answering(code=1), id="it tells no state"),
    pytest.param(systemctl.system_state, (), answering("running\n", TIMED_OUT), id="it tells its state too late"),
    pytest.param(systemctl.job_types, (), answering(code=1), id="it tells no jobs"),
)


@pytest.mark.parametrize("question, words, run", CANNOT_LOOK)
def test_no_answer_is_never_an_empty_one(question, words, run):
    with pytest.raises(CannotLook):
        question(*words, run=run)


def test_what_is_no_unit_is_not_asked_for():
    with pytest.raises(UsageError):
        systemctl.show(["--all"], run=answering())


def test_a_property_that_is_told_twice_keeps_all_its_values():
    assert systemctl.parse_blocks("Id=a\nDropInPaths=x\nDropInPaths=y\n\nId=b\n") == [
        {"Id": "a", "DropInPaths": "x y"}, {"Id": "b"}]
