"""`reset`: clears systemd's counters and ours, and says what they held."""

import sys

from citadel.commands.call import NAME
from citadel.core import log
from citadel.core.errors import OK, CannotLook, CitadelError
from citadel.core.text import plural, printable
from citadel.observe import systemctl


def perform(call):
    call.only_root("reset")
    unit = call.look()
    with call.store.lock("manual"):
        answer = systemctl.reset_failed(unit.name, run=call.run)
        complaint = "" if answer.ok else printable(answer.complaint())
        if answer.timed_out:
            raise CannotLook("systemd does not answer: " + complaint)
        if answer.ok:
            try:
                call.store.intent.note_reset(unit.name)
            except OSError as error:
                sys.stderr.write("%s: test-restart will not know of this reset (%s), ignoring\n" % (
                    NAME, error.strerror))
        held = call.store.of(unit.name).forget()
        for name in call.service.depends:           # what was tried with them, for whichever service
            for one in call.settings.dependencies[name].units:
                call.store.of(one).forget()
        call.store.forget_loss()
        trouble = call.store.trouble
    cleared = [text for wanted, text in (
        (unit.active == "failed", "the failed state (result %s)" % unit.result),
        (unit.restarts, "NRestarts, which was %d" % unit.restarts),
        (answer.ok, "systemd's start counter"),
        (held.attempts, plural(len(held.attempts), "counted recovery attempt")),
        (held.escalation is not None, "the wait after the last alert"),
        (held.lost is not None, "the limit on attempts that a lost record brings")) if wanted]
    log.journal("reset", "%s: an operator cleared %s" % (unit.name, ", ".join(cleared) or "nothing"), unit.name)
    call.report("%s: cleared %s" % (unit.name, ", ".join(cleared) or "nothing; there was nothing to clear"),
                unit=unit.name, cleared=cleared, complaint=complaint, trouble=trouble)
    if complaint and unit.load == "loaded":
        raise CitadelError("systemd's counters were not cleared: " + complaint)
    if trouble:
        raise CitadelError("Citadel's own counters may not be cleared: " + printable(trouble))
    return OK
