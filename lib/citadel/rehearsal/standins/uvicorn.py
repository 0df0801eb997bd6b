"""A stand-in for uvicorn serving citadel_llm.api.gateway: its command line, its worker processes, GET /health.

Only in a rehearsal's throwaway machine, on a host where the gateway's application is not installed. Like uvicorn, the
first process holds the listening socket, answers nothing itself and replaces a worker that dies.

/run/citadel-rehearsal/gateway switches it: `crash` (exits 1 at start), `500` (every answer is an error); anything else,
or no such file, is healthy. A PID after the word limits it to the life of that main process: `500 4711` ends with a
restart.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

MODE = "/run/citadel-rehearsal/gateway"


def mode():
    try:
        with open(MODE) as file:
            word, _, main = file.read().strip().partition(" ")
    except OSError:
        return ""
    return word if main in ("", str(os.getppid())) else ""


def option(words, name, default):
    return words[words.index(name) + 1] if name in words else default


class Request(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        status, body = 200, b'{"status": "healthy"}'
        if mode() == "500":
            status, body = 500, b'{"detail": "the model router is not initialised"}'
        elif self.path not in ("/", "/health"):
            status, body = 404, b'{"detail": "Not Found"}'
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        print('INFO:     127.0.0.1 - "GET %s HTTP/1.1" %s' % (self.path, code), flush=True)


def main(words):
    if mode() == "crash":
        print("ImportError: cannot import name 'router' from 'citadel_llm.api'", file=sys.stderr)
        return 1
    address = option(words, "--host", "127.0.0.1"), int(option(words, "--port", "8000"))
    server = HTTPServer(address, Request)
    workers = set()
    # Worker processes end with us by systemd's KillMode=; SIGTERM to us ends them as uvicorn would.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        while True:
            while len(workers) < int(option(words, "--workers", "1")):
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    server.serve_forever()
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
