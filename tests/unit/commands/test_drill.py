from types import SimpleNamespace

import pytest
from calls import call

from citadel.commands import drill
from citadel.core.run import Answer
from citadel.model import Probe, Unit
from citadel.observe.moments import EXITED, FAILED, STARTED, Moment
from citadel.record.store import Store

WELL = Unit(name="x.service", main_pid=10, invocation="a", restart="always", restart_sec=5.0, start_burst=10,
            start_interval=1800.0, control_group="/system.slice/x.service")
OK = Probe(target="http://127.0.0.1:8002/health", outcome="ok", status=200)
SILENT = OK._replace(outcome="refused", detail="nothing listens")


@pytest.mark.parametrize("unit, probe, maintenance, starts, says, with_force", [
    pytest.param(WELL, OK, "", 1, "", "", id="a healthy service"),
    pytest.param(WELL, Probe(), "", 1, "", "", id="a service without a probe"),
    pytest.param(WELL._replace(load="not-found"), OK, "", 0, "not installed", "not installed", id="no such unit"),
    pytest.param(WELL._replace(load="masked"), OK, "", 0, "is masked", "is masked", id="masked"),
    pytest.param(WELL._replace(active="failed", sub="failed", main_pid=0), OK, "", 0, "is down (failed, failed)",
                 "is down", id="down"),
    pytest.param(WELL._replace(active="activating", sub="auto-restart", main_pid=0), OK, "", 0, "is down", "is down",
                 id="systemd is restarting it"),
    pytest.param(WELL, SILENT, "", 0, "does not answer (nothing listens)", "does not answer", id="it does not answer"),
    pytest.param(WELL._replace(restart="no"), OK, "", 0, "Restart=no", "Restart=no", id="systemd would leave it down"),
    pytest.param(WELL._replace(restart="on-success"), OK, "", 0, "Restart=on-success", "Restart=on-success",
                 id="a kill is no success"),
    pytest.param(WELL._replace(restart="on-failure"), OK, "", 0, "", "", id="a kill is a failure"),
    pytest.param(WELL._replace(job="77"), OK, "", 0, "a job queued", "a job queued", id="something is under way"),
    pytest.param(WELL, OK, "until 18:00, upgrade", 0, "in maintenance (until 18:00, upgrade)", "", id="maintenance"),
    pytest.param(WELL, OK, "", 8, "", "", id="two starts are left"),
    pytest.param(WELL, OK, "", 9, "had 9 starts in the last 30 min", "", id="one start is left"),
    pytest.param(WELL._replace(start_interval=0.0), OK, "", 99, "", "", id="no start limit"),
    pytest.param(WELL._replace(start_burst=None, start_interval=None), OK, "", 99, "", "", id="an unknown one"),
])
def test_refusal(unit, probe, maintenance, starts, says, with_force):
    for force, expected in ((False, says), (True, with_force)):
        got = drill.refusal(unit, probe, maintenance, starts, force)
        assert expected in got if expected else got == ""


def moment(kind, run):
    return Moment(1.0, kind, run, "")


@pytest.mark.parametrize("moments, count", [
    pytest.param([], 0, id="silence"),
    pytest.param([moment(STARTED, "a"), moment(EXITED, "a"), moment(FAILED, "a"), moment(STARTED, "b")], 2,
                 id="a run that failed later was one start"),
    pytest.param([moment(FAILED, "a"), moment(FAILED, "b"), moment(STARTED, "c")], 3,
                 id="starts that failed in ExecStartPre= count"),
    pytest.param([moment(EXITED, "a"), moment(FAILED, "a"), moment(STARTED, "b")], 1,
                 id="a run from before the interval that ended within it does not"),
])
def test_starts(moments, count):
    assert drill.starts(moments) == count


class Systemd:
    """A service whose states are told by a script: (seconds after the kill, Unit); the kill is a program that runs."""

    def __init__(self, script, answers_from=5.5, code=0):
        self.time, self.killed, self.script, self.answers_from, self.code = 0.0, None, script, answers_from, code
        self.ran, self.told = [], []
        self.options, self.service = SimpleNamespace(json=False), SimpleNamespace(start_timeout=30)
        self.say, self.paint = self.told.append, lambda text, how: text

    def run(self, argv, timeout, **_):
        self.ran.append(argv)
        self.killed = self.time
        return Answer(tuple(argv), self.code, "", "Input/output error" if self.code else "", 0.0, False)

    def look(self):
        since = -1.0 if self.killed is None else self.time - self.killed
        return ([WELL] + [unit for after, unit in self.script if after <= since])[-1]

    def ask(self):
        return OK if self.killed is not None and self.time - self.killed >= self.answers_from else SILENT

    def monotonic(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    def drill(self):
        return drill.Drill(self, WELL)


DEAD = WELL._replace(active="activating", sub="auto-restart", main_pid=0)
BACK = WELL._replace(main_pid=20, invocation="b", restarts=1)


def test_a_drill_that_succeeds():
    systemd = Systemd([(0.01, DEAD), (5.2, BACK)])
    result = systemd.drill().perform()
    assert (result.ok, result.old_pid, result.new_pid, result.new_restarts) == (True, 10, 20, 1)
    assert 5.5 <= result.downtime < 5.7
    assert all(line.startswith("ok  ") for line in systemd.told)
    assert [line[16:].partition(":")[0].split(",")[0] for line in systemd.told] == [
        "killed the main process", "systemd noticed", "active again", "NRestarts grew from 0 to 1",
        "the health probe answers (http"]
    assert systemd.ran == [["systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", "--", "x.service"]]


@pytest.mark.parametrize("script, answers_from, why", [
    pytest.param([], 0, "systemd did not notice that PID 10 died within 10 s", id="the process did not die"),
    pytest.param([(0, DEAD)], 0, "systemd did not restart it within 40 s: it is activating (auto-restart)",
                 id="systemd never restarts it"),
    pytest.param([(0, DEAD), (1, DEAD._replace(active="failed", sub="failed", result="start-limit-hit"))], 0,
                 "systemd did not restart it: it is failed, result start-limit-hit", id="systemd gives up"),
    pytest.param([(0, DEAD), (5, BACK._replace(restarts=0))], 0, "systemd did not count this restart as its own",
                 id="something else started it"),
    pytest.param([(0, DEAD), (5, BACK)], 1e9, "the health probe did not answer within 30 s: nothing listens",
                 id="it runs and does not answer"),
    pytest.param([(0, DEAD), (5, BACK), (5.8, DEAD), (11, BACK._replace(invocation="c", main_pid=30))], 6,
                 "it answered and then ended again", id="it answers and dies"),
])
def test_a_drill_that_fails(script, answers_from, why):
    systemd = Systemd(script, answers_from)
    result = systemd.drill().perform()
    assert why in result.why and not result.ok and result.downtime is None
    assert systemd.told[-1].startswith("FAIL") and not result.steps[-1]["ok"]


def test_a_kill_that_systemd_cannot_do_is_not_done_to_another_process():
    systemd = Systemd([], code=1)
    result = systemd.drill().perform()
    assert "PID 10 is not in /system.slice/x.service any more" in result.why


def test_the_first_line_says_how_much_of_the_start_limit_is_used(tmp_path):
    shown = {"Id": "x.service", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": "10",
             "NRestarts": "2", "Restart": "always", "StartLimitBurst": "10", "StartLimitIntervalUSec": "30min"}

    def run(argv, timeout, **_):
        text = "".join("%s=%s\n" % one for one in shown.items()) if argv[1] == "show" else ""
        return Answer(tuple(argv), int(argv[1] == "kill"), text, "", 0.0, False)

    (tmp_path / "citadel.conf").write_text("[service x.service]\nhealth =\ndepends =\n")
    (tmp_path / "citadel.conf").chmod(0o644)
    made, out = call(["--config", str(tmp_path / "citadel.conf"), "test-restart"], is_root=True, run=run,
                     store=Store(str(tmp_path / "state"), fallback=str(tmp_path / "run")))
    assert made.perform() == 1
    assert out.getvalue().splitlines()[0] == (
        "x.service: PID 10, NRestarts 2, 0 starts of at most 10 in its start-limit interval")
