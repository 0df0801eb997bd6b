"""Delivering an alert by every channel, whatever came of the one before: that Alertmanager took an alert is not yet an
operator who has heard of it. What cannot keep us waiting goes first.

A channel is a file with `wanted(settings)` and `send(letter, kept, delivery)`, and a row here. `send` says why the
alert was not taken, "" when it was; `kept` whether the spool has it for a later turn. Where the receiver can lose it,
the channel's name is in spool.RECEIVERS too.
"""

import time
from collections import namedtuple

from citadel.core.text import printable
from citadel.tell import alertmanager, hook, journal, spool, terminals

Channel = namedtuple("Channel", "name wanted send")
CHANNELS = (Channel("journal", journal.wanted, journal.send),
            Channel("alertmanager", alertmanager.wanted, alertmanager.send),
            Channel("wall", terminals.wanted, terminals.send),
            Channel("hook", hook.wanted, hook.send))

Delivery = namedtuple("Delivery", "settings store run now course")
Delivery.__doc__ = "What a channel is handed; `now` is a clock.Now."

Delivered = namedtuple("Delivered", "told waiting words")
Delivered.__doc__ = "Whether anybody took it, whether a receiver has still to, and what came of each channel, in words."


class Course:
    """How delivery goes in the pass that is on; the next one begins anew."""

    def __init__(self, store, now):
        self.seconds = 0.0                      # spent on all Alertmanagers
        self.passed_over = set()                # URLs that did not take what another one took
        self.sent = time.monotonic()            # when Alertmanager last took what fires, or the pass began
        self.sends_again = True                 # until nobody takes it
        self.late = alertmanager.told_late(store, now)
        self.hook_seconds, self.hook_failed = 0.0, False
        self.terminals_hang = False


def begin(settings, store, now, run):
    """The Delivery of the pass that is on."""
    if store.course is None:
        store.course = Course(store, now)
    return Delivery(settings, store, run, now, store.course)


def deliver(alert, delivery):
    """Sends an alert by every channel that the settings want: Delivered."""
    store = delivery.store
    channels = [one for one in CHANNELS if one.wanted(delivery.settings)]
    receivers = [one.name for one in channels if one.name in spool.RECEIVERS]
    letter = spool.Letter("spool/%s-%s.json" % (alert.incident or "none", alert.kind), alert, receivers)
    kept = bool(receivers) and spool.keep(letter, store)
    spool.note_firing(alert, store)
    refused = {one.name: one.send(letter, kept, delivery) for one in channels}
    waiting = [name for name in receivers if refused[name]]
    if kept:
        spool.note_waiting(letter, waiting, store)
    words = ["%s: %s" % (name, printable(why, 160)) if why else name for name, why in refused.items()]
    if waiting:
        words.append("it will be sent again" if kept else
                     "it could not be kept for later: " + (store.trouble or "the spool is full"))
    return Delivered("" in refused.values(), bool(waiting), words)


def send_waiting(delivery):
    """Sends what waits; a receiver that is in the settings no more has nothing to wait for."""
    wanted = [one.name for one in CHANNELS if one.wanted(delivery.settings)]
    for letter in spool.letters_in(delivery.store):
        spool.note_waiting(letter, [name for name in letter.waiting if name in wanted], delivery.store)
    if "alertmanager" in wanted:
        alertmanager.send_due(delivery)
    if "hook" in wanted:
        hook.send_waiting(delivery)
