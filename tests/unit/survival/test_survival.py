"""The survival table's judge, report and command line: what an outsider has seen in, who survived out."""

import json
import os
import socket
import struct
import sys
import threading
import time

import pytest
from places import TESTS

sys.path[:0] = [TESTS, os.path.join(TESTS, "live")]

from survival import faults, main, report, soak  # noqa: E402
from survival.contestants import CONTESTANTS  # noqa: E402
from survival.judge import (  # noqa: E402
    DECIDED,
    ESCALATES,
    RECOVERS,
    Call,
    Rule,
    Run,
    Sample,
    Timeline,
    healthy_since,
    is_cure_due,
    judge,
    told,
    touched,
)
from survival.observer import Observer, listener_on, read_mail, read_page, serve  # noqa: E402

GOOD, ILL, DOWN = (200, 7), (500, 7), (0, 0)


def looks(*parts):
    """Two looks a second: (seconds, (status, pid)) one after another."""
    samples, at = [], 0.0
    for seconds, (status, pid) in parts:
        for _ in range(int(seconds * 2)):
            samples.append(Sample(at, status, pid))
            at += 0.5
    return tuple(samples)


def call(at, cause="gateway.crash-loop", source="pager", key="1", text="it is so"):
    return Call(at, source, key, cause, text)


BACK = Rule(RECOVERS, 30)
CALLS = Rule(ESCALATES, 60, ("gateway.crash-loop",), bound_after=40)
LEFT = Rule(DECIDED, 0, watch=20)
ALARM = Rule(ESCALATES, 60, ("alarm",), serves_within=10, says="citadel.conf:2")
SAID = (call(30, "alarm", "alarm", "alarm", "citadel.conf:2: attempts: not a number"),)

VERDICTS = {
    "open while it is down": (BACK, looks((5, DOWN)), (), None, 5, None),
    "open before a run has lasted": (BACK, looks((5, DOWN), (4, (200, 8))), (), None, 9, None),
    "back, and it lasted longer than RestartSec": (BACK, looks((5, DOWN), (7, (200, 8))), (), None, 12, (True, 5.0)),
    "never away": (BACK, looks((7, GOOD)), (), None, 7, (True, 0.0)),
    "another process in between begins anew": (
        BACK, looks((4, DOWN), (4, (200, 8)), (7, (200, 9))), (), None, 15, (True, 8.0)),
    "one bad look begins anew": (BACK, looks((4, GOOD), (0.5, ILL), (3, GOOD)), (), None, 8, None),
    "a 200 of another process is none of ours": (BACK, looks((40, (200, 0))), (), None, 40, (False, None)),
    "what it needs does not answer": (BACK, tuple(one._replace(needs=("redis",)) for one in looks((7, GOOD))), (), None,
                                      7, None),
    "too late": (BACK, looks((31, DOWN), (7, (200, 8))), (), None, 38, (False, None)),
    "an operator was told of what repairs itself": (
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
    "told of two incidents": (CALLS, looks((20, DOWN)), (call(10), call(15, key="2")), None, 20, (False, None)),
    "told of two incidents, one a way": (
        CALLS, looks((20, DOWN)), (call(10), call(15, source="journal", key="2")), None, 20, (False, None)),
    "told, and alarmed beside it": (
        CALLS, looks((20, DOWN)), (call(10), call(15, "alarm", "alarm", "alarm")), None, 20, (False, None)),
    "told twice by one of two ways": (
        CALLS, looks((20, DOWN)), (call(10), call(10, source="journal"), call(15, source="journal")), None, 20,
        (False, None)),
    "told of two events, where that is how it tells": (
        CALLS._replace(once=False), looks((20, DOWN)), (call(10), call(15, key="2"), call(16, key="2")), None, 20,
        None),
    "the right cause, and a wrong one beside it": (
        CALLS._replace(once=False), looks((20, DOWN)), (call(10), call(15, "disk.full", key="2")), None, 20,
        (False, None)),
    "serves, and its keeper waits for an operator": (
        ALARM, looks((3, DOWN), (30, (200, 8))), SAID, None, 33, None),
    "served in time, and all is well after the cure": (
        ALARM, looks((3, DOWN), (57, (200, 8))), SAID, 50.0, 60, (True, 3.0)),
    "did not serve in time, whoever was told": (
        ALARM, looks((12, DOWN), (7, (200, 8))), (), None, 19, (False, None)),
    "served in time, and nobody was told": (ALARM, looks((3, DOWN), (58, (200, 8))), (), None, 61, (False, None)),
    "told in words that do not say it": (
        ALARM, looks((3, DOWN), (30, (200, 8))), (SAID[0]._replace(text="it failed"),), None, 33, (False, None)),
    "back after the cure": (CALLS, looks((30, DOWN), (7, (200, 8))), (call(10),), 20.0, 37, (True, 10.0)),
    "not back after the cure": (CALLS, looks((90, DOWN)), (call(10),), 20.0, 90, (False, None)),
    "told again after the cure": (
        CALLS, looks((30, DOWN), (7, (200, 8))), (call(10), call(25)), 20.0, 37, (False, None)),
    "well before the cure does not count as cured": (CALLS, looks((15, GOOD), (10, DOWN)), (call(10),), 15.0, 25, None),
    "left alone": (LEFT, looks((21, DOWN)), (), None, 21, (True, None)),
    "left alone so far": (LEFT, looks((10, DOWN)), (), None, 10, None),
    "an operator overruled": (LEFT, looks((10, DOWN), (1, (0, 8))), (), None, 11, (False, None)),
    "told of what an operator decided": (LEFT, looks((10, DOWN)), (call(5),), None, 10, (False, None)),
    "a process that had to stay was replaced": (
        LEFT._replace(stays="same"), looks((5, (0, 7)), (1, (200, 8))), (), None, 6, (False, None)),
    "a process that had to stay did": (
        LEFT._replace(stays="same", may_call=True), looks((21, (0, 7))), (call(3),), None, 21, (True, None)),
    "a process that had to stay was never there": (
        LEFT._replace(stays="same"), looks((21, DOWN)), (), None, 21, (False, None)),
    "left alone, and nobody looked": (LEFT, (), (), None, 21, (False, None)),
    "left alone, and nobody looked at the end": (LEFT, looks((9, DOWN)), (), None, 21, (False, None)),
    "left alone, and nobody looked for a while": (
        LEFT, looks((3, DOWN)) + (Sample(14.0, 0, 0), Sample(20.0, 0, 0)), (), None, 21, (False, None)),
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


def test_the_operator_comes_late_enough_for_a_second_call_to_be_seen():
    seen = Timeline(looks((40, DOWN)), (call(8),))
    assert not is_cure_due(CALLS, seen, 32)
    assert is_cure_due(CALLS, seen, 33.5)
    assert not is_cure_due(CALLS._replace(before_cure=80), seen, 87)
    assert is_cure_due(CALLS._replace(before_cure=80), seen, 88.5)
    assert not is_cure_due(CALLS, seen._replace(cured=33.5), 40)
    assert not is_cure_due(BACK, seen, 40)


def test_the_operator_also_waits_until_it_had_to_serve():
    assert not is_cure_due(ALARM._replace(serves_within=40), Timeline(looks((40, GOOD)), (call(1),)), 40)


def test_who_was_told_what_is_in_the_verdict():
    verdict = judge(CALLS, Timeline(looks((30, DOWN), (7, (200, 8))), (call(10),), 20.0), 37)
    assert verdict.why == "back after the cure; told after 10 s: gateway.crash-loop"


def test_calls_with_one_key_by_two_ways_are_one():
    calls = (call(3), call(3.2, source="journal"), call(9, key="2"), call(9.1, "alarm", "alarm", "alarm"))
    assert told(calls) == [calls[0], calls[2], calls[3]]
    assert told((call(3), call(4), call(4, source="journal"))) == [call(3), call(4)]
    assert told(()) == []


def test_monit_is_held_to_no_cause_and_no_number_of_mails():
    mails = (call(3, "ollama: down", "mail", "ollama down"), call(4, "gateway: down", "mail", "gateway down"),
             call(9, "gateway: down", "mail", "gateway down"))
    kindly = CONTESTANTS["monit"]().kindly
    assert judge(kindly(CALLS), Timeline(looks((9, DOWN)), mails), 9) is None
    assert judge(kindly(BACK), Timeline(looks((5, DOWN), (7, (200, 8))), mails), 12).survived
    assert CONTESTANTS["citadel"]().kindly(CALLS) == CALLS


def test_a_run_that_was_begun_anew_is_named():
    before = Run(4711, "aa")
    assert touched("redis-server.service", before, before) == ""
    assert touched("redis-server.service", Run(0, "aa"), Run(0, "aa")) == ""
    assert touched("redis-server.service", Run(0, "aa"), Run(0, "")) == ""      # idle, and unloaded by systemd
    for after in (Run(4712, "bb"), Run(0, "bb"), Run(0, "aa"), Run(4712, "aa")):
        assert "redis-server.service" in touched("redis-server.service", before, after)
    assert "is being" in touched("redis-server.service", before, None)
    assert "started" in touched("citadel-gateway.service", Run(0, "aa"), Run(0, "bb"))


def test_healthy_since_is_nothing_for_nothing():
    assert healthy_since(()) is None


def outcome(row="gateway-sigkill", survived=True, contestant="citadel", root="trixie", systemd=257, seconds=6.0,
            why="back"):
    return report.Outcome(root, systemd, contestant, row, survived, seconds, why, 20.0)


BOTH = ("trixie", "sid")
CELLS = {
    "all roots": ([outcome(), outcome(root="sid", seconds=9.4)], BOTH, "yes 9 s"),
    "the only root": ([outcome()], ("trixie",), "yes 6 s"),
    "one of two roots was tried": ([outcome()], BOTH, "1/2 6 s (not run: sid)"),
    "one of two was tried, and failed": ([outcome(survived=False)], BOTH, "0/2 (not: 257; not run: sid)"),
    "no root": ([outcome(survived=False), outcome(root="sid", survived=False)], BOTH, "no"),
    "some": ([outcome(), outcome(root="sid", systemd=262, survived=False)], BOTH, "1/2 6 s (not: 262)"),
    "does not apply": ([outcome(survived=None)], BOTH, "-"),
    "not run": ([], BOTH, ""),
}


@pytest.mark.parametrize("name", sorted(CELLS))
def test_a_cell(name):
    outcomes, roots, wanted = CELLS[name]
    assert report.cell(outcomes, roots) == wanted


def test_survived_all_means_each_row_that_applies_and_one_at_least():
    assert report.survived_all([outcome(), outcome(survived=None)], "citadel")
    assert not report.survived_all([outcome(), outcome(survived=False)], "citadel")
    assert not report.survived_all([outcome(contestant="plain")], "citadel")
    assert not report.survived_all([outcome(survived=None)], "citadel")


def test_the_tables_name_each_row_and_each_failure_of_ours():
    rows = faults.named(["gateway-sigkill", "stopped"])
    outcomes = [outcome(), outcome("stopped", False, seconds=None, why="started after 3 s | against an operator"),
                outcome("stopped", None, "plain")]
    text = report.text(outcomes, rows, ["citadel", "plain"], ("trixie",), "head")
    assert "1 of 2" in text and "0 of 0" in text and "started after 3 s" in text
    marked = report.markdown(outcomes, rows, ["citadel", "plain"], ("trixie",),
                             {"citadel": "Citadel", "plain": "alone"}, "head")
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


def test_the_head_names_the_systemd_that_ran_and_how_others_are_judged():
    options = main.arguments(["--contestant", "citadel", "--root", "trixie", "--root", "sid"])
    head = main.heading(options, [], 60, [outcome(systemd=257), outcome(root="sid", systemd=261),
                                          outcome(root="sid", systemd=0)])
    assert "Debian 13 (systemd 257)" in head and "Debian sid (systemd 261)" in head
    assert "262" not in head
    for words in ("Monit", "unmonitor", "25 s"):
        assert words in head


# --- the soak

def soaked(*samples, calls=()):
    return soak.count("trixie", samples, calls)


def test_a_quiet_soak_counts_nothing():
    seen = soaked(*looks((30, GOOD)))
    assert (seen.requests, seen.missed, seen.restarts, seen.calls) == (60, 0, 0, 0)
    assert soak.is_clean(seen)


SOAKS = {
    "a sample without a process is a miss, not a restart": (looks((5, GOOD), (1, DOWN), (5, GOOD)), (), (2, 0, 0)),
    "another process is a restart": (looks((5, GOOD), (5, (200, 8)), (5, GOOD)), (), (0, 2, 0)),
    "a silent dependency is a miss": (
        looks((5, GOOD)) + (Sample(5.0, 200, 7, ("redis",)),), (), (1, 0, 0)),
    "a call by two ways is one": (looks((5, GOOD)), (call(1), call(1, source="journal")), (0, 0, 1)),
}


@pytest.mark.parametrize("name", sorted(SOAKS))
def test_a_soak(name):
    samples, calls, wanted = SOAKS[name]
    seen = soaked(*samples, calls=calls)
    assert (seen.missed, seen.restarts, seen.calls) == wanted
    assert not soak.is_clean(seen)


def test_a_soak_that_asked_nothing_is_not_clean():
    assert not soak.is_clean(soaked())


def test_a_soak_is_in_each_kind_of_report(capsys):
    seen = [soaked(*looks((30, GOOD)), calls=(call(1),))]
    for word, wanted in (("--json", '"missed": 0'), ("--markdown", "| trixie | 60 | 30 | 0 | 0 | 1 |"),
                         (None, "60 requests in 30 s, 0 missed, 0 restarts, 1 alert")):
        main.show(main.arguments(["--soak", "1"] + ([word] if word else [])), [], "head", seen)
        assert wanted in capsys.readouterr().out


@pytest.mark.parametrize("soaks, broke, wanted", [
    ([soaked(*looks((30, GOOD)))], [], 0), ([soaked(*looks((30, ILL)))], [], 1), ([], [], 1),
    ([soaked(*looks((30, GOOD)))], [outcome("worker", False)], 1)])
def test_the_exit_code_of_a_soak(soaks, broke, wanted):
    assert main.exit_code(main.arguments(["--soak", "1", "--root", "trixie"]), broke, soaks) == wanted


def test_a_soak_of_two_releases_needs_both():
    options = main.arguments(["--soak", "1", "--root", "trixie", "--root", "sid"])
    assert main.exit_code(options, [], [soaked(*looks((30, GOOD)))]) == 1


# --- the observer

@pytest.fixture
def served():
    """serve() in a thread, on a port of its own: (address, what was received)."""
    listener, received, ended = listener_on(0), [], threading.Event()
    thread = threading.Thread(target=serve, args=(listener, lambda connection: received.append(read_page(connection)),
                                                  ended.is_set), daemon=True)
    thread.start()
    yield listener.getsockname(), received
    ended.set()
    socket.create_connection(listener.getsockname()).close()
    thread.join(10)
    assert not thread.is_alive()
    listener.close()


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_broken_connection_is_no_end_of_the_pager(served):
    address, received = served
    with socket.create_connection(address) as broken:
        broken.sendall(b"{")
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))     # closes by a reset
    with socket.create_connection(address) as good:
        good.sendall(b'{"kind": "firing", "cause": "disk.full", "because": "so", "incident": "20261123T180000-1"}')
    until(lambda: any(one and one["incident"] == "20261123T180000-1" for one in received))


def test_a_page_that_is_no_document_is_a_call_all_the_same(served):
    address, received = served
    with socket.create_connection(address) as connection:
        connection.sendall(b"help")
    until(lambda: received)
    assert received[0]["kind"] == "firing" and received[0]["because"] == "help"


def test_a_mail_is_read_and_half_a_mail_is_an_error():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"EHLO x\r\nMAIL FROM:<a>\r\nDATA\r\nSubject: monit alert --  Timeout gateway\r\n\r\n.\r\n"
                       b"QUIT\r\n")
        assert read_mail(ours) == "monit alert --  Timeout gateway"
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(OSError):
            read_mail(ours)


def test_an_observer_whose_thread_has_ended_says_so():
    observer = Observer(2 ** 22 + 1)                # no such process, so no such name space
    until(lambda: observer.broken)
    assert "No such file" in observer.broken
    observer.end()


def test_a_page_is_known_by_its_incident_and_what_is_over_is_none():
    observer = Observer(2 ** 22 + 1)
    observer.paged({"kind": "firing", "cause": "disk.full", "because": "so", "incident": "20261123T180000-1"})
    observer.paged({"kind": "resolved", "cause": "disk.full", "because": "so", "incident": "20261123T180000-1"})
    assert [(one.source, one.key, one.cause) for one in observer.seen()[1]] == [
        ("pager", "20261123T180000-1", "disk.full")]


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
    assert row.veto is None or row.cure             # what must not be touched, until an operator comes
    assert row.veto is None or not set(row.veto.only) - set(main.CONTESTANTS)


def test_what_an_operator_decided_is_watched_for_long_enough_to_be_overruled():
    """A pass by the health check decides 24 to 29 s after a fault; a hung gateway's, a start_timeout later."""
    assert all(row.rule.watch >= 75 for row in faults.FAULTS if row.rule.kind == DECIDED)
    assert [row.rule.watch for row in faults.named(["maintenance"])] == [90]


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
