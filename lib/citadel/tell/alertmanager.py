"""Alertmanager, API v2. All are told side by side; what one of them takes counts as taken, as in a cluster.

Our clock may be wrong. An alert that begins after the receiver's resolve_timeout is refused (400), and one that ends in
its future does not end: both are sent again by the receiver's time, which its answer tells. A 400 is for all alerts of
a list, though only one may be meant: they are then sent one by one. The end of an alert that was sent late follows only
after HELD: nobody hears of one that begins and ends within a group_interval of Alertmanager (5 min).
"""

import json
import time
from collections import namedtuple

from citadel.core import clock, http
from citadel.core.errors import CitadelError
from citadel.core.run import run as run_program
from citadel.core.text import plural, printable
from citadel.settings.url import is_address
from citadel.settings.url import read as read_url
from citadel.tell import spool
from citadel.tell.metrics import LABEL
from citadel.tell.receivers import authorization
from citadel.tell.wording import headline

PATH = "/api/v2/alerts"
NAME = "CitadelEscalated"               # the label alertname
TOGETHER = 5.0                          # seconds that one pass may spend on all Alertmanagers, come what may
AGAIN = 60                              # seconds after which what fires is sent again, also within a pass
AGAIN_SHARE = 0.5                       # seconds of TOGETHER that this may take; its resolve_timeout is 5 min
HELD = 330                              # seconds from what was told late to what follows it: > group_interval
LOOKUP = 2.0                            # seconds for all names together
GRACE = 1.0                             # seconds for the others, once one has taken it
AHEAD = 2.0                             # seconds by which clocks differ that are right (Date: has whole seconds)

Told = namedtuple("Told", "taken answers")
Told.__doc__ = """What came of telling: `taken`, for each alert whether at least one Alertmanager took it; `answers`,
{url: why it did not take all of them, "" where it did}."""


def send(letter, kept, delivery):
    taken, why = send_due(delivery, letter)
    return "" if letter.name in taken else why or spool.OLDER_FIRST


def send_due(delivery, letter=None, most=TOGETHER):
    """Sends what they have not taken yet (`letter` too, even if the spool is full), and again what still fires, within
    `most` seconds: (names of the letters that were taken, why not all were).
    Of alerts with the same labels only the oldest is sent: Alertmanager never notifies one that begins and ends in one
    message, and an older end would end a newer beginning. A URL that has not taken what another took would only use up
    the time, and is left out for the rest of the pass."""
    settings, store, run, now, course = delivery
    letters = [one for one in spool.letters_in(store) if "alertmanager" in one.waiting]
    kept = {one.name for one in letters}
    if letter and letter.name not in kept:
        letters.append(letter)
    due = _due(letters, spool.firing(store), course.late, now)
    urls = [url for url in settings.alertmanager.urls if url not in course.passed_over]
    left = min(most, TOGETHER - course.seconds)
    if not due or left < 0.1:
        return [], "the time for Alertmanager in this pass is used up" if due else ""
    began = time.monotonic()
    told = tell(urls, [one.alert for one in due], now.wall, left, settings.alertmanager.credentials, run)
    course.seconds += time.monotonic() - began
    if "" in told.answers.values():
        course.passed_over.update(url for url, why in told.answers.items() if why)
    why = "" if all(told.taken) else summary(told.answers)
    spool.note_refusal(why, store)
    gone = [one for one, taken in zip(due, told.taken) if taken]
    if gone:
        course.sent = time.monotonic()
    for one in gone:
        if one.name in kept:
            spool.note_taken(one, "alertmanager", store)
    _note_late([one.alert for one in gone if one.name in kept and not (letter and one.name == letter.name)], delivery)
    return [one.name for one in gone if one.name], why


def send_again(delivery):
    """Sends what fires again when that is due; no more in this pass once nobody takes it: new alerts need the time."""
    course = delivery.course
    if course.sends_again and time.monotonic() - course.sent >= AGAIN:
        course.sends_again = not send_due(delivery, most=AGAIN_SHARE)[1]


def _due(letters, burning, late, now):
    """The Letters to send now, one of each identity; one without a name is sent again. Pure. What follows an alert that
    was sent late is held back, and that alert is sent again, or it would end; but what fires now is not held back."""
    due = {}
    for one in letters:
        which = identity(one.alert)
        told = late.get(which)
        is_open = one.alert.kind == "firing" and one.alert.incident in burning
        if told and not is_open and clock.age(told[0], now) < HELD:
            one = spool.Letter("", told[1], ()) if told[1].kind == "firing" else None
        due.setdefault(which, one)
    for _, alert in sorted(burning.items()):
        due.setdefault(identity(alert), spool.Letter("", alert, ()))
    return [one for one in due.values() if one is not None]


def identity(alert):
    return tuple(sorted(labels(alert).items()))


def _note_late(alerts, delivery):
    """Notes when these were told late, and forgets what nothing needs to wait for any more."""
    course, now, before = delivery.course, delivery.now, len(delivery.course.late)
    course.late = {which: told for which, told in course.late.items() if clock.age(told[0], now) < HELD}
    course.late.update((identity(one), (clock.Moment(now.wall, now.boottime, now.boot_id), one)) for one in alerts)
    if alerts or len(course.late) != before:
        spool.note_late(list(course.late.values()), delivery.store)


def labels(alert):
    """What makes an alert the same one from one sending to the next; nothing in it changes while it lasts."""
    return {"alertname": NAME, "unit": printable(alert.unit, LABEL), "cause": printable(alert.cause, LABEL),
            "host": printable(alert.host, LABEL), "severity": alert.severity}


def as_posted(alert, now):
    """A model.Alert as Alertmanager takes it; `now` in seconds since 1970. Without `endsAt` it fires until its
    resolve_timeout. It refuses times that are not in order, which a stepped clock may have left us with."""
    began = min(alert.started, now)
    posted = {"labels": labels(alert), "startsAt": clock.stamp(began), "annotations": {
        "summary": printable("%s on %s" % (headline(alert), alert.host), 300),
        "description": printable(alert.because, 1000), "advice": printable(alert.advice, 300),
        "incident": printable(alert.incident)}}
    if alert.kind == "resolved":
        posted["endsAt"] = clock.stamp(max(began, min(alert.ended or now, now)))
    return posted


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
        questions = {}
        for url, posted in letters.items():
            place, body = places[url], json.dumps(posted, sort_keys=True).encode("ascii")
            request = http.request("POST", place, place.path + PATH, body, authorized)
            questions[url] = place, known.get(place.host, ()), request
        return http.converse(questions, end, GRACE)

    def alone(url, posted, dated):
        reply = post({url: [posted]})[url]
        if reply.status == 400 and not dated:       # a proxy hides its time: it takes its own
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
    """{host: [address, …]}; a name that is not known in time has none. By getent(1), which can be killed. Each name has
    an equal share of the time that is left: a dead one does not use up that of the others."""
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
