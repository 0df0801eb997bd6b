"""Is it answering? http, redis and tcp, all targets side by side, in one thread and under one deadline.

A target names its IP by number: resolving a name can hang, and would be part of what is tested. `ask` asks the same of
each: is there a listener, does it speak its protocol (protocols.py), does it answer a small real request in full. How
far it came is the outcome (model.Probe). Whatever a peer does to keep Citadel waiting or to fill its memory ends at the
deadline or at ENOUGH bytes. Sockets are `_socket`'s own: `import socket` would cost 6 ms.
"""

import _socket
import errno
import os
import select
import time

from citadel.core.text import printable, size
from citadel.model import Probe
from citadel.observe.protocols import ENOUGH, PROTOCOLS, Ended, Incoming, NotTheProtocol, TooMuch
from citadel.settings.url import is_address, join_place
from citadel.settings.url import read as read_url

_CHUNK = 16 * 1024


def ask(targets, seconds, clock=time.monotonic):
    """{target: model.Probe}; all are asked at once, and waited for at most `seconds` together. Never raises for what a
    peer or the network does; a target that cannot be read is `unreachable`, and its detail says why."""
    started = clock()
    questions = {target: _Question(target, started, clock) for target in targets}
    waiting, poll = {}, select.poll()
    try:
        for question in questions.values():
            wanted = question.begin()
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
                if wanted:
                    poll.modify(descriptor, wanted)
                else:
                    poll.unregister(descriptor)
                    del waiting[descriptor]
        for question in waiting.values():
            question.give_up(seconds)
    finally:
        for question in questions.values():
            if question.socket is not None:
                question.socket.close()
    return {target: question.probe() for target, question in questions.items()}


def read_target(target):
    """(scheme, address family, address, port, path) of a target; ValueError says what is wrong with it."""
    scheme, host, port, path = read_url(target, tuple(PROTOCOLS))
    if not is_address(host):
        raise ValueError("%s: %s is not an address by number" % (printable(target, 120), host))
    if not port:
        raise ValueError("%s has no port" % printable(target, 120))
    return scheme, _socket.AF_INET6 if ":" in host else _socket.AF_INET, host, port, path or "/"


class _Question:
    """One target. `begin` and `go_on` return the poll events it waits for, 0 when done."""

    def __init__(self, target, started=0.0, clock=time.monotonic):
        self.target, self.where, self.socket, self._started, self._clock = target, "", None, started, clock
        self.outcome, self.detail, self.seconds = "", "", 0.0
        self._incoming, self._connected, self._unsent = Incoming(), False, b""
        self._protocol = self._talk = None

    def begin(self):
        try:
            scheme, family, address, port, path = read_target(self.target)
        except ValueError as error:
            return self._done("unreachable", str(error))
        self.where = join_place(address, port)
        self._protocol = PROTOCOLS[scheme](self.where, path, self._incoming)
        self._unsent = self._protocol.request
        self._talk = self._protocol.talk()
        try:
            self.socket = _socket.socket(family, _socket.SOCK_STREAM)
            self.socket.setblocking(False)
            code = self.socket.connect_ex((address, port))
        except OSError as error:
            return self._network_error(error.errno)
        return select.POLLOUT if code == errno.EINPROGRESS else self._connected_with(code)

    def go_on(self):
        if not self._connected:
            return self._connected_with(self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR))
        self._send()
        self._receive()
        return self._converse()

    def give_up(self, seconds):
        """The deadline has come."""
        if not self._connected:
            self._done("timeout", "%s takes no connection within %.1f s" % (self.where, seconds))
        else:
            self._cut_short("timeout", "the answer of %s was not complete after %.1f s (%d bytes)" % (
                self.where, seconds, self._incoming.total))

    def probe(self):
        return Probe(target=self.target, outcome=self.outcome, status=self._protocol.status if self._protocol else 0,
                     seconds=self.seconds, detail=self.detail)

    def _connected_with(self, code):
        if code == errno.ECONNRESET:                # accepted, and reset before we looked: something listens there
            self._incoming.end = "reset the connection"
        elif code or self._met_itself():
            return self._network_error(code or errno.ECONNREFUSED)
        self._connected = True
        self._send()
        return self._converse()

    def _met_itself(self):
        """On loopback the kernel may choose the very port that is asked for as our own, and then we would talk to
        ourselves where nobody listens (TCP's simultaneous open)."""
        try:
            return self.socket.getsockname() == self.socket.getpeername()
        except OSError:                             # gone again already: then it was another process
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
            if not chunk:
                self._incoming.end, self._incoming.closed = "closed the connection", True
            self._incoming.take(chunk)
        except BlockingIOError:
            pass
        except OSError as error:
            self._incoming.end = ("reset the connection" if error.errno == errno.ECONNRESET
                                  else "broke off: " + os.strerror(error.errno))

    def _converse(self):
        try:
            next(self._talk)
        except StopIteration as end:
            return self._done(*end.value)
        except NotTheProtocol as error:
            return self._done("protocol", "%s %s" % (self.where, error))
        except Ended:
            return self._cut_short("protocol", "%s %s %s" % (
                self.where, self._incoming.end,
                "after %d bytes of an answer" % self._incoming.total if self._incoming.total else "without an answer"))
        except TooMuch:
            return self._cut_short("protocol", "%s sent %s without coming to an end" % (self.where, size(ENOUGH)))
        except Exception as error:                  # an internal error, met by one peer, must not hide the others
            return self._done("protocol", "%s sent what Citadel cannot read (%s)" % (self.where, type(error).__name__))
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def _cut_short(self, outcome, why):
        """The conversation was cut short; its protocol knows whether what was heard is answer enough."""
        return self._done(*(self._protocol.so_far() or (outcome, why)))

    def _network_error(self, code):
        if code == errno.ECONNREFUSED:
            return self._done("refused", "nothing listens on " + self.where)
        if code == errno.ETIMEDOUT:
            return self._done("timeout", "%s takes no connection" % self.where)
        return self._done("unreachable", "%s: %s" % (self.where, os.strerror(code)))

    def _done(self, outcome, detail):
        self.outcome, self.detail, self.seconds = outcome, detail, self._clock() - self._started
        return 0
