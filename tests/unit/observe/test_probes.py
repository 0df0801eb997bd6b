"""probes.py against real peers on loopback: servers that misbehave in every way we know of, and a real redis-server.

Most peers are asked in one single `ask`, side by side, as `check` does it; each row then looks at its own answer.
"""

import contextlib
import gc
import glob
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from places import LIB, SAMPLES

from citadel.observe import probes, protocols

DEADLINE = 1.0
OK = b"HTTP/1.1 200 OK\r\n"


# --- peers: a function that is given an accepted connection, and behaves badly on it

def say(*chunks, **how):
    """Reads the request, sends the chunks with a pause before each, then closes, resets or holds the connection."""
    def peer(connection):
        connection.recv(65536)
        for chunk in chunks:
            time.sleep(how.get("pause", 0))
            connection.sendall(chunk)
        how.get("then", close)(connection)
    return peer


def close(connection):
    connection.shutdown(socket.SHUT_WR)
    connection.recv(65536)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hold(connection):
    while connection.recv(65536):
        pass


def repeat(first, chunk, pause=0.0):
    """Sends `first`, then `chunk` for ever."""
    def peer(connection):
        connection.sendall(first)
        while True:
            time.sleep(pause)
            connection.sendall(chunk)
    return peer


@contextlib.contextmanager
def listening(peer, family=socket.AF_INET, backlog=64):
    """Runs `peer` in a thread for each connection; gives the port. `None` never accepts."""
    listener = socket.socket(family)
    listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    listener.listen(backlog)

    def attend(connection):
        with connection:
            try:
                peer(connection)
            except OSError:
                pass

    def accept():
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=attend, args=(connection,), daemon=True).start()

    if peer:
        threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def unused_port():
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def fields(status, body=b"", *lines):
    head = b"".join(line + b"\r\n" for line in lines) or b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n" + body


def chunked(*pieces):
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return fields(b"200 OK", body + b"0\r\nTrailer: x\r\n\r\n", b"Transfer-Encoding: chunked")


HTTP = [
    # phrase, peer, outcome, status, words of the detail
    ("a plain 200", say(fields(b"200 OK", b"{}")), "ok", 200, "HTTP 200"),
    ("a 204 has no body", say(fields(b"204 No Content", b"", b"X: y"), then=hold), "ok", 204, "HTTP 204"),
    ("a length without a body to come is not waited for",
     say(fields(b"200 OK", b"", b"Content-Length: 0"), then=hold), "ok", 200, ""),
    ("the connection may stay open after the body", say(fields(b"200 OK", b"x"), then=hold), "ok", 200, ""),
    ("chunked", say(chunked(b"abc", b"d" * 300), then=hold), "ok", 200, "HTTP 200"),
    ("chunked, a byte at a time", say(*[b"%c" % byte for byte in chunked(b"abc", b"de")], pause=0.002), "ok", 200, ""),
    ("HTTP/1.0 without a length ends with the connection", say(b"HTTP/1.0 200 OK\r\n\r\nhello"), "ok", 200, ""),
    ("bare line feeds", say(b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", then=hold), "ok", 200, ""),
    ("no reason phrase", say(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", then=hold), "ok", 200, ""),
    ("100 Continue and 103 come first",
     say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", fields(b"200 OK", b"x")),
     "ok", 200, "HTTP 200"),
    ("slow, but in time", say(fields(b"200 OK", b"x"), pause=0.3), "ok", 200, ""),
    ("a page of 10 MB is judged by its first 64 KiB",
     say(fields(b"200 OK", b"", b"Content-Length: 10000000"), b"x" * 10000000), "ok", 200, "64 KiB or more"),
    ("a body without end", repeat(OK + b"\r\n", b"x" * 65536), "ok", 200, "64 KiB or more"),

    ("a 301 is not followed", say(fields(b"301 Moved", b"", b"Location: http://[::1]/x", b"Content-Length: 0")),
     "http-error", 301, "to http://[::1]/x (redirects are not followed)"),
    ("a 304 was not asked for", say(b"HTTP/1.1 304 Not Modified\r\n\r\n", then=hold), "http-error", 304, "HTTP 304"),
    ("a 404 says so", say(fields(b"404 Not Found", b'{"detail":"Not Found"}')),
     "http-error", 404, 'HTTP 404 Not Found: {"detail":"Not Found"}'),
    ("a 500 with escapes is made harmless",
     say(fields(b"500 Oh \x1b[31m", b"\n \x1b]0;title\x07\xe2\x80\xae\xff no\nmore")),
     "http-error", 500, "HTTP 500 Oh \\x1b[31m: \\x1b]0;title\\x07\ufffd no"),
    ("a 503 whose body drips is a 503 all the same",
     repeat(b"HTTP/1.1 503 Service Unavailable\r\n\r\nmodel is ", b"x", 0.05), "http-error", 503, "model is x"),
    ("a 500 that tells a password is quoted without it",
     say(fields(b"500 Oh", b"no redis://:hunter2@127.0.0.1:6379, token=abc")),
     "http-error", 500, "HTTP 500 Oh: no redis://[redacted]@127.0.0.1:6379, token=[redacted]"),
    ("a 500 that is broken off is a 500", say(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nno", then=reset),
     "http-error", 500, "HTTP 500 Oops"),
    ("a 500 without end", repeat(b"HTTP/1.1 500 Oops\r\n\r\n", b"x" * 65536), "http-error", 500, "HTTP 500 Oops: xxx"),

    ("takes the connection and says nothing", hold, "timeout", 0, "not complete after 1.0 s (0 bytes)"),
    ("never takes the connection from the queue", None, "timeout", 0, "(0 bytes)"),
    ("drips its headers", repeat(OK, b"X: y\r\n", 0.02), "timeout", 0, "not complete"),
    ("drips one endless header", repeat(OK + b"X: ", b"y", 0.02), "timeout", 0, "not complete"),
    ("drips its body", repeat(OK + b"Content-Length: 5000\r\n\r\n", b"y", 0.02), "timeout", 200, "not complete"),
    ("drips chunks", repeat(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.02), "timeout", 200, ""),
    ("drips 100 Continue", repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), "timeout", 0, ""),
    ("half a status line", say(b"HTTP/1.1 2", then=hold), "timeout", 0, "(10 bytes)"),

    ("floods with 100 Continue", repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99), "protocol", 0, "64 KiB without"),
    ("floods with headers", repeat(OK, b"X: y\r\n" * 999), "protocol", 0, "64 KiB without coming to an end"),
    ("one header without end", repeat(OK + b"X: ", b"y" * 65536), "protocol", 0, "64 KiB without coming to an end"),
    ("garbage without a line's end", say(b"\x00\xff\x1b[2J", then=hold), "protocol", 0, "not in HTTP"),
    ("redis on that port", say(b"-ERR wrong number of arguments\r\n", then=hold), "protocol", 0, "not in HTTP"),
    ("a greeting of another protocol", say(b"220 mail ESMTP\r\n", then=hold), "protocol", 0, "not in HTTP"),
    ("a status that is no number", say(b"HTTP/1.1 OK\x1b[31m 200\r\n\r\n"), "protocol", 0, "broken status line"),
    ("closes at once", say(), "protocol", 0, "closed the connection without an answer"),
    ("resets at once", reset, "protocol", 0, "reset the connection without an answer"),
    ("closes in the headers", say(OK), "protocol", 0, "closed the connection after 17 bytes"),
    ("closes in the body", say(OK + b"Content-Length: 9\r\n\r\nab"), "protocol", 200, "closed the connection after"),
    ("resets in a body without length", say(OK + b"\r\n", b"half", pause=0.05, then=reset),
     "protocol", 200, "reset the connection after 23 bytes"),
    ("closes between chunks", say(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"), "protocol", 200, "closed the"),
    ("a chunk longer than it said", say(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n"),
     "protocol", 200, "longer than it said"),
    ("a chunk of minus one", say(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n"),
     "protocol", 200, "broken chunk: '-1'"),
    ("a length of minus one", say(fields(b"200 OK", b"", b"Content-Length: -1")), "protocol", 200, "no number: '-1'"),
    ("two lengths", say(fields(b"200 OK", b"x", b"Content-Length: 1", b"Content-Length: 2")),
     "protocol", 0, "two lengths"),
    ("switches protocols", say(b"HTTP/1.1 101 Switching\r\n\r\n"), "protocol", 0, "switched protocols"),
]

INFO = b"# Server\r\nredis_version:7.0.15\r\nrole:master\r\nloading:0\r\n"


def bulk(content):
    return b"$%d\r\n%s\r\n" % (len(content), content)


LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
REDIS = [
    ("PONG and INFO", say(b"+PONG\r\n" + bulk(INFO), then=hold), "ok", "PONG"),
    ("a byte at a time", say(*[b"%c" % byte for byte in b"+PONG\r\n" + bulk(INFO)], pause=0.002), "ok", "PONG"),
    ("a password is needed", say(b"-NOAUTH Authentication required.\r\n" * 2), "ok", "NOAUTH, and was not looked at"),
    ("INFO is not for us", say(b"+PONG\r\n-NOPERM this user has no permissions\r\n"),
     "ok", "does not let us read INFO"),
    ("loading", say(LOADING + bulk(b"loading:1\r\nloading_loaded_perc:12.34\r\nloading_eta_seconds:37\r\n")),
     "loading", "12 % of it is read, about 37 s to go"),
    ("loading, and INFO hangs", say(LOADING, then=hold), "loading", "LOADING Redis is loading"),
    ("loading, and INFO is cut off", say(LOADING + b"$99\r\nload"), "loading", "LOADING Redis is loading"),
    ("the disk is full", say(b"-MISCONF Redis is configured to save RDB snapshots, but \x1b[31m\r\n"),
     "refusing-writes", "MISCONF Redis is configured to save RDB snapshots, but \\x1b[31m"),
    ("no client more", say(b"-ERR max number of clients reached\r\n"), "refusing-writes", "ERR max number of clients"),
    ("a script holds it", say(b"-BUSY Redis is busy running a script.\r\n", then=hold), "refusing-writes", "BUSY"),
    ("POP3 on that port", say(b"+OK ready\r\n", then=hold), "protocol", "answers PING with '+OK ready'"),
    ("an error that redis does not have", say(b"-ERR what?\r\n", then=hold), "protocol", "with an error: ERR what?"),
    ("HTTP on that port", say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol", "not in redis' protocol"),
    ("garbage", say(b"\x00\xff\x1b", then=hold), "protocol", "not in redis' protocol"),
    ("PONG and garbage", say(b"+PONG\r\n\x00", then=hold), "protocol", "not in redis' protocol"),
    ("INFO without end", repeat(b"+PONG\r\n$99999999\r\n", b"x" * 65536), "protocol", "announces a reply of 99999999"),
    ("an INFO of minus one", say(b"+PONG\r\n$-1\r\n", then=hold), "protocol", "announces a reply of -1"),
    ("an INFO longer than it said", say(b"+PONG\r\n$1\r\nabcdef\r\n", then=hold), "protocol", "longer than it said"),
    ("a line without end", repeat(b"+", b"x" * 65536), "protocol", "64 KiB without coming to an end"),
    ("closes after PONG", say(b"+PONG\r\n"), "protocol", "closed the connection after 7 bytes"),
    ("INFO drips", repeat(b"+PONG\r\n$50000\r\n", b"x", 0.02), "timeout", "not complete"),
    ("says nothing", hold, "timeout", "(0 bytes)"),
    ("more keys than can be counted",
     say(b"+PONG\r\n" + bulk(b"maxmemory:1\r\nused_memory:2\r\nmaxmemory_policy:allkeys-lru\r\ndb0:keys=" + b"9" * 5000)),
     "refusing-writes", "allkeys-lru finds nothing to evict"),
    ("an error with a password", say(b"-MISCONF see redis://:hunter2@host/\r\n"), "refusing-writes",
     "MISCONF see redis://[redacted]@host/"),
]

TCP = [
    ("takes the connection", hold, "ok"),
    ("closes it at once", lambda connection: None, "ok"),
    ("resets it at once", reset, "ok"),
    ("leaves it in the queue", None, "ok"),
]


@pytest.fixture(scope="module")
def answers():
    """All of the tables above, asked side by side; {(scheme, phrase): probe}, and the seconds that it took."""
    with contextlib.ExitStack() as peers:
        targets = {}
        for scheme, table in (("http", HTTP), ("redis", REDIS), ("tcp", TCP)):
            for row in table:
                targets[scheme, row[0]] = "%s://127.0.0.1:%d" % (scheme, peers.enter_context(listening(row[1])))
        started = time.monotonic()
        answers = probes.ask(targets.values(), DEADLINE)
        taken = time.monotonic() - started
        yield {key: answers[target] for key, target in targets.items()}, taken


def test_all_of_them_end_at_the_one_deadline(answers):
    assert DEADLINE <= answers[1] < DEADLINE + 1


def test_a_timeout_lasts_until_the_deadline_and_an_answer_does_not(answers):
    probes_, _ = answers
    assert DEADLINE <= probes_["http", "drips its body"].seconds < DEADLINE + 1
    assert 0.3 <= probes_["http", "slow, but in time"].seconds < DEADLINE


@pytest.mark.parametrize("phrase,outcome,status,words", [pytest.param(row[0], *row[2:], id=row[0]) for row in HTTP])
def test_http(answers, phrase, outcome, status, words):
    probe = answers[0]["http", phrase]
    assert (probe.outcome, probe.status) == (outcome, status), probe.detail
    assert words in probe.detail and probe.detail
    assert probe.detail.isprintable() and len(probe.detail) < 400


@pytest.mark.parametrize("phrase,outcome,words", [pytest.param(row[0], *row[2:], id=row[0]) for row in REDIS])
def test_redis(answers, phrase, outcome, words):
    probe = answers[0]["redis", phrase]
    assert probe.outcome == outcome, probe.detail
    assert words in probe.detail and probe.detail.isprintable() and len(probe.detail) < 400


@pytest.mark.parametrize("phrase,outcome", [pytest.param(row[0], row[2], id=row[0]) for row in TCP])
def test_tcp(answers, phrase, outcome):
    assert answers[0]["tcp", phrase].outcome == outcome


def test_a_defect_of_ours_at_one_peer_does_not_blind_us_to_the_others(monkeypatch):
    class Broken(protocols.Tcp):
        def talk(self):
            yield
            raise ZeroDivisionError("as int() of 5,000 digits was a ValueError once")
    monkeypatch.setitem(protocols.PROTOCOLS, "redis", Broken)
    with listening(say(fields(b"200 OK", b"x"))) as http, listening(lambda peer: peer.sendall(b"x")) as redis:
        answers = probes.ask(["redis://127.0.0.1:%d" % redis, "http://127.0.0.1:%d" % http], 5)
    first, second = answers.values()
    assert (first.outcome, second.outcome) == ("protocol", "ok")
    assert first.detail == "127.0.0.1:%d sent what Citadel cannot read (ZeroDivisionError)" % redis


def test_an_answer_that_is_good_needs_nothing_heavy():
    """Redaction brings `re` along: 5 ms, each minute, for years."""
    with listening(say(fields(b"200 OK", b"x"))) as http, listening(say(b"+PONG\r\n" + bulk(INFO))) as redis, \
            listening(say(b"-NOAUTH Authentication required.\r\n" * 2)) as closed:
        code = ("import sys; sys.path.insert(0, %r); from citadel.observe import probes; "
                "print([p.outcome for p in probes.ask(%r, 5).values()], 're' in sys.modules)" % (
                    LIB,
                    ["http://127.0.0.1:%d" % http, "redis://127.0.0.1:%d" % redis, "redis://127.0.0.1:%d" % closed]))
        said = subprocess.check_output([sys.executable, "-IS", "-B", "-c", code])
    assert said == b"['ok', 'ok', 'ok'] False\n"


def test_nothing_listens():
    targets = ["%s://127.0.0.1:%d" % (scheme, unused_port()) for scheme in ("http", "redis", "tcp")]
    for target, probe in probes.ask(targets, 5).items():
        assert (probe.outcome, probe.target) == ("refused", target)
        assert probe.detail == "nothing listens on " + target.partition("://")[2]
        assert probe.seconds < 1


def test_a_full_queue_of_connections_is_a_timeout():
    with listening(None, backlog=0) as port, contextlib.ExitStack() as waiting:
        for _ in range(4):
            client = waiting.enter_context(contextlib.closing(socket.socket()))
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        probe, = probes.ask(["tcp://127.0.0.1:%d" % port], 0.1).values()
    assert (probe.outcome, probe.detail) == ("timeout", "127.0.0.1:%d takes no connection within 0.1 s" % port)


def test_ipv6():
    try:
        with listening(say(fields(b"200 OK", b"x")), socket.AF_INET6) as port:
            probe, = probes.ask(["http://[::1]:%d/" % port], 5).values()
    except OSError as error:
        pytest.skip("this host has no IPv6 on loopback: %s" % error)
    assert probe.outcome == "ok"


def test_what_is_sent_is_one_plain_get():
    seen = []

    def peer(connection):
        seen.append(connection.recv(65536))
        connection.sendall(fields(b"200 OK", b"x"))

    with listening(peer) as port:
        probes.ask(["http://127.0.0.1:%d/health?deep=1" % port], 5)
        host = b"127.0.0.1:%d" % port
    assert seen == [b"GET /health?deep=1 HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n"
                    b"User-Agent: citadel/1.0\r\nAccept: */*\r\n\r\n"]


def test_an_answer_given_before_the_request_was_read_is_still_heard():
    def peer(connection):
        connection.sendall(fields(b"503 Busy", b"queue is full"))
        close(connection)

    with listening(peer) as port:
        probe, = probes.ask(["http://127.0.0.1:%d/" % port], 5).values()
    assert (probe.status, probe.detail) == (503, "HTTP 503 Busy: queue is full")


@pytest.mark.parametrize("target,why", [
    ("http://localhost:80/", "not an address by number"),
    ("http://example.com:80/", "not an address by number"),
    ("http://127.1:80/", "not an address by number"),
    ("http://user:secret@127.0.0.1:80/", "this file is no place for secrets"),
    ("http://[127.0.0.1]:80/", "what stands in [ ] is no IPv6 address"),
    ("http://::1:80/", "an IPv6 address is written in [ ]"),
    ("http://127.0.0.1\0:80/", "characters that no URL has"),
    ("http://127.0.0.1/", "has no port"),
    ("http://127.0.0.1:/", "'' is not a port, 1 to 65535"),
    ("http://127.0.0.1:0/", "'0' is not a port, 1 to 65535"),
    ("http://127.0.0.1:65536/", "'65536' is not a port, 1 to 65535"),
    ("http://127.0.0.1:\u00b2/", "characters that no URL has"),
    ("http://127.0.0.1:00000000000000000080/", "is not a port, 1 to 65535"),
    ("http://127.0.0.1:80/a b", "characters that no URL has"),
    ("http://127.0.0.1:80/\r\nX: y", "characters that no URL has"),
    ("https://127.0.0.1:80/", "does not begin with http:// or redis:// or tcp://"),
    ("", "does not begin with http:// or redis:// or tcp://"),
    ("\x1b[31m\u202e", "does not begin with http:// or redis:// or tcp://"),
], ids=repr)
def test_a_target_that_cannot_be_read_is_unreachable_and_says_why(target, why):
    probe = probes.ask([target], 5)[target]
    assert probe.outcome == "unreachable" and probe.detail.endswith(why) and probe.detail.isprintable()


@pytest.mark.parametrize("target,read", [
    ("http://127.0.0.1:8002/health", ("http", socket.AF_INET, "127.0.0.1", 8002, "/health")),
    ("http://127.0.0.1:8002", ("http", socket.AF_INET, "127.0.0.1", 8002, "/")),
    ("redis://[::1]:6379", ("redis", socket.AF_INET6, "::1", 6379, "/")),
    ("tcp://10.0.0.1:22/", ("tcp", socket.AF_INET, "10.0.0.1", 22, "/")),
])
def test_targets(target, read):
    assert probes.read_target(target) == read


def test_no_targets_no_wait():
    assert probes.ask([], 60) == {}


def test_fifty_side_by_side_take_the_time_of_one():
    with contextlib.ExitStack() as peers:
        targets = ["http://127.0.0.1:%d/" % peers.enter_context(listening(say(fields(b"200 OK", b"x"), pause=0.2)))
                   for _ in range(50)]
        started = time.monotonic()
        answers = probes.ask(targets, 5)
    assert 0.2 <= time.monotonic() - started < 2
    assert {probe.outcome for probe in answers.values()} == {"ok"}


def test_one_who_floods_does_not_keep_the_others_waiting():
    with contextlib.ExitStack() as peers:
        floods = ["http://127.0.0.1:%d/" % peers.enter_context(listening(repeat(OK, b"X: y\r\n" * 9999)))
                  for _ in range(8)]
        quiet = "http://127.0.0.1:%d/" % peers.enter_context(listening(say(fields(b"200 OK", b"x"))))
        assert probes.ask(floods + [quiet], 5)[quiet].outcome == "ok"


def test_endless_bodies_do_not_fill_our_memory():
    """`urlopen` took 1.4 GB from such a peer."""
    program = ("import resource, sys; sys.path.insert(0, sys.argv[1]); from citadel.observe import probes\n"
               "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
               "answers = probes.ask(sys.argv[2:], 2)\n"
               "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
               "print(after - before, *[answer.outcome for answer in answers.values()])")
    endless = repeat(OK + b"\r\n", b"x" * (1 << 20))
    with contextlib.ExitStack() as peers:
        targets = ["http://127.0.0.1:%d/" % peers.enter_context(listening(endless)) for _ in range(10)]
        library = LIB
        output = subprocess.check_output([sys.executable, "-c", program, library] + targets, timeout=60).split()
    assert output[1:] == [b"ok"] * 10
    assert int(output[0]) < 4096, "KiB more than before"


def test_no_socket_is_left_open():
    with contextlib.ExitStack() as peers:
        targets = ["http://127.0.0.1:%d/" % peers.enter_context(listening(peer))
                   for peer in (None, say(), reset, say(fields(b"200 OK", b"x")))]
        targets += ["http://127.0.0.1:%d/" % unused_port(), "nonsense"]
        before = set(our_sockets())
        for _ in range(3):
            probes.ask(targets, 0.05)
        await_that(lambda: set(our_sockets()) <= before)         # the peers' own ends follow
    assert before


def our_sockets():
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink("/proc/self/fd/" + descriptor)
            if name.startswith("socket:"):
                yield name


def await_that(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited %d s for it" % seconds
        time.sleep(0.005)


def test_out_of_file_descriptors_is_said_and_not_raised():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    gc.collect()            # or a descriptor of an earlier test would come free in the middle of ours
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(name) for name in os.listdir("/proc/self/fd")) + 3, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        probe, = probes.ask(["tcp://127.0.0.1:1"], 1).values()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (probe.outcome, probe.detail) == ("unreachable", "127.0.0.1:1: Too many open files")


def test_no_route():
    """240.0.0.0/4 is reserved (RFC 1112); Linux refuses it at once, or there is no route."""
    probe, = probes.ask(["tcp://255.255.255.255:1"], 1).values()
    assert probe.outcome == "unreachable" and probe.detail.startswith("255.255.255.255:1: ")


def test_talking_to_ourselves_is_refused():
    """With one single port to choose from, the kernel connects a socket to itself, in a network of its own."""
    program = ("import sys; sys.path.insert(0, sys.argv[1]); from citadel.observe import probes\n"
               "print(probes.ask(['tcp://127.0.0.1:45000'], 2)['tcp://127.0.0.1:45000'].outcome)")
    library = LIB
    script = ("ip link set lo up && echo '45000 45000' > /proc/sys/net/ipv4/ip_local_port_range && "
              "exec \"$0\" -c \"$1\" \"$2\"")
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script, sys.executable, program, library]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    if any(word in answer.stderr for word in (b"unshare:", b"ip:", b"/proc/sys")):
        pytest.skip("a network namespace cannot be made here: %s" % answer.stderr.decode().strip())
    assert answer.stdout == b"refused\n", answer.stderr


@pytest.mark.parametrize("scheme,seed_bytes", [
    ("http", [b"HTTP/1.1 ", b"200 OK", b"\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked", b"\r\n\r\n", b"5",
              b"100 Continue", b"\xff", b"\x00", b"a\r\n", b"0\r\n\r\n", b":", b"\xc2\xb2"]),
    ("redis", [b"+PONG\r\n", b"-LOADING x", b"-MISCONF y", b"$", b"12", b"\r\n", b"$3\r\nabc\r\n",
               b"maxmemory:\xc2\xb2\r\n", b"db0:keys=x,expires=\xd9\xa1\r\n", b"\xff", b"\x00", b":", b"role:slave\r\n",
               b"loading:1\r\n"]),
])
def test_no_bytes_break_it(scheme, seed_bytes):
    """Seeded random mixtures, each heard whole and cut off at every offset, through the very state machine."""
    dice = random.Random(8002)
    for _ in range(300):
        text = b"".join(dice.choice(seed_bytes) for _ in range(dice.randrange(1, 12)))
        if scheme == "redis" and dice.random() < 0.5:
            text = b"+PONG\r\n" + bulk(text)
        for cut in {len(text), dice.randrange(len(text) + 1)}:
            outcome, detail = heard(scheme, text[:cut])
            assert outcome in ("ok", "http-error", "timeout", "protocol", "loading", "refusing-writes")
            assert detail.isprintable()


def heard(scheme, *chunks):
    """What a question makes of these bytes and then the end of the connection, over a socket pair's real sockets."""
    with contextlib.ExitStack() as both:
        port = both.enter_context(listening(None))
        question = probes._Question("%s://127.0.0.1:%d/" % (scheme, port))
        both.callback(lambda: question.socket.close())
        question.begin()
        for chunk in chunks:
            question._incoming.take(chunk)
        question._incoming.end, question._incoming.closed = "closed the connection", True
        question._connected = True
        question._converse()
        return question.outcome, question.detail


# --- redis: its own words, as recorded from real servers

def sample_outcome(name):
    for words, outcome in (("cannot-save", "refusing-writes"), ("memory-full", "refusing-writes"),
                           ("nothing-to-evict", "refusing-writes"), ("too-few-replicas", "refusing-writes"),
                           ("replica", "refusing-writes"), ("loading", "loading")):
        if words in name:
            return outcome
    return "ok"


@pytest.mark.parametrize("path", sorted(glob.glob(os.path.join(SAMPLES, "redis-*"))), ids=os.path.basename)
def test_recorded_answers_of_redis(path):
    with open(path, "rb") as file:
        recorded = file.read()
    outcome, detail = heard("redis", recorded)
    assert outcome == sample_outcome(os.path.basename(path)), detail


def test_there_are_recorded_answers():
    assert len(glob.glob(os.path.join(SAMPLES, "redis-*"))) >= 16


@pytest.mark.parametrize("info,why", [
    ({}, ""),
    (dict(role="master", maxmemory="0", used_memory="999"), ""),
    (dict(maxmemory="100", used_memory="100", maxmemory_policy="noeviction"), ""),
    (dict(maxmemory="100", used_memory="101", maxmemory_policy="noeviction"),
     "its memory is full: 101 B used, maxmemory 100 B, and noeviction is set"),
    (dict(maxmemory="100", used_memory="150", mem_not_counted_for_evict="50", maxmemory_policy="noeviction"), ""),
    (dict(maxmemory="100", used_memory="101", maxmemory_policy="volatile-lru", db0="keys=5,expires=0,avg_ttl=0"),
     "its memory is full: 101 B used, maxmemory 100 B, and volatile-lru finds nothing to evict"),
    (dict(maxmemory="100", used_memory="101", maxmemory_policy="volatile-lru", db3="keys=5,expires=2,avg_ttl=0"), ""),
    (dict(maxmemory="100", used_memory="101", maxmemory_policy="allkeys-lru", db0="keys=5,expires=0,avg_ttl=0"), ""),
    (dict(maxmemory="\u00b2", used_memory="x", maxmemory_policy="noeviction"), ""),
    (dict(role="slave", slave_read_only="0", master_host="10.0.0.1"), ""),
    (dict(role="slave", slave_read_only="1", master_host="10.0.0.1", master_port="6379", master_link_status="up"),
     "it is a read-only replica of 10.0.0.1:6379, and the link to it is up"),
    (dict(min_slaves_good_slaves="1"), ""),
    (dict(min_slaves_good_slaves="0"), "no replica is connected, and min-replicas-to-write asks for some"),
], ids=lambda value: repr(value) if isinstance(value, dict) else "")
def test_writes_are_refused(info, why):
    assert protocols.why_writes_are_refused(info) == why


# --- a real redis-server of our own

class Redis:
    """A redis-server on a port and in a directory of its own; CITADEL_TESTS_REDIS may hold another command for it."""

    def __init__(self, directory, *options):
        self.directory = str(directory)
        self.port = unused_port()
        self.target = "redis://127.0.0.1:%d" % self.port
        program = os.environ.get("CITADEL_TESTS_REDIS", "").split() or [redis_program()]
        self._process = subprocess.Popen(
            program + ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory,
                       "--save", "", "--rdbcompression", "no"] + list(options),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.directory)
        await_that(lambda: probes.ask(["tcp://127.0.0.1:%d" % self.port], 1).popitem()[1].outcome == "ok", 20)

    def stop(self):
        self._process.kill()
        self._process.wait()

    def signal(self, number):
        self._process.send_signal(number)

    def say(self, *commands):
        """Sends inline commands, each a string, and returns the first bytes of each answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection, connection.makefile("rb") as answers:
            said = []
            for command in commands:
                connection.sendall(command.encode() + b"\r\n")
                said.append(answers.readline())
            return said

    def probe(self, seconds=2):
        return probes.ask([self.target], seconds)[self.target]

    def raw(self):
        """The bytes that the probe's request gets, for tests/samples."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(protocols.Redis.request)
            connection.settimeout(0.5)
            answer = b""
            with contextlib.suppress(OSError):
                while True:
                    piece = connection.recv(65536)
                    answer += piece
                    if not piece:
                        break
            return answer


def redis_program():
    return shutil.which("redis-server", path="/usr/local/bin:/usr/bin:/bin:/usr/sbin")


@pytest.fixture
def redis(tmp_path):
    if not redis_program():
        pytest.skip("redis-server is not installed")
    servers = []

    def start(*options):
        servers.append(Redis(tmp_path, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def cannot_save(server):
    assert server.say('CONFIG SET save "3600 1"', "SET a b")[0] == b"+OK\r\n"
    shutil.rmtree(server.directory)
    server.say("BGSAVE")
    await_that(lambda: server.say("SET a b")[0].startswith(b"-MISCONF"))


def memory_full(server):
    server.say("SET a b", "CONFIG SET maxmemory 1")


def nothing_to_evict(server):
    server.say("SET a b", "CONFIG SET maxmemory-policy volatile-lru", "CONFIG SET maxmemory 1")


def too_few_replicas(server):
    server.say("CONFIG SET min-slaves-to-write 2")


def replica(server):
    server.say("REPLICAOF 127.0.0.1 %d" % unused_port())


def replica_without_master(server):
    server.say("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 %d" % unused_port())


SITUATIONS = [
    # how it is brought about, what a write then gets, outcome, words of the detail
    (lambda server: None, b"+OK", "ok", "PONG"),
    (cannot_save, b"-MISCONF", "refusing-writes", "MISCONF Redis is configured to save RDB snapshots"),
    (memory_full, b"-OOM", "refusing-writes", "maxmemory 1 B, and noeviction is set"),
    (nothing_to_evict, b"-OOM", "refusing-writes", "volatile-lru finds nothing to evict"),
    (too_few_replicas, b"-NOREPLICAS", "refusing-writes", "min-replicas-to-write asks for some"),
    (replica, b"-READONLY", "refusing-writes", "it is a read-only replica of 127.0.0.1:"),
    (replica_without_master, b"-", "refusing-writes", ""),
    (lambda server: server.say("CONFIG SET requirepass secret"), b"-NOAUTH", "ok", "NOAUTH, and was not looked at"),
]


@pytest.mark.parametrize("make,write,outcome,words", SITUATIONS,
                         ids=["healthy", "cannot save", "memory full", "nothing to evict", "too few replicas",
                              "replica", "replica without master", "password"])
def test_real_redis(redis, make, write, outcome, words):
    server = redis()
    make(server)
    probe = server.probe()
    assert (probe.outcome, words in probe.detail) == (outcome, True), probe
    assert server.say("SET a b")[0].startswith(write), "the probe and redis agree on whether writes are taken"


def test_real_redis_is_only_ever_read(redis):
    server = redis()
    for _ in range(3):
        server.probe()
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(b"INFO commandstats\r\n")
        text = connection.recv(65536)
    calls = sorted(line.partition(b":")[0] for line in text.splitlines() if line.startswith(b"cmdstat_"))
    assert calls == [b"cmdstat_info", b"cmdstat_ping"]


def test_real_redis_loading(redis, tmp_path):
    server = redis()
    fill(server)
    server.stop()
    server = redis("--key-load-delay", "100000")
    probe = server.probe(5)
    assert probe.outcome == "loading", probe
    assert probe.detail.startswith("LOADING ") and probe.detail.endswith(" s to go"), probe


def fill(server):
    """40 MiB, saved; redis looks at its clients once in 2 MB while it loads, and --key-load-delay makes that last."""
    value = b"x" * (1 << 20)
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection, connection.makefile("rb") as answers:
        for number in range(40):
            connection.sendall(b"*3\r\n$3\r\nSET\r\n$2\r\n%02d\r\n$%d\r\n%s\r\n" % (number, len(value), value))
            assert answers.readline() == b"+OK\r\n"
        connection.sendall(b"SAVE\r\n")
        assert answers.readline() == b"+OK\r\n"


def test_real_redis_out_of_clients(redis):
    server = redis("--maxclients", "1")
    await_that(lambda: server.probe().outcome == "ok")           # it has noticed that our first connection is closed
    with contextlib.ExitStack() as clients:
        await_that(lambda: connected(server, clients))
        probe = server.probe()
    assert (probe.outcome, probe.detail) == ("refusing-writes", "ERR max number of clients reached")


def connected(server, clients):
    connection = clients.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
    connection.sendall(b"PING\r\n")
    return connection.recv(64) == b"+PONG\r\n"


def test_real_redis_busy_with_a_script(redis):
    server = redis("--lua-time-limit", "50")
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(b"EVAL \"while true do end\" 0\r\n")
        await_that(lambda: server.probe(0.5).outcome != "ok")
        await_that(lambda: server.probe(0.5).outcome != "timeout")
        probe = server.probe()
    assert probe.outcome == "refusing-writes" and probe.detail.startswith("BUSY Redis is busy running a script"), probe


def test_real_redis_stopped_by_a_signal(redis):
    server = redis()
    server.signal(signal.SIGSTOP)
    probe = server.probe(0.1)
    assert (probe.outcome, probe.status) == ("timeout", 0)
    server.signal(signal.SIGCONT)
    assert server.probe().outcome == "ok"
