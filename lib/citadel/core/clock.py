"""The time, read once and passed on, so that a pass reasons about one moment.

Durations are measured by CLOCK_BOOTTIME or CLOCK_MONOTONIC together with the boot id; the wall clock is for people. A
clock that was stepped back to 2001 kept a naive cooldown waiting for 25 years (measured).
"""

import time
from collections import namedtuple

RFC_3339 = "%Y-%m-%dT%H:%M:%SZ"         # in UTC
CLOCK_BOOTTIME = 7                      # time.CLOCK_BOOTTIME needs Python 3.7; the number is Linux' (clock_gettime(2))
SAME_BOOT = 10.0                        # seconds by which wall and boot clock may differ within one boot

Now = namedtuple("Now", "wall monotonic boottime boot_id")
Now.__doc__ = "One moment: seconds since 1970, of CLOCK_MONOTONIC (as systemd stamps) and of CLOCK_BOOTTIME (as we do)."

Moment = namedtuple("Moment", "wall boottime boot_id")
Moment.__doc__ = "When something was noted: clock.Now without CLOCK_MONOTONIC."


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
    return time.strftime(RFC_3339, time.gmtime(wall))


def parse_stamp(text):
    """The seconds since 1970 that `stamp` wrote; ValueError for any other text."""
    import calendar
    return calendar.timegm(time.strptime(text, RFC_3339))


def age(then, now):
    """Seconds from the Moment `then` to the clock.Now `now`, never negative."""
    by_wall, by_boot = now.wall - then.wall, now.boottime - then.boottime
    if then.boot_id == now.boot_id and by_boot > -SAME_BOOT:        # noted after `now` was read: new
        return max(0.0, by_boot)
    # In a container with systemd <= 252 the sandbox shows a random boot id (measured): clocks that agree mean one boot.
    if by_boot >= 0 and abs(by_wall - by_boot) <= SAME_BOOT:
        return by_boot
    return max(now.boottime, by_wall, 0.0)
