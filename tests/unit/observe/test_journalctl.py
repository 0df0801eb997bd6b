"""What the journal says of a run, and who says it."""

import json

from citadel.core.clock import Now
from citadel.core.run import Answer
from citadel.model import Line
from citadel.observe import journalctl

NOW = Now(1.8e9, 100.0, 100.0, "b-1")
RUN = "a" * 32


def entry(message, pid="77", priority="6"):
    return json.dumps({"MESSAGE": message, "PRIORITY": priority, "_PID": pid, "_BOOT_ID": "b1",
                       "__MONOTONIC_TIMESTAMP": "90000000"}, separators=(",", ":")) + "\n"


def lines(*entries, count=30):
    """As `last_lines` reads these entries, of which journalctl's answer keeps as much as it was asked to."""
    def run(argv, timeout, cap):
        out = "".join(entries)
        return Answer(tuple(argv), 0, out[:cap], "", 0.01, len(out) > cap)
    return journalctl.last_lines("x.service", RUN, count, NOW, run)


def test_who_said_it_is_kept():
    assert lines(entry("x.service: Failed with result 'oom-kill'.", "1", "4"), entry("killed by the OOM killer")) == (
        Line(4, 10.0, "x.service: Failed with result 'oom-kill'.", True),
        Line(6, 10.0, "killed by the OOM killer", False))


def test_the_newest_line_is_read_however_long_those_before_it_are():
    long = entry([27] + [200] * 4095)
    assert lines(*[long] * 29, entry("the newest"))[-1].text == "the newest"


def test_credentials_are_redacted():
    """These lines go into alerts, mails and to a hook."""
    said = lines(entry("ConnectionError: redis://default:hunter2@127.0.0.1:6379/0 (token=sk-abcdefghijklmnopqrstuv)"))
    assert said[0].text == "ConnectionError: redis://[redacted]@127.0.0.1:6379/0 (token=[redacted]"
