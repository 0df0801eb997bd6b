"""Delivering an alert by every channel, whatever came of the one before: what Alertmanager took may reach no operator.

A channel is a file with `send(letter, kept, delivery)`, and a row here. `send` says why the alert was not taken, ""
when it was; `kept`: the spool has it. The channel of a receiver that may be down is in spool.RECEIVERS too.
"""

import time
from collections import namedtuple

from citadel.core.text import printable
from citadel.tell import alertmanager, hook, journal, spool, terminals

Channel = namedtuple("Channel", "name wanted send")
CHANNELS = (Channel("journal", lambda settings: True, journal.send),
            Channel("alertmanager", lambda settings: settings.alertmanager.urls, alertmanager.send),
            Channel("wall", lambda settings: settings.recovery.wall, terminals.send),
            Channel("hook", lambda settings: settings.hook.command, hook.send))

Delivery = namedtuple("Delivery", "settings store run now course")
Delivery.__doc__ = "What a channel is handed; `now` is a clock.Now."


class Course:
    """How delivery goes in this pass."""

    def __init__(self, store):
        self.seconds = 0.0                      # spent on all Alertmanagers
        self.passed_over = set()                # URLs that did not take what another one took
        self.sent = time.monotonic()            # when Alertmanager last took what fires, or the pass began
        self.sends_again = True                 # until nobody takes it
        self.late = {alertmanager.identity(alert): (then, alert)        # what Alertmanager was told late
                     for then, alert in spool.told_late(store)}
        self.hook_seconds, self.hook_failed = 0.0, False
        self.terminals_hang = False


def begin(settings, store, now, run):
    """The Delivery of this pass."""
    if store.course is None:
        store.course = Course(store)
    return Delivery(settings, store, run, now, store.course)


def deliver(alert, delivery):
    """Sends an alert by each wanted channel: whether one took it, whether a receiver has still to, words on each."""
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
    return "" in refused.values(), bool(waiting), words


def send_waiting(delivery):
    """Sends what waits; nothing waits for a receiver that has left the settings."""
    wanted = [one.name for one in CHANNELS if one.wanted(delivery.settings)]
    for letter in spool.letters_in(delivery.store):
        spool.note_waiting(letter, [name for name in letter.waiting if name in wanted], delivery.store)
    if "alertmanager" in wanted:
        alertmanager.send_due(delivery)
    if "hook" in wanted:
        hook.send_waiting(delivery)
