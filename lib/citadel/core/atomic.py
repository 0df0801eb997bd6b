"""Files that a kill or a power cut at any moment leaves whole: each is the old one or the new one.

A write goes to a new file (O_EXCL) beside the old one, is fsynced and renamed over it; then the directory is fsynced.
"""

import os

from citadel.core.trust import FOLDER


def write_file(path, data, mode=0o600, dir_fd=None, sync=True):
    """Puts `data` in place of the file `path`, whole or not at all. OSError when it could not: the old one is still
    there. Without `sync` the write is not waited for: after a power cut the file may be the old one, or empty."""
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, ".%s.%d.%s.tmp" % (name, os.getpid(), os.urandom(4).hex()))
    stage(temporary, data, mode, dir_fd, sync=sync)
    try:
        os.replace(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        os.unlink(temporary, dir_fd=dir_fd)
        raise
    if sync:
        sync_directory(parent, dir_fd)


def stage(path, data, mode=0o600, dir_fd=None, owner=None, sync=True):
    """Writes a file that is not there yet, to be renamed into its place. `owner`: (uid, gid). OSError leaves none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600, dir_fd=dir_fd)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest):]
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        os.unlink(path, dir_fd=dir_fd)
        raise


def sync_directory(path, dir_fd=None):
    descriptor = os.open(path or ".", FOLDER, dir_fd=dir_fd)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(directory, prefix=""):
    """Removes temporary files whose writers died; `directory`: a descriptor. A PID that was used again keeps one."""
    for name in os.listdir(directory):
        words = name.split(".")
        if len(words) < 4 or words[-1] != "tmp" or not name.startswith("." + prefix):
            continue
        pid = words[-3] if words[-3].isdecimal() else words[-2]     # version 1.0 wrote no random part behind it
        if pid.isdecimal() and not os.path.exists("/proc/" + pid):
            try:
                os.unlink(name, dir_fd=directory)
            except OSError:
                pass                    # the next sweep tries again; the others need not wait for it


def to_json(document):
    """A document as the bytes of a file: readable, one final newline, the same for the same document."""
    import json  # not at the top: a health check each minute writes files, and no documents
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"


def from_json(data):
    """The document in `data`; ValueError for anything that is not one: nested too deep, not UTF-8, infinite numbers."""
    import json
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep")


def _finite(text):
    number = float(text)
    if number - number:                 # of infinity and of NaN this is NaN, of all others 0
        raise ValueError("%s is not a number of ours" % text[:20])
    return number
