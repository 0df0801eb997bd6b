"""Readers of settings: from the text in the file to the value, and back to the shortest text.

A reader takes a text and returns its value, or raises ValueError with a sentence that says why not; where it has one,
its attribute `range` says what it accepts. Units: seconds and bytes; percentages are numbers from 0 to 100.
"""

from collections import namedtuple

from citadel.settings.url import is_address, join_place, number, shown
from citadel.settings.url import read as read_url

LONGEST_LIST = 64
_DEPENDENCY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@:-")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "": 1}
_SIZES = {"": 1, "K": 1024, "M": 1024 ** 2, "G": 1024 ** 3, "T": 1024 ** 4}
_WILD = frozenset("*?[")
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


def _refuse(wrong, word, why):
    """ValueError, a sentence about `word`, if it is `wrong`."""
    if wrong:
        raise ValueError("%s %s" % (shown(word), why))


def _within(lowest, highest, read_any, text_of, what):
    """A reader of what `read_any` reads (None: not `what`) in a range; `text_of` writes a value as the file does."""
    def read_within(word):
        value = read_any(word)
        _refuse(value is None, word, "is not " + what)
        _refuse(not lowest <= value <= highest, word, "is out of range: " + read_within.range)
        return value
    read_within.range = "%s to %s" % (text_of(lowest), text_of(highest))
    return read_within


def whole(lowest, highest):
    return _within(lowest, highest, number, str, "a whole number")


def duration(lowest, highest):
    """Spans of time in a range, in seconds: 500ms, 5s, 10min, 1h30min, 1d; a number alone is seconds."""
    return _within(lowest, highest, _seconds, duration_text, "a duration: write for example 30s, 10min, 2h or 1d")


def _seconds(word):
    total, rest = 0, word
    while rest:
        after_number = rest.lstrip("0123456789")
        after_unit = after_number.lstrip("abcdefghijklmnopqrstuvwxyz")
        count = number(rest[:len(rest) - len(after_number)])
        unit = after_number[:len(after_number) - len(after_unit)]
        if count is None or unit not in _SECONDS or (not unit and rest != word):
            return None
        total, rest = total + count * _SECONDS[unit], after_unit
    return total if word else None


def duration_text(seconds):
    """Seconds as the settings file writes them: 90 is "90s", 600 "10min", 0.5 "500ms"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return "%d%s" % (seconds // length, unit)
    return "%dms" % round(seconds * 1000) if seconds else "0s"


def size(lowest, highest):
    """Bytes in a range: 64K, 500M, 8G, 1T (powers of 1024, as systemd counts); a number alone is bytes."""
    return _within(lowest, highest, _bytes, size_text, "a size: write for example 64K, 500M or 8G")


def _bytes(word):
    count = number(word[:-1] if word[-1:] in _SIZES else word)
    return None if count is None else count * _SIZES.get(word[-1], 1)


def size_text(count):
    """Bytes as the settings file writes them: 1073741824 is "1G", 1000 is "1000"."""
    for unit in "TGMK":
        if count >= _SIZES[unit] and count % _SIZES[unit] == 0:
            return "%d%s" % (count // _SIZES[unit], unit)
    return str(count)


def percent(lowest, highest):
    """A percentage in a range, its sign included: 10%."""
    return _within(lowest, highest, _percents, "{}%".format, "a percentage: write for example 10%")


def _percents(word):
    return number(word[:-1]) if word.endswith("%") else None


def mark(text):
    """A Mark: '5%', '500M', or both, of which the smaller counts."""
    words = text.split()
    share = [word for word in words if word.endswith("%")]
    amount = [word for word in words if not word.endswith("%")]
    _refuse(not words or len(share) > 1 or len(amount) > 1, text,
            "is neither a percentage nor a size, nor one of each ('5% 1G': the smaller counts)")
    return Mark(percent(0, 90)(share[0]) if share else None, size(0, 1 << 50)(amount[0]) if amount else None)


def share_mark(text):
    """A Mark of a percentage only, for what is not counted in bytes."""
    return Mark(percent(0, 90)(text), None)


def truth(word):
    """yes or no, on or off, true or false."""
    _refuse(word.lower() not in _TRUTH, word, "is neither yes nor no")
    return _TRUTH[word.lower()]


def unit_name(word):
    """A service's unit name, in full."""
    hint = "; did you mean %s.service?" % word if valid_name(word + ".service") and "." not in word else ""
    _refuse(not valid_name(word), word, "is not the name of a service unit" + hint)
    return word


def dependency_name(word):
    """A dependency's short name: it becomes part of causes (dependency.NAME.down) and of metric labels."""
    _refuse(not word[:1].isalpha() or set(word) - _DEPENDENCY_CHARACTERS or len(word) > 40, word,
            "is not a dependency's name: lower-case letters, digits, - and _, a letter first, at most 40 characters")
    return word


def path(word):
    """An absolute path without `..`; a slash at its end is dropped."""
    _refuse(not word.startswith("/"), word, "is not an absolute path")
    _refuse(len(word.split()) != 1, word, "is not one path: write it without spaces and without arguments")
    _refuse(len(word) > 1024 or "//" in word or {".", ".."} & set(word.split("/")), word,
            "is not a plain path: no '.', '..' or '//' in it, at most 1024 characters")
    return word.rstrip("/") or "/"


def cleanable_directory(word):
    """A directory in which files may be deleted: below the first level, and no part of the system."""
    clean = path(word)
    _refuse(clean.count("/") < 2 or _in_the_system(clean), word,
            "may not be cleaned: name a directory below the first level, outside " + _SYSTEM)
    _refuse(set(clean) & _WILD, word, "is a pattern: name a directory")
    return clean


def removable_file(word):
    """A file that may be removed: no pattern, and no part of the system."""
    clean = path(word)
    _refuse(set(clean) & _WILD or _in_the_system(clean.rpartition("/")[0]), word,
            "may not be removed: name one file below the first level, outside " + _SYSTEM)
    return clean


def temp_pattern(word):
    """An absolute pattern for temporary files: wildcards in its last part only, and three letters beside them. Where
    every user has files, these letters come first, so that it cannot match systemd-private-* by mistake: without those
    directories running services break, and nothing says so."""
    clean = path(word)
    directory, _, last = clean.rpartition("/")
    before = last[:min([last.index(wild) for wild in _WILD if wild in last] or [len(last)])]
    shared = directory in ("/tmp", "/var/tmp")
    letters = len(before) if shared else len(last) - sum(last.count(wild) for wild in "*?[]")
    _refuse(set(directory) & _WILD, word, "may have wildcards after the last / only")
    _refuse(_in_the_system(directory) or (before != last and letters < 3), word,
            "would remove too much: write at least three letters %s, outside %s" % (
                "before the first wildcard" if shared else "beside the wildcards", _SYSTEM))
    private = "systemd-private-"
    _refuse(shared and (before.startswith(private) or (before != last and private.startswith(before))), word,
            "would remove systemd-private-*, which running services need")
    return clean


def _in_the_system(directory):
    return directory in ("", "/") or directory.split("/")[1] in _SYSTEM_DIRECTORIES


def probe(url):
    """http://IP:PORT/path, redis://IP:PORT or tcp://IP:PORT: it is asked each minute, in a fixed time."""
    scheme, host, port, rest = read_url(url, ("http", "redis", "tcp"))
    _refuse(scheme != "http" and rest not in ("", "/"), url, "cannot be probed: a %s probe has no path" % scheme)
    host = _to_ask(host, url)
    _refuse(not is_address(host), url, "cannot be probed: use an IP address, not %s; resolving a name can hang, and "
            "would be part of the probe" % shown(host))
    _refuse(not port, url, "has no port")
    return "%s://%s%s" % (scheme, join_place(host, port), (rest or "/") if scheme == "http" else "")


def address(url):
    """(host, port) of a probe that was read by `probe`."""
    return read_url(url, ("http", "redis", "tcp"))[1:3]


def receiver(url):
    """http://HOST[:PORT][/PREFIX] or https://...: where alerts are sent. Its host may be a name."""
    scheme, host, port, rest = read_url(url, ("http", "https"))
    _refuse("?" in rest or {".", ".."} & set(rest.split("/")), url,
            "cannot receive alerts: only a prefix may follow the port; Citadel adds /api/v2/alerts")
    host = _to_ask(host, url)
    _refuse(not is_address(host) and (set(host) - _HOST_CHARACTERS or host[0] in "-." or len(host) > 253), url,
            "cannot receive alerts: %s is neither a host's name nor an address" % shown(host))
    return "%s://%s%s" % (scheme, join_place(host, port), rest.rstrip("/"))


def _to_ask(host, url):
    _refuse(host in ("0.0.0.0", "::"), url, "cannot be asked: %s is an address to listen on" % host)
    return "127.0.0.1" if host == "localhost" else host


def textfile_directory(word):
    """An absolute path; a "-" before it: used where it exists."""
    return "-" + path(word[1:]) if word.startswith("-") else path(word)


def each(reader):
    """A list of such values, separated by spaces, each of them once."""
    def read_each(text):
        values = tuple(reader(word) for word in text.split())
        _refuse(len(values) > LONGEST_LIST, text, "has %d values: at most %d" % (len(values), LONGEST_LIST))
        for value in values:
            _refuse(values.count(value) > 1, str(value), "is given twice")
        return values
    read_each.range = getattr(reader, "range", "")
    return read_each


def ascending(reader):
    """A list in which each value is more than the one before, and there is one."""
    def read_ascending(text):
        values = each(reader)(text)
        if not values:
            raise ValueError("has no value")
        _refuse(list(values) != sorted(values), text, "does not ascend: each value must be more than the one before")
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
