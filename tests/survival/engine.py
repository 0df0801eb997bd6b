"""One contestant on one root, row after row; each row's outcome goes out as one line."""

import time
import traceback

from citadel.errors import CitadelError
from survival import judge, report
from survival.world import Stage

BEAT = 0.3
LOOK_FOR_CALLS = 3.0            # seconds between two questions to the journal


def run(root, contestant, rows, say, evidence=lambda name, text: None):
    """Yields a report.Outcome a row. `say(text)` for what is worth a line while it runs."""
    stage = Stage(root, contestant, say)
    try:
        for row in rows:
            if row.only and contestant.name not in row.only:
                yield report.Outcome(root, 0, contestant.name, row.name, None, None, "does not apply", 0.0)
                continue
            began = time.monotonic()
            verdict, version = play(row, stage, evidence)
            yield report.Outcome(root, version, contestant.name, row.name, verdict.survived, verdict.seconds,
                                 verdict.why, time.monotonic() - began)
    finally:
        stage.close()


def play(row, stage, evidence):
    """One row on a healthy machine: (Verdict, systemd's version). What cannot even begin is a failure too."""
    try:
        world = stage.ready()
    except (CitadelError, AssertionError, ValueError) as error:
        return judge.Verdict(False, None, "no healthy gateway to begin with: %s" % error), 0
    version = world.machine.systemd_version()
    try:
        verdict = _play(row, world)
    except (CitadelError, AssertionError, ValueError, OSError) as error:
        verdict = judge.Verdict(False, None, "the row itself broke: %s" % (str(error) or traceback.format_exc()))
    if not verdict.survived:
        try:
            world.wake_pid_1()
            evidence(row.name, "%s\n%s\n" % (verdict.why, world.evidence()))
        except (CitadelError, AssertionError, OSError):
            evidence(row.name, verdict.why)
    return verdict, version


def _play(row, world):
    world.notes, world.struck = {}, False
    if row.prepare:
        row.prepare(world)
    world.contestant.resume(world)
    world.began = time.time()
    world.observer.forget_calls()
    row.inject(world)
    if not world.struck:
        world.observer.begin()
    cured, calls, asked = None, (), 0.0
    rule = world.contestant.kindly(row.rule)
    while True:
        world.contestant.beat(world)
        samples, told = world.observer.seen()
        if time.monotonic() - asked > LOOK_FOR_CALLS:
            calls, asked = tuple(world.contestant.calls(world)), time.monotonic()
        timeline = judge.Timeline(samples, tuple(sorted(told + calls)), cured)
        now = world.observer.now()
        verdict = judge.judge(rule, timeline, now, world.contestant.watched)
        if verdict is not None:
            break
        if judge.is_cure_due(rule, timeline, now):
            row.cure(world)
            cured = world.observer.now()
        time.sleep(BEAT)
    complaint = row.look(world) if verdict.survived and row.look else ""
    return judge.Verdict(False, verdict.seconds, complaint) if complaint else verdict
