"""citadel-restart-manager: the operator's command, a function an action.

`main` reads the command line and calls the action's function with a Call; each of them asks the rooms that know, and
prints what they say. `check` without further words is taken a short way round all this, because cron takes it each
minute: nothing below `main` is imported or built for it.
"""

import sys

from citadel import TREE
from citadel.core.errors import (
    CANNOT_LOOK,
    OK,
    STILL_WRONG,
    CannotLook,
    CitadelError,
    NotPermitted,
    SettingsError,
    UsageError,
)
from citadel.settings import file as settings_file

NAME = "citadel-restart-manager"
SHIPPED_UNITS = "units"                 # beside our lib/: the units as they were shipped
MOST_JSON_LINES = 10000                 # a JSON document is built in memory


def main(argv, out=None):
    """Does what `argv` asks for, and returns the exit code. `out` is where results go."""
    out = out or sys.stdout
    if argv in (["check"], ["check", "--quiet"]):
        return tell_check(out, quiet=len(argv) == 2)
    from citadel.commands import command_line
    options = command_line.read(argv, ACTIONS, out)
    return OK if options is None else options.act(Call(options, out))


class Call:
    """What an action is given: its options, where to print, and, read when first asked for, the settings and our
    record on disk."""

    def __init__(self, options, out):
        import os
        import time

        from citadel.core import clock
        from citadel.core.run import run
        from citadel.core.terminal import style_of
        self.options, self.out = options, out
        self.style = style_of(out, os.environ)
        self.run, self.now, self.monotonic, self.sleep = run, clock.now, time.monotonic, time.sleep
        self.is_root = os.geteuid() == 0
        self._settings = self._store = None

    @property
    def settings(self):
        if self._settings is None:
            path = self.options.config
            self._settings = settings_file.read(path or settings_file.DEFAULT_PATH, must_exist=bool(path))
        return self._settings

    @property
    def service(self):
        """The settings of the service that this is about."""
        from citadel.commands.check import the_service
        return the_service(self.settings, self.options.service)

    @property
    def unit(self):
        return self.service.unit

    @property
    def store(self):
        if self._store is None:
            from citadel.record.store import Store
            self._store = Store()
        return self._store

    def only_root(self, what):
        if not self.is_root:
            raise NotPermitted("%s needs root" % what)

    def say(self, text=""):
        self.out.write(text + "\n")
        self.out.flush()

    def document(self, **fields):
        """The one JSON document of --json."""
        from citadel.core.text import to_json
        self.out.write(to_json(dict({"schema": 1, "action": self.options.action}, **fields)))
        self.out.flush()

    def paint(self, text, how):
        return self.style.paint(text, how)

    def mark(self, good):
        """A word that says at a glance whether a line is good."""
        return self.paint("ok  ", "good") if good else self.paint("FAIL", "bad")


# --- check ------------------------------------------------------------------------------------------------------------

def check(call):
    if call.options.json:
        return _check_as_json(call)
    return tell_check(call.out, call.options.quiet, call.options.config, call.options.service)


def tell_check(out, quiet, config=None, service=""):
    """The health check's line on `out`; its code. With `quiet`, only what cron has not heard yet."""
    from citadel.commands import check as health
    code, line, _, findings = health.check(config or settings_file.DEFAULT_PATH, bool(config), service, scheduled=quiet)
    if not quiet or health.news(code, findings, line):
        out.write(line + "\n")
        out.flush()
    return code


def _check_as_json(call):
    from citadel.commands import check as health
    code, line, facts, findings = health.check(call.options.config or settings_file.DEFAULT_PATH,
                                               bool(call.options.config), call.options.service)
    seen = facts.services if facts else ()
    call.document(code=code, status=health.WORDS[code], text=line, services=[
        dict(_finding_as_data(finding), status=health.WORDS[health.code_of(finding, service)],
             probe=dict(service.probe._asdict()),
             dependencies=[{"name": one.name, "unit": one.unit.name, "active": one.unit.active,
                            "probe": dict(one.probe._asdict())} for one in service.dependencies])
        for finding, service in zip(findings, seen)])
    return code


def _finding_as_data(finding):
    return {"unit": finding.unit, "condition": finding.condition, "cause": finding.cause, "because": finding.because,
            "target": finding.target, "others": [
                {"cause": cause.cause, "because": cause.because, "target": cause.target} for cause in finding.others]}


# --- test-restart -----------------------------------------------------------------------------------------------------

def test_restart(call):
    """The drill: kill it, and watch systemd bring it back."""
    call.only_root("test-restart")
    from citadel.commands import drill
    from citadel.core.text import printable, span
    from citadel.model import Probe
    from citadel.observe import moments, probes, systemctl
    from citadel.record import intent
    service, patience = call.service, call.settings.recovery.probe_timeout

    def look():
        return systemctl.units([service.unit], run=call.run)[service.unit]

    def ask():
        return probes.ask([service.health], patience)[service.health] if service.health else Probe()

    def tell(step):
        if not call.options.json:
            call.say("%s %7.2f s  %s" % (call.mark(step.ok), step.seconds, step.text))

    unit, now = look(), call.now()
    counted = [seconds for seconds in (unit.start_interval or 0, intent.since_reset(call.store.files, service.unit, now))
               if seconds is not None]
    started = drill.starts(moments.within(min(counted), unit.name, now, run=call.run))
    why = drill.refusal(unit, ask(), _maintenance_text(call), started, call.options.force)
    if why:
        if call.options.json:
            call.document(unit=unit.name, ok=False, refused=printable(why, 400))
            return STILL_WRONG
        raise CitadelError("test-restart refused: " + printable(why, 400))
    if not call.options.json:
        call.say("%s  PID %d, NRestarts %d, started %d of at most %s times in its start-limit interval" % (
            call.paint(unit.name, "strong"), unit.main_pid, unit.restarts, started, unit.start_burst or "any"))
    result = drill.Drill(unit, look, ask, call.monotonic, call.sleep, tell, service.start_timeout, call.run).perform()
    if call.options.json:
        call.document(unit=unit.name, **dict(result._asdict(), steps=[dict(step._asdict()) for step in result.steps]))
    elif result.ok:
        call.say("systemd brought %s back: PID %d is now %d, down for %s" % (
            unit.name, result.old_pid, result.new_pid, span(result.downtime)))
    else:
        call.say(call.paint("the drill failed: ", "bad") + printable(result.why, 400))
        call.say("what it says itself: %s logs 20; what to do: %s explain" % (NAME, NAME))
    return OK if result.ok else STILL_WRONG


def _maintenance_text(call):
    """A sentence on the maintenance that is on, "" when none is, or when only root may know."""
    from citadel.core.text import local_time, printable
    try:
        found = call.store.maintenance()
    except NotPermitted:
        return ""
    if found is None:
        return ""
    return printable("until %s, %s" % (local_time(call.now().wall + found.left), found.reason or "no reason given"))


# --- config -----------------------------------------------------------------------------------------------------------

def config(call):
    """The unit's settings as systemd has them, beside the shipped ones; or, with --check, only our settings file."""
    if call.options.check:
        return _check_settings(call)
    settings, note = _compared(call)
    differ = [one for one in settings if not one.same]
    if call.options.json:
        call.document(unit=call.unit, same=not differ and not note, note=note,
                      settings=[dict(one._asdict()) for one in settings], citadel=settings_file.as_data(call.settings))
    else:
        _print_comparison(call, settings, differ, note)
    return STILL_WRONG if differ or note else OK


def _compared(call):
    """restart_settings.Setting for each thing that the shipped unit sets, and a note when systemd's copy is stale."""
    from citadel.commands import config as restart_settings
    from citadel.observe import systemctl
    name = call.unit
    shipped = _shipped_unit(name)
    if shipped is None:
        raise CitadelError("%s is not a unit that Citadel ships: there is nothing to compare it with" % name)
    about = ("LoadState", "FragmentPath", "DropInPaths", "NeedDaemonReload")
    shown = systemctl.show([name], restart_settings.asked_for(shipped) + about, run=call.run)[name]
    if shown.get("LoadState") != "loaded":
        raise CitadelError("%s is %s: systemd has no settings of it" % (name, shown.get("LoadState") or "unknown"))
    files = [(path, _text_of(path)) for path in [shown.get("FragmentPath", "")] + shown.get("DropInPaths", "").split()]
    alike = [dependency.units for dependency in call.settings.dependencies.values()]
    note = "its files have changed since systemd read them: systemctl daemon-reload is due" if shown.get(
        "NeedDaemonReload") == "yes" else ""
    return restart_settings.compare(name, shipped, shown, files, alike), note


def _shipped_unit(name):
    import os
    return _text_of(os.path.join(TREE, SHIPPED_UNITS, name)) or None


def _text_of(path):
    """A unit file's text; "" for none, or one that is not to be read (the caller may not be root)."""
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _print_comparison(call, settings, differ, note):
    from citadel.commands.config import RESTART
    from citadel.core.terminal import table
    from citadel.core.text import plural
    call.say("%s: settings as systemd has them now, beside the shipped ones" % call.paint(call.unit, "strong"))
    rows = []
    for one in settings:
        if one.same and one.name not in RESTART:
            continue
        verdict = "" if one.same else "differs: shipped %s; %s" % (
            one.shipped, "set in " + one.origin if one.origin else "no unit file sets it")
        rows.append((one.name, one.value, verdict))
    for line, (name, _, verdict) in zip(table([row[:2] for row in rows]), rows):
        call.say("  " + line + ("" if not verdict else "\n      " + call.paint(verdict, "uneasy")))
    others = [one for one in settings if one.same and one.name not in RESTART]
    call.say("%s more as shipped, the sandbox among them; %s" % (
        plural(len(others), "setting"), "none differs" if not differ else "1 differs" if len(differ) == 1 else
        "%d differ" % len(differ)))
    if note:
        call.say(call.paint(note, "uneasy"))


def _check_settings(call):
    """citadel.conf alone: all that is wrong with it, a line each; and for root whom it could not tell on this host."""
    from citadel.tell import receivers
    problems = settings_file.check_file(call.options.check)
    warnings = receivers.complaints(settings_file.read(call.options.check)) if call.is_root and not problems else []
    if call.options.json:
        call.document(file=call.options.check, ok=not problems, problems=[dict(one._asdict()) for one in problems],
                      warnings=warnings)
        return OK if not problems else SettingsError.code
    if not problems:
        call.say("%s is valid" % call.options.check)
        for warning in warnings:
            sys.stderr.write("%s: warning: %s\n" % (NAME, warning))
        return OK
    for problem in problems[1:]:
        sys.stderr.write("%s: %s\n" % (NAME, SettingsError(*problem)))
    raise SettingsError(*problems[0])


# --- status -----------------------------------------------------------------------------------------------------------

def status(call):
    """The service at a glance, as a tree."""
    from citadel.commands.check import LIMIT, STATE, look_within
    from citadel.commands.status import tree
    from citadel.diagnose import causes as diagnose
    service = call.service
    facts = look_within(LIMIT, STATE)(call.settings._replace(services=(service,)))
    finding = diagnose.diagnose(facts, diagnose.marks_of(call.settings))[0]
    if facts.host.unanswered:
        raise CannotLook(facts.host.unanswered)
    more = _status_facts(call, facts.services[0].unit)
    if call.options.json:
        call.document(unit=service.unit, well=finding.well, finding=_finding_as_data(finding), **dict(
            more, service=_unit_as_data(facts.services[0].unit), dependencies=[
                {"name": one.name, "unit": one.unit.name, "active": one.unit.active, "sub": one.unit.sub,
                 "probe": dict(one.probe._asdict())} for one in facts.services[0].dependencies]))
    else:
        for line in tree(facts.services[0], finding, more, call.style):
            call.say(line)
    return STILL_WRONG if finding.cause else OK


def _unit_as_data(unit):
    return dict(unit._asdict())


def _status_facts(call, unit):
    """What `status` shows besides the facts of a check: the unit's own words, and our record of it."""
    from citadel.observe import gateway_settings, systemctl
    shown = systemctl.show([unit.name], ("ExecStart", "Environment", "TimeoutStartUSec", "TimeoutStopUSec", "OnFailure",
                                         "StateChangeTimestamp"), run=call.run)[unit.name]
    says = gateway_settings.expected_from_exec(shown.get("ExecStart", ""), shown.get("Environment", ""))
    record = {"incident": None, "last": None, "maintenance": None, "readable": True}
    try:
        history = call.store.history(unit.name)
        record["incident"] = call.store.incident(history.incident) if history.incident else None
        record["last"] = next((one for one in call.store.incidents(most=20, unit=unit.name) if one["end"]), None)
        record["maintenance"] = _maintenance_text(call)
    except NotPermitted:
        record["readable"] = False
    return {"port": says.port or call.service.port, "workers": says.workers, "environment": says.environment,
            "since": shown.get("StateChangeTimestamp", ""), "start_timeout": systemctl.seconds(
                shown.get("TimeoutStartUSec", "")), "stop_timeout": systemctl.seconds(shown.get("TimeoutStopUSec", "")),
            "on_failure": shown.get("OnFailure", "").split(), "record": record}


# --- monitor ----------------------------------------------------------------------------------------------------------

def monitor(call):
    """Watches the service until the time is over or somebody ends it, and adds it up."""
    from citadel.commands import monitor as watching
    from citadel.core.terminal import Interruption, LiveLine
    from citadel.observe import moments, probes, systemctl
    service, cursor = call.service, [moments.end_of_journal(run=call.run)]
    events, line = [], LiveLine(call.out, call.style.live and not call.options.json)

    def look():
        asked = call.monotonic()
        unit = systemctl.units([service.unit], run=call.run)[service.unit]
        if not service.health or unit.active not in watching.UP:
            return watching.Look(asked, unit, False if service.health else None, "")
        probe = probes.ask([service.health], min(2.0, call.settings.recovery.probe_timeout))[service.health]
        return watching.Look(call.monotonic(), unit, probe.outcome == "ok", probe.detail or probe.outcome)

    def journal():
        found, cursor[0] = moments.after(cursor[0], service.unit, run=call.run)
        return found

    def tell(event):
        events.append(event)
        if not call.options.json:
            line.print_above("%s  %s" % (_wall_time(call, event.time), call.paint(event.text, event.tone)))

    def show(timeline, left):
        line.draw(lambda: _live(call, service.unit, timeline, left))

    with Interruption() as interruption:
        timeline = watching.watch(call.options.seconds, look, journal, call.monotonic, interruption.pause, tell, show)
    line.clear()
    summary = timeline.summary(call.monotonic())
    if call.options.json:
        call.document(unit=service.unit, summary=dict(summary._asdict()), events=[
            {"time": _wall_time(call, event.time), "text": event.text} for event in events])
    else:
        call.say("%s: %s" % (service.unit, watching.sentence(summary)))
    return OK if summary.up else STILL_WRONG


def _live(call, unit, timeline, left):
    """The live line, short enough for the terminal."""
    import shutil

    from citadel.core.text import plural, span
    now = call.monotonic()
    summary = timeline.summary(now)
    how = "up" if timeline.up else "down for " + span(timeline.down_for(now))
    text = "%s  %s  %s  %.2f %%  %s left" % (unit, how, plural(summary.restarts, "restart"), summary.availability,
                                             span(left))
    return call.paint(text[:shutil.get_terminal_size().columns - 1], "good" if timeline.up else "bad")


def _wall_time(call, moment):
    """The wall time of a moment of CLOCK_MONOTONIC."""
    from citadel.core.text import local_time
    now = call.now()
    return local_time(now.wall - (now.monotonic - moment), milliseconds=True)


# --- logs -------------------------------------------------------------------------------------------------------------

def logs(call):
    """The journal of the service, its application log, or the lines of one incident."""
    from citadel.commands import command_line
    from citadel.commands import logs as reading
    options = call.options
    if options.app and options.incident:
        raise UsageError("--app and --incident exclude each other: an incident's lines are the journal's")
    if options.follow and (options.json or options.incident):
        raise UsageError("--follow never ends, so it goes neither with --json nor with --incident")
    if options.app:
        return _application_log(call, reading)
    unit, since, until = call.unit, None, None
    if options.incident:
        document = _incident(call, options.incident)
        unit, (since, until) = document["unit"], span_of(document)
    lines = options.lines or (command_line.LOG_LINES if not options.incident else None)
    if options.json:
        return _journal_as_json(call, unit, lines, since, until)
    reading.become(reading.journal_command(unit, lines, options.follow, since, until))
    return OK


def _application_log(call, reading):
    from citadel.commands import command_line
    from citadel.core.terminal import Interruption
    path = call.service.log
    if not path:
        raise CitadelError("no application log is set for %s (log = in its section of the settings)" % call.unit)
    lines = call.options.lines or command_line.LOG_LINES
    if call.options.json:
        kept = []
        reading.show_file(path, min(lines, MOST_JSON_LINES), lambda text: kept.extend(text.splitlines()))
        call.document(unit=call.unit, file=path, lines=kept)
        return OK

    def write(text):
        call.out.write(text)
        call.out.flush()

    with Interruption() as interruption:
        reading.show_file(path, lines, write, call.options.follow, interruption.pause)
    return OK


def _incident(call, name):
    """The document of an incident, of whichever service it is."""
    document = call.store.incident(name)
    if document is None:
        raise CitadelError("there is no incident %s on record; `%s history` lists them" % (name, NAME))
    if call.options.service and call.options.service != document["unit"]:
        raise UsageError("--service %s: incident %s is of %s" % (call.options.service, name, document["unit"]))
    return document


def span_of(document):
    """From when to when an incident's lines go, in seconds since 1970: with some context before and after it."""
    from citadel.core.clock import parse_stamp
    return parse_stamp(document["start"]) - 60, parse_stamp(document["end"]) + 10 if document["end"] else None


def _journal_as_json(call, unit, lines, since, until):
    from citadel.commands.logs import journal_command
    from citadel.core import clock
    from citadel.core.text import printable
    from citadel.observe import journalctl
    words = [word for word in journal_command(unit, min(lines or MOST_JSON_LINES, MOST_JSON_LINES), False, since,
                                              until) if not word.startswith("--output=")]
    answer = call.run(words + ["--output=json", "--output-fields=MESSAGE,PRIORITY,_PID,SYSLOG_IDENTIFIER"], 60,
                      cap=64 << 20)
    if not answer.ok:
        raise CannotLook("the journal does not answer: " + printable(answer.complaint()))
    rows = []
    for entry in journalctl.parse_entries(answer.out):
        stamp = journalctl.text(entry, "__REALTIME_TIMESTAMP")
        rows.append({"time": clock.stamp(int(stamp) / 1e6) if stamp.isdecimal() else None,
                     "priority": journalctl.priority(entry), "pid": journalctl.text(entry, "_PID"),
                     "identifier": printable(journalctl.text(entry, "SYSLOG_IDENTIFIER")),
                     "text": printable(journalctl.text(entry, "MESSAGE"), 8192)})
    call.document(unit=unit, lines=rows, truncated=answer.truncated)
    return OK


# --- reset ------------------------------------------------------------------------------------------------------------

def reset(call):
    """Clears systemd's counters and ours, and says what they held."""
    call.only_root("reset")
    from citadel.core import log
    from citadel.core.text import plural, printable
    from citadel.observe import systemctl
    unit = systemctl.units([call.unit], run=call.run)[call.unit]
    with call.store.lock("manual"):
        answer = systemctl.reset_failed(unit.name, run=call.run)
        if answer.timed_out:
            raise CannotLook("systemd does not answer: " + printable(answer.complaint()))
        if answer.ok:
            _note_reset(call, unit.name)
        held = call.store.forget(unit.name)
        for name in call.service.depends:           # what was tried with them, for whichever service
            for one in call.settings.dependencies[name].units:
                call.store.forget(one)
        call.store.forget_loss()
        trouble = call.store.trouble
    cleared = [text for wanted, text in (
        (unit.active == "failed", "the failed state (result %s)" % unit.result),
        (unit.restarts, "NRestarts, which was %d" % unit.restarts),
        (answer.ok, "systemd's start counter"),
        (held.attempts, plural(len(held.attempts), "attempt") + " of our own budget"),
        (held.escalation is not None, "the waiting time after the last call for a person"),
        (held.lost is not None, "the reduced budget after lost state")) if wanted]
    log.journal("reset", "%s: a person has cleared %s" % (unit.name, ", ".join(cleared) or "nothing"), unit.name)
    if call.options.json:
        call.document(unit=unit.name, cleared=cleared, complaint="" if answer.ok else printable(answer.complaint()),
                      trouble=trouble)
    else:
        call.say("%s: cleared %s" % (unit.name, ", ".join(cleared) or "nothing: there was nothing to clear"))
    if not answer.ok and unit.load == "loaded":
        raise CitadelError("systemd's part was not cleared: " + printable(answer.complaint()))
    if trouble:
        raise CitadelError("our own part may not be cleared: " + printable(trouble))
    return OK


def _note_reset(call, unit):
    from citadel.record import intent
    try:
        intent.note_reset(call.store.files, unit, call.now())
    except OSError as error:
        sys.stderr.write("%s: test-restart will not know of this reset (%s), ignoring\n" % (NAME, error.strerror))


# --- explain ----------------------------------------------------------------------------------------------------------

def explain(call):
    """What a recovery pass would do now, and why: the same road, ended after `plan`."""
    from citadel import recovery
    from citadel.model import UNKNOWN
    foreseen = recovery.foresee(call.settings, call.store)
    if call.options.service:
        unit = call.unit
        foreseen = [(finding, plan) for finding, plan in foreseen if finding.unit == unit]
    if call.options.json:
        call.document(services=[dict(
            _finding_as_data(finding), verdict=plan.verdict, plan_because=plan.because, veto=plan.veto,
            next_in=plan.next_in, gives_up_in=plan.gives_up_in, steps=[dict(step._asdict()) for step in plan.steps])
            for finding, plan in foreseen])
    else:
        for finding, plan in foreseen:
            _print_foreseen(call, finding, plan)
    return CANNOT_LOOK if any(finding.condition == UNKNOWN for finding, _ in foreseen) else OK


def _print_foreseen(call, finding, plan):
    from citadel.core.text import local_time, printable, span
    tone = "bad" if finding.cause else "good"
    call.say("%s: %s" % (call.paint(finding.unit, "strong"), call.paint(finding.cause or "no cause to act", tone)))
    call.say("  because  " + printable(finding.because, 600))
    for cause in finding.others:
        call.say("  also     %s: %s" % (cause.cause, printable(cause.because, 400)))
    call.say("  verdict  %s%s" % (plan.verdict, _beyond(finding.because, plan.because)))
    for number, step in enumerate(plan.steps, 1):
        limit = ", at most %s" % span(step.seconds) if step.seconds else ""
        call.say("  step %d   %s %s%s%s" % (number, step.do, printable(step.target), limit,
                                          _beyond(finding.because, step.because)))
    if plan.veto:
        call.say("  no restart: " + printable(plan.veto, 400))
    if plan.next_in is not None and finding.cause:
        call.say("  next     %s" % ("now" if plan.next_in <= 0 else "%s in %s (%s)" % (
            "look" if plan.veto else "attempt", span(plan.next_in), local_time(call.now().wall + plan.next_in))))
    if plan.gives_up_in is not None and finding.cause:
        call.say("  gives up " + _when_it_gives_up(plan))


def _when_it_gives_up(plan):
    from citadel.core.text import span
    if plan.gives_up_in > 0:
        return "in about %s if nothing helps, and calls for a person" % span(plan.gives_up_in)
    told = "now, and calls for a person" if any(step.do == "escalate" for step in plan.steps) else "it has"
    return told + ("; nothing is tried as long as that is so" if plan.veto else "; it keeps trying at growing pauses")


def _beyond(known, because):
    """": " and a reason, as far as it says more than what was said already."""
    from citadel.core.text import printable
    if because.startswith(known):
        because = because[len(known):].lstrip("; ")
    return ": " + printable(because, 400) if because else ""


# --- maintenance ------------------------------------------------------------------------------------------------------

def maintenance(call):
    """Mutes actions for a time; it always ends by itself."""
    from citadel.core import log
    options = call.options
    if options.word != "on" and (options.span is not None or options.reason):
        raise UsageError("--for and --reason belong to `maintenance on`")
    if options.word == "on":
        call.only_root("maintenance on")
        return _begin_maintenance(call)
    if options.word == "off":
        call.only_root("maintenance off")
        was = call.store.end_maintenance()
        if was:
            log.journal("maintenance-off", "maintenance is off")
        return _say_maintenance(call, None, "maintenance is off" if was else "maintenance was off already")
    found = call.store.maintenance()
    return _say_maintenance(call, found, "maintenance is %s" % ("on " + _maintenance_text(call) if found else "off"))


def _begin_maintenance(call):
    import os
    import pwd

    from citadel.core import log
    if call.options.span is None or not call.options.reason:
        raise UsageError("maintenance on needs --for (such as --for 2h) and --reason TEXT")
    try:
        who = pwd.getpwuid(int(_login_uid() or os.getuid())).pw_name
    except KeyError:
        who = ""
    try:
        call.store.begin_maintenance(call.options.span, call.options.reason, who)
    except OSError as error:
        raise CitadelError("maintenance could not be noted, it is not on: %s" % error.strerror)
    text = "maintenance is on %s; actions are muted, alerts are not" % _maintenance_text(call)
    log.journal("maintenance-on", text)
    return _say_maintenance(call, call.store.maintenance(), text)


def _login_uid():
    """Who logged in, before sudo: the kernel's word (/proc/self/loginuid), None where it keeps none."""
    try:
        with open("/proc/self/loginuid") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and text != "4294967295" else None


def _say_maintenance(call, found, sentence):
    if call.options.json:
        call.document(on=found is not None, **(dict(found._asdict()) if found else {}))
    else:
        call.say(sentence)
    return OK


# --- history ----------------------------------------------------------------------------------------------------------

def history(call):
    """Past incidents, newest first, and how long they took on average."""
    from citadel.core.terminal import table
    from citadel.core.text import plural, printable, span
    unit = call.unit if call.options.service else None
    documents = call.store.incidents(most=call.options.count, unit=unit)
    summary = call.store.summary(unit)
    if call.options.json:
        call.document(incidents=documents, on_record=summary.incidents, resolved=summary.resolved, mttr=summary.mttr,
                      mtbf=summary.mtbf)
        return OK
    if not documents:
        call.say("no incidents on record")
        return OK
    rows = [("INCIDENT", "START", "LASTED", "OUTCOME", "CAUSE", "DONE")]
    for one in documents:
        causes = [printable(str(cause.get("cause", "")), 60) for cause in one["causes"]]
        done = steps_of(one)
        rows.append((one["id"], one["start"], span(one["duration"]) if one["duration"] is not None else "open",
                     printable(one["outcome"] or "-", 20), ", ".join(causes[:2]) or "-",
                     printable(", ".join(done) or "nothing", 160)))
    for line in table(rows):
        call.say(line)
    call.say("%s on record, %d resolved%s%s" % (
        plural(summary.incidents, "incident"), summary.resolved,
        "; MTTR %s" % span(summary.mttr) if summary.mttr is not None else "",
        "; MTBF %s" % span(summary.mtbf) if summary.mtbf is not None else ""))
    return OK


def steps_of(document):
    """An incident's steps in a few words; the target only where it is another than the service itself."""
    return ["%s%s%s" % (step["do"], " " + step["target"] if step["target"] not in ("", document["unit"]) else "",
                        "" if step["outcome"] == "ok" else " (%s)" % step["outcome"]) for step in document["steps"]]


ACTIONS = (
    ("test-restart", test_restart, "kill the service's main process and watch systemd bring it back"),
    ("config", config, "the restart settings as systemd has them now, beside the shipped ones"),
    ("status", status, "the service, its settings, its dependencies and our record of it"),
    ("monitor", monitor, "watch live, then say availability, restarts, downtime"),
    ("logs", logs, "the journal of the service, or its application log"),
    ("reset", reset, "clear systemd's failed state and counters, and our attempt budget"),
    ("check", check, "the health check, in the convention of Nagios plug-ins; never acts"),
    ("explain", explain, "what a recovery pass would do now, and why"),
    ("maintenance", maintenance, "mute actions (never alerts) for a time"),
    ("history", history, "past incidents, MTTR and MTBF"),
)
