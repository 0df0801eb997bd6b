"""Stand-ins for what a host lacks, only in a rehearsal's throwaway machine. One file: its name decides what it is.

`ollama`    the part of Ollama's HTTP API that Citadel asks, on 127.0.0.1:11434
`redis`     PING, GET, SET, DEL, INFO, SELECT and QUIT of redis' protocol (RESP and inline), on 127.0.0.1:6379
`uvicorn`   GET /health of the gateway, by uvicorn's command line: the first process holds the listening socket, answers
            nothing itself and replaces a worker that dies

/run/citadel-rehearsal/ollama and /run/citadel-rehearsal/gateway switch them: `crash` (exits 1 at start), `hang` (Ollama
accepts and never answers), `500` (every answer of the gateway is an error); anything else, or no such file, is healthy.
A PID after the word limits it to the life of that main process: `500 4711` ends with a restart.
"""

import contextlib
import json
import os
import signal
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

MODEL = {"name": "llama3:8b", "model": "llama3:8b", "size": 4661224676, "size_vram": 0,
         "expires_at": "2099-01-01T00:00:00Z"}
LOADED = [MODEL]
VALUES = {}
INFO = ("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
        "# Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\n")


def mode(name):
    try:
        with open("/run/citadel-rehearsal/" + name) as file:
            word, _, main = file.read().strip().partition(" ")
    except OSError:
        return ""
    return word if main in ("", str(os.getppid())) else ""


def crash(name, last_words):
    if mode(name) == "crash":
        sys.exit(last_words)


class Request(BaseHTTPRequestHandler):
    def reply(self, data, status=200):
        kind = "text/plain; charset=utf-8" if isinstance(data, str) else "application/json; charset=utf-8"
        body = (data if isinstance(data, str) else json.dumps(data)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ToOllama(Request):
    def parse_request(self):
        if mode("ollama") == "hang":
            time.sleep(3600)
        return super().parse_request()

    def do_GET(self):
        answers = {"/": "Ollama is running", "/api/version": {"version": "0.5.7"}, "/api/tags": {"models": [MODEL]},
                   "/api/ps": {"models": LOADED}}
        self.reply(answers.get(self.path, "404 page not found"), 200 if self.path in answers else 404)

    def do_POST(self):
        """`"keep_alive": 0` without a prompt unloads the model, as in Ollama's API description."""
        if self.path != "/api/generate":
            return self.reply("404 page not found", 404)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])).decode())
        unload = asked.get("keep_alive") == 0 and not asked.get("prompt")
        LOADED[:] = [] if unload else [MODEL]
        return self.reply({"model": asked["model"], "response": "", "done": True,
                           "done_reason": "unload" if unload else "stop"})

    def log_message(self, *_):
        """Logs no requests: the last line in the journal must be why it ended."""


class OllamaServer(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True


def ollama(words):
    crash("ollama", "Error: CUDA error: out of memory")
    OllamaServer(("127.0.0.1", 11434), ToOllama).serve_forever()


class RedisServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class ToRedis(socketserver.StreamRequestHandler):
    def handle(self):
        for words in iter(self.command, None):
            if words:
                self.wfile.write(answer([word.decode("latin-1") for word in words]).encode("latin-1"))
            if words and words[0].upper() == b"QUIT":
                return

    def command(self):
        """The words of the next command, [] for an empty line, None at the end."""
        line = self.rfile.readline(65536)
        if not line.startswith(b"*"):
            return line.split() if line else None
        words = []
        for _ in range(int(line[1:])):
            words.append(self.rfile.read(int(self.rfile.readline(32)[1:])))
            self.rfile.readline(8)
        return words


def answer(words):
    command = words[0].upper()
    if command == "PING":
        return "+PONG\r\n"
    if command == "SET" and len(words) >= 3:
        VALUES[words[1]] = words[2]
    if command in ("SET", "SELECT", "QUIT"):
        return "+OK\r\n"
    if command == "DEL":
        return ":%d\r\n" % len([VALUES.pop(word) for word in words[1:] if word in VALUES])
    if command in ("GET", "INFO"):
        text = INFO if command == "INFO" else VALUES.get(words[-1])
        return "$-1\r\n" if text is None else "$%d\r\n%s\r\n" % (len(text), text)
    return "-ERR unknown command '%s'\r\n" % words[0]


def redis(words):
    RedisServer(("127.0.0.1", 6379), ToRedis).serve_forever()


class ToGateway(Request):
    timeout = 10

    def do_GET(self):
        if mode("gateway") == "500":
            self.reply({"detail": "the model router is not initialised"}, 500)
        elif self.path in ("/", "/health"):
            self.reply({"status": "healthy"})
        else:
            self.reply({"detail": "Not Found"}, 404)

    def log_request(self, code="-", size="-"):
        print('INFO:     127.0.0.1 - "GET %s HTTP/1.1" %s' % (self.path, code), flush=True)


def uvicorn(words):
    crash("gateway", "ImportError: cannot import name 'router' from 'citadel_llm.api'")
    option = dict(zip(words, words[1:]))
    server = HTTPServer((option.get("--host", "127.0.0.1"), int(option.get("--port", "8000"))), ToGateway)
    workers = set()
    # Worker processes end with us by systemd's KillMode=; SIGTERM to us ends them as uvicorn would.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        while True:
            while len(workers) < int(option.get("--workers", "1")):
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    server.serve_forever()
                workers.add(pid)
            workers.discard(os.wait()[0])
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):       # the same SIGTERM has ended it already
                os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    {"ollama": ollama, "redis": redis, "uvicorn": uvicorn}[os.path.basename(sys.argv[0])](sys.argv[1:])
