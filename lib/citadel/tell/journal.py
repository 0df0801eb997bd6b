"""The journal as a channel: one structured entry an alert, told once."""

from citadel.core import log
from citadel.tell.wording import sentence


def send(letter, kept, delivery):
    alert = letter.alert
    verdict = "escalated" if alert.kind == "firing" else "recovered"
    return "" if log.journal(alert.kind, sentence(alert), unit=alert.unit, cause=alert.cause, verdict=verdict,
                             incident=alert.incident) else "journald did not take it"
