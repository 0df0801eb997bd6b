"""tests/support/play.py: a history that fails can be read."""

import os
import subprocess
import sys

import play
from places import TESTS

from citadel.core import log


def test_a_history_is_told_from_its_first_pass_to_its_end():
    program = [sys.executable, "-B", os.path.join(TESTS, "support", "play.py"), "9"]
    said = subprocess.check_output(program, universal_newlines=True)
    assert said.endswith("\nhistory 9: nothing is wrong\n")
    for what in ("fault begins: ", "pass (", "    step: ", "alert firing: ", "alert resolved: "):
        assert what in said, what


def test_one_that_fails_says_why_and_is_no_success(monkeypatch, capsys):
    def fails(seed, journald, story):
        raise play.Forbidden("restart x: it is well")

    for holder, name in ((play.stories, "World"), (log, "JOURNAL")):
        monkeypatch.setattr(holder, name, getattr(holder, name))        # put back after the test
    monkeypatch.setattr(play.stories, "play", fails)
    assert play.main(["4"]) == 1
    assert capsys.readouterr().out == "history 4 fails: Forbidden: restart x: it is well\n"


def test_a_seed_is_a_number(capsys):
    assert play.main(["four"]) == 64
    assert "play.py SEED" in capsys.readouterr().err
