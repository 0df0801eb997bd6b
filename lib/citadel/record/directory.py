"""A directory on disk that is ours alone: it must belong to whoever we run as and be closed to everybody else.

Every file is reached through the directory's open descriptor, so that no part of the path can be swapped under us.
A full disk may be the very fault to repair, so RESERVE bytes are kept in a file of their own: when a write meets ENOSPC
it is given up, and the write tried once more. (On a file system that copies on write even this may fail.)
"""

import errno
import os
from contextlib import suppress

from citadel.core import atomic
from citadel.core.errors import NotPermitted
from citadel.core.trust import FOLDER, objection, read_file

RESERVE = 64 * 1024
KEEP_CORRUPT = 5
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Directory:
    """One directory and its sub-directories, one level deep. Nothing on disk is touched before it is needed."""

    def __init__(self, path):
        self.path = path
        self._descriptor = None

    def open(self, create=False):
        """The descriptor of the directory, or None when it is missing and not to be created. NotPermitted when it is
        not ours alone: another user's directory may hold what another user wants us to believe."""
        if self._descriptor is not None:
            return self._descriptor
        try:
            if create:
                with suppress(FileExistsError):     # as usual, or another pass was faster
                    os.mkdir(self.path, 0o700)      # and not its parents
            descriptor = os.open(self.path, FOLDER)
        except FileNotFoundError:
            if create:
                raise NotPermitted("%s: its parent directory is missing" % self.path)
            return None
        except OSError as error:
            raise NotPermitted("%s: %s" % (self.path, "this needs root" if isinstance(error, PermissionError) else
                                           error.strerror))
        status = os.fstat(descriptor)
        mode = status.st_mode & 0o7777
        why = objection(status, (os.geteuid(),), forbidden=0) or (mode != 0o700 and "has mode %04o, not 0700" % mode)
        if why:
            os.close(descriptor)
            raise NotPermitted("%s: not used, it %s" % (self.path, why))
        self._descriptor = descriptor
        return descriptor

    def close(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    __del__ = close                     # as a file closes itself: nobody runs out of descriptors who forgets to

    def read(self, name, limit=1 << 20):
        """The bytes of a file, None when there is none; otherwise as trust.read_file."""
        base = self.open()
        return None if base is None else read_file(name, limit, base)

    def write(self, name, data):
        """Puts `data` in place of the file `name`, as atomic.write_file, if need be with what the reserve frees."""
        try:
            self._replace(name, data)
        except OSError as error:
            if error.errno not in NO_ROOM or not self.remove("reserve"):
                raise
            self._replace(name, data)

    def _replace(self, name, data):
        base = self.open(create=True)
        try:
            atomic.write_file(name, data, dir_fd=base)
        except FileNotFoundError:       # its sub-directory is not there yet
            os.mkdir(os.path.dirname(name), 0o700, dir_fd=base)
            atomic.write_file(name, data, dir_fd=base)

    def names(self, inside=""):
        """The finished files in the directory or a sub-directory, sorted by name; none when it cannot be read."""
        return sorted(name for name in self._look_inside(inside, os.listdir) or () if not name.startswith("."))

    def sweep(self, *inside):
        """Removes the temporary files of passes that died while writing, also in these sub-directories."""
        for parent in ("",) + inside:
            self._look_inside(parent, atomic.sweep)

    def _look_inside(self, inside, do):
        """What `do` returns for the descriptor of the directory or of a sub-directory; None when it cannot be read."""
        base = self.open()
        if base is None:
            return None
        try:
            descriptor = os.open(inside or ".", FOLDER, dir_fd=base)
            try:
                return do(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return None

    def remove(self, name):
        """Whether the file was there and is now gone."""
        with suppress(OSError, NotPermitted):       # it is not there, or not ours to remove: the answer says so
            base = self.open()
            if base is not None:
                os.unlink(name, dir_fd=base)
                return True
        return False

    def set_aside(self, name):
        """Renames a file that cannot be understood to `name.corrupt-<n>`, for an operator to look at, if that can be;
        only the newest KEEP_CORRUPT of them stay."""
        base = self.open()
        parent, _, last = name.rpartition("/")
        numbers = sorted(int(entry.rpartition("-")[2]) for entry in self.names(parent)
                         if entry.startswith(last + ".corrupt-") and entry.rpartition("-")[2].isdecimal())
        new = "%s.corrupt-%d" % (name, numbers[-1] + 1 if numbers else 1)
        with suppress(OSError):
            os.replace(name, new, src_dir_fd=base, dst_dir_fd=base)
            for number in numbers[:max(0, len(numbers) + 1 - KEEP_CORRUPT)]:
                self.remove("%s.corrupt-%d" % (name, number))

    def keep_reserve(self):
        """Keeps RESERVE bytes for the day when the disk is full, if it is not full yet."""
        base = self.open(create=True)
        with suppress(OSError):
            descriptor = os.open("reserve", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=base)
            try:
                if os.fstat(descriptor).st_blocks * 512 < RESERVE:
                    os.posix_fallocate(descriptor, 0, RESERVE)
            finally:
                os.close(descriptor)
