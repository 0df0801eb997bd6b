import os

import pytest

from citadel import model
from citadel.commands import check
from citadel.core.clock import Now
from citadel.core.errors import CannotLook
from citadel.model import Cause, Dependency, Facts, Finding, Host, Installed, Probe, Problem, Service, Unit
from citadel.record import notes
from citadel.record.directory import Directory
from citadel.record.store import Store
from citadel.settings import file as settings

UNIT = "citadel-gateway.service"
GOOD = Probe(target="http://127.0.0.1:8002/health", outcome="ok", status=200, seconds=0.012)
SILENT = GOOD._replace(outcome="refused")


def found(cause="", condition=model.SERVING, others=(), manner="", because="it is so"):
    return Finding(UNIT, cause, because, "", others, None, condition, True, manner)


@pytest.mark.parametrize("finding, probe, code", [
    pytest.param(found(), GOOD, 0, id="well"),
    pytest.param(found(others=(Cause("disk.full", "nearly", "/", False),)), GOOD, 1, id="a remark"),
    pytest.param(found(condition=model.STARTING), SILENT, 1, id="starting"),
    pytest.param(found("gateway.slow"), GOOD, 1, id="slow, but it answers"),
    pytest.param(found("gateway.crashed", model.RESTARTING, manner=model.PASSING), SILENT, 1,
                 id="systemd is restarting it"),
    pytest.param(found("gateway.crash-loop", model.RESTARTING, manner=model.PASSING), SILENT, 2,
                 id="systemd is restarting it again and again"),
    pytest.param(found("gateway.crashed", model.DOWN), SILENT, 2, id="down"),
    pytest.param(found("gateway.hung", model.RUNNING), SILENT, 2, id="hung"),
    pytest.param(found("gateway.stopped-by-operator", model.DOWN), SILENT, 1, id="an operator stopped it"),
    pytest.param(found("dependency.redis.down"), GOOD, 2, id="it answers, and a dependency is down"),
    pytest.param(found("dependency.redis.loading", manner=model.PASSING), GOOD, 1, id="a dependency is loading"),
    pytest.param(found("disk.full"), GOOD, 2, id="it answers, and the disk is about to stop it"),
    pytest.param(found("systemd.unresponsive", model.UNKNOWN), GOOD, 3, id="systemd is silent, the service is not"),
    pytest.param(found("systemd.unresponsive", model.UNKNOWN), SILENT, 2, id="systemd and the service are silent"),
])
def test_code(finding, probe, code):
    assert check.code_of(finding, Service(unit=Unit(name=UNIT), probe=probe)) == code


def facts(**of_unit):
    dependencies = (Dependency("redis", Unit(name="redis.service"), GOOD._replace(seconds=0.001)),
                    Dependency("my db", Unit(name="db.service"), SILENT))
    return Facts(Host(monotonic=1000.0), (Service(
        unit=Unit(name=UNIT, active_enter=100.0, **of_unit), probe=GOOD, slow_after=3.0, dependencies=dependencies),))


def checked(tmp_path, look, text="", **how):
    path = tmp_path / "citadel.conf"
    path.write_text(text)
    path.chmod(0o644)
    return check.check(str(path), look=look, **how)


def test_the_line_of_a_healthy_service(tmp_path):
    service = facts().services[0]
    healthy = facts()._replace(services=(service._replace(dependencies=service.dependencies[:1]),))
    code, line, _, _ = checked(tmp_path, lambda wanted: healthy)
    assert (code, line) == (0, "OK: citadel-gateway.service has been running for 15 min and answers in 12 ms | "
                               "response=0.012s;3;5;0 redis_response=0.001s;;5;0")


@pytest.mark.parametrize("look, text, how, says", [
    pytest.param(lambda wanted: facts(), "nonsense\n", {}, "citadel.conf:1:", id="our settings are wrong"),
    pytest.param(lambda wanted: facts(), "", {"service": "other.service"}, "--service other.service: not one of",
                 id="a service that is not in the settings"),
])
def test_unknown_when_we_cannot_look(tmp_path, look, text, how, says):
    code, line, _, findings = checked(tmp_path, look, text, **how)
    assert (code, findings) == (3, ()) and line.startswith("UNKNOWN: ") and says in line and "|" not in line


def test_unknown_when_observing_fails(tmp_path):
    def look(wanted):
        raise CannotLook("systemd does not answer")
    assert checked(tmp_path, look)[:2] == (3, "UNKNOWN: systemd does not answer")


def test_a_missing_settings_file_that_was_named(tmp_path):
    assert check.check(str(tmp_path / "none"))[0] == 3


def test_no_text_of_others_can_forge_perfdata_or_a_second_line():
    assert check.line(2, ["down: 'a|b=1\nOK: all is well'"], "response=1s") == (
        "CRITICAL: down: 'a/b=1 OK: all is well' | response=1s")


def test_perfdata_leaves_out_what_did_not_answer():
    assert check.perfdata(facts(), settings.parse("", "x")) == "response=0.012s;3;5;0 redis_response=0.001s;;5;0"


def test_the_gravest_service_leads(tmp_path):
    text = "[service citadel-gateway.service]\n[service b.service]\n"

    def look(wanted):
        return facts()._replace(services=(
            Service(unit=Unit(name=UNIT, active_enter=900.0), probe=GOOD),
            Service(unit=Unit(name="b.service", active="failed", sub="failed", result="exit-code", exec_code="exited",
                              exec_status=3, restart="always"))))
    code, line, _, _ = checked(tmp_path, look, text)
    assert code == 2 and line.startswith("CRITICAL: b.service ") and UNIT not in line.partition(" | ")[0]


def test_the_gravest_service_leads_and_the_others_follow(tmp_path):
    text = "[service citadel-gateway.service]\n[service b.service]\n[service c.service]\n"
    down = Unit(active="failed", sub="failed", result="exit-code", exec_code="exited", exec_status=3, restart="always")

    def look(wanted):
        return facts()._replace(services=(
            Service(unit=Unit(name=UNIT, active="activating", sub="start-pre"), probe=SILENT),
            Service(unit=down._replace(name="b.service")), Service(unit=Unit(name="c.service"))))
    code, line, _, _ = checked(tmp_path, look, text)
    assert code == 2 and line.startswith("CRITICAL: b.service ") and "; citadel-gateway.service is starting" in line
    assert "c.service" not in line, "what is well is not worth a word then"


def test_services_that_share_a_cause_are_both_named(tmp_path):
    text = "[service citadel-gateway.service]\n[service b.service]\n"
    redis = Dependency("redis", Unit(name="redis.service", active="failed", sub="failed", result="exit-code",
                                     exec_code="exited", exec_status=3), SILENT)
    well = facts().services[0]._replace(dependencies=(redis,))
    both = facts()._replace(services=(well, well._replace(unit=well.unit._replace(name="b.service"))))
    code, line, _, _ = checked(tmp_path, lambda wanted: both, text)
    assert code == 2 and line.startswith("CRITICAL: citadel-gateway.service, b.service: redis.service ")
    assert line.count("redis.service") == 1
    code, line, _, _ = checked(tmp_path, lambda wanted: both._replace(services=(well,)))
    assert line.startswith("CRITICAL: redis.service "), "with one service there is no doubt whose dependency it is"


def test_well_again_with_an_open_incident_calls_for_a_pass_and_sends_no_mail(tmp_path):
    state, service = str(tmp_path / "state"), facts().services[0]
    healthy = facts()._replace(services=(service._replace(dependencies=()),))
    Directory(state).write(notes.OPEN, ("20261123T180000-1 %s\n20261123T180000-2 b.service\n" % UNIT).encode())
    code, line, _, findings = checked(tmp_path, lambda wanted: healthy, state=state)
    assert code == 1 and line.startswith("WARNING: %s is well again, incident 20261123T180000-1 is still open" % UNIT)
    assert not check.news(findings, line, state=state)


NOW = Now(1000000.0, 5000.0, 5000.0, "b")


@pytest.mark.skipif(os.geteuid() != 0, reason="the note is root's")
@pytest.mark.parametrize("noted, installed, words", [
    pytest.param("4990.0", 0.0, "", id="ten seconds ago"),
    pytest.param("4600.0", 0.0, "has not been run for 6 min", id="not since"),
    pytest.param("", 0.0, "has not been run for 1 h", id="never since the boot"),
    pytest.param("", 999900.0, "", id="installed just now"),
    pytest.param("9000.0", 0.0, "has not been run for 1 h", id="not since the boot before this one"),
    pytest.param("4800", 2000000.0, "", id="the clock was stepped back since the installation"),
])
def test_the_scheduled_check_has_not_run(tmp_path, noted, installed, words):
    if noted:
        (tmp_path / check.HEARTBEAT).write_text(noted)
    told = " ".join(check.missed_checks(str(tmp_path), NOW, installed))
    assert words in told and bool(told) == bool(words)


def test_a_scheduled_check_notes_that_it_ran_and_any_other_reads_it(tmp_path):
    installed, service = Installed("cron", since=1.0), facts().services[0]
    healthy = Facts(Host(monotonic=1000.0, installed=installed, recovery=Unit(name="citadel-recovery.service")),
                    (service._replace(dependencies=()),))
    state = str(tmp_path)
    assert checked(tmp_path, lambda wanted: healthy, state=state, scheduled=True, now=lambda: NOW)[0] == 0
    assert (tmp_path / check.HEARTBEAT).read_text().strip() == "5000.0"
    late = NOW._replace(boottime=6000.0)
    code, line, _, _ = checked(tmp_path, lambda wanted: healthy, state=state, now=lambda: late)
    if os.geteuid() == 0:
        assert code == 2 and "has not been run for 16 min" in line
    assert checked(tmp_path, lambda wanted: healthy, state=state, scheduled=True, now=lambda: late)[0] == 0


def test_an_incident_that_no_pass_looks_at(tmp_path):
    state, moments = str(tmp_path / "state"), [NOW]
    store = Store(state, now=lambda: moments[0], fallback=str(tmp_path / "run"))
    with store.lock("check"):
        name = store.of(UNIT).open_incident("gateway.hung", "it hangs")
        store.of(UNIT).mark_pass("gateway.hung", 600)
    soon = NOW._replace(wall=NOW.wall + 800, boottime=5800.0)
    assert check.left_alone(check.open_incidents(state), state, soon) == []
    told = check.left_alone(check.open_incidents(state), state, NOW._replace(wall=NOW.wall + 1200, boottime=6200.0))
    assert told == ["incident %s of %s is open, and no recovery pass has looked at it for 20 min" % (name, UNIT)]


def test_a_changed_unit_file_is_critical_and_told_once(tmp_path):
    problem = Problem("/usr/local/lib/systemd/system/" + UNIT, 7, "", "is not as it was installed")
    remark = Cause("unit.changed", "%s:7 is not as it was installed" % problem.file, problem.file, False)
    service = facts().services[0]
    edited = Facts(Host(monotonic=1000.0, installed=Installed("none", changed=(problem,))), (service._replace(
        dependencies=()),))
    code, line, _, findings = checked(tmp_path, lambda wanted: edited, state=str(tmp_path))
    assert code == 2 and line.count(UNIT + ":7 is not as it was installed (unit.changed)") == 1
    assert findings[0].others == (remark,)


class Told:
    """What cron hears, minute by minute."""

    def __init__(self, directory):
        self.state = str(directory)

    def hears(self, *findings):
        return check.news(findings, "the line", state=self.state)


def test_cron_hears_of_each_cause_once_until_all_is_well(tmp_path):
    told = Told(tmp_path / "state")
    crashed, loop = found("gateway.crashed", model.DOWN), found("gateway.crash-loop", model.DOWN)
    assert told.hears(found()) is False
    assert told.hears(crashed) is True
    assert told.hears(crashed) is False
    assert told.hears(loop) is True, "another cause is news"
    assert told.hears(crashed) is False, "and coming back to the first one is none"
    assert told.hears(found()) is False
    assert told.hears(crashed) is True, "after all was well it is a new problem"


def test_cron_hears_of_a_remark_once(tmp_path):
    told = Told(tmp_path / "state")
    remark = found(others=(Cause("disk.full", "nearly", "/", False),))
    assert [told.hears(remark), told.hears(remark)] == [True, False]


def test_who_cannot_keep_a_note_hears_of_it_each_time(tmp_path):
    (tmp_path / "file").write_text("")
    told = Told(tmp_path / "file" / "state")
    assert [told.hears(), told.hears()] == [True, True]


def test_a_note_in_a_directory_of_others_is_not_believed(tmp_path):
    state = tmp_path / "state"
    told = Told(state)
    assert told.hears(found("gateway.hung", model.RUNNING)) is True
    os.chmod(str(state), 0o777)
    assert told.hears(found("gateway.hung", model.RUNNING)) is True


def test_the_note_is_a_plain_list(tmp_path):
    Told(tmp_path / "state").hears(found("gateway.hung", model.RUNNING))
    assert Directory(str(tmp_path / "state")).read(check.SAID) == b"citadel-gateway.service gateway.hung\n"
