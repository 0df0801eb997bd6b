"""`status`: one service at a glance, as a tree."""

from citadel.commands import check, maintenance
from citadel.commands.call import dependency_as_data, finding_as_data
from citadel.core.errors import OK, STILL_WRONG, CannotLook, NotPermitted
from citadel.core.text import plural, printable, size, span
from citadel.diagnose.causes import diagnose
from citadel.model import full_sentence
from citadel.observe import gateway_settings, systemctl

ASKED = ("TimeoutStartUSec", "TimeoutStopUSec", "StateChangeTimestamp", "ExecStart", "Environment")


def perform(call):
    facts = check.look_within(check.LIMIT, check.STATE)(call.settings._replace(services=(call.service,)))
    finding = diagnose(facts, call.settings)[0]
    if facts.host.unanswered:
        raise CannotLook(facts.host.unanswered)
    service, = facts.services
    more = _more(call, service.unit)
    call.report(*tree(service, finding, more, call.style), unit=call.unit, well=finding.well,
                finding=finding_as_data(finding), service=service.unit, dependencies=[
                    dict(dependency_as_data(one), sub=one.unit.sub) for one in service.dependencies], **more)
    return STILL_WRONG if finding.cause else OK


def _more(call, unit):
    """What `status` shows besides the facts of a check: the unit's own words, and our record of it."""
    shown = systemctl.show([unit.name], ASKED, run=call.run)[unit.name]
    says = gateway_settings.expected_from_exec(shown.get("ExecStart", ""), shown.get("Environment", ""))
    start_timeout, stop_timeout = (systemctl.seconds(shown.get(name, "")) for name in ASKED[:2])
    record = {"incident": None, "last": None, "maintenance": None, "readable": True}
    try:
        history, incidents = call.store.of(unit.name).history(), call.store.incidents
        record["incident"] = incidents.read(history.incident) if history.incident else None
        record["last"] = next((one for one in incidents.newest_first(most=20, unit=unit.name) if one["end"]), None)
        record["maintenance"] = maintenance.words(call)
    except NotPermitted:
        record["readable"] = False
    return {"port": says.port or call.service.port, "workers": says.workers, "environment": says.environment,
            "since": shown.get("StateChangeTimestamp", ""), "start_timeout": start_timeout,
            "stop_timeout": stop_timeout, "on_failure": unit.on_failure, "record": record}


def tree(service, finding, more, style):
    """The lines of the tree. `service` is a model.Service, `more` what `_more` adds to it."""
    unit = service.unit
    tone = "good" if finding.well else "bad" if finding.cause else "uneasy"
    branches = [
        "enabled: " + (unit.unit_file or "no unit file"),
        ("active: %s (%s)" % (unit.active, unit.sub), (
            unit.main_pid and "PID %d" % unit.main_pid, more["since"] and "since " + more["since"],
            unit.memory is not None and "memory %s%s" % (
                size(unit.memory), " of " + size(unit.memory_max) if unit.memory_max else ""))),
        "port: %s" % (more["port"] or "not known"),
        "workers: %s" % (more["workers"] or "not set"),
        "environment: %s" % printable(more["environment"] or "not set"),
        ("restart: %s" % (unit.restart or "no"), (
            unit.restart_sec is not None and "after " + span(unit.restart_sec),
            unit.start_burst and unit.start_interval and "at most %s in %s" % (
                plural(unit.start_burst, "start"), span(unit.start_interval)),
            more["start_timeout"] is not None and "start timeout: " + span(more["start_timeout"]),
            more["stop_timeout"] is not None and "stop timeout: " + span(more["stop_timeout"]),
            more["on_failure"] and "on failure: starts " + " ".join(more["on_failure"]),
            "automatic restarts: %d" % unit.restarts)),
        ("dependencies", [_dependency_text(style, one) for one in service.dependencies] or ["none"]),
    ] + _record_branches(more["record"])
    heading = "%s: %s%s" % (style.paint(unit.name, "strong"), style.paint(printable(finding.because, 400), tone),
                            " (%s)" % finding.cause if finding.cause else "")
    return style.tree(heading, branches) + [
        "also: %s (%s)" % (printable(full_sentence(unit.name, cause), 400), cause.cause) for cause in finding.others]


def _dependency_text(style, dependency):
    unit, probe = dependency.unit, dependency.probe
    answer = {"none": "not probed", "ok": "answers in " + span(probe.seconds)}.get(
        probe.outcome, printable(probe.outcome + (": " + probe.detail if probe.detail else "")))
    well = unit.active == "active" and probe.outcome in ("ok", "none")
    return "%s: %s %s" % (dependency.name, unit.name, style.paint(
        "%s (%s), %s" % (unit.active, unit.sub, answer), "good" if well else "bad"))


def _record_branches(record):
    if not record["readable"]:
        return ["without root, `status` cannot see the open incident, the last recovery and maintenance"]
    opened, recovery, incident, last = "none", "none on record", record["incident"], record["last"]
    if incident:
        opened = "%s, since %s, %s" % (incident["id"], incident["start"], incident["causes"][0]["cause"]
                                       if incident["causes"] else "cause not recorded")
    if last:
        recovery = "%s, %s, %s after %s" % (last["id"], last["end"], last["outcome"] or "ended",
                                            span(last["duration"] or 0))
    return ["open incident: " + printable(opened), "last recovery: " + printable(recovery),
            "maintenance: " + (record["maintenance"] or "off")]
