"""citadel-recovery-handler: one recovery pass over every service in the settings.

    observe -> diagnose -> plan -> act -> verify -> record -> escalate

`recovery_pass` below is that road. It names the cause first, treats that cause, and can say why at every step; what a
veto forbids is not done, and what was tried is counted on disk before it is tried.
"""

import sys
import time
from collections import namedtuple

from citadel import __version__, clock, commands, gate, probes, settings as settings_file, stops, systemctl
from citadel.act import Context, perform, verify
from citadel.alerts import escalate, journal, resolve, retry_undelivered
from citadel.bundle import collect
from citadel.diagnose import Marks, diagnose
from citadel.errors import CANNOT_LOOK, OK, STILL_WRONG, CitadelError, UsageError
from citadel.incidents import Store
from citadel.installer.manifest import changed_units
from citadel.observe import observe
from citadel.plan import Limits, plan

TRIGGERS = ("on-failure", "check", "gate", "manual")
LONGEST_PASS = 10 * 60                  # seconds; the unit's TimeoutStartSec is 15 min

Result = namedtuple("Result", "unit verdict cause because incident steps")
Result.__doc__ = "What a pass came to for one service; `steps` are act.Outcomes."


def main(arguments, out=None):
    out = out or sys.stdout
    options = read_arguments(arguments)
    if options.trigger == "gate":
        return stand_at_the_gate(options, out)
    settings = settings_file.read(options.config or settings_file.DEFAULT_PATH, must_exist=bool(options.config))
    store = Store()
    if options.note_stop:
        return note_stop(settings, store)
    if options.dry_run:
        results = [Result(finding.unit, planned.verdict, finding.cause, planned.because, "", planned.steps)
                   for finding, planned in foresee(settings, store)]
    else:
        with store.lock(options.trigger):
            results = recovery_pass(settings, store, options.trigger)
    report_results(results, options, out)
    return exit_code(results)
