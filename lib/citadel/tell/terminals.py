"""Every terminal, by wall(1): told once, at the time, for an hour-old line helps nobody."""

from citadel.core.text import printable
from citadel.tell.wording import sentence

WALL = 5                                # seconds; wall(1) forks for a terminal that does not take the text


def wanted(settings):
    return settings.recovery.wall


def send(letter, kept, delivery):
    """Why it was not taken, or ""."""
    if delivery.course.terminals_hang:
        return "it did not end before"
    line = printable("Citadel on %s: %s" % (letter.alert.host, sentence(letter.alert)), 600)
    answer = delivery.run(["wall"], WALL, stdin=line.encode("utf-8", "replace") + b"\n")
    delivery.course.terminals_hang = answer.timed_out
    return "" if answer.ok else answer.complaint()
