"""`status`: one service at a glance, as a tree. Pure: what was seen in, lines out."""

from citadel.core.text import plural, printable, size, span


def tree(service, finding, more, style):
    """The lines of the tree. `service` is a facts.Service, `more` what manager._status_facts adds to it."""
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
    because = printable(finding.because, 400)
    if because.startswith(unit.name + " "):
        because = because[len(unit.name) + 1:]
    heading = "%s: %s%s" % (style.paint(unit.name, "strong"), style.paint(because, tone),
                            " (%s)" % finding.cause if finding.cause else "")
    return style.tree(heading, branches) + [
        "also: %s (%s)" % (printable(cause.because, 400), cause.cause) for cause in finding.others]


def _restart_branches(unit, more):
    branches = ["after " + span(unit.restart_sec)] if unit.restart_sec is not None else []
    if unit.start_burst and unit.start_interval:
        branches.append("at most %s in %s" % (plural(unit.start_burst, "start"), span(unit.start_interval)))
    branches += ["%s within %s" % (what, span(seconds)) for what, seconds in (
        ("starts", more["start_timeout"]), ("stops", more["stop_timeout"])) if seconds is not None]
    if more["on_failure"]:
        branches.append("gives up to " + " ".join(more["on_failure"]))
    return branches + ["systemd has restarted it %s since it was last started by hand" % (
        {0: "not once", 1: "once"}.get(unit.restarts, plural(unit.restarts, "time")))]


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
        return ["open incident, last recovery, maintenance: only root may see them"]
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
