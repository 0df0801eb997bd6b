"""`logs`: the journal of a service, or its application log.

For the journal our process becomes journalctl. The application log is read here and not by tail(1): its directory may
hold a link to /etc/shadow or a FIFO, and its control characters must not be obeyed by root's terminal.
"""

import errno
import os

from citadel.commands.call import NAME
from citadel.commands.command_line import LOG_LINES
from citadel.commands.interruption import interruption
from citadel.core import clock
from citadel.core.errors import OK, CannotLook, CitadelError, NotPermitted, UsageError
from citadel.core.run import ENVIRONMENT, find
from citadel.core.text import printable
from citadel.core.trust import open_file
from citadel.observe import journalctl

MOST_JSON_LINES = 10000     # a JSON document is built in memory
LARGEST_ANSWER = 64 << 20   # bytes
PATIENCE = 60               # seconds for the journal
BEFORE, AFTER = 60, 10      # seconds of context around an incident
CHUNK = 64 * 1024
LONGEST_LINE = 8192         # characters; a longer one is cut, so that a file without line ends needs no memory
PAUSE = 0.25                # seconds between two looks at a followed file


def perform(call):
    options = call.options
    if options.app and options.incident:
        raise UsageError("--app and --incident exclude each other: the lines of an incident come from the journal")
    if options.follow and (options.json or options.incident):
        raise UsageError("--follow never ends; it goes neither with --json nor with --incident")
    if options.app:
        return _application_log(call)
    unit, since, until, lines = call.unit, None, None, options.lines or LOG_LINES
    if options.incident:
        document = call.store.incidents.read(options.incident)
        if document is None:
            raise CitadelError("there is no incident %s on record; `%s history` lists them" % (options.incident, NAME))
        unit, lines, (since, until) = document["unit"], options.lines, span_of(document)
        if options.service not in ("", unit):
            raise UsageError("--service %s: incident %s belongs to %s" % (options.service, options.incident, unit))
    if options.json:
        return _journal_as_json(call, unit, lines, since, until)
    return become(journal_command(unit, lines, options.follow, since, until))


def _application_log(call):
    path, lines = call.service.log, call.options.lines or LOG_LINES
    if not path:
        raise CitadelError("no application log is set for %s (`log` in its section of the settings)" % call.unit)
    if call.options.json:
        kept = []
        show_file(path, min(lines, MOST_JSON_LINES), lambda text: kept.extend(text.split("\n")))
        call.report(unit=call.unit, file=path, lines=kept)
    else:
        with interruption() as pause:
            show_file(path, lines, call.say, call.options.follow, pause)
    return OK


def span_of(document):
    """From when to when an incident's lines go, in seconds since 1970; None for the end of one that is open."""
    end = document["end"]
    return clock.parse_stamp(document["start"]) - BEFORE, clock.parse_stamp(end) + AFTER if end else None


def _journal_as_json(call, unit, lines, since, until):
    words = journal_command(unit, min(lines or MOST_JSON_LINES, MOST_JSON_LINES), False, since, until, form="json")
    answer = call.run(words + ["--output-fields=MESSAGE,PRIORITY,_PID,SYSLOG_IDENTIFIER"], PATIENCE, cap=LARGEST_ANSWER)
    if not answer.ok:
        raise CannotLook("the journal does not answer: " + printable(answer.complaint()))
    rows = []
    for entry in journalctl.parse_entries(answer.out):
        stamp = journalctl.text(entry, "__REALTIME_TIMESTAMP")
        rows.append({"time": clock.stamp(int(stamp) / 1e6) if stamp.isdecimal() else None,
                     "priority": journalctl.priority(entry), "pid": journalctl.text(entry, "_PID"),
                     "identifier": printable(journalctl.text(entry, "SYSLOG_IDENTIFIER")),
                     "text": printable(journalctl.text(entry, "MESSAGE"), LONGEST_LINE)})
    call.report(unit=unit, lines=rows, truncated=answer.truncated)
    return OK


def journal_command(unit, lines, follow=False, since=None, until=None, form="short-iso"):
    """The argv that shows a service's journal: its own lines and what PID 1 says about it. `since`, `until` are seconds
    since 1970. journalctl itself escapes what is not printable, in short-iso."""
    limits = ("--lines=%d", lines), ("--since=@%d", since), ("--until=@%d", until and until + 1)
    return (["journalctl", "--no-pager", "--quiet", "--output=" + form, "--unit=" + unit]
            + [word % number for word, number in limits if number is not None] + (["--follow"] if follow else []))


def become(argv, execute=os.execve):
    """Replaces this process by a program of the system's, in a clean environment. Does not return."""
    path = find(argv[0])
    if path is None:
        raise CannotLook("%s is not installed on this host" % argv[0])
    execute(path, argv, dict(ENVIRONMENT, TERM=os.environ.get("TERM", "dumb")))


def show_file(path, lines, write, follow=False, pause=lambda seconds: True):
    """Hands `write` the last `lines` lines of a log file, then, with `follow`, what is added to it, also after a
    rotation or a truncation. `pause(seconds)` waits, and says False when the operator ends it. Neither memory nor time
    grows with the file or its lines: its owner may make it as large as they like (it may have holes)."""
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
                write("--- the file was truncated ---")
                os.lseek(descriptor, 0, os.SEEK_SET)
    finally:
        os.close(descriptor)


def _open(path):
    """A regular file of one name, opened without waiting (a FIFO's reader would wait for its writer)."""
    try:
        descriptor = open_file(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPermitted("%s is a symbolic link; Citadel follows none" % path)
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
    earliest, position, wanted = max(0, end - lines * LONGEST_LINE), end - 1, lines
    while position > earliest:                  # the last byte is left out: the end of the last line begins no other
        if not pause(0):
            return end
        step = min(CHUNK, position - earliest)
        position -= step
        parts = os.pread(descriptor, step, position).rsplit(b"\n", wanted)
        wanted -= len(parts) - 1
        if not wanted:
            return position + len(parts[0]) + 1
    return earliest


def _copy(descriptor, rest, write, pause, last=False):
    """Writes whole lines up to the end of the file; returns the beginning of a line that has no end yet."""
    while pause(0):
        chunk = os.read(descriptor, CHUNK)
        if not chunk:
            if last and rest:
                write(_shown(rest))
            return b"" if last else rest
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            write("\n".join(_shown(line) for line in whole))
        rest = rest[:4 * LONGEST_LINE]          # a character is at most four bytes
    return b""                                  # the operator has ended it


def _shown(line):
    return printable(line.decode("utf-8", "backslashreplace"), LONGEST_LINE)


def _replaced(path, descriptor):
    """The file that now has that name, opened, when it is another one than ours; None while it is ours or missing."""
    try:
        now, ours = os.lstat(path), os.fstat(descriptor)
        return None if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino) else _open(path)
    except (OSError, CitadelError):
        return None                             # between rename and create, or not to be trusted: stay with ours
