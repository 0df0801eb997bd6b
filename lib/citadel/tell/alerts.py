"""Telling the operator: one alert an incident, and one resolution; the door of this wing.

What fires is kept in firing/. Each pass sends it to Alertmanager again (the health check starts one each minute while
an incident is open), and so does a long one (keep_firing): an alert that is not sent again ends there by itself.
"""

import os
import time

from citadel.core import clock
from citadel.core.run import run as run_program
from citadel.core.text import span
from citadel.model import FAILED, OK, Alert, Outcome
from citadel.record import notes
from citadel.tell import alertmanager, deliver, spool
from citadel.tell.spool import firing
from citadel.tell.wording import advice, tried


def escalate(step, finding, incident, settings, store, now, run=run_program):
    """Tells the operator that this incident is theirs; the step's Outcome. Failed only when nobody could be told."""
    document = store.incidents.read(incident) if incident else None
    done = tried(document, finding.unit)
    alert = Alert("firing", finding.unit, finding.cause, step.because + ("; tried: " + done if done else ""),
                  advice(finding), incident, os.uname().nodename,
                  document["opened"][0] if document else now.wall, None, "critical")
    return _tell(step, alert, deliver.begin(settings, store, now, run))


def resolve(step, document, settings, store, now, run=run_program):
    """Tells every receiver of the alert that the incident is over; `document` is the incident, closed or about to be.
    The labels stay as they fired, or Alertmanager would not know which of its alerts is meant."""
    lasted = document["duration"]
    if lasted is None:
        lasted = clock.age(clock.Moment(*document["opened"]), now)
    because = "%s; it took %s" % (step.because, span(lasted))
    cause = document["causes"][0]["cause"] if document["causes"] else ""
    alert = firing(store).get(document["id"]) or Alert("", document["unit"], cause, "", "", document["id"],
                                                       os.uname().nodename, document["opened"][0], None, "critical")
    return _tell(step, alert._replace(kind="resolved", because=because, advice="", ended=now.wall),
                 deliver.begin(settings, store, now, run))


def _tell(step, alert, delivery):
    began, store = time.monotonic(), delivery.store
    told, waiting, words = deliver.deliver(alert, delivery)
    document = store.incidents.read(alert.incident) if alert.incident else None
    if document is not None:
        note = {"at": clock.stamp(delivery.now.wall), "told": words, "waiting": waiting}
        store.incidents.amend(alert.incident, alerts=dict(document["alerts"], **{alert.kind: note}))
    return Outcome(step, OK if told else FAILED, time.monotonic() - began, "told: " + "; ".join(words),
                   {"waiting": waiting})


def keep_firing(settings, store, run=run_program):
    """For a pass that lasts: sends what fires again when that is due."""
    delivery = deliver.begin(settings, store, store.now(), run)         # in any case: the pass begins with it
    if settings.alertmanager.urls and store.files.names("firing"):
        alertmanager.send_again(delivery)


def send_spooled(settings, store, run=run_program):
    """Sends what waits and ends the delivery of this pass; how many alerts left the spool."""
    _end_what_is_over(store)
    before = len(spool.letters_in(store))
    deliver.send_waiting(deliver.begin(settings, store, store.now(), run))
    store.course = None
    return before - notes.spooled(store.files.path)


def _end_what_is_over(store):
    """Resolves each alert whose incident is no longer open (the record was lost, or a pass died while closing it)."""
    for incident, alert in firing(store).items():
        over = alert._replace(kind="resolved", because="its incident is no longer open", advice="",
                              ended=store.now().wall)
        if store.of(alert.unit).history().incident != incident and spool.keep(
                spool.Letter("spool/%s-resolved.json" % incident, over, spool.RECEIVERS), store):
            spool.note_firing(over, store)
