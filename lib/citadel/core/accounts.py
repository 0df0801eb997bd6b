"""Accounts, from /etc/passwd alone: the C library would ask a directory server, which may hang."""

from collections import namedtuple

PASSWD = "/etc/passwd"
LARGEST = 1 << 20                       # characters that are read

Account = namedtuple("Account", "name uid gid")


def by_uid(uid, path=PASSWD):
    """The first Account with that number, None where there is none or the file cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(LARGEST)
    except OSError:
        return None
    return next((one for one in parse(text) if one.uid == uid), None)


def parse(text):
    """The Accounts in the text of a passwd(5) file; a line that is none is left out."""
    lines = (line.split(":") for line in text.split("\n"))
    return [Account(words[0], int(words[2]), int(words[3])) for words in lines
            if len(words) > 3 and words[2].isdecimal() and words[3].isdecimal()]
