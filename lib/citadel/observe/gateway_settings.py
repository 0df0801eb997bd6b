"""production.yaml, the gateway's own settings: read, compared with its unit, never written. `judge` complains only of
what no reader of YAML would find in agreement; `unchecked` says what could not be compared.
"""

import re
from collections import namedtuple

from citadel.core.errors import NotPermitted, SettingsError
from citadel.core.text import printable
from citadel.core.trust import decode, read_trusted
from citadel.model import Problem
from citadel.observe.yaml_subset import Document, parse
from citadel.settings.url import is_address, split_place

PORT_KEYS = ("server.port", "port", "api.port", "gateway.port")
WORKERS_KEYS = ("server.workers", "workers", "api.workers", "gateway.workers")
ENVIRONMENT_KEYS = ("environment", "app.environment", "server.environment", "api.environment", "gateway.environment")
DEPENDENCY_KEYS = (".url", ".base_url", ".host", ".port")
ENVIRONMENT_VARIABLES = ("CITADEL_ENVIRONMENT", "CITADEL_ENV", "ENVIRONMENT", "ENV")

Expected = namedtuple("Expected", "port workers environment dependencies")
Expected.__doc__ = """What the unit and the probes say; None: nothing. `dependencies` name -> (host, port)."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_TEMPLATES = ("${", "$(", "{{", "%(", "<%")


def read(path):
    """The Document in that file, or None if there is none. Anybody may own it: nothing in it is trusted. A link, and
    what Citadel may not read, is left unjudged: it may be right for the gateway."""
    try:
        content = read_trusted(path, owners=None, forbidden_mode=0)
        return None if content is None else parse(decode(content, path, mark_allowed=True), path)
    except SettingsError as error:
        return Document({}, (), (Problem(path, error.line, "", error.why),))
    except NotPermitted as error:
        if "not a regular file" in str(error):
            return Document({}, (), (Problem(path, 0, "", "is not a regular file"),))
        return Document({}, (Problem(path, 0, "", "%s: it is not checked" % error),), ())


def unchecked(services):
    """A line for each place in the services' own settings that may hide a key that `judge` compares."""
    lines = []
    for service in services:
        keys = [name + key for name in service.depends for key in DEPENDENCY_KEYS]
        keys += PORT_KEYS + WORKERS_KEYS + ENVIRONMENT_KEYS
        document = read(service.settings) if service.settings else None
        lines += [str(SettingsError(*place)) for place in (document.unjudged if document else ())
                  if not place.key or any((key + ".").startswith(place.key + ".") for key in keys)]
    return lines


def judge(document, expected, file):
    """What is wrong in the document, and what in it contradicts the unit and the probes: a tuple of model.Problem in
    the order of the lines. Only keys that exist are compared."""
    problems = list(document.problems)

    def compare(keys, complaint, *wanted):
        for key in keys:
            found = document.values.get(key)
            # ${PORT}, {{ port }}: what stands there in the end is not for us to say.
            if found and found.value is not None and not any(mark in found.text for mark in _TEMPLATES):
                why = complaint(found, *wanted)
                problems.extend([Problem(file, found.line, key, why)] if why else [])

    if expected.port is not None:
        compare(PORT_KEYS, _wrong_number, expected.port, "the unit listens on")
    if expected.workers is not None:
        compare(WORKERS_KEYS, _wrong_number, expected.workers, "the unit starts")
    if expected.environment:
        compare(ENVIRONMENT_KEYS, _wrong_environment, expected.environment)
    for name, (host, port) in sorted(expected.dependencies.items()):
        compare([name + key for key in DEPENDENCY_KEYS[:-1]], _wrong_address, host, port, name)
        compare([name + DEPENDENCY_KEYS[-1]], _wrong_number, port, "%s is probed on" % name)
    return tuple(sorted(problems, key=lambda problem: problem.line))


def _shown(found):
    """A value as a complaint shows it, with the trap that it is in."""
    value, text = found.value, printable(found.text, 40)
    if isinstance(value, bool):
        return "%s, which is a truth value to YAML" % text
    if isinstance(value, str):
        return "the text %s" % text
    return "%s, which is %d to YAML 1.1" % (text, value) if isinstance(value, int) and text != str(value) else text


def _wrong_number(found, wanted, says):
    """A program may find the YAML 1.1 value, or what int() or YAML 1.2 makes of the text."""
    numbers = set() if isinstance(found.value, (bool, str)) else {found.value}
    for text in (found.text, str(found.value)):
        digits = text.strip().replace("_", "")
        if re.fullmatch("[0-9]{1,15}|0o[0-7]{1,13}", digits):
            numbers.add(int(digits, 8 if digits.startswith("0o") else 10))
    return "" if wanted in numbers else "is %s, but %s %d" % (_shown(found), says, wanted)


def _wrong_environment(found, wanted):
    if isinstance(found.value, str) and found.value.strip().lower() == wanted.lower():
        return ""
    return "is %s, but the unit says %s" % (_shown(found), printable(wanted, 40))


def _wrong_address(found, wanted_host, wanted_port, name):
    """Compares a URL, HOST:PORT or HOST. Host names are not resolved, and so not judged; nor is a missing port."""
    host, port = _address(found.value) if isinstance(found.value, str) else (None, None)
    same_host = host is None or host == wanted_host or {host, wanted_host} <= set(_LOOPBACK)
    if same_host and port in (None, wanted_port):
        return ""
    there = ("[%s]" % host if host and ":" in host else host or "") + (":%d" % port if port is not None else "")
    return "is %s, but %s is probed at %s:%d" % (there if host else "port %d" % port, name, wanted_host, wanted_port)


def _address(text):
    """(host or None, port or None) as far as they are certain; what stands before an @ is a secret and is dropped."""
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if scheme.lower() not in ("", "http", "https", "redis", "rediss", "tcp"):
        return None, None
    host, _, digits = split_place(re.split("[/?#]", rest)[0].rpartition("@")[2].strip())
    port = int(digits) if re.fullmatch("[0-9]{1,5}", digits) else None
    if not digits and scheme.lower() in ("redis", "rediss"):
        port = 6379
    return host.lower() if host.lower() == "localhost" or is_address(host) else None, port


def expected_from_exec(exec_start, environment, dependencies=None):
    """Expected, from `systemctl show -p ExecStart` and `-p Environment`: uvicorn's --port and --workers, or the
    variables that uvicorn takes in their stead (UVICORN_PORT, UVICORN_WORKERS, WEB_CONCURRENCY)."""
    variables = dict(word.split("=", 1) for word in _words(environment) if "=" in word)
    command = exec_start.partition("argv[]=")[2].partition(" ; ignore_errors=")[0]
    words = [_expanded(word, variables) for word in _words(command)]
    return Expected(
        port=_option(words, "--port", (variables.get("UVICORN_PORT"),)),
        workers=_option(words, "--workers", (variables.get("UVICORN_WORKERS"), variables.get("WEB_CONCURRENCY"))),
        environment=next((variables[name] for name in ENVIRONMENT_VARIABLES if variables.get(name)), None),
        dependencies=dict(dependencies or {}))


def _words(text):
    """Words as systemd prints them: quoted in an environment, not in a command."""
    import shlex
    try:
        return shlex.split(text)
    except ValueError:                  # an open quote
        return text.split()


def _expanded(word, variables):
    """A word that is, or ends in, one variable: systemd shows ${PORT} as it was written."""
    option, _, name = word.partition("${")
    if name.endswith("}"):
        return option + variables.get(name[:-1], "")
    return variables.get(word[1:], "") if word.startswith("$") else word


def _option(words, name, otherwise):
    """The whole number that an option is given last, else the first of `otherwise` that is one, else None."""
    found = [words[at + 1] for at, word in enumerate(words[:-1]) if word == name]
    found += [word[len(name) + 1:] for word in words if word.startswith(name + "=")]
    return next((int(digits) for digits in found[-1:] or otherwise if re.fullmatch("[0-9]{1,9}", digits or "")), None)
