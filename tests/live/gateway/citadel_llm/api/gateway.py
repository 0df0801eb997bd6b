"""A small real `citadel_llm.api.gateway:app` for the live tests: ASGI, nothing but the standard library.

Its log goes to standard output, which the unit appends to the application log. It answers /health as MOOD tells it
to: `ok` (or no file) 200, `error` 500, `slow` 200 after SLOW seconds, `lazy` after LAZY, `drip` 200 and then a byte a
second without an end, `hang` never. A PID after the word limits it to the life of that main process. MOOD is read at
each request, so a test changes it while the gateway runs.
"""

import asyncio
import logging
import os
import sys

MOOD = "/srv/gateway-mood"
SLOW, LAZY = 8, 4
FOREVER = 10 ** 6

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
log = logging.getLogger("gateway")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await answer(scope["path"], send)


async def lifespan(receive, send):
    """Says in the log when this worker starts and stops."""
    await receive()
    log.info("worker %d started, environment %s", os.getpid(), os.environ.get("ENVIRONMENT", "not said"))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    log.info("worker %d stopped", os.getpid())
    await send({"type": "lifespan.shutdown.complete"})


async def answer(path, send):
    if path != "/health":
        return await respond(send, 404, b"not found\n")
    mood = current_mood()
    if mood == "error":
        log.error("worker %d is told to be ill", os.getpid())
        return await respond(send, 500, b'{"status": "error"}\n')
    if mood == "drip":
        return await drip(send)
    await asyncio.sleep({"slow": SLOW, "lazy": LAZY, "hang": FOREVER}.get(mood, 0))
    await respond(send, 200, b'{"status": "ok"}\n')


async def drip(send):
    """An answer that never ends."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    while True:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(1)


async def respond(send, status, body):
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def current_mood():
    try:
        with open(MOOD) as file:
            word, _, main = file.read().strip().partition(" ")
    except FileNotFoundError:
        return "ok"
    return word if main in ("", str(os.getppid())) else "ok"
