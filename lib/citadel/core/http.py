"""HTTP: exchanges side by side, under one deadline. Not for `check`, whose probes need less.

Each connection belongs to a child process, which is killed once the answer is known, at ENOUGH bytes or at the
deadline: a server that drips, floods, stalls TLS or never ends cannot hold or fill us. No redirect, no proxy.
"""

import calendar
import errno
import gc
import os
import select
import signal
import socket
import time
from collections import namedtuple

from citadel import __version__
from citadel.core.run import DYING, reap
from citadel.core.text import printable, span
from citadel.core.url import join_place

ENOUGH = 64 * 1024                      # bytes of an answer

Reply = namedtuple("Reply", "why status date body at")
Reply.__doc__ = """An answer: `why` it is no success, "" when it is; `status`, 0 without one; `date` in seconds since
1970, or None; `body` of a success, as far as it was awaited; `at` which monotonic second it ended."""


def request(method, place, path, body, fields=(), version="1.1"):
    """The bytes of a request with a JSON document. To HTTP/1.0 nobody answers in chunks, which are not read here."""
    lines = ["%s %s HTTP/%s" % (method, path, version), "Host: " + join_place(place.host, place.port),
             "Connection: close", "User-Agent: citadel/" + __version__, "Content-Type: application/json",
             "Content-Length: %d" % len(body)]
    return "\r\n".join(lines + list(fields)).encode("ascii") + b"\r\n\r\n" + body


def converse(questions, end, grace=None, whole=False):
    """{key: Reply} for {key: (Url with its port, its addresses, the bytes of the request)}, until `end` on
    CLOCK_MONOTONIC, and `grace` seconds after the first success. `whole`: a success needs all of its body."""
    began, tls, replies, waiting, children = time.monotonic(), None, {}, {}, []
    if any(place.scheme == "https" for place, _, _ in questions.values()):
        import ssl
        tls = ssl.create_default_context()
    try:
        for key, question in questions.items():
            try:
                descriptor, child = _begin(question, tls, end)
            except OSError as error:
                replies[key] = _failed(error.strerror)
                continue
            waiting[descriptor] = key, bytearray()
            children.append(child)
        while waiting and time.monotonic() < end:
            for descriptor in select.select(list(waiting), (), (), max(0.0, end - time.monotonic()))[0]:
                key, heard = waiting[descriptor]
                chunk = os.read(descriptor, ENOUGH)
                heard += chunk
                reply = read(bytes(heard), not chunk or len(heard) >= ENOUGH, whole)
                if reply:
                    replies[key] = reply
                    os.close(descriptor)
                    del waiting[descriptor]
                    if grace is not None and not reply.why:
                        grace, end = None, min(end, time.monotonic() + grace)
        waited = time.monotonic() - began
        silence = "no answer within %s" % span(round(waited, 1 if waited < 1 else None))
        for key, heard in waiting.values():
            replies[key] = read(bytes(heard), True) if heard and not whole else _failed(silence)
    finally:
        for descriptor in waiting:
            os.close(descriptor)
        for child in children:
            os.kill(child, signal.SIGKILL)
            reap(child, time.monotonic() + DYING)
    return replies


def _begin(question, tls, end):
    """(where the answer comes from, the child's PID); OSError where there is nowhere to ask or no room for a child."""
    if not question[1]:
        raise OSError(errno.ENOENT, "the name %s is not known" % question[0].host)
    ours, its = os.pipe()
    try:
        child = os.fork()
        if not child:
            _talk(question, tls, end, its)
        return ours, child
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(its)


def _talk(question, tls, end, out):
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
            connection = tls.wrap_socket(connection, server_hostname=place.host)
        connection.sendall(data)
        chunk = connection.recv(ENOUGH)
        while chunk:
            os.write(1, mark + chunk)
            mark = b""
            chunk = connection.recv(ENOUGH)
    except (OSError, ValueError) as error:      # in Python 3.6 a certificate of another name is a ValueError
        why = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        if mark:
            os.write(1, b"-" + why.encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _connect(place, addresses, end):
    """A socket to the first address that takes us. Each has its share of the time: a silent one (IPv6 that leads
    nowhere) must not use up that of the next."""
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
    mark, heard = heard[:1], heard[1:]
    if mark == b"-":
        return _failed(heard.decode("utf-8", "replace")) if ended else None
    begin, nothing = 0, "the connection was closed without an answer"
    while True:
        newline, blank = heard.find(b"\n", begin), heard.find(b"\r\n\r\n", begin)
        line = heard[begin:newline]
        if not b"HTTP/1.".startswith(heard[begin:begin + 7]):
            return _failed("it answers, but not in HTTP")
        if newline >= 0 and not (line[8:9] == b" " and len(line[9:12]) == 3 and line[9:12].isdigit()):
            return _failed("its answer has no status")
        if newline >= 0 and line[9:10] != b"1":
            break
        nothing = nothing if newline < 0 else "it sends interim answers only"
        if blank < 0:
            return _failed(nothing) if ended else None
        begin = blank + 4
    status, head, body = int(line[9:12]), heard[begin:], b""
    if blank >= 0:
        head, body = heard[begin:blank], heard[blank + 4:]
    if 200 <= status < 300:
        return None if whole and not ended else Reply("", status, _date(head), body, time.monotonic())
    why = "HTTP " + line[9:].decode("utf-8", "replace").strip()
    said = body.decode("utf-8", "replace").strip().partition("\n")[0]
    if 300 <= status < 400:
        said, why = "", why + ", and redirects are not followed"
        ended = ended or blank >= 0
    return _failed(why + (": " + said if said else ""), status, _date(head)) if ended or said else None


def _failed(why, status=0, date=None):
    return Reply(printable(why, 160), status, date, b"", time.monotonic())


def _date(head):
    said = head.lower().partition(b"\r\ndate:")[2].partition(b"\r\n")[0].decode("latin-1").strip()
    try:
        return calendar.timegm(time.strptime(said, "%a, %d %b %Y %H:%M:%S GMT"))
    except (ValueError, OverflowError):
        return None
