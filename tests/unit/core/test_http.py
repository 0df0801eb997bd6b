"""HTTP: nobody who is asked can hold or fill us, and nothing of an exchange is left behind."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from network import Receiver

from citadel.core import http
from citadel.settings.url import Url, read


def ask(url, seconds=1.0, whole=True):
    place = read(url, ("http", "https"))
    data = http.request("POST", place, "/", b"{}")
    return http.converse({0: (place, [place.host], data)}, time.monotonic() + seconds, whole=whole)[0]


@pytest.fixture
def receiver():
    made = []

    def make(behave):
        made.append(Receiver(behave))
        return made[-1].url
    yield make
    for one in made:
        one.close()


def says(data, then=lambda connection, over: None):
    return lambda connection, over: connection.sendall(data) or then(connection, over)


def floods(connection, over):
    while not over.is_set():
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize("behave, reply", [
    pytest.param(says(b"HTTP/1.1 200 OK\r\n\r\n[1]"), ("", 200, b"[1]"), id="a body"),
    pytest.param(says(b"HTTP/1.1 204 No Content\r\n\r\n"), ("", 204, b""), id="none"),
    pytest.param(says(b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 400 Bad\r\n\r\n why \nmore"), ("HTTP 400 Bad: why", 400, b""),
                 id="the status is that of the final answer"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\n\r\nhalf", lambda connection, over: over.wait(30)),
                 ("no answer within 1 s", 0, b""), id="half a body"),
])
def test_a_whole_answer(receiver, behave, reply):
    found = ask(receiver(behave))
    assert (found.why, found.status, found.body) == reply


def test_an_endless_body_is_cut(receiver):
    began = time.monotonic()
    reply = ask(receiver(says(b"HTTP/1.1 200 OK\r\n\r\n", floods)), seconds=20)
    assert reply.why == "" and http.ENOUGH / 2 < len(reply.body) <= 2 * http.ENOUGH and time.monotonic() - began < 10


def test_nothing_is_left_of_who_did_not_end(receiver):
    before, url = os.listdir("/proc/self/fd"), receiver(says(b"", lambda connection, over: over.wait(30)))
    assert ask(url, 1).why == "no answer within 1 s"
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 2, "the receiver's own connection may be open yet"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_host_that_has_no_room_for_a_child(receiver, monkeypatch):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    monkeypatch.setattr(os, "fork", fork)
    assert ask(receiver(says(b""))).why == "Resource temporarily unavailable"


def test_a_host_whose_tls_is_broken(receiver, monkeypatch):
    """Its openssl.cnf asks for what its OpenSSL does not have: a complaint about that one URL, and no exception."""
    def broken():
        raise ssl.SSLError(1, "library has no ciphers")
    monkeypatch.setattr(ssl, "create_default_context", broken)
    assert ask(receiver(says(b"")).replace("http:", "https:")).why == "library has no ciphers"


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl here to make a certificate with")
@pytest.mark.parametrize("trusted", [True, False], ids=["it is trusted", "nobody vouches for it"])
def test_a_certificate(tmp_path, monkeypatch, trusted):
    pem, key = str(tmp_path / "certificate"), str(tmp_path / "key")
    settings = tmp_path / "settings"
    settings.write_text("[req]\ndistinguished_name = d\nx509_extensions = e\n[d]\n[e]\nsubjectAltName = IP:127.0.0.1\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=here", "-config",
                    str(settings), "-out", pem, "-keyout", key], check=True, stderr=subprocess.DEVNULL)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)

    def serve():
        try:
            with context.wrap_socket(server.accept()[0], server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nyes")
        except OSError:
            pass                                    # it has refused our certificate, as it should
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        reply = ask("https://127.0.0.1:%d" % server.getsockname()[1], 5)
        serving.join(5)
    assert (reply.body, "certificate" in reply.why) == ((b"yes", False) if trusted else (b"", True))


def test_a_host_by_ipv6_is_named_in_brackets():
    assert b"\r\nHost: [::1]:80\r\n" in http.request("GET", Url("http", "::1", 80, ""), "/", b"")
