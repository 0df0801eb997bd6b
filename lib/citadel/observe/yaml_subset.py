"""Reads the plain part of YAML that settings files are written in: scalars in mappings. All else (lists, braces, tags,
anchors, blocks of text, several documents) is stepped over and named in `unjudged`; where its end is not certain, the
whole file is. Values are those of YAML 1.1, as PyYAML reads them: `yes` is a truth value, 010 is 8, 1:30 is 90; its
rarer types (dates, .inf) are texts here. What is called wrong is an error to PyYAML, too, except a key that is there
twice: PyYAML silently takes the last one.
"""

import re
from bisect import bisect
from collections import namedtuple

from citadel.core.text import printable
from citadel.model import Problem

DEEPEST = 60            # levels of nesting
LONGEST_PATH = 200      # characters; nobody asks for a longer one. Each value has one: 256 KiB could ask for gigabytes
MOST_NOTES = 100        # places listed in `unjudged`, and keys that are there twice

Document = namedtuple("Document", "values unjudged problems")
Document.__doc__ = """`values` dotted.path -> Value. `unjudged` (what is not read; its key is the path that it hides, ""
for any) and `problems` (what is wrong) are tuples of model.Problem."""
Value = namedtuple("Value", "value line text")
Value.__doc__ = "A scalar, its line, and its text as written, quotes included."

# What is written, piece by piece. `_QUOTED` is on one line; without its \n it may go over several.
_QUOTED = r"""'[^'\n]*(?:''[^'\n]*)*'(?!')|"[^"\\\n]*(?:\\.[^"\\\n]*)*\""""
_PLAIN = (r"""(?:[^ \t\n\-?:,\[\]{}#&*!|>%@`'"]|[-?:](?=[^ \t\n]))"""
          r"[^ \t\n:#]*(?:(?:#|:(?=[^ \t\n])| +(?=[^ \t\n#]))[^ \t\n:#]*)*")
_COLON = re.compile(r" *:(?=[ \t\n]|\Z)")
_HAS_COLON = re.compile(r"(?:[^ \t\n:]|:(?=[^ \t\n])| (?!#))*:(?=[ \t\n]|\Z)")
_KEY = re.compile("(%s|%s)%s" % (_QUOTED, _PLAIN, _COLON.pattern))
_SCALAR = re.compile(_QUOTED.replace(r"\n", "") + "|" + _PLAIN + r"|\*[0-9A-Za-z_-]+(?=[ \n]|\Z)", re.DOTALL)
_PROPERTIES = re.compile(r" *(?:(?:&[0-9A-Za-z_-]+|![0-9A-Za-z_!:/.-]*)(?: +|(?=\n|\Z))){1,2}")
_ITEM = re.compile(r"-(?=[ \t\n]|\Z)")
_IN_BRACKETS = re.compile(r"""[\[\]{},:]|(?:[^ \t\n\-?:,\[\]{}#&*!|>%@`'"]|-(?=[^ \t\n]))[^ \t\n,\[\]{}?]*"""
                          r"(?:(?<!:)[ \n]+(?=[^ \t\n#:])[^ \t\n,\[\]{}?]*)*|" + _QUOTED.replace(r"\n", ""), re.DOTALL)
_HAS_TAB = re.compile(r"[^\n\t]*\t")
_EMPTY = re.compile(r"(?:[ \n]|(?<![^ \n])#[^\n]*)*")
_MARK = re.compile(r"^(?:---|\.\.\.)(?=[ \t\n]|\Z)", re.MULTILINE)
_ODD = re.compile(r"([\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff])|"
                  r"[\r\x85\u2028\u2029\ufeff]")
_ESCAPED = re.compile(r'(?:[^\\]|\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0abt\tnvfre "/\\N_LP]))*')
_FLOAT = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")
_INTEGER = re.compile(r"[-+]?(?:0b_*[01][01_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0[0-7_]*|"
                      r"[1-9][0-9_]*(?::[0-5]?[0-9])*)")
_WORDS = {word: value for words, value in (("yes true on", True), ("no false off", False), ("null ~", None))
          for name in words.split() for word in (name, name.capitalize(), name.upper())}
_DEEPER = "indented more than the line before it, which already has a value"
_LEFT = ": Citadel does not read this, so %s is not checked"


class _Broken(Exception):
    """(line, why): this is no YAML. Whoever loads the file gets an error."""


class _Beyond(Exception):
    """(line, what): from here on it is not certain what belongs where. Nothing in the file is judged."""


def parse(text, file=""):
    """The Document that `text` says; pure, and total: any text gives one. `file` is for the problems."""
    reader = _Reader(text[text.startswith("\ufeff"):].replace("\r\n", "\n"), file)
    try:
        reader.read()
    except _Broken as error:
        reader.values.clear()
        reader.problems.append(Problem(file, error.args[0], "", error.args[1]))
    except _Beyond as error:
        reader.values.clear()
        reader.unjudged.append(Problem(file, error.args[0], "", error.args[1] + _LEFT % "the whole file"))
    return Document(reader.values, tuple(reader.unjudged), tuple(reader.problems))


class _Reader:
    """Descends through the text; `at` is where it stands."""

    def __init__(self, text, file):
        self.file, self.values, self.unjudged, self.problems = file, {}, [], []
        self.text, self.at, self.depth = text, 0, 0
        self.starts = [0] + [end.end() for end in re.finditer("\n", text)]

    def read(self):
        odd = _ODD.search(self.text)
        if odd:
            error, what = (_Broken, "a character that YAML forbids") if odd.group(1) else (
                _Beyond, "a line separator of another kind")
            raise error(bisect(self.starts, odd.start()), "%s (U+%04X)" % (what, ord(odd.group())))
        self._find_the_document()
        if self._next() >= 0:
            self._node(-1, "" if self._is(_KEY) else self._note(self._line(), "", "no mapping at the top level"))
        if self._next() >= 0:
            error = _Beyond if self.text[self.at] in "|>" else _Broken
            raise error(self._line(), "indented less than the first line")

    def _find_the_document(self):
        """Cuts `---` and `...` off. With more than one document it is not certain which one the gateway reads."""
        first = self.at = _EMPTY.match(self.text).end()
        if self.text.startswith("%", first):
            raise _Beyond(self._line(), "a directive")
        for mark in _MARK.finditer(self.text):
            behind = _EMPTY.match(self.text, mark.end()).end()
            is_last = behind == len(self.text)
            if mark.group() == "---" and mark.start() == first and (is_last or "\n" in self.text[mark.end():behind]):
                self.at = behind
            elif mark.group() == "..." and mark.start() != first and is_last:
                self.text = self.text[:mark.start()]
            else:
                raise _Beyond(bisect(self.starts, mark.start()), "more than one document, or text beside ---")

    def _line(self):
        return bisect(self.starts, self.at)

    def _next(self):
        """Goes to what is written next, over spaces, empty lines and comments; its column, or -1 at the end."""
        self.at = _EMPTY.match(self.text, self.at).end()
        return self.at - self.starts[self._line() - 1] if self.at < len(self.text) else -1

    def _is(self, pattern):
        return pattern.match(self.text, self.at)

    def _note(self, line, path, what):
        """None, which is the path of what is not judged."""
        if path is not None and len(self.unjudged) < MOST_NOTES:
            self.unjudged.append(Problem(self.file, line, printable(path), what + _LEFT % "it"))

    # Each of these reads a node that hangs below a block of indentation `above`, and leaves `at` behind it. `path` is
    # None inside what is not judged: that is still read, to know where it ends.

    def _node(self, above, path):
        """A node that begins on a line, or behind a "-", of its own."""
        if self.depth >= DEEPEST:
            raise _Beyond(self._line(), "more than %d levels" % DEEPEST)
        self.depth += 1
        if self._is(_ITEM):
            self._list(path)
        elif self._is(_KEY):
            self._mapping(path)
        else:
            self._value(above, path, in_mapping=False)
        self.depth -= 1

    def _list(self, path):
        column = self._next()
        self._note(self._line(), path, "a list")
        while self._next() == column and self._is(_ITEM):
            self.at += 1
            if self._next() > column:
                self._node(column, None)
        if self._next() > column:
            raise _Broken(self._line(), "indented more than the list it follows")

    def _mapping(self, path):
        column, seen = self._next(), {}
        while self._next() >= column:
            line, found = self._line(), self._is(_KEY)
            if self._next() > column:
                raise _Broken(line, _DEEPER)
            if self._is(_ITEM):
                raise _Broken(line, "a list item among the keys of a mapping")
            if not found:
                unusual = self.text[self.at] in "&*!?[{:|>%\"'" or self._is(_HAS_TAB)
                raise _Beyond(line, "a key of another kind, or a tab") if unusual else _Broken(
                    line, "neither 'key: value' nor a list item")
            self.at = found.end()
            self._value(column, None if path is None else self._path(path, found.group(1).rstrip(" "), line, seen))

    def _path(self, path, text, line, seen):
        """The path of the key that is written so, None for one that is not judged. `seen`: its mapping's keys."""
        key, why = _scalar(text, line)
        if why or not isinstance(key, str) or key in ("", "<<") or "." in key:
            return self._note(line, path, why or "an unusual key (empty, no text, with a dot, or <<)")
        path, first = path + "." + key if path else key, seen.setdefault(key, line)
        if first == line:
            return path
        if len(self.problems) >= MOST_NOTES:
            raise _Beyond(line, "more than %d keys that are there twice" % MOST_NOTES)
        self.problems.append(Problem(self.file, line, printable(path), "there twice, first in line %d" % first))
        self.values = {name: value for name, value in self.values.items() if not (name + ".").startswith(path + ".")}
        return None

    def _value(self, above, path, in_mapping=True):
        """The value that begins on this line or, if nothing does, on the next one."""
        line, properties = self._line(), self._is(_PROPERTIES)
        if properties:
            self.at, path = properties.end(), self._note(line, path, "an anchor or a tag")
            if self._is(_KEY):
                raise _Beyond(line, "an anchor or a tag before a key")
        column = self._next()
        if self._line() == line and column >= 0:
            self._inline(above, path)
        elif column > above:
            self._node(above, path)
        elif in_mapping and column == above and self._is(_ITEM):
            self._list(path)
        else:
            self._record(path, None, line, "")

    def _inline(self, above, path):
        line, mark, found = self._line(), self.text[self.at], self._is(_SCALAR)
        if found:
            self._text(found, above, path)
        elif mark in "&!*?:\t":
            raise _Beyond(line, "a tab" if mark == "\t" else "an anchor, alias, tag or key of an unusual kind")
        elif mark in "|>":
            self._note(line, path, "a block of text (%s)" % mark)
            self._skip(above)
        elif mark in "[{":
            self._note(line, path, "a mapping in braces" if mark == "{" else "a list in brackets")
            self._brackets()
            self._end_of_value(above)
        else:
            raise _Broken(line, "a quote that is never closed (%s)" % mark if mark in "'\"" else
                          "a list item on the line of its key" if mark == "-" else
                          "'%s' cannot begin a value; quote it" % mark)

    def _text(self, found, above, path):
        line, text = self._line(), found.group().rstrip(" ")
        is_plain = text[0] not in "'\"*"
        self.at = found.end()
        if is_plain and self._is(_COLON):
            raise _Broken(line, "a second ': ' in one line; quote the value")
        value, why = _scalar(text, line) if "\n" not in text else (None, "a text over several lines")
        if self._end_of_value(above, is_plain):
            self._skip(above)
            why = "a text over several lines"
        self._note(line, path, why) if why else self._record(path, value, line, text)

    def _record(self, path, value, line, text):
        if path and len(path) <= LONGEST_PATH:
            self.values[path] = Value(value, line, text)

    def _skip(self, above):
        """Goes behind this line and all lines after it that are indented more than `above`."""
        self.at = self.text.find("\n", self.at) + 1 or len(self.text)
        while self._next() > above:
            self.at = self.text.find("\n", self.at) + 1 or len(self.text)

    def _brackets(self):
        """Goes behind the bracket that closes this one. What is unusual inside ends in _Beyond: to step over it wrongly
        would be to misread what follows."""
        opened, depth = self._line(), 0
        while self._next() >= 0:
            mark, found = self.text[self.at], self._is(_IN_BRACKETS)
            if not found:
                raise _Beyond(self._line(), "something unusual inside of brackets")
            self.at = found.end()
            depth += (mark in "[{") - (mark in "]}")
            if not depth:
                return
        raise _Broken(opened, "a bracket that is never closed")

    def _end_of_value(self, above, may_go_on=False):
        """After a value nothing but a comment may follow, and nothing may hang below it but, if it `may_go_on`, more of
        it: then True."""
        line, column = self._line(), self._next()
        if column >= 0 and self._line() == line:
            if self.text[self.at] in "\t#:":
                raise _Beyond(line, "a tab, comment or colon right after a value")
            raise _Broken(line, "something stands behind a value that is complete")
        if column > above and (not may_go_on or self._is(_HAS_COLON)):
            raise _Broken(self._line(), _DEEPER)
        return column > above


def _scalar(text, line):
    """(value, "") of a scalar on one line, or (None, why it is not judged)."""
    if text[0] == "*":
        return None, "an alias"
    if text[0] == "'":
        return text[1:-1].replace("''", "'"), ""
    if text[0] == '"':
        if not _ESCAPED.fullmatch(text[1:-1]):
            raise _Broken(line, "an unknown or incomplete escape in double quotes; use single quotes")
        return (None, "an escape in double quotes") if "\\" in text else (text[1:-1], "")
    number = text if len(text) <= 40 else ""        # a longer one is no port and no count
    if _INTEGER.fullmatch(number):
        digits, number = text.lstrip("+-").replace("_", ""), 0
        for part in digits.split(":"):
            number = number * 60 + int(part, {"0b": 2, "0x": 16}.get(part[:2], 8 if digits[0] == "0" else 10))
        return -number if text[0] == "-" else number, ""
    return float(text) if _FLOAT.fullmatch(number) else _WORDS.get(text, text), ""
