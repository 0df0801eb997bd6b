"""What is decided before anything is written: the settings file, the schedule."""

import os

import pytest
from installing import SETTINGS, install, read, write

from citadel.installer.plan import decide_schedule


@pytest.mark.parametrize("current, last, shipped, result", [
    pytest.param(None, None, "new", ("new", None), id="there is none yet: the shipped one"),
    pytest.param("old", "old", "new", ("new", None), id="unedited: replaced by the new one"),
    pytest.param("edited", "old", "new", ("edited", "new"), id="edited: kept, the new one beside it"),
    pytest.param("edited", "old", "old", ("edited", None), id="edited, and nothing new to offer"),
    pytest.param("edited", None, "new", ("edited", "new"), id="of unknown origin: kept, the new one beside it"),
    pytest.param("new", "old", "new", ("new", None), id="edited to what is now shipped"),
])
def test_edited_settings_are_never_overwritten(source, root, capsys, current, last, shipped, result):
    if last is not None:
        write(source, "/units/citadel.conf", last)
        install(source, root)
    if current is not None:
        write(root, SETTINGS, current)
    write(source, "/units/citadel.conf", shipped)
    capsys.readouterr()
    install(source, root)
    beside = read(root, SETTINGS + ".new") if os.path.exists(root + SETTINGS + ".new") else None
    assert (read(root, SETTINGS), beside) == result
    assert ("was edited and stays as it is" in capsys.readouterr().out) == (beside is not None)
    install(source, root)
    assert read(root, SETTINGS) == result[0]


@pytest.mark.parametrize("asked, remembered, cron_runs, result", [
    pytest.param(None, "", True, "cron", id="cron where it runs"),
    pytest.param(None, "", False, "timer", id="a timer where no cron runs"),
    pytest.param(None, "none", True, "none", id="what was chosen before stays"),
    pytest.param("timer", "cron", True, "timer", id="what is asked for wins"),
])
def test_who_runs_the_health_check(asked, remembered, cron_runs, result):
    assert decide_schedule(asked, remembered, lambda: cron_runs) == result
