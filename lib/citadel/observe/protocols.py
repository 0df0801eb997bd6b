"""How http, redis and tcp are spoken: what to send, and what an answer means. No socket, no clock: probes.py feeds what
comes, and ends what does not end. To add a protocol, write a class like these and give it a row in PROTOCOLS.
"""

from citadel.core.text import printable, size

ENOUGH = 64 * 1024                      # bytes of one answer, headers and interim answers included
_EXCERPT = 120                          # characters of a peer's own words in a detail

# Redis' error codes that are an answer about writes, seen on 6.0, 7.0 and 8.0 or listed in its server.c.
_REFUSALS = ("MISCONF", "OOM", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY")


def _excerpt(text):
    """A peer's own words in a detail, which goes into sentences that leave the host."""
    from citadel.core.redaction import excerpt  # a healthy check need not load it
    return excerpt(text, _EXCERPT)


class NotTheProtocol(Exception):
    """What came is not what this protocol allows; the text ends a sentence that begins with the address."""


class Ended(Exception):
    """The peer ended the connection in the middle of its answer."""


class TooMuch(Exception):
    """ENOUGH bytes, and the answer is still going on."""


class Incoming:
    """What a peer has sent, and how far it was read. Its readers are generators that `yield` when they need more."""

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
            raise Ended
        if self.total >= ENOUGH:
            raise TooMuch
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
        while count:
            piece = self._bytes[self._at:self._at + count]
            if not piece:
                yield from self.more()
            self._at += len(piece)
            into += piece
            count -= len(piece)


class Tcp:
    """A connection is all that is asked; what happens to it then does not matter. Also the base of the others."""

    request = b""                                   # what is sent as soon as the connection stands
    status = 0                                      # of an HTTP answer

    def __init__(self, where, path, incoming):
        self.where, self.path, self.incoming = where, path, incoming

    def talk(self):
        """A generator that yields when it needs more from the network; returns outcome and detail of model.Probe."""
        return "ok", "%s takes connections" % self.where
        yield                                       # makes this a generator

    def so_far(self):
        """Outcome and detail if what was heard is answer enough, although the conversation was cut short; else None."""
        return None


class Http(Tcp):
    """One GET. 2xx with its whole body is ok, or with the first ENOUGH bytes of a longer one: the service is judged,
    not the size of its page. A redirect is an http-error: a service that is watched does not say what to watch."""

    def __init__(self, where, path, incoming):
        super().__init__(where, path, incoming)
        self.request = ("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: citadel/1.0\r\n"
                        "Accept: */*\r\n\r\n" % (path, where)).encode("ascii")
        self._reason, self._location, self._body = b"", b"", bytearray()

    def talk(self):
        while not self.status:
            status, reason, fields = yield from self._head()
            if status == 101:
                raise NotTheProtocol("switched protocols without being asked to")
            if status >= 200:                       # 1xx are interim answers, the real one follows
                self.status, self._reason, self._location = status, reason, fields.get(b"location", b"")
        yield from self._read_body(fields)
        return self.so_far() or ("ok", "HTTP %d" % self.status)

    def so_far(self):
        if not self.status:
            return None
        if 200 <= self.status < 300:
            enough = self.incoming.total >= ENOUGH
            return ("ok", "HTTP %d, %s or more" % (self.status, size(ENOUGH))) if enough else None
        said = _excerpt("HTTP %d %s" % (self.status, self._reason.decode("utf-8", "replace")))
        if self._location:
            to = _excerpt(self._location.decode("utf-8", "replace"))
            return "http-error", "%s, to %s (redirects are not followed)" % (said, to)
        words = _excerpt(self._body.strip().partition(b"\n")[0].decode("utf-8", "replace"))
        return "http-error", said + (": " + words if words else "")

    def _head(self):
        """Status, reason and the header fields that matter here (RFC 9112)."""
        if not (yield from self.incoming.begins_with(b"HTTP/1.")):
            raise NotTheProtocol("answers, but not in HTTP")
        line = yield from self.incoming.line()
        code, _, reason = line[8:].lstrip(b" ").partition(b" ")
        if len(code) != 3 or not code.isdigit() or code < b"100":
            raise NotTheProtocol("begins with a broken status line: " + _excerpt(repr(line)[1:]))
        fields = {}
        while True:
            line = yield from self.incoming.line()
            if not line:
                return int(code), reason, fields
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip()
            if name in (b"content-length", b"transfer-encoding", b"location"):
                if name == b"content-length" and fields.get(name, value) != value:
                    raise NotTheProtocol("gives two lengths for one body")
                fields[name] = value

    def _read_body(self, fields):
        if self.status in (204, 304):
            return
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            yield from self._read_chunks()
        elif b"content-length" in fields:
            length = fields[b"content-length"]
            if not length.isdigit() or len(length) > 18:
                raise NotTheProtocol("gives a length that is no number: " + _excerpt(repr(length)[1:]))
            yield from self.incoming.read(int(length), self._body)
        else:
            try:
                yield from self.incoming.read(ENOUGH * 2, self._body)
            except Ended:
                if not self.incoming.closed:        # a reset does not end a body, it breaks it off
                    raise

    def _read_chunks(self):
        while True:
            line = yield from self.incoming.line()
            digits = line.partition(b";")[0].strip()
            if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
                raise NotTheProtocol("sends a broken chunk: " + _excerpt(repr(line)[1:]))
            length = int(digits, 16)
            if not length:
                break
            yield from self.incoming.read(length, self._body)
            if (yield from self.incoming.line()):
                raise NotTheProtocol("sends a chunk longer than it said")
        while (yield from self.incoming.line()):    # trailer fields
            pass


class Redis(Tcp):
    """PING, then INFO: enough to tell whether writes are taken, and nothing is written into the user's database.

    Measured on 6.0, 7.0, 8.0.2 and 8.0.6: while redis cannot save its dataset (or its append-only file) PING itself is
    answered with MISCONF; full memory, missing replicas and a read-only replica are told by INFO, also in LOADING.
    """

    request = b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nINFO\r\n"
    _loading = ""

    def talk(self):
        kind, reply = yield from self._reply()
        if kind == b"+" and reply == b"PONG":
            info = yield from self._info()
            if info is None:
                return "ok", "PONG; reading INFO is not permitted"
            if info.get("loading") == "1":
                return "loading", "loading its dataset" + _loading_progress(info)
            why = why_writes_are_refused(info)
            return ("refusing-writes", why) if why else ("ok", "PONG")
        if kind != b"-":
            raise NotTheProtocol("answers PING with %s" % _excerpt(repr(kind + reply)[1:]))
        code = reply.partition(b" ")[0].decode("ascii", "replace")
        if code in ("NOAUTH", "NOPERM"):
            return "ok", "answers PING with %s: no more was asked" % code
        words = _excerpt(reply.decode("utf-8", "replace"))
        if code == "LOADING":
            self._loading = words
            return "loading", words + _loading_progress((yield from self._info()) or {})
        if code in _REFUSALS or words.startswith("ERR max number of clients"):
            return "refusing-writes", words
        raise NotTheProtocol("answers PING with an error: " + words)

    def so_far(self):
        return ("loading", self._loading) if self._loading else None

    def _reply(self):
        """One RESP reply: its type's byte and its content. Only the types that PING and INFO can have."""
        for kind in (b"+", b"-", b"$"):
            if (yield from self.incoming.begins_with(kind)):
                break
        else:
            raise NotTheProtocol("answers, but not in redis' protocol")
        content = (yield from self.incoming.line())[1:]
        if kind != b"$":
            return kind, content
        if not content.isdigit() or len(content) > 9 or int(content) > ENOUGH:
            raise NotTheProtocol("announces a reply of %s bytes" % _excerpt(repr(content)[2:-1]))
        bulk = bytearray()
        yield from self.incoming.read(int(content), bulk)
        if (yield from self.incoming.line()):
            raise NotTheProtocol("sends a reply longer than it said")
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
    """What in INFO means that every write is answered with an error, as one phrase; "" when nothing does. The rules are
    redis' own (processCommand in server.c)."""
    if info.get("role") == "slave" and info.get("slave_read_only", "1") == "1":
        return printable("it is a read-only replica of %s:%s, and the link to it is %s" % (
            info.get("master_host", "?"), info.get("master_port", "?"), info.get("master_link_status", "?")), 200)
    if info.get("min_slaves_good_slaves") == "0":       # told only where a minimum, 1 at least, is set
        return "no replica is connected, and min-replicas-to-write asks for some"
    limit = _whole(info.get("maxmemory", ""))
    used = _whole(info.get("used_memory", "")) - _whole(info.get("mem_not_counted_for_evict", ""))
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
    return sum(_whole(word[len(field):]) for name, value in info.items()
               if name.startswith("db") and name[2:].isdecimal()
               for word in value.split(",") if word.startswith(field))


def _loading_progress(info):
    percent = info.get("loading_loaded_perc", "").partition(".")[0]
    left = info.get("loading_eta_seconds", "?")
    return printable("; %s %% of it is read, about %s s to go" % (percent, left), 80) if percent else ""


def _whole(text):
    """A number as redis writes it, or 0; a peer may send as many digits as it likes."""
    return int(text) if text.isdecimal() and len(text) < 20 else 0


PROTOCOLS = {"http": Http, "redis": Redis, "tcp": Tcp}
