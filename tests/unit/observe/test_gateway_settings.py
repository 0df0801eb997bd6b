import os

import pytest

from citadel.model import Problem
from citadel.observe import gateway_settings
from citadel.observe.gateway_settings import Expected, judge, parse
from citadel.settings import file as settings_file

# The plain subset. The values were recorded from PyYAML 6.0 (safe_load, flattened): what we claim to have read must
# mean the same to the gateway.
READ = (
    pytest.param("", {}, id="an empty file"),
    pytest.param("# nothing\n\n   # at all", {}, id="comments only"),
    pytest.param("---\n# c\na: 1\n...\n# after\n", {"a": 1}, id="one document between its marks"),
    pytest.param("\ufeffa: 1", {"a": 1}, id="a byte order mark"),
    pytest.param("a: 1\r\nb:\r\n  c: x\r\n", {"a": 1, "b.c": "x"}, id="lines that end as on Windows"),
    pytest.param("server:\n  host: 127.0.0.1\n  port: 8002\nlast: x\n",
                 {"server.host": "127.0.0.1", "server.port": 8002, "last": "x"}, id="a mapping in a mapping"),
    pytest.param("a:\n b:\n     c: 1\n d: 2\n", {"a.b.c": 1, "a.d": 2}, id="levels of different width"),
    pytest.param("a:\nb: ~\nc: null\nd: # e\n", {"a": None, "b": None, "c": None, "d": None}, id="nothing, four ways"),
    pytest.param("a:\n  8002\n", {"a": 8002}, id="a value on the next line"),
    pytest.param("a: 'it''s'\nb: ''\nc: 'x # y: z'\nd: 'a\\n'",
                 {"a": "it's", "b": "", "c": "x # y: z", "d": "a\\n"}, id="single quotes"),
    pytest.param("'a b': 1\n\"c\": 2\n'd' : 3\ne: \"\" # f\n", {"a b": 1, "c": 2, "d": 3, "e": ""}, id="double quotes"),
    pytest.param("a b  : 1\nc-d_e: 2\n-f: 3\n?g: 4\n:h: 5\n", {"a b": 1, "c-d_e": 2, "-f": 3, "?g": 4, ":h": 5},
                 id="odd plain keys"),
    pytest.param("a: b#c # d\nb: x:y\nc: -x\nd: ?x\ne: a, [b]\nf: it's \"so\"\n",
                 {"a": "b#c", "b": "x:y", "c": "-x", "d": "?x", "e": "a, [b]", "f": "it's \"so\""},
                 id="odd plain texts"),
    pytest.param("a: http://127.0.0.1:11434/v1?x=1#y\n", {"a": "http://127.0.0.1:11434/v1?x=1#y"}, id="a URL"),
    pytest.param("a: yes\nb: No\nc: ON\nd: off\ne: true\nf: FALSE\ng: tRUE\nh: y\n",
                 {"a": True, "b": False, "c": True, "d": False, "e": True, "f": False, "g": "tRUE", "h": "y"},
                 id="truth, and what is none"),
    pytest.param("a: 8002\nb: -1\nc: +1\nd: 8_002\ne: 010\nf: 08\ng: 0x1F\nh: 0b11\ni: 1:30\nj: 0o17\nk: 0\nl: -0\n",
                 {"a": 8002, "b": -1, "c": 1, "d": 8002, "e": 8, "f": "08", "g": 31, "h": 3, "i": 90, "j": "0o17",
                  "k": 0, "l": 0}, id="whole numbers of YAML 1.1"),
    pytest.param("a: 1:60\nb: 01:30\nc: 1:2:3\nd: -1:30\ne: 1:\u0663\n",
                 {"a": "1:60", "b": "01:30", "c": 3723, "d": -90, "e": "1:\u0663"}, id="base 60"),
    pytest.param("a: 1.5\nb: .5\nc: -.5\nd: 1e5\ne: 1.5e+3\nf: 1.\ng: 1.2.3\nh: 127.0.0.1:80\ni: .\nj: +\nk: 1.5e3\n",
                 {"a": 1.5, "b": 0.5, "c": "-.5", "d": "1e5", "e": 1500.0, "f": 1.0, "g": "1.2.3", "h": "127.0.0.1:80",
                  "i": ".", "j": "+", "k": "1.5e3"}, id="fractions, and what is none"),
    pytest.param("a: ${PORT:-8002}\nb: $HOME\n", {"a": "${PORT:-8002}", "b": "$HOME"}, id="variables are texts"),
    pytest.param("a: 80 02\nb: 8002 # c\n", {"a": "80 02", "b": 8002}, id="two numbers are a text"),
)


@pytest.mark.parametrize("text, values", READ)
def test_is_read_as_pyyaml_reads_it(text, values):
    document = parse(text)
    assert {path: found.value for path, found in document.values.items()} == values
    assert {path: type(found.value) for path, found in document.values.items()} == {
        path: type(value) for path, value in values.items()}
    assert document.problems == ()
    assert document.unjudged == ()


# What lies beyond: its line, a word of what is said, and what is still judged around it.
AROUND = "before: 1\n%s\nafter: 2\n"
BEYOND = (
    pytest.param("a: &x 5", 2, "an anchor", ("before", "after"), id="an anchor at a value"),
    pytest.param("a: &x\n  b: 5", 2, "an anchor", ("before", "after"), id="an anchor at a mapping"),
    pytest.param("a: *x", 2, "an alias", ("before", "after"), id="an alias"),
    pytest.param("a: !!int \"5\"", 2, "a tag", ("before", "after"), id="a tag"),
    pytest.param("a: !env PORT", 2, "a tag", ("before", "after"), id="a tag of their own"),
    pytest.param("a: |\n  port: 1\n before: 3\n", 2, "a block of text", ("before", "after"), id="a block of text"),
    pytest.param("a: >-\n\n  # x\n  y: [\n", 2, "a block of text", ("before", "after"), id="a folded block"),
    pytest.param("a:\n- |\n  x\n- y", 3, "a list", ("before", "after"), id="a block in a list"),
    pytest.param("a:\n# c\n\n    # d\n  - x\n", 6, "a list", ("before", "after"),
                 id="comments between a key and its list"),
    pytest.param("a:\n- x\n- y\nb: 1", 3, "a list", ("before", "b", "after"), id="a list as deep as its key"),
    pytest.param("a:\n  - b: 1\n    c: 2\n  -   d: 3\n      e: 4\n  -\n  -\n    f: 5", 3, "a list", ("before", "after"),
                 id="a list of mappings"),
    pytest.param("a:\n  - - b\n    - c\n  - - - d", 3, "a list", ("before", "after"), id="lists in lists"),
    pytest.param("a: [x, 'y, z', \"w\", 1, yes , ~]", 2, "a list in brackets", ("before", "after"),
                 id="a list in brackets"),
    pytest.param("a: [http://x:1/y, a b, -1,]", 2, "a list in brackets", ("before", "after"), id="URLs in brackets"),
    pytest.param("a: []", 2, "a list in brackets", ("before", "after"), id="empty brackets"),
    pytest.param("a: one\n  two", 2, "several lines", ("before", "after"), id="a plain text over two lines"),
    pytest.param("a: 'one\ntwo: 3\n  '", 2, "several lines", ("before", "after"), id="a quoted text over three lines"),
    pytest.param('a: "one\\\n  \\" b: 1\n"', 2, "several lines", ("before", "after"), id="an escaped line end"),
    pytest.param("a: {b: 1, \"c\":[2]}", 2, "braces", ("before", "after"), id="a mapping in braces"),
    pytest.param("a: [1,\n2, # ]\n ']'\n]", 2, "in brackets", ("before", "after"), id="brackets over four lines"),
    pytest.param("a: [b: c]", 2, "in brackets", ("before", "after"), id="a pair in brackets"),
    pytest.param("a: [[1]]", 2, "in brackets", ("before", "after"), id="brackets in brackets"),
    pytest.param("<<: *x", 2, "merges", ("before", "after"), id="a merge key"),
    pytest.param('a: "\\/"', 2, "escape", ("before", "after"), id="an escape of YAML 1.2"),
    pytest.param('a: "\\x41\\n\\t\\\\\\"\\u263a\\U0001F600\\e"', 2, "escape", ("before", "after"),
                 id="escapes of all kinds"),
    pytest.param('"c\\x41": 2', 2, "escape", ("before", "after"), id="an escape in a key"),
    pytest.param('a: "\\ud83d"', 2, "escape", ("before", "after"), id="half a character"),
    pytest.param("8002: x", 2, "no text", ("before", "after"), id="a number as key"),
    pytest.param("on:\n  port: 1", 2, "no text", ("before", "after"), id="on as key"),
    pytest.param("server.port: 1", 2, "a dot", ("before", "after"), id="a dot in a key"),
    pytest.param("'': 1", 2, "empty", ("before", "after"), id="an empty key"),
    pytest.param("? a\n: b", 2, "another kind", (), id="a complex key"),
    pytest.param("&x a: b", 2, "another kind", (), id="an anchor at a key"),
    pytest.param("[a]: b", 2, "another kind", (), id="a list as key"),
    pytest.param("a: &x !y &z 1", 2, "an anchor", (), id="an anchor too many"),
    pytest.param("a:\n\tb: 1", 3, "a tab", (), id="a tab in the indentation"),
    pytest.param("a:\t1", 2, "a tab", (), id="a tab before a value"),
    pytest.param("a: 1\t# x", 2, "a tab", (), id="a tab behind a value"),
    pytest.param("---\na: 1", 2, "more than one document", (), id="two documents"),
    pytest.param("a: [!x 1,\n2]", 2, "in brackets", (), id="a tag in brackets over two lines"),
    pytest.param("a: 'b'#c", 2, "right after a value", (), id="a comment that touches a value"),
    pytest.param("a: 1\u2028", 2, "U+2028", (), id="a line separator that few know"),
    pytest.param("a: 1\rb: 2", 2, "U+000D", (), id="a lone carriage return"),
)


@pytest.mark.parametrize("middle, line, what, judged", BEYOND)
def test_what_lies_beyond_is_named_and_left_unjudged(middle, line, what, judged):
    document = parse(AROUND % middle)
    assert document.problems == ()
    assert document.unjudged[0].line == line
    assert what in document.unjudged[0].why
    assert "is not checked" in document.unjudged[0].why
    assert tuple(document.values) == judged


@pytest.mark.parametrize("text, what", [
    pytest.param("%YAML 1.1\n---\na: 1", "a directive", id="a directive"),
    pytest.param("--- {a: 1}", "text beside ---", id="a document beside its mark"),
    pytest.param("a: 1\n...\nb: 1", "more than one document", id="something behind the end"),
    pytest.param("- " * 61 + "a", "60 levels", id="too deep"),
])
def test_a_whole_file_beyond_us(text, what):
    document = parse(text)
    assert document.values == {} and document.problems == ()
    assert what in document.unjudged[-1].why and "the whole file is not checked" in document.unjudged[-1].why


@pytest.mark.parametrize("text", [
    pytest.param("".join(" " * n + "k" * 1000 + ":\n" for n in range(5)) + "     a: 1", id="long keys within long keys"),
    pytest.param("k" * 1001 + ": 1", id="a very long key"),
    pytest.param("".join(" " * n + "kkkk:\n" for n in range(50)) + "".join("%sa%d: 1\n" % (" " * 50, n) for n in range(
        4000)), id="many values, deep down"),
])
def test_a_path_that_is_longer_than_any_that_is_asked_for_is_not_kept(text):
    assert parse(text) == ({}, (), ())


@pytest.mark.parametrize("text", ["- a", "a text", "[1, 2]", "'x'"])
def test_a_file_that_is_no_mapping_is_named(text):
    assert "no mapping at the top level" in parse(text).unjudged[0].why


# Real errors; PyYAML raises for each of them, except for keys given twice.
WRONG = (
    pytest.param("a:\n    b: 1\n  c: 2", 3, "indented more", id="a level that was never opened"),
    pytest.param("a: 1\n  b: 2", 2, "indented more", id="a mapping below a value"),
    pytest.param("a: 'x'\n  b: 2", 2, "indented more", id="a mapping below a quoted value"),
    pytest.param("  a: 1\nb: 2", 2, "indented less", id="less than the first line"),
    pytest.param("a: 1\nb", 2, "neither 'key: value'", id="a word alone"),
    pytest.param("a: 1\nb:2", 2, "neither 'key: value'", id="no space behind the colon"),
    pytest.param("a: b: c", 1, "a second ': '", id="two colons"),
    pytest.param("a: b:", 1, "a second ': '", id="a colon at the end"),
    pytest.param("a: - b", 1, "on the line of its key", id="a list on the line of its key"),
    pytest.param("a: 1\n- b", 2, "among the keys", id="an item among keys"),
    pytest.param("a: 'b\nc: 1\n", 1, "never closed", id="a single quote"),
    pytest.param('x: 1\na: "b\\"\n', 2, "never closed", id="a double quote"),
    pytest.param("a: [1, 2\nb: 1", 1, "never closed", id="a bracket"),
    pytest.param("a: 'b' c", 1, "something stands behind", id="a word behind a quoted text"),
    pytest.param("a: [1] 2", 1, "something stands behind", id="a word behind brackets"),
    pytest.param("a: @b", 1, "'@' cannot begin", id="an at sign"),
    pytest.param("a: `b`", 1, "'`' cannot begin", id="a backtick"),
    pytest.param("a: %b", 1, "'%' cannot begin", id="a percent sign"),
    pytest.param('a: "C:\\dir"', 1, "an unknown or incomplete escape", id="a backslash in double quotes"),
    pytest.param('a: "\\x4"', 1, "incomplete escape", id="half an escape"),
    pytest.param("a: 1\nb: \x00", 2, "U+0000", id="a NUL"),
    pytest.param("a: \x1b[31m", 1, "U+001B", id="an escape sequence"),
)


@pytest.mark.parametrize("text, line, why", WRONG)
def test_a_real_error_is_a_problem_and_nothing_is_judged(text, line, why):
    document = parse(text)
    problem, = document.problems
    assert problem.line == line
    assert why in problem.why
    assert document.values == {}


def test_a_key_given_twice_is_a_problem_and_only_it_is_left_out():
    document = parse("port: 1\nserver:\n  a: 1\nport: 2\n'server': x\nb: 3\n")
    assert [(problem.line, problem.key, problem.why) for problem in document.problems] == [
        (4, "port", "there twice, first in line 1"), (5, "server", "there twice, first in line 2")]
    assert list(document.values) == ["b"]


def test_a_secret_in_a_broken_file_is_not_quoted():
    document = parse("redis:\n  url: 'redis://:hunter2@127.0.0.1\n")
    assert "hunter2" not in repr(document)


# --- what must agree --------------------------------------------------------------------------------------------------

UNIT = Expected(8002, 8, "production", {"redis": ("127.0.0.1", 6379), "ollama": ("127.0.0.1", 11434)})

AGREES = (
    pytest.param("", id="an empty file"),
    pytest.param("server:\n  port: 8002\n  workers: 8\nenvironment: production\n", id="all as in the unit"),
    pytest.param('port: "8002"', id="the port as a text: whoever wants a number will convert it"),
    pytest.param("port: 8_002", id="an underscore, which Python drops as well"),
    pytest.param("workers: 08", id="08: a text to YAML 1.1, 8 to YAML 1.2"),
    pytest.param("workers: 010", id="010: 8 to YAML 1.1"),
    pytest.param("workers: 0o10", id="0o10: 8 to YAML 1.2"),
    pytest.param("workers: 8.0", id="8.0"),
    pytest.param("port:\nworkers: ~\nenvironment:", id="keys without a value"),
    pytest.param("port: ${PORT}\nenvironment: '{{ env }}'\nredis: {}\n", id="templates are not for us to fill in"),
    pytest.param("environment: Production", id="a capital"),
    pytest.param("environment:\n  name: test", id="an environment that is a mapping"),
    pytest.param("port: &p 9\nworkers: *p", id="what lies beyond us is left alone"),
    pytest.param("redis:\n  url: redis://:secret@localhost:6379/0", id="localhost, with a password"),
    pytest.param("redis:\n  url: redis://127.0.0.1", id="redis' own port left out"),
    pytest.param("redis:\n  url: unix:///run/redis.sock", id="a socket"),
    pytest.param("redis:\n  host: cache.internal\n  port: 6379", id="a host by name"),
    pytest.param("ollama:\n  base_url: http://localhost:11434/v1", id="Ollama's base_url"),
    pytest.param("ollama:\n  host: 0.0.0.0:11434", id="OLLAMA_HOST as Ollama itself takes it"),
    pytest.param("ollama:\n  host: '[::1]'\n  port: 11434", id="IPv6 loopback"),
    pytest.param("ollama:\n  url: http://127.0.0.1", id="a URL without a port"),
    pytest.param("ollama:\n  url: [http://10.0.0.1:1]", id="a list of them"),
)


@pytest.mark.parametrize("text", AGREES)
def test_agrees(text):
    assert judge(parse(text), UNIT, "p.yaml") == ()


DISAGREES = (
    pytest.param("server:\n  port: 9000", "server.port", 2, "is 9000, but the unit listens on 8002", id="another port"),
    pytest.param('port: "9000"', "port", 1, 'is the text "9000", but the unit listens on 8002', id="a port as a text"),
    pytest.param("port: 1:30", "port", 1, "is 1:30, which is 90 to YAML 1.1, but", id="base 60"),
    pytest.param("port: 020002", "port", 1, "is 020002, which is 8194 to YAML 1.1, but", id="octal"),
    pytest.param("port: yes", "port", 1, "is yes, which is a truth value to YAML", id="a truth value as a port"),
    pytest.param("port: 8002.5", "port", 1, "is 8002.5, but", id="a fraction"),
    pytest.param("gateway:\n  workers: 4", "gateway.workers", 2, "is 4, but the unit starts 8", id="fewer workers"),
    pytest.param("workers: 09", "workers", 1, "is the text 09, but", id="09"),
    pytest.param("environment: staging", "environment", 1, "is the text staging, but the unit says production",
                 id="another environment"),
    pytest.param("environment: yes", "environment", 1, "is yes, which is a truth value to YAML, but",
                 id="yes as an environment"),
    pytest.param("redis:\n  url: redis://:secret@127.0.0.1:6380/0", "redis.url", 2,
                 "is 127.0.0.1:6380, but redis is probed at 127.0.0.1:6379", id="another port of redis"),
    pytest.param("redis:\n  url: redis://:secret@cache:6380/0", "redis.url", 2,
                 "is port 6380, but redis is probed at 127.0.0.1:6379", id="a host by name on another port"),
    pytest.param("redis:\n  host: 10.0.0.9", "redis.host", 2, "is 10.0.0.9, but", id="another host of redis"),
    pytest.param("redis:\n  port: 6380", "redis.port", 2, "is 6380, but redis is probed on 6379", id="its port alone"),
    pytest.param("ollama:\n  base_url: http://10.0.0.9:11434", "ollama.base_url", 2, "is 10.0.0.9:11434, but",
                 id="another host of Ollama"),
    pytest.param("ollama:\n  host: http://[::2]:11434", "ollama.host", 2, "is [::2]:11434, but", id="IPv6"),
)


@pytest.mark.parametrize("text, key, line, why", DISAGREES)
def test_disagrees(text, key, line, why):
    problem, = judge(parse(text), UNIT, "p.yaml")
    assert (problem.file, problem.line, problem.key) == ("p.yaml", line, key)
    assert why in problem.why
    assert "secret" not in problem.why


def test_what_the_unit_does_not_say_is_not_compared():
    text = "port: 1\nworkers: 2\nenvironment: x\nredis:\n  port: 3\n"
    assert judge(parse(text), Expected(None, None, None, {}), "p.yaml") == ()


def test_errors_and_contradictions_come_in_the_order_of_their_lines():
    found = judge(parse("a: 1\nport: 9000\na: 2\nworkers: 1\n"), UNIT, "p.yaml")
    assert [(problem.line, problem.key) for problem in found] == [(2, "port"), (3, "a"), (4, "workers")]


def test_control_characters_do_not_reach_a_complaint():
    problem, = judge(parse('environment: "\\e[31m" \nport: \u202e2008'), UNIT, "p.yaml")[:1]
    assert problem.why.isprintable()
    problem, = judge(parse("environment: \u202enoitcudorp"), UNIT, "p.yaml")
    assert problem.why.isprintable()


def test_a_long_value_is_cut_in_a_complaint():
    problem, = judge(parse("environment: " + "x" * 1000), UNIT, "p.yaml")
    assert len(problem.why) < 120


# --- what the unit says -----------------------------------------------------------------------------------------------

EXEC = "{ path=/opt/citadel/venv/bin/uvicorn ; argv[]=%s ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; " \
       "pid=0 ; code=(null) ; status=0/0 }"
SAYS = (
    pytest.param("uvicorn a:app --host 127.0.0.1 --port 8002 --workers 8",
                 "CITADEL_ENVIRONMENT=production ENVIRONMENT=production PYTHONUNBUFFERED=1", (8002, 8, "production"),
                 id="the shipped unit"),
    pytest.param("uvicorn a:app --port=8002 --workers=8", "", (8002, 8, None), id="options with ="),
    pytest.param("uvicorn a:app --port 1 --port 2", "", (2, None, None), id="the last one counts"),
    pytest.param("uvicorn a:app --port ${PORT} --workers=${N}", "PORT=8003 \"N=4\"", (8003, 4, None), id="variables"),
    pytest.param("uvicorn a:app --port $PORT", "PORT=8003", (8003, None, None), id="a variable without braces"),
    pytest.param("uvicorn a:app --port ${PORT}", "", (None, None, None), id="a variable from elsewhere"),
    pytest.param("uvicorn a:app", "UVICORN_PORT=8004 WEB_CONCURRENCY=3 ENV=test", (8004, 3, "test"),
                 id="uvicorn's own variables"),
    pytest.param("uvicorn a:app --port", "", (None, None, None), id="an option without its value"),
    pytest.param("uvicorn a:app --port x", "'A B=c d' ENVIRONMENT='two words'", (None, None, "two words"),
                 id="quoted variables, and a port that is none"),
)


@pytest.mark.parametrize("argv, environment, expected", SAYS)
def test_what_the_unit_says(argv, environment, expected):
    found = gateway_settings.expected_from_exec(EXEC % argv, environment, {"redis": ("127.0.0.1", 6379)})
    assert found[:3] == expected
    assert found.dependencies == {"redis": ("127.0.0.1", 6379)}


@pytest.mark.parametrize("text", ["", "{ path=/x }", "argv[]=", "\\", "'"])
def test_a_unit_without_a_command_says_nothing(text):
    assert gateway_settings.expected_from_exec(text, text) == Expected(None, None, None, {})


# --- the file ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def yaml(tmp_path):
    return tmp_path / "production.yaml"


def test_a_file_is_read_and_named(yaml):
    yaml.write_text("port: 1\nport: 2\n")
    assert gateway_settings.read(str(yaml)).problems == (
        Problem(str(yaml), 2, "port", "there twice, first in line 1"),)


SERVICE = settings_file.parse("[service a.service]\ndepends = redis\n", "f").services[0]
UNCHECKED = (
    pytest.param("port: 1\nmodels: [a, b]\nlog: &x\n  file: y\n", [], id="what nobody compares is not mentioned"),
    pytest.param("redis: {url: x}\n", [":1: redis: a mapping in braces: "], id="a mapping that may hold such a key"),
    pytest.param("a: 1\nserver:\n  port: *p\n  workers: [1]\n", [":3: server.port: an alias: ",
                                                                ":4: server.workers: a list in brackets: "],
                 id="the key itself"),
    pytest.param("server.port: 1\n", [":1: a key that is empty, has a dot in it, merges or is no text: "],
                 id="a key that may be any"),
    pytest.param("a: 1\n---\nb: 2\n", [":2: more than one document, or text beside ---: "], id="the whole file"),
    pytest.param("cache: {url: x}\n", [], id="a dependency that it does not have"),
)


@pytest.mark.parametrize("text, expected", UNCHECKED)
def test_what_hides_a_key_that_is_compared_is_said(yaml, text, expected):
    yaml.write_text(text)
    lines = gateway_settings.unchecked((SERVICE._replace(settings=str(yaml)),))
    assert [line.startswith(str(yaml) + place) for line, place in zip(lines, expected)] == [True] * len(expected)
    assert len(lines) == len(expected)
    assert all("is not checked" in line for line in lines)


def test_a_missing_file_is_none(yaml):
    assert gateway_settings.read(str(yaml)) is None


def test_a_file_that_its_owner_lets_others_write_is_still_read(yaml):
    yaml.write_text("port: 1\n")
    yaml.chmod(0o666)
    assert gateway_settings.read(str(yaml)).values["port"].value == 1


def test_a_link_is_left_unjudged(yaml, tmp_path):
    (tmp_path / "real.yaml").write_text("port: 1\n")
    yaml.symlink_to(tmp_path / "real.yaml")
    document = gateway_settings.read(str(yaml))
    assert (document.values, document.problems) == ({}, ())
    assert "symbolic link" in document.unjudged[0].why


def test_a_fifo_is_a_problem_and_does_not_hang(yaml):
    os.mkfifo(str(yaml))
    assert gateway_settings.read(str(yaml)).problems[0].why == "is not a regular file"


def test_what_is_not_utf8_is_a_problem(yaml):
    yaml.write_bytes(b"a: 1\nb: \xff\n")
    problem, = gateway_settings.read(str(yaml)).problems
    assert (problem.line, problem.why) == (2, "byte 0xff is not UTF-8")


def test_a_large_file_is_left_unjudged(yaml):
    yaml.write_bytes(b"#" * (256 * 1024 + 1))
    document = gateway_settings.read(str(yaml))
    assert document.problems == () and "larger than" in document.unjudged[0].why
