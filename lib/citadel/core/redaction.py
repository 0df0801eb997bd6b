"""Text of others without its secrets: documents for the evidence, lines for what leaves the host.

Secrets are the values of keys with telling names, Authorization headers, users and passwords in URLs, private keys, and
tokens of a known form; rather too much is removed than too little. Every pattern begins at a place that few positions
have, repeats within bounds and has one reading, so that no text takes more than linear time: an attacker may write a
line of the journal, and a recovery waits. A healthy check does not import this, for `re` is slow to load.
"""

import re

from citadel.core.text import printable

_SECRET = re.compile(r"(?!.*(?:error|exception|warning)$)"      # "TokenError: unexpected end" is evidence
                     r".*?(?:pass(?:word|wd|phrase)|secret|token|credential|keys?$|[_-]key|apikey|authorization|cookie|"
                     r"dsn$|(?:^|[_-])(?:pass|pwd|auth)$|^requirepass$|^masterauth$)", re.IGNORECASE)
_NAME = r"[\w.-]{1,120}"
_QUOTE = r"(?:\\{0,7}[\"'])?"                           # within JSON that is itself a text of JSON: \"
_IS = r"[ \t]{0,8}[:=][ \t]{0,8}"
_KEY = re.compile(r"(?<![\w.-])(" + _NAME + r")(?![\w.-])" + _QUOTE + _IS)
_FLAG = re.compile(r"(?<![\w-])--?(" + _NAME + r")[ \t]{1,8}(?=[^\s-])")
_FIRST = re.compile(r"[ \t]{0,80}(?:-[ \t]{1,8})?(?:export[ \t]{1,8})?(?P<quote>[\"']?)(?P<name>" + _NAME +
                    r")(?![\w.-])[\"']?" + _IS)
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^']|'')*'?|"
                    r"(?P<escape>\\{1,7})(?P<mark>[\"'])(?:(?!(?<!\\)(?P=escape)(?P=mark)).)*(?:(?P=escape)(?P=mark))?|"
                    r"(?:[^\s,;&\"']|[,;&](?![\s,;&\"']|$|" + _NAME + r"[:=])|(?<=[^\s=:])[\"'](?=\w))+")
_FORMS = tuple((re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in (
    (r"://[^/\s\"]{1,500}@", "://[redacted]@"),
    (r"\b(bearer|basic)[ \t]{1,4}[A-Za-z0-9+/=._~-]{8,}", r"\1 [redacted]"),
    (r"\beyJ[\w-]{8,2000}\.[\w.-]+", "[redacted]"),
    (r"\bsk-[\w-]{16,}", "[redacted]")))
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)")
_LONGEST_LINE = 4000
_REST = {'"': re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL), "'": re.compile(r"(?:[^']|'')*'(?!')")}   # of an open quote


def excerpt(text, limit=200):
    """text.printable for the beginning of a text of others, without what looks like a secret."""
    line = _PRIVATE.sub("[redacted private key]", printable(text, limit * 4))
    return printable(_redact_within(line), limit)


def redact(text):
    """A document without what looks like a secret; of a key that begins a line, also the value on lines below."""
    lines, below = [], None
    for line in _PRIVATE.sub("[redacted private key]", text).split("\n"):
        if below and below.holds(line):
            if not line.strip() or not lines[-1].endswith("[redacted]"):
                lines.append("[redacted]" if line.strip() else line)
            continue
        below, first = None, _FIRST.match(line)
        if first and _SECRET.match(first.group("name")):
            rest = line[first.end():]
            below = _Below(first.start("quote"), rest)
            lines.append(line[:first.end()] + "[redacted]" if rest.strip() else line)
        else:
            lines.append(_redact_within(line[:_LONGEST_LINE]))
    return "\n".join(lines)


class _Below:
    """Which lines still belong to the value of a key at `column`, as in YAML, JSON and INI: those that are indented
    more, list items beside it, and everything until an open quote or bracket is closed."""

    def __init__(self, column, rest):
        self._column, self._empty = column, not rest.strip()
        self._quote = rest[:1] if rest[:1] in _REST and not _REST[rest[:1]].match(rest, 1) else ""
        self._depth = _nesting(rest) if rest[:1] in ("[", "{") else 0

    def holds(self, line):
        if self._quote:
            if _REST[self._quote].match(line):
                self._quote = ""
            return True
        if self._depth > 0:
            self._depth += _nesting(line)
            return True
        text = line.lstrip()
        indent = len(line) - len(text)
        return not text or indent > self._column or (
            self._empty and indent == self._column and (text.startswith("- ") or text == "-"))


def _nesting(line):
    return sum(line.count(mark) for mark in "[{") - sum(line.count(mark) for mark in "]}")


def _redact_within(line):
    """Values in the middle of a line end at the next space: the rest may be evidence."""
    for pattern, replacement in _FORMS:
        line = pattern.sub(replacement, line)
    for pattern in (_KEY, _FLAG):
        pieces, done = [], 0
        for key in pattern.finditer(line):
            if key.end() < done or not _SECRET.match(key.group(1)):
                continue
            end = _value_end(line, key)
            if end > key.end():
                pieces += [line[done:key.end()], "[redacted]"]
                done = end
        line = "".join(pieces) + line[done:]
    return line


def _value_end(line, key):
    if "authorization" in key.group(1).lower():
        return len(line)
    before = line[key.start(1) - 1:key.start(1)]
    if before in _REST and before not in line[key.end(1):key.end()]:       # "NAME=a value with spaces"
        rest = _REST[before].match(line, key.end())
        return rest.end() - 1 if rest else len(line)
    value = _VALUE.match(line, key.end())
    return value.end() if value else key.end()
