import io
import os

from citadel.core import terminal


def test_a_live_line_is_drawn_on_a_terminal_only():
    for live, expected in ((True, "\r\x1b[Kup\r\x1b[Kit changed\n"), (False, "it changed\n")):
        out = io.StringIO()
        line = terminal.LiveLine(out, live)
        line.draw(lambda: "up")
        line.print_above("it changed")
        assert out.getvalue() == expected


def test_an_interruption_ends_the_pause_and_nothing_else():
    with terminal.Interruption() as interruption:
        assert interruption.pause(0.001) is True
        os.kill(os.getpid(), 15)
        assert interruption.pause(60) is False
        assert interruption.pause(60) is False
