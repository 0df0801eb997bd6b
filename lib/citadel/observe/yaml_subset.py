"""A plain subset of YAML, for which the standard library has no reader.

`parse` reads what settings files are written in: mappings and lists by indentation, scalars (plain, 'single', "double"
quoted) on one line, lists [in, brackets] of scalars, comments. What lies beyond it (anchors, aliases, tags, block
scalars, text over several lines, mappings in braces, merge keys, several documents, tabs, complex keys, dates) is named
with its line and left unjudged: either what hangs on it or, where one cannot be sure what that is, the whole file. What
is judged is never misread: it means the same as to PyYAML's safe_load (tests/test_gateway_settings.py keeps samples of
what that said). And what is called wrong here is an error to PyYAML, too, but for a key given twice, of which PyYAML
silently takes the last.

Values are those of YAML 1.1, as PyYAML reads them: `yes` is a truth value, 010 is 8, 1:30 is 90, 08 is a text.
"""

from collections import namedtuple

from citadel.core.text import printable
from citadel.model import Problem

DEEPEST = 60            # levels of nesting
LONGEST_KEY = 1000      # characters; YAML itself ends at 1024
LONGEST_PATH = 4096     # characters of a dotted path. Each value has one: without these two marks,
MOST_VALUES = 10000     # 256 KiB of text could ask for gigabytes
MOST_NOTES = 100        # unjudged places, and keys given twice, that are listed

Document = namedtuple("Document", "values unjudged problems")
Document.__doc__ = """What was read: `values` dotted.path -> Value, list items as path.0, path.1; an empty list is ().
`unjudged` (line, what) of all that lies beyond the subset; `problems` facts.Problem of what is wrong."""
Value = namedtuple("Value", "value line text")
Value.__doc__ = "A scalar, its line, and its text as written, quotes included."

_TRUTH = {word: truth for words, truth in (("yes true on", True), ("no false off", False)) for name in words.split()
          for word in (name, name.capitalize(), name.upper())}
_NULL = ("", "~", "null", "Null", "NULL")
_DIGITS = frozenset("0123456789")
_NUMBER_CHARACTERS = frozenset("+-._:x0123456789abcdefABCDEF")
_ESCAPES = {"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r",
            "e": "\x1b", " ": " ", '"': '"', "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}
_PROPERTY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_OPENING = {"[": "]", "{": "}"}
_CODES = {"x": 2, "u": 4, "U": 8}


class _Broken(Exception):
    """(line, why): this is no YAML, and whoever loads it gets nothing."""


class _Beyond(Exception):
    """(line, what): from here on it is not certain what belongs where; nothing in the file is judged."""


def parse(text):
    """The Document that `text` says; pure, and total: any text gives one."""
    reader = _Reader()
    try:
        reader.read(text)
    except _Broken as error:
        line, why = error.args
        reader.values.clear()
        reader.problems.append(Problem("", line, "", why))
    except _Beyond as error:
        line, what = error.args
        reader.values.clear()
        reader.unjudged.append((line, what + ": beyond what citadel reads, the whole file is left unjudged"))
    values = {path: value for path, value in reader.values.items() if not _doomed(path, reader.doomed)}
    return Document(values, tuple(reader.unjudged), tuple(reader.problems))


def _doomed(path, doomed):
    while doomed and path:
        if path in doomed:
            return True
        path = path.rpartition(".")[0]
    return False


class _Reader:
    """Descends through the lines; `at` is the line it stands on, counted from 0. A "-" that has been read becomes a
    space, so that what follows it stands on a line, and in a column, of its own."""

    def __init__(self):
        self.values, self.unjudged, self.problems, self.doomed = {}, [], [], set()
        self.lines, self.at, self.depth = [], 0, 0

    def read(self, text):
        self.lines = _checked_lines(text)
        self._find_the_document()
        first = self._peek()
        if first is None:
            return
        if self._node(-1, "", True) != "mapping":
            self._note(first[0], "no mapping at the top level", "nothing in it is judged")
        if self._peek() is not None:
            raise _Broken(self.at + 1, "indented less than the first line")

    def _note(self, line, what, consequence="left unjudged"):
        if len(self.unjudged) < MOST_NOTES:
            self.unjudged.append((line, "%s: beyond what citadel reads, %s" % (what, consequence)))

    def _find_the_document(self):
        """Cuts `---` and `...` off; with more than one document, which one the gateway reads is not for us to say."""
        marks = [number for number, line in enumerate(self.lines)
                 if line[:3] in ("---", "...") and line[3:4] in ("", " ", "\t")]
        first = next((number for number, line in enumerate(self.lines) if not _is_empty(line)), None)
        if first is None:
            return
        if self.lines[first].startswith("%"):
            raise _Beyond(first + 1, "a directive")
        for number in marks:
            mark, rest = self.lines[number][:3], self.lines[number][3:]
            if mark == "---" and number == first and _is_empty(rest):
                self.lines[number] = ""
            elif (mark == "..." and number != first and _is_empty(rest)
                  and all(map(_is_empty, self.lines[number + 1:]))):
                del self.lines[number:]
                return
            else:
                raise _Beyond(number + 1, "more than one document, or text beside ---")

    def _peek(self):
        """(line number from 1, indentation, text) of the next line that holds something; None at the end."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            text = line.lstrip(" ")
            if text and text[0] != "#":
                if text[0] == "\t":
                    raise _Beyond(self.at + 1, "a tab in the indentation")
                return self.at + 1, len(line) - len(text), text
            self.at += 1
        return None

    # Each of these reads a node that hangs below a block of indentation `above`, and leaves `at` behind it. `judged`
    # is False below what lies beyond us: the structure is still read, to know where it ends.

    def _node(self, above, path, judged):
        """A node that begins on a line of its own; returns what it was: mapping, list or scalar."""
        number, indent, text = self._peek()
        if self.depth >= DEEPEST:
            raise _Beyond(number, "more than %d levels" % DEEPEST)
        self.depth += 1
        kind = "scalar"
        if _is_item(text):
            kind = "list"
            self._list(indent, path, judged)
        elif text[0] in "&*!" and (": " in text or text.rstrip().endswith(":")):
            raise _Beyond(number, "an anchor, alias or tag before a key")
        elif text[0] in "?:" and text[1:2] in ("", " ", "\t"):
            raise _Beyond(number, "a complex key")
        elif _key_end(text, number) is not None:
            kind = "mapping"
            self._mapping(indent, path, judged)
        else:
            self._value(indent, above, path, judged, in_mapping=False)
        self.depth -= 1
        return kind

    def _list(self, indent, path, judged):
        count = 0
        while True:
            here = self._peek()
            if here is None or here[1] < indent or (here[1] == indent and not _is_item(here[2])):
                return
            if here[1] > indent:
                raise _Broken(here[0], "indented more than the list it follows")
            line = self.lines[self.at]
            self.lines[self.at] = line[:indent] + " " + line[indent + 1:]
            item = _joined(path, str(count), here[0])
            following = self._peek()
            if following is None or following[1] <= indent:
                self._record(item, None, here[0], "", judged)
            else:
                self._node(indent, item, judged)
            count += 1

    def _mapping(self, indent, path, judged):
        seen = {}
        while True:
            here = self._peek()
            if here is None or here[1] < indent:
                return
            number, column, text = here
            if column > indent:
                raise _Broken(number, "indented more than the line before it, which already has a value")
            if _is_item(text):
                raise _Broken(number, "a list item among the keys of a mapping")
            end = _key_end(text, number)
            if end is None:
                raise self._no_key(number, text)
            key, why = _scalar(text[:end].rstrip(" "), number)
            if not why and not isinstance(key, str):
                why = "a key that is no text (%s)" % text[:end].strip()[:20]
            elif not why and (not key or "." in key):
                why = "a key with a dot in it" if key else "an empty key"
            if why:
                self._note(number, why)
                self._value(indent + end + 1, indent, path, False)
                continue
            full = _joined(path, key, number)
            if key in seen:
                self.doomed.add(full)
                if len(self.problems) < MOST_NOTES:
                    self.problems.append(Problem("", number, printable(full),
                                                 "there twice, first in line %d" % seen[key]))
            seen.setdefault(key, number)
            self._value(indent + end + 1, indent, full, judged)

    def _no_key(self, number, text):
        """What to raise for a line in a mapping that has no key."""
        if text[0] in "&*!?[{:|>%\"'":
            return _Beyond(number, "a key of another kind")
        return _Broken(number, "neither 'key: value' nor a list item")

    def _value(self, column, above, path, judged, in_mapping=True):
        """The value that begins at `column` of this line or, if nothing does, on the next one."""
        number, line, properties = self.at + 1, self.lines[self.at], 0
        column += _indentation(line[column:])
        while line[column:column + 1] in ("&", "!"):
            self._note(number, "an anchor" if line[column] == "&" else "a tag")
            properties, judged = properties + 1, False
            if properties > 2:
                raise _Beyond(number, "more than one anchor and one tag")
            column = _property_end(line, column, number)
            column += _indentation(line[column:])
        text = line[column:]
        first, alone = text[:1], text[1:2] in ("", " ", "\t")
        if first == "\t":
            raise _Beyond(number, "a tab")
        if not first or first == "#":
            self.at += 1
            self._value_below(number, above, path, judged, in_mapping)
        elif first in "'\"":
            self._quoted(column, above, path, judged)
        elif first in "[{":
            self._flow(column, above, path, judged)
        elif first == "*":
            self._note(number, "an alias")
            self._end_of_line(_property_end(line, column, number), above)
        elif first in "|>":
            self._note(number, "a block of text (%s)" % first)
            self.at += 1
            while self.at < len(self.lines) and (not self.lines[self.at].strip(" ")
                                                 or _indentation(self.lines[self.at]) > above):
                self.at += 1
        elif first in "?:" and alone:
            raise _Beyond(number, "a complex key")
        elif first == "-" and alone:
            raise _Broken(number, "a list item on the line of its key")
        elif first in ",]}%@`":
            raise _Broken(number, "'%s' cannot begin a value; quote it" % first)
        else:
            self._plain(column, above, path, judged)

    def _value_below(self, number, above, path, judged, in_mapping):
        following = self._peek()
        if following is not None and following[1] > above:
            self._node(above, path, judged)
        elif following is not None and in_mapping and following[1] == above and _is_item(following[2]):
            self._list(above, path, judged)
        else:
            self._record(path, None, number, "", judged)

    def _plain(self, column, above, path, judged):
        number, line = self.at + 1, self.lines[self.at]
        end, stop = _plain_end(line, column)
        if stop == "\t":
            raise _Beyond(number, "a tab")
        if stop == ":":
            raise _Broken(number, "a second ': ' in one line; quote the value")
        text = line[column:end].rstrip(" ")
        self.at += 1
        following = self._peek()
        if following is None or following[1] <= above:
            value, why = _resolve(text)
            if why:
                self._note(number, why)
            self._record(path, value, number, text, judged and not why)
            return
        if _plain_end(following[2], 0)[1] == ":":
            raise _Broken(following[0], "indented more than the line before it, which already has a value")
        self._note(number, "a text over several lines")
        while following is not None and following[1] > above:
            self.at += 1
            following = self._peek()

    def _quoted(self, column, above, path, judged):
        number, line = self.at + 1, self.lines[self.at]
        end = _quote_end(line, column + 1, line[column])
        if end >= 0:
            text = line[column:end]
            value, why = _scalar(text, number)
            if why:
                self._note(number, why)
            self._record(path, value, number, text, judged and not why)
        else:
            end = self._quote_end_below(number, line[column])
            self._note(number, "a quoted text over several lines")
        self._end_of_line(end, above)

    def _quote_end_below(self, number, quote):
        """Goes to the line where a quoted text ends, and returns the column behind it; indentation plays no part."""
        while self.at + 1 < len(self.lines):
            self.at += 1
            end = _quote_end(self.lines[self.at], 0, quote)
            if end >= 0:
                return end
        raise _Broken(number, "a quote that is never closed (%s)" % quote)

    def _flow(self, column, above, path, judged):
        number, line = self.at + 1, self.lines[self.at]
        items, end = _flow_list(line, column) if line[column] == "[" else (None, 0)
        if items is None:
            end = self._flow_end(column)
            self._note(number, "a mapping in braces" if line[column] == "{" else
                       "a list in brackets over several lines, or of more than scalars")
        else:
            if not items:
                self._record(path, (), number, "[]", judged)
            for count, (value, text) in enumerate(items):
                self._record(_joined(path, str(count), number), value, number, text, judged)
        self._end_of_line(end, above)

    def _flow_end(self, column):
        """Goes to the line where a flow collection ends, and returns the column behind it; indentation plays no part.
        Whatever is unusual in it ends in _Beyond: to skip it wrongly would be to misread what follows."""
        number, closing, state = self.at + 1, [], "fresh"       # fresh: a token may begin; plain: within one; complete
        while self.at < len(self.lines):
            line = self.lines[self.at]
            while column < len(line):
                character, following = line[column], line[column + 1:column + 2]
                if character == "#" and (not column or line[column - 1] == " "):
                    state = "complete" if state == "plain" else state
                    break
                column += 1
                if character == " ":
                    continue
                if state == "fresh" and character in "'\"":
                    column = _quote_end(line, column, character)
                    if column < 0:
                        column = self._quote_end_below(self.at + 1, character)
                        line = self.lines[self.at]
                    state = "complete"
                elif state == "fresh" and character in _OPENING:
                    closing.append(_OPENING[character])
                elif closing and character == closing[-1]:
                    closing.pop()
                    state = "complete"
                    if not closing:
                        return column
                elif character == "," or (character == ":" and state != "fresh" and (
                        following in ("", " ", ",", "[", "]", "{", "}") or state == "complete")):
                    state = "fresh"
                elif state == "complete" or character in "\t?[]{}" or (state == "fresh" and (
                        character in "&*!|>%@`:#" or (character == "-" and following in ("", " ")))):
                    raise _Beyond(self.at + 1, "something unusual inside of brackets")
                else:
                    state = "plain"
            self.at, column = self.at + 1, 0
        raise _Broken(number, "a bracket that is never closed")

    def _end_of_line(self, column, above):
        """After a value that is complete nothing but a comment may follow, and nothing may hang below it."""
        rest = self.lines[self.at][column:]
        text = rest.strip(" ")
        if "\t" in rest or (text.startswith("#") and rest[0] == "#") or text.startswith(":"):
            raise _Beyond(self.at + 1, "a tab, comment or colon right after a value")
        if text and not text.startswith("#"):
            raise _Broken(self.at + 1, "something stands behind a value that is complete")
        self.at += 1
        following = self._peek()
        if following is not None and following[1] > above:
            raise _Broken(following[0], "indented more than the line before it, which already has a value")

    def _record(self, path, value, line, text, judged):
        if judged and path:
            if len(self.values) >= MOST_VALUES:
                raise _Beyond(line, "more than %d values" % MOST_VALUES)
            self.values[path] = Value(value, line, text)


def _joined(path, name, number):
    """The path of what is called `name` below `path`."""
    if len(path) + 1 + len(name) > LONGEST_PATH:
        raise _Beyond(number, "keys within keys, of more than %d characters" % LONGEST_PATH)
    return path + "." + name if path else name


# --- lines and scalars ------------------------------------------------------------------------------------------------

def _checked_lines(text):
    """The lines, once it is certain that everybody would divide the text in the same way."""
    text = text[1:] if text.startswith("\ufeff") else text
    text = text.replace("\r\n", "\n")
    for character in sorted(set(text)):
        code = ord(character)
        forbidden = (code < 0x20 and character not in "\t\n\r") or 0x7F <= code < 0xA0 and code != 0x85 or (
            0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF))
        if forbidden or character in "\r\x85\u2028\u2029\ufeff":
            line = text.count("\n", 0, text.index(character)) + 1
            if forbidden:
                raise _Broken(line, "a character that YAML forbids (U+%04X)" % code)
            raise _Beyond(line, "a line separator of another kind (U+%04X)" % code)
    return text.split("\n")


def _is_empty(line):
    text = line.strip(" ")
    return not text or text[0] == "#"


def _indentation(line):
    return len(line) - len(line.lstrip(" "))


def _is_item(text):
    return text[0] == "-" and text[1:2] in ("", " ", "\t")


def _property_end(line, start, number):
    """The column behind an anchor, alias or tag. Readers differ in how they divide one of unusual characters."""
    word = line[start:].split(" ")[0]
    unusual = set(word[1:]) - _PROPERTY_CHARACTERS - (set("!:/.") if word[0] == "!" else set())
    if unusual:
        raise _Beyond(number, "an anchor, alias or tag of unusual characters")
    return start + len(word)


def _plain_end(line, start):
    """Where a plain scalar that begins at `start` ends, and what ends it: ":", "#", a tab, or "" (the line)."""
    ends = [(len(line), "")]
    comment = line.find(" #", start)
    if comment >= 0:
        ends.append((comment, "#"))
    tab = line.find("\t", start)
    if tab >= 0:
        ends.append((tab, "\t"))
    colon = line.find(":", start)
    while colon >= 0 and line[colon + 1:colon + 2] not in ("", " ", "\t"):
        colon = line.find(":", colon + 1)
    if colon >= 0:
        ends.append((colon, ":"))
    return min(ends)


def _key_end(text, number):
    """The column of the colon, if this line begins with a key; None if it does not."""
    if text[0] in "'\"":
        end = _quote_end(text, 1, text[0])
        if end < 0:
            return None
        colon = end + len(text[end:]) - len(text[end:].lstrip(" "))
        if text[colon:colon + 1] != ":" or text[colon + 1:colon + 2] not in ("", " ", "\t"):
            return None
    elif text[0] in "[]{},&*!|>%@`#" or (text[0] in "?:-" and text[1:2] in ("", " ", "\t")):
        return None
    else:
        colon, stop = _plain_end(text, 0)
        if stop != ":":
            return None
    if colon > LONGEST_KEY:
        raise _Beyond(number, "a key of more than %d characters" % LONGEST_KEY)
    return colon


def _quote_end(line, start, quote):
    """The column behind the closing quote of a text that is open at `start`; -1 if it does not end on this line."""
    at = start
    while at < len(line):
        if line[at] == quote:
            if quote == '"' or line[at + 1:at + 2] != "'":
                return at + 1
            at += 1
        elif line[at] == "\\" and quote == '"':
            at += 1
        at += 1
    return -1


def _scalar(text, number):
    """(value, "") of a plain or quoted scalar, or (None, why it is not judged)."""
    if text[:1] == "'":
        return text[1:-1].replace("''", "'"), ""
    if text[:1] == '"':
        return _unescaped(text[1:-1], number)
    return _resolve(text)


def _unescaped(text, number):
    parts = text.split("\\")
    if len(parts) == 1:
        return text, ""
    value, at = [], 0
    while at < len(text):
        character = text[at]
        if character != "\\":
            value.append(character)
            at += 1
            continue
        letter = text[at + 1:at + 2]
        if letter in _CODES:
            digits = text[at + 2:at + 2 + _CODES[letter]]
            if len(digits) < _CODES[letter] or set(digits) - set("0123456789abcdefABCDEF"):
                raise _Broken(number, "\\%s without its %d hexadecimal digits" % (letter, _CODES[letter]))
            code = int(digits, 16)
            if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
                return None, "an escape that is no character"
            value.append(chr(code))
            at += 2 + _CODES[letter]
        elif letter == "/":
            return None, "the escape \\/, which YAML 1.1 does not have"
        elif letter in _ESCAPES:
            value.append(_ESCAPES[letter])
            at += 2
        else:
            raise _Broken(number, "an unknown escape in double quotes; use single quotes")
    return "".join(value), ""


def _resolve(text):
    """(value, "") of a plain scalar as YAML 1.1 types it, or (None, why it is not judged)."""
    if text in _TRUTH:
        return _TRUTH[text], ""
    if text in _NULL:
        return None, ""
    if text in ("=", "<<"):
        return None, "a merge key" if text == "<<" else "the value ="
    if text[0] not in "+-.0123456789":
        return text, ""
    if len(text) > 4 and text[4] == "-" and not set(text[:4]) - _DIGITS:
        return None, "a date, or what looks like one"
    if len(text) > 40 and not set(text) - _NUMBER_CHARACTERS:
        return None, "a long number, or what looks like one"
    number = _integer(text)
    return _decimal(text) if number is None else (number, "")


def _integer(text):
    """The whole number that YAML 1.1 sees in a plain scalar, or None: 8002, 8_002, 0x1F, 010 (octal), 0b1, 1:30."""
    sign, digits = (-1 if text[0] == "-" else 1), text[1:] if text[0] in "+-" else text
    plain = digits.replace("_", "")
    if digits[:1] in tuple("123456789"):
        head, *rest = digits.split(":")
        if set(head) - _DIGITS - {"_"}:
            return None
        total = int(head.replace("_", ""))
        for part in rest:
            if not 1 <= len(part) <= 2 or set(part) - _DIGITS or int(part) > 59:
                return None
            total = total * 60 + int(part)
        return sign * total
    for prefix, base, allowed in (("0b", 2, "01_"), ("0x", 16, "0123456789abcdefABCDEF_"), ("0", 8, "01234567_")):
        if digits.startswith(prefix) and not set(digits[len(prefix):]) - set(allowed):
            if digits == prefix != "0" or plain == prefix != "0":
                return None
            return sign * int(plain[len(prefix):] or "0", base)
    return None


def _decimal(text):
    """(value, "") of what is no whole number: a float, or else a text; (None, why) where readers are not at one."""
    if not set(text) - set("+-.0123456789_:eE") and (":" in text or "_" in text) and text.count(".") == 1:
        return None, "a number in an unusual form"
    if text.lower().lstrip("+-") in (".inf", ".nan") or text.startswith(("0b", "0x", "-0x", "+0x", "-0b", "+0b")):
        return None, "a number in an unusual form"
    mantissa, _, exponent = text.lower().partition("e")
    whole, point, fraction = mantissa.partition(".")
    signless = whole[1:] if whole[:1] in ("+", "-") else whole
    ends_well = not exponent and "e" not in text.lower() or (
        exponent[:1] in ("+", "-") and exponent[1:] and not set(exponent[1:]) - _DIGITS)
    if point and ends_well and not (set(signless) | set(fraction)) - _DIGITS and (
            signless or (fraction and whole == signless)):
        return float(text), ""
    return text, ""


def _flow_list(line, start):
    """([(value, text), ...], column behind it) of a list of scalars in brackets on one line; (None, 0) otherwise."""
    items, at = [], start + 1
    while True:
        at += _indentation(line[at:])
        if line[at:at + 1] == "]":
            return items, at + 1
        end = _flow_item_end(line, at)
        if end < 0:
            return None, 0
        text = line[at:end].rstrip(" ")
        try:
            value, why = _scalar(text, 0)
        except _Broken:
            return None, 0
        if why:
            return None, 0
        items.append((value, text))
        at = end + _indentation(line[end:])
        if line[at:at + 1] == ",":
            at += 1
        elif line[at:at + 1] != "]":
            return None, 0


def _flow_item_end(line, start):
    """Where a scalar in brackets ends, or -1 for what is not as plain as that."""
    first = line[start:start + 1]
    if not first or first in ",?:{}[]#&*!|>%@`\t" or (first == "-" and not line[start + 1:start + 2].isalnum()):
        return -1
    if first in "'\"":
        return _quote_end(line, start + 1, first)
    at = start
    while at < len(line) and line[at] not in ",]":
        character, following = line[at], line[at + 1:at + 2]
        if character in "?{}[\t" or (character == "#" and line[at - 1] == " ") or (
                character == ":" and following in ("", " ", ",", "[", "]", "{", "}")):
            return -1
        at += 1
    return at if at < len(line) else -1
