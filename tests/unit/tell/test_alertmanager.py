"""Alertmanager: what is said, in which words, and that nobody who should listen can keep us waiting."""

import calendar
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from email.utils import formatdate

import pytest
from network import Receiver

from citadel import __version__
from citadel.core import http
from citadel.core.run import TIMED_OUT, Answer
from citadel.model import Alert
from citadel.tell import alertmanager

ALERT = Alert("firing", "citadel-gateway.service", "port.taken", "port 8002 is held by PID 7, nc", "stop that process",
              "20270115T080000-1", "web1", 1.8e9, None, "critical")
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"status\":\"success\"}"


@pytest.fixture
def receiver():
    opened = []

    def make(behave):
        opened.append(Receiver(behave))
        return opened[-1]
    yield make
    for one in opened:
        one.close()


def says(data):
    return lambda connection, over: connection.sendall(data)


def drips(data, pause=0.05):
    def drip(connection, over):
        while not over.wait(pause):
            connection.sendall(data)
    return drip


def floods(data):
    def flood(connection, over):
        while not over.is_set():
            connection.sendall(data * 1000)
    return flood


def tell(urls, seconds=0.6, **how):
    return alertmanager.tell(urls, [ALERT], 1.8e9 + 60, seconds, **how).answers


# --- what is said

def test_a_firing_alert():
    assert alertmanager.as_posted(ALERT, 1.8e9 + 60) == {
        "labels": {"alertname": "CitadelEscalated", "unit": "citadel-gateway.service", "cause": "port.taken",
                   "host": "web1", "severity": "critical"},
        "annotations": {"summary": "citadel-gateway.service needs an operator on web1",
                        "description": "port 8002 is held by PID 7, nc", "advice": "stop that process",
                        "incident": "20270115T080000-1"},
        "startsAt": "2027-01-15T08:00:00Z"}


def test_a_resolved_alert_has_the_same_labels_and_start():
    fired = alertmanager.as_posted(ALERT, 1.8e9 + 60)
    over = alertmanager.as_posted(ALERT._replace(kind="resolved", because="it answers", ended=1.8e9 + 90), 1.8e9 + 120)
    assert over["endsAt"] == "2027-01-15T08:01:30Z"
    assert (over["labels"], over["startsAt"]) == (fired["labels"], fired["startsAt"])


@pytest.mark.parametrize("started, ended, now, expected", [
    pytest.param(2e9, None, 1.8e9, ("2027-01-15T08:00:00Z", None), id="the clock was stepped back while it fires"),
    pytest.param(1.8e9, 1e9, 1.8e9 + 9, ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00Z"),
                 id="it ended before it began"),
    pytest.param(2e9, 2e9, 1.8e9, ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00Z"), id="stepped back before its end"),
])
def test_times_are_in_order_whatever_the_clock_did(started, ended, now, expected):
    alert = ALERT._replace(kind="resolved" if ended else "firing", started=started, ended=ended)
    posted = alertmanager.as_posted(alert, now)
    assert (posted["startsAt"], posted.get("endsAt")) == expected


def test_no_text_of_others_gets_through_raw():
    posted = alertmanager.as_posted(ALERT._replace(because="a\x1b[31m\u202eb\n", host="h\x00"), 1.8e9)
    assert "\x1b" not in json.dumps(posted, ensure_ascii=False) and "\n" not in posted["annotations"]["description"]
    assert posted["labels"]["host"] == "h\\x00"


# --- saying it

def test_it_is_posted_as_the_api_wants_it(receiver):
    one = receiver(says(TAKEN))
    assert tell([one.url + "/am"]) == {one.url + "/am": ""}
    head, body = one.heard[0]
    assert head.startswith("POST /am/api/v2/alerts HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "\r\nContent-Type: application/json\r\n" in head and "Authorization" not in head
    assert "\r\nUser-Agent: citadel/%s\r\n" % __version__ in head
    assert body == [alertmanager.as_posted(ALERT, 1.8e9 + 60)]


@pytest.mark.parametrize("behave, why", [
    pytest.param(says(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nsorry"),
                 "HTTP 500 Internal Server Error: sorry", id="500"),
    pytest.param(says(b"HTTP/1.1 503 Busy\r\n\r\n"), "HTTP 503 Busy", id="503 without a body"),
    pytest.param(says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), "redirects are not followed",
                 id="a redirect"),
    pytest.param(says(b""), "closed without an answer", id="no answer at all"),
    pytest.param(says(b"SSH-2.0-OpenSSH_9\r\n"), "not in HTTP", id="another protocol"),
    pytest.param(says(b"HTTP/1.1 OK\r\n\r\n"), "no status", id="a broken status line"),
    pytest.param(lambda connection, over: over.wait(30), "no answer within", id="silence"),
    pytest.param(drips(b"H"), "not in HTTP", id="drips of nothing known"),
    pytest.param(drips(b"HTTP/1.1 100 Continue\r\n\r\n"), "", id="endless 100 Continue"),
    pytest.param(floods(b"HTTP/1.1 100 Continue\r\n\r\n"), "interim answers only", id="a flood of 100 Continue"),
    pytest.param(floods(b"HTTP/1.1 500 E\r\nX: y\r\n"), "HTTP 500 E", id="endless headers"),
])
def test_who_does_not_take_it_is_named_and_keeps_nobody_waiting(receiver, behave, why):
    bad, good = receiver(behave), receiver(says(TAKEN))
    started = time.monotonic()
    answers = tell([bad.url, good.url])
    assert time.monotonic() - started < 1.5
    assert answers[good.url] == "" and answers[bad.url] and why in answers[bad.url]


def test_who_floods_is_left_after_enough_and_not_at_the_deadline(receiver):
    def behave(connection, over):
        connection.sendall(b"HTTP/1.1 500 E\r\n")
        floods(b"X: y\r\n")(connection, over)
    one = receiver(behave)
    started = time.monotonic()
    assert tell([one.url], seconds=5) == {one.url: "HTTP 500 E"}
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("behave", [
    pytest.param(says(TAKEN), id="at once"),
    pytest.param(says(b"HTTP/1.1 100 Continue\r\n\r\n" + TAKEN), id="after an interim answer"),
    pytest.param(says(b"HTTP/1.1 204 No Content\r\n\r\n"), id="204"),
    pytest.param(lambda connection, over: [connection.sendall(bytes([one])) for one in bytearray(TAKEN)],
                 id="byte by byte"),
    pytest.param(floods(b"HTTP/1.1 200 OK\r\n\r\nmore"), id="and never ends"),
])
def test_it_is_taken(receiver, behave):
    assert list(tell([receiver(behave).url]).values()) == [""]


def test_the_status_is_told_when_the_rest_drips(receiver):
    def behave(connection, over):
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\n")
        drips(b"X: y\r\n")(connection, over)
    assert list(tell([receiver(behave).url]).values()) == ["HTTP 429 Too Many Requests"]


def test_nobody_listens():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % closed.getsockname()[1]
        assert tell([url]) == {url: "Connection refused"}


def test_a_tls_handshake_that_stalls(receiver):
    url = receiver(says(b"")).url.replace("http:", "https:")
    started = time.monotonic()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        other = "https://127.0.0.1:%d" % silent.getsockname()[1]
        answers = tell([other])
    assert "no answer within" in answers[other] and time.monotonic() - started < 1.5
    assert url


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl here to make a certificate with")
def test_a_certificate_of_another_name(tmp_path, monkeypatch):
    """In Python 3.6 that is an ssl.CertificateError, which is a ValueError and no OSError."""
    pem, key = str(tmp_path / "certificate"), str(tmp_path / "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other.example",
                    "-out", pem, "-keyout", key], check=True, stderr=subprocess.DEVNULL)
    monkeypatch.setenv("SSL_CERT_FILE", pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)

    def serve():
        try:
            context.wrap_socket(server.accept()[0], server_side=True).close()
        except OSError:
            pass                                    # it has refused our certificate, as it should
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        url = "https://127.0.0.1:%d" % server.getsockname()[1]
        why = tell([url])[url]
        serving.join(5)
    assert "match" in why


def test_a_name_is_looked_up_in_bounded_time(receiver):
    one = receiver(says(TAKEN))
    port = one.url.rpartition(":")[2]
    asked = []

    def run(argv, timeout):
        asked.append((argv, timeout))
        return Answer(argv, 0, "::1  STREAM am\n127.0.0.1 STREAM\n127.0.0.1 DGRAM\n", "", 0.0, False)
    url = "http://am.example:" + port
    assert tell([url], run=run) == {url: ""}, "and the next address is tried where the first one refuses"
    assert asked[0][0] == ["getent", "ahosts", "am.example"] and asked[0][1] <= 0.6
    assert one.heard[0][0].split("\r\n")[1] == "Host: am.example:" + port


def test_an_address_that_is_silent_leaves_time_for_the_next(receiver):
    one = receiver(says(TAKEN))
    port = int(one.url.rpartition(":")[2])
    with socket.socket() as full:           # a listener whose queue is full: the kernel drops what comes after
        full.bind(("127.0.0.2", port))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.2", port))
        run = lambda argv, timeout: Answer(argv, 0, "127.0.0.2 STREAM\n127.0.0.1 STREAM\n", "", 0.0, False)    # noqa: E731
        url = "http://am.example:%d" % port
        assert tell([url], run=run) == {url: ""}
        for filler in fillers:
            filler.close()


def test_a_name_that_nobody_knows(receiver):
    one = receiver(says(TAKEN))
    run = lambda argv, timeout: Answer(argv, 2, "", "", 0.0, False)         # noqa: E731
    answers = tell(["http://nowhere.invalid:9093", one.url], run=run)
    assert answers == {"http://nowhere.invalid:9093": "the name nowhere.invalid is not known", one.url: ""}


def test_a_dead_name_leaves_the_others_their_time(receiver):
    """Its zone does not answer; the others' names are known after 50 ms."""
    one = receiver(says(TAKEN))
    port = one.url.rpartition(":")[2]

    def run(argv, timeout):
        needed = 60 if argv[2].endswith(".dead") else 0.05
        time.sleep(min(needed, timeout))
        return Answer(argv, 0 if needed <= timeout else TIMED_OUT, "127.0.0.1 STREAM\n" if needed <= timeout else "",
                      "", min(needed, timeout), False)
    urls = ["http://%s:%s" % (name, port) for name in ("a.dead", "b.example", "c.dead", "d.example")]
    assert tell(urls, seconds=2, run=run) == {urls[0]: "the name a.dead is not known", urls[1]: "",
                                              urls[2]: "the name c.dead is not known", urls[3]: ""}


def test_many_dead_names_take_no_more_time_than_one():
    def run(argv, timeout):
        time.sleep(timeout)
        return Answer(argv, TIMED_OUT, "", "", timeout, False)
    started = time.monotonic()
    urls = ["http://am%d.dead" % number for number in range(100)]
    assert set(tell(urls, seconds=0.5, run=run)) == set(urls)
    assert time.monotonic() - started < 1


def test_once_one_has_taken_it_the_others_have_a_second(receiver):
    up, silent = receiver(says(TAKEN)), receiver(lambda connection, over: over.wait(30))
    started = time.monotonic()
    answers = tell([silent.url, up.url], seconds=5)
    assert answers == {up.url: "", silent.url: "no answer within 1 s"}
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("url, place", [
    ("http://127.0.0.1:9093", ("http", "127.0.0.1", 9093, "")),
    ("https://am.example", ("https", "am.example", 443, "")),
    ("http://[::1]:9093/am", ("http", "::1", 9093, "/am")), ("http://[::1]", ("http", "::1", 80, ""))])
def test_a_url_is_read(url, place):
    assert tuple(alertmanager.read_place(url)) == place


# --- whose clock is right

class Alertmanager(Receiver):
    """Takes and refuses as Alertmanager 0.25 does (api/v2/api.go, postAlertsHandler; types.Alert.Validate): what is in
    order is stored, also where the answer is a 400 for the sake of another; what has no end lasts for 5 min. `slow`:
    the seconds by which its clock is behind ours; `dated`: whether it tells its time."""

    def __init__(self, slow=0, dated=True):
        self.slow, self.dated, self.holds = slow, dated, {}
        super().__init__(self._take)

    def now(self):
        return time.time() - self.slow

    def _take(self, connection, over):
        wrong = []
        for alert in self.heard[-1][1]:
            ends = seconds(alert["endsAt"]) if "endsAt" in alert else self.now() + 300
            starts = seconds(alert["startsAt"]) if "startsAt" in alert else min(self.now(), ends)
            if ends < starts:
                wrong.append("start time must be before end time")
            else:
                self.holds[alert["labels"]["unit"]] = ends
        date = "Date: %s\r\n" % formatdate(self.now(), usegmt=True) if self.dated else ""
        status, body = ("400 Bad Request", json.dumps("; ".join(wrong))) if wrong else ("200 OK", "")
        connection.sendall(("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, date, len(body), body)).encode())

    def active(self):
        return sorted(unit for unit, ends in self.holds.items() if ends > self.now())


def seconds(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


@pytest.fixture
def alertmanagers():
    made = []

    def make(*how, **more):
        made.append(Alertmanager(*how, **more))
        return made[-1]
    yield make
    for one in made:
        one.close()


def an_alert(unit, began, ended=None):
    now = time.time()
    return ALERT._replace(unit=unit, started=now + began, kind="firing" if ended is None else "resolved",
                          ended=None if ended is None else now + ended)


@pytest.mark.parametrize("dated", [True, False], ids=["it tells its time", "it does not"])
@pytest.mark.parametrize("slow", [0, 240, 3600])
def test_a_host_whose_clock_is_ahead_is_heard(alertmanagers, slow, dated):
    one = alertmanagers(slow, dated)
    told = alertmanager.tell([one.url], [an_alert("a", 0), an_alert("b", -7200)], time.time(), 5)
    assert told == ([True, True], {one.url: ""}) and one.active() == ["a", "b"]


@pytest.mark.parametrize("slow", [0, 240, 3600])
def test_what_is_over_ends_now_also_where_the_receiver_s_clock_is_behind(alertmanagers, slow):
    one = alertmanagers(slow)
    alertmanager.tell([one.url], [an_alert("a", -100)], time.time(), 5)
    assert one.active() == ["a"]
    told = alertmanager.tell([one.url], [an_alert("a", -100, -10)], time.time(), 5)
    assert told.taken == [True] and one.active() == []


def test_one_alert_that_is_refused_blocks_no_other(receiver):
    """Whatever it is that this Alertmanager has against it."""
    def behave(connection, over):
        refused = any(one["labels"]["unit"] == "bad" for one in listener.heard[-1][1])
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\nno" if refused else TAKEN)
    listener = receiver(behave)
    told = alertmanager.tell([listener.url], [an_alert(unit, -9) for unit in ("a", "bad", "b")], time.time(), 5)
    assert told == ([True, False, True], {listener.url: "HTTP 400 Bad Request: no"})


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 25 Nov 2026 08:00:00 +0100", "Wed, 99 Nov 9999 08:00:00 GMT"])
def test_a_date_that_tells_nothing(date):
    assert http.read(("+HTTP/1.1 400 Bad\r\nDate: %s\r\n\r\n" % date).encode(), True)[1:3] == (400, None)


@pytest.mark.parametrize("heard, head", [
    (b"", (0, None)), (b"HTTP/1.1 \xb2\xb2\xb2 ?\r\n\r\n", (0, None)), (b"HTTP/1.1 200 OK\r\nDate", (200, None)),
    (b"HTTP/1.1 200 OK\r\nDATE: Wed, 25 Nov 2026 08:00:00 GMT\r\n\r\nDate: x", (200, 1795593600))])
def test_a_head_is_read(heard, head):
    assert http.read(b"+" + heard, True)[1:3] == head


# --- credentials

@pytest.fixture
def credentials(tmp_path):
    def make(text, mode=0o600):
        path = tmp_path / "credentials"
        path.write_text(text)
        path.chmod(mode)
        return str(path)
    return make


@pytest.mark.parametrize("text, sent", [
    ("bearer s3cret\n", "Bearer s3cret"), ("Basic me:s3cret", "Basic bWU6czNjcmV0")])
def test_credentials_are_sent(receiver, credentials, text, sent):
    one = receiver(says(TAKEN))
    assert list(tell([one.url], credentials=credentials(text)).values()) == [""]
    assert "\r\nAuthorization: %s\r\n" % sent in one.heard[0][0] + "\r\n"


@pytest.mark.parametrize("text, mode, why", [
    ("s3cret", 0o600, "does not hold"), ("digest s3cret", 0o600, "does not hold"), ("bearer ", 0o600, "does not hold"),
    ("bearer s3cret\r\nX-Evil: 1", 0o600, "does not hold"), ("basic s3cret", 0o600, "USER:PASSWORD"),
    ("bearer s3cret", 0o644, "readable by its group and everybody"), ("bearer s3cret", 0o640, "readable by its group"),
    ("bearer s3cret", 0o620, "writable by its group")])
def test_credentials_that_are_not_used(receiver, credentials, text, mode, why):
    one = receiver(says(TAKEN))
    answers = tell([one.url], credentials=credentials(text, mode))
    assert why in answers[one.url] and "s3cret" not in answers[one.url] and one.heard == []


def test_credentials_that_are_not_there(tmp_path):
    assert "no such file" in tell(["http://127.0.0.1:1"], credentials=str(tmp_path / "none"))["http://127.0.0.1:1"]
    os.symlink("/etc/passwd", str(tmp_path / "link"))
    assert "symbolic link" in tell(["http://127.0.0.1:1"], credentials=str(tmp_path / "link"))["http://127.0.0.1:1"]


@pytest.mark.parametrize("answers, words", [
    ({}, ""), ({"http://a": "", "http://b": "silent"}, ""), ({"http://a": "silent"}, "http://a: silent"),
    ({"http://%d" % n: "x" for n in range(3)},
     "none of 3 Alertmanagers took it: http://0: x; http://1: x; http://2: x")])
def test_summary(answers, words):
    assert alertmanager.summary(answers) == words
