"""citadel-recovery-handler: reads the command line, and asks recovery for one pass."""

import os
import sys

from citadel import __version__
from citadel.commands import gate
from citadel.core import clock, log
from citadel.core.arguments import Parser
from citadel.core.errors import CANNOT_LOOK, OK, STILL_WRONG, UsageError
from citadel.core.text import printable, to_json
from citadel.diagnose import stopped
from citadel.model import ESCALATED, UNKNOWN
from citadel.observe import systemctl
from citadel.record.store import Store
from citadel.recovery import NAME, Result, foresee, outcome_as_data, real_world, recovery_pass
from citadel.settings import file as settings_file

TRIGGERS = ("on-failure", "check", "gate", "manual")


def report_results(results, trigger, as_json, world, out):
    """One JSON document, or a line a service with its steps beneath."""
    if as_json:
        out.write(to_json({
            "schema": 1, "time": clock.stamp(world.now().wall), "host": os.uname().nodename, "trigger": trigger,
            "services": [{name: value if name != "steps" else [outcome_as_data(one) for one in value]
                          for name, value in result._asdict().items() if name != "acted"} for result in results]}))
        return
    for result in results:
        out.write("%s: %s%s: %s\n" % (result.unit, result.verdict, " (%s)" % result.cause if result.cause else "",
                                      printable(result.because, 600)))
        if result.veto:
            out.write("  no restart: %s\n" % printable(result.veto, 400))
        for one in map(outcome_as_data, result.steps):
            words = one.get("outcome", one["because"]) + (", " + one["detail"] if one.get("detail") else "")
            out.write("  %s %s: %s\n" % (one["do"], one["target"], printable(words)))


def main(arguments, out=None):
    out = out or sys.stdout
    options = read_arguments(arguments)
    world = real_world()
    if options.note_stop:
        return note_stop(options, world)
    if options.trigger == "gate":
        return stand_at_the_gate(options, world, out)
    settings, _ = read_settings(options)
    store = Store(most_incidents=settings.cleanup.keep_incidents)
    if options.dry_run:
        results = [Result(found.unit, UNKNOWN if found.condition == UNKNOWN else planned.verdict, found.cause,
                          planned.because, store.of(found.unit).history().incident, planned.steps, planned.veto, False)
                   for found, planned in foresee(settings, store, world)]
    else:
        with store.lock(options.trigger):
            results = recovery_pass(settings, store, options.trigger, world)
    report_results(results, options.trigger, options.json, world, out)
    verdicts = {result.verdict for result in results}
    return CANNOT_LOOK if UNKNOWN in verdicts else STILL_WRONG if ESCALATED in verdicts else OK


def read_settings(options):
    """The settings, and in them the service that was named, by default the first."""
    settings = settings_file.read(options.config or settings_file.DEFAULT_PATH, must_exist=bool(options.config))
    service = settings.service(options.service) if options.service else settings.services[0]
    if service is None:
        raise UsageError("--service %s: not one of the services in %s" % (options.service, settings.file))
    return settings, service


def stand_at_the_gate(options, world, out):
    """ExecStartPre=: waits for the dependencies. Only their not being ready keeps the service from starting; trouble
    of our own is said, and lets it start."""
    try:
        settings, service = read_settings(options)
        opened, because = gate.pass_gate(
            service, settings, Store().intent.stop_note(service.unit), world,
            say=lambda event, why: log.journal(event, "%s: %s" % (service.unit, why), unit=service.unit))
    except Exception as error:          # an internal error, too, must not keep the service down
        out.write("%s: %s; the gate lets it start, ignoring\n" % (type(error).__name__, printable(str(error))))
        return OK
    out.write(because + "\n")
    return OK if opened else STILL_WRONG


def note_stop(options, world):
    """ExecStopPost=: notes who stopped the service, while that can still be seen."""
    settings, service = read_settings(options)
    names = [name for one in service.depends for name in settings.dependencies[one].units]
    units = systemctl.units([service.unit] + names, run=world.run)
    unit = units.pop(service.unit)
    dependencies = [one for one in units.values() if one.load != "not-found"]
    Store().intent.note_stop(service.unit, stopped.who_stopped(
        unit, dependencies, systemctl.job_types(run=world.run), systemctl.system_state(run=world.run)))
    return OK


def read_arguments(arguments):
    parser = Parser(prog=NAME, description="One recovery pass over every service in the settings.")
    parser.add_argument("--dry-run", action="store_true", help="say what a pass would do and why, and do nothing")
    # systemd tells who failed (MONITOR_UNIT, since 251; also on some manual starts): a word for the record only.
    asked = "on-failure" if "MONITOR_UNIT" in os.environ else "check" if "INVOCATION_ID" in os.environ else "manual"
    parser.add_argument("--trigger", choices=TRIGGERS, default=asked, help="who asked (default: manual, or as systemd "
                        "tells it); gate: wait for the dependencies before a start")
    parser.add_argument("--service", metavar="UNIT", help="with --trigger gate and --note-stop: the service")
    parser.add_argument("--note-stop", action="store_true", help="note who is stopping the service (ExecStopPost=)")
    parser.add_argument("--config", metavar="FILE", help="settings other than %s" % settings_file.DEFAULT_PATH)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--version", action="version", version="citadel " + __version__)
    return parser.parse_args(arguments)
