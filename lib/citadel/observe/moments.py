"""What PID 1 wrote in the journal about a unit, moment by moment: its process exited, it failed, a restart was
scheduled, a run began. A journal that does not answer gives no moments, and no error.
"""

from collections import namedtuple

from citadel.core.run import run as run_program
from citadel.core.text import printable
from citadel.observe import journalctl

EXITED, ENDED, FAILED, SCHEDULED, STARTED, OUT_OF_MEMORY = "exited", "ended", "failed", "scheduled", "started", "oom"

# systemd's catalog, sd-messages(3): these ids are the same in 247 and 262.
MESSAGE_IDS = {
    "98e322203f7a4ed290d09fe03c09fe15": EXITED,
    "7ad2d189f7e94e70a38c781354912448": ENDED,          # well; that its process exited 0 is logged for debugging only
    "d9b373ed55a64feb8242e02dbe79a49c": FAILED,
    "be02cf6855d2428ba40df7e9d022f03d": FAILED,
    "5eb03494b6584870a536b337290809b3": SCHEDULED,
    "39f53479d3a045ac8e11786248231fbf": STARTED,
    "fe6faa94e7774663a0da52717891d8ef": OUT_OF_MEMORY,
}
MOST = 500              # moments read at once; a unit at its fastest restarts ten times a second
LONGEST = 2048          # bytes of one entry of PID 1

Moment = namedtuple("Moment", "time kind invocation text")
Moment.__doc__ = "`time` in seconds of CLOCK_MONOTONIC; `invocation` of the run that it belongs to."


def end_of_journal(run=run_program):
    """A cursor after all that the journal holds now, or "" where it tells none."""
    return _cursor(journalctl.entries([], 1, ("_BOOT_ID",), run), "")


def after(cursor, unit, run=run_program):
    """The moments of `unit` that the journal holds after `cursor`, and the cursor from which to read on.

    Asked for with --cursor=, whose own entry is dropped here: up to 252, --after-cursor= drops the first entry that
    matches also when it is not the cursor's own (seen: the end of a process was lost).
    """
    entries = [entry for entry in _entries(unit, ["--cursor=" + cursor] if cursor else [], run)
               if journalctl.text(entry, "__CURSOR") != cursor]
    return parse(entries), _cursor(entries, cursor)


def within(seconds, unit, now, run=run_program):
    """The moments of `unit` in the last `seconds`, within this boot. `now` is clock.now()'s answer."""
    entries = [entry for entry in _entries(unit, [], run)
               if journalctl.text(entry, "_BOOT_ID") == now.boot_id.replace("-", "")]
    return tuple(moment for moment in parse(entries) if moment.time >= now.monotonic - seconds)


def parse(entries):
    """Entries to moments. That a control process (ExecStartPre=, ExecStopPost=) exits is no moment of the service."""
    moments = []
    for entry in entries:
        identity, stamp, invocation, message = (journalctl.text(entry, field) for field in (
            "MESSAGE_ID", "__MONOTONIC_TIMESTAMP", "INVOCATION_ID", "MESSAGE"))
        kind = MESSAGE_IDS.get(identity)
        if kind and stamp.isdigit() and (kind != EXITED or "Main process exited" in message):
            moments.append(Moment(int(stamp[:20]) / 1e6, kind, invocation,
                                  printable(message.partition(": ")[2] if kind != STARTED else message)))
    return tuple(moments)


def _entries(unit, words, run):
    words = words + ["_PID=1", "UNIT=" + unit] + ["MESSAGE_ID=" + one for one in sorted(MESSAGE_IDS)]
    return journalctl.entries(words, MOST, ("MESSAGE", "MESSAGE_ID", "INVOCATION_ID"), run, LONGEST)


def _cursor(entries, otherwise):
    return journalctl.text(entries[-1], "__CURSOR") or otherwise if entries else otherwise
