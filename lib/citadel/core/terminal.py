"""What a terminal can show: colours, trees, tables, and a line that is redrawn."""


class Style:
    """What a stream can show: `live` a line that is redrawn, `colour`, and the branches of a tree."""

    CODES = {"good": "32", "bad": "31", "uneasy": "33", "faint": "2", "strong": "1"}

    def __init__(self, live=False, colour=False, unicode=True):
        self.live, self.colour, self.unicode = live, colour, unicode

    def paint(self, text, how):
        """`text` in the colour of a meaning: good, bad, uneasy, faint, strong."""
        return "\x1b[%sm%s\x1b[0m" % (self.CODES[how], text) if self.colour and text else text

    def tree(self, heading, branches):
        """The lines of a tree. A branch is (text, branches beneath it) or a text alone; an empty one is left out."""
        return [heading] + self._branches(branches, "")

    def _branches(self, branches, indent):
        fork, last, down = ("├─ ", "└─ ", "│  ") if self.unicode else ("|- ", "`- ", "|  ")
        lines = []
        branches = [branch for branch in branches if branch]
        for number, branch in enumerate(branches, 1):
            text, beneath = (branch, ()) if isinstance(branch, str) else branch
            at_end = number == len(branches)
            lines.append(indent + (last if at_end else fork) + text)
            lines += self._branches(beneath, indent + ("   " if at_end else down))
        return lines


def style_of(stream, environment):
    """The Style for a stream. Colour and redrawing only on a terminal, and neither with NO_COLOR (no-color.org: set and
    not empty) nor with TERM=dumb; ASCII branches where the stream's encoding has no others."""
    try:
        "│├└─…".encode(getattr(stream, "encoding", None) or "ascii")
        unicode = True
    except (UnicodeError, LookupError):
        unicode = False
    terminal = hasattr(stream, "isatty") and stream.isatty()
    rich = bool(terminal and environment.get("TERM", "dumb") != "dumb" and not environment.get("NO_COLOR"))
    return Style(live=rich, colour=rich, unicode=unicode)


def table(rows):
    """Rows of texts in columns as wide as needed; the last column is not padded, trailing blanks are removed."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    return ["  ".join([text.ljust(width) for text, width in zip(row, widths)] + [row[-1]]).rstrip() for row in rows]


class LiveLine:
    """The one line that is redrawn, on a terminal that can do so; nothing in a pipe."""

    def __init__(self, out, live):
        self._out, self._live = out, live

    def draw(self, text):
        if self._live:
            self._out.write("\r\x1b[K" + text())
            self._out.flush()

    def clear(self):
        self.draw(lambda: "")

    def print_above(self, text):
        self.clear()
        self._out.write(text + "\n")
        self._out.flush()
