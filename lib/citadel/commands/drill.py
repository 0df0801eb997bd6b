"""`test-restart`: kills a healthy service's main process and watches systemd restart it; refuses where that would cost
more than one restart.
"""

from collections import namedtuple

from citadel.act.kill import kill_unit
from citadel.commands import maintenance
from citadel.commands.call import NAME
from citadel.core.errors import OK, STILL_WRONG, CitadelError
from citadel.core.text import plural, printable, span
from citadel.observe import moments
from citadel.observe.moments import EXITED, FAILED, STARTED

POLL = 0.05                 # seconds between two looks; the downtime is measured this finely, the systemctl call apart
NOTICE = 10.0               # within which systemd must notice the death: it has a SIGCHLD, so milliseconds
GRACE = 5.0                 # over RestartSec, for its timers' accuracy (250 ms) and a busy host
BACK_AFTER_KILL = ("always", "on-failure", "on-abnormal", "on-abort")       # "unclean signal", systemd.service(5)

Result = namedtuple("Result", "ok why old_pid new_pid old_restarts new_restarts downtime steps")
Result.__doc__ = """`why` says what went wrong, "" when nothing did; `downtime` in seconds from the kill to the first
good answer of the health probe (without a probe: to active), None when that never came; steps count so too."""


def perform(call):
    call.only_root("test-restart")
    unit = call.look()
    since_reset = call.store.intent.since_reset(unit.name)
    counted = min(unit.start_interval or 0, float("inf") if since_reset is None else since_reset)
    started = starts(moments.within(counted, unit.name, call.now(), run=call.run))
    why = printable(refusal(unit, call.ask(), maintenance.words(call), started, call.options.force), 400)
    if why:
        call.report(unit=unit.name, ok=False, refused=why)
        if call.options.json:
            return STILL_WRONG
        raise CitadelError("test-restart refused: " + why)
    if not call.options.json:
        call.say("%s: PID %d, NRestarts %d, %s of at most %s in its start-limit interval" % (call.paint(
            unit.name, "strong"), unit.main_pid, unit.restarts, plural(started, "start"), unit.start_burst or "any"))
    result = Drill(call, unit).perform()
    call.report("systemd restarted %s: PID %d is now %d, down for %s" % (
        unit.name, result.old_pid, result.new_pid, span(result.downtime)) if result.ok else
        "%s. Its log: %s logs 20. What to do: %s explain" % (call.paint("test-restart failed", "bad"), NAME, NAME),
        unit=unit.name, **result._asdict())
    return OK if result.ok else STILL_WRONG


def refusal(unit, probe, maintenance, starts, force=False):
    """Why the drill must not be, or "". `starts` counts the unit's starts within its start-limit interval;
    `maintenance` is a sentence when it is on. `force` overrides the last two: those cost a restart, not the drill."""
    if unit.load != "loaded":
        return "%s is %s" % (unit.name, {"not-found": "not installed"}.get(unit.load, unit.load))
    if unit.active != "active" or not unit.main_pid:
        return "%s is down (%s, %s); test-restart needs a running service" % (unit.name, unit.active, unit.sub)
    if probe.outcome not in ("ok", "none"):
        return "%s does not answer (%s); a restart would prove nothing" % (unit.name, probe.detail or probe.outcome)
    if unit.restart not in BACK_AFTER_KILL:
        return "%s has Restart=%s; systemd would not restart it after a kill" % (unit.name, unit.restart or "no")
    if unit.job:
        return "%s has a job queued in systemd; wait until it is done" % unit.name
    if maintenance and not force:
        return "%s is in maintenance (%s); --force overrides this" % (unit.name, maintenance)
    if unit.start_burst and unit.start_interval and starts + 1 >= unit.start_burst and not force:
        return "%s had %s in the last %s; one more would reach %d, where systemd gives up; --force overrides this" % (
            unit.name, plural(starts, "start"), span(unit.start_interval), unit.start_burst)
    return ""


def starts(moments):
    """How often the unit was started, as the start limit counts it, from its journal moments in that interval: runs
    that began, and starts that failed before their main process ran (ExecStartPre=)."""
    began, ended, failed = ({moment.invocation for moment in moments if moment.kind == kind}
                            for kind in (STARTED, EXITED, FAILED))
    return len(began | failed - ended)


class Drill:
    """One drill on `unit`, as it was just seen; says each step when it is done."""

    def __init__(self, call, unit):
        self.call, self.unit, self.killed, self.steps = call, unit, 0.0, []
        self.patience = call.service.start_timeout      # seconds from active to the first good answer

    def perform(self):
        """Kills, waits, verifies; the Result. What goes wrong is in it, not raised."""
        before, now, downtime, why = self.unit, self.unit, None, ""
        try:
            self.killed = self.call.monotonic()
            _, failure = kill_unit(before, self.call.run, whom="main")
            if failure:
                raise CitadelError(failure)
            self._say("killed the main process, PID %d (SIGKILL)" % before.main_pid)
            noticed = self._wait(lambda unit: self._another(unit) or unit.active not in ("active", "reloading"), NOTICE,
                                 "systemd did not notice that PID %d died" % before.main_pid)
            self._say("systemd noticed: %s (%s)" % (noticed.active, noticed.sub))
            now = self._wait(lambda unit: self._another(unit) and unit.active == "active",
                             (before.restart_sec or 0) + self.patience + GRACE, "systemd did not restart it")
            self._say("active again: PID %d, was %d" % (now.main_pid, before.main_pid))
            if now.restarts <= before.restarts:
                raise CitadelError("NRestarts is %d and was %d; systemd did not count this restart as its own" % (
                    now.restarts, before.restarts))
            self._say("NRestarts grew from %d to %d" % (before.restarts, now.restarts))
            self._answer()
            downtime = self.call.monotonic() - self.killed
            last = self.call.look()
            if last.invocation != now.invocation:
                raise CitadelError("it answered and then ended again: %s (%s)" % (last.active, last.sub))
        except CitadelError as error:
            why = str(error)
            self._say(why, ok=False)
        return Result(not why, why, before.main_pid, now.main_pid if now is not before else 0, before.restarts,
                      now.restarts, downtime if not why else None, tuple(self.steps))

    def _another(self, unit):
        return unit.main_pid not in (0, self.unit.main_pid) and unit.invocation != self.unit.invocation

    def _wait(self, condition, seconds, complaint):
        end = self.call.monotonic() + seconds
        while True:
            unit = self.call.look()
            if condition(unit):
                return unit
            if unit.active == "failed" and unit.sub == "failed":
                raise CitadelError("%s: it is failed, result %s" % (complaint, unit.result))
            if self.call.monotonic() > end:
                raise CitadelError("%s within %s: it is %s (%s)" % (complaint, span(seconds), unit.active, unit.sub))
            self.call.sleep(POLL)

    def _answer(self):
        end = self.call.monotonic() + self.patience
        while True:
            probe = self.call.ask()
            if probe.outcome == "ok":
                self._say("the health probe answers (%s)" % printable(probe.target))
            if probe.outcome in ("ok", "none"):
                return
            if self.call.monotonic() > end:
                raise CitadelError("the health probe did not answer within %s: %s" % (
                    span(self.patience), probe.detail or probe.outcome))
            self.call.sleep(POLL)

    def _say(self, text, ok=True):
        text, seconds = printable(text), self.call.monotonic() - self.killed
        self.steps.append({"text": text, "ok": ok, "seconds": seconds})
        if not self.call.options.json:
            mark = self.call.paint("ok  ", "good") if ok else self.call.paint("FAIL", "bad")
            self.call.say("%s %7.2f s  %s" % (mark, seconds, text))

