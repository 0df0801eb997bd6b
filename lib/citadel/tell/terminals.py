"""Every terminal, by wall(1): told once, because an hour-old line helps nobody."""

from citadel.core.text import printable
from citadel.tell.wording import sentence

WALL = 5                                # seconds; wall(1) forks for a terminal that does not take the text


def send(letter, kept, delivery):
    if delivery.course.terminals_hang:
        return "wall hung earlier in this pass"
    line = printable("Citadel on %s: %s" % (letter.alert.host, sentence(letter.alert)), 600)
    answer = delivery.run(["wall"], WALL, stdin=line.encode("utf-8", "replace") + b"\n")
    delivery.course.terminals_hang = answer.timed_out
    return "" if answer.ok else answer.complaint()
