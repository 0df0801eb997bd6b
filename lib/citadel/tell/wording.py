"""What an alert says, in the same words to everybody: what, since when, why, what was done, and what to type."""

from citadel.core import clock
from citadel.model import FAILED, OK, about

SILENT_STEPS = ("escalate", "resolve", "wait-ready")    # they change nothing on the host


def advice(finding):
    """What the operator should do about a Finding, and what to type for it."""
    row, words = about(finding.cause), {"unit": finding.unit, "target": finding.target}
    return "%s. Type: %s" % (row.advice % words, row.commands % words)


def tried(document, unit):
    """What was done in vain in an incident; "" for nothing."""
    done = [one["do"] + ("" if one["target"] == unit else " " + one["target"])
            for one in (document or {"steps": ()})["steps"]
            if one["do"] not in SILENT_STEPS and one["outcome"] in (OK, FAILED)]
    return ", ".join(dict.fromkeys(done))


def headline(alert):
    return "%s %s" % (alert.unit, "needs an operator" if alert.kind == "firing" else "is healthy again")


def sentence(alert):
    """One line that needs no other."""
    if alert.kind == "resolved":
        return "%s: %s" % (headline(alert), alert.because)
    return "%s since %s: %s (%s)%s" % (headline(alert), clock.stamp(alert.started), alert.because, alert.cause,
                                       ". To do: " + alert.advice if alert.advice else "")
