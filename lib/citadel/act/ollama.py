"""What we ask of Ollama itself: to let go of models that nobody uses.

https://github.com/ollama/ollama/blob/main/docs/api.md: GET /api/ps lists the loaded models; POST /api/generate with
`keep_alive` 0 and no prompt unloads one. A model at work finishes its answer first.
"""

import json
import time

from citadel.core import http
from citadel.core.atomic import from_json
from citadel.settings.url import Url


def loaded_models(place, seconds):
    """The names of the models that are loaded. `place` is (host, port). OSError or ValueError when that could not be
    learnt within `seconds`."""
    try:
        loaded = from_json(_exchange(place, "GET", "/api/ps", b"", seconds))
        return tuple(model["name"] for model in loaded["models"] if isinstance(model["name"], str))
    except (KeyError, TypeError):
        raise ValueError("not the answer of /api/ps")


def unload(place, model, seconds):
    """Asks it to let go of one model; OSError when it does not answer in time."""
    _exchange(place, "POST", "/api/generate", json.dumps({"model": model, "keep_alive": 0}).encode(), seconds)


def _exchange(place, method, path, body, seconds):
    """The body of its answer; OSError says why there is none."""
    url = Url("http", place[0], place[1], "")
    question = url, [url.host], http.request(method, url, path, body, version="1.0")
    reply = http.converse({path: question}, time.monotonic() + seconds, whole=True)[path]
    if reply.why:
        raise OSError(reply.why)
    return reply.body
