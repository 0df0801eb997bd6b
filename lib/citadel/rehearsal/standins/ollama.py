"""A stand-in for `ollama serve`: the part of its HTTP API that Citadel asks, on 127.0.0.1:11434.

Only in a rehearsal's throwaway machine, on a host without Ollama. GET /, /api/version, /api/tags, /api/ps; POST
/api/generate, where `"keep_alive": 0` without a prompt unloads the model, as in Ollama's API description.

/run/citadel-rehearsal/ollama switches it: `crash` (exits 1 at start), `hang` (accepts and never answers); anything
else, or no such file, is healthy.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn

MODE = "/run/citadel-rehearsal/ollama"
MODEL = {"name": "llama3:8b", "model": "llama3:8b", "size": 4661224676, "size_vram": 0,
         "expires_at": "2099-01-01T00:00:00Z"}
LOADED = [MODEL]


def mode():
    try:
        with open(MODE) as file:
            return file.read().strip()
    except OSError:
        return ""


class Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        if mode() == "hang":
            time.sleep(3600)
        answers = {"/": "Ollama is running", "/api/version": {"version": "0.5.7"}, "/api/tags": {"models": [MODEL]},
                   "/api/ps": {"models": LOADED}}
        self.reply(answers.get(self.path, "404 page not found"), 200 if self.path in answers else 404)

    def do_POST(self):
        if mode() == "hang":
            time.sleep(3600)
        try:
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode() or "{}")
        except ValueError:
            return self.reply({"error": "invalid request"}, 400)
        if self.path != "/api/generate":
            return self.reply("404 page not found", 404)
        unload = asked.get("keep_alive") == 0 and not asked.get("prompt")
        LOADED[:] = [] if unload else [MODEL]
        return self.reply({"model": asked.get("model", ""), "response": "", "done": True,
                           "done_reason": "unload" if unload else "stop"})

    def log_message(self, *_):
        """Logs no requests: the last line in the journal must be why it ended."""

    def reply(self, data, status=200):
        kind = "text/plain; charset=utf-8" if isinstance(data, str) else "application/json; charset=utf-8"
        body = (data if isinstance(data, str) else json.dumps(data)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    if mode() == "crash":
        print("Error: CUDA error: out of memory", file=sys.stderr)
        return 1
    Server(("127.0.0.1", 11434), Request).serve_forever()


if __name__ == "__main__":
    sys.exit(main())
