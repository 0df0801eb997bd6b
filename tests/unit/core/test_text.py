import io
import json
from collections import namedtuple

import pytest

from citadel.core import terminal
from citadel.core import text as report


@pytest.mark.parametrize("text, expected", [
    pytest.param("all is well", "all is well", id="plain text stays as it is"),
    pytest.param("a\x1b[31mred\x07", "a\\x1b[31mred\\x07", id="escape sequences are shown, not obeyed"),
    pytest.param("first\nsecond\r\tthird", "first second  third", id="line ends and tabs become blanks"),
    pytest.param("user\u202etxt.exe", "usertxt.exe", id="bidi overrides are dropped"),
    pytest.param("in\u200bvisible\ufeff", "invisible", id="zero-width characters are dropped"),
    pytest.param("\x85\x9b31m", "\\x85\\x9b31m", id="C1 controls are shown"),
    pytest.param("\udcff", "\\udcff", id="a lone surrogate can be written to any stream"),
    pytest.param("Größe 10 µs", "Größe 10 µs", id="letters of other alphabets stay"),
    pytest.param("x" * 300, "x" * 199 + "…", id="a cut is marked"),
])
def test_printable(text, expected):
    assert report.printable(text) == expected


@pytest.mark.parametrize("seconds, text", [
    pytest.param(0, "0 s", id="nothing"),
    pytest.param(0.0014, "1 ms", id="milliseconds"),
    pytest.param(0.0002, "1 ms", id="something is not nothing"),
    pytest.param(0.254, "0.25 s", id="below a second"),
    pytest.param(0.996, "1.0 s", id="never 1.00 beside 1.0"),
    pytest.param(5.0, "5 s", id="no tenth where there is none"),
    pytest.param(5.26, "5.3 s", id="seconds with a tenth"),
    pytest.param(9.97, "10 s", id="from ten on whole seconds"),
    pytest.param(59.7, "1 min", id="rounding carries into the minute"),
    pytest.param(250, "4 min 10 s", id="minutes"),
    pytest.param(7200, "2 h", id="a zero part is left out"),
    pytest.param(273600, "3 d 4 h", id="days"),
    pytest.param(float("inf"), "for ever", id="systemd's infinity"),
])
def test_span(seconds, text):
    assert report.span(seconds) == text


@pytest.mark.parametrize("count, text", [
    pytest.param(0, "0 B", id="nothing"),
    pytest.param(1023, "1023 B", id="bytes"),
    pytest.param(1536, "1.5 KiB", id="a fraction"),
    pytest.param(8 * 2 ** 30, "8 GiB", id="the shipped memory limit"),
    pytest.param(3 * 2 ** 40, "3 TiB", id="the largest unit"),
    pytest.param(5000 * 2 ** 40, "5000 TiB", id="and beyond"),
])
def test_size(count, text):
    assert report.size(count) == text


def test_to_json_writes_a_named_tuple_as_an_object():
    point = namedtuple("Point", "x y")
    assert json.loads(report.to_json({"points": [point(1, (point(2, 3),))]})) == {"points": [
        {"x": 1, "y": [{"x": 2, "y": 3}]}]}


def test_to_json_knows_no_infinity():
    text = report.to_json({"a": float("inf"), "b": [1.5, float("nan")], "c": ("x",)})
    assert json.loads(text) == {"a": None, "b": [1.5, None], "c": ["x"]}
    assert text.endswith("}\n")


def test_a_tree_in_both_alphabets():
    branches = [("one", ["below", ""]), "", "two", ("three", [("deep", ["deeper"])])]
    assert terminal.Style(unicode=True).tree("root", branches) == [
        "root", "├─ one", "│  └─ below", "├─ two", "└─ three", "   └─ deep", "      └─ deeper"]
    assert terminal.Style(unicode=False).tree("root", branches) == [
        "root", "|- one", "|  `- below", "|- two", "`- three", "   `- deep", "      `- deeper"]


class Stream(io.StringIO):
    def __init__(self, terminal, encoding="utf-8"):
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    encoding = property(lambda self: self._encoding)

    def isatty(self):
        return self._terminal


@pytest.mark.parametrize("stream, environment, live, colour, unicode", [
    pytest.param(Stream(True), {"TERM": "xterm"}, True, True, True, id="a terminal"),
    pytest.param(Stream(False), {"TERM": "xterm"}, False, False, True, id="a pipe"),
    pytest.param(Stream(True), {"TERM": "dumb"}, False, False, True, id="a dumb terminal"),
    pytest.param(Stream(True), {}, False, False, True, id="no TERM at all is a dumb one"),
    pytest.param(Stream(True), {"TERM": "xterm", "NO_COLOR": "1"}, False, False, True, id="NO_COLOR"),
    pytest.param(Stream(True), {"TERM": "xterm", "NO_COLOR": ""}, True, True, True, id="an empty NO_COLOR"),
    pytest.param(Stream(True, "ascii"), {"TERM": "xterm"}, True, True, False, id="a terminal that knows ASCII only"),
    pytest.param(Stream(False, "no-such"), {}, False, False, False, id="an encoding that Python does not know"),
])
def test_style_of(stream, environment, live, colour, unicode):
    style = terminal.style_of(stream, environment)
    assert (style.live, style.colour, style.unicode) == (live, colour, unicode)


def test_paint_only_where_colour_is_wanted():
    assert terminal.Style(colour=True).paint("down", "bad") == "\x1b[31mdown\x1b[0m"
    assert terminal.Style().paint("down", "bad") == "down"


def test_table_columns():
    assert terminal.table([("a", "bbb", "tail"), ("aaaa", "b", "")]) == ["a     bbb  tail", "aaaa  b"]
    assert terminal.table([]) == []
