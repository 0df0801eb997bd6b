"""Data to text; pure. Every text of others goes through `printable`; the rest writes spans, sizes, times and JSON."""

import time

_UNPRINTABLE = {code: "\\x%02x" % code for code in (*range(0x20), *range(0x7F, 0xA0))}
_UNPRINTABLE.update({ord(blank): " " for blank in "\t\n\r"})
_UNPRINTABLE.update(dict.fromkeys((
    0x061C, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x2028, 0x202A),
    *range(0x200B, 0x200E), *range(0xE0000, 0xE0080))))


def printable(text, limit=200):
    """One line that is safe on a terminal, in a log, an alert and a metric: no control, bidi or zero-width
    characters, no lone surrogates, at most `limit` characters (an ellipsis marks a cut)."""
    line = text[:limit * 4].translate(_UNPRINTABLE).encode("utf-8", "backslashreplace").decode("utf-8").strip()
    return line if len(line) <= limit else line[:limit - 1] + "…"


def span(seconds):
    """Seconds as people say them: "2 ms", "0.25 s", "5 s", "5.3 s", "4 min 10 s", "2 h", "3 d 4 h"; "for ever"."""
    if seconds == float("inf"):
        return "for ever"
    if 0 < seconds < 0.0995:
        return "%d ms" % max(1, round(seconds * 1000))
    if seconds < 0.995 and seconds:
        return "%.2f s" % seconds
    if seconds < 9.95 and seconds != int(seconds):
        return "%.1f s" % seconds
    whole = int(round(seconds))
    for length, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= length:
            rest = whole % length // part
            return "%d %s" % (whole // length, unit) + (" %d %s" % (rest, smaller) if rest else "")
    return "%d s" % whole


def size(count):
    """Bytes in binary units, as systemd reads and `df -h` writes them: "512 B", "1.5 GiB"."""
    units = ["TiB", "GiB", "MiB", "KiB", "B"]
    while count >= 1024 and len(units) > 1:
        count /= 1024.0
        units.pop()
    return "%d %s" % (count, units[-1]) if count == int(count) else "%.1f %s" % (count, units[-1])


def local_time(epoch, milliseconds=False):
    """Wall time for an operator at this host: "2026-11-23 18:00:00"."""
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
    return text + ".%03d" % (epoch % 1 * 1000) if milliseconds else text


def plural(count, noun):
    """"1 restart", "3 restarts"."""
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")


def to_json(document):
    """One JSON document, ended by a newline. A named tuple becomes an object; infinity, which JSON lacks, null."""
    import json
    return json.dumps(_finite(document), ensure_ascii=True, indent=1) + "\n"


def _finite(value):
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
