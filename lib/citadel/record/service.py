"""One service's record: what a pass reads of it, and what it notes, from the first symptom to the end."""

from citadel.core import clock
from citadel.core.clock import Moment, age
from citadel.model import Attempt, Escalation, History
from citadel.record import forms
from citadel.record.incidents import MOST_CAUSES
from citadel.record.notes import INCIDENTS

MOST_ATTEMPTS = 200                     # that are kept


class ServiceRecord:
    """The record of `unit`; `state` and `incidents` are the store's."""

    def __init__(self, unit, state, incidents):
        self.unit, self._state, self._incidents = unit, state, incidents

    def history(self):
        """What is on record, as model.History."""
        state = self._state.load()
        service, now = state["services"].get(self.unit) or forms.new_service(), self._state.now()
        incident, escalated, recurring = service["incident"], service["escalated"], service["spell"]

        def since(moment):
            return None if moment is None else age(Moment(*moment), now)

        attempts = [Attempt(since(moment), what, level) for moment, what, level in service["attempts"]]
        return History(
            attempts=tuple(sorted(attempts, key=lambda attempt: attempt.age)), level=service["level"],
            incident=incident, escalation=Escalation(escalated[0], since(escalated[1]), escalated[3])
            if self._was_alerted(service) else None,
            healthy_for=since(service["healthy_since"]), seen=dict(service["seen"]),
            last_pass=since(service["last_pass"]), lost=since(state["lost"]),
            open_for=since(service["opened"]) if incident else None,
            spell_for=since(recurring[0]) if recurring else None,
            relapsed=bool(incident and recurring and recurring[2] != incident))

    def counts(self):
        """What was ever counted: "attempts", "escalations", the incidents that began, by the cause found first
        (INCIDENTS + cause), those that ended ("recovered", or "escalated" where an alert was sent), and the "seconds"
        that these lasted. What is not there is 0; no `reset` takes any of it back."""
        return dict((self._state.services().get(self.unit) or {}).get("counts", {}))

    def mark_pass(self, cause, healthy_forgets):
        """Notes that a pass looked at the service and what it found; "" is healthy. A service that was well for
        `healthy_forgets` seconds before this begins anew with its pauses, and on the first level."""
        service = self._own()
        service["last_pass"] = self._state.moment()
        healthy_since = service["healthy_since"]
        if (cause and healthy_since and not service["incident"]         # while that is open it goes on
                and age(Moment(*healthy_since), self._state.now()) >= healthy_forgets):
            service.update(escalated=None, spell=None, level=0)
        service["healthy_since"] = None if cause else healthy_since or self._state.moment()
        seen = service["seen"]
        in_a_row = seen.get(cause, 0) + 1
        seen.update(dict.fromkeys(seen, 0))
        if cause and (cause in seen or len(seen) < MOST_CAUSES):
            seen[cause] = in_a_row
        return self._state.save()

    def count_attempt(self, what, level=0, *, window):
        """Counts an attempt before it is made. Whether it may be made: not when it could be noted nowhere, and once in
        `window` seconds when the disk did not take it."""
        service = self._own()
        service["attempts"] = (service["attempts"] + [[self._state.moment(), str(what)[:200], int(level)]]
                               )[-MOST_ATTEMPTS:]
        self._tally("attempts")
        return self._state.save() or self._state.grant_from_memory(self.unit, window)

    def set_level(self, level):
        """The level that the next attempt stands on."""
        self._own()["level"] = int(level)
        return self._state.save()

    def mark_escalated(self, cause=""):
        """An alert was sent for `cause`, or an attempt after one is about to be made; each lengthens the pauses."""
        service = self._own()
        if not self._was_alerted(service):
            self._tally("escalations")
        service["escalated"] = [(service["escalated"] or [0])[0] + 1, self._state.moment(), service["incident"], cause]
        return self._state.save()

    def forget(self):
        """A clean slate, for the operator's `reset`. What it held, as History. That an alert was sent in the incident
        that is open stays known: the all-clear is due, and no second alert."""
        before, service = self.history(), self._own()
        escalated = None if before.escalation is None else [1] + service["escalated"][1:]
        kept = {name: service[name] for name in ("incident", "opened", "last_pass", "healthy_since")}
        service.update(forms.new_service(), escalated=escalated, **kept)
        self._state.save()
        return before

    def open_incident(self, cause, because, host="", trigger=""):
        """Begins an incident, or adds a further cause to the one that is open. Its id."""
        service = self._own()
        if service["incident"]:
            self._incidents.add_cause(service["incident"], cause, because)
            return service["incident"]
        left_open = self._incidents.left_open(self._state.services(), self.unit).get(self.unit)
        if left_open:
            adopt(service, left_open, self._state.moment())
            self._tally(self._counted_as(left_open["causes"][0]["cause"] if left_open["causes"] else cause))
            self._incidents.add_cause(left_open["id"], cause, because)
        else:
            name = self._incidents.begin(self.unit, cause, because, host, trigger)
            service.update(incident=name, opened=self._state.moment())
            self._tally(self._counted_as(cause))
            if not service["spell"] or service["spell"][1] != _kind(cause):
                service.update(spell=[self._state.moment(), _kind(cause), name], level=0)
        self._state.save()
        self._incidents.list_open()
        return service["incident"]

    def close_incident(self, outcome):
        """Ends the open incident; its document with `end` and `duration`, or None if there was none. It ended when the
        service became well, which may be a while ago; where an alert was sent, its outcome is "escalated"."""
        service = self._own()
        name = service["incident"]
        if not name:
            return None
        now = self._state.now()
        document = self._incidents.read_or_renew(name)
        lasted = age(Moment(*(service["opened"] or document["opened"])), now)
        well_for = min(lasted, age(Moment(*service["healthy_since"]), now) if service["healthy_since"] else 0.0)
        outcome = "escalated" if self._was_alerted(service) else outcome
        document.update(end=clock.stamp(now.wall - well_for), outcome=outcome, duration=round(lasted - well_for, 3))
        self._incidents.write(document)
        self._tally("escalated" if outcome == "escalated" else "recovered")
        self._tally("seconds", document["duration"])
        service.update(incident="", opened=None, seen={}, closed=name)
        self._state.save()
        self._incidents.list_open()
        return document

    def _own(self):
        return self._state.of(self.unit)

    def _was_alerted(self, service):
        return bool(service["escalated"] and service["incident"] and service["escalated"][2] == service["incident"])

    def _tally(self, what, amount=1):
        counts = self._own().setdefault("counts", {})       # a state that an older version has written has none
        counts[what] = round(counts.get(what, 0) + amount, 3)

    def _counted_as(self, cause):
        """The name under which an incident of that cause is counted; there are not endlessly many."""
        known = [what for what in self.counts() if what.startswith(INCIDENTS)]
        return INCIDENTS + (cause if INCIDENTS + cause in known or len(known) < MOST_CAUSES else "unknown")


def adopt(service, document, moment):
    """Refers to an open incident again, and to the alert that was sent in it, as sent at `moment`."""
    causes = [one["cause"] for one in document["causes"]] or [""]
    service.update(incident=document["id"], opened=document["opened"],
                   spell=[document["opened"], _kind(causes[0]), document["id"]])
    if document["escalated"]:
        service["escalated"] = [1, moment, document["id"], causes[-1]]


def _kind(cause):
    """What a cause is about: "gateway", "dependency.ollama", "disk". Another kind is another fault."""
    return cause.rpartition(".")[0] or cause
