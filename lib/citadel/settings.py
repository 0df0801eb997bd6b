"""citadel.conf to settings: one row a setting.

`SETTINGS` is the only place that knows a setting: its section, name, default (written as in the file), the reader
that turns its text into a value or says why not, and its meaning. Defaults, validation, `as_data` (`config --json`)
and the test of the shipped units/citadel.conf are all derived from it.

`read(path)` trusts no file that another user could have written (errors.NotPermitted), and raises
errors.SettingsError for the first thing wrong; `check_file(path)` lists all of them. `parse` is pure.

The file is INI, read strictly: `[section]`, `key = value`, `#` comments on lines of their own, UTF-8. Nothing is
interpolated and no value goes on in the next line, so what a line says does not depend on any other line; this,
and its 7 ms at each start, is why configparser is not used.

Units: seconds and bytes; percentages are numbers from 0 to 100.
"""

import errno
import os
from _socket import AF_INET, AF_INET6, inet_pton
from collections import namedtuple
from stat import S_ISREG

from citadel.errors import NotPermitted, SettingsError
from citadel.facts import Problem
from citadel.systemctl import valid_name

DEFAULT_PATH = "/opt/citadel/etc/citadel.conf"
LARGEST_FILE = 256 * 1024
LONGEST_LIST = 64
MOST_PROBLEMS = 50      # a file with more is no settings file; nobody reads on, and each costs a search for near misses

_DIGITS = frozenset("0123456789")
_DEPENDENCY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
_URL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?[]@!$&'()*+,;=%")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "": 1}
_SIZES = {"": 1, "K": 1024, "M": 1024 ** 2, "G": 1024 ** 3, "T": 1024 ** 4}
_TRUTH = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
# Where nothing of ours may ever delete: the system itself.
_SYSTEM_DIRECTORIES = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr")


class Mark(namedtuple("Mark", "percent size")):
    """A mark on a scale whose length differs from host to host: so many percent of it, or so many bytes, and where
    both are given, whichever is less. A percentage alone is huge on a large disk; a size alone may exceed a small one.
    """

    __slots__ = ()

    def of(self, total):
        """The mark in bytes (or inodes) on a scale of `total`."""
        share = total if self.percent is None else total * self.percent // 100
        return share if self.size is None else min(share, self.size)

    def __str__(self):
        return " ".join(([] if self.percent is None else ["%d%%" % self.percent])
                        + ([] if self.size is None else [size_text(self.size)]))


# --- readers: the text of a value to the value, or ValueError saying why not; `range`, where it has one, is what it
# accepts, in words ---------------------------------------------------------------------------------------------------

def _text(word):
    """A word as a complaint shows it."""
    return "'%s'" % (word if len(word) <= 60 else word[:59] + "…")


def _number(digits):
    """A whole number in plain ASCII digits, or None; `int` would also take '1_0', ' 1' and Arabic digits."""
    return int(digits) if digits and len(digits) <= 15 and not set(digits) - _DIGITS else None


def whole(lowest, highest):
    """Whole numbers in a range."""
    def read_whole(word):
        number = _number(word)
        if number is None:
            raise ValueError("%s is not a whole number" % _text(word))
        if not lowest <= number <= highest:
            raise ValueError("%d is out of range: %d to %d" % (number, lowest, highest))
        return number
    read_whole.range = "%d to %d" % (lowest, highest)
    return read_whole


def duration(lowest, highest):
    """Spans of time in a range, in seconds: 500ms, 5s, 10min, 1h30min, 1d; a number alone is seconds."""
    def read_duration(word):
        total, rest = 0, word
        while rest:
            number_length = len(rest) - len(rest.lstrip("0123456789"))
            unit_length = len(rest) - number_length - len(rest[number_length:].lstrip("abcdefghijklmnopqrstuvwxyz"))
            number = _number(rest[:number_length])
            unit = rest[number_length:number_length + unit_length]
            if number is None or unit not in _SECONDS or (not unit and rest != word):
                break
            total, rest = total + number * _SECONDS[unit], rest[number_length + unit_length:]
        if rest or not word:
            raise ValueError("%s is not a duration: write for example 30s, 10min, 2h or 1d" % _text(word))
        if not lowest <= total <= highest:
            raise ValueError("%s is out of range: %s to %s" % (
                _text(word), duration_text(lowest), duration_text(highest)))
        return total
    read_duration.range = "%s to %s" % (duration_text(lowest), duration_text(highest))
    return read_duration


def duration_text(seconds):
    """Seconds as the settings file writes them: 90 is "90s", 600 "10min", 0.5 "500ms"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return "%d%s" % (seconds // length, unit)
    return "%dms" % round(seconds * 1000) if seconds else "0s"


def size(lowest, highest):
    """Bytes in a range: 64K, 500M, 8G, 1T (powers of 1024, as systemd counts); a number alone is bytes."""
    def read_size(word):
        number = _number(word[:-1] if word[-1:] in _SIZES else word)
        if number is None:
            raise ValueError("%s is not a size: write for example 64K, 500M or 8G" % _text(word))
        number *= _SIZES[word[-1]] if word[-1] in _SIZES else 1
        if not lowest <= number <= highest:
            raise ValueError("%s is out of range: %s to %s" % (_text(word), size_text(lowest), size_text(highest)))
        return number
    read_size.range = "%s to %s" % (size_text(lowest), size_text(highest))
    return read_size


def size_text(count):
    """Bytes as the settings file writes them: 1073741824 is "1G", 1000 is "1000"."""
    for unit in "TGMK":
        if count >= _SIZES[unit] and count % _SIZES[unit] == 0:
            return "%d%s" % (count // _SIZES[unit], unit)
    return str(count)


def percent(lowest, highest):
    """A percentage in a range, its sign included: 10%."""
    def read_percent(word):
        number = _number(word[:-1]) if word.endswith("%") else None
        if number is None:
            raise ValueError("%s is not a percentage: write for example 10%%" % _text(word))
        if not lowest <= number <= highest:
            raise ValueError("%d%% is out of range: %d%% to %d%%" % (number, lowest, highest))
        return number
    read_percent.range = "%d%% to %d%%" % (lowest, highest)
    return read_percent


def mark(text):
    """A Mark: '5%', '500M', or both, of which the lesser counts."""
    words = text.split()
    share = [word for word in words if word.endswith("%")]
    amount = [word for word in words if not word.endswith("%")]
    if not words or len(share) > 1 or len(amount) > 1:
        raise ValueError("%s is not a mark: write a percentage, a size, or one of each ('5%% 1G': the lesser counts)"
                         % _text(text))
    return Mark(percent(0, 90)(share[0]) if share else None, size(0, 1 << 50)(amount[0]) if amount else None)


def share_mark(text):
    """A Mark of a percentage only, for what is not counted in bytes."""
    return Mark(percent(0, 90)(text), None)


def truth(word):
    """yes or no, on or off, true or false."""
    if word.lower() not in _TRUTH:
        raise ValueError("%s is neither yes nor no" % _text(word))
    return _TRUTH[word.lower()]


def unit_name(word):
    """A service's unit name, in full."""
    if valid_name(word):
        return word
    hint = "; did you mean %s.service?" % word if valid_name(word + ".service") and "." not in word else ""
    raise ValueError("%s is not the name of a service unit%s" % (_text(word), hint))


def dependency_name(word):
    """A dependency's short name: it becomes part of causes (dependency.NAME.down) and of metric labels."""
    if not word[:1].isalpha() or set(word) - _DEPENDENCY_CHARACTERS or len(word) > 40:
        raise ValueError("%s is not a dependency's name: lower-case letters, digits, - and _, a letter first, "
                         "at most 40" % _text(word))
    return word


def path(word):
    """An absolute path, without `..`; a slash at its end is dropped."""
    if not word.startswith("/"):
        raise ValueError("%s is not an absolute path" % _text(word))
    if len(word.split()) != 1:
        raise ValueError("%s: one path, without spaces and without arguments" % _text(word))
    if len(word) > 1024 or any(part in (".", "..") for part in word.split("/")) or "//" in word:
        raise ValueError("%s is not a plain path: no '.', '..' or '//' in it, at most 1024 characters" % _text(word))
    return word.rstrip("/") or "/"


def cleanable_directory(word):
    """A directory in which files may be deleted: deep enough, and no part of the system."""
    clean = path(word)
    if clean.count("/") < 2 or _in_the_system(clean):
        raise ValueError("%s is no place to clean: a directory below the first level, outside /%s" % (
            _text(word), ", /".join(_SYSTEM_DIRECTORIES)))
    if set(clean) & set("*?["):
        raise ValueError("%s: a directory, not a pattern" % _text(word))
    return clean


def removable_file(word):
    """A file that may be removed: no pattern, and no part of the system."""
    clean = path(word)
    if set(clean) & set("*?[") or _in_the_system(clean.rpartition("/")[0]):
        raise ValueError("%s is nothing to remove: one file, below the first level, outside /%s" % (
            _text(word), ", /".join(_SYSTEM_DIRECTORIES)))
    return clean


def temp_pattern(word):
    """An absolute pattern for temporary files: wild cards in its last part only, and three letters beside them. Where
    every user has files, these letters come first; so systemd-private-*, without which running services break
    without a sign, cannot be meant by mistake."""
    clean = path(word)
    directory, _, last = clean.rpartition("/")
    before = last[:min([last.index(wild) for wild in "*?[" if wild in last] or [len(last)])]
    if set(directory) & set("*?["):
        raise ValueError("%s: wild cards only after the last /" % _text(word))
    shared = directory in ("/tmp", "/var/tmp")
    letters = len(before) if shared else len(last) - sum(last.count(wild) for wild in "*?[]")
    if _in_the_system(directory) or (before != last and letters < 3):
        raise ValueError("%s would remove too much: at least three letters %s wild card, outside /%s" % (
            _text(word), "before a" if shared else "beside the", ", /".join(_SYSTEM_DIRECTORIES)))
    if shared and (before.startswith("systemd-private-") or (before != last and "systemd-private-".startswith(before))):
        raise ValueError("%s would remove systemd-private-*: that breaks running services without a sign" % _text(word))
    return clean


def _in_the_system(directory):
    return directory in ("", "/") or directory.split("/")[1] in _SYSTEM_DIRECTORIES


def probe(url):
    """http://IP:PORT/path, redis://IP:PORT or tcp://IP:PORT, by number: what is asked each minute, in a fixed time."""
    scheme, host, port, rest = _split_url(url, ("http", "redis", "tcp"))
    if scheme != "http" and rest not in ("", "/"):
        raise ValueError("%s: a %s probe has no path" % (_text(url), scheme))
    if host == "localhost":
        host = "127.0.0.1"
    if not is_address(host):
        raise ValueError("%s: an address by number, not %s: resolving a name can hang, and would be part of what is "
                         "tested" % (_text(url), _text(host)))
    if host in ("0.0.0.0", "::"):
        raise ValueError("%s: %s is an address to listen on, not one to ask" % (_text(url), host))
    if not port:
        raise ValueError("%s has no port" % _text(url))
    return "%s://%s:%d%s" % (scheme, "[%s]" % host if ":" in host else host, port,
                             (rest or "/") if scheme == "http" else "")


def _split_url(url, schemes):
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError("%s does not begin with %s" % (_text(url), " or ".join(word + "://" for word in schemes)))
    if set(url) - _URL_CHARACTERS or len(url) > 1024:
        raise ValueError("%s holds characters that no URL has" % _text(url))
    cut = min([rest.index(end) for end in "/?" if end in rest] or [len(rest)])
    place, rest = rest[:cut], rest[cut:]
    if "@" in place:
        raise ValueError("a URL with a user or password in it: this file is no place for secrets")
    host, separator, digits = place[1:].partition("]") if place.startswith("[") else place.partition(":")
    if place.startswith("["):
        separator, digits = digits[:1], digits[1:]
        if ":" not in host or separator not in ("", ":"):
            raise ValueError("%s: what stands in [ ] is no IPv6 address" % _text(url))
    elif ":" in digits:
        raise ValueError("%s: an IPv6 address is written in [ ]" % _text(url))
    port = _number(digits) or 0
    if separator and not 1 <= port <= 65535:
        raise ValueError("%s: %s is not a port, 1 to 65535" % (_text(url), _text(digits)))
    if not host:
        raise ValueError("%s names no host" % _text(url))
    if rest.startswith("?"):
        rest = "/" + rest
    return scheme, host.lower(), port, rest


def is_address(host):
    """Whether that is an IPv4 or IPv6 address by number."""
    try:
        inet_pton(AF_INET6 if ":" in host else AF_INET, host)
        return True
    except (OSError, ValueError):
        return False


def address(url):
    """(host, port) of a probe that was read by `probe`."""
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    return host.strip("[]"), int(port)


def receiver(url):
    """http://HOST[:PORT][/PREFIX] or https://...: where alerts are sent. Its host may be a name."""
    scheme, host, port, rest = _split_url(url, ("http", "https"))
    if "?" in rest or any(part in (".", "..") for part in rest.split("/")):
        raise ValueError("%s: only a prefix may follow the port; /api/v2/alerts is added to it" % _text(url))
    host = "127.0.0.1" if host == "localhost" else host
    if host in ("0.0.0.0", "::"):
        raise ValueError("%s: %s is an address to listen on, not one to ask" % (_text(url), host))
    if not is_address(host) and (set(host) - _HOST_CHARACTERS or host[0] in "-." or len(host) > 253):
        raise ValueError("%s: %s is neither a host's name nor an address" % (_text(url), _text(host)))
    return "%s://%s%s%s" % (scheme, "[%s]" % host if ":" in host else host, ":%d" % port if port else "",
                            rest.rstrip("/"))


def textfile_directory(word):
    """An absolute path; a "-" before it: used where it exists."""
    return "-" + path(word[1:]) if word.startswith("-") else path(word)


def each(reader, fewest=0):
    """A list of such values, separated by spaces; none of them twice."""
    def read_each(text):
        values = [reader(word) for word in text.split()]
        if len(values) < fewest:
            raise ValueError("has no value")
        if len(values) > LONGEST_LIST:
            raise ValueError("%d values: at most %d" % (len(values), LONGEST_LIST))
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise ValueError("%s is there twice" % _text(str(twice)))
        return tuple(values)
    read_each.range = getattr(reader, "range", "")
    return read_each


def ascending(reader):
    """A list whose every value is larger than the one before."""
    def read_ascending(text):
        values = each(reader, fewest=1)(text)
        if list(values) != sorted(values):
            raise ValueError("%s: each must be longer than the one before" % _text(text))
        return values
    read_ascending.range = getattr(reader, "range", "")
    return read_ascending


def maybe(reader, nothing):
    """Such a value, or nothing at all."""
    def read_maybe(text):
        return reader(text) if text else nothing
    read_maybe.range = getattr(reader, "range", "")
    return read_maybe


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
        "is called."),
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
        "stdin. Owned by root and writable by nobody else, no arguments. Empty: none."),
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


def read_trusted(path, owners=None, forbidden_mode=0o022):
    """The bytes of a settings file, or None if there is none. Raises NotPermitted, saying why, for a file that is not
    what a settings file must be: regular, no link, one name, at most LARGEST_FILE bytes, owned by one of `owners`
    (None: anybody), no bit of `forbidden_mode`. O_NONBLOCK so that a FIFO in its place cannot hang us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        if error.errno == errno.ELOOP:
            raise NotPermitted("%s is a symbolic link; citadel follows none" % path)
        raise NotPermitted("%s cannot be read: %s" % (path, error.strerror))
    except ValueError:
        raise NotPermitted("%r is not a file name" % path)
    try:
        _refuse(path, os.fstat(descriptor), owners, forbidden_mode)
        return _read_all(descriptor, path)
    finally:
        os.close(descriptor)


def _refuse(path, status, owners, forbidden_mode):
    if not S_ISREG(status.st_mode):
        raise NotPermitted("%s is not a regular file" % path)
    if owners is not None and status.st_uid not in owners:
        raise NotPermitted("%s belongs to uid %d; %s must not trust it" % (path, status.st_uid, _whose(owners)))
    for what, bits, so in (("writable", (0o020, 0o002), "must not trust it"),
                           ("readable", (0o040, 0o004), "alone may")):
        others = [who for bit, who in zip(bits, ("its group", "everybody")) if status.st_mode & forbidden_mode & bit]
        if others:
            raise NotPermitted("%s is %s by %s; %s %s" % (path, what, " and ".join(others), _whose(owners), so))
    if status.st_nlink != 1:
        raise NotPermitted("%s has %d names (hard links); only a file with one is trusted" % (path, status.st_nlink))


def _whose(owners):
    return "root" if not owners or set(owners) == {0} else "uid %d" % max(owners)


def _read_all(descriptor, path):
    chunks, length = [], 0
    try:
        while length <= LARGEST_FILE:
            chunk = os.read(descriptor, LARGEST_FILE + 1 - length)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            length += len(chunk)
    except OSError as error:
        raise NotPermitted("%s cannot be read: %s" % (path, error.strerror))
    raise NotPermitted("%s is larger than %s; that is no settings file" % (path, size_text(LARGEST_FILE)))


def _decoded(path, uid):
    uid = os.geteuid() if uid is None else uid
    content = read_trusted(path, owners=(0, uid))
    return None if content is None else decode(content, path)


def decode(content, file, mark_allowed=False):
    """Strict UTF-8, and no byte order mark unless `mark_allowed`; SettingsError names the line of what is not."""
    if content.startswith(b"\xef\xbb\xbf") and not mark_allowed:
        raise SettingsError(file, 1, "", "begins with a byte order mark (BOM); save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(file, content.count(b"\n", 0, error.start) + 1, "",
                            "byte 0x%02x is not UTF-8" % content[error.start])


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
    from difflib import get_close_matches     # it brings `re` along: only for who errs
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
