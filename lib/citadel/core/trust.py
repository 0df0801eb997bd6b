"""What others could have touched: opened so that it can neither hang nor mislead root, and judged by one verdict.

Every file is opened as a regular file, no link, without waiting (a FIFO would wait for its writer). `objection` is the
one verdict on a status: a predicate such as "belongs to uid 33, not to root", or "" when it may be trusted.
"""

import errno
import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from citadel.core.errors import NotPermitted, SettingsError

LARGEST_FILE = 256 * 1024               # bytes of a settings file
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_file(path, dir_fd=None):
    """The descriptor of a regular file. OSError: ELOOP for a link, EINVAL for what is no file."""
    descriptor = os.open(path, FILE, dir_fd=dir_fd)
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


def read_file(path, limit, dir_fd=None):
    """The bytes of a regular file, None when there is none. OSError: as `open_file`, EFBIG for more than `limit`."""
    try:
        descriptor = open_file(path, dir_fd)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return _read(file, path, limit)


def _read(file, path, limit):
    data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, "larger than %d bytes" % limit, path)
    return data


def open_directory(path, check_parents=False, check_itself=False):
    """The descriptor of a directory, reached one component at a time: no part of its path is a link.
    NotPermitted names the part that is a link, or that another than root and us could change: with `check_parents` the
    directories above it, `check_itself` the directory. OSError, its filename the part, for what cannot be opened."""
    if not path.startswith("/"):
        raise NotPermitted("%s is not an absolute path" % path)
    owners = (0, os.geteuid())
    here, descriptor = "/", os.open("/", FOLDER)
    try:
        parts = [part for part in path.split("/") if part]
        for number, part in enumerate(parts, 1):
            if check_parents:
                _refuse(here, objection(os.fstat(descriptor), owners, sticky=True))
            here = os.path.join(here, part)
            below = _open_below(descriptor, part, here, FOLDER if number == len(parts) else FOLDER | os.O_PATH)
            os.close(descriptor)
            descriptor = below
        if check_itself:
            _refuse(here, objection(os.fstat(descriptor), owners))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_below(parent, part, here, flags):
    try:
        return os.open(part, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and S_ISLNK(os.lstat(part, dir_fd=parent).st_mode):
            raise NotPermitted("%s is a symbolic link; citadel follows none" % here)
        raise OSError(error.errno, error.strerror, here)


def objection(status, owners=(0,), forbidden=0o022, sticky=False):
    """Why a file or directory must not be trusted, or "": its owner is none of `owners` (None: anybody may be), or its
    mode has a bit of `forbidden`. `sticky`: a directory whose sticky bit keeps others from renaming is good enough."""
    if owners is not None and status.st_uid not in owners:
        return "belongs to uid %d, not to %s" % (status.st_uid, whose(owners))
    if S_ISLNK(status.st_mode) or (sticky and status.st_mode & 0o1000):
        return ""                       # a link's mode says nothing
    for verb, bits in (("writable", (0o020, 0o002)), ("readable", (0o040, 0o004))):
        others = [who for bit, who in zip(bits, ("its group", "everybody")) if status.st_mode & forbidden & bit]
        if others:
            return "is %s by %s" % (verb, " and ".join(others))
    return ""


def objection_above(path, owners=(0,)):
    """Why another than `owners` could put something else in the place of `path`, a sentence that names the directory
    above it, or "". OSError for what is not there."""
    while path != "/":
        path = os.path.dirname(path)
        status = os.lstat(path)
        why = objection(status, owners, sticky=True) if S_ISDIR(status.st_mode) else "is not a directory (a link?)"
        if why:
            return "%s %s" % (path, why)
    return ""


def untrusted_program(path, uid=0):
    """Why root must not run this program, or "": none but root and `uid` may be able to change it or its parents."""
    if not path.startswith("/"):
        return "%s is not an absolute path" % path
    owners = (0, uid)
    try:
        status = os.lstat(path)
        above = objection_above(path, owners)
    except OSError as error:
        return "%s: %s" % (error.filename, error.strerror)
    why = objection(status, owners) if S_ISREG(status.st_mode) else "is not a regular file"
    if not why and not status.st_mode & 0o100:
        why = "is not executable"
    return above or (why and "%s %s" % (path, why))


def whose(owners):
    return "root" if not owners or set(owners) == {0} else "uid %d" % max(owners)


def _refuse(path, why):
    if why:
        raise NotPermitted("%s %s" % (path, why))


def read_trusted(path, owners=None, forbidden_mode=0o022):
    """The bytes of a settings file, or None if there is none. Raises NotPermitted, saying why, for a file that is not
    what a settings file must be: regular, no link, one name, at most LARGEST_FILE bytes, owned by one of `owners`
    (None: anybody), no bit of `forbidden_mode`."""
    try:
        with open(open_file(path), "rb") as file:
            status = os.fstat(file.fileno())
            why = objection(status, owners, forbidden_mode)
            _refuse(path, why and "%s; %s must not trust it" % (why, whose(owners)))
            _refuse(path, status.st_nlink != 1 and
                    "has %d names (hard links); only a file with one is trusted" % status.st_nlink)
            return _read(file, path, LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NotPermitted("%s %s" % (path, {
            errno.ELOOP: "is a symbolic link; citadel follows none", errno.EINVAL: "is not a regular file",
            errno.EFBIG: "is larger than %d KiB; that is no settings file" % (LARGEST_FILE // 1024),
        }.get(error.errno, "cannot be read: %s" % error.strerror)))
    except ValueError:
        raise NotPermitted("%r is not a file name" % path)


def decode(content, file, mark_allowed=False):
    """Strict UTF-8, and no byte order mark unless `mark_allowed`; SettingsError names the line of what is not."""
    if content.startswith(b"\xef\xbb\xbf") and not mark_allowed:
        raise SettingsError(file, 1, "", "begins with a byte order mark (BOM); save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(file, content.count(b"\n", 0, error.start) + 1, "",
                            "byte 0x%02x is not UTF-8" % content[error.start])
