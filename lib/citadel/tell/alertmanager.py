"""Alertmanager, API v2: tells all of them, side by side, within one deadline.

Our clock may be wrong. An alert that begins after the receiver's resolve_timeout is refused (400), and one that ends in
its future does not end: both are said again by the time that the receiver has told in its answer. As a 400 is for all
of a list though only one of it may be meant, they are then said one by one.

A host's name is looked up by getent(1), which can be killed; getaddrinfo(3) cannot. An address by number needs neither.
"""

import base64
import json
import time
from collections import namedtuple

from citadel.core import clock, http
from citadel.core.errors import CitadelError
from citadel.core.run import run as run_program
from citadel.core.text import plural, printable
from citadel.core.url import is_address
from citadel.core.url import read as read_url
from citadel.tell.receivers import credentials as read_credentials

PATH = "/api/v2/alerts"
NAME = "CitadelEscalated"               # the label alertname
LOOKUP = 2.0                            # seconds for all names together
GRACE = 1.0                             # seconds for the others, once one has taken it
AHEAD = 2.0                             # seconds by which clocks differ that are right (Date: has whole seconds)
LABEL = 1024                            # characters of a label; a cut one might be another's

Told = namedtuple("Told", "taken answers")
Told.__doc__ = """What came of telling: `taken`, for each alert whether at least one Alertmanager took it; `answers`,
{url: why it did not take all of them, "" where it did}."""


# --- what is said -----------------------------------------------------------------------------------------------------

def labels(alert):
    """What makes an alert the same one from one sending to the next; nothing in it changes while it lasts."""
    return {"alertname": NAME, "unit": printable(alert.unit, LABEL), "cause": printable(alert.cause, LABEL),
            "host": printable(alert.host, LABEL), "severity": alert.severity}


def as_posted(alert, now):
    """An alerts.Alert as Alertmanager takes it; `now` in seconds since 1970. Without `endsAt` it fires until its
    resolve_timeout after the last sending. Alertmanager refuses times that are not in order, which a stepped clock
    may have left us with."""
    began = min(alert.started, now)
    posted = {"labels": labels(alert), "startsAt": clock.stamp(began), "annotations": {
        "summary": printable("%s %s on %s" % (alert.unit, "needs a person" if alert.kind == "firing" else
                                              "is well again", alert.host), 300),
        "description": printable(alert.because, 1000), "advice": printable(alert.advice, 300),
        "incident": printable(alert.incident)}}
    if alert.kind == "resolved":
        posted["endsAt"] = clock.stamp(max(began, min(alert.ended or now, now)))
    return posted


def authorization(path):
    """The fields of a request that a credentials file asks for; CitadelError as receivers.credentials."""
    kind, secret = read_credentials(path)
    if kind == "basic":
        secret = base64.b64encode(secret.encode("ascii")).decode("ascii")
    return ["Authorization: %s %s" % (kind.capitalize(), secret)] if kind else []


# --- saying it --------------------------------------------------------------------------------------------------------

def tell(urls, said, now, seconds, credentials="", run=run_program):
    """Tells every URL of the alerts `said`, within `seconds`: Told."""
    began = time.monotonic()
    end = began + seconds
    try:
        authorized = authorization(credentials)
    except CitadelError as error:
        return Told([False] * len(said), dict.fromkeys(urls, str(error)))
    places = {url: read_place(url) for url in urls}
    known = look_up({place.host for place in places.values()}, end, run)

    def post(letters):
        return http.converse({url: question(places[url], json.dumps(posted, sort_keys=True).encode("ascii"))
                              for url, posted in letters.items()}, end, GRACE)

    def question(place, body):
        return place, known.get(place.host, ()), http.request("POST", place, place.path + PATH, body, authorized)

    def alone(url, posted, dated):
        reply = post({url: [posted]})[url]
        if reply.status == 400 and not dated:       # a proxy hides its time: Alertmanager then takes its own
            reply = post({url: [{name: value for name, value in posted.items() if name != "startsAt"}]})[url]
        return reply

    replies = post(dict.fromkeys(urls, [as_posted(one, now) for one in said]))
    taken = [any(not reply.why for reply in replies.values())] * len(said)
    answers = {url: reply.why for url, reply in replies.items()}
    for url, reply in replies.items():
        ahead = now + reply.at - began - (reply.date or 0.0)
        its_now = now - ahead if reply.date and ahead > AHEAD else now
        if reply.status == 400:
            whys = [alone(url, as_posted(one, its_now), reply.date).why for one in said]
            taken = [before or not why for before, why in zip(taken, whys)]
            answers[url] = next((why for why in whys if why), "")
        elif not reply.why and any(one.kind == "resolved" and (one.ended or now) > its_now for one in said):
            answers[url] = post({url: [as_posted(one, its_now) for one in said]})[url].why
    return Told(taken, answers)


def read_place(url):
    """The Url of an Alertmanager, its port written out."""
    place = read_url(url, ("http", "https"))
    return place._replace(port=place.port or (443 if place.scheme == "https" else 80))


def look_up(hosts, end, run):
    """{host: [address, …]}; a name that is not known in time has none. Each gets an equal share of what the ones before
    it have left, so that a dead one does not use up the time of the others."""
    found = {host: [host] for host in hosts if is_address(host)}
    end = min(end, time.monotonic() + LOOKUP)
    names = sorted(hosts - set(found))
    for number, name in enumerate(names):
        left = end - time.monotonic()
        if left <= 0:
            break
        answer = run(["getent", "ahosts", name], max(0.05, left / (len(names) - number)))
        words = [line.split()[0] for line in answer.out.splitlines() if line.strip()]
        found[name] = list(dict.fromkeys(word for word in words if is_address(word))) if answer.ok else []
    return found


def summary(answers):
    """What came of `tell` in a few words, "" when at least one has taken it."""
    failed = {url: why for url, why in answers.items() if why}
    if not answers or len(failed) < len(answers):
        return ""
    words = "; ".join("%s: %s" % (printable(url, 80), why) for url, why in sorted(failed.items()))
    return words if len(failed) < 3 else "none of %s took it: %s" % (plural(len(failed), "Alertmanager"), words)
