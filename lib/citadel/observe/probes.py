"""Is it answering? http, redis and tcp, all targets side by side, in one thread and under one deadline.

A target is `http://IP:PORT/path`, `redis://IP:PORT` or `tcp://IP:PORT`, the IP by number (IPv6 in brackets): resolving
a name can hang, and would be part of what is tested. `ask` climbs the same ladder for each: is there a listener, does
it speak its protocol, does it answer a small real request in full. The rung it got to is the outcome (facts.Probe).

Everything a peer may do to keep us waiting or to fill our memory ends at the deadline or at ENOUGH bytes: drips,
endless headers, endless `100 Continue`, endless bodies. Sockets are `_socket`'s own and wait in one poll(2): no import
of `socket`, no threads.
"""

import _socket
import errno
import os
import select
import time

from citadel.core.text import printable, size
from citadel.core.url import is_address, join_place
from citadel.core.url import read as read_url
from citadel.model import Probe

ENOUGH = 64 * 1024                      # bytes of one answer, headers and interim answers included
_CHUNK = 16 * 1024
_EXCERPT = 120                          # characters of a peer's own words in a detail

# Redis' error codes (first word of an error reply) that are an answer about writes, seen on 6.0, 7.0 and 8.0 or listed
# in its server.c: the dataset cannot be saved, is full, belongs to another redis, or a script holds the server.
_REFUSALS = ("MISCONF", "OOM", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY")
_NEEDS_LEAVE = ("NOAUTH", "NOPERM")


def ask(targets, seconds, clock=time.monotonic):
    """Puts every question in `targets` at once and waits for all of them at most `seconds` together.

    Gives {target: facts.Probe}; `Probe.seconds` is the time to that target's own answer. Never raises for what a peer
    or the network does; a target that cannot be read is `unreachable`, and its detail says why.
    """
    started = clock()
    questions = {target: _Question(target) for target in targets}
    waiting, poll = {}, select.poll()
    try:
        for question in questions.values():
            wanted = question.begin()
            question.note_time(clock() - started)
            if wanted:
                waiting[question.socket.fileno()] = question
                poll.register(question.socket, wanted)
        while waiting:
            left = started + seconds - clock()
            if left <= 0:
                break
            for descriptor, _ in poll.poll(left * 1000):
                question = waiting[descriptor]
                wanted = question.go_on()
                question.note_time(clock() - started)
                if wanted:
                    poll.modify(descriptor, wanted)
                else:
                    poll.unregister(descriptor)
                    del waiting[descriptor]
        for question in waiting.values():
            question.give_up(seconds)
            question.note_time(clock() - started)
    finally:
        for question in questions.values():
            question.close()
    return {target: question.probe() for target, question in questions.items()}


def read_target(target):
    """(scheme, address family, address, port, path) of a target; ValueError says what is wrong with it."""
    scheme, host, port, path = read_url(target, tuple(_PROTOCOLS))
    if not is_address(host):
        raise ValueError("%s: %s is not an address by number" % (printable(target, _EXCERPT), host))
    if not port:
        raise ValueError("%s has no port" % printable(target, _EXCERPT))
    return scheme, _socket.AF_INET6 if ":" in host else _socket.AF_INET, host, port, path or "/"


class _Question:
    """One target on its way up the ladder. `begin` and `go_on` return the poll events it waits for, 0 when done."""

    def __init__(self, target):
        self.target = target
        self.socket = None
        self.outcome, self.detail, self.seconds = "", "", 0.0
        self.where = ""
        self._protocol = None
        self._talk = None
        self._incoming = _Incoming()
        self._unsent = b""
        self._connected = False

    def begin(self):
        try:
            scheme, family, address, port, path = read_target(self.target)
        except ValueError as error:
            return self._done("unreachable", str(error))
        self.where = join_place(address, port)
        self._protocol = _PROTOCOLS[scheme](self.where, path, self._incoming)
        self._unsent = self._protocol.request
        self._talk = self._protocol.talk()
        try:
            self.socket = _socket.socket(family, _socket.SOCK_STREAM)
            self.socket.setblocking(False)
            code = self.socket.connect_ex((address, port))
        except OSError as error:
            return self._network_error(error.errno)
        if code == errno.EINPROGRESS:
            return select.POLLOUT
        return self._connected_with(code)

    def go_on(self):
        if not self._connected:
            return self._connected_with(self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR))
        self._send()
        return self._receive() and self._converse()

    def give_up(self, seconds):
        """The deadline has come."""
        if not self._connected:
            self._done("timeout", "%s takes no connection within %.1f s" % (self.where, seconds))
        else:
            self._cut_short("timeout", "the answer of %s was not complete after %.1f s (%d bytes)" % (
                self.where, seconds, self._incoming.total))

    def note_time(self, seconds):
        self.seconds = seconds

    def close(self):
        if self.socket is not None:
            self.socket.close()

    def probe(self):
        status = self._protocol.status if self._protocol else 0
        return Probe(target=self.target, outcome=self.outcome, status=status, seconds=self.seconds, detail=self.detail)

    def _connected_with(self, code):
        if code == errno.ECONNRESET:                # taken, and thrown out before we looked: somebody listens there
            self._incoming.end = "reset the connection"
        elif code or self._met_itself():
            return self._network_error(code or errno.ECONNREFUSED)
        self._connected = True
        self._send()
        return self._converse()

    def _met_itself(self):
        """On loopback the kernel may choose the very port we ask for as our own, and then we would talk to ourselves
        where nobody listens (TCP's simultaneous open)."""
        try:
            return self.socket.getsockname() == self.socket.getpeername()
        except OSError:                             # gone again already: then it was somebody else
            return False

    def _send(self):
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent):]
        except BlockingIOError:
            pass
        except OSError:                             # it closed early, but may have said why: that is still to read
            self._unsent = b""

    def _receive(self):
        """Takes what is there, one chunk a turn, so that a talkative peer cannot keep the others waiting."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return self._events()
        except OSError as error:
            self._incoming.end = ("reset the connection" if error.errno == errno.ECONNRESET
                                  else "broke off: " + os.strerror(error.errno))
            return select.POLLIN
        if chunk:
            self._incoming.take(chunk)
        else:
            self._incoming.end = "closed the connection"
            self._incoming.closed = True
        return select.POLLIN

    def _converse(self):
        try:
            return self._go_on_talking()
        except Exception as error:                  # a defect of ours, met by one peer, must not blind us to the others
            return self._done("protocol", "%s sent what we cannot read (%s)" % (self.where, type(error).__name__))

    def _go_on_talking(self):
        try:
            next(self._talk)
        except StopIteration as end:
            return self._done(*end.value)
        except _NotTheProtocol as error:
            return self._done("protocol", "%s %s" % (self.where, error))
        except _Ended:
            return self._cut_short("protocol", "%s %s %s" % (
                self.where, self._incoming.end,
                "after %d bytes of an answer" % self._incoming.total if self._incoming.total else "without an answer"))
        except _TooMuch:
            return self._cut_short("protocol", "%s sent %s without coming to an end" % (self.where, size(ENOUGH)))
        return self._events()

    def _events(self):
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def _cut_short(self, outcome, why):
        """The conversation ended before its end; its protocol knows whether what was heard is answer enough."""
        self._done(*(self._protocol.so_far(why) or (outcome, why)))

    def _network_error(self, code):
        if code == errno.ECONNREFUSED:
            return self._done("refused", "nothing listens on " + self.where)
        if code == errno.ETIMEDOUT:
            return self._done("timeout", "%s takes no connection" % self.where)
        return self._done("unreachable", "%s: %s" % (self.where, os.strerror(code)))

    def _done(self, outcome, detail):
        self.outcome, self.detail = outcome, detail
        return 0


class _NotTheProtocol(Exception):
    """What came is not what this protocol allows; the text ends a sentence that begins with the address."""


class _Ended(Exception):
    """The peer ended the connection in the middle of its answer."""


class _TooMuch(Exception):
    """ENOUGH bytes, and the answer is still going on."""


class _Incoming:
    """What a peer has sent, at most about ENOUGH bytes of it, and how far it was read.

    Its readers are generators that `yield` when they need more from the network.
    """

    def __init__(self):
        self.total = 0
        self.end = ""                               # how the peer ended the connection, "" while it is open
        self.closed = False                         # it was ended in the orderly way (FIN)
        self._bytes = bytearray()
        self._at = 0

    def take(self, chunk):
        self.total += len(chunk)
        self._bytes += chunk

    def more(self):
        if self.end:
            raise _Ended
        if self.total >= ENOUGH:
            raise _TooMuch
        yield

    def begins_with(self, start):
        """Whether it begins so; says no at the first byte that differs, for a peer that never ends its line."""
        while True:
            seen = self._bytes[self._at:self._at + len(start)]
            if start[:len(seen)] != seen or len(seen) == len(start):
                return start == seen
            yield from self.more()

    def line(self):
        searched = self._at
        while True:
            end = self._bytes.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._bytes[self._at:end])
                self._at = end + 1
                return line[:-1] if line.endswith(b"\r") else line
            searched = len(self._bytes)
            yield from self.more()

    def read(self, count, into):
        """Appends the next `count` bytes to `into` as they come."""
        while True:
            piece = self._bytes[self._at:self._at + count]
            self._at += len(piece)
            into += piece
            count -= len(piece)
            if not count:
                return
            yield from self.more()


class _Tcp:
    """A connection is all that is asked; what happens to it then is nobody's business."""

    request = b""
    status = 0

    def __init__(self, where, path, incoming):
        self._where = where

    def talk(self):
        return "ok", "%s takes connections" % self._where
        yield                                       # makes this a generator, as the other protocols' talk is

    def so_far(self, why):
        return None


class _Http:
    """One GET. 2xx with its whole body is ok, or with the first ENOUGH bytes of a longer one: it is the service that we
    judge, not the size of its page. A redirect is an http-error: we are not sent elsewhere by what we watch."""

    def __init__(self, where, path, incoming):
        self.request = ("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: citadel/1.0\r\n"
                        "Accept: */*\r\n\r\n" % (path, where)).encode("ascii")
        self.status = 0
        self._incoming = incoming
        self._reason, self._location, self._body = b"", b"", bytearray()

    def talk(self):
        while not self.status:
            status, reason, fields = yield from self._head()
            if status == 101:
                raise _NotTheProtocol("switched protocols without being asked to")
            if status >= 200:                       # 1xx are interim answers, the real one follows
                self.status, self._reason, self._location = status, reason, fields.get(b"location", b"")
        yield from self._read_body(fields)
        return self.so_far("") or ("ok", "HTTP %d" % self.status)

    def so_far(self, why):
        if not self.status:
            return None
        if 200 <= self.status < 300:
            enough = self._incoming.total >= ENOUGH
            return ("ok", "HTTP %d, %s or more" % (self.status, size(ENOUGH))) if enough else None
        said = "HTTP %d %s" % (self.status, self._reason.decode("utf-8", "replace"))
        if self._location:
            return "http-error", "%s, to %s (redirects are not followed)" % (
                _excerpt(said), _excerpt(self._location.decode("utf-8", "replace")))
        words = _excerpt(self._body.strip().partition(b"\n")[0].decode("utf-8", "replace"))
        return "http-error", _excerpt(said) + (": " + words if words else "")

    def _head(self):
        """Status, reason and the header fields that matter to us (RFC 9112)."""
        if not (yield from self._incoming.begins_with(b"HTTP/1.")):
            raise _NotTheProtocol("answers, but not in HTTP")
        line = yield from self._incoming.line()
        code, _, reason = line[8:].lstrip(b" ").partition(b" ")
        if len(code) != 3 or not code.isdigit() or code < b"100":
            raise _NotTheProtocol("begins with a broken status line: " + _excerpt(repr(line)[1:]))
        fields = {}
        while True:
            line = yield from self._incoming.line()
            if not line:
                return int(code), reason, fields
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip()
            if name in (b"content-length", b"transfer-encoding", b"location"):
                if name == b"content-length" and fields.get(name, value) != value:
                    raise _NotTheProtocol("gives two lengths for one body")
                fields[name] = value

    def _read_body(self, fields):
        if self.status in (204, 304):
            return
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            yield from self._read_chunks()
        elif b"content-length" in fields:
            length = fields[b"content-length"]
            if not length.isdigit() or len(length) > 18:
                raise _NotTheProtocol("gives a length that is no number: " + _excerpt(repr(length)[1:]))
            yield from self._incoming.read(int(length), self._body)
        else:
            try:
                yield from self._incoming.read(ENOUGH * 2, self._body)
            except _Ended:
                if not self._incoming.closed:       # a reset does not end a body, it breaks it off
                    raise

    def _read_chunks(self):
        while True:
            line = yield from self._incoming.line()
            digits = line.partition(b";")[0].strip()
            if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
                raise _NotTheProtocol("sends a broken chunk: " + _excerpt(repr(line)[1:]))
            length = int(digits, 16)
            if not length:
                break
            yield from self._incoming.read(length, self._body)
            if (yield from self._incoming.line()):
                raise _NotTheProtocol("sends a chunk longer than it said")
        while (yield from self._incoming.line()):   # trailer fields
            pass


class _Redis:
    """PING, then INFO: read-only, and enough to tell whether writes are taken.

    Measured on 6.0, 7.0, 8.0.2 and 8.0.6: while redis cannot save its dataset (or its append-only file) PING itself is
    answered with MISCONF; full memory, missing replicas and a read-only replica are not told by PING, but by INFO. INFO
    is answered while LOADING. So nothing need be written into the user's database.
    """

    request = b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nINFO\r\n"
    status = 0

    def __init__(self, where, path, incoming):
        self._where = where
        self._incoming = incoming
        self._loading = ""

    def talk(self):
        kind, reply = yield from self._reply()
        if kind == b"+" and reply == b"PONG":
            return (yield from self._look_closer())
        if kind != b"-":
            raise _NotTheProtocol("answers PING with %s" % _excerpt(repr(kind + reply)[1:]))
        code = reply.partition(b" ")[0].decode("ascii", "replace")
        if code in _NEEDS_LEAVE:
            return "ok", "answers PING with %s, and was not looked at further" % code
        words = _excerpt(reply.decode("utf-8", "replace"))
        if code == "LOADING":
            self._loading = words
            info = yield from self._info()
            return "loading", words + _loading_progress(info or {})
        if code in _REFUSALS or words.startswith("ERR max number of clients"):
            return "refusing-writes", words
        raise _NotTheProtocol("answers PING with an error: " + words)

    def so_far(self, why):
        return ("loading", self._loading) if self._loading else None

    def _look_closer(self):
        info = yield from self._info()
        if info is None:
            return "ok", "PONG; it does not let us read INFO"
        if info.get("loading") == "1":
            return "loading", "loading its dataset" + _loading_progress(info)
        why = why_writes_are_refused(info)
        return ("refusing-writes", why) if why else ("ok", "PONG")

    def _reply(self):
        """One RESP reply: its type's byte and its content. Only the types that PING and INFO can have."""
        for kind in (b"+", b"-", b"$"):
            if (yield from self._incoming.begins_with(kind)):
                break
        else:
            raise _NotTheProtocol("answers, but not in redis' protocol")
        content = (yield from self._incoming.line())[1:]
        if kind != b"$":
            return kind, content
        if not content.isdigit() or len(content) > 9 or int(content) > ENOUGH:
            raise _NotTheProtocol("announces a reply of %s bytes" % _excerpt(repr(content)[2:-1]))
        bulk = bytearray()
        yield from self._incoming.read(int(content), bulk)
        if (yield from self._incoming.line()):
            raise _NotTheProtocol("sends a reply longer than it said")
        return kind, bytes(bulk)

    def _info(self):
        """INFO's fields, or None where a password or an ACL keeps them from us."""
        kind, reply = yield from self._reply()
        return read_info(reply.decode("utf-8", "replace")) if kind == b"$" else None


def read_info(text):
    """The answer to redis' INFO as a dict of strings."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon and not name.startswith("#")}


def why_writes_are_refused(info):
    """What in INFO means that every write is answered with an error, as one phrase; "" when nothing does.

    The rules are redis' own (processCommand in server.c): a replica is read-only, fewer good replicas than
    min-replicas-to-write, and memory beyond maxmemory with nothing that may be evicted.
    """
    if info.get("role") == "slave" and info.get("slave_read_only", "1") == "1":
        return printable("it is a read-only replica of %s:%s, and the link to it is %s" % (
            info.get("master_host", "?"), info.get("master_port", "?"), info.get("master_link_status", "?")), 200)
    if info.get("min_slaves_good_slaves") == "0":       # told only where a minimum, 1 at least, is set
        return "no replica is connected, and min-replicas-to-write asks for some"
    limit = _number(info, "maxmemory")
    used = _number(info, "used_memory") - _number(info, "mem_not_counted_for_evict")
    policy = info.get("maxmemory_policy", "")
    if limit and used > limit and not _evictable_keys(info, policy):
        return "its memory is full: %s used, maxmemory %s, and %s" % (
            size(used), size(limit), "noeviction is set" if policy == "noeviction"
            else "%s finds nothing to evict" % printable(policy, 40))
    return ""


def _evictable_keys(info, policy):
    """How many keys the eviction policy may remove: all of them, those with an expiry, or none."""
    if policy == "noeviction":
        return 0
    field = "expires=" if policy.startswith("volatile") else "keys="
    count = 0
    for name, value in info.items():
        if name.startswith("db") and name[2:].isdecimal():
            for word in value.split(","):
                if word.startswith(field):
                    count += _whole(word[len(field):])
    return count


def _loading_progress(info):
    if not info.get("loading_loaded_perc"):
        return ""
    return printable("; %s %% of it is read, about %s s to go" % (
        info["loading_loaded_perc"].partition(".")[0], info.get("loading_eta_seconds", "?")), 80)


def _number(info, name):
    return _whole(info.get(name, ""))


def _whole(text):
    """A number as redis writes it, or 0; a peer may send as many digits as it likes."""
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _excerpt(text):
    """A peer's own words in a detail, which goes into sentences that leave the host."""
    from citadel.core.redaction import excerpt  # a healthy check need not load it
    return excerpt(text, _EXCERPT)


_PROTOCOLS = {"http": _Http, "redis": _Redis, "tcp": _Tcp}
