"""The survival table's judge, report and command line: what a stranger has seen in, who survived out."""

import json
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "live")]

from survival import faults, main, report                                               # noqa: E402
from survival.judge import (DECIDED, ESCALATES, RECOVERS, Call, Rule, Sample, Timeline,     # noqa: E402
                            healthy_since, is_cure_due, judge, loudest)

GOOD, ILL, DOWN = (200, 7), (500, 7), (0, 0)


def looks(*parts):
    """Two looks a second: (seconds, (status, pid)) one after another."""
    samples, at = [], 0.0
    for seconds, (status, pid) in parts:
        for _ in range(int(seconds * 2)):
            samples.append(Sample(at, status, pid))
            at += 0.5
    return tuple(samples)


def call(at, cause="gateway.crash-loop", source="pager", key=""):
    return Call(at, source, key, cause, "it is so")


BACK = Rule(RECOVERS, 30)
CALLS = Rule(ESCALATES, 60, ("gateway.crash-loop",), bound_after=40)
LEFT = Rule(DECIDED, 0, watch=20)

VERDICTS = {
    "open while it is down": (BACK, looks((5, DOWN)), (), None, 5, None),
    "open before a run has lasted": (BACK, looks((5, DOWN), (4, (200, 8))), (), None, 9, None),
    "back, and it lasted longer than RestartSec": (BACK, looks((5, DOWN), (7, (200, 8))), (), None, 12, (True, 5.0)),
    "never away": (BACK, looks((7, GOOD)), (), None, 7, (True, 0.0)),
    "another process in between begins anew": (
        BACK, looks((4, DOWN), (4, (200, 8)), (7, (200, 9))), (), None, 15, (True, 8.0)),
    "one bad look begins anew": (BACK, looks((4, GOOD), (0.5, ILL), (3, GOOD)), (), None, 8, None),
    "a stranger's 200 is none of ours": (BACK, looks((40, (200, 0))), (), None, 40, (False, None)),
    "what it needs does not answer": (BACK, tuple(one._replace(needs=("redis",)) for one in looks((7, GOOD))), (), None,
                                      7, None),
    "too late": (BACK, looks((31, DOWN), (7, (200, 8))), (), None, 38, (False, None)),
    "a person was called for what mends itself": (
        BACK, looks((5, DOWN), (7, (200, 8))), (call(3),), None, 12, (False, None)),
    "a call beside it was right": (BACK._replace(may_call=True, causes=("disk.full",)), looks((5, DOWN), (7, (200, 8))),
                                   (call(3, "disk.full"),), None, 12, (True, 5.0)),
    "a call beside it was wrong": (BACK._replace(may_call=True, causes=("disk.full",)), looks((5, DOWN), (7, (200, 8))),
                                   (call(3),), None, 12, (False, None)),
    "nobody was told": (CALLS, looks((61, DOWN)), (), None, 61, (False, None)),
    "told the right cause, and waits for the cure": (CALLS, looks((20, DOWN)), (call(10),), None, 20, None),
    "told a wrong cause": (CALLS, looks((20, DOWN)), (call(10, "disk.full"),), None, 20, (False, None)),
    "told twice": (CALLS, looks((20, DOWN)), (call(10), call(15)), None, 20, (False, None)),
    "told once, by journal and by pager": (
        CALLS, looks((20, DOWN)), (call(10), call(10, source="journal")), None, 20, None),
    "back after the cure": (CALLS, looks((30, DOWN), (7, (200, 8))), (call(10),), 20.0, 37, (True, 10.0)),
    "not back after the cure": (CALLS, looks((90, DOWN)), (call(10),), 20.0, 90, (False, None)),
    "told again after the cure": (
        CALLS, looks((30, DOWN), (7, (200, 8))), (call(10), call(25)), 20.0, 37, (False, None)),
    "well before the cure does not count as cured": (CALLS, looks((15, GOOD), (10, DOWN)), (call(10),), 15.0, 25, None),
    "left alone": (LEFT, looks((21, DOWN)), (), None, 21, (True, None)),
    "left alone so far": (LEFT, looks((10, DOWN)), (), None, 10, None),
    "an operator overruled": (LEFT, looks((10, DOWN), (1, (0, 8))), (), None, 11, (False, None)),
    "called for what a person decided": (LEFT, looks((10, DOWN)), (call(5),), None, 10, (False, None)),
    "a process that had to stay was replaced": (
        LEFT._replace(stays="same"), looks((5, (0, 7)), (1, (200, 8))), (), None, 6, (False, None)),
    "a process that had to stay did": (
        LEFT._replace(stays="same", may_call=True), looks((21, (0, 7))), (call(3),), None, 21, (True, None)),
}


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_a_verdict(name):
    rule, samples, calls, cured, now, wanted = VERDICTS[name]
    verdict = judge(rule, Timeline(samples, calls, cured), now)
    assert (verdict and (verdict.survived, verdict.seconds)) == wanted, verdict
    assert verdict is None or verdict.why


def test_where_nobody_watches_a_state_without_change_is_final():
    seen = Timeline(looks((26, (0, 7))))
    assert judge(BACK._replace(bound=300), seen, 26) is None
    assert judge(BACK._replace(bound=300), seen, 26, watched=False).survived is False


def test_the_person_comes_some_seconds_after_the_call():
    seen = Timeline(looks((10, DOWN)), (call(8),))
    assert not is_cure_due(CALLS, seen, 10)
    assert is_cure_due(CALLS, seen, 11.5)
    assert not is_cure_due(CALLS, seen._replace(cured=11.0), 20)
    assert not is_cure_due(BACK, seen, 20)


def test_two_mails_of_two_services_are_no_second_call():
    mails = (call(3, "ollama: down", "mail", "ollama down"), call(4, "gateway: down", "mail", "gateway down"))
    assert judge(CALLS._replace(causes=()), Timeline(looks((9, DOWN)), mails), 9) is None
    assert loudest(mails) == list(mails)


def test_healthy_since_is_nothing_for_nothing():
    assert healthy_since(()) is None


def outcome(row="gateway-sigkill", survived=True, contestant="citadel", root="trixie", systemd=257, seconds=6.0,
            why="back"):
    return report.Outcome(root, systemd, contestant, row, survived, seconds, why, 20.0)


CELLS = {
    "all roots": ([outcome(), outcome(root="sid", seconds=9.4)], "yes 9 s"),
    "no root": ([outcome(survived=False)], "no"),
    "some": ([outcome(), outcome(root="sid", systemd=262, survived=False)], "1/2 6 s (not: 262)"),
    "does not apply": ([outcome(survived=None)], "-"),
    "not run": ([], ""),
}


@pytest.mark.parametrize("name", sorted(CELLS))
def test_a_cell(name):
    outcomes, wanted = CELLS[name]
    assert report.cell(outcomes) == wanted


def test_survived_all_means_each_row_that_applies_and_one_at_least():
    assert report.survived_all([outcome(), outcome(survived=None)], "citadel")
    assert not report.survived_all([outcome(), outcome(survived=False)], "citadel")
    assert not report.survived_all([outcome(contestant="plain")], "citadel")
    assert not report.survived_all([outcome(survived=None)], "citadel")


def test_the_tables_name_each_row_and_each_failure_of_ours():
    rows = faults.named(["gateway-sigkill", "stopped"])
    outcomes = [outcome(), outcome("stopped", False, seconds=None, why="started after 3 s | against a person"),
                outcome("stopped", None, "plain")]
    text = report.text(outcomes, rows, ["citadel", "plain"], "head")
    assert "1 of 2" in text and "0 of 0" in text and "started after 3 s" in text
    marked = report.markdown(outcomes, rows, ["citadel", "plain"], {"citadel": "Citadel", "plain": "alone"}, "head")
    assert "| stopped |" in marked and "started after 3 s / against" in marked
    by_group, table = marked.partition("| fault |")[::2]
    assert "| gateway | 1 of 1 | - |" in by_group and "| **all** | **1 of 2** | **-** |" in by_group
    assert {line.count("|") for line in ("| fault |" + table).splitlines() if line.startswith("|")} == {5}
    assert json.loads(report.as_json(outcomes, "head"))["outcomes"][0]["row"] == "gateway-sigkill"


def test_where_another_did_better_is_said():
    rows = faults.named(["gateway-sigkill", "http-500", "stopped"])
    outcomes = [outcome(seconds=7.0), outcome(contestant="monit", seconds=1.0),
                outcome("http-500", seconds=12.0), outcome("http-500", contestant="monit", seconds=11.0),
                outcome("stopped", False, seconds=None), outcome("stopped", contestant="monit", seconds=None)]
    assert report.better(outcomes, rows, ["citadel", "monit"]) == [
        "gateway-sigkill (monit 1 s, citadel 7 s)", "stopped (monit survived more often)"]


def test_progress_is_a_line_even_for_a_long_reason():
    assert "\n" not in report.line(outcome(survived=False, seconds=None, why="first\nsecond"))


# --- the rows

def test_the_rows_are_those_of_the_promise():
    names = [row.name for row in faults.FAULTS]
    assert len(names) == len(set(names)) >= 40
    assert {row.group for row in faults.FAULTS} == {"gateway", "dependencies", "operator", "host", "ourselves"}


@pytest.mark.parametrize("row", faults.FAULTS, ids=lambda row: row.name)
def test_a_row_says_what_it_expects(row):
    assert row.what and callable(row.inject) and report.expected(row)
    assert (row.rule.kind == ESCALATES) == (row.cure is not None)
    assert row.rule.kind != ESCALATES or row.rule.causes
    assert not set(row.only) - set(main.CONTESTANTS)


# --- the command line

def test_without_words_it_is_everything():
    options = main.arguments([])
    assert options.root == ["bullseye", "bookworm", "trixie", "sid"]
    assert options.contestant == ["citadel", "plain", "monit"]
    assert options.rows == faults.FAULTS


def test_a_fault_and_a_root_can_be_chosen():
    options = main.arguments(["--only", "stopped", "--root", "/", "--contestant", "plain", "--json"])
    assert [row.name for row in options.rows] == ["stopped"]
    assert (options.root, options.contestant, options.json) == (["/"], ["plain"], True)


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--root", "etch"], ["--contestant", "peer"],
                                   ["--jobs", "0"], ["--split", "0"], ["word"]], ids=" ".join)
def test_a_wrong_word_is_named(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main.arguments(words)
    assert ended.value.code == 2
    assert words[-1] in capsys.readouterr().err


def test_the_list_needs_no_root(capsys):
    assert main.main(["--list", "--only", "stopped"]) == 0
    assert capsys.readouterr().out.startswith("stopped ")


def test_a_worker_gets_its_part_of_the_rows_and_nobody_elses():
    options = main.arguments(["--root", "trixie", "--contestant", "citadel", "--split", "3"])
    parts = [[words[at + 1] for at, word in enumerate(words) if word == "--only"]
             for words in (main.command("python3", options, "trixie", "citadel", part) for part in range(3))]
    assert sorted(sum(parts, [])) == sorted(row.name for row in faults.FAULTS)
