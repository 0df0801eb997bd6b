"""A stand-in for uvicorn serving citadel_llm.api.gateway: its command line, its worker processes, GET /health.

Only in a rehearsal's throwaway machine, on a host where the gateway's application is not installed. Like uvicorn, the
first process holds the listening socket, answers nothing itself and replaces a worker that dies.

/run/citadel-rehearsal/gateway switches it: `crash` (exits 1 at start), `hang` (accepts and never answers), `500`
(every answer is an error), `slow` (answers after 8 s); anything else, or no such file, is well. A PID after the word
limits it to the life of that main process: `500 4711` ends with a restart.
"""

import os
import signal
import socket
import sys
import time

MODE = "/run/citadel-rehearsal/gateway"
SLOW = 8
ANSWER = "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"


def mode():
    try:
        with open(MODE) as file:
            word, _, main = file.read().strip().partition(" ")
    except OSError:
        return ""
    return word if main in ("", str(os.getppid())) else ""


def option(words, name, default):
    return words[words.index(name) + 1] if name in words else default


def serve(listener):
    """A worker: one request at a time, for ever."""
    while True:
        connection, _ = listener.accept()
        connection.settimeout(10)
        try:
            answer(connection)
        except OSError:
            continue                            # the client has gone
        finally:
            connection.close()


def answer(connection):
    request = connection.recv(65536).decode("latin-1")
    state = mode()
    if state == "hang":
        time.sleep(3600)
    if state == "slow":
        time.sleep(SLOW)
    path = (request.split() + ["", ""])[1]
    status, body = "200 OK", '{"status": "healthy"}'
    if state == "500":
        status, body = "500 Internal Server Error", '{"detail": "the model router is not initialised"}'
    elif path not in ("/", "/health"):
        status, body = "404 Not Found", '{"detail": "Not Found"}'
    connection.sendall((ANSWER % (status, len(body), body)).encode())
    print('INFO:     127.0.0.1 - "GET %s HTTP/1.1" %s' % (path, status), flush=True)


def main(words):
    if mode() == "crash":
        print("ImportError: cannot import name 'router' from 'citadel_llm.api'", file=sys.stderr)
        return 1
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((option(words, "--host", "127.0.0.1"), int(option(words, "--port", "8000"))))
    listener.listen(256)
    workers = set()
    # Worker processes end with us by systemd's KillMode=; SIGTERM to us ends them as uvicorn would.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        while True:
            while len(workers) < int(option(words, "--workers", "1")):
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    serve(listener)
                workers.add(pid)
            workers.discard(os.wait()[0])
    finally:
        for pid in workers:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue                        # the same SIGTERM has ended it already


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
