"""Two requests to Ollama, and peers that drip, flood, lie or hang."""

import json
import socket
import threading
import time

import pytest

from citadel.act import ollama


@pytest.fixture
def peer():
    """A real listener; `peer(talk)` gives its address and lets `talk(connection)` answer each connection."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)

    def begin(talk):
        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        talk(connection)
                    except OSError:
                        pass                            # the client has gone, as it should
        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()
    yield begin
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def says(data):
    return lambda connection: connection.sendall(data)


def drips(connection):
    while True:
        connection.sendall(b"H")
        time.sleep(0.01)


def floods(connection):
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def test_the_loaded_models(peer):
    body = json.dumps({"models": [{"name": "llama3:8b"}, {"name": "phi3"}]}).encode()
    place = peer(says(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body))
    assert ollama.loaded_models(place, 2) == ("llama3:8b", "phi3")
    ollama.unload(place, "phi3", 2)


@pytest.mark.parametrize("talk", [
    says(b""), says(b"HTTP/1.0 500 no\r\n\r\n{}"), says(b"+PONG\r\n"), says(b"HTTP/1.0 200 OK\r\n\r\n{}"),
    says(b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 50000), says(b"HTTP/1.0 200 OK\r\n\r\n\xff"),
    says(b'HTTP/1.0 200 OK\r\n\r\n{"models": 5}'), says(b'HTTP/1.0 200 OK\r\n\r\n{"models": [1]}'),
    says(b"HTTP/1.0 200 OK\r\n\r\n[]"), drips, floods, lambda connection: time.sleep(1)],
    ids=["silence", "an error", "redis", "no models", "nested", "bytes", "a number", "numbers", "a list", "drips",
         "floods", "hangs"])
def test_what_is_no_answer_is_an_error_in_time(peer, talk):
    started = time.monotonic()
    with pytest.raises((OSError, ValueError)):
        ollama.loaded_models(peer(talk), 0.5)
    assert time.monotonic() - started < 2


def test_nobody_listens():
    with pytest.raises(OSError):
        ollama.loaded_models(("127.0.0.1", 1), 1)
