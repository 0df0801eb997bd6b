import io

from citadel.core import terminal


def test_a_live_line_is_drawn_on_a_terminal_only():
    for live, expected in ((True, "\r\x1b[Kup\r\x1b[Kit changed\n"), (False, "it changed\n")):
        out = io.StringIO()
        line = terminal.LiveLine(out, live)
        line.draw(lambda: "up")
        line.print_above("it changed")
        assert out.getvalue() == expected
