"""File systems and memory, as the kernel tells them."""

import os
import stat

from citadel.core.mounts import LARGEST, parse
from citadel.core.text import printable
from citadel.model import Disk, Memory
from citadel.observe.processes import PROC, command_of, control_group_of, pids_in_turn, read_text, unit_of

_MOST_LINKS = 40                        # symbolic links in one path, as the kernel allows (path_resolution(7))

# File systems that another machine or a user's program answers for: statvfs(2) or even lstat(2) hangs in the kernel
# when that one is gone, and no deadline can end it.
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs",
                     "beegfs", "ocfs2", "gfs2", "orangefs", "autofs", "fuse"))


def disks(paths, statvfs=os.statvfs, proc=PROC):
    """The file systems below `paths`, each once. A path that does not exist yet stands for its nearest existing parent.

    A file system of another machine, or of a FUSE program, is not touched: its Disk has `total` 0, "not measured".
    `read_only` is what PID 1 sees: in our own unit, with ProtectSystem=strict, nearly every mount is read-only to us
    alone. Where /proc/1/mountinfo may not be read, only the file system's own state counts.
    """
    of_pid_1 = read_text(proc + "/1/mountinfo", LARGEST)
    # A later mount on the same point hides the earlier one.
    mounts = {mount.point: mount for mount in parse(of_pid_1 or read_text(proc + "/self/mountinfo", LARGEST))}
    found = {}
    for path in paths:
        place = _nearest_existing(path, mounts)
        mount = _mount_of(place, mounts)
        if mount is not None and mount.point not in found:
            found[mount.point] = _disk(path, place, mount, bool(of_pid_1), statvfs)
    return tuple(found.values())


def _is_remote(mount):
    return mount.type in _REMOTE or mount.type.startswith("fuse.")


def _mount_of(path, mounts):
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return mounts.get(path)


def _nearest_existing(path, mounts):
    """`path` without symbolic links, cut where it ceases to exist, or enters a remote file system: that could hang."""
    pending, here, links = [part for part in reversed(path.split("/")) if part], "/", 0
    while pending:
        part = pending.pop()
        if part in (".", ".."):
            here = os.path.dirname(here) if part == ".." else here
            continue
        there = os.path.join(here, part)
        mount = _mount_of(there, mounts)
        if mount is not None and _is_remote(mount):
            return there
        try:
            target = os.readlink(there) if stat.S_ISLNK(os.lstat(there).st_mode) else ""
        except OSError:
            return here
        if not target:
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            return here
        here = "/" if target.startswith("/") else here
        pending += [part for part in reversed(target.split("/")) if part]
    return here


def _disk(path, place, mount, whole_truth, statvfs):
    disk = Disk(path=path, mount=printable(mount.point), device=printable(mount.source),
                read_only="ro" in mount.super_options or (whole_truth and "ro" in mount.options))
    try:
        seen = None if _is_remote(mount) else statvfs(place)
    except OSError:
        seen = None
    return disk if seen is None else disk._replace(
        total=seen.f_blocks * seen.f_frsize, free=seen.f_bavail * seen.f_frsize,
        inodes=seen.f_files, inodes_free=seen.f_favail)


def memory(biggest=False, proc=PROC):
    """What memory there is, and with `biggest` who holds most of it: that walks over all processes. A total of 0 says
    that /proc/meminfo is not shown to us (ProcSubset=pid), not that there is none."""
    rows = (line.replace("kB", "").partition(":") for line in read_text(proc + "/meminfo").split("\n"))
    sizes = {name: int(value) * 1024 for name, _, value in rows if value.strip().isdecimal()}
    return Memory(total=sizes.get("MemTotal", 0), available=sizes.get("MemAvailable", sizes.get("MemFree", 0)),
                  swap_free=sizes.get("SwapFree", 0), pressure=_pressure(read_text(proc + "/pressure/memory")),
                  biggest=_biggest(proc) if biggest else ())


def _pressure(text):
    """`some avg10` of a PSI file, in percent; None where the kernel has no PSI, or has it switched off."""
    words = text.partition("some avg10=")[2].split()
    try:
        return float(words[0]) if words else None
    except ValueError:
        return None


def _biggest(proc):
    """(unit, or a process' name where no unit holds it, bytes), summed, the five largest first. Bytes are what would be
    freed if they ended: resident pages less shared ones (proc_pid_statm(5)), which eight workers hold only once."""
    page, held = os.sysconf("SC_PAGE_SIZE"), {}
    for pid in pids_in_turn(proc):
        words = read_text("%s/%d/statm" % (proc, pid)).split()
        if len(words) < 3 or not (words[1] + words[2]).isdecimal() or words[1] == "0":     # gone, or a kernel thread
            continue
        unit = unit_of(control_group_of(pid, proc))
        name = unit if unit.endswith(".service") else command_of(pid, proc)
        held[name] = held.get(name, 0) + max(0, int(words[1]) - int(words[2])) * page
    return tuple(sorted(held.items(), key=lambda entry: (-entry[1], entry[0]))[:5])
