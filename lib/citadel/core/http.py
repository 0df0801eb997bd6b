"""HTTP: exchanges side by side, under one deadline. Not for `check`, whose probes need less.

Each connection belongs to a child process, which is killed once the answer is known, at ENOUGH bytes or at the
deadline: a server that drips, floods, stalls TLS or never ends cannot hold or fill us. No redirect, no proxy.
"""

import calendar
import errno
import gc
import os
import re
import select
import signal
import socket
import time
from collections import namedtuple

from citadel import __version__
from citadel.core.run import DYING, reap
from citadel.core.text import printable, span

ENOUGH = 64 * 1024                      # bytes of an answer
_INTERIM = re.compile(rb"(?:HTTP/1\.[^\n] 1\d\d.*?\r\n\r\n)*", re.DOTALL)
_STATUS = re.compile(rb"HTTP/1\.. \d\d\d")

Reply = namedtuple("Reply", "why status date body at")
Reply.__doc__ = """An answer: `why` it is no success, "" when it is; `status`, 0 without one; `date` in seconds since
1970, or None; `body` of a success, as far as it was awaited; `at` which monotonic second it ended."""


def request(method, place, path, body, fields=(), version="1.1"):
    """The bytes of a request with a JSON document. To HTTP/1.0 nobody answers in chunks, which are not read here."""
    host = "[%s]" % place.host if ":" in place.host else place.host
    lines = ["%s %s HTTP/%s" % (method, path, version), "Host: %s:%d" % (host, place.port), "Connection: close",
             "User-Agent: citadel/" + __version__, "Content-Type: application/json", "Content-Length: %d" % len(body)]
    return "\r\n".join(lines + list(fields)).encode("ascii") + b"\r\n\r\n" + body


def converse(questions, end, grace=None, whole=False):
    """{key: Reply} for {key: (Url with its port, its addresses, the bytes of the request)}, until `end` on
    CLOCK_MONOTONIC, and `grace` seconds after the first success. `whole`: a success needs all of its body."""
    began, replies, waiting, children = time.monotonic(), {}, {}, []
    try:
        for key, question in questions.items():
            try:
                answer, child = _begin(question, end)
                waiting[answer] = key, bytearray()
                children.append(child)
            except OSError as error:
                replies[key] = _failed(error.strerror)
        while waiting and time.monotonic() < end:
            for answer in select.select(list(waiting), (), (), max(0.0, end - time.monotonic()))[0]:
                key, heard = waiting[answer]
                chunk = answer.recv(ENOUGH)
                heard += chunk
                reply = read(bytes(heard), not chunk or len(heard) >= ENOUGH, whole)
                if reply:
                    replies[key] = reply
                    answer.close()
                    del waiting[answer]
                    if grace is not None and not reply.why:
                        grace, end = None, min(end, time.monotonic() + grace)
        waited = time.monotonic() - began
        silence = "no answer within %s" % span(round(waited, 1 if waited < 1 else None))
        for key, heard in waiting.values():
            replies[key] = read(bytes(heard), True) if heard and not whole else _failed(silence)
    finally:
        for answer in waiting:
            answer.close()
        for child in children:
            os.kill(child, signal.SIGKILL)
            reap(child, time.monotonic() + DYING)
    return replies


def _begin(question, end):
    """(where the answer comes from, the child's PID); OSError where there is nowhere to ask or no room for a child."""
    if not question[1]:
        raise OSError(errno.ENOENT, "the name %s is not known" % question[0].host)
    ours, its = socket.socketpair()
    with its:
        child = os.fork()
        if not child:
            _talk(question, end, its.fileno())
    return ours, child


def _talk(question, end, out):
    """In the child: asks, and copies the answer into `out`, after a "+"; a "-" comes before why there is none."""
    mark, (place, addresses, data) = b"+", question
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(max(0, end - time.monotonic())) + 2)       # should nobody be left to kill us
        gc.disable()                            # no object of our parent's may close a descriptor that is ours by then
        os.dup2(out, 1)
        os.closerange(3, 4096)
        connection = _connect(place, addresses, end)
        if place.scheme == "https":
            import ssl
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=place.host)
        connection.sendall(data)
        for chunk in iter(lambda: connection.recv(ENOUGH), b""):
            os.write(1, mark + chunk)
            mark = b""
    except (OSError, ValueError, ImportError) as error:     # in Python 3.6 a certificate of another name: a ValueError
        why = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        if mark:
            os.write(1, b"-" + why.encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _connect(place, addresses, end):
    """A socket to the first address that takes us; a silent one (IPv6 to nowhere) uses up only its share of time."""
    for left in range(len(addresses), 0, -1):
        share = max(0.05, (end - time.monotonic()) / left) if left > 1 else None
        try:
            connection = socket.create_connection((addresses[-left], place.port), share)
            connection.settimeout(None)
            return connection
        except OSError as error:
            failure = error
    raise failure


def read(heard, ended, whole=False):
    """The Reply in what a child has copied; None while more is needed. Interim answers (1xx) are passed over; of a
    success the status is enough, unless `whole`."""
    if heard[:1] == b"-":
        return _failed(heard[1:].decode("utf-8", "replace")) if ended else None
    begin = _INTERIM.match(heard, 1).end()
    head, blank, body = heard[begin:].partition(b"\r\n\r\n")
    line, newline, _ = heard[begin:].partition(b"\n")
    if not b"HTTP/1.".startswith(heard[begin:begin + 7]):
        return _failed("it answers, but not in HTTP")
    if newline and not _STATUS.match(line):
        return _failed("its answer has no status")
    if not newline or line[9:10] == b"1":
        interim = newline or begin > 1
        why = "it sends interim answers only" if interim else "the connection was closed without an answer"
        return _failed(why) if ended else None
    status, words = int(line[9:12]), "HTTP " + line[9:].decode("utf-8", "replace").strip()
    if 200 <= status < 300:
        return None if whole and not ended else Reply("", status, _date(head), body, time.monotonic())
    if 300 <= status < 400:
        return _failed(words + ", and redirects are not followed", status, _date(head)) if ended or blank else None
    said = body.decode("utf-8", "replace").strip().partition("\n")[0]
    return _failed(words + (": " + said if said else ""), status, _date(head)) if ended or said else None


def _failed(why, status=0, date=None):
    return Reply(printable(why, 160), status, date, b"", time.monotonic())


def _date(head):
    said = head.lower().partition(b"\r\ndate:")[2].partition(b"\r\n")[0].decode("latin-1").strip()
    try:
        return calendar.timegm(time.strptime(said, "%a, %d %b %Y %H:%M:%S GMT"))
    except (ValueError, OverflowError):
        return None
