"""citadel.conf to settings, by the rows of table.py. `parse` and `as_data` are pure.

The file is INI, read strictly: `[section]`, `key = value`, `#` comments on lines of their own, UTF-8. Nothing is
interpolated and no value continues on the next line, so what a line says does not depend on any other line; this,
and its 7 ms at each start, is why configparser is not used.
"""

import os
from collections import namedtuple

from citadel.core.errors import SettingsError
from citadel.core.trust import decode, read_trusted
from citadel.model import Problem
from citadel.settings.table import BUILT_IN, NAMED, ROWS, SINGLE, DependencySettings, Section, ServiceSettings, Settings
from citadel.settings.values import Mark, address, dependency_name, duration_text, unit_name

DEFAULT_PATH = "/opt/citadel/etc/citadel.conf"
MOST_PROBLEMS = 50      # a file with more is no settings file; nobody reads on, and each costs a search for near misses


def read(path=DEFAULT_PATH, must_exist=False):
    """The settings in that file. Without the file the defaults hold, unless an operator named it (`must_exist`).
    Raises NotPermitted for a file that another user could have written, SettingsError for the first fault in it."""
    return parse(_text(path, must_exist), path)


def check_file(path):
    """All faults in that file, as model.Problem in the order of its lines. Raises NotPermitted as `read` does."""
    try:
        return _examine(_text(path, must_exist=True), path)[1]
    except SettingsError as error:
        return [Problem(error.file, error.line, error.key, error.why)]


def _text(path, must_exist):
    content = read_trusted(path, owners=(0, os.geteuid()))
    if content is None and must_exist:
        raise SettingsError(path, 0, "", "no such file")
    return decode(content or b"", path)


def parse(text, file):
    """The settings in `text`; `file` is its name in error messages. Raises SettingsError for the first fault."""
    settings, problems = _examine(text, file)
    if problems:
        raise SettingsError(*problems[0])
    return settings


def as_data(settings):
    """The settings as plain data, keyed as in the file: what `config --json` prints."""
    return dict(service={one.unit: _plain(one._asdict()) for one in settings.services},
                dependency={name: _plain(one._asdict()) for name, one in settings.dependencies.items()},
                **{section: _plain(vars(getattr(settings, section))) for section in SINGLE})


def _plain(values):
    return {name: str(value) if isinstance(value, Mark) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()}


def _add(problems, line, key, why, word="", known=()):
    """One more (line, key, why), with a suggestion where `word` is nearly one of `known`."""
    if len(problems) >= MOST_PROBLEMS:
        return
    if word and len(word) <= 100:
        from difflib import get_close_matches  # it imports `re`: only when there is an error
        known = list(known)[:100]
        near = get_close_matches(word.lower().replace("-", "_"), known, 1) or get_close_matches(word, known, 1)
        why += "; did you mean %s?" % near[0] if near else ""
    problems.append((line, key, why))


_Section = namedtuple("_Section", "kind line given")            # given: key -> (line, text)


def _examine(text, file):
    """(Settings, problems in the order of their lines); the settings are to be used only if there are no problems."""
    problems = []
    sections = _sections(text, problems)
    services = [name for kind, name in sections if kind == "service"] or ["citadel-gateway.service"]
    dependencies = [name for kind, name in sections if kind == "dependency"]
    for kind, name in list(BUILT_IN) + [(kind, "") for kind in SINGLE]:
        sections.setdefault((kind, name), _Section(kind, 0, {}))
    values = {key: _values(section, BUILT_IN.get(key, {}), problems) for key, section in sections.items()}
    for service in services:
        for name in values["service", service]["depends"]:
            if ("dependency", name) not in values:
                _add(problems, sections["service", service].given["depends"][0], "depends",
                     "there is no section [dependency %s]" % name, name,
                     [known for kind, known in values if kind == "dependency"])
            elif name not in dependencies:
                dependencies.append(name)
    if not problems:                        # else defaults have replaced what could not be read
        _cross_check(sections, values, services, problems)
    settings = Settings(file, tuple(_service(name, values["service", name]) for name in services),
                        {name: _dependency(name, values["dependency", name]) for name in dependencies},
                        **{kind: Section(**values[kind, ""]) for kind in SINGLE})
    return settings, sorted((Problem(file, *one) for one in problems), key=lambda problem: problem.line)


def _sections(text, problems):
    """{(kind, name): the _Section} in the file's order; what does not have this form is a problem."""
    sections, current = {}, None
    for number, line in enumerate(text.split("\n"), 1):
        if len(problems) >= MOST_PROBLEMS:
            problems[-1] = number, "", "and more; the rest was not read"
            break
        line = (line[:-1] if line.endswith("\r") else line).replace("\t", " ")
        stripped = line.strip()
        if not line.isprintable():
            hidden = next(one for one in line if not one.isprintable())
            _add(problems, number, "", "an invisible character (U+%04X)" % ord(hidden))
        elif not stripped or stripped.startswith("#"):
            continue
        elif line.startswith(" "):
            _add(problems, number, "", "an indented line: a value ends with its line, and keys are not indented")
        elif line.startswith("["):
            current = _header(number, stripped, sections, problems)
        else:
            _assignment(number, stripped, current, problems)
    return sections


def _header(number, line, sections, problems):
    """The section that a line opens; a wrong header opens one without a kind: its keys are not problems one by one."""
    words = line[1:-1].split()
    kind, name, label, known = "".join(words[:1]), " ".join(words[1:]), "[%s]" % " ".join(words)[:80], ()
    if not line.endswith("]") or not words or set(line[1:-1]) & set("[]"):
        label, why = line[:60], "not a section: write [NAME] and nothing after it"
    elif kind not in ROWS:
        why, known = "unknown section", ROWS
    elif kind in NAMED:
        why = _wrong_name(kind, name)
    else:
        why = "there is only one [%s]" % kind if name else ""
    if not why and (kind, name) in sections:
        why = "given twice, first in line %d" % sections[kind, name].line
    if why:
        _add(problems, number, label, why, kind if known else "", known)
        return _Section("", number, {})
    sections[kind, name] = _Section(kind, number, {})
    return sections[kind, name]


def _wrong_name(kind, name):
    try:
        (unit_name if kind == "service" else dependency_name)(name)
    except ValueError as error:
        return str(error) if name else "has no name: write [%s %s]" % (
            kind, "UNIT.service" if kind == "service" else "NAME")
    return ""


def _assignment(number, line, section, problems):
    key, equals, text = (part.strip() for part in line.partition("="))
    if not equals or not key:
        hint = ("comments begin with #" if line.startswith(";") else
                "write 'key = value', with '='" if ":" in line else "neither [section] nor key = value")
        _add(problems, number, line.split()[0][:60], hint)
    elif section is None:
        _add(problems, number, key[:60], "comes before the first [section]")
    elif not section.kind:
        return
    elif key not in ROWS[section.kind]:
        home = next((kind for kind in ROWS if key in ROWS[kind]), None)
        _add(problems, number, key[:60], "unknown setting in [%s]%s" % (
            section.kind, "; it belongs in [%s]" % home if home else ""), "" if home else key, ROWS[section.kind])
    elif key in section.given:
        _add(problems, number, key, "given twice, first in line %d" % section.given[key][0])
    elif text.startswith("#") or " #" in text:
        _add(problems, number, key, "a comment needs a line of its own")
    else:
        section.given[key] = number, text


def _values(section, built_in, problems):
    """Every setting of a section, read; the default replaces what cannot be read."""
    values = {}
    for key, row in ROWS[section.kind].items():
        default = built_in.get(key, row.default)
        line, text = section.given.get(key, (0, default))
        try:
            values[key] = row.reader(text)
        except ValueError as error:
            _add(problems, line, key, str(error) if text else "has no value")
            values[key] = row.reader(default)
    return values


def _service(unit, values):
    port = values["port"] or (address(values["health"])[1] if values["health"] else None)
    return ServiceSettings(unit=unit, **dict(values, port=port))


def _dependency(name, values):
    others = {key: value for key, value in values.items() if key != "unit"}
    return DependencySettings(name=name, units=values["unit"] or (name + ".service",), **others)


def _cross_check(sections, values, services, problems):
    """What no single setting can know: the order of marks, and limits that leave room for each other."""
    def line_of(section, *keys):
        given = sections[section].given
        return max([0] + [given[key][0] for key in keys if key in given])

    # These must be apart, or cleaning would begin again as soon as it ends.
    for low, enough in (("min_free", "enough_free"), ("min_inodes", "enough_inodes")):
        why = _mark_order(values["disk", ""][low], values["disk", ""][enough], low)
        if why:
            _add(problems, line_of(("disk", ""), low, enough), enough, why)
    recovery = "recovery", ""
    limit = values[recovery]["probe_timeout"]
    for name in services:
        service = "service", name
        slow = values[service]["slow_after"]
        if slow >= limit:
            _add(problems, line_of(service, "slow_after") or line_of(recovery, "probe_timeout"), "slow_after",
                 "%s is never reached: probes end after %s (probe_timeout in [recovery])" % (
                     duration_text(slow), duration_text(limit)))
        for dependency in values[service]["depends"]:
            if name in values["dependency", dependency]["unit"]:
                _add(problems, line_of(service, "depends"), "depends",
                     "%s would depend on itself, as %s" % (name, dependency))
    if values[recovery]["verify_timeout"] <= limit:
        _add(problems, line_of(recovery, "verify_timeout", "probe_timeout"), "verify_timeout",
             "must be longer than probe_timeout, %s" % duration_text(limit))


def _mark_order(lesser, greater, low):
    """Why `greater` is not above `lesser`, or ""."""
    if not (lesser.percent or lesser.size):
        return ""
    if (lesser.percent is None) != (greater.percent is None) or (lesser.size is None) != (greater.size is None):
        return "%s and %s (%s) cannot be compared: write both as a percentage, both as a size, or both as both" % (
            greater, lesser, low)
    if any(most is not None and least >= most for least, most in zip(lesser, greater)):
        return "%s must be more than %s (%s)" % (greater, lesser, low)
    return ""
