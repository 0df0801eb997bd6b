import io
import subprocess
import sys

import pytest
from calls import call, read
from places import LIB

from citadel.commands import manager
from citadel.core.errors import CitadelError, UsageError


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
    made, _ = call(words, is_root=True)
    made.options.config = str(tmp_path / "citadel.conf")
    (tmp_path / "citadel.conf").write_text("")
    (tmp_path / "citadel.conf").chmod(0o644)
    with pytest.raises(UsageError) as caught:
        made.perform()
    assert why in str(caught.value)


@pytest.mark.parametrize("words", [["test-restart"], ["reset"], ["maintenance", "off"],
                                   ["maintenance", "on", "--for", "1h", "--reason", "x"]])
def test_what_changes_something_needs_root(words):
    made, _ = call(words, is_root=False)
    with pytest.raises(CitadelError) as caught:
        made.perform()
    assert caught.value.code == 77


def test_the_way_of_check_imports_nothing_heavy():
    """Each of these costs some milliseconds, each minute, for years."""
    code = ("import sys; sys.path.insert(0, %r); before = set(sys.modules)\n"
            "from citadel.core import entry\nfrom citadel.commands import manager, check\n"
            "check.tell = lambda out, quiet: 40 + quiet\n"
            "assert [manager.main(['check'] + more) for more in ([], ['--quiet'])] == [40, 41]\n"
            "print(' '.join(sorted(set(sys.modules) - before)))" % LIB)
    loaded = subprocess.check_output([sys.executable, "-IS", "-B", "-c", code]).decode().split()
    heavy = {"argparse", "json", "re", "socket", "configparser", "typing", "pathlib", "subprocess", "logging",
             "dataclasses", "http.client", "enum", "signal", "tempfile", "shutil", "random", "hashlib", "datetime"}
    assert "citadel.commands.check" in loaded and not heavy & set(loaded)
    assert not {"citadel.commands.call", "citadel.commands.command_line"} & set(loaded)
