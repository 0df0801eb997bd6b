"""Asks the host once, returns facts. No judgement, nothing changed.

The first look is what a healthy minute costs: one `systemctl show`, all probes side by side, the disks, the memory. The
second, only for a service that is not plainly well: the journal, the port's holder, the processes, its settings.
"""

import os
import time

from citadel.core import clock
from citadel.core.errors import CannotLook
from citadel.core.run import run
from citadel.model import Dependency, Facts, Host, Probe, Service, Stop, Unit
from citadel.observe import disks, installed, probes, processes, systemctl
from citadel.settings.values import address

LINES = 30
CONFIRM_AFTER = 1.0                     # seconds between a probe that got no answer and the question put again
RECOVERY, TIMER = "citadel-recovery.service", "citadel-health.timer"
WHAT_IT_RUNS = ("ExecStart", "Environment")


def observe(settings, run=run, ask=probes.ask, now=clock.now, stop_note=lambda unit: Stop(),
            installation=installed.look, pause=time.sleep):
    """Looks at every service in `settings` and at all that it depends on. Never raises for a host in trouble: a systemd
    that does not answer is `Host.unanswered`, and the probes are asked all the same. Bounded by systemctl.TIMEOUT a
    call, and `settings.recovery.probe_timeout` for all probes together, twice where the first try found no answer."""
    unanswered, state, units, ours = "", "", {}, installation()
    try:
        units = _ask_systemd(settings, ours, run)
    except CannotLook as error:
        unanswered = str(error)
    answers = _probe_all(settings, ask, pause)
    moment = now()
    services = tuple(_first_look(wanted, settings, units, answers) for wanted in settings.services)
    doubtful = [not _plainly_well(service) or _is_young(service.unit, moment, wanted.start_timeout)
                for service, wanted in zip(services, settings.services)]
    if any(doubtful) and not unanswered:
        try:
            state = systemctl.system_state(run=run)
            jobs = systemctl.job_types(run=run) if any(unit.job for unit in units.values()) else {}
            services = tuple(
                _second_look(service, wanted, settings, jobs, moment, run, stop_note) if in_doubt else service
                for service, wanted, in_doubt in zip(services, settings.services, doubtful))
        except CannotLook as error:
            unanswered = str(error)
    trouble = unanswered or not all(map(_plainly_well, services))
    return Facts(services=services, host=Host(
        name=os.uname().nodename, boot_id=moment.boot_id, monotonic=moment.monotonic, state=state,
        unanswered=unanswered, disks=disks.disks(settings.disk.paths), memory=disks.memory(biggest=bool(trouble)),
        installed=ours, recovery=units.get(RECOVERY), timer=units.get(TIMER)))


def within(deadline, run, ask, longest_call=float("inf")):
    """`run` and `ask` for a look that ends by `deadline`: each program and each round of probes gets a share of it."""
    def run_within(argv, timeout, **how):
        return run(argv, max(0.05, min(timeout, longest_call, deadline.left())), **how)

    def ask_within(targets, timeout):
        return ask(targets, max(0.05, min(timeout, deadline.left() / 2)))

    return run_within, ask_within


def _ask_systemd(settings, ours, run):
    names = [service.unit for service in settings.services]
    for dependency in settings.dependencies.values():
        names += [name for name in dependency.units if name not in names]
    names += {"": [], "timer": [RECOVERY, TIMER]}.get(ours.schedule, [RECOVERY])
    return systemctl.units(names, run=run)


def _probe_all(settings, ask, pause):
    """Every probe of every service and dependency; those without an answer are asked once more, so that one lost
    packet or one busy second does not count as unresponsive."""
    targets = [service.health for service in settings.services]
    targets += [dependency.probe for dependency in settings.dependencies.values()]
    answers = ask(list(dict.fromkeys(filter(None, targets))), settings.recovery.probe_timeout)
    doubtful = [target for target, probe in answers.items() if probe.outcome in ("timeout", "http-error", "protocol")]
    if doubtful:
        pause(CONFIRM_AFTER)
        answers.update(ask(doubtful, settings.recovery.probe_timeout))
    return answers


def _first_look(wanted, settings, units, answers):
    def answer(target):
        return answers.get(target, Probe(target=target or ""))

    depended = [(name, settings.dependencies[name]) for name in wanted.depends]
    return Service(
        unit=_first_that_exists([wanted.unit], units)._replace(name=wanted.unit), probe=answer(wanted.health),
        port=wanted.port, slow_after=wanted.slow_after, dependencies=tuple(
            Dependency(name=name, unit=_first_that_exists(one.units, units), wanted=tuple(one.units),
                       probe=answer(one.probe)) for name, one in depended))


def _first_that_exists(names, units):
    """Else the first; where systemd could not be asked about it, every field says "not told"."""
    unknown = Unit(name=names[0], load="", unit_file="", active="", sub="", result="", freezer="")
    return next((units[name] for name in names if name in units and units[name].load != "not-found"),
                units.get(names[0], unknown))


def _plainly_well(service):
    """Whether nothing about it calls for the second look."""
    return (_runs_and_answers(service.unit, service.probe) and not service.unit.need_reload
            and not (service.slow_after and service.probe.seconds > service.slow_after)
            and all(_runs_and_answers(dependency.unit, dependency.probe) for dependency in service.dependencies))


def _is_young(unit, moment, start_timeout):
    """Whether it may not listen yet: what answers at its port may be another process."""
    return (unit.active == "active" and bool(unit.active_enter)
            and moment.monotonic - unit.active_enter < start_timeout)


def _runs_and_answers(unit, probe):
    return (unit.active == "active" and unit.freezer in ("", "running") and not unit.job
            and probe.outcome in ("ok", "none"))


def _second_look(service, wanted, settings, jobs, moment, run, stop_note):
    unit = service.unit
    dependencies = tuple(_with_journal(one, jobs, moment, run, unless_well=True) for one in service.dependencies)
    return _with_journal(service, jobs, moment, run)._replace(
        dependencies=dependencies,
        stop=stop_note(unit.name),
        holder=port_holder(wanted, unit.control_group),
        pid_files=tuple(found for found in (processes.pid_file(path, unit.control_group) for path in wanted.pid_files)
                        if found.state != "absent"),
        stopped_pids=processes.stopped(unit.control_group) if unit.control_group else (),
        oom_kills=processes.oom_kills(unit.control_group) or 0 if unit.control_group else 0,
        settings=_settings_problems(wanted, settings, run))


def port_holder(wanted, control_group):
    """Who holds the service's port at the address at which it is probed. Another process that holds the same port
    elsewhere (127.0.0.2, ::1) does not count: while the service does not listen, only who makes a bind fail does."""
    at, port = address(wanted.health) if wanted.health else ("", None)
    at = at if port == wanted.port else ""
    found = processes.holder(wanted.port, control_group, at) if wanted.port else None
    certain = not found or not at or processes.is_within(found.control_group, control_group)
    return found if certain or processes.is_taken(at, wanted.port) else None


def _with_journal(one, jobs, moment, run, unless_well=False):
    """A service or dependency with the type of its queued job, and what the journal tells of it."""
    from citadel.observe import journalctl  # a healthy check need not load it
    unit = one.unit._replace(job=jobs.get(one.unit.name, "")) if one.unit.job else one.unit
    if unless_well and _runs_and_answers(unit, one.probe):
        return one._replace(unit=unit)
    return one._replace(unit=unit, last_job=journalctl.last_job(unit.name, moment, run=run),
                        lines=journalctl.last_lines(unit.name, unit.invocation, LINES, moment, run=run))


def _settings_problems(wanted, settings, run):
    """The gateway's own settings against what its unit really starts."""
    from citadel.observe import gateway_settings  # a healthy check need not load it
    document = gateway_settings.read(wanted.settings) if wanted.settings else None
    if not document:
        return ()
    unit = systemctl.show([wanted.unit], WHAT_IT_RUNS, run=run)[wanted.unit]
    expected = gateway_settings.expected_from_exec(unit.get("ExecStart", ""), unit.get("Environment", ""), {
        name: address(settings.dependencies[name].probe) for name in wanted.depends
        if settings.dependencies[name].probe})
    return gateway_settings.judge(document, expected, wanted.settings)
