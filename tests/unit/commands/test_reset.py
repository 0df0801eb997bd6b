import pytest
from calls import call

from citadel.core.errors import CannotLook, CitadelError
from citadel.core.run import TIMED_OUT, Answer
from citadel.record.store import Store

UNIT = "citadel-gateway.service"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "state"), fallback=str(tmp_path / "run"))


def reset(store, tmp_path, answer=0, **unit):
    """(the Call, its output) of a reset of such a unit; systemctl reset-failed exits with `answer`."""
    shown = dict({"Id": UNIT, "LoadState": "loaded", "ActiveState": "active", "NRestarts": "0"}, **unit)

    def run(argv, timeout, **_):
        if argv[1] == "show":
            return Answer(tuple(argv), 0, "".join("%s=%s\n" % one for one in shown.items()), "", 0.0, False)
        assert argv == ["systemctl", "reset-failed", "--", UNIT]
        return Answer(tuple(argv), answer, "", "Unit is not loaded" if answer else "", 10.0, False)

    settings = tmp_path / "citadel.conf"
    settings.write_text("")
    settings.chmod(0o644)
    return call(["--config", str(settings), "reset"], is_root=True, run=run, store=store)


def test_it_says_what_it_cleared(store, tmp_path):
    with store.lock("check"):
        for unit in (UNIT, UNIT, "redis.service"):
            store.of(unit).count_attempt("start", window=300)
        store.of(UNIT).open_incident("gateway.crashed", "it exited 3")
        store.of(UNIT).mark_escalated("gateway.crashed")
    made, out = reset(store, tmp_path, ActiveState="failed", Result="exit-code", NRestarts="3")
    assert made.perform() == 0
    assert out.getvalue() == (
        UNIT + ": cleared the failed state (result exit-code), NRestarts, which was 3, systemd's start counter, "
        "2 counted recovery attempts, the wait after the last alert\n")
    assert not store.of(UNIT).history().attempts and not store.of("redis.service").history().attempts
    assert store.intent.since_reset(UNIT) is not None


@pytest.mark.parametrize("answer, error, says", [
    pytest.param(1, CitadelError, "systemd's counters were not cleared: systemctl exited 1: Unit is not loaded",
                 id="systemd refuses"),
    pytest.param(TIMED_OUT, CannotLook, "systemd does not answer: systemctl did not answer within 10 s",
                 id="systemd is silent"),
])
def test_what_systemd_did_not_clear(store, tmp_path, answer, error, says):
    made, _ = reset(store, tmp_path, answer)
    with pytest.raises(error) as caught:
        made.perform()
    assert str(caught.value) == says
    assert store.intent.since_reset(UNIT) is None, "its start counter stands as it was"


def test_a_unit_that_is_not_loaded_has_no_counters(store, tmp_path):
    made, out = reset(store, tmp_path, 1, LoadState="not-found", ActiveState="inactive")
    assert made.perform() == 0
    assert out.getvalue() == UNIT + ": cleared nothing; there was nothing to clear\n"
