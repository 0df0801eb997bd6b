"""The small notes in our state directory that the health check reads each minute: plain text, for JSON is too dear
there. Who may not read them (no root) finds nothing.
"""

import os

from citadel.core.trust import open_file

OPEN = "open"               # the open incidents, a line each: "ID UNIT"
DROPPED = "spool/dropped"   # how many alerts found the spool full
REFUSED = "spool/refused"   # why the Alertmanagers did not take what waits
LONGEST = 65536             # bytes
INCIDENTS = "incidents:"    # no file: what ServiceRecord.counts calls the incidents of a cause, before the cause


def read(directory, name):
    """The text of a note; "" for none, for one that is no regular text, and for a user who may not read it."""
    try:
        with open(open_file(os.path.join(directory, name)), "rb") as file:
            return file.read(LONGEST).decode("ascii", "replace")
    except OSError:
        return ""


def spooled(directory):
    """How many alerts wait to be sent."""
    try:
        return sum(name.endswith(".json") for name in os.listdir(os.path.join(directory, "spool")))
    except OSError:
        return 0


def dropped(directory):
    """How many alerts found the spool full."""
    words = read(directory, DROPPED).strip()
    return int(words) if words.isdecimal() else 0
