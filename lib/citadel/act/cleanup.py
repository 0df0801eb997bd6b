"""The only code that deletes what is not ours: stale PID files, old temporary files, rotated logs.

Root among strangers: whoever can write in a directory can swap its names for others while we look. Therefore

- every directory is opened one component at a time, no symbolic link is followed, and what is removed is removed
  through the open descriptor of its directory (a root walk by names deleted protected files in half of 3,000 races);
- all directories above the one that is named belong to root, and nobody else can write in them;
- nothing is removed across a mount point: the mount id must stay the same (a bind mount has the same device number);
- only regular files with one link, and looked at again right before;
- in a directory of somebody else's, a child that has become its owner does it. The recovery unit's sandbox does not let
  us become anybody (CAP_SETUID alone would raise its exposure from 2.1 to 2.5); there we remove as root through the
  pinned descriptor, and so nothing but a name in a directory that is its owner's own;
- in a directory where everybody may write (/tmp) only a file's own owner removes it.

The number of entries and the time are capped; what is left over is taken the next time. What has an age in our own
tmpfiles.d file is left to systemd-tmpfiles, journal space to journalctl.
"""

import _signal
import fnmatch
import os
import re
import select
import stat
import time
from collections import namedtuple

from citadel.core import accounts
from citadel.core.errors import NotPermitted
from citadel.core.run import reap
from citadel.core.run import run as run_program
from citadel.core.text import plural, printable, size
from citadel.core.trust import FOLDER, open_directory
from citadel.observe import processes

TMPFILES = "/usr/local/lib/tmpfiles.d/citadel.conf"
JOURNALS = ("/var/log/journal", "/run/log/journal")
MOST_ENTRIES = 100000
MOST_DIRECTORIES = 200
DEEPEST = 8
LONGEST = 10.0                          # seconds for one call,
GRACE = 1.0                             # and for a child of it to say what it did
QUIET = 3600                            # seconds untouched, where we could not see who has a file open
MOST_COMPLAINTS = 5

# The names that logrotate, Python's logging handlers, loguru and svlogd give: a log's name, then a number or a date,
# perhaps compressed. The log itself never matches.
# Each group begins where the one before it must have ended, so that no name has two readings: an attacker's 255
# characters would otherwise be tried in all of them.
ROTATED = re.compile(r"""(?P<log>.+?\.(?:log|out|err|json|jsonl))
                         [.-](?:\d{1,6}|\d{8}(?:\d\d){0,3}|old)(?:[T_.-](?:\d{1,10}|old)){0,8}
                         (?:\.(?:gz|xz|bz2|zst|lz4|zip))?\Z""", re.VERBOSE | re.ASCII)

Candidate = namedtuple("Candidate", "folder name log time size inode owner")
Candidate.__doc__ = "A file that may go: `folder` is the open descriptor of its directory, `owner` who shall remove it."


class Removed(namedtuple("Removed", "files bytes complaints")):
    """What was removed, and what could not be and why."""

    __slots__ = ()

    def __new__(cls, files=0, bytes=0, complaints=()):
        return super().__new__(cls, files, bytes, tuple(complaints)[:MOST_COMPLAINTS])

    def __add__(self, other):
        return Removed(self.files + other.files, self.bytes + other.bytes, self.complaints + other.complaints)

    def sentence(self):
        words = ["%s removed, %s" % (plural(self.files, "file"), size(self.bytes)) if self.files else
                 "nothing to remove"]
        return "; ".join(words + list(self.complaints))

    def as_data(self):
        return {"files_removed": self.files, "bytes_freed": self.bytes}


class Refused(Exception):
    """Why a place is not cleaned."""


# --- what others do for us

def clean_by_age(run=run_program, seconds=30, path=TMPFILES):
    """`systemd-tmpfiles --clean` with our own file and no other."""
    if not os.path.exists(path):
        return Removed()
    answer = run(["systemd-tmpfiles", "--clean", path], seconds)
    return Removed() if answer.ok else Removed(complaints=(printable(answer.complaint()),))


def vacuum_journal(most, run=run_program, seconds=60):
    """Cuts the archived journal files down to `most` bytes. What it frees is seen by whoever looks at the disk."""
    answer = run(["journalctl", "--vacuum-size=%d" % most], seconds)
    return Removed() if answer.ok else Removed(complaints=(printable(answer.complaint()),))


# --- what we remove

def remove_stale_pid_file(path):
    """Removes a PID file whose process is gone. One that names a living process, whoever's, or nothing that could be a
    PID, stays: it is a hint, and not ours to judge. No number in it is ever signalled."""
    parent, name = os.path.split(path)
    try:
        with Folder(parent) as folder:
            found = folder.look(name)
            if found is None or not _is_plain(found):
                return Removed()
            try:
                pid = processes.read_pid(name, folder.descriptor)
            except (OSError, ValueError):
                return Removed()
            if _process_exists(pid):
                return Removed()
            return _remove([folder.candidate(name, found)], lambda: False, time.monotonic() + LONGEST)
    except Refused as refusal:
        return Removed(complaints=(str(refusal),))


def remove_old_files(pattern, oldest, now=time.time, seconds=LONGEST):
    """Removes regular files that match `pattern` (wild cards in its last part) and that nobody has changed for
    `oldest` seconds; one that is open stays. (File times are wall time: a clock stepped far ahead makes files look old,
    which is why `pattern` may only name what can be missed.)"""
    parent, last = os.path.split(pattern)
    if _is_private(last):
        return Removed(complaints=("%s would break running services" % printable(pattern),))
    end = time.monotonic() + min(seconds, LONGEST)
    try:
        with Folder(parent) as folder:
            latest = now() - oldest
            old = []
            for name in folder.names(MOST_ENTRIES):
                if time.monotonic() < end and fnmatch.fnmatchcase(name, last) and not _is_private(name):
                    found = folder.look(name)
                    if found is not None and _is_plain(found) and max(found.st_mtime, found.st_ctime) < latest:
                        old.append(folder.candidate(name, found))
            old.sort(key=lambda one: one.time)
            return _remove(_not_in_use(old, [folder], now(), end), lambda: False, end)
    except Refused as refusal:
        return Removed(complaints=(str(refusal),))


def remove_rotated_logs(directory, keep, has_enough, seconds=LONGEST, now=time.time):
    """Removes rotated logs below `directory`, oldest first, until `has_enough()`; the newest `keep` of each log stay,
    and so does whatever is open."""
    if has_enough():
        return Removed()
    end = time.monotonic() + min(seconds, LONGEST)
    try:
        with Folder(directory) as top:
            folders, complaints = _tree(top, end)
            try:
                candidates = []
                for folder in folders:
                    candidates += _rotated(folder, keep, end)
                candidates = _not_in_use(candidates, folders, now(), end)
                candidates.sort(key=lambda one: one.time)
                return _remove(candidates, has_enough, end) + Removed(complaints=complaints)
            finally:
                for folder in folders[1:]:
                    folder.close()
    except Refused as refusal:
        return Removed(complaints=(str(refusal),))


class Tightness:
    """Which disks are short, by the [disk] settings: `has_enough` is the mark at which cleaning ends."""

    def __init__(self, marks, statvfs=os.statvfs):
        self._marks, self._statvfs = marks, statvfs

    def device(self, path):
        """The device number of the file system that holds `path`, None where it does not exist."""
        try:
            return os.stat(path).st_dev
        except OSError:
            return None

    def devices(self, paths):
        """{device number: a path on it} of those that have less than enough."""
        found = {}
        for path in paths:
            device = self.device(path)
            if device is not None and device not in found and not self.has_enough(path):
                found[device] = path
        return found

    def journal_matters(self, devices, journals=JOURNALS):
        return any(self.device(path) in devices for path in journals)

    def has_enough(self, path):
        try:
            disk = self._statvfs(path)
        except OSError:
            return True                 # what cannot be measured is no reason to delete
        return (disk.f_bavail * disk.f_frsize >= self._marks.enough_free.of(disk.f_blocks * disk.f_frsize)
                and (not disk.f_files or disk.f_favail >= self._marks.enough_inodes.of(disk.f_files)))

    def free(self, devices):
        """Bytes free on all of them together."""
        total = 0
        for path in devices.values():
            try:
                disk = self._statvfs(path)
                total += disk.f_bavail * disk.f_frsize
            except OSError:
                pass                    # gone in between: it counts on neither side
        return total


# --- directories, held by their descriptors

class Folder:
    """One directory, opened without following any link, whose parents only root (or who we are) can change."""

    def __init__(self, path):
        self.path, self.depth = path, 0
        try:
            self.descriptor = open_directory(path, check_parents=True)
        except NotPermitted as error:
            raise Refused(printable(str(error)))
        except OSError as error:
            raise Refused("%s: %s" % (printable(error.filename), error.strerror))
        self._learn()

    @classmethod
    def below(cls, parent, name):
        """A directory in another one; Refused when it is a mount point or a link, or belongs to somebody else."""
        folder = cls.__new__(cls)
        folder.path, folder.depth = parent.path + "/" + name, parent.depth + 1
        try:
            folder.descriptor = os.open(name, FOLDER, dir_fd=parent.descriptor)
        except OSError as error:
            raise Refused("%s: %s" % (printable(folder.path), error.strerror))
        folder._learn()
        why = ("is another mount" if folder.mount != parent.mount else
               "belongs to another user than its parent" if folder.owner != parent.owner else
               "is open to everybody" if folder.shared else "")
        if why:
            folder.close()
            raise Refused("%s %s, passed over" % (printable(folder.path), why))
        return folder

    def _learn(self):
        status = os.fstat(self.descriptor)
        self.owner, self.device = status.st_uid, status.st_dev
        self.shared = bool(status.st_mode & 0o002)
        self.sticky = bool(status.st_mode & 0o1000)
        self.mount = _mount_id(self.descriptor)

    def names(self, most):
        """Up to `most` names in it. (os.scandir takes a descriptor from Python 3.7 on only; this link is the same.)"""
        names = []
        try:
            with os.scandir("/proc/self/fd/%d" % self.descriptor) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) >= most:
                        break
        except OSError as error:
            raise Refused("%s: %s" % (printable(self.path), error.strerror))
        return names

    def look(self, name):
        """The status of an entry, of a link itself; None when it is gone."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return None

    def candidate(self, name, found, log=""):
        """`name` as a Candidate. In a directory that everybody can write to, only the file's own owner may remove it;
        Refused where not even the sticky bit keeps the names apart."""
        if self.shared and not self.sticky:
            raise Refused("%s can be written by others than its owner, nothing is removed there" % printable(self.path))
        return Candidate(self.descriptor, name, log, found.st_mtime, found.st_blocks * 512, found.st_ino,
                         (found.st_uid, True) if self.shared else (self.owner, False))

    def close(self):
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _mount_id(descriptor):
    """The id of the mount that it was reached through (proc_pid_fdinfo(5)); st_dev would not tell a bind mount."""
    with open("/proc/self/fdinfo/%d" % descriptor) as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return int(line[7:])
    raise Refused("this kernel does not tell mounts apart")


def _tree(top, end):
    """`top` and the directories below it that are as trustworthy, all open; and why others were passed over."""
    folders, complaints, waiting = [top], [], [top]
    while waiting:
        parent = waiting.pop(0)
        if parent.depth >= DEEPEST:
            continue
        for name in sorted(parent.names(MOST_ENTRIES)):
            if len(folders) >= MOST_DIRECTORIES or time.monotonic() >= end:
                return folders, complaints
            found = parent.look(name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                try:
                    folder = Folder.below(parent, name)
                except Refused as refusal:
                    complaints.append(str(refusal))
                    continue
                folders.append(folder)
                waiting.append(folder)
    return folders, complaints


def _rotated(folder, keep, end):
    """The rotated logs of one directory but the newest `keep` of each log."""
    logs = {}
    for name in folder.names(MOST_ENTRIES):
        matched = ROTATED.match(name) if time.monotonic() < end else None
        if matched:
            found = folder.look(name)
            if found is not None and _is_plain(found):
                logs.setdefault(matched.group("log"), []).append(folder.candidate(name, found, matched.group("log")))
    spare = []
    for files in logs.values():
        files.sort(key=lambda one: one.time, reverse=True)
        spare += files[keep:]
    return spare


def _not_in_use(candidates, folders, now, end):
    """Without what is open. When the time was over before all processes were looked at, none: `end` is also that of
    removing."""
    devices = {folder.descriptor: folder.device for folder in folders}
    in_use, blind = files_in_use({one.name for one in candidates}, end)
    return [one for one in candidates if (devices[one.folder], one.inode) not in in_use
            and not (blind and one.time > now - QUIET)]


def files_in_use(names, end, proc="/proc"):
    """{(device, inode)} of the open files that have one of these names, and whether there was a process that would not
    let us look, or no time left to: one process can hold a million open files. A file is asked for by its name first:
    to stat every open file could hang on a dead network disk."""
    found, blind = set(), False
    if not names:
        return found, blind
    for pid in os.listdir(proc):
        if not pid.isdigit():
            continue
        directory = "%s/%s/fd" % (proc, pid)
        try:
            numbers = os.listdir(directory)
        except PermissionError:
            blind = True
            continue
        except OSError:
            continue                    # it has ended
        for number in numbers:
            if time.monotonic() >= end:
                return found, True
            path = directory + "/" + number
            try:
                if os.path.basename(os.readlink(path)) in names:
                    status = os.stat(path)
                    found.add((status.st_dev, status.st_ino))
            except OSError:
                continue                # closed in between
    return found, blind


# --- removing

def _remove(candidates, has_enough, end):
    """Removes them in their order until there is enough; those of one owner together, by a child that is that owner."""
    removed = Removed()
    owners = []
    for one in candidates:
        if one.owner not in owners:
            owners.append(one.owner)
    for uid, must_be in owners:
        mine = [one for one in candidates if one.owner == (uid, must_be)]
        if uid == os.geteuid():
            removed += _unlink(mine, has_enough, end)
        else:
            removed += _unlink_as(uid, must_be, mine, has_enough, end)
    return removed


def _unlink(candidates, has_enough, end):
    files = freed = 0
    complaints = []
    for one in candidates:
        if time.monotonic() >= end or has_enough():
            break
        try:
            found = os.stat(one.name, dir_fd=one.folder, follow_symlinks=False)
            if not _is_plain(found) or found.st_ino != one.inode:
                continue                # it is not what we looked at any more
            os.unlink(one.name, dir_fd=one.folder)
            files, freed = files + 1, freed + one.size
        except FileNotFoundError:
            continue
        except OSError as error:
            complaints.append("%s: %s" % (printable(one.name, 80), error.strerror))
    return Removed(files, freed, complaints)


def _unlink_as(uid, must_be, candidates, has_enough, end):
    """`_unlink` in a child that has become `uid` for good. Where that is not permitted: as root after all, if the
    directory is `uid`'s own; not at all in one that everybody can write to."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            became = _become(uid)
            if became or not must_be:
                done = _unlink(candidates, has_enough, end)
                words = "%d %d %s" % (done.files, done.bytes, "; ".join(done.complaints))
            else:
                words = "0 0 nothing removed where everybody may write: we cannot become uid %d here" % uid
            os.write(writer, words.encode("utf-8", "backslashreplace")[:4000])
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    words, late = _hear(reader, end + GRACE), False
    if reap(child, end + GRACE) is None:            # its new owner may stop it with a signal, as it may any of its own
        late = True
        os.kill(child, _signal.SIGKILL)
        reap(child, time.monotonic() + GRACE)
    if len(words) < 3 or not (words[0].isdigit() and words[1].isdigit()):
        return Removed(complaints=("the process that cleans for uid %d %s" % (
            uid, "did not end in time" if late else "died"),))
    return Removed(int(words[0]), int(words[1]), (printable(words[2]),) if words[2] else ())


def _hear(reader, end):
    """The words that come from a pipe in one piece until then, at most three."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    heard = os.read(reader, 4096) if poll.poll(max(0.0, end - time.monotonic()) * 1000) else b""
    os.close(reader)
    return heard.decode("utf-8", "replace").split(" ", 2)


def _become(uid):
    """Whether this process is `uid` now, in group nobody's and no other group, for good."""
    try:
        os.setgroups([])
        account = accounts.by_uid(uid)
        os.setgid(account.gid if account else uid)          # a number without an account has no other group
        os.setuid(uid)
    except PermissionError:
        return False
    return os.geteuid() == uid and os.getuid() == uid


# --- small readings

def _is_plain(status):
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _is_private(name):
    """systemd's own directories for PrivateTmp=: without one a running service breaks, and does not say so."""
    return name.startswith("systemd-private-")


def _process_exists(pid):
    """Whether there is such a process; one that is hidden from us in /proc counts, too. Signal 0 is none."""
    if os.path.exists("/proc/%d" % pid):
        return True
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False
    except OSError:
        return True
