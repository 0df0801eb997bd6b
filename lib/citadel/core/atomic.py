"""A directory of small files that a kill or a power cut at any moment leaves whole: each is the old one or the new one.

A write goes to a new file (O_EXCL) in the same directory, is fsynced, renamed over the old one, and the directory is
fsynced. The directory must belong to whoever we run as and be closed to everybody else, and every file is reached
through its open descriptor, so that no part of the path can be swapped under us.

A full disk is the very thing that we may have been called to repair, so the directory keeps RESERVE bytes in a file
of their own: when a write meets ENOSPC the reserve is given up and the write is tried once more. (On a file system
that copies on write even this may fail; then the caller hears of it.)
"""

import errno
import json
import math
import os
import stat

from citadel.core.errors import NotPermitted

RESERVE = 64 * 1024
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Directory:
    """One directory and its sub-directories, one level deep. Nothing on disk is touched before it is asked for."""

    def __init__(self, path):
        self.path = path
        self._descriptor = None

    def open(self, create=False):
        """The descriptor of the directory, or None when it is missing and not to be created. NotPermitted when it is
        not ours alone: another's directory may hold another's idea of our state."""
        if self._descriptor is not None:
            return self._descriptor
        try:
            if create:
                _make(self.path)
            descriptor = os.open(self.path, FOLDER)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise NotPermitted("%s: this needs root" % self.path)
        except OSError as error:
            raise NotPermitted("%s: %s" % (self.path, error.strerror))
        found = os.fstat(descriptor)
        wrong = None
        if found.st_uid != os.geteuid():
            wrong = "it belongs to uid %d, not to uid %d" % (found.st_uid, os.geteuid())
        elif stat.S_IMODE(found.st_mode) != 0o700:
            wrong = "its mode is %04o, not 0700" % stat.S_IMODE(found.st_mode)
        if wrong:
            os.close(descriptor)
            raise NotPermitted("%s: not used, %s" % (self.path, wrong))
        self._descriptor = descriptor
        return descriptor

    def close(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    __del__ = close                     # as a file closes itself: who forgets one must not run out of descriptors

    def read(self, name, limit=1 << 20):
        """The bytes of a file, None when there is none. OSError when it cannot be read, or is no regular file, or
        holds more than `limit` bytes."""
        base = self.open()
        if base is None:
            return None
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=base)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", name)
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, "larger than %d bytes" % limit, name)
        return data

    def write(self, name, data):
        """Puts `data` in place of the file `name`, whole or not at all. OSError when it could not; the old one is
        then still there."""
        try:
            self._replace(name, data)
        except OSError as error:
            if error.errno not in NO_ROOM or not self.give_up_reserve():
                raise
            self._replace(name, data)

    def _replace(self, name, data):
        base = self.open(create=True)
        parent, _, last = name.rpartition("/")
        temporary = os.path.join(parent, ".%s.%d.%s.tmp" % (last, os.getpid(), os.urandom(4).hex()))
        descriptor = self._create(base, parent, temporary)
        try:
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, name, src_dir_fd=base, dst_dir_fd=base)
        except BaseException:
            self.remove(temporary)
            raise
        _sync_directory(base, parent)

    def _create(self, base, parent, temporary):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(temporary, flags, 0o600, dir_fd=base)
        except FileNotFoundError:
            os.mkdir(parent, 0o700, dir_fd=base)
            return os.open(temporary, flags, 0o600, dir_fd=base)

    def names(self, inside=""):
        """The names of the finished files in the directory or one of its sub-directories, sorted; none when it cannot
        be read."""
        return [name for name in self._entries(inside) if not name.startswith(".")]

    def _entries(self, inside):
        base = self.open()
        if base is None:
            return []
        try:
            descriptor = os.open(inside or ".", FOLDER, dir_fd=base)
        except OSError:
            return []
        try:
            return sorted(os.listdir(descriptor))
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def remove(self, name):
        """Whether the file was there and is now gone."""
        try:
            base = self.open()
            if base is not None:
                os.unlink(name, dir_fd=base)
                return True
        except (OSError, NotPermitted):
            pass                        # then it is not there, or not ours to remove: the answer says so
        return False

    def set_aside(self, name, keep=5):
        """Renames a file that cannot be understood to `name.corrupt-<n>`, for a person to look at; only the newest
        `keep` of them stay. Its new name, or "" when it could not be moved."""
        base = self.open()
        parent, _, last = name.rpartition("/")
        numbers = sorted(int(entry.rpartition("-")[2]) for entry in self.names(parent)
                         if entry.startswith(last + ".corrupt-") and entry.rpartition("-")[2].isdecimal())
        new = "%s.corrupt-%d" % (name, numbers[-1] + 1 if numbers else 1)
        try:
            os.replace(name, new, src_dir_fd=base, dst_dir_fd=base)
        except OSError:
            return ""
        for number in numbers[:max(0, len(numbers) + 1 - keep)]:
            self.remove("%s.corrupt-%d" % (name, number))
        return new

    def sweep(self, *inside):
        """Removes the temporary files of passes that died while writing; how many."""
        removed = 0
        for parent in ("",) + inside:
            for entry in self._entries(parent):
                words = entry.split(".")
                if entry.startswith(".") and words[-1] == "tmp" and not _alive(words[-3:-2]):
                    removed += self.remove(os.path.join(parent, entry))
        return removed

    def keep_reserve(self):
        """Sets RESERVE bytes aside for the day when the disk is full, unless they are there; whether they are."""
        base = self.open(create=True)
        try:
            descriptor = os.open("reserve", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=base)
        except OSError:
            return False
        try:
            if os.fstat(descriptor).st_blocks * 512 < RESERVE:
                os.posix_fallocate(descriptor, 0, RESERVE)
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def give_up_reserve(self):
        """Frees the reserve; whether there was one to free."""
        return self.remove("reserve")


def to_json(document):
    """A document as the bytes of a file: readable, one final newline, the same for the same document."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"


def from_json(data):
    """The document in `data`; ValueError for anything that is not one, however it was spoilt (nested too deep, not
    UTF-8, numbers that no clock gives)."""
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep")
    return document


def _refuse(word):
    raise ValueError("%s is no number of ours" % word)


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("%s is no number of ours" % text[:20])
    return number


def _make(path):
    """One directory, 0700 whatever the umask; its parents must be there already."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        raise NotPermitted("%s: its parent directory is missing" % path)


def _write_all(descriptor, data):
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest):]


def _sync_directory(base, inside):
    descriptor = os.open(inside or ".", FOLDER, dir_fd=base)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(words):
    """Whether the process whose number stands in a temporary file's name still runs (reused numbers: kept longer)."""
    return bool(words) and words[0].isdecimal() and os.path.exists("/proc/" + words[0])
