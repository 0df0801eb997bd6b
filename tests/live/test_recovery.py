"""Each cause of the contract that can be made in a container, made for real: named at the first pass, foretold by
`explain`, and then either treated or handed to an operator with what there is to do.

A Fault is: make it, have `explain` name it, perhaps take away what made it (as time or an operator would), one pass of
citadel-recovery.service, and a look at what became of it.
"""

import json
import os
import signal
from collections import namedtuple

import pytest
from host import ALERT, GATEWAY, HANDLER, OLLAMA, RECOVERY, REDIS
from injections import (
    CONF,
    LOGS,
    Impossible,
    answers,
    crash_for_good,
    crash_loop,
    disk_full,
    disk_inodes,
    disk_readonly,
    freeze,
    memory_enough,
    memory_low,
    no_drop_in,
    ollama_can_run,
    ollama_down,
    ollama_found,
    ollama_missing,
    operator_disables,
    operator_masks,
    operator_stops,
    operator_stops_ollama,
    other_process_ends,
    own_disk_away,
    port_taken,
    port_taken_elsewhere,
    redis_down,
    redis_empty,
    redis_found,
    redis_loading,
    redis_missing,
    redis_refuses_writes,
    redis_writes_soon,
    repair_uvicorn,
    settings_invalid,
    settings_valid,
    start_timeout,
    stop_signal,
    stopped_with_ollama,
    unit_gone,
    unit_installed_again,
)
from shortened import SETTINGS, START_TIMEOUT

Fault = namedtuple("Fault", "make cause verdict undo repair says")
Fault.__new__.__defaults__ = (None, None, "")
Fault.__doc__ = """`make` it; the `cause` and the `verdict` of the first pass; `undo` runs between explain and the pass;
`repair` runs at the end where the pass itself must not repair it; `says` is a part of the sentence that explains."""


FAULTS = {
    "it crashed, and systemd may not restart it": Fault(
        crash_for_good, "gateway.crashed", "recovered", undo=lambda host: no_drop_in(host, GATEWAY), says="SIGKILL"),
    "it crashed until systemd gave up, and is repaired": Fault(
        crash_loop, "gateway.crash-loop", "recovered", undo=repair_uvicorn,
        says="exited 3, 'cannot open the model store'"),
    "it crashes whatever we do": Fault(crash_loop, "gateway.crash-loop", "escalated", repair=repair_uvicorn),
    "all its processes are stopped by SIGSTOP": Fault(
        stop_signal(GATEWAY), "gateway.hung", "recovered", says="SIGSTOP"),
    "its cgroup is frozen": Fault(freeze, "gateway.hung", "recovered", says="frozen"),
    "it accepts and never answers": Fault(answers("hang"), "gateway.hung", "recovered", says="does not answer"),
    "it answers with 500": Fault(answers("error"), "gateway.http-error", "recovered", says="500"),
    "it takes 4 s for an answer": Fault(answers("lazy"), "gateway.slow", "recovered", says="slow begins at 3 s"),
    "it did not come up in time": Fault(
        start_timeout, "gateway.start-timeout", "recovered", undo=lambda host: no_drop_in(host, GATEWAY)),
    "an operator stopped it": Fault(operator_stops, "gateway.stopped-by-operator", "stood-down", says="by an operator"),
    "an operator disabled it": Fault(operator_disables, "gateway.stopped-by-operator", "stood-down", says="disabled"),
    "an operator masked it": Fault(operator_masks, "gateway.stopped-by-operator", "stood-down", says="masked"),
    "it was stopped with Ollama and left behind": Fault(
        stopped_with_ollama, "gateway.stopped-with-dependency", "recovered", says=OLLAMA),
    "Ollama failed, and is repaired": Fault(
        ollama_down, "dependency.ollama.down", "recovered", undo=ollama_can_run, says="CUDA error: out of memory"),
    "Ollama hangs": Fault(stop_signal(OLLAMA), "dependency.ollama.hung", "recovered"),
    "Ollama is missing": Fault(ollama_missing, "dependency.ollama.missing", "escalated", repair=ollama_found),
    "redis is missing": Fault(redis_missing, "dependency.redis.missing", "escalated", repair=redis_found),
    "an operator stopped Ollama": Fault(
        operator_stops_ollama, "dependency.ollama.stopped-by-operator", "stood-down", says="by an operator"),
    "redis failed, and is fixed": Fault(
        redis_down, "dependency.redis.down", "recovered", undo=lambda host: no_drop_in(host, REDIS)),
    "redis hangs": Fault(stop_signal(REDIS), "dependency.redis.hung", "recovered"),
    "redis is loading": Fault(redis_loading, "dependency.redis.loading", "healthy", repair=redis_empty),
    "redis refuses writes, and is repaired meanwhile": Fault(
        redis_refuses_writes, "dependency.redis.refusing-writes", "recovered", undo=redis_writes_soon),
    "another process holds the port": Fault(
        port_taken, "port.taken", "escalated", repair=other_process_ends, says="other-process.service"),
    "memory is low and it crashed": Fault(
        memory_low, "memory.low", "recovered", undo=lambda host: no_drop_in(host, GATEWAY), repair=memory_enough),
    "the log's disk is full": Fault(disk_full, "disk.full", "recovered", repair=own_disk_away, says=LOGS),
    "the log's disk has no inodes left": Fault(disk_inodes, "disk.inodes", "recovered", repair=own_disk_away),
    "the log's disk is read-only": Fault(disk_readonly, "disk.readonly", "escalated", repair=own_disk_away),
    "its settings contradict its unit": Fault(
        settings_invalid, "config.invalid", "escalated", repair=settings_valid, says="production.yaml:4"),
    "its unit file is gone": Fault(unit_gone, "unit.changed", "escalated", repair=unit_installed_again),
}


@pytest.fixture(scope="module")
def patient(installed):
    """The machine with settings for impatient tests."""
    shipped = installed.read(CONF)
    installed.write(CONF, SETTINGS)
    yield installed
    installed.write(CONF, shipped)


@pytest.fixture
def well(host, patient):
    """Healthy, with a full budget, no incident open, and no pass but ours: the triggers are off until `go`."""
    host.handler()
    host.manager("reset")
    host.do("systemctl", "mask", "--runtime", RECOVERY)
    host.grown_up = lambda unit: host.wait(lambda: host.age(unit) > START_TIMEOUT + 0.5, unit + " past its start")
    yield host
    host.do("systemctl", "unmask", "--runtime", RECOVERY, ok=False)
    host.do("systemctl", "unmask", GATEWAY, ok=False)
    host.do("systemctl", "enable", GATEWAY, ok=False)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_cause_is_named_foretold_and_met(well, name):
    host, fault = well, FAULTS[name]
    try:
        fault.make(host)
    except Impossible as why:
        pytest.skip(str(why))
    foretold = json.loads(host.manager("explain", "--json").out)["services"][0]
    before = {one["id"] for one in json.loads(host.manager("history", "--json").out)["incidents"]}
    if fault.undo:
        fault.undo(host)
    answer = explained = None
    try:
        assert foretold["cause"] == fault.cause, foretold["because"]
        assert fault.says in foretold["because"]
        host.do("systemctl", "unmask", "--runtime", RECOVERY)
        answer = host.do(HANDLER, "--json", timeout=400, ok=False)
        assert answer.out, answer
        explained = json.loads(answer.out)["services"][0]
        assert (explained["verdict"], explained["cause"]) == (fault.verdict, fault.cause), answer.out
        assert answer.code == (1 if fault.verdict == "escalated" else 0)
        host.note("%s (%s): the pass" % (name, fault.verdict), answer.seconds)
        if fault.verdict == "recovered":
            assert host.is_healthy()
        if fault.verdict in ("recovered", "escalated"):
            incident = next(one for one in json.loads(host.manager("history", "--json").out)["incidents"]
                            if one["id"] not in before)
            assert incident["causes"][0]["cause"] == fault.cause
            assert bool(incident["end"]) == (fault.verdict == "recovered")
        if fault.verdict == "escalated":
            alert = host.entries("MESSAGE_ID=" + ALERT, since=host.start)[0]
            assert (alert["PRIORITY"], alert["CITADEL_CAUSE"]) == ("2", fault.cause)
            assert "To do: " in alert["MESSAGE"]
        if fault.verdict == "stood-down":
            assert explained["steps"] == [] and host.show(GATEWAY, "ActiveState") == "inactive"
    finally:
        if fault.repair:
            fault.repair(host)


def test_who_holds_the_port_elsewhere_is_in_nobodys_way(well):
    """By the sandboxed unit itself: it, too, must be able to ask the kernel."""
    host = well
    port_taken_elsewhere(host)
    no_drop_in(host, GATEWAY)
    before = {one["id"] for one in json.loads(host.manager("history", "--json").out)["incidents"]}
    try:
        assert json.loads(host.manager("explain", "--json").out)["services"][0]["cause"] == "gateway.crashed"
        host.do("systemctl", "unmask", "--runtime", RECOVERY)
        host.do("systemctl", "start", RECOVERY, timeout=200)
        assert host.is_healthy()
        incident = next(one for one in json.loads(host.manager("history", "--json").out)["incidents"]
                        if one["id"] not in before)
        assert [cause["cause"] for cause in incident["causes"]] == ["gateway.crashed"] and incident["end"]
    finally:
        host.do("systemctl", "stop", "other-process.service", "other-process-6.service")


def test_pid_1_does_not_answer(well):
    """Nothing can be started then: no step but the alert, and not one question more than needed."""
    host = well
    host.do("systemctl", "unmask", "--runtime", RECOVERY)
    before = host.pid()
    os.kill(host.machine.leader, signal.SIGSTOP)        # from outside: it takes none from inside, kill(2)
    try:
        foretold = json.loads(host.manager("explain", "--json", ok=False).out)["services"][0]
        answer = host.do(HANDLER, "--json", timeout=100, ok=False)
    finally:
        os.kill(host.machine.leader, signal.SIGCONT)
    explained = json.loads(answer.out)["services"][0]
    assert foretold["cause"] == explained["cause"] == "systemd.unresponsive", answer.out
    assert (explained["verdict"], [step["do"] for step in explained["steps"]]) == ("escalated", ["escalate"])
    assert answer.code == 1
    host.note("PID 1 does not answer (escalated): the pass", answer.seconds)
    assert "To do: " in host.entries("MESSAGE_ID=" + ALERT, since=host.start)[0]["MESSAGE"]
    assert json.loads(host.handler("--json").out)["services"][0]["verdict"] == "healthy"
    assert host.pid() == before
