"""Tells of a rehearsal while it runs: a line a step, then the table; with --json one document at the end."""

import os
import time

from citadel.core import terminal
from citadel.core.errors import CitadelError
from citadel.core.text import plural, printable, span, to_json

MARKS = {True: ("survived", "good"), False: ("FAILED", "bad"), None: ("not tried", "uneasy")}   # by Result.survived


class Narrator:
    """Prints a line for each step and fault, redrawn while it lasts on a terminal; with `as_json` only the document."""

    def __init__(self, out, as_json, clock=time.monotonic):
        self.out, self.as_json, self.clock = out, as_json, clock
        self.style = terminal.style_of(out, os.environ)
        self.line = terminal.LiveLine(out, self.style.live and not as_json)
        self.steps = []
        self.total = self.began = clock()

    def say(self, line=""):
        if not self.as_json:
            self.line.print_above(line)

    def begin(self, name, what=""):
        self.began = self.clock()
        dots = "… " if self.style.unicode else "... "
        self.line.draw(lambda: "  %-15s %s" % (name, self.style.paint(dots + what, "faint")))

    def _end(self, name, mark, how, seconds, text, stage):
        """The line of what has ended, and after a failure the newest lines of the journal."""
        self.say("  %-15s %s %7s  %s" % (name, self.style.paint("%-9s" % mark, how), span(seconds), text))
        if mark == "FAILED" and stage.machine.running():
            for line in stage.evidence():
                self.say("      " + self.style.paint(line, "faint"))

    def step(self, name, action, stage):
        """Runs one step before or after the faults; False if it failed."""
        self.begin(name)
        try:
            text, well = action(), True
        except CitadelError as error:
            text, well = str(error), False
        seconds = self.clock() - self.began
        self.steps.append({"step": name, "ok": well, "seconds": round(seconds, 2), "because": text})
        mark = ("ok", "good") if well else ("FAILED", "bad")
        self._end(name, *mark, seconds=seconds, text=printable(text, 400), stage=stage)
        return well

    def end_fault(self, result, stage):
        self._end(result.name, *MARKS[result.survived], result.seconds, printable(result.happened), stage)

    def close(self, results, survived, stage):
        """The table of the faults, or the document."""
        if self.as_json:
            self.out.write(to_json({
                "schema": 1, "survived": survived, "seconds": round(self.clock() - self.total, 1),
                "standins": list(stage.standins), "steps": self.steps,
                "faults": [dict(result._asdict(), seconds=round(result.seconds, 2)) for result in results]}))
            return
        if results:
            rows = [("fault", "outcome", "seconds", "what happened, and why")]
            for result in results:
                mark, _ = MARKS[result.survived]
                rows.append((result.name, mark, "%.1f" % result.seconds, printable(result.happened)))
                if result.cause:
                    rows.append(("", "", "", printable(result.because, 400)))
            self.say()
            self.say("\n".join(terminal.table(rows)))
        self.say()
        tried = [result.survived for result in results if result.survived is not None]
        self.say("%s of %s survived in %s; this host was not changed." % (
            sum(tried), plural(len(tried), "fault"), span(self.clock() - self.total)) if survived else
            "The rehearsal failed; this host was not changed.")
