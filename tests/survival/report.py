"""Outcomes to a table: for a terminal, as Markdown, as JSON. Pure."""

import json
from collections import namedtuple

Outcome = namedtuple("Outcome", "root systemd contestant row survived seconds why took")
Outcome.__doc__ = """What came of one row: `survived` None where it does not apply, `seconds` to recovery, `why` a
sentence, `took` the seconds that the row lasted in all."""


def survived_all(outcomes, contestant):
    """Whether this contestant met every row that it was given; False when it was given none."""
    own = [one for one in outcomes if one.contestant == contestant and one.survived is not None]
    return bool(own) and all(one.survived for one in own)


def line(outcome):
    """The progress line of one row."""
    word = {True: "survived", False: "FAILED", None: "-"}[outcome.survived]
    return "%-9s %3s  %-8s %-22s %-8s %7s  %s" % (
        outcome.root.strip("/") or "host", outcome.systemd or "?", outcome.contestant, outcome.row, word,
        "%.1f s" % outcome.seconds if outcome.seconds is not None else "", outcome.why.splitlines()[0][:300])


def cell(outcomes, roots):
    """One contestant's cell over all `roots` of the run: on how many it survived, and in how many seconds at most."""
    tried = [one for one in outcomes if one.survived is not None]
    if not tried:
        return "" if not outcomes else "-"
    good = [one for one in tried if one.survived]
    seconds = [one.seconds for one in good if one.seconds is not None]
    took = " %.0f s" % max(seconds) if seconds else ""
    untried = [root for root in roots if root not in {one.root for one in outcomes}]
    if len(good) == len(tried) and not untried:
        return "yes" + took
    if not good and not untried:
        return "no"
    lacks = [("not: ", sorted({_root(one) for one in tried if not one.survived})), ("not run: ", untried)]
    return "%d/%d%s (%s)" % (len(good), len(tried) + len(untried), took, "; ".join(
        word + " ".join(names) for word, names in lacks if names))


def totals(outcomes, contestant):
    """(survived, tried) rows of a contestant, over all roots."""
    tried = [one for one in outcomes if one.contestant == contestant and one.survived is not None]
    return sum(one.survived for one in tried), len(tried)


def text(outcomes, rows, contestants, roots, head):
    """The table for a terminal, and each failure in a sentence beneath."""
    widths = [max([len(row.name) for row in rows] + [5])] + [24] * len(contestants)
    lines = [head, "", _columns(["fault"] + list(contestants), widths)]
    for row in rows:
        cells = [cell(_of(outcomes, row, name), roots) for name in contestants]
        lines.append(_columns([row.name] + cells, widths))
    lines.append(_columns(["survived"] + ["%d of %d" % totals(outcomes, name) for name in contestants], widths))
    failures = [one for one in outcomes if one.survived is False and one.contestant == "citadel"]
    lines += [""] + ["%s, %s: %s" % (one.row, _root(one), one.why.splitlines()[0]) for one in failures]
    lines += ["better than Citadel: " + one for one in better(outcomes, rows, contestants)]
    return "\n".join(lines).rstrip() + "\n"


def summary(outcomes, rows, contestants, titles):
    """Faults survived by group, over all roots, as Markdown."""
    lines = ["| | " + " | ".join(titles[name] for name in contestants) + " |", "|---|" + "---|" * len(contestants)]
    for group in sorted({row.group for row in rows}, key=[row.group for row in rows].index):
        names = {row.name for row in rows if row.group == group}
        within = [one for one in outcomes if one.row in names]
        lines.append("| %s | %s |" % (group, " | ".join(_share(within, name) for name in contestants)))
    return lines + ["| **all** | %s |" % " | ".join("**%s**" % _share(outcomes, name) for name in contestants)]


def _share(outcomes, contestant):
    survived, tried = totals(outcomes, contestant)
    return "%d of %d" % (survived, tried) if tried else "-"


def markdown(outcomes, rows, contestants, roots, titles, head):
    """The whole table as Markdown, its sum by group first."""
    lines = [head, ""] + summary(outcomes, rows, contestants, titles)
    lines += ["", "| fault | what happens | " + " | ".join(titles[name] for name in contestants) + " |",
             "|---|---|" + "---|" * len(contestants)]
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            lines.append("| **%s** | |%s" % (group, " |" * len(contestants)))
        what = row.what + (" (%s)" % row.shortened if row.shortened else "")
        lines.append("| %s | %s; %s | %s |" % (row.name, _plain(what), expected(row), " | ".join(
            cell(_of(outcomes, row, name), roots) for name in contestants)))
    lines.append("| | **survived** | %s |" % " | ".join(
        "**%d of %d**" % totals(outcomes, name) for name in contestants))
    failed = [one for one in outcomes if one.survived is False]
    if failed:
        lines += ["", "What went wrong:", ""]
        lines += ["- %s, %s, %s: %s" % (one.row, one.contestant, _root(one), _plain(one.why.splitlines()[0]))
                  for one in failed]
    ahead = better(outcomes, rows, contestants)
    if ahead:
        lines += ["", "Where others did better than Citadel: %s." % "; ".join(ahead)]
    return "\n".join(lines) + "\n"


def better(outcomes, rows, contestants, by=2.0):
    """What others did better than Citadel on the same releases, a row each: survived more often, or was back sooner by
    more than `by` seconds (the longest time of each counts)."""
    found = []
    for row in rows:
        for name in contestants:
            theirs = _of(outcomes, row, name)
            own = [one for one in _of(outcomes, row, "citadel") if one.root in {other.root for other in theirs}]
            if name == "citadel" or not own or not theirs:
                continue
            if sum(bool(one.survived) for one in theirs) > sum(bool(one.survived) for one in own):
                found.append("%s (%s survived more often)" % (row.name, name))
            elif all(one.survived for one in own + theirs):
                slow, quick = (max([one.seconds or 0.0 for one in of]) for of in (own, theirs))
                if slow - quick > by:
                    found.append("%s (%s %.0f s, citadel %.0f s)" % (row.name, name, quick, slow))
    return found


def expected(row):
    """What the row asks for, in words."""
    rule = row.rule
    if rule.kind == "recovers":
        call = ", and an operator may be told of %s" % " or ".join(rule.causes) if rule.causes else ""
        return "well again within %d s%s" % (rule.bound, call)
    if rule.kind == "decided":
        return "left alone for %d s" % rule.watch
    alarm = rule.causes == ("alarm",)
    serves = "" if rule.serves_within is None else "back within %d s, and " % rule.serves_within
    return "%sone alert within %d s (%s), %s within %d s of the cure" % (
        serves, rule.bound, "the alarm" if alarm else " or ".join(rule.causes), "well" if serves else "back",
        rule.bound_after)


def as_json(outcomes, head, soaks=()):
    return json.dumps({"schema": 1, "head": head, "outcomes": [one._asdict() for one in outcomes],
                       "soaks": [one._asdict() for one in soaks]}, indent=1) + "\n"


def soak_markdown(soaks, head):
    """The soaks as a table."""
    lines = [head, "", "| root | requests | seconds | missed | restarts | alerts |", "|---|---|---|---|---|---|"]
    return "\n".join(lines + ["| %s | %d | %d | %d | %d | %d |" % one for one in soaks]) + "\n"


def _of(outcomes, row, contestant):
    return [one for one in outcomes if one.row == row.name and one.contestant == contestant]


def _root(outcome):
    return str(outcome.systemd or outcome.root)


def _columns(words, widths):
    return "  ".join(word.ljust(width) for word, width in zip(words, widths)).rstrip()


def _plain(words):
    return words.replace("|", "/").replace("\n", " ")
