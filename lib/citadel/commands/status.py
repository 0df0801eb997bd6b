"""`status`: one service at a glance, as a tree."""

from citadel.commands import check, maintenance
from citadel.commands.call import dependency_as_data, finding_as_data
from citadel.core.errors import OK, STILL_WRONG, CannotLook, NotPermitted
from citadel.core.text import plural, printable, size, span
from citadel.diagnose.causes import diagnose
from citadel.model import full_sentence
from citadel.observe import gateway_settings, systemctl

ASKED = ("ExecStart", "Environment", "TimeoutStartUSec", "TimeoutStopUSec", "OnFailure", "StateChangeTimestamp")


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
    record = {"incident": None, "last": None, "maintenance": None, "readable": True}
    try:
        history, incidents = call.store.of(unit.name).history(), call.store.incidents
        record["incident"] = incidents.read(history.incident) if history.incident else None
        record["last"] = next((one for one in incidents.newest_first(most=20, unit=unit.name) if one["end"]), None)
        record["maintenance"] = maintenance.words(call)
    except NotPermitted:
        record["readable"] = False
    return {"port": says.port or call.service.port, "workers": says.workers, "environment": says.environment,
            "since": shown.get("StateChangeTimestamp", ""), "start_timeout": systemctl.seconds(
                shown.get("TimeoutStartUSec", "")), "stop_timeout": systemctl.seconds(shown.get("TimeoutStopUSec", "")),
            "on_failure": shown.get("OnFailure", "").split(), "record": record}


def tree(service, finding, more, style):
    """The lines of the tree. `service` is a model.Service, `more` what `_more` adds to it."""
    unit = service.unit
    tone = "good" if finding.well else "bad" if finding.cause else "uneasy"
    branches = [
        "enabled: " + (unit.unit_file or "no unit file"),
        ("active: %s (%s)" % (unit.active, unit.sub),
         ([] if not unit.main_pid else ["PID %d" % unit.main_pid])
         + ([] if not more["since"] else ["since " + more["since"]])
         + ([] if unit.memory is None else ["memory %s%s" % (
             size(unit.memory), " of " + size(unit.memory_max) if unit.memory_max else "")])),
        "port: %s" % (more["port"] or "not known"),
        "workers: %s" % (more["workers"] or "not set"),
        "environment: %s" % printable(more["environment"] or "not set"),
        ("restart: %s" % (unit.restart or "no"), _restart_branches(unit, more)),
        ("dependencies", [_dependency_text(style, one) for one in service.dependencies] or ["none"]),
    ] + _record_branches(more["record"])
    heading = "%s: %s%s" % (style.paint(unit.name, "strong"), style.paint(printable(finding.because, 400), tone),
                            " (%s)" % finding.cause if finding.cause else "")
    return style.tree(heading, branches) + [
        "also: %s (%s)" % (printable(full_sentence(unit.name, cause), 400), cause.cause) for cause in finding.others]


def _restart_branches(unit, more):
    branches = ["after " + span(unit.restart_sec)] if unit.restart_sec is not None else []
    if unit.start_burst and unit.start_interval:
        branches.append("at most %s in %s" % (plural(unit.start_burst, "start"), span(unit.start_interval)))
    branches += ["%s timeout: %s" % (what, span(more[what + "_timeout"])) for what in ("start", "stop")
                 if more[what + "_timeout"] is not None]
    if more["on_failure"]:
        branches.append("on failure: starts " + " ".join(more["on_failure"]))
    return branches + ["automatic restarts: %d" % unit.restarts]


def _dependency_text(style, dependency):
    unit, probe = dependency.unit, dependency.probe
    if probe.outcome == "none":
        answer = "not probed"
    elif probe.outcome == "ok":
        answer = "answers in " + span(probe.seconds)
    else:
        answer = printable("%s%s" % (probe.outcome, ": " + probe.detail if probe.detail else ""))
    well = unit.active == "active" and probe.outcome in ("ok", "none")
    return "%s: %s %s" % (dependency.name, unit.name, style.paint(
        "%s (%s), %s" % (unit.active, unit.sub, answer), "good" if well else "bad"))


def _record_branches(record):
    if not record["readable"]:
        return ["without root, `status` cannot see the open incident, the last recovery and maintenance"]
    incident, last = record["incident"], record["last"]
    opened = "none"
    if incident:
        cause = incident["causes"][0]["cause"] if incident["causes"] else "cause not recorded"
        opened = printable("%s, since %s, %s" % (incident["id"], incident["start"], cause))
    recovery = "none on record"
    if last:
        recovery = printable("%s, %s, %s after %s" % (last["id"], last["end"], last["outcome"] or "ended",
                                                      span(last["duration"] or 0)))
    return ["open incident: " + opened, "last recovery: " + recovery,
            "maintenance: " + (record["maintenance"] or "off")]
