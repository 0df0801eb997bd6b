"""One contestant on one root, row after row; each row's outcome goes out as one line."""

import os
import time
import traceback

from citadel.core.errors import CitadelError
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
        load = os.getloadavg()
        try:
            world.wake_pid_1()
            evidence(row.name, "%s\nload average %.1f %.1f %.1f on %d cores\n%s\n" % (
                (verdict.why,) + load + (os.cpu_count(), world.evidence())))
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
    rule, left_alone = world.contestant.kindly(row.rule), LeftAlone(row, world)
    while True:
        world.contestant.beat(world)
        samples, heard = world.observer.seen()
        if world.observer.broken:
            raise AssertionError(world.observer.broken)
        if time.monotonic() - asked > LOOK_FOR_CALLS:
            calls, asked = tuple(world.contestant.calls(world)), time.monotonic()
        timeline = judge.Timeline(samples, tuple(sorted(heard + calls)), cured)
        now = world.observer.now()
        verdict = judge.judge(rule, timeline, now, world.contestant.watched)
        if verdict is not None:
            break
        left_alone.look(timeline)
        if judge.is_cure_due(rule, timeline, now):
            touched = left_alone.complaint()
            if touched:
                return judge.Verdict(False, None, touched)
            row.cure(world)
            cured = world.observer.now()
        time.sleep(BEAT)
    complaint = ""
    if verdict.survived:
        complaint = row.look(world) if row.look else ""
        if not complaint and rule.kind != judge.DECIDED:
            complaint = world.contestant.aftermath(world, len(judge.told(timeline.calls)))
    return judge.Verdict(False, verdict.seconds, complaint) if complaint else verdict


class LeftAlone:
    """Watches a unit that must neither be started nor restarted: from the fault, or from the alert, until
    the cure."""

    def __init__(self, row, world):
        wanted = row.veto is not None and (not row.veto.only or world.contestant.name in row.veto.only)
        self.veto, self.world, self.before = row.veto if wanted else None, world, None
        if wanted and row.veto.since == "fault":
            self.before = world.settled_run(row.veto.unit)

    def look(self, timeline):
        """Once somebody has been told, and systemd itself has given up: what runs."""
        if self.veto and self.before is None and timeline.calls:
            self.before = self.world.settled_run(self.veto.unit)

    def complaint(self):
        """Before the cure."""
        if self.veto is None:
            return ""
        if self.before is None:
            raise AssertionError("systemd was still restarting %s when the operator came" % self.veto.unit)
        return judge.touched(self.veto.unit, self.before, self.world.settled_run(self.veto.unit))
