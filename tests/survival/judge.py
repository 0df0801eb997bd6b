"""Who survived a fault: one rule for every contestant, from what anybody can see from outside.

Pure. Seen are the gateway's HTTP status and the PID of its main process twice a second, and what an operator is
told. Nothing of how a contestant works, what it writes about itself or thinks it has done.

    recovers    200 from one and the same process for longer than RestartSec, and good answers from what it needs,
                within the bound, with nobody's help
    escalates   only an operator can fix it: exactly one alert, with the right cause, and none after it; once the
                cause is removed the service comes back by itself within `bound_after`
    decided     an operator wanted it so: nothing is done, and nobody is told
"""

from collections import namedtuple

RECOVERS, ESCALATES, DECIDED = "recovers", "escalates", "decided"

STABLE = 6.0            # seconds; RestartSec is 5
GIVEN_UP = 25.0         # seconds without any change, where nobody watches: nothing more will come
BLIND = 8.0             # seconds between two looks, of which the slowest takes 6.5, after which nobody was looking

Sample = namedtuple("Sample", "at status pid needs")
Sample.__new__.__defaults__ = ((),)
Sample.__doc__ = """One look: seconds since the fault, HTTP status (0: no full answer in 3 s), main PID (0: none), and
which of its dependencies do not answer."""

Call = namedtuple("Call", "at source key cause text")
Call.__doc__ = """Somebody was told that something is wrong. `source` is the way it came by; `key` what makes two calls
the same one; `cause` what was named."""

Rule = namedtuple("Rule", "kind bound causes bound_after watch stays may_call before_cure serves_within says once")
Rule.__new__.__defaults__ = ((), 90, 75, "down", False, 25, None, "", True)
Rule.__doc__ = """What a row expects. `causes`: any of which is the right one (empty: whatever it is). `watch`: seconds
for which nothing may be done. `stays`: "down", or "same" for one process that must neither end nor be replaced.
`may_call`: an alert, of one of these causes, is no fault here. `before_cure`: seconds from the alert until
the operator comes, in which a second alert would be seen: two health checks of 10 s and the pass after them.
`serves_within`: the service itself must be back in so many seconds, whoever is told. `says`: the alert holds these
words. `once`: a second alert is a fault, whatever it is about."""

Run = namedtuple("Run", "pid invocation")
Run.__doc__ = "One run of a unit: its main process (0: none any more) and its InvocationID."

Timeline = namedtuple("Timeline", "samples calls cured")
Timeline.__new__.__defaults__ = ((), (), None)

Verdict = namedtuple("Verdict", "survived seconds why")
Verdict.__doc__ = """`seconds` from the fault (where an operator had to come: from the cure) to the first good answer of
the run that lasted; None where none was due. `why` is a sentence."""


def judge(rule, timeline, now, watched=True):
    """The Verdict, or None while it is open. `now` in seconds since the fault; `watched`: whether anybody looks after
    the service at all, so that a state without change may still end."""
    trouble = _trouble_with_calls(rule, timeline)
    if trouble:
        return Verdict(False, None, trouble)
    if rule.kind == DECIDED:
        return _decided(rule, timeline, now)
    served = _served(rule, timeline, now)
    if served is not None and not served.survived:
        return served
    if rule.kind == ESCALATES and timeline.cured is None:
        if timeline.calls:
            return None
        if now > rule.bound or (not watched and _unchanged(timeline, now) > GIVEN_UP):
            return Verdict(False, None, "nobody was told within %.0f s; %s" % (now, seen(timeline)))
        return None
    start, bound = (timeline.cured, rule.bound_after) if rule.kind == ESCALATES else (0.0, rule.bound)
    verdict = _recovered(timeline, now, start, bound, watched)
    if not verdict or not verdict.survived or rule.kind != ESCALATES:
        return verdict
    called = timeline.calls[0]
    return verdict._replace(seconds=served.seconds if served else verdict.seconds, why="%s; told after %.0f s: %s" % (
        verdict.why, called.at, called.cause or called.text[:80]))


def is_cure_due(rule, timeline, now):
    """Whether the operator who was told comes now."""
    return (rule.kind == ESCALATES and timeline.cured is None and bool(timeline.calls)
            and now - timeline.calls[0].at >= rule.before_cure
            and now > (0.0 if rule.serves_within is None else rule.serves_within + STABLE))


def touched(unit, before, after):
    """What was done to a unit that nobody may start or restart, in a sentence, or "". `after` is None where it is on
    its way: redis that cannot save does not end when it is told to."""
    if after is None:
        return "%s is being started, stopped or restarted, which a veto forbids" % unit
    if before == after or (not before.pid and after == Run(0, "")):        # an idle unit may be unloaded
        return ""
    if before.pid:
        return "%s was restarted, or ended, which a veto forbids (PID %d, now %s)" % (
            unit, before.pid, after.pid or "none")
    return "%s was started, which a veto forbids" % unit


def seen(timeline):
    """The last look in words."""
    if not timeline.samples:
        return "nothing was seen"
    last = timeline.samples[-1]
    if not last.pid:
        return "the gateway is down" + (", and another process answers %d" % last.status if last.status else "")
    if not last.status:
        return "the gateway runs and does not answer"
    needs = ", and %s not" % " and ".join(last.needs) if last.needs else ""
    return ("the gateway answers %d" % last.status if last.status != 200 else "the gateway answers") + needs


def healthy_since(samples):
    """When the run of good looks began that lasts until the last one, all of one process; None when it is not well."""
    since, pid = None, samples[-1].pid if samples else 0
    for sample in reversed(samples):
        if not is_good(sample) or sample.pid != pid:
            break
        since = sample.at
    return since


def is_good(sample):
    """Whether all was well at this look."""
    return sample.status == 200 and bool(sample.pid) and not sample.needs


def _served(rule, timeline, now):
    """Where the service must be back by itself, whoever is told: the Verdict on that, None while it is open."""
    if rule.serves_within is None:
        return None
    since = pid = None
    for sample in timeline.samples:
        if not is_good(sample):
            since = None
        elif since is None or sample.pid != pid:
            since, pid = sample.at, sample.pid
        if since is not None and since <= rule.serves_within and sample.at - since >= STABLE:
            return Verdict(True, since, "it served")
    if now > rule.serves_within + STABLE:
        return Verdict(False, None, "not back within %.0f s; %s" % (rule.serves_within, seen(timeline)))
    return None


def _recovered(timeline, now, start, bound, watched):
    samples = [sample for sample in timeline.samples if sample.at >= start]
    since = healthy_since(samples)
    helped = "" if timeline.cured is None else " of the cure"
    if since is not None and since - start <= bound:
        if samples[-1].at - since >= STABLE:
            restarts = len({sample.pid for sample in samples if sample.pid} - {samples[-1].pid})
            return Verdict(True, since - start, "back%s%s" % (
                " after the cure" if helped else "", ", after %d more tries" % restarts if restarts > 1 else ""))
        return None
    if now - start > bound + STABLE or (not watched and since is None and _unchanged(timeline, now) > GIVEN_UP):
        return Verdict(False, None, "not back within %.0f s%s; %s" % (min(now - start, bound), helped, seen(timeline)))
    return None


def _decided(rule, timeline, now):
    first = timeline.samples[0].pid if timeline.samples else 0
    for sample in timeline.samples:
        if rule.stays == "down" and (sample.pid or sample.status == 200):
            return Verdict(False, None, "started after %.0f s, against the operator who had decided" % sample.at)
        if rule.stays == "same" and sample.pid != first:
            return Verdict(False, None, "its process was ended or replaced after %.0f s, against the operator who had "
                                        "decided" % sample.at)
    if now < rule.watch:
        return None
    gap = _longest_gap(timeline.samples, now)
    if gap > BLIND:
        return Verdict(False, None, "the row itself broke: nobody was looking for %.0f s" % gap)
    if rule.stays == "same" and not first:
        return Verdict(False, None, "the row itself broke: there was no process that could have stayed")
    return Verdict(True, None, "left alone for %.0f s" % now)


def _trouble_with_calls(rule, timeline):
    """What is wrong with the calls so far, or ""."""
    calls = told(timeline.calls)
    if not calls:
        return ""
    if rule.kind != ESCALATES and not rule.may_call:
        return "an operator was told for nothing (%s) after %.0f s: %s" % (
            calls[0].cause or "no cause", calls[0].at, calls[0].text[:160])
    wrong = next((call for call in calls if rule.causes and call.cause not in rule.causes), None)
    if wrong:
        return "an operator was told %s instead of %s: %s" % (wrong.cause or "no cause", " or ".join(rule.causes),
                                                           wrong.text[:160])
    if rule.once and len(calls) > 1:
        return "told %d times (%s)" % (len(calls), ", ".join(
            "%s at %.0f s" % (call.cause, call.at) for call in calls))
    silent = next((call for call in calls if rule.says not in call.text), None)
    if silent:
        return "the alert does not say %r: %s" % (rule.says, silent.text[:300])
    return ""


def told(calls):
    """The alerts that an operator takes for different ones: what has one key and came by two ways is one, and as many
    as came by one of them where that brought several."""
    by_key = {}
    for call in sorted(calls, key=lambda call: call.at):
        by_key.setdefault(call.key, {}).setdefault(call.source, []).append(call)
    return sorted((call for by_source in by_key.values() for call in max(by_source.values(), key=len)),
                  key=lambda call: call.at)


def _longest_gap(samples, now):
    """The longest time without a look, from the fault until now."""
    looks = [0.0] + [sample.at for sample in samples] + [now]
    return max(late - early for early, late in zip(looks, looks[1:]))


def _unchanged(timeline, now):
    """Seconds since a look last differed from the one before."""
    last, changed = None, 0.0
    for sample in timeline.samples:
        if last is not None and sample[1:] != last:
            changed = sample.at
        last = sample[1:]
    return now - max(changed, timeline.cured or 0.0)
