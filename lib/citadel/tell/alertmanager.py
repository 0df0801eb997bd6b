"""Alertmanager, API v2: tells all of them, side by side, within one deadline.

`tell` posts a list of alerts to every URL. Whatever an Alertmanager, or who stands in its place, does to keep us
waiting (no answer, drips, endless headers, endless bodies, a TLS handshake that stalls) ends at the deadline, and soon
after another one has taken them (GRACE). No redirect is followed and no proxy is asked, so neither the alerts nor the
credentials go where nobody has sent them.

Our clock may be wrong. An alert that begins after the receiver's resolve_timeout is refused (400), and one that ends in
its future does not end: both are said again by the time that the receiver has told in its answer. As a 400 is for all
of a list though only one of it may be meant, they are then said one by one.

A host's name is looked up by getent(1), which can be killed; getaddrinfo(3) cannot. An address by number needs neither.
"""

import base64
import calendar
import errno
import json
import os
import select
import socket
import time
from collections import namedtuple

from citadel import __version__
from citadel.core import clock
from citadel.core.errors import CitadelError
from citadel.core.run import run as run_program
from citadel.core.text import plural, printable, span
from citadel.settings.values import is_address
from citadel.tell.receivers import credentials as read_credentials

PATH = "/api/v2/alerts"
NAME = "CitadelEscalated"               # the label alertname
LOOKUP = 2.0                            # seconds for all names together
GRACE = 1.0                             # seconds for the others, once one has taken it
AHEAD = 2.0                             # seconds by which clocks differ that are right (Date: has whole seconds)
LABEL = 1024                            # characters of a label; a cut one might be another's
ENOUGH = 16 * 1024                      # bytes of an answer
_CHUNK = 4096

Place = namedtuple("Place", "scheme host port prefix")
Place.__doc__ = "A URL that setting_values.receiver has read."

Told = namedtuple("Told", "taken answers")
Told.__doc__ = """What came of telling: `taken`, for each alert whether at least one Alertmanager took it; `answers`,
{url: why it did not take all of them, "" where it did}."""

Reply = namedtuple("Reply", "why at status date")
Reply.__doc__ = """An Alertmanager's answer to one POST: `why` it is no success, "" when it is; `at` which monotonic
second it ended; its `status`, 0 where it has none; its `date` in seconds since 1970, None where it tells none."""


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
    """The value of the Authorization field that a credentials file asks for, "" without one; CitadelError as
    receivers.credentials."""
    kind, secret = read_credentials(path)
    if kind == "basic":
        secret = base64.b64encode(secret.encode("ascii")).decode("ascii")
    return (kind.capitalize() + " " + secret).strip()


# --- saying it --------------------------------------------------------------------------------------------------------

def tell(urls, said, now, seconds, credentials="", run=run_program, monotonic=time.monotonic):
    """Tells every URL of the alerts `said`, within `seconds`: Told."""
    began = monotonic()
    end = began + seconds
    try:
        authorized = authorization(credentials)
    except CitadelError as error:
        return Told([False] * len(said), dict.fromkeys(urls, str(error)))
    places = {url: read_place(url) for url in urls}
    known = look_up({place.host for place in places.values()}, end, run, monotonic)

    def post(bodies):
        return _post({url: (places[url], known.get(places[url].host, ()), body) for url, body in bodies.items()},
                     authorized, end, monotonic)

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


def _post(letters, authorized, end, monotonic):
    """Posts {url: (its Place, its addresses, what is posted)}, side by side: {url: Reply}."""
    began = monotonic()
    exchanges = {url: _Exchange(place, addresses, _request(place, json.dumps(posted, sort_keys=True).encode("ascii"),
                                                           authorized), end, monotonic)
                 for url, (place, addresses, posted) in letters.items()}
    try:
        _converse(list(exchanges.values()), end, monotonic)
        for exchange in exchanges.values():
            exchange.give_up(monotonic() - began)
    finally:
        for exchange in exchanges.values():
            exchange.close()
    return {url: exchange.reply for url, exchange in exchanges.items()}


def read_place(url):
    """The Place of a URL in the settings."""
    scheme, _, rest = url.partition("://")
    host, slash, prefix = rest.partition("/")
    port = 443 if scheme == "https" else 80
    if not host.endswith("]") and ":" in host:
        host, _, digits = host.rpartition(":")
        port = int(digits)
    return Place(scheme, host.strip("[]"), port, slash + prefix)


def look_up(hosts, end, run, monotonic=time.monotonic):
    """{host: [address, …]}; a name that is not known in time has none. Each gets an equal share of what the ones before
    it have left, so that a dead one does not use up the time of the others."""
    found = {host: [host] for host in hosts if is_address(host)}
    end = min(end, monotonic() + LOOKUP)
    names = sorted(hosts - set(found))
    for number, name in enumerate(names):
        left = end - monotonic()
        if left <= 0:
            break
        answer = run(["getent", "ahosts", name], max(0.05, left / (len(names) - number)))
        words = [line.split()[0] for line in answer.out.splitlines() if line.strip()]
        found[name] = list(dict.fromkeys(word for word in words if is_address(word))) if answer.ok else []
    return found


def _request(place, body, authorized):
    host = "[%s]" % place.host if ":" in place.host else place.host
    lines = ["POST %s%s HTTP/1.1" % (place.prefix, PATH), "Host: %s:%d" % (host, place.port), "Connection: close",
             "User-Agent: citadel/" + __version__, "Content-Type: application/json", "Content-Length: %d" % len(body)]
    lines += ["Authorization: " + authorized] if authorized else []
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


def _converse(exchanges, end, monotonic):
    """Turns about, until all have ended or the deadline has come, and GRACE after one has taken it; one chunk a turn,
    so that none keeps the others waiting."""
    waiting = [(one, events) for one, events in ((one, one.begin()) for one in exchanges) if events]
    taken = False
    while waiting and monotonic() < end:
        if not taken and any(one.taken for one in exchanges):
            taken, end = True, min(end, monotonic() + GRACE)
        poll = select.poll()
        for exchange, events in waiting:
            poll.register(exchange.socket, events)
        until = min([end] + [one.try_until for one, _ in waiting])
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, until - monotonic()) * 1000)}
        waiting = [(one, one.go_on() if one.socket.fileno() in ready else one.go_on_elsewhere(events))
                   for one, events in waiting]
        waiting = [(one, events) for one, events in waiting if events]


class _Exchange:
    """One POST. `begin` and `go_on` give the poll events that it waits for, 0 at its end; then `reply` is what came of
    it."""

    def __init__(self, place, addresses, request, end, monotonic):
        self.socket, self.why = None, "the name %s is not known" % place.host
        self.try_until = self._deadline = end
        self._monotonic = monotonic
        self._place, self._addresses, self._request = place, list(addresses), request
        self._heard, self._step, self._ended, self._ended_at = b"", None, False, end

    def begin(self):
        """Connects to the next of its addresses, each of which may take its share of the time: one that nobody
        answers at (IPv6 without a way) must not use up that of the next."""
        while self._addresses:
            self.close()
            now = self._monotonic()
            self.try_until = now + (self._deadline - now) / len(self._addresses)
            address = self._addresses.pop(0)
            try:
                self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
                self.socket.setblocking(False)
                code = self.socket.connect_ex((address, self._place.port))
            except OSError as error:
                code = error.errno
            if code in (0, errno.EINPROGRESS):
                self._step = self._connected
                return select.POLLOUT
            self.why = os.strerror(code)
        self._ended = True
        return 0

    def go_on_elsewhere(self, events):
        """Nothing came from this address: is it time for the next one?"""
        return self.begin() if self._monotonic() >= self.try_until and self._addresses else events

    def go_on(self):
        try:
            return self._step()
        except BlockingIOError:
            return select.POLLOUT if self._request else select.POLLIN
        except (OSError, ValueError) as error:      # in Python 3.6 a certificate of another name is a ValueError
            # By name, since ssl is only imported for https.
            wanted = {"SSLWantReadError": select.POLLIN, "SSLWantWriteError": select.POLLOUT}
            return wanted.get(type(error).__name__) or self._end(printable(
                getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error), 160))

    @property
    def taken(self):
        return self._ended and not self.why

    @property
    def reply(self):
        return Reply(self.why, self._ended_at, *read_head(self._heard))

    def give_up(self, seconds):
        """The deadline has come."""
        if not self._ended:
            answer = read_answer(self._heard, True) if self._heard else None
            self.why = answer if answer is not None else "no answer within %s" % span(round(seconds, 1))

    def close(self):
        if self.socket is not None:
            self.socket.close()

    def _connected(self):
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.why = os.strerror(code)
            return self.begin()
        self.try_until, self._addresses = self._deadline, []
        if self._place.scheme == "https":
            import ssl
            self.socket = ssl.create_default_context().wrap_socket(
                self.socket, server_hostname=self._place.host, do_handshake_on_connect=False)
            self._step = self._shake_hands
        else:
            self._step = self._send
        return self._step()

    def _shake_hands(self):
        self.socket.do_handshake()
        self._step = self._send
        return self._send()

    def _send(self):
        while self._request:
            self._request = self._request[self.socket.send(self._request):]
        self._step = self._receive
        return select.POLLIN

    def _receive(self):
        chunk = self.socket.recv(_CHUNK)
        self._heard += chunk
        answer = read_answer(self._heard, not chunk or len(self._heard) >= ENOUGH)
        if answer is not None:
            return self._end(answer)
        pending = getattr(self.socket, "pending", None)         # what TLS has read already, poll does not see
        return self._receive() if pending and pending() else select.POLLIN

    def _end(self, why):
        self.why, self._ended, self._ended_at = why, True, self._monotonic()
        return 0


def read_answer(heard, at_end):
    """Why an HTTP answer is no success, "" when it is one, None while it is not known. Interim answers (1xx) are passed
    over; the status of the real one is all that it takes."""
    nothing = "the connection was closed without an answer"
    while True:
        if heard[:7] != b"HTTP/1."[:len(heard[:7])]:
            return "it answers, but not in HTTP"
        line, newline, _ = heard.partition(b"\n")
        head, blank, body = heard.partition(b"\r\n\r\n")
        code = line[9:12]
        if not newline:
            return nothing if at_end else None
        if not (line[8:9] == b" " and len(code) == 3 and code.isdigit()):
            return "its answer has no status"
        if not code.startswith(b"1"):
            break
        nothing = "it sends interim answers only"
        if not blank:
            return nothing if at_end else None
        heard = body
    if code.startswith(b"2"):
        return ""
    if not at_end and not blank:
        return None
    words = "HTTP " + line[9:].decode("utf-8", "replace").strip()
    if code.startswith(b"3"):
        return printable(words + ", and redirects are not followed", 160)
    if not at_end and not body.strip():
        return None
    said = body.strip().decode("utf-8", "replace").partition("\n")[0]
    return printable(words + (": " + said if said else ""), 160)


def read_head(heard):
    """(status, date in seconds since 1970) of an HTTP answer; 0 and None where it does not tell them."""
    head = heard.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    status = head[0][9:12]
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    try:
        date = calendar.timegm(time.strptime(fields.get("date", ""), "%a, %d %b %Y %H:%M:%S GMT"))
    except (ValueError, OverflowError):
        date = None
    return int(status) if status.isdecimal() else 0, date


def summary(answers):
    """What came of `tell` in a few words, "" when at least one has taken it."""
    failed = {url: why for url, why in answers.items() if why}
    if not answers or len(failed) < len(answers):
        return ""
    words = "; ".join("%s: %s" % (printable(url, 80), why) for url, why in sorted(failed.items()))
    return words if len(failed) < 3 else "none of %s took it: %s" % (plural(len(failed), "Alertmanager"), words)
