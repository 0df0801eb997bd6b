"""production.yaml, the gateway's own settings: read, compared with its unit, never written.

Its values mean what they mean to PyYAML (plain_yaml.py). `judge` minds that other readers differ there, and complains
only about what no reader would find in agreement.
"""

from collections import namedtuple

from citadel.core.errors import NotPermitted, SettingsError
from citadel.core.text import printable
from citadel.core.trust import decode, read_trusted
from citadel.core.url import is_address, split_place
from citadel.model import Problem
from citadel.observe.yaml_subset import Document, parse

PORT_KEYS = ("server.port", "port", "api.port", "gateway.port")
WORKERS_KEYS = ("server.workers", "workers", "api.workers", "gateway.workers")
ENVIRONMENT_KEYS = ("environment", "app.environment", "server.environment", "api.environment", "gateway.environment")
ENVIRONMENT_VARIABLES = ("CITADEL_ENVIRONMENT", "CITADEL_ENV", "ENVIRONMENT", "ENV")

Expected = namedtuple("Expected", "port workers environment dependencies")
Expected.__doc__ = """What the unit and the probes say; None: nothing. `dependencies` name -> (host, port)."""

_DIGITS = frozenset("0123456789")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_TEMPLATES = ("${", "$(", "{{", "%(", "<%")


def read(path):
    """The Document in that file, or None if there is none. It is the gateway's: anybody may own it, since we believe
    nothing in it. A link is left unjudged, and so is what we may not read; both may be right for the gateway."""
    try:
        content = read_trusted(path, owners=None, forbidden_mode=0)
        document = None if content is None else parse(decode(content, path, mark_allowed=True))
    except SettingsError as error:
        return Document({}, (), (Problem(path, error.line, "", error.why),))
    except NotPermitted as error:
        if "not a regular file" in str(error):
            return Document({}, (), (Problem(path, 0, "", "is not a regular file"),))
        return Document({}, ((0, "%s: left unjudged" % error),), ())
    if document is None:
        return None
    return document._replace(problems=tuple(problem._replace(file=path) for problem in document.problems))


# --- what must agree --------------------------------------------------------------------------------------------------

def judge(document, expected, file):
    """What is wrong in the document, and what in it contradicts the unit and the probes: a tuple of facts.Problem in
    the order of the lines. Only keys that exist are compared."""
    problems = [problem._replace(file=file) for problem in document.problems]

    def compare(keys, complaint, *wanted):
        for key in keys:
            found = document.values.get(key)
            if found is None or found.value is None or found.value == () or _is_template(found.value):
                continue
            why = complaint(found, *wanted)
            if why:
                problems.append(Problem(file, found.line, key, why))

    if expected.port is not None:
        compare(PORT_KEYS, _wrong_number, expected.port, "the unit listens on")
    if expected.workers is not None:
        compare(WORKERS_KEYS, _wrong_number, expected.workers, "the unit starts")
    if expected.environment:
        compare(ENVIRONMENT_KEYS, _wrong_environment, expected.environment)
    for name, (host, port) in sorted(expected.dependencies.items()):
        compare((name + ".url", name + ".base_url", name + ".host"), _wrong_address, host, port, name)
        compare((name + ".port",), _wrong_number, port, "%s is probed on" % name)
    return tuple(sorted(problems, key=lambda problem: problem.line))


def _is_template(value):
    """${PORT}, {{ port }}: what stands there in the end is not for us to say."""
    return isinstance(value, str) and any(mark in value for mark in _TEMPLATES)


def _shown(found):
    """A value as a complaint shows it, with the trap that it is in."""
    value, text = found.value, printable(found.text, 40)
    if isinstance(value, bool):
        return "%s, which is a truth value to YAML" % text
    if isinstance(value, str):
        return "the text %s" % text
    if isinstance(value, int) and text != str(value):
        return "%s, which is %d to YAML 1.1" % (text, value)
    return text


def _wrong_number(found, wanted, says):
    if wanted in _numbers(found):
        return ""
    return "is %s, but %s %d" % (_shown(found), says, wanted)


def _numbers(found):
    """The numbers that a program may find in this value: its YAML 1.1 value, and what int() or YAML 1.2 makes of it."""
    value, text = found.value, found.text
    numbers = set()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        numbers.add(value)
    for digits in (text, value):
        if isinstance(digits, str):
            digits = digits.strip().replace("_", "")
            if 0 < len(digits) <= 15 and not set(digits) - _DIGITS:
                numbers.add(int(digits))
            elif digits.startswith("0o") and 2 < len(digits) <= 15 and not set(digits[2:]) - set("01234567"):
                numbers.add(int(digits[2:], 8))
    return numbers


def _wrong_environment(found, wanted):
    if isinstance(found.value, str) and found.value.strip().lower() == wanted.lower():
        return ""
    return "is %s, but the unit says %s" % (_shown(found), printable(wanted, 40))


def _wrong_address(found, wanted_host, wanted_port, name):
    """Compares a URL, HOST:PORT or HOST. Host names are not resolved, and so not judged; nor is a port left out."""
    host, port = _address(found.value) if isinstance(found.value, str) else (None, None)
    same_host = host is None or host == wanted_host or {host, wanted_host} <= set(_LOOPBACK)
    if same_host and port in (None, wanted_port):
        return ""
    there = ("[%s]" % host if host and ":" in host else host or "") + (":%d" % port if port is not None else "")
    return "is %s, but %s is probed at %s:%d" % (there if host else "port %d" % port, name, wanted_host, wanted_port)


def _address(text):
    """(host or None, port or None) as far as they are certain; what stands before an @ is a secret and is dropped."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    if scheme.lower() not in ("", "http", "https", "redis", "rediss", "tcp"):
        return None, None
    for end in "/?#":
        rest = rest.partition(end)[0]
    host, _, digits = split_place(rest.rpartition("@")[2].strip())
    port = int(digits) if 0 < len(digits) <= 5 and not set(digits) - _DIGITS else None
    if port is None and not digits and scheme.lower() in ("redis", "rediss"):
        port = 6379
    host = host.lower()
    return host if host == "localhost" or is_address(host) else None, port


# --- what the unit says -----------------------------------------------------------------------------------------------

def expected_from_exec(exec_start, environment, dependencies=None):
    """Expected, from `systemctl show -p ExecStart` and `-p Environment`: uvicorn's --port and --workers, or the
    variables that uvicorn takes in their stead (UVICORN_PORT, UVICORN_WORKERS, WEB_CONCURRENCY)."""
    variables = {}
    for word in _words(environment):
        name, equals, value = word.partition("=")
        if equals:
            variables[name] = value
    words = [_expanded(word, variables) for word in _arguments(exec_start)]
    name = next((name for name in ENVIRONMENT_VARIABLES if variables.get(name)), None)
    return Expected(
        port=_option(words, "--port", (variables.get("UVICORN_PORT"),)),
        workers=_option(words, "--workers", (variables.get("UVICORN_WORKERS"), variables.get("WEB_CONCURRENCY"))),
        environment=variables[name] if name else None, dependencies=dict(dependencies or {}))


def _arguments(exec_start):
    """The argument words of the first command in "{ path=... ; argv[]=... ; ignore_errors=no ; ... }"."""
    _, found, rest = exec_start.partition("argv[]=")
    return _words(rest.partition(" ; ignore_errors=")[0]) if found else []


def _words(text):
    """Words as systemd prints them: divided by spaces, quoted where they hold any."""
    words, word, quote, at, begun = [], [], "", 0, False
    while at < len(text):
        character = text[at]
        if character == "\\" and quote != "'" and at + 1 < len(text):
            at += 1
            word.append(text[at])
            begun = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "'\"":
            quote, begun = character, True
        elif character in " \n":
            if begun or word:
                words.append("".join(word))
            word, begun = [], False
        else:
            word.append(character)
        at += 1
    return words + ["".join(word)] if begun or word else words


def _expanded(word, variables):
    """A word that is, or ends in, one variable: systemd shows ${PORT} as it was written."""
    option, _, name = word.partition("${")
    if name.endswith("}"):
        return option + variables.get(name[:-1], "")
    return variables.get(word[1:], "") if word.startswith("$") else word


def _option(words, name, otherwise):
    """The whole number that an option is given last, else the first of `otherwise` that is one, else None."""
    found = [words[at + 1] for at, word in enumerate(words[:-1]) if word == name]
    found = found + [word[len(name) + 1:] for word in words if word.startswith(name + "=")]
    for digits in found[-1:] or otherwise:
        if digits and len(digits) <= 9 and not set(digits) - _DIGITS:
            return int(digits)
    return None
