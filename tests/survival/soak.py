"""A small steady load and no faults: whatever restarts, or does not answer, is our own doing."""

import time
from collections import namedtuple

from survival.judge import is_good, told
from survival.world import Stage

Soak = namedtuple("Soak", "root requests seconds missed restarts calls")
Soak.__doc__ = """What was seen on one release. `missed`: looks at which the gateway or what it needs gave no good
answer; `restarts`: how often another main process was seen; `calls`: alerts."""


def run(root, contestant, seconds, say):
    """Two requests a second for so long: a Soak."""
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
            if world.observer.broken:
                raise AssertionError(world.observer.broken)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                say(sentence(count(root, *world.observer.seen())))
        samples, calls = world.observer.seen()
        return count(root, samples, calls + tuple(contestant.calls(world)))
    finally:
        stage.close()


def count(root, samples, calls):
    """The Soak of what was seen. Pure."""
    pids = [sample.pid for sample in samples if sample.pid]
    return Soak(root, len(samples), round(samples[-1].at) if samples else 0,
                sum(not is_good(sample) for sample in samples),
                sum(before != after for before, after in zip(pids, pids[1:])), len(told(calls)))


def is_clean(soak):
    return soak.requests > 0 and not (soak.missed or soak.restarts or soak.calls)


def sentence(soak):
    """What was seen, in numbers."""
    return "%d requests in %d s, %d missed, %d restart%s, %d alert%s" % (
        soak.requests, soak.seconds, soak.missed, soak.restarts, "s" * (soak.restarts != 1), soak.calls,
        "s" * (soak.calls != 1))
