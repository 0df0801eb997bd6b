"""`history`: past incidents, newest first, and how long they took on average."""

from citadel.core.errors import OK
from citadel.core.terminal import table
from citadel.core.text import plural, printable, span


def perform(call):
    unit = call.unit if call.options.service else None
    documents = call.store.incidents.newest_first(most=call.options.count, unit=unit)
    summary = call.store.incidents.summary(unit)
    call.report(*_lines(documents, summary), incidents=documents, on_record=summary.incidents,
                resolved=summary.resolved, mttr=summary.mttr, mtbf=summary.mtbf)
    return OK


def _lines(documents, summary):
    if not documents:
        return ["no incidents on record"]
    rows = [("INCIDENT", "START", "LASTED", "OUTCOME", "CAUSE", "DONE")]
    for one in documents:
        causes = [printable(str(cause.get("cause", "")), 60) for cause in one["causes"][:2]]
        rows.append((one["id"], one["start"], span(one["duration"]) if one["duration"] is not None else "open",
                     printable(one["outcome"] or "-", 20), ", ".join(causes) or "-",
                     printable(", ".join(steps_of(one)) or "nothing", 160)))
    return table(rows) + ["%s on record, %d resolved%s%s" % (
        plural(summary.incidents, "incident"), summary.resolved,
        "; MTTR %s" % span(summary.mttr) if summary.mttr is not None else "",
        "; MTBF %s" % span(summary.mtbf) if summary.mtbf is not None else "")]


def steps_of(document):
    """An incident's steps in a few words; the target only where it is another than the service itself."""
    return ["%s%s%s" % (step["do"], " " + step["target"] if step["target"] not in ("", document["unit"]) else "",
                        "" if step["outcome"] == "ok" else " (%s)" % step["outcome"]) for step in document["steps"]]
