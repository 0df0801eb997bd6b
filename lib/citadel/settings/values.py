"""Readers of settings: from the text in the file to the value, and back to the shortest text.

A reader takes a text and returns its value, or raises ValueError with a sentence that says why not; where it has one,
its attribute `range` says what it accepts. Units: seconds and bytes; percentages are numbers from 0 to 100.
"""

from collections import namedtuple

from citadel.settings.url import is_address, join_place
from citadel.settings.url import read as read_url

LONGEST_LIST = 64

_DIGITS = frozenset("0123456789")
_DEPENDENCY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@:-")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "": 1}
_SIZES = {"": 1, "K": 1024, "M": 1024 ** 2, "G": 1024 ** 3, "T": 1024 ** 4}
_TRUTH = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
# Nothing is ever deleted below these: they are the system itself.
_SYSTEM_DIRECTORIES = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr")
_SYSTEM = ", ".join("/" + name for name in _SYSTEM_DIRECTORIES)


class Mark(namedtuple("Mark", "percent size")):
    """A mark on a scale whose length differs from host to host: a percentage of it, a size in bytes, or both, of which
    the smaller counts. A percentage alone is huge on a large disk; a size alone may be more than a small one holds."""

    __slots__ = ()

    def of(self, total):
        """The mark in bytes (or inodes) on a scale of `total`."""
        share = total if self.percent is None else total * self.percent // 100
        return share if self.size is None else min(share, self.size)

    def __str__(self):
        return " ".join(([] if self.percent is None else ["%d%%" % self.percent])
                        + ([] if self.size is None else [size_text(self.size)]))


def _text(word):
    """A word as an error message shows it."""
    return "'%s'" % (word if len(word) <= 60 else word[:59] + "…")


def _number(digits):
    """A whole number in plain ASCII digits, or None; `int` would also take '1_0', ' 1' and Arabic digits."""
    return int(digits) if digits and len(digits) <= 15 and not set(digits) - _DIGITS else None


def _within(lowest, highest, read_any, text_of):
    """A reader of what `read_any` reads, from `lowest` to `highest`; `text_of` writes a value as the file does."""
    def read_within(word):
        value = read_any(word)
        if not lowest <= value <= highest:
            raise ValueError("%s is out of range: %s" % (_text(word), read_within.range))
        return value
    read_within.range = "%s to %s" % (text_of(lowest), text_of(highest))
    return read_within


def whole(lowest, highest):
    """Whole numbers in a range."""
    def read_whole(word):
        number = _number(word)
        if number is None:
            raise ValueError("%s is not a whole number" % _text(word))
        return number
    return _within(lowest, highest, read_whole, str)


def duration(lowest, highest):
    """Spans of time in a range, in seconds: 500ms, 5s, 10min, 1h30min, 1d; a number alone is seconds."""
    return _within(lowest, highest, _read_duration, duration_text)


def _read_duration(word):
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
    return total


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
        return number * _SIZES.get(word[-1], 1)
    return _within(lowest, highest, read_size, size_text)


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
        return number
    return _within(lowest, highest, read_percent, "{}%".format)


def mark(text):
    """A Mark: '5%', '500M', or both, of which the smaller counts."""
    words = text.split()
    share = [word for word in words if word.endswith("%")]
    amount = [word for word in words if not word.endswith("%")]
    if not words or len(share) > 1 or len(amount) > 1:
        raise ValueError("%s is neither a percentage nor a size, nor one of each ('5%% 1G': the smaller counts)"
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
        raise ValueError("%s is not a dependency's name: use lower-case letters, digits, - and _, a letter first, "
                         "at most 40 characters" % _text(word))
    return word


def path(word):
    """An absolute path without `..`; a slash at its end is dropped."""
    if not word.startswith("/"):
        raise ValueError("%s is not an absolute path" % _text(word))
    if len(word.split()) != 1:
        raise ValueError("%s is not one path: write it without spaces and without arguments" % _text(word))
    if len(word) > 1024 or any(part in (".", "..") for part in word.split("/")) or "//" in word:
        raise ValueError("%s is not a plain path: no '.', '..' or '//' in it, at most 1024 characters" % _text(word))
    return word.rstrip("/") or "/"


def cleanable_directory(word):
    """A directory in which files may be deleted: below the first level, and no part of the system."""
    clean = path(word)
    if clean.count("/") < 2 or _in_the_system(clean):
        raise ValueError("%s may not be cleaned: name a directory below the first level, outside %s" % (
            _text(word), _SYSTEM))
    if set(clean) & set("*?["):
        raise ValueError("%s is a pattern: name a directory" % _text(word))
    return clean


def removable_file(word):
    """A file that may be removed: no pattern, and no part of the system."""
    clean = path(word)
    if set(clean) & set("*?[") or _in_the_system(clean.rpartition("/")[0]):
        raise ValueError("%s may not be removed: name one file below the first level, outside %s" % (
            _text(word), _SYSTEM))
    return clean


def temp_pattern(word):
    """An absolute pattern for temporary files: wildcards in its last part only, and three letters beside them. Where
    every user has files, these letters come first, so that it cannot match systemd-private-* by mistake: without those
    directories running services break, and nothing says so."""
    clean = path(word)
    directory, _, last = clean.rpartition("/")
    before = last[:min([last.index(wild) for wild in "*?[" if wild in last] or [len(last)])]
    if set(directory) & set("*?["):
        raise ValueError("%s: wildcards are allowed after the last / only" % _text(word))
    shared = directory in ("/tmp", "/var/tmp")
    letters = len(before) if shared else len(last) - sum(last.count(wild) for wild in "*?[]")
    if _in_the_system(directory) or (before != last and letters < 3):
        raise ValueError("%s would remove too much: write at least three letters %s, outside %s" % (
            _text(word), "before the first wildcard" if shared else "beside the wildcards", _SYSTEM))
    if shared and (before.startswith("systemd-private-") or (before != last and "systemd-private-".startswith(before))):
        raise ValueError("%s would remove systemd-private-*, which running services need" % _text(word))
    return clean


def _in_the_system(directory):
    return directory in ("", "/") or directory.split("/")[1] in _SYSTEM_DIRECTORIES


def probe(url):
    """http://IP:PORT/path, redis://IP:PORT or tcp://IP:PORT: it is asked each minute, in a fixed time."""
    scheme, host, port, rest = read_url(url, ("http", "redis", "tcp"))
    if scheme != "http" and rest not in ("", "/"):
        raise ValueError("%s: a %s probe has no path" % (_text(url), scheme))
    host = _to_ask(host, url)
    if not is_address(host):
        raise ValueError("%s: use an IP address, not %s: resolving a name can hang, and would be part of the probe"
                         % (_text(url), _text(host)))
    if not port:
        raise ValueError("%s has no port" % _text(url))
    return "%s://%s%s" % (scheme, join_place(host, port), (rest or "/") if scheme == "http" else "")


def address(url):
    """(host, port) of a probe that was read by `probe`."""
    return read_url(url, ("http", "redis", "tcp"))[1:3]


def receiver(url):
    """http://HOST[:PORT][/PREFIX] or https://...: where alerts are sent. Its host may be a name."""
    scheme, host, port, rest = read_url(url, ("http", "https"))
    if "?" in rest or any(part in (".", "..") for part in rest.split("/")):
        raise ValueError("%s: only a prefix may follow the port; Citadel adds /api/v2/alerts" % _text(url))
    host = _to_ask(host, url)
    if not is_address(host) and (set(host) - _HOST_CHARACTERS or host[0] in "-." or len(host) > 253):
        raise ValueError("%s: %s is neither a host's name nor an address" % (_text(url), _text(host)))
    return "%s://%s%s" % (scheme, join_place(host, port), rest.rstrip("/"))


def _to_ask(host, url):
    if host in ("0.0.0.0", "::"):
        raise ValueError("%s: %s is an address to listen on, not one to ask" % (_text(url), host))
    return "127.0.0.1" if host == "localhost" else host


def textfile_directory(word):
    """An absolute path; a "-" before it: used where it exists."""
    return "-" + path(word[1:]) if word.startswith("-") else path(word)


def each(reader, fewest=0):
    """A list of such values, separated by spaces, each of them once."""
    def read_each(text):
        values = [reader(word) for word in text.split()]
        if len(values) < fewest:
            raise ValueError("has no value")
        if len(values) > LONGEST_LIST:
            raise ValueError("%d values: at most %d" % (len(values), LONGEST_LIST))
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise ValueError("%s is given twice" % _text(str(twice)))
        return tuple(values)
    read_each.range = getattr(reader, "range", "")
    return read_each


def ascending(reader):
    """A list in which each value is more than the one before."""
    def read_ascending(text):
        values = each(reader, fewest=1)(text)
        if list(values) != sorted(values):
            raise ValueError("%s: each value must be more than the one before" % _text(text))
        return values
    read_ascending.range = getattr(reader, "range", "")
    return read_ascending


def maybe(reader, nothing):
    """Such a value, or nothing at all."""
    def read_maybe(text):
        return reader(text) if text else nothing
    read_maybe.range = getattr(reader, "range", "")
    return read_maybe


def valid_name(name, suffix=".service"):
    """Whether `name` is a unit name that systemctl reads as one: no option, no glob, no path."""
    return (name.endswith(suffix) and len(name) <= 200 + len(suffix) and name[:1].isalnum()
            and not set(name) - _NAME_CHARACTERS and len(name) > len(suffix))
