import io
import json
import os
import subprocess
import sys

import pytest
from places import LIB

from citadel.commands import command_line, manager
from citadel.core import terminal
from citadel.core.errors import CitadelError, UsageError


def read(*words):
    return command_line.read(list(words), manager.ACTIONS, io.StringIO())


@pytest.mark.parametrize("words, expected", [
    pytest.param(["status"], {"action": "status", "json": False, "service": "", "config": None}, id="an action alone"),
    pytest.param(["--json", "status"], {"json": True}, id="a global option before the action"),
    pytest.param(["status", "--json"], {"json": True}, id="and after it"),
    pytest.param(["--service", "a.service", "status", "--json"], {"service": "a.service", "json": True}, id="both"),
    pytest.param(["--service", "a.service", "status", "--service", "b.service"], {"service": "b.service"},
                 id="the last one counts"),
    pytest.param(["monitor"], {"seconds": 60}, id="a minute, if nothing is said"),
    pytest.param(["monitor", "2h"], {"seconds": 7200}, id="a time with a unit"),
    pytest.param(["logs"], {"lines": None, "follow": False, "app": False}, id="the journal"),
    pytest.param(["logs", "7", "-f", "--app"], {"lines": 7, "follow": True, "app": True}, id="the application log"),
    pytest.param(["config", "--check", "f"], {"check": "f"}, id="only our settings"),
    pytest.param(["maintenance", "on", "--for", "2h", "--reason", "new disk"],
                 {"word": "on", "span": 7200, "reason": "new disk"}, id="maintenance"),
    pytest.param(["history", "3"], {"count": 3}, id="some history"),
    pytest.param(["test-restart", "--force"], {"force": True}, id="a drill by force"),
])
def test_the_command_line(words, expected):
    options = vars(read(*words))
    assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize("words, named", [
    pytest.param([], "an action is missing", id="nothing"),
    pytest.param(["stauts"], "'stauts'", id="an action that there is not"),
    pytest.param(["stat"], "'stat'", id="an action cut short"),
    pytest.param(["status", "--jso"], "--jso", id="an option cut short"),
    pytest.param(["status", "now"], "now", id="a word too many"),
    pytest.param(["monitor", "soon"], "'soon'", id="a time that is none"),
    pytest.param(["monitor", "-5"], "'-5'", id="a negative time"),
    pytest.param(["monitor", "0"], "'0'", id="no time at all"),
    pytest.param(["logs", "many"], "'many'", id="a count that is none"),
    pytest.param(["logs", "0"], "0", id="no lines"),
    pytest.param(["logs", "1e3"], "'1e3'", id="a count in another notation"),
    pytest.param(["history", "-1"], "'-1'", id="a negative count"),
    pytest.param(["maintenance"], "on|off|status", id="a word is missing"),
    pytest.param(["maintenance", "perhaps"], "'perhaps'", id="another word"),
    pytest.param(["maintenance", "on", "--for", "2y"], "'2y'", id="a span that is none"),
    pytest.param(["maintenance", "on", "--for", "8d"], "'8d'", id="a span that is too long"),
    pytest.param(["check", "--quite"], "--quite", id="a slip in check"),
    pytest.param(["--service"], "--service", id="an option without its value"),
])
def test_a_wrong_word_is_named_in_one_line(words, named):
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert named in str(caught.value) and "\n" not in str(caught.value) and "usage:" not in str(caught.value)


@pytest.mark.parametrize("words, says", [
    pytest.param(["--help"], "maintenance", id="all of it"),
    pytest.param(["-h"], "maintenance", id="in short"),
    pytest.param(["logs", "--help"], "--incident ID", id="an action's own"),
    pytest.param(["--version"], "citadel-restart-manager 1", id="the version"),
])
def test_help_goes_to_stdout_and_is_no_failure(words, says):
    out = io.StringIO()
    assert manager.main(words, out) == 0
    assert says in out.getvalue() and len(out.getvalue().splitlines()) < 45


def call(act, words, **fields):
    """A Call for `act`, its outer world given by hand."""
    out = io.StringIO()
    made = manager.Call(read(*words), out)
    for name, value in fields.items():
        setattr(made, name, value)
    return made, out


@pytest.mark.parametrize("words, why", [
    pytest.param(["logs", "--app", "--incident", "x"], "exclude", id="two kinds of logs"),
    pytest.param(["logs", "-f", "--json"], "never ends", id="a document that never ends"),
    pytest.param(["logs", "-f", "--incident", "x"], "never ends", id="following the past"),
    pytest.param(["maintenance", "off", "--for", "2h"], "--for", id="a span for off"),
    pytest.param(["maintenance", "on", "--for", "2h"], "--reason", id="maintenance without a reason"),
    pytest.param(["maintenance", "on", "--reason", "x"], "--for", id="maintenance without an end"),
    pytest.param(["status", "--service", "b.service"], "not one of the services", id="a service not in the settings"),
])
def test_words_that_do_not_go_together(words, why, tmp_path):
    made, _ = call(None, words, is_root=True)
    made.options.config = str(tmp_path / "citadel.conf")
    (tmp_path / "citadel.conf").write_text("")
    (tmp_path / "citadel.conf").chmod(0o644)
    with pytest.raises(UsageError) as caught:
        made.options.act(made)
    assert why in str(caught.value)


@pytest.mark.parametrize("words", [["test-restart"], ["reset"], ["maintenance", "off"],
                                   ["maintenance", "on", "--for", "1h", "--reason", "x"]])
def test_what_changes_something_needs_root(words):
    made, _ = call(None, words, is_root=False)
    with pytest.raises(CitadelError) as caught:
        made.options.act(made)
    assert caught.value.code == 77


@pytest.mark.parametrize("text, code, ok", [
    pytest.param("[recovery]\nattempts = 3\n", 0, True, id="valid"),
    pytest.param("", 0, True, id="empty is valid"),
    pytest.param("[recovery]\nattempts = none\nwindwo = 5min\n", 78, False, id="two things wrong"),
])
def test_config_check(tmp_path, text, code, ok):
    path = tmp_path / "citadel.conf"
    path.write_text(text)
    path.chmod(0o644)
    out = io.StringIO()
    assert manager.main(["config", "--check", str(path), "--json"], out) == code
    document = json.loads(out.getvalue())
    assert (document["ok"], document["schema"], document["action"]) == (ok, 1, "config")
    assert len(document["problems"]) == (0 if ok else 2)


def test_config_check_warns_root_of_settings_that_it_cannot_compare(tmp_path):
    path, yaml = tmp_path / "citadel.conf", tmp_path / "production.yaml"
    path.write_text("[service a.service]\nsettings = %s\ndepends =\n" % yaml)
    path.chmod(0o644)
    yaml.write_text("server: &s\n  port: 1\n")
    made, out = call(None, ["config", "--check", str(path), "--json"], is_root=True)
    assert made.options.act(made) == 0
    warning, = json.loads(out.getvalue())["warnings"]
    assert warning.startswith("%s:1: server: an anchor" % yaml)


def test_config_check_names_every_line(tmp_path, capsys):
    path = tmp_path / "citadel.conf"
    path.write_text("[recovery]\nattempts = none\nwindwo = 5min\n")
    path.chmod(0o644)
    with pytest.raises(CitadelError) as caught:
        manager.main(["config", "--check", str(path)], io.StringIO())
    complaints = str(caught.value) + capsys.readouterr().err
    assert "citadel.conf:2: " in complaints and "citadel.conf:3: " in complaints and caught.value.code == 78


class Maintenance:
    """The part of the record that `maintenance` uses, in memory."""

    def __init__(self):
        self.begun = None

    def begin_maintenance(self, seconds, reason, who):
        self.begun = (seconds, reason)

    def end_maintenance(self):
        was, self.begun = self.begun is not None, None
        return was

    def maintenance(self):
        from citadel.record.store import Maintenance as Active
        return Active(self.begun[1], self.begun[0], "root", 0.0) if self.begun else None


def test_maintenance_on_status_off():
    store, said = Maintenance(), []
    for words in (["status"], ["on", "--for", "2h", "--reason", "new disk"], ["status"], ["off"], ["off"]):
        made, out = call(None, ["maintenance"] + words, is_root=True, _store=store)
        assert made.options.act(made) == 0
        said.append(out.getvalue())
    assert said[0] == "maintenance is off\n"
    assert said[1].startswith("maintenance is on until ") and "new disk; actions are muted" in said[1]
    assert said[2].startswith("maintenance is on until ")
    assert said[3:] == ["maintenance is off\n", "maintenance was off already\n"]


class Incidents:
    def __init__(self, documents):
        self.documents = documents

    def incidents(self, most, unit):
        return self.documents[:most]

    def summary(self, unit):
        from citadel.record.store import Summary
        return Summary(len(self.documents), 1, 31.0, None)


INCIDENT = {"id": "20261123T180000-1", "start": "2026-11-23T18:00:00Z", "end": "2026-11-23T18:00:31Z", "duration": 31.0,
            "unit": "x.service", "outcome": "recovered", "causes": [{"cause": "gateway.hung"}],
            "steps": [{"do": "restart", "target": "redis.service", "outcome": "ok"},
                      {"do": "kill", "target": "x.service", "outcome": "ok"},
                      {"do": "restart", "target": "x.service", "outcome": "failed"}]}


def test_history():
    still_open = dict(INCIDENT, end=None, duration=None, outcome=None, causes=[], steps=[])
    made, out = call(None, ["history"], _store=Incidents([INCIDENT, still_open]))
    assert made.options.act(made) == 0
    rows = out.getvalue().splitlines()
    for wanted in ("31 s", "gateway.hung", "restart redis.service, kill, restart (failed)"):
        assert wanted in rows[1]
    assert "open" in rows[2] and rows[2].endswith("nothing")
    assert rows[3] == "2 incidents on record, 1 resolved; MTTR 31 s"


def test_history_as_json_and_of_nothing():
    made, out = call(None, ["history", "--json"], _store=Incidents([INCIDENT]))
    assert made.options.act(made) == 0
    document = json.loads(out.getvalue())
    assert document["incidents"][0]["id"] == INCIDENT["id"] and document["on_record"] == 1 and document["mttr"] == 31.0
    made, out = call(None, ["history"], _store=Incidents([]))
    assert made.options.act(made) == 0 and out.getvalue() == "no incidents on record\n"


def test_a_live_line_is_drawn_on_a_terminal_only():
    for live, expected in ((True, "\r\x1b[Kup\r\x1b[Kit changed\n"), (False, "it changed\n")):
        out = io.StringIO()
        line = terminal.LiveLine(out, live)
        line.draw(lambda: "up")
        line.print_above("it changed")
        assert out.getvalue() == expected


def test_an_interruption_ends_the_pause_and_nothing_else():
    with terminal.Interruption() as interruption:
        assert interruption.pause(0.001) is True
        os.kill(os.getpid(), 15)
        assert interruption.pause(60) is False
        assert interruption.pause(60) is False


def test_the_way_of_check_imports_nothing_heavy():
    """Each of these costs some milliseconds, each minute, for years."""
    code = ("import sys; sys.path.insert(0, %r); before = set(sys.modules); from citadel.core import entry; from citadel.commands import manager, check; "
            "print(' '.join(sorted(set(sys.modules) - before)))" % LIB)
    loaded = subprocess.check_output([sys.executable, "-IS", "-B", "-c", code]).decode().split()
    heavy = {"argparse", "json", "re", "socket", "configparser", "typing", "pathlib", "subprocess", "logging",
             "dataclasses", "http.client", "enum", "signal", "tempfile", "shutil", "random", "hashlib", "datetime"}
    assert "citadel.commands.check" in loaded and not heavy & set(loaded)
