import json

import pytest

from citadel.core.clock import Now
from citadel.core.run import Answer
from citadel.observe import moments

EXITED = "98e322203f7a4ed290d09fe03c09fe15"
STARTED = "39f53479d3a045ac8e11786248231fbf"
BOOT = "0168d6b8c4be40c59a6360196ae89d3f"
NOW = Now(wall=1.8e9, monotonic=4300.0, boottime=4300.0, boot_id="0168d6b8-c4be-40c5-9a63-60196ae89d3f")


def entry(**fields):
    return dict({"__CURSOR": "s=1;i=4c", "_BOOT_ID": BOOT, "__MONOTONIC_TIMESTAMP": "4284502221",
                 "INVOCATION_ID": "c9a0", "MESSAGE_ID": EXITED,
                 "MESSAGE": "x.service: Main process exited, code=killed, status=9/KILL"}, **fields)


@pytest.mark.parametrize("given, expected", [
    pytest.param(entry(), [(4284.502221, "exited", "c9a0", "Main process exited, code=killed, status=9/KILL")],
                 id="the main process exited"),
    pytest.param(entry(MESSAGE="x.service: Control process exited, code=exited, status=1/FAILURE"), [],
                 id="an ExecStartPre= that exits is not the service's end"),
    pytest.param(entry(MESSAGE_ID=STARTED, MESSAGE="Started x: the gateway."),
                 [(4284.502221, "started", "c9a0", "Started x: the gateway.")], id="a run began"),
    pytest.param(entry(MESSAGE_ID="0" * 32), [], id="a message of another kind"),
    pytest.param(entry(MESSAGE_ID=None), [], id="no message id"),
    pytest.param(entry(__MONOTONIC_TIMESTAMP="soon"), [], id="a time that is none"),
    pytest.param(entry(MESSAGE=[ord(c) for c in "x.service: Main process exited\x1b[2J"]),
                 [(4284.502221, "exited", "c9a0", "Main process exited\\x1b[2J")], id="bytes with an escape sequence"),
])
def test_parse(given, expected):
    assert [tuple(moment) for moment in moments.parse([given])] == expected


def answering(*entries, **how):
    asked = []

    def run(argv, timeout, **_):
        asked.append(argv)
        out = "".join(json.dumps(one) + "\n" for one in entries)
        return Answer(tuple(argv), how.get("code", 0), out, "", 0.0, False)
    return run, asked


def test_reading_on_from_a_cursor():
    run, asked = answering(entry(__CURSOR="s=1;i=3", __MONOTONIC_TIMESTAMP="4280000000"), entry(),
                           entry(__CURSOR="s=1;i=50", __MONOTONIC_TIMESTAMP="4289000000"))
    found, cursor = moments.after("s=1;i=3", "x.service", run=run)
    assert ([moment.time for moment in found], cursor) == ([4284.502221, 4289.0], "s=1;i=50")
    assert "--cursor=s=1;i=3" in asked[0] and "UNIT=x.service" in asked[0] and "_PID=1" in asked[0]


@pytest.mark.parametrize("code", [1, -9, 127])
def test_a_journal_that_fails_tells_nothing_and_keeps_the_place(code):
    run, _ = answering(code=code)
    assert moments.after("s=1;i=3", "x.service", run=run) == ((), "s=1;i=3")
    assert moments.end_of_journal(run=run) == ""
    assert moments.within(60, "x.service", NOW, run=run) == ()


def test_within_leaves_out_what_is_older_or_of_another_boot():
    run, _ = answering(entry(__MONOTONIC_TIMESTAMP="4200000000"), entry(), entry(_BOOT_ID="f" * 32))
    assert [moment.time for moment in moments.within(60, "x.service", NOW, run=run)] == [4284.502221]
