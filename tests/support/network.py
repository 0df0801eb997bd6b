"""Real sockets on loopback for tests: a port that nobody holds, and a receiver that behaves as a test asks."""

import json
import random
import socket
import threading


def port_of_nobody():
    """A port that is free, and is given to no client either: those, too, keep a server from an address."""
    while True:
        with socket.socket() as trial:
            try:
                trial.bind(("0.0.0.0", random.randrange(10000, 30000)))     # Linux' own clients begin at 32768
                return trial.getsockname()[1]
            except OSError:
                continue


class Receiver:
    """A real listener on loopback that does to each caller what `behave(connection)` does."""

    def __init__(self, behave):
        self.heard, self._behave = [], behave
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(5)
        self.over = threading.Event()
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = int([line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")][0])
            while len(body) < length:
                body += connection.recv(65536)
            self.heard.append((head.decode(), json.loads(body.decode())))
            try:
                self._behave(connection, self.over)
            except OSError:
                pass                            # the caller has gone

    def close(self):
        self.over.set()
        self._listener.close()
