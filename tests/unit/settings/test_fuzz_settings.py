"""Both settings readers against what no settings file is: any text gives an answer, in time. Seeded, so that a
failure can be had again."""

import os
import random
import time

import pytest
from places import TREE

from citadel.core.errors import NotPermitted, SettingsError
from citadel.observe import gateway_settings
from citadel.settings import file as settings

with open(os.path.join(TREE, "units", "citadel.conf"), encoding="utf-8") as _file:
    SHIPPED = _file.read()
UNCOMMENTED = "\n".join(line[2:] if line.startswith("# ") and " = " in line and line[2:3].islower() and "`" not in line
                        else line for line in SHIPPED.split("\n"))
PRODUCTION = """\
# production.yaml
environment: production
server:
  host: 127.0.0.1
  port: 8002
  workers: 8   # one a core
redis: {url: "redis://127.0.0.1:6379/0"}
ollama: &ollama
  base_url: 'http://127.0.0.1:11434'
  models: [llama3, "mist\\u0072al", ~]
routes:
- path: /a
  methods: [GET,
    POST]
- path: "/b \\"c\\"
    d"
note: |
  port: 1
   more
last: 'it''s'
"""
UNIT = gateway_settings.Expected(8002, 8, "production", {"redis": ("127.0.0.1", 6379), "ollama": ("::1", 11434)})
PIECES = ["\n", " ", "\t", "  ", "#", " # ", "=", " = ", "[", "]", "{", "}", ":", ": ", "- ", "'", '"', "\\", "&a",
          "*a", "!t", "|", ">", "? ", "%", "@", "---\n", "...", "<<", "0", "1", "9" * 30, "-", "/", "..", "//", "\x00",
          "\x1b", "\r", "\u2028", "\u202e", "\u0663", "\ufeff", "\U0001f600", "yes", "port", "server",
          "[service a.service]\n", "[dependency redis]\n", "[disk]\n", "depends = x\n",
          "min_free = 5%\n", "http://127.0.0.1:1/", "redis://[::1]",
          "10min", "1:30", "0x", "5% 5G", "~", "null", "2026-01-01"]


def read_all(text):
    """Both readers, and judgement; the seconds they took."""
    started = time.perf_counter()
    problems = settings._examine(text, "f")[1]
    assert len(problems) <= settings.MOST_PROBLEMS
    assert all(problem.why.isprintable() and problem.key.isprintable() for problem in problems)
    document = gateway_settings.parse(text)
    found = gateway_settings.judge(document, UNIT, "f")
    assert all(problem.why.isprintable() and problem.key.isprintable() for problem in found)
    lines = text.count("\n") + text.count("\r") + 1
    assert all(0 <= problem.line <= lines for problem in list(found) + problems)
    assert all(0 < place.line <= lines for place in document.unjudged)
    return time.perf_counter() - started


def mutated(random_, text):
    letters = list(text)
    for _ in range(random_.randint(1, 6)):
        at = random_.randrange(len(letters) + 1)
        if random_.random() < 0.4:
            del letters[at:at + random_.randint(1, 40)]
        elif random_.random() < 0.8:
            letters[at:at] = random_.choice(PIECES)
        else:
            letters[at:at + 1] = chr(random_.choice([random_.randrange(128), random_.randrange(0xD800)]))
    return "".join(letters)


SETTINGS_ONLY = "\n".join(line for line in UNCOMMENTED.split("\n") if not line.startswith("#"))


@pytest.mark.parametrize("text", [SETTINGS_ONLY, PRODUCTION], ids=["citadel.conf", "production.yaml"])
def test_every_truncation_is_answered(text):
    assert max(read_all(text[:end]) for end in range(len(text) + 1)) < 1


@pytest.mark.parametrize("seed", range(4))
def test_every_mutation_is_answered(seed):
    random_ = random.Random(seed)
    for _ in range(60):
        assert read_all(mutated(random_, random_.choice([UNCOMMENTED, PRODUCTION, PRODUCTION]))) < 1


@pytest.mark.parametrize("seed", range(4))
def test_every_heap_of_pieces_is_answered(seed):
    random_ = random.Random(1000 + seed)
    for _ in range(150):
        assert read_all("".join(random_.choice(PIECES) for _ in range(random_.randint(1, 60)))) < 1


def test_every_cut_of_the_uncommented_file_leaves_no_value_half_read():
    """A file that was cut off is refused, or says what the whole one says up to there: the defaults."""
    whole = settings.parse(UNCOMMENTED, "f")
    lines = UNCOMMENTED.split("\n")
    for count in range(len(lines)):
        found = settings.parse("\n".join(lines[:count]) + "\n", "f")
        assert found._replace(services=(), dependencies={}) == whole._replace(services=(), dependencies={})


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_refused_or_read(tmp_path, seed):
    random_ = random.Random(2000 + seed)
    path = tmp_path / "f"
    for round_ in range(40):
        content = bytes(random_.choice([random_.randrange(256), 10, 32, 61, 91, 93, 58, 45])
                        for _ in range(random_.randint(0, 600)))
        if round_ % 2:
            content = PRODUCTION.encode()[:random_.randrange(300)] + content
        path.write_bytes(content)
        path.chmod(0o600)
        try:
            settings.read(str(path))
        except (SettingsError, NotPermitted) as error:
            assert str(path) in str(error)
        settings.check_file(str(path))
        gateway_settings.judge(gateway_settings.read(str(path)), UNIT, str(path))


FILLINGS = ["[", "{", "- ", "a: 1\n", "'", '"', "a: ['x', ", "& ", "a: & ", "\\", '"\\', "a: 'x\n", " ", "#",
            "- a: 1\n",
            " a", "a: \n ", "? ", ": ", "1:30", "[[a],\n", "'a': \"\\x41\"\n", "a.b: x\n", "a: |\n x\n", "a: b\n c\n",
            "&a ",
            "= x\n", "[service a.service]\n", "[recovery]\nattempts = 9999\n", "[disk]\nfoo = x\n", "\t", "/a "]


@pytest.mark.parametrize("filling", FILLINGS, ids=repr)
@pytest.mark.parametrize("start", ["", "a: ", "[disk]\npaths = "], ids=repr)
def test_time_grows_with_length_not_with_its_square(start, filling):
    """16 KiB, a sixteenth of the largest file: 10 to 50 ms here when linear, and seconds when not."""
    assert read_all((start + filling * (16384 // len(filling)))[:16384]) < 2


@pytest.mark.parametrize("seed", range(4))
def test_whatever_systemd_says_of_a_unit_is_answered(seed):
    random_ = random.Random(3000 + seed)
    pieces = ["{ path=", "argv[]=", " ; ", "--port", "=", "8002", "--workers", "${", "}", "$A", "A=b", '"', "'", "\\",
              " ", "\n", "ignore_errors=no", "9" * 5000, "\u0663"]
    for _ in range(300):
        one, other = ("".join(random_.choice(pieces) for _ in range(random_.randint(0, 20))) for _ in range(2))
        found = gateway_settings.expected_from_exec(one, other)
        assert found.port is None or 0 <= found.port < 10 ** 9
