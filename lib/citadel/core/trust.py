"""Files that root reads and others might have written: refused unless nobody could have swapped or changed them."""

import errno
import os
from stat import S_ISREG

from citadel.core.errors import NotPermitted, SettingsError

LARGEST_FILE = 256 * 1024               # bytes


def read_trusted(path, owners=None, forbidden_mode=0o022):
    """The bytes of a settings file, or None if there is none. Raises NotPermitted, saying why, for a file that is not
    what a settings file must be: regular, no link, one name, at most LARGEST_FILE bytes, owned by one of `owners`
    (None: anybody), no bit of `forbidden_mode`. O_NONBLOCK so that a FIFO in its place cannot hang us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        if error.errno == errno.ELOOP:
            raise NotPermitted("%s is a symbolic link; citadel follows none" % path)
        raise NotPermitted("%s cannot be read: %s" % (path, error.strerror))
    except ValueError:
        raise NotPermitted("%r is not a file name" % path)
    try:
        _refuse(path, os.fstat(descriptor), owners, forbidden_mode)
        return _read_all(descriptor, path)
    finally:
        os.close(descriptor)


def _refuse(path, status, owners, forbidden_mode):
    if not S_ISREG(status.st_mode):
        raise NotPermitted("%s is not a regular file" % path)
    if owners is not None and status.st_uid not in owners:
        raise NotPermitted("%s belongs to uid %d; %s must not trust it" % (path, status.st_uid, _whose(owners)))
    for what, bits, so in (("writable", (0o020, 0o002), "must not trust it"),
                           ("readable", (0o040, 0o004), "alone may")):
        others = [who for bit, who in zip(bits, ("its group", "everybody")) if status.st_mode & forbidden_mode & bit]
        if others:
            raise NotPermitted("%s is %s by %s; %s %s" % (path, what, " and ".join(others), _whose(owners), so))
    if status.st_nlink != 1:
        raise NotPermitted("%s has %d names (hard links); only a file with one is trusted" % (path, status.st_nlink))


def _whose(owners):
    return "root" if not owners or set(owners) == {0} else "uid %d" % max(owners)


def _read_all(descriptor, path):
    chunks, length = [], 0
    try:
        while length <= LARGEST_FILE:
            chunk = os.read(descriptor, LARGEST_FILE + 1 - length)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            length += len(chunk)
    except OSError as error:
        raise NotPermitted("%s cannot be read: %s" % (path, error.strerror))
    raise NotPermitted("%s is larger than %s; that is no settings file" % (path, "%d KiB" % (LARGEST_FILE // 1024)))


def decode(content, file, mark_allowed=False):
    """Strict UTF-8, and no byte order mark unless `mark_allowed`; SettingsError names the line of what is not."""
    if content.startswith(b"\xef\xbb\xbf") and not mark_allowed:
        raise SettingsError(file, 1, "", "begins with a byte order mark (BOM); save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(file, content.count(b"\n", 0, error.start) + 1, "",
                            "byte 0x%02x is not UTF-8" % content[error.start])
