"""The small notes in our state directory that the health check reads each minute: plain text, for JSON is too dear
there. Who may not read them (no root) finds nothing.
"""

import os

OPEN = "open"               # the open incidents, a line each: "ID UNIT"
LONGEST = 65536             # bytes


def read(directory, name):
    """The text of a note; "" for none, for one that is no regular text, and for a user who may not read it."""
    try:
        descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, LONGEST).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
