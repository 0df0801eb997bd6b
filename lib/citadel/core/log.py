"""Our own entries in the journal: one for each decision, with fields that other programs can search for."""

import socket

JOURNAL = "/run/systemd/journal/socket"
IDENTIFIER = "citadel-recovery"
CRIT, WARNING, NOTICE = 2, 4, 5

# MESSAGE_ID= an event, ours and fixed: `journalctl MESSAGE_ID=...` finds all of one kind (sd-id128(3)).
EVENTS = {
    "act": ("7180f02398f848d6a9d12de5c0925251", NOTICE),
    "step": ("186c674547554b11927626cecb2fe035", NOTICE),
    "waiting": ("6ea1a1af55d14887ac67f101702f811b", NOTICE),
    "stood-down": ("071ac26423ce47cd96ec21846eede1ae", NOTICE),
    "escalated": ("744357c1863e45f898ffd13e275de1ae", WARNING),
    "healthy": ("bc1c16da3b944fd8bf6ad868382a66b2", NOTICE),
    "recovered": ("6b228221f2714addb6ee4fd94f219731", NOTICE),
    "firing": ("b0f1a5865abe4a3f816dad0c3a64c21c", CRIT),
    "resolved": ("4391458b86c04458afbdb8acecc591e4", NOTICE),
    "gate-refused": ("744b7c81a03b4b2cbcd9c9f65a11b328", WARNING),
    "gate-taken-back": ("8d5be4fe1f37412a8cdb0110dd435b5b", NOTICE),
    "maintenance-on": ("31b75fbff8404b7fa04b4aab75da1e50", NOTICE),
    "maintenance-off": ("04fc84e0f8004ae9aee7c8492d15eb75", NOTICE),
    "reset": ("83ca33511f3a4e799f5c6f38ca9866cb", NOTICE),
}


def journal(event, message, unit="", cause="", verdict="", incident="", path=None):
    """One structured entry by journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL); whether it was taken.
    Never blocks: when journald has stopped, its socket fills up, and a plain send would hang (measured)."""
    message_id, priority = EVENTS.get(event, EVENTS["step"])
    fields = {"MESSAGE": message[:4000], "MESSAGE_ID": message_id, "PRIORITY": str(priority),
              "SYSLOG_IDENTIFIER": IDENTIFIER, "CITADEL_EVENT": event, "CITADEL_UNIT": unit, "CITADEL_CAUSE": cause,
              "CITADEL_VERDICT": verdict, "CITADEL_INCIDENT": incident,
              "OBJECT_SYSTEMD_UNIT": unit}      # `journalctl -u UNIT` shows it too (systemd.journal-fields(7))
    datagram = b"".join(entry_field(name, value) for name, value in fields.items() if value)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(datagram, path or JOURNAL)
        return True
    except OSError:
        return False


def entry_field(name, value):
    """One field as the protocol wants it: with its length where it has more than one line, so that no text from outside
    can begin a field of its own."""
    data = value.encode("utf-8", "backslashreplace")
    between = b"\n" + len(data).to_bytes(8, "little") if b"\n" in data else b"="
    return name.encode("ascii") + between + data + b"\n"
