"""`monitor`: follows a service's changes and adds up what they cost.

systemd stamps each change of state, counts its own restarts (NRestarts) and gives each run an InvocationID. When one of
the three has changed, the journal of PID 1 tells what lay in between: two quick restarts are two, each with its time.
`Timeline` is pure, `watch` is the loop around it. Times are seconds of CLOCK_MONOTONIC, the clock of all these stamps.
"""

import shutil
from collections import namedtuple
from operator import attrgetter

from citadel.commands.interruption import interruption
from citadel.core.errors import OK, STILL_WRONG, CannotLook
from citadel.core.terminal import LiveLine
from citadel.core.text import local_time, plural, printable, span
from citadel.observe import moments as journal_moments
from citadel.observe.moments import ENDED, EXITED, FAILED, OUT_OF_MEMORY, SCHEDULED, STARTED

Look = namedtuple("Look", "time unit answering detail")
Look.__doc__ = """One look: `answering` True | False, or None where no health probe is set; `detail` says why not."""
Event = namedtuple("Event", "time text tone")
Event.__doc__ = """A change worth a line; `tone` is good | bad | uneasy | faint, a colour's meaning."""
Summary = namedtuple("Summary", "watched availability restarts outages downtime longest up blind")
Summary.__doc__ = "`availability` in percent, times in seconds; `up` at the end; `blind`: systemd did not answer."

UP = ("active", "reloading", "refreshing")
_TONES = {EXITED: "bad", FAILED: "bad", OUT_OF_MEMORY: "bad", SCHEDULED: "uneasy", STARTED: "good"}

GLANCE = 2.0                    # seconds that the health probe may take
CLOSE, RELAXED = 0.2, 0.5       # seconds between looks: while something goes on, and else
LINGER = 3.0                    # seconds for which the last change keeps us close, and the journal being read

_stamp = attrgetter("state_change", "invocation", "restarts", "active", "sub", "main_pid")


def perform(call):
    service, cursor = call.service, [journal_moments.end_of_journal(run=call.run)]
    events, line = [], LiveLine(call.out, call.style.live and not call.options.json)

    def look():
        asked = call.monotonic()
        unit = call.look()
        if not service.health or unit.active not in UP:
            return Look(asked, unit, False if service.health else None, "")
        probe = call.ask(GLANCE)
        return Look(call.monotonic(), unit, probe.outcome == "ok", probe.detail or probe.outcome)

    def journal():
        found, cursor[0] = journal_moments.after(cursor[0], service.unit, run=call.run)
        return found

    def tell(event):
        now = call.now()
        time = local_time(now.wall - (now.monotonic - event.time), milliseconds=True)
        events.append({"time": time, "text": event.text})
        if not call.options.json:
            line.print_above("%s  %s" % (time, call.paint(event.text, event.tone)))

    def show(timeline, left):
        now = call.monotonic()
        summary = timeline.summary(now)
        text = "%s  %s  %s  %.2f %%  %s left" % (
            service.unit, "up" if timeline.up else "down for " + span(timeline.down_for(now)),
            plural(summary.restarts, "restart"), summary.availability, span(left))
        line.draw(lambda: call.paint(text[:shutil.get_terminal_size().columns - 1], "good" if timeline.up else "bad"))

    with interruption() as pause:
        timeline = watch(call.options.seconds, look, journal, call.monotonic, pause, tell, show)
    line.clear()
    summary = timeline.summary(call.monotonic())
    call.report("%s: %s" % (service.unit, sentence(summary)), unit=service.unit, summary=summary, events=events)
    return OK if summary.up else STILL_WRONG


class Timeline:
    """What happened to one service while we watched. It is up when systemd has it active and its health probe, if any,
    answers. An outage begins when systemd says that the run ended (not when we noticed)."""

    def __init__(self, look):
        self._begin, self._last = look.time, look
        self.up = _is_up(look)
        self.blind = 0.0                        # seconds in which systemd did not answer: we know nothing of them
        self._outages = [] if self.up else [[look.time, None]]      # [begin, end or None]
        self._counted = 0
        self._announced = False                 # NRestarts has counted a restart whose run is still to begin
        self._runs = {look.unit.invocation}

    def feed(self, look, moments=()):
        """Takes a look and the journal's (moments.Moment) that are new since the last; the events in them."""
        before, self._last = self._last, look
        self._count(before.unit, look.unit, moments)
        events = [Event(moment.time, moment.text, _TONES.get(moment.kind, "faint")) for moment in moments
                  if moment.kind != STARTED or moment.invocation != look.unit.invocation]
        if _visible(before.unit) != _visible(look.unit):
            events.append(_state_event(before.unit, look))
        events += self._outages_between(before, look, moments)
        return sorted(events, key=lambda event: event.time)

    def down_for(self, now):
        """Seconds that the present outage has lasted; 0 while the service is up."""
        return 0.0 if self.up else max(0.0, now - self._outages[-1][0])

    def summary(self, now):
        """The watch added up at `now`. The looks and the journal each count the restarts that they see, and neither
        counts more than happened; so the larger number is right, also with journald stopped or late."""
        watched = max(now - self._begin, 1e-9)
        lengths = [max(0.0, (now if end is None else end) - begin) for begin, end in self._outages]
        downtime = min(sum(lengths), watched)
        return Summary(watched, 100.0 * (1 - downtime / watched), max(self._counted, len(self._runs) - 1),
                       len(lengths), downtime, max(lengths, default=0.0), self.up, self.blind)

    def _count(self, before, now, moments):
        grown = max(0, now.restarts - before.restarts)
        other_run = bool(now.invocation) and now.invocation != before.invocation and now.invocation not in self._runs
        self._counted += grown or int(other_run and not self._announced)
        self._announced = not other_run and (self._announced or grown > 0)
        self._runs |= {now.invocation, *(moment.invocation for moment in moments if moment.kind == STARTED)} - {""}

    def _outages_between(self, before, look, moments):
        """Ends and begins outages by what lay between two looks; the events that say so. Where the journal is late,
        systemd's own stamps must do, which are of the last change only."""
        recent = [moment for moment in moments if moment.time > before.time]
        ends = [moment for moment in recent if moment.kind in (EXITED, ENDED)]
        edges = [(moment.time, False) for moment in ends]
        if look.unit.active_exit > before.unit.active_exit:
            edges.append((look.unit.active_exit, False))
        if look.answering is None:              # no probe: systemd's word must do
            edges += [(moment.time, True) for moment in recent if moment.kind == STARTED]
            if look.unit.active_enter > before.unit.active_enter:
                edges.append((look.unit.active_enter, True))
        events = []
        for time, up in sorted(edges):
            events += self._turn(time, up)
        if _is_up(look) and look.unit.invocation in [moment.invocation for moment in ends]:
            return events                       # that run ended while we looked, and the journal knows it first
        return events + self._turn(look.time, _is_up(look), _silence(look))

    def _turn(self, time, up, why=""):
        if up == self.up:
            return []
        self.up, time = up, max(time, self._begin)
        if not up:
            self._outages.append([time, None])
            return [Event(time, "down" + (why and ": " + why), "bad")]
        self._outages[-1][1] = time
        return [Event(time, "up again after " + span(time - self._outages[-1][0]), "good")]


def _silence(look):
    """Why it is down though systemd has it up; "" when it is not so."""
    if look.unit.active not in UP or look.answering is not False:
        return ""
    return "not answering" + (" (%s)" % printable(look.detail) if look.detail else "")


def _is_up(look):
    return look.unit.active in UP and not _silence(look)


def _visible(unit):
    return unit.active, unit.sub, unit.invocation if unit.active in UP else "", unit.main_pid


def _state(unit):
    text = "%s (%s)" % (unit.active, unit.sub)
    if unit.main_pid:
        text += ", PID %d" % unit.main_pid
    if unit.active not in UP and unit.result not in ("", "success"):
        text += ", result %s" % unit.result
    return printable(text)


def _state_event(before, look):
    unit, text = look.unit, _state(look.unit)
    if unit.restarts != before.restarts:
        text += ", NRestarts " + (str(unit.restarts) if unit.restarts > before.restarts else "cleared")
    tone = "good" if unit.active in UP else "bad" if unit.active in ("failed", "inactive") else "uneasy"
    return Event(unit.state_change if unit.state_change > before.state_change else look.time, text, tone)


def watch(seconds, look, journal, clock, pause, tell, show=lambda timeline, left: None):
    """Watches for `seconds`, or until `pause(seconds)`, which waits, says False; the Timeline with all that happened.
    `look()` gives a Look or raises CannotLook (the very first one ends the watch with that); `journal()` the moments
    since its last call; `tell(event)` is called for each change, `show(timeline, seconds left)` after each look."""
    end = clock() + seconds
    last = look()
    timeline, silence = Timeline(last), _silence(last)
    tell(Event(last.time, _state(last.unit) + (silence and ", but " + silence), "good" if timeline.up else "bad"))
    changed, blind = clock(), False
    while True:
        left = end - clock()
        show(timeline, max(0.0, left))
        near = clock() - changed < LINGER or not timeline.up
        if left <= 0 or not pause(min(left, CLOSE if near else RELAXED)):
            return timeline
        asked = clock()
        try:
            now = look()
        except CannotLook as error:
            timeline.blind += clock() - asked
            if not blind:
                tell(Event(asked, printable(str(error)), "uneasy"))
            blind = True
            continue
        if blind:
            tell(Event(now.time, "systemd answers again", "good"))
        if blind or _stamp(now.unit) != _stamp(last.unit):
            changed = clock()
        blind, last = False, now
        # journald may write a moment after systemd changed the state: keep reading while close.
        for event in timeline.feed(now, journal() if clock() - changed < LINGER else ()):
            tell(event)


def sentence(summary):
    """The end of a watch in one line."""
    outages = "no outage" if not summary.outages else "%s, down for %s in all, the longest %s" % (
        plural(summary.outages, "outage"), span(summary.downtime), span(summary.longest))
    blind = "; systemd did not answer for %s of that time" % span(summary.blind) if summary.blind else ""
    return "%.3f %% available in %s: %s, %s%s%s" % (
        summary.availability, span(summary.watched), plural(summary.restarts, "restart"), outages, blind,
        "" if summary.up else "; it is down now")
