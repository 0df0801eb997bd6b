"""Files below a root directory, written so that root alone can redirect or break the writing.

Every directory on the way must belong to the trusted owner and be closed to others; then no symlink in it was planted,
and none can be planted meanwhile. Links are followed as a process inside the root would see them, so with `--root DIR`
nothing outside DIR is touched. Each file is old or new, never half: it is written beside its place, synced, renamed.
A file that a kill left has a fixed name (`.NAME.citadel-new`) and is replaced next time.
"""

import contextlib
import grp
import os
import stat

from citadel.core import atomic
from citadel.core.errors import CitadelError, NotPermitted
from citadel.core.mounts import mount_id
from citadel.core.trust import FOLDER, objection, open_file

LINKS_AT_MOST = 40              # as the kernel's own limit, path_resolution(7)
DEEPEST = 64                    # directories in directories that `remove_whole` enters


class Tree:
    """The tree below `root`, as `owner` may write it (a uid: 0, or that of a user who prepares a root). Paths given and
    returned are those inside: "/etc/passwd" is DIR/etc/passwd under `--root DIR`."""

    def __init__(self, root="/", owner=0):
        self.root, self.owner = os.path.realpath(root), owner

    def locate(self, path, follow=False):
        """The host's path of `path`, its last component followed only on request. Raises NotPermitted when the way
        there is open to others. What does not exist yet is taken as it stands."""
        self._trust(self.root, os.lstat(self.root))
        return follow_inside(self.root, path, follow, self._trust)

    def resolve(self, path):
        """The path inside the root that `path` ends up at when all its links are followed; None if it is not there."""
        place = self.locate(path, follow=True)
        return os.path.normpath("/" + os.path.relpath(place, self.root)) if os.path.lexists(place) else None

    def _trust(self, path, status):
        roots = self.owner != 0 or _is_roots_group(status.st_gid)
        why = objection(status, (0, self.owner), forbidden=0o002 if roots else 0o022)
        if why:
            raise NotPermitted("%s %s: what is written below it could be redirected" % (path, why))

    def status(self, path):
        """lstat of `path`, or None."""
        with contextlib.suppress(FileNotFoundError):
            return os.lstat(self.locate(path))

    def read(self, path):
        """The bytes of the regular file `path`; None when nothing, or something else, is there."""
        with contextlib.suppress(OSError), open(open_file(self.locate(path)), "rb") as file:
            return file.read()

    def names(self, path):
        """The names in the directory `path`, sorted; none when it is not there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(os.listdir(self.locate(path, follow=True)))
        return []

    def link_target(self, path):
        """What the symlink `path` says, or None."""
        with contextlib.suppress(OSError):
            return os.readlink(self.locate(path))

    def holds(self, item):
        """Whether `item` is there already, byte for byte, with its mode and owner."""
        status = self.status(item.path)
        return (status is not None and stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == item.mode
                and status.st_uid == self.owner and self.read(item.path) == item.data)

    def missing_directories(self, path):
        """What `make_directories` would make for `path`, outermost first."""
        parts = path.strip("/").split("/")
        parents = ["/" + "/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        return [inside for inside in parents if self.resolve(inside) is None]

    def make_directories(self, path, mode=0o755):
        """Makes the directory `path`, with `mode`, and those of its parents that are not there."""
        for inside in self.missing_directories(path):
            place = self.locate(inside)
            if os.path.islink(place):
                raise CitadelError("%s is a link that leads nowhere" % place)
            before = os.umask(0)            # mkdir then chmod: a kill in between would leave it closed for good
            os.mkdir(place, mode if inside == path else 0o755)
            os.umask(before)
            if os.geteuid() == 0:
                os.chown(place, self.owner, 0)      # a setgid directory would have given its group

    def write(self, items):
        """Writes all of `items`, or none: all are staged and synced before the first is renamed into its place. The
        renames take milliseconds together, so a command that starts meanwhile rarely sees two versions."""
        staged = []
        try:
            for item in items:
                final = self.locate(item.path)
                if os.path.isdir(final) and not os.path.islink(final):
                    raise CitadelError("cannot write %s: a directory is in its place; nothing was changed" % final)
                _unlink(leftover_of(final))
                atomic.stage(leftover_of(final), item.data, item.mode,
                             owner=(self.owner, 0) if os.geteuid() == 0 else None)
                staged.append(final)
        except (OSError, CitadelError) as error:
            for final in staged:
                os.unlink(leftover_of(final))
            if isinstance(error, CitadelError):
                raise
            raise CitadelError("cannot write %s: %s; nothing was changed" % (item.path, error.strerror))
        for final in staged:
            os.rename(leftover_of(final), final)
        for directory in sorted(set(map(os.path.dirname, staged))):
            atomic.sync_directory(directory)

    def link(self, path, target):
        """Makes `path` a symlink to `target` (a path inside the root), replacing what is there."""
        final = self.locate(path)
        temporary = leftover_of(final)
        _unlink(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, final)
        atomic.sync_directory(os.path.dirname(final))

    def remove(self, path):
        """Removes a file or symlink, if it is there, and what a kill left of its writing."""
        final = self.locate(path)
        _unlink(leftover_of(final))
        _unlink(final)

    def remove_whole(self, path, last=()):
        """Removes `path` with all that is in it, the names `last` at the end; sentences for what would not go."""
        place = self.locate(path)
        return _remove_at(None, place, place, last)

    def remove_directory(self, path):
        """Removes an empty directory; True if it went."""
        with contextlib.suppress(OSError):
            os.rmdir(self.locate(path))
            return True
        return False


def leftover_of(path):
    return os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".citadel-new")


def follow_inside(root, path, follow_last=True, check=lambda place, status: None):
    """The host's path of what `path` is to a process whose root directory is `root`: no link leads out of it. What does
    not exist is taken as it stands. `check(place, status)` is called for each directory on the way."""
    pending, done, links = _parts(path), [], 0
    while len(pending) > (0 if follow_last else 1):
        name = pending.pop(0)
        if name == "..":
            done = done[:-1]
            continue
        done.append(name)
        here = os.path.join(root, *done)
        try:
            status = os.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > LINKS_AT_MOST:
                raise NotPermitted("%s: too many symbolic links" % path)
            target = os.readlink(here)
            pending = _parts(target) + pending
            done = [] if target.startswith("/") else done[:-1]
        elif pending:
            check(here, status)
            if not stat.S_ISDIR(status.st_mode):
                raise CitadelError("%s is not a directory" % here)
    return os.path.join(root, *(done + pending))


def _parts(path):
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_roots_group(gid):
    """Group root, or Debian's `staff`: that one owns /usr/local where an old release installed it, and is equivalent to
    root by Debian Policy 9.1.2."""
    try:
        return gid == 0 or grp.getgrgid(gid).gr_name == "staff"
    except KeyError:
        return False


def _unlink(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_at(parent, name, path, last, mount=None, depth=0):
    """Removes `name` and all below it; a list of sentences about what would not go. By descriptors, one component at a
    time, no link followed, no other mount entered (a bind mount shares st_dev; only mnt_id tells it apart): nothing
    that is swapped meanwhile can lead it elsewhere."""
    try:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            os.unlink(name, dir_fd=parent)
            return []
        descriptor = os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return []
    except OSError as error:
        return ["%s stays: %s" % (path, error.strerror)]
    failures = []
    try:
        here = mount_id(descriptor)
        if mount not in (None, here):
            return ["%s stays: another file system is mounted there" % path]
        if depth >= DEEPEST:
            return ["%s stays: it is too deep" % path]
        for child in sorted(os.listdir(descriptor), key=last.__contains__):
            failures += _remove_at(descriptor, child, path + "/" + child, last, here, depth + 1)
    finally:
        os.close(descriptor)
    try:
        if not failures:
            os.rmdir(name, dir_fd=parent)
    except OSError as error:
        failures = ["%s stays: %s" % (path, error.strerror)]
    return failures
