"""What Citadel asks the journal, and how the answer reads.

A journal that is stopped, rotated or unreadable answers "nothing known", never an error. Queries select by indexed
fields, which costs 4 ms in a journal of a million entries, where `-u` or `-b` read on for seconds. Only fields that
begin with `_` are journald's word (systemd.journal-fields(7)); an application can forge the others, so PID 1's are
asked for with _PID=1.
"""

from citadel.core.run import run as run_program
from citadel.model import Job, Line

TIMEOUT = 5
LONGEST = 24576                         # bytes of one entry: 4 KiB of text, each byte written as a number and a comma
LAST_WORDS, RECENT = 10, 600            # lines, and the seconds for which they may explain an end
JOB_RESULTS = ("done", "failed", "timeout", "dependency", "canceled", "skipped")


def last_job(unit, now, run=run_program):
    """The unit's newest finished job. `now` is `Clock.now`'s answer."""
    found = entries(["_PID=1", "UNIT=" + unit] + ["JOB_RESULT=" + word for word in JOB_RESULTS], 1,
                    ("JOB_TYPE", "JOB_RESULT"), run)
    return Job(text(found[-1], "JOB_TYPE"), text(found[-1], "JOB_RESULT"), _age(found[-1], now)) if found else Job()


def last_lines(unit, invocation, count, now, run=run_program):
    """The newest `count` lines of one run of a unit, PID 1's and its own, oldest first, credentials redacted. Where the
    program said nothing in that run (its start was refused, seen on 257, or it died at once), what it said before."""
    found = ()
    if invocation and not set(invocation) - frozenset("0123456789abcdef"):
        found = entries(["_SYSTEMD_INVOCATION_ID=" + invocation, "+", "_PID=1", "INVOCATION_ID=" + invocation], count,
                        ("MESSAGE", "PRIORITY", "_PID"), run)
    if all(text(entry, "_PID") == "1" for entry in found):
        before = entries(["_SYSTEMD_UNIT=" + unit], LAST_WORDS, ("MESSAGE", "PRIORITY"), run)
        found = tuple(entry for entry in before if (_age(entry, now) or 0) < RECENT) + found
    from citadel.core.redaction import excerpt  # a healthy check need not load it
    return tuple(Line(priority(entry), _age(entry, now), excerpt(text(entry, "MESSAGE")), text(entry, "_PID") == "1")
                 for entry in found)


def entries(matches, count, fields, run, longest=LONGEST):
    """The newest `count` entries that match, of at most `longest` bytes each: dicts with these fields, oldest first."""
    answer = run(["journalctl", "--no-pager", "--quiet", "--output=json", "--lines=%d" % count,
                  "--output-fields=" + ",".join(fields)] + matches, TIMEOUT, cap=count * longest)
    return parse_entries(answer.out) if answer.ok else ()


def parse_entries(output):
    """`journalctl -o json`: one object a line. What is cut short, not JSON or not an object is passed over."""
    import json
    found = []
    for row in output.split("\n"):
        try:
            found.append(json.loads(row))
        except (ValueError, RecursionError):
            continue
    return tuple(entry for entry in found if isinstance(entry, dict))


def text(entry, field):
    """A field's text: a string, a list of byte values (anything with ESC or not UTF-8), null (over 4 KiB), or an
    array of these where the field was repeated, of which the last counts."""
    value = entry.get(field)
    if isinstance(value, list):
        if value and all(isinstance(byte, int) and 0 <= byte <= 255 for byte in value):
            return bytes(value).decode("utf-8", "backslashreplace")
        return text({field: value[-1]}, field) if value and not isinstance(value[-1], list) else ""
    return value if isinstance(value, str) else ""


def priority(entry):
    word = text(entry, "PRIORITY")
    return int(word) if word in tuple("01234567") else 6


def _age(entry, now):
    """Seconds since the entry: by the monotonic clock within the same boot, else by the wall clock."""
    if text(entry, "_BOOT_ID") == now.boot_id.replace("-", ""):
        stamp, clock = text(entry, "__MONOTONIC_TIMESTAMP"), now.monotonic
    else:
        stamp, clock = text(entry, "__REALTIME_TIMESTAMP"), now.wall
    return max(0.0, clock - int(stamp) / 1e6) if stamp.isdigit() and len(stamp) < 20 else None
