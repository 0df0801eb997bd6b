"""citadel.conf to settings: one row a setting.

`SETTINGS` is the only place that knows a setting: its section, name, default (written as in the file), the reader
that turns its text into a value or says why not (setting_values.py), and its meaning. Defaults, validation,
`as_data` (`config --json`) and the test of the shipped units/citadel.conf are all derived from it.

`read(path)` trusts no file that another user could have written (errors.NotPermitted), and raises
errors.SettingsError for the first thing wrong; `check_file(path)` lists all of them. `parse` is pure.

The file is INI, read strictly: `[section]`, `key = value`, `#` comments on lines of their own, UTF-8. Nothing is
interpolated and no value goes on in the next line, so what a line says does not depend on any other line; this,
and its 7 ms at each start, is why configparser is not used.

Units: seconds and bytes; percentages are numbers from 0 to 100.
"""

import os
from collections import namedtuple

from citadel.core.errors import SettingsError
from citadel.core.trust import decode, read_trusted
from citadel.model import Problem
from citadel.settings.values import (
    Mark,
    address,
    ascending,
    cleanable_directory,
    dependency_name,
    duration,
    duration_text,
    each,
    mark,
    maybe,
    path,
    percent,
    probe,
    receiver,
    removable_file,
    share_mark,
    size,
    temp_pattern,
    textfile_directory,
    truth,
    unit_name,
    whole,
)

DEFAULT_PATH = "/opt/citadel/etc/citadel.conf"
MOST_PROBLEMS = 50      # a file with more is no settings file; nobody reads on, and each costs a search for near misses


# --- the table --------------------------------------------------------------------------------------------------------

Row = namedtuple("Row", "section name default reader meaning")

SETTINGS = (
    Row("service", "health", "", maybe(probe, ""),
        "What is asked to learn whether the service is well: http://IP:PORT/path wants a status 200, redis://IP:PORT "
        "a PONG, tcp://IP:PORT a connection. By number, or localhost. Empty: systemd's word is enough."),
    Row("service", "depends", "", each(dependency_name),
        "The dependencies that it needs, in the order in which they are repaired. Each has its own [dependency NAME] "
        "section; ollama and redis are known without one."),
    Row("service", "settings", "", maybe(path, ""),
        "The service's own settings file (YAML), compared with its unit and never written. Empty: none."),
    Row("service", "port", "", maybe(whole(1, 65535), None),
        "The port that it listens on, to name a stranger who holds it. Empty: the one in health."),
    Row("service", "start_timeout", "2min", duration(1, 3600),
        "From its start until it answers, at most; younger than this it is starting, not hung."),
    Row("service", "slow_after", "3s", duration(0.1, 600),
        "An answer that takes longer is reported as slow. Must be less than probe_timeout in [recovery]."),
    Row("service", "pid_files", "", each(removable_file),
        "PID files which an earlier run may have left behind. A stale one is removed; no number in one is ever "
        "signalled."),
    Row("service", "temp_files", "", each(temp_pattern),
        "Temporary files that may be removed once they are older than temp_age in [cleanup]. Wild cards after the "
        "last / only."),
    Row("service", "log", "", maybe(path, ""),
        "The application log that `logs --app` shows. Empty: none."),

    Row("dependency", "unit", "", each(unit_name),
        "Its unit; of several, the first that exists on this host. Empty: NAME.service."),
    Row("dependency", "probe", "", maybe(probe, ""),
        "What is asked to learn whether it is well, as health in [service]. Empty: systemd's word is enough."),
    Row("dependency", "start_timeout", "1min", duration(1, 3600),
        "From its start until it answers, at most. What says that it is loading is waited for beyond that."),

    Row("recovery", "attempts", "5", whole(1, 50),
        "So many attempts on a service within window, every start, restart and reset-failed counted; then a person "
        "is called. One of them is held back, for when the record of the others is lost."),
    Row("recovery", "window", "30min", duration(60, 86400),
        "The span of time for which attempts is the limit."),
    Row("recovery", "attempts_per_level", "1", whole(1, 5),
        "So many attempts at each level (start; clean; repair dependencies; relieve disk or memory) before the next."),
    Row("recovery", "verify_timeout", "2min", duration(10, 3600),
        "After a step, so long at most until the service must be well: the same run for longer than RestartSec, and "
        "healthy."),
    Row("recovery", "healthy_forgets", "10min", duration(60, 86400),
        "A service that was well for so long starts with a clean slate."),
    Row("recovery", "backoff", "5min 10min 20min 40min 60min", ascending(duration(60, 86400)),
        "After a person was called it keeps trying, with these pauses; the last one repeats."),
    Row("recovery", "jitter", "10%", percent(0, 50),
        "Each pause is longer by up to this, at random, so that many hosts do not try at the same instant."),
    Row("recovery", "probe_timeout", "5s", duration(1, 60),
        "All probes together are given so long. Who has not answered by then is hung."),
    Row("recovery", "wall", "yes", truth,
        "Whether a call for a person is also written to every terminal (wall(1))."),

    Row("cleanup", "temp_age", "1d", duration(3600, 365 * 86400),
        "Temporary files (temp_files in [service]) are removed when nobody has touched them for so long."),
    Row("cleanup", "log_directories", "/opt/citadel/logs", each(cleanable_directory),
        "When a disk is full, rotated logs are removed from these directories, the oldest first, until there is "
        "enough_free. Never a file that is open, never anything outside. Empty: none."),
    Row("cleanup", "keep_logs", "3", whole(0, 1000),
        "So many rotated files of each log stay, however full the disk is."),
    Row("cleanup", "journal_size", "500M", size(16 * 1024 ** 2, 1 << 50),
        "When a disk is full, the journal is cut down to this (journalctl --vacuum-size)."),
    Row("cleanup", "keep_incidents", "200", whole(10, 100000),
        "So many closed incidents stay on record."),

    Row("disk", "paths", "/ /opt/citadel/logs /var/lib/citadel-recovery /var/log", each(path),
        "The file systems that hold these paths are watched; a path that does not exist is passed over."),
    Row("disk", "min_free", "5% 1G", mark,
        "Less free space than this is a full disk: a percentage, a size, or both, of which the lesser counts. 0% "
        "turns it off."),
    Row("disk", "enough_free", "10% 3G", mark,
        "Once it cleans, it goes on until so much is free."),
    Row("disk", "min_inodes", "3%", share_mark,
        "Fewer free inodes than this are a full disk too. 0% turns it off."),
    Row("disk", "enough_inodes", "6%", share_mark,
        "Once it cleans, it goes on until so many are free."),

    Row("memory", "min_available", "5% 512M", mark,
        "Less available memory than this (MemAvailable, so page cache is not in the way) is low memory. 0% turns it "
        "off."),
    Row("memory", "max_pressure", "60%", percent(1, 100),
        "So much of the last 10 seconds stalled for memory (PSI, some avg10) is low memory too. 100% turns it off."),
    Row("memory", "unload_models", "yes", truth,
        "Whether Ollama is asked to unload idle models before anything is restarted."),

    Row("hook", "command", "", maybe(path, ""),
        "A program that is run when a person must be called and when that is over; it finds the incident as JSON on "
        "stdin. Owned by root and writable by nobody else, no arguments. It runs in citadel-recovery.service, whose 512 MB "
        "and 64 tasks it shares. Empty: none."),
    Row("hook", "timeout", "30s", duration(1, 300),
        "It is given so long, then killed with all that it started."),

    Row("alertmanager", "urls", "", each(receiver),
        "The Alertmanagers that are told (API v2), all of them each time: http://HOST:PORT or https://HOST:PORT, and a "
        "prefix where there is one. An address by number needs no name service. Empty: none."),
    Row("alertmanager", "credentials", "", maybe(path, ""),
        "A file that only root can read, with one line: `bearer TOKEN` or `basic USER:PASSWORD`. Empty: none."),

    Row("metrics", "directory", "-/var/lib/prometheus/node-exporter", maybe(textfile_directory, ""),
        "Where node_exporter's textfile collector reads *.prom; only root may be able to write there. With a - before "
        "it, it is no fault that it does not exist. Empty: no metrics."),
)


def comment(row):
    """What the shipped file says about a setting."""
    accepted = getattr(row.reader, "range", "")
    return row.meaning + (" From %s." % accepted if accepted else "")


NAMED = ("service", "dependency")       # sections of which there may be several: [service UNIT], [dependency NAME]

# What is known without a section of its own, and what a section of that name leaves out.
BUILT_IN = {
    ("service", "citadel-gateway.service"): {
        "health": "http://127.0.0.1:8002/health", "depends": "ollama redis",
        "settings": "/opt/citadel/config/production.yaml", "pid_files": "/run/citadel/gateway.pid",
        "temp_files": "/run/citadel/*.tmp", "log": "/opt/citadel/logs/api-gateway/service.log"},
    ("dependency", "ollama"): {"unit": "ollama.service", "probe": "http://127.0.0.1:11434/api/version"},
    ("dependency", "redis"): {"unit": "redis-server.service redis.service", "probe": "redis://127.0.0.1:6379"},
}

# Pairs of marks that must be apart, or cleaning would begin again as soon as it ends.
_HYSTERESIS = (("disk", "min_free", "enough_free"), ("disk", "min_inodes", "enough_inodes"))

_ROWS = {}
for _row in SETTINGS:
    _ROWS.setdefault(_row.section, {})[_row.name] = _row

ServiceSettings = namedtuple("ServiceSettings", ["unit"] + list(_ROWS["service"]))
DependencySettings = namedtuple("DependencySettings", ["name"] + [
    "units" if name == "unit" else name for name in _ROWS["dependency"]])
_SINGLE = ("recovery", "cleanup", "disk", "memory", "hook", "alertmanager", "metrics")


class Section:
    """The settings of a section of which there is one, by their names in the file. Used like a namedtuple; one class
    for all seven, because seven namedtuples would take a third of the time that reading the settings takes."""

    def __init__(self, **values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        raise AttributeError("settings are not changed in place: _replace()")

    def __eq__(self, other):
        return isinstance(other, Section) and self.__dict__ == other.__dict__

    def __repr__(self):
        return "Section(%s)" % ", ".join("%s=%r" % item for item in self.__dict__.items())

    def _replace(self, **changes):
        return Section(**dict(self.__dict__, **changes))

    def _asdict(self):
        return dict(self.__dict__)


class Settings(namedtuple("Settings", "file services dependencies recovery cleanup disk memory hook "
                                      "alertmanager metrics")):
    """All settings: `services` a tuple of ServiceSettings in the file's order, `dependencies` a dict of
    DependencySettings by name, the rest one Section each."""

    __slots__ = ()

    def service(self, unit):
        """The ServiceSettings of that unit, or None."""
        return next((service for service in self.services if service.unit == unit), None)


# --- the file ---------------------------------------------------------------------------------------------------------

def read(path=DEFAULT_PATH, uid=None, must_exist=False):
    """The settings in that file; its absence means the defaults, unless a person named it (`must_exist`).

    `uid` is whose trust counts, by default our own. Raises NotPermitted for a file that another could have written,
    SettingsError for the first thing wrong in it.
    """
    text = _decoded(path, uid)
    if text is None and must_exist:
        raise SettingsError(path, 0, "", "no such file")
    return parse(text or "", path)


def check_file(path, uid=None):
    """All that is wrong in that file, as facts.Problem in the order of its lines. Raises NotPermitted as `read`."""
    try:
        text = _decoded(path, uid)
    except SettingsError as error:
        return [Problem(error.file, error.line, error.key, error.why)]
    if text is None:
        return [Problem(path, 0, "", "no such file")]
    return _examine(text, path)[1]


def parse(text, file):
    """The settings that `text` says; `file` is its name in complaints. Raises SettingsError for the first one."""
    settings, problems = _examine(text, file)
    if problems:
        first = problems[0]
        raise SettingsError(first.file, first.line, first.key, first.why)
    return settings


def as_data(settings):
    """The settings as plain data, keyed as in the file: what `config --json` prints."""
    data = {"service": {one.unit: _plain(one) for one in settings.services},
            "dependency": {name: _plain(one) for name, one in settings.dependencies.items()}}
    data.update((section, _plain(getattr(settings, section))) for section in _SINGLE)
    return data


def _plain(record):
    values = record._asdict()
    return {name: str(value) if isinstance(value, Mark) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()}


def _decoded(path, uid):
    uid = os.geteuid() if uid is None else uid
    content = read_trusted(path, owners=(0, uid))
    return None if content is None else decode(content, path)


# --- text to settings -------------------------------------------------------------------------------------------------

class _Complaints:
    """Collects problems, with a suggestion where a word is a near miss of a known one."""

    def __init__(self, file):
        self.file, self.found = file, []

    def add(self, line, key, why, word="", known=()):
        if len(self.found) < MOST_PROBLEMS:
            self.found.append(Problem(self.file, line, key, why + _suggestion(word, known)))

    def enough(self):
        return len(self.found) >= MOST_PROBLEMS


def _suggestion(word, known):
    if not word or len(word) > 100:
        return ""
    from difflib import get_close_matches  # it brings `re` along: only for who errs
    near = get_close_matches(word.lower().replace("-", "_"), list(known)[:100], 1) or get_close_matches(
        word, list(known)[:100], 1)
    return "; did you mean %s?" % near[0] if near else ""


_Section = namedtuple("_Section", "kind name line given")       # given: key -> (line, text)


def _examine(text, file):
    """(Settings, problems in the order of their lines); the settings are to be used only if there are no problems."""
    complaints = _Complaints(file)
    sections = _sections(text, complaints)
    values = {}
    for section in sections:
        values[section.kind, section.name] = _values(section, complaints)
    services = [section for section in sections if section.kind == "service"] or [
        _Section("service", "citadel-gateway.service", 0, {})]
    for kind, name in BUILT_IN:
        values.setdefault((kind, name), _values(_Section(kind, name, 0, {}), complaints))
    for kind in _SINGLE:
        values.setdefault((kind, ""), _values(_Section(kind, "", 0, {}), complaints))
    given = {(section.kind, section.name): section for section in sections}
    dependencies = _dependencies(services, given, values, complaints)
    if not complaints.found:                # else defaults stand in for what could not be read
        _cross_check(given, values, services, complaints)
    settings = Settings(file, tuple(_service(section.name, values["service", section.name]) for section in services),
                        dependencies, **{kind: Section(**values[kind, ""]) for kind in _SINGLE})
    return settings, sorted(complaints.found, key=lambda problem: problem.line)


def _sections(text, complaints):
    """The file's sections with the texts of their known keys; what is not of this form is complained about."""
    sections, seen, current = [], {}, None
    for number, line in enumerate(text.split("\n"), 1):
        if complaints.enough():
            complaints.found[-1] = Problem(file=complaints.file, line=number, why="and more; not read any further")
            break
        line = line[:-1] if line.endswith("\r") else line
        if not line.replace("\t", " ").isprintable():
            hidden = next(one for one in line if not one.isprintable() and one != "\t")
            complaints.add(number, "", "an invisible character (U+%04X)" % ord(hidden))
            continue
        stripped = line.replace("\t", " ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        if line[0] in " \t":
            complaints.add(number, "", "an indented line: no value goes on in the next line, and keys are not indented")
        elif line[0] == "[":
            current = _header(number, stripped, seen, complaints)
            if current.kind:
                sections.append(current)
        else:
            _assignment(number, stripped, current, complaints)
    return sections


def _header(number, line, seen, complaints):
    """The section that a line opens. A wrong header opens one too, without a kind, so that its keys are not
    complained about one by one."""
    unknown = _Section("", "", number, {})
    words = line[1:-1].split()
    if not line.endswith("]") or not words or set(line[1:-1]) & set("[]"):
        complaints.add(number, line[:60], "not a section: write [name] and nothing after it")
        return unknown
    kind, name = words[0], " ".join(words[1:])
    label = "[%s]" % " ".join(words)[:80]
    if kind not in _ROWS:
        complaints.add(number, label, "unknown section", kind, _ROWS)
        return unknown
    if kind not in NAMED and name:
        complaints.add(number, label, "there is only one [%s]" % kind)
        return unknown
    if kind in NAMED:
        try:
            (unit_name if kind == "service" else dependency_name)(name)
        except ValueError as error:
            complaints.add(number, label, str(error) if name else "has no name: write [%s %s]" % (
                kind, "UNIT.service" if kind == "service" else "NAME"))
            return unknown
    if (kind, name) in seen:
        complaints.add(number, label, "there twice, first in line %d" % seen[kind, name])
        return unknown
    seen[kind, name] = number
    return _Section(kind, name, number, {})


def _assignment(number, line, section, complaints):
    key, equals, text = (part.strip() for part in line.partition("="))
    if not equals or not key:
        hint = ("comments begin with #" if line.startswith(";") else
                "it is 'key = value', with '='" if ":" in line else "neither [section] nor key = value")
        complaints.add(number, line.split()[0][:60], hint)
    elif section is None:
        complaints.add(number, key[:60], "stands before the first [section]")
    elif not section.kind:
        return
    elif key not in _ROWS[section.kind]:
        home = next((kind for kind in _ROWS if key in _ROWS[kind]), None)
        complaints.add(number, key[:60], "unknown setting in [%s]%s" % (
            section.kind, "; it belongs in [%s]" % home if home else ""), "" if home else key, _ROWS[section.kind])
    elif key in section.given:
        complaints.add(number, key, "there twice, first in line %d" % section.given[key][0])
    elif text.startswith("#") or " #" in text:
        complaints.add(number, key, "a comment stands on a line of its own")
    else:
        section.given[key] = number, text


def _values(section, complaints):
    """Every setting of a section, read; for one that cannot be read its default stands in."""
    built_in = BUILT_IN.get((section.kind, section.name), {})
    values = {}
    for key, row in _ROWS[section.kind].items():
        default = built_in.get(key, row.default)
        line, text = section.given.get(key, (0, default))
        try:
            values[key] = row.reader(text)
        except ValueError as error:
            complaints.add(line, key, str(error) if text else "has no value")
            values[key] = row.reader(default)
    return values


def _service(unit, values):
    port = values["port"] or (address(values["health"])[1] if values["health"] else None)
    return ServiceSettings(unit=unit, **dict(values, port=port))


def _dependencies(services, given, values, complaints):
    """The dependencies that have a section, and the built-in ones that a service names."""
    known = [name for kind, name in values if kind == "dependency"]
    named = {name: None for kind, name in given if kind == "dependency"}
    for section in services:
        for name in values["service", section.name]["depends"]:
            if ("dependency", name) in values:
                named[name] = None
            else:
                complaints.add(section.given["depends"][0], "depends", "there is no section [dependency %s]" % name,
                               name, known)
    dependencies = {}
    for name in named:
        found = dict(values["dependency", name])
        units = found.pop("unit") or (name + ".service",)
        dependencies[name] = DependencySettings(name=name, units=units, **found)
    return dependencies


def _cross_check(given, values, services, complaints):
    """What no single setting can know: marks in their order, limits that leave room for each other."""
    def line_of(kind, name, *keys):
        section = given.get((kind, name))
        return max([section.given[key][0] for key in keys if key in section.given] or [0]) if section else 0

    for kind, low, enough in _HYSTERESIS:
        lesser, greater = values[kind, ""][low], values[kind, ""][enough]
        why = _mark_order(lesser, greater, low)
        if why:
            complaints.add(line_of(kind, "", low, enough), enough, why)
    limit = values["recovery", ""]["probe_timeout"]
    for section in services:
        slow = values["service", section.name]["slow_after"]
        if slow >= limit:
            complaints.add(line_of("service", section.name, "slow_after") or line_of("recovery", "", "probe_timeout"),
                           "slow_after", "%s would never be seen: probes end after %s (probe_timeout in [recovery])" % (
                               duration_text(slow), duration_text(limit)))
        for name in values["service", section.name]["depends"]:
            if section.name in values.get(("dependency", name), {}).get("unit", ()):
                complaints.add(line_of("service", section.name, "depends"), "depends",
                               "%s would depend on itself, as %s" % (section.name, name))
    if values["recovery", ""]["verify_timeout"] <= limit:
        complaints.add(line_of("recovery", "", "verify_timeout", "probe_timeout"), "verify_timeout",
                       "must be longer than probe_timeout, %s" % duration_text(limit))


def _mark_order(lesser, greater, low):
    """Why two marks are no hysteresis, or ""."""
    if not (lesser.percent or lesser.size):
        return ""
    if (lesser.percent is None) != (greater.percent is None) or (lesser.size is None) != (greater.size is None):
        return "%s and %s (%s) cannot be compared: give both a percentage, both a size, or both both" % (
            greater, lesser, low)
    if any(most is not None and least >= most for least, most in zip(lesser, greater)):
        return "%s must be more than %s (%s)" % (greater, lesser, low)
    return ""
