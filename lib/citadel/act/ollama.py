"""What we ask of Ollama itself: to let go of models that nobody uses.

https://github.com/ollama/ollama/blob/main/docs/api.md: GET /api/ps lists the loaded models; POST /api/generate with
`keep_alive` 0 and no prompt unloads one. A model at work finishes its answer first.
"""

import json
import socket
import time

from citadel.core.atomic import from_json

LARGEST_ANSWER = 64 * 1024


def loaded_models(place, seconds, clock=time.monotonic):
    """The names of the models that are loaded. `place` is (host, port). OSError or ValueError when that could not be
    learnt within `seconds`, whatever it drips."""
    try:
        loaded = from_json(_exchange(place, "GET", "/api/ps", b"", clock() + seconds, clock))
        return tuple(model["name"] for model in loaded["models"] if isinstance(model["name"], str))
    except (KeyError, TypeError):
        raise ValueError("not the answer of /api/ps")


def unload(place, model, seconds, clock=time.monotonic):
    """Asks it to let go of one model; OSError when it does not answer in time."""
    body = json.dumps({"model": model, "keep_alive": 0}).encode()
    _exchange(place, "POST", "/api/generate", body, clock() + seconds, clock)


def _exchange(place, method, path, body, end, clock):
    """The body of one answer. HTTP/1.0, so that it ends with the connection; a deadline for the whole of it, which
    http.client's timeout (for each read) is not."""
    question = "%s %s HTTP/1.0\r\nHost: %s:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
        method, path, place[0], place[1], len(body))
    answer = b""
    with socket.create_connection(place, timeout=max(0.1, end - clock())) as connection:
        connection.sendall(question.encode() + body)
        while len(answer) < LARGEST_ANSWER:
            connection.settimeout(max(0.05, end - clock()))
            chunk = connection.recv(65536)
            if clock() >= end:
                raise OSError("no whole answer in time")
            if not chunk:
                break
            answer += chunk
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 200" not in head.split(b"\r\n", 1)[0]:
        raise OSError("not an answer of 200")
    return rest
