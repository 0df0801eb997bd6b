"""`logs`: the journal of a service, or its application log.

The journal is left to journalctl itself: our process becomes it, so its speed and its memory are all there is. The
application log is read here and not by tail(1): its directory may hold anything (a link to /etc/shadow, a FIFO), and
what it says goes to root's terminal, so links are not followed and control characters are shown, not obeyed.
"""

import errno
import os

from citadel.core.errors import CannotLook, CitadelError, NotPermitted
from citadel.core.run import ENVIRONMENT, find
from citadel.core.text import printable
from citadel.core.trust import open_file

CHUNK = 64 * 1024
LONGEST_LINE = 8192         # characters; a longer one is cut, so that a file without line ends needs no memory
PAUSE = 0.25                # seconds between two looks at a followed file


def journal_command(unit, lines, follow=False, since=None, until=None):
    """The argv that shows a service's journal: its own lines and what PID 1 says about it. `since`, `until` are seconds
    since 1970. journalctl escapes what is not printable by itself in this output format."""
    words = ["journalctl", "--no-pager", "--quiet", "--output=short-iso", "--unit=" + unit]
    if lines is not None:
        words.append("--lines=%d" % lines)
    if since is not None:
        words.append("--since=@%d" % since)
    if until is not None:
        words.append("--until=@%d" % (until + 1))
    return words + (["--follow"] if follow else [])


def become(argv, execute=os.execve):
    """Replaces this process by a program of the system's, in a clean environment. Does not return."""
    path = find(argv[0])
    if path is None:
        raise CannotLook("%s is not installed on this host" % argv[0])
    execute(path, argv, dict(ENVIRONMENT, TERM=os.environ.get("TERM", "dumb")))


def show_file(path, lines, write, follow=False, pause=lambda seconds: True):
    """Writes the last `lines` lines of a log file, then, with `follow`, what is added to it, also after a rotation or a
    truncation. `pause(seconds)` waits, and says False once a person has had enough, which ends all of it. Neither memory
    nor time grows with the file or its lines: its owner may make it as large as he likes (it need only have holes)."""
    descriptor = _open(path)
    try:
        os.lseek(descriptor, _start_of_last(descriptor, lines, pause), os.SEEK_SET)
        rest = _copy(descriptor, b"", write, pause, last=not follow)
        while follow and pause(PAUSE):
            rest = _copy(descriptor, rest, write, pause)
            replaced = _replaced(path, descriptor)
            if replaced is not None:
                _copy(descriptor, rest, write, pause, last=True)
                os.close(descriptor)
                descriptor, rest = replaced, b""
            elif os.fstat(descriptor).st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
                write("--- the file was truncated ---\n")
                os.lseek(descriptor, 0, os.SEEK_SET)
    finally:
        os.close(descriptor)


def _open(path):
    """A regular file of one name, opened without waiting (a FIFO's reader would wait for its writer)."""
    try:
        descriptor = open_file(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPermitted("%s is a symbolic link; citadel follows none" % path)
        kind = NotPermitted if error.errno in (errno.EACCES, errno.EPERM, errno.EINVAL) else CitadelError
        raise kind("%s cannot be read: %s" % (path, error.strerror))
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise NotPermitted("%s has more than one name (hard links); only a file with one is trusted" % path)
    return descriptor


def _start_of_last(descriptor, lines, pause):
    """The offset at which the last `lines` lines begin, found backwards from the end; where they are longer than is
    shown of a line, as many bytes before the end as so many lines may have."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if not lines:
        return end
    position, wanted, first = end, lines, True
    earliest = max(0, end - lines * LONGEST_LINE)
    while position > earliest:
        if not pause(0):
            return end
        step = min(CHUNK, position - earliest)
        position -= step
        chunk = os.pread(descriptor, step, position)
        if first and chunk.endswith(b"\n"):
            wanted += 1                         # the end of the last line is not the beginning of another
        first = False
        at = len(chunk)
        while wanted:
            at = chunk.rfind(b"\n", 0, at)
            if at < 0:
                break
            wanted -= 1
        if not wanted:
            return position + at + 1
    return earliest


def _copy(descriptor, rest, write, pause, last=False):
    """Writes whole lines up to the end of the file; returns the beginning of a line that has no end yet."""
    while True:
        if not pause(0):
            return b""
        chunk = os.read(descriptor, CHUNK)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            write("".join(_shown(line) for line in whole))
        rest = rest[:4 * LONGEST_LINE]          # a character is at most four bytes
    if last and rest:
        write(_shown(rest))
        return b""
    return rest


def _shown(line):
    return printable(line.decode("utf-8", "backslashreplace"), LONGEST_LINE) + "\n"


def _replaced(path, descriptor):
    """The file that now has that name, opened, when it is another one than ours; None while it is ours or missing."""
    try:
        now, ours = os.lstat(path), os.fstat(descriptor)
        return None if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino) else _open(path)
    except (OSError, CitadelError):
        return None                             # between rename and create, or not to be trusted: stay with ours
