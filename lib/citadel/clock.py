"""The time, read once and handed on, so that a pass reasons about one moment.

Durations are taken by CLOCK_BOOTTIME or CLOCK_MONOTONIC together with the boot's id; the wall clock is for people. A
clock that was stepped back to 2001 kept a naive cooldown waiting for 25 years (measured).
"""

import time
from collections import namedtuple

CLOCK_BOOTTIME = 7                      # time.CLOCK_BOOTTIME needs Python 3.7; the number is Linux' (clock_gettime(2))

Now = namedtuple("Now", "wall monotonic boottime boot_id")
Now.__doc__ = "One moment: seconds since 1970, of CLOCK_MONOTONIC (systemd's stamps) and of CLOCK_BOOTTIME (ours)."


def now(proc="/proc"):
    """The moment as this host's clocks tell it; `boot_id` is "" where the kernel does not show one."""
    try:
        with open(proc + "/sys/kernel/random/boot_id") as file:
            boot_id = file.read(64).strip()
    except OSError:
        boot_id = ""
    return Now(time.time(), time.monotonic(), time.clock_gettime(CLOCK_BOOTTIME), boot_id)


def stamp(wall):
    """Seconds since 1970 as RFC 3339 in UTC, e.g. 2026-11-23T18:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))
