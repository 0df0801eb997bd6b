"""Any of it to text. Pure: data in, text out."""

_HIDDEN = {code: None for code in (0x061C, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A),
                                   *range(0x2028, 0x202A), *range(0x200B, 0x200E), *range(0xE0000, 0xE0080))}
_CONTROLS = {code: "\\x%02x" % code for code in (*range(0x00, 0x20), *range(0x7F, 0xA0))}
_UNPRINTABLE = dict(_CONTROLS)
_UNPRINTABLE.update(_HIDDEN)
_UNPRINTABLE.update({0x09: " ", 0x0A: " ", 0x0D: " "})
_UNPRINTABLE.update({code: "\\u%04x" % code for code in range(0xD800, 0xE000)})


def printable(text, limit=200):
    """One line that is safe on a terminal, in a log, an alert and a metric: no control, bidi or zero-width
    characters, no lone surrogates, at most `limit` characters (an ellipsis marks a cut)."""
    line = text[:limit * 4].translate(_UNPRINTABLE).strip()
    return line if len(line) <= limit else line[:limit - 1] + "…"
