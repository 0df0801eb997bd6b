"""Removes files that are not ours, so that nobody else decides which file goes.

Whoever can write in a directory can swap its names while root looks. Therefore
- each directory is opened one component at a time, no link is followed, all directories above it belong to root and to
  nobody else to write, and a file is removed through the open descriptor of its directory (a root walk by names deleted
  protected files in half of 3,000 races);
- no mount point is crossed, by the mount id: a bind mount has the same device number;
- only regular files with one link are removed, and each is looked at again right before;
- in the directory of another user, a child process that has become this user removes. The sandbox of the recovery unit
  does not permit that (CAP_SETUID alone would raise its exposure from 2.1 to 2.5); there root removes through the
  pinned descriptor, and so nothing but a name in a directory that is its owner's own;
- in a directory where everybody may write (/tmp) only the owner of a file removes it.

The number of entries and the time are limited; the rest is removed next time.
"""

import _signal
import os
import stat
import time
from collections import namedtuple
from itertools import islice

from citadel.core import accounts
from citadel.core.errors import NotPermitted
from citadel.core.mounts import mount_id
from citadel.core.run import reap
from citadel.core.text import plural, printable, size
from citadel.core.trust import FOLDER, open_directory

MOST_ENTRIES = 100000
MOST_DIRECTORIES = 200
DEEPEST = 8
GRACE = 1.0                             # seconds for a child to say what it did
QUIET = 3600                            # seconds unchanged, where we could not see who has a file open
MOST_COMPLAINTS = 5

Candidate = namedtuple("Candidate", "folder name time size device inode owner")
Candidate.__doc__ = "A file that may go: `folder` is the open descriptor of its directory, `owner` who must remove it."


class Removed(namedtuple("Removed", "files bytes complaints")):
    """What was removed, and what could not be and why."""

    __slots__ = ()

    def __new__(cls, files=0, bytes=0, complaints=()):
        return super().__new__(cls, files, bytes, tuple(complaints)[:MOST_COMPLAINTS])

    def __add__(self, other):
        return Removed(self.files + other.files, self.bytes + other.bytes, self.complaints + other.complaints)

    def sentence(self):
        done = "%s removed, %s" % (plural(self.files, "file"), size(self.bytes)) if self.files else "nothing to remove"
        return "; ".join((done,) + self.complaints)

    def as_data(self):
        return {"files_removed": self.files, "bytes_freed": self.bytes}


class Refused(Exception):
    """Why nothing is removed in a place."""


class Folder:
    """One directory, opened without following any link, whose parents only root (or our own user) can change; or one in
    the Folder `parent`. Refused also when that one is a mount point, or belongs to another user."""

    def __init__(self, path, parent=None):
        self.path, self.depth = path, parent.depth + 1 if parent else 0
        try:
            self.descriptor = (os.open(os.path.basename(path), FOLDER, dir_fd=parent.descriptor) if parent else
                               open_directory(path, check_parents=True))
        except NotPermitted as error:
            raise Refused(printable(str(error)))
        except OSError as error:
            raise Refused("%s: %s" % (printable(path if parent else error.filename), error.strerror))
        status = os.fstat(self.descriptor)
        self.owner, self.mount = status.st_uid, mount_id(self.descriptor)
        self.shared, self.sticky = bool(status.st_mode & 0o002), bool(status.st_mode & 0o1000)
        why = ("is on a mount that this kernel does not tell apart from others" if self.mount < 0 else
               "" if parent is None else
               "is another mount" if self.mount != parent.mount else
               "belongs to another user than its parent" if self.owner != parent.owner else
               "is writable by everybody" if self.shared else "")
        if why:
            self.close()
            raise Refused("%s %s; skipped" % (printable(path), why))

    def names(self):
        """At most MOST_ENTRIES names in it. (os.scandir takes a descriptor only since Python 3.7; this is the same.)"""
        try:
            with os.scandir("/proc/self/fd/%d" % self.descriptor) as entries:
                return [entry.name for entry in islice(entries, MOST_ENTRIES)]
        except OSError as error:
            raise Refused("%s: %s" % (printable(self.path), error.strerror))

    def look(self, name):
        """The status of an entry, of a link itself; None when it is gone."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return None

    def look_at_file(self, name):
        """The status of a regular file with one link; None for anything else."""
        found = self.look(name)
        return found if found is not None and _is_plain(found) else None

    def candidate(self, name, found):
        """`name` as a Candidate. In a directory where everybody may write, only the owner of the file may remove it;
        Refused where not even the sticky bit keeps others from renaming it."""
        if self.shared and not self.sticky:
            raise Refused("%s is writable by everybody; nothing is removed there" % printable(self.path))
        return Candidate(self.descriptor, name, found.st_mtime, found.st_blocks * 512, found.st_dev, found.st_ino,
                         (found.st_uid, True) if self.shared else (self.owner, False))

    def close(self):
        os.close(self.descriptor)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def tree(top, end):
    """`top` and the directories below it that are as trustworthy, all open; and why others were skipped."""
    folders, complaints = [top], []
    for parent in folders:              # it grows meanwhile
        for name in sorted(parent.names()) if parent.depth < DEEPEST else ():
            if len(folders) >= MOST_DIRECTORIES or time.monotonic() >= end:
                return folders, complaints
            found = parent.look(name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                try:
                    folders.append(Folder(parent.path + "/" + name, parent))
                except Refused as refusal:
                    complaints.append(str(refusal))
    return folders, complaints


def not_in_use(candidates, now, end):
    """The candidates that no process has open, the oldest first. None of them when the time was over before all
    processes were seen: `end` is also the end of removing."""
    in_use, blind = files_in_use({one.name for one in candidates}, end)
    return sorted((one for one in candidates if (one.device, one.inode) not in in_use
                   and not (blind and one.time > now - QUIET)), key=lambda one: one.time)


def files_in_use(names, end, proc="/proc"):
    """{(device, inode)} of the open files with one of these names, and whether a process could not be looked at, or no
    time was left to: one process can hold a million open files. Names are compared first: to stat every open file could
    hang on a dead network disk."""
    found, blind = set(), False
    for pid in filter(str.isdigit, os.listdir(proc) if names else ()):
        directory = "%s/%s/fd" % (proc, pid)
        try:
            numbers = os.listdir(directory)
        except OSError as error:        # it has ended, or is not ours to look at
            blind = blind or isinstance(error, PermissionError)
            continue
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


def remove(candidates, has_enough, end):
    """Removes them in their order until there is enough; those of one owner together, by a child that is this user."""
    removed, by_owner = Removed(), {}
    for one in candidates:
        by_owner.setdefault(one.owner, []).append(one)
    for (uid, must_be), mine in by_owner.items():
        removed += (_unlink(mine, has_enough, end) if uid == os.geteuid() else
                    _unlink_as(uid, must_be, mine, has_enough, end))
    return removed


def _unlink(candidates, has_enough, end):
    files, freed, complaints = 0, 0, []
    for one in candidates:
        if time.monotonic() >= end or has_enough():
            break
        try:
            found = os.stat(one.name, dir_fd=one.folder, follow_symlinks=False)
            if not _is_plain(found) or found.st_ino != one.inode:
                continue                # it is no longer what we looked at
            os.unlink(one.name, dir_fd=one.folder)
            files, freed = files + 1, freed + one.size
        except FileNotFoundError:
            continue                    # it is gone
        except OSError as error:
            complaints.append("%s: %s" % (printable(one.name, 80), error.strerror))
    return Removed(files, freed, complaints)


def _unlink_as(uid, must_be, candidates, has_enough, end):
    """`_unlink` in a child that has become `uid` for good. Where that is not permitted: as root, if the directory is
    `uid`'s own; not at all in one where everybody may write."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if _become(uid) or not must_be:
                done = _unlink(candidates, has_enough, end)
                words = "%d %d %s" % (done.files, done.bytes, "; ".join(done.complaints))
            else:
                words = "0 0 nothing removed where everybody may write: Citadel cannot become uid %d here" % uid
            os.write(writer, words.encode("utf-8", "backslashreplace")[:4000])
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    late = reap(child, end + GRACE) is None         # its user may stop it with a signal
    if late:
        os.kill(child, _signal.SIGKILL)
        reap(child, time.monotonic() + GRACE)
    os.set_blocking(reader, False)                  # not even SIGKILL ends one that waits for a disk
    try:
        words = os.read(reader, 4096).decode("utf-8", "replace").split(" ", 2)
    except BlockingIOError:
        words = []
    os.close(reader)
    if len(words) < 3 or not (words[0].isdigit() and words[1].isdigit()):
        return Removed(complaints=("the process that cleans for uid %d %s" % (
            uid, "did not end in time" if late else "died"),))
    return Removed(int(words[0]), int(words[1]), (printable(words[2]),) if words[2] else ())


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


def _is_plain(status):
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
