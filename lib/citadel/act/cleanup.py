"""What is stale and may be deleted: PID files, old temporary files, rotated logs. removal.py removes it.

systemd-tmpfiles deletes what has an age in our own tmpfiles.d file, journalctl what the journal can spare.
"""

import fnmatch
import os
import re
import time

from citadel.act.removal import Folder, Refused, Removed, not_in_use, remove, tree
from citadel.core.text import printable
from citadel.observe import processes

TMPFILES = "/usr/local/lib/tmpfiles.d/citadel.conf"
LONGEST = 10.0                          # seconds for one call

# The names that logrotate, Python's logging handlers, loguru and svlogd give: a log's name, then a number or a date,
# perhaps compressed. The log itself never matches. Each group begins where the one before it must have ended, so that
# no name has two readings: an attacker's 255 characters would otherwise be tried in all of them.
ROTATED = re.compile(r"""(?P<log>.+?\.(?:log|out|err|json|jsonl))
                         [.-](?:\d{1,6}|\d{8}(?:\d\d){0,3}|old)(?:[T_.-](?:\d{1,10}|old)){0,8}
                         (?:\.(?:gz|xz|bz2|zst|lz4|zip))?\Z""", re.VERBOSE | re.ASCII)


def clean_by_age(run, seconds, path=TMPFILES):
    """`systemd-tmpfiles --clean` with our own file and no other."""
    if not os.path.exists(path):
        return Removed()
    answer = run(["systemd-tmpfiles", "--clean", path], seconds)
    return Removed() if answer.ok else Removed(complaints=(printable(answer.complaint()),))


def vacuum_journal(most, run, seconds):
    """Cuts the archived journal files down to `most` bytes. What that frees is seen at the disk."""
    answer = run(["journalctl", "--vacuum-size=%d" % most], seconds)
    return Removed() if answer.ok else Removed(complaints=(printable(answer.complaint()),))


def remove_stale_pid_file(path):
    """Removes a PID file whose process is gone. It stays when it names a living process, whoever's, or no PID. It is
    only a hint: the process that it names is never sent a signal."""
    parent, name = os.path.split(path)
    try:
        with Folder(parent) as folder:
            found = folder.look_at_file(name)
            stale = [folder.candidate(name, found)] if found and _is_stale(name, folder.descriptor) else []
            return remove(stale, lambda: False, time.monotonic() + LONGEST)
    except Refused as refusal:
        return Removed(complaints=(str(refusal),))


def remove_old_files(pattern, oldest, now=time.time, seconds=LONGEST):
    """Removes regular files that match `pattern` (wildcards in its last part), are unchanged for `oldest` seconds and
    are not open. (File times are wall time: a clock that is stepped far ahead makes files look old, which is why
    `pattern` may only name what can be spared.)"""
    parent, last = os.path.split(pattern)
    if _is_private(last):
        return Removed(complaints=("%s is needed by running services" % printable(pattern),))
    end = time.monotonic() + min(seconds, LONGEST)
    try:
        with Folder(parent) as folder:
            latest = now() - oldest
            matching = [(name, folder.look_at_file(name)) for name in folder.names() if time.monotonic() < end
                        and fnmatch.fnmatchcase(name, last) and not _is_private(name)]
            old = [folder.candidate(name, found) for name, found in matching
                   if found is not None and max(found.st_mtime, found.st_ctime) < latest]
            return remove(not_in_use(old, now(), end), lambda: False, end)
    except Refused as refusal:
        return Removed(complaints=(str(refusal),))


def remove_rotated_logs(directory, keep, has_enough, seconds=LONGEST, now=time.time):
    """Removes rotated logs below `directory`, the oldest first, until `has_enough()`. The newest `keep` of each log
    stay, and so does what is open."""
    if has_enough():
        return Removed()
    end = time.monotonic() + min(seconds, LONGEST)
    try:
        with Folder(directory) as top:
            folders, complaints = tree(top, end)
            try:
                spare = [one for folder in folders for one in _rotated(folder, keep, end)]
                return remove(not_in_use(spare, now(), end), has_enough, end) + Removed(complaints=complaints)
            finally:
                for folder in folders[1:]:
                    folder.close()
    except Refused as refusal:
        return Removed(complaints=(str(refusal),))


class Tightness:
    """Which disks are short of space, by the [disk] settings: cleaning ends when a disk `has_enough`."""

    def __init__(self, marks, statvfs=os.statvfs):
        self._marks, self._statvfs = marks, statvfs

    def device(self, path):
        """The device number of the file system that holds `path`, None where it does not exist."""
        try:
            return os.stat(path).st_dev
        except OSError:
            return None

    def devices(self, paths):
        """{device number: a path on it} of the disks that have less than enough."""
        found = {}
        for path in paths:
            device = self.device(path)
            if device is not None and device not in found and not self.has_enough(path):
                found[device] = path
        return found

    def has_enough(self, path):
        """Also where that cannot be measured: this is no reason to delete."""
        disk = self._measured(path)
        return disk is None or (
            disk.f_bavail * disk.f_frsize >= self._marks.enough_free.of(disk.f_blocks * disk.f_frsize)
            and (not disk.f_files or disk.f_favail >= self._marks.enough_inodes.of(disk.f_files)))

    def free(self, devices):
        """Bytes free on all these disks together."""
        return sum(disk.f_bavail * disk.f_frsize for disk in map(self._measured, devices.values()) if disk)

    def _measured(self, path):
        try:
            return self._statvfs(path)
        except OSError:
            return None


def _rotated(folder, keep, end):
    """The rotated logs of one directory, except the newest `keep` of each log."""
    logs = {}
    for name in folder.names():
        matched = ROTATED.match(name) if time.monotonic() < end else None
        found = folder.look_at_file(name) if matched else None
        if found is not None:
            logs.setdefault(matched.group("log"), []).append(folder.candidate(name, found))
    return [one for files in logs.values()
            for one in sorted(files, key=lambda one: one.time, reverse=True)[keep:]]


def _is_private(name):
    """systemd's own directories for PrivateTmp=: without one a running service breaks, and nothing says so."""
    return name.startswith("systemd-private-")


def _is_stale(name, folder):
    """Whether a PID file names a process that is gone, to the kernel and in /proc. Signal 0 only asks."""
    try:
        pid = processes.read_pid(name, folder)
        os.kill(pid, 0)
    except ProcessLookupError:
        return not os.path.exists("/proc/%d" % pid)
    except (OSError, ValueError):
        pass                            # it names no process, or one that is not ours to signal
    return False
