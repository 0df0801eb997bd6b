#!/usr/bin/env python3
"""Plays random histories of tests/unit/recovery again, with all that happens in them printed:

    python3 tests/support/play.py SEED...

A line is the second of the history, then what happened: to the host, to an operator's decisions, in a pass, in a step.
The exit code is 1 where a history fails, and the last line says why, as the test does.
"""

import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(os.path.dirname(HERE)), "lib")]

import story as stories  # noqa: E402  (both are found by the path above)
from world import Crash, Forbidden, World  # noqa: E402

from citadel.core import log  # noqa: E402

BEGINNING = 1000000.0                   # World.time at first


class TellingWorld(World):
    """Says what is done to it, before it is done."""

    def says(self, text):
        print("%9.1f  %s" % (self.time - BEGINNING, text), flush=True)

    def breaks(self, name, seconds=float("inf"), unit=stories.GATEWAY):
        self.says("fault begins: %s, for %g s (%s)" % (name, seconds, unit))
        super().breaks(name, seconds, unit)

    def heals(self):
        self.says("all faults end")
        super().heals()

    def operator_stops(self, unit, disables=False):
        self.says("operator stops %s%s" % (unit, " and disables it" if disables else ""))
        super().operator_stops(unit, disables)

    def operator_starts(self, unit):
        self.says("operator starts " + unit)
        super().operator_starts(unit)

    def reboots(self):
        self.says("the host reboots")
        super().reboots()

    def _ends(self, service, state, by, dependency=""):
        self.says("%s ends: %s (%s)" % (service.unit, state, " ".join((by, dependency)).strip()))
        super()._ends(service, state, by, dependency)

    def tick(self):
        try:
            super().tick()
        except Crash:
            self.says("Citadel is killed here")
            raise

    def perform(self, step, context):
        self.says("    step: %s %s: %s" % (step.do, step.target, step.because))
        outcome = super().perform(step, context)
        self.says("        %s %s" % (outcome.outcome, outcome.detail))
        return outcome

    def verify(self, unit, context):
        outcome = super().verify(unit, context)
        self.says("    verify %s: %s %s" % (unit, outcome.outcome, outcome.detail))
        return outcome


class TellingStory(stories.Story):
    """Says what its passes begin with, and end with."""

    def recovery_pass(self, trigger="check", may_crash=False):
        world = self.world
        faults = sorted(set(world.faults).union(*(service.faults for service in world.services.values())))
        world.says("pass (%s); faults: %s" % (trigger, ", ".join(faults) or "none"))
        results = super().recovery_pass(trigger, may_crash)
        for result in results or ():
            world.says("    %s: %s %s: %s" % (result.unit, result.verdict, result.cause, result.because))
        return results

    def hear(self):
        before = {key: list(told) for key, told in self.told.items()}
        try:
            super().hear()
        finally:
            for (unit, incident), told in self.told.items():
                for kind, was, now in zip(("firing", "resolved"), before.get((unit, incident), (0, 0)), told):
                    if now > was:
                        self.world.says("    alert %s: incident %s of %s" % (kind, incident, unit))

    def loses(self, copies):
        self.world.says("files of the record are lost: " + ", ".join(map(os.path.basename, copies)))
        super().loses(copies)

    def begins_maintenance(self):
        super().begins_maintenance()
        self.world.says("operator begins maintenance, until %.1f" % (self.world.maintenance - BEGINNING))


def main(words):
    if not words or not all(word.isdigit() for word in words):
        print(__doc__.strip(), file=sys.stderr)
        return 64
    stories.World, failed = TellingWorld, False
    with tempfile.TemporaryDirectory() as place:
        log.JOURNAL = os.path.join(place, "journal")
        journald = stories.Journald(log.JOURNAL)
        for seed in map(int, words):
            try:
                stories.play(seed, journald, story=TellingStory)
                print("history %d: nothing is wrong" % seed)
            except (Exception, Forbidden) as error:
                failed = True
                print("history %d fails: %s: %s" % (seed, type(error).__name__, error))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
