"""A small steady load and no faults: whatever restarts, or does not answer, is our own doing."""

import time

from survival.world import Stage


def run(root, contestant, seconds, say):
    """One request a second for so long; the sentence that says what was missed."""
    stage = Stage(root, contestant, say)
    try:
        world = stage.ready()
        contestant.resume(world)
        world.began = time.time()
        world.observer.forget_calls()
        world.observer.begin()
        end, said = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            contestant.beat(world)
            time.sleep(0.3)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                say(sentence(*world.observer.seen()))
        samples, calls = world.observer.seen()
        return "soak on %s: %s" % (root, sentence(samples, calls + tuple(contestant.calls(world))))
    finally:
        stage.close()


def sentence(samples, calls):
    """What was seen, in numbers."""
    return "%d requests in %.0f s, %d missed, %d restarts, %d calls for a person" % (
        len(samples), samples[-1].at if samples else 0, sum(one.status != 200 for one in samples),
        max(0, len({one.pid for one in samples}) - 1), len(calls))


