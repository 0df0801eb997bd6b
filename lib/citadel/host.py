"""Disks, memory, ports and processes of this host, as /proc, /sys and statvfs show them.

Nothing here starts a program, resolves a name or touches a network file system, and every walk over /proc ends after
WALK_SECONDS with what it has: on a host in trouble these are the questions that must not hang. A process that vanishes
while it is looked at is normal, and simply not seen.
"""

import _socket
import errno
import os
import stat
import sys
import time
from collections import namedtuple

from citadel.facts import Disk, Holder, Memory, PidFile
from citadel.report import printable

PROC = "/proc"
CGROUPS = "/sys/fs/cgroup"
WALK_SECONDS = 2.0
_MOST_PROCESSES = 4096                  # of one control group
_MOST_GROUPS = 512                      # directories of one control group
_MOST_LINKS = 40                        # symbolic links in one path, as the kernel allows (path_resolution(7))
_LARGEST_PID = 4194304                  # PID_MAX_LIMIT of 64-bit kernels

# File systems that another machine or a user's program answers for: statvfs(2) or even lstat(2) hangs in the kernel
# when that one is gone, and no deadline of ours can end it.
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs",
                     "beegfs", "ocfs2", "gfs2", "orangefs", "autofs", "fuse"))

_OCTAL = frozenset("01234567")

_UNIT_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")


class Mount(namedtuple("Mount", "point options type source super_options")):
    """One line of mountinfo (proc_pid_mountinfo(5)): the mount point, the file system, and both layers of options."""

    __slots__ = ()

    @property
    def remote(self):
        return self.type in _REMOTE or self.type.startswith("fuse.")


def disks(paths, mountinfo_text=None, statvfs=os.statvfs, proc=PROC):
    """The file systems below `paths`, each once, in the order of the first path that needs it.

    A path that does not exist yet stands for its nearest existing parent; symbolic links are followed. A file system of
    another machine, or of a FUSE program, is not touched: its Disk has `total` 0, which reads "not measured".

    `read_only` is what PID 1 sees. Our own unit runs with ProtectSystem=strict, where nearly every mount is read-only
    to us alone; so /proc/1/mountinfo is read, and where that is not allowed only the file system's own state counts.
    """
    whole_truth = True
    if mountinfo_text is None:
        mountinfo_text = _read(proc + "/1/mountinfo", 4 << 20)
        if not mountinfo_text:
            whole_truth, mountinfo_text = False, _read(proc + "/self/mountinfo", 4 << 20)
    mounts = _mounts(mountinfo_text)
    found = {}
    for path in paths:
        place = _nearest_existing(path, mounts)
        mount = _mount_of(place, mounts)
        if mount is not None and mount.point not in found:
            found[mount.point] = _disk(path, place, mount, whole_truth, statvfs)
    return tuple(found.values())


def _mounts(text):
    """The mounts by their mount points; a later mount on the same point hides the earlier one."""
    mounts = {}
    for line in text.split("\n"):
        before, _, after = line.partition(" - ")
        words, tail = before.split(" "), after.split(" ")
        if len(words) >= 6 and len(tail) >= 3:          # otherwise the end of a text that was cut
            point = _unescaped(words[4])
            mounts[point] = Mount(point, words[5].split(","), tail[0], _unescaped(tail[1]), tail[2].split(","))
    return mounts


def _unescaped(word):
    """mountinfo writes space, tab, newline and backslash as a backslash and three octal digits."""
    first, *rest = word.split("\\")
    return first + "".join("\\" + part if len(part) < 3 or set(part[:3]) - _OCTAL else chr(int(part[:3], 8)) + part[3:]
                           for part in rest)


def _mount_of(path, mounts):
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return mounts.get(path)


def _nearest_existing(path, mounts):
    """`path` without symbolic links, cut where it ceases to exist, or where it enters a remote file system: looking any
    further there could hang."""
    pending, here, links = [part for part in reversed(path.split("/")) if part], "/", 0
    while pending:
        part = pending.pop()
        if part in (".", ".."):
            here = os.path.dirname(here) if part == ".." else here
            continue
        there = os.path.join(here, part)
        mount = _mount_of(there, mounts)
        if mount is not None and mount.remote:
            return there
        try:
            is_link = stat.S_ISLNK(os.lstat(there).st_mode)
            target = os.readlink(there) if is_link else ""
        except OSError:
            return here
        if not is_link:
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            return here
        here = "/" if target.startswith("/") else here
        pending += [part for part in reversed(target.split("/")) if part]
    return here


def _disk(path, place, mount, whole_truth, statvfs):
    names = dict(path=path, mount=printable(mount.point), device=printable(mount.source),
                 read_only="ro" in mount.super_options or (whole_truth and "ro" in mount.options))
    if mount.remote:
        return Disk(**names)
    try:
        seen = statvfs(place)
    except OSError:
        return Disk(**names)
    return Disk(total=seen.f_blocks * seen.f_frsize, free=seen.f_bavail * seen.f_frsize,
                inodes=seen.f_files, inodes_free=seen.f_favail, **names)


def memory(biggest=False, proc=PROC):
    """What memory there is, and with `biggest` who holds most of it: that walks over all processes.

    A total of 0 says that /proc/meminfo is not shown to us (ProcSubset=pid), not that there is none.
    """
    sizes = {}
    for line in _read(proc + "/meminfo").split("\n"):
        name, _, value = line.partition(":")
        digits = value.replace("kB", "").strip()
        if digits.isdecimal():
            sizes[name] = int(digits) * 1024
    return Memory(total=sizes.get("MemTotal", 0), available=sizes.get("MemAvailable", sizes.get("MemFree", 0)),
                  swap_free=sizes.get("SwapFree", 0), pressure=_pressure(_read(proc + "/pressure/memory")),
                  biggest=_biggest(proc) if biggest else ())


def _pressure(text):
    """`some avg10` of a PSI file, in percent; None where the kernel has no PSI, or has it switched off."""
    for line in text.split("\n"):
        if line.startswith("some "):
            for word in line.split():
                if word.startswith("avg10="):
                    try:
                        return float(word[6:])
                    except ValueError:
                        return None
    return None


def _biggest(proc, count=5):
    """(unit, or a process' name where no unit holds it, bytes), summed, largest first.

    Bytes are what would be freed if they ended: resident pages less those shared with files and others
    (proc_pid_statm(5)), so that eight workers do not count one library eight times.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    held = {}
    for pid in _processes_in_turn(proc):
        words = _read("%s/%d/statm" % (proc, pid)).split()
        if len(words) < 3 or not (words[1] + words[2]).isdecimal() or words[1] == "0":     # gone, or a kernel thread
            continue
        unit = unit_of(_control_group_of(pid, proc))
        name = unit if unit.endswith(".service") else _command(pid, proc)
        held[name] = held.get(name, 0) + max(0, int(words[1]) - int(words[2])) * page
    return tuple(sorted(held.items(), key=lambda entry: (-entry[1], entry[0]))[:count])


def holder(port, control_group="", address="", proc=PROC):
    """Who listens on TCP `port`, or None for nobody.

    With several, one outside `control_group` comes before our own: a stranger is what the caller asks about. With an
    `address` only listeners that may take it away count: on that very address, or on all. Which process holds a socket
    is shown to root alone; for others `pid` is 0, and the socket's `uid` is still true.
    """
    owners = _listeners(port, address, proc)
    if not owners:
        return None
    ours = None
    unseen = dict(owners)
    for pid, inode in _socket_holders(owners, proc):
        unseen.pop(inode, None)
        group = _control_group_of(pid, proc)
        if not group and not os.path.exists("%s/%d" % (proc, pid)):
            continue
        found = _holder(port, pid, owners[inode], group, proc)
        if not is_within(group, control_group):
            return found
        ours = ours or found
    if ours is None and unseen:
        return _holder(port, 0, min(unseen.values()), "", proc)
    return ours


def is_taken(address, port):
    """Whether nobody could listen on that address now, by the kernel's own word: a socket on all of IPv6 may or may not
    take an IPv4 address along, and /proc does not show which.

    One bind(2), closed at once. It disturbs no server that starts in that instant: with SO_REUSEADDR, and no listen(2),
    two may be bound side by side (665,000 starts beside it, none refused; one that goes without SO_REUSEADDR, as hardly
    any does, could be refused within these few microseconds). A port that only root may bind is as good as taken: no
    user can hold it to deceive us, so whoever was seen there counts.
    """
    probe = None
    try:
        probe = _socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, _socket.SOCK_STREAM)
        probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        return False
    except OSError as error:
        return error.errno in (errno.EADDRINUSE, errno.EACCES)
    finally:
        if probe is not None:
            probe.close()


def _holder(port, pid, uid, group, proc):
    return Holder(port=port, pid=pid, uid=uid, user=user_name(uid), unit=unit_of(group),
                  control_group=printable(group, 4096), command=_command(pid, proc) if pid else "")


def _listeners(port, address, proc):
    """{socket inode: uid} of the sockets that listen on `port`, from /proc/net/tcp and tcp6 (proc_pid_net(5)).

    One on all of IPv6 may or may not take an IPv4 address along; where another has that address, it does not: the kernel
    would have let only one of them listen.
    """
    wanted = _as_in_proc(address)
    own_table = "tcp6" if ":" in address else "tcp"
    certain, doubtful = {}, {}
    for table in ("tcp", "tcp6"):
        try:
            with open("%s/self/net/%s" % (proc, table)) as lines:
                next(lines, "")
                for line in lines:
                    words = line.split()
                    if len(words) < 10 or words[3] != "0A":
                        break                           # the kernel lists all listening sockets before the others
                    place, _, digits = words[1].rpartition(":")
                    if int(digits, 16) == port and (not wanted or place in wanted or not place.strip("0")):
                        owners = certain if not wanted or table == own_table or place in wanted else doubtful
                        owners[words[9]] = int(words[7])
        except (OSError, ValueError):
            continue
    return certain or doubtful


def _as_in_proc(address):
    """An address as /proc/net/tcp* writes it: hexadecimal, in words of 32 bits of the machine's own byte order."""
    if not address:
        return ()
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    packed = [_socket.inet_pton(family, address)]
    if family == _socket.AF_INET:
        packed.append(b"\0" * 10 + b"\xff\xff" + packed[0])     # the same one, bound through IPv6
    return tuple("".join("%08X" % int.from_bytes(raw[at:at + 4], sys.byteorder) for at in range(0, len(raw), 4))
                 for raw in packed)


def _socket_holders(inodes, proc):
    """(pid, inode) of each process that has one of these sockets open, in the order of PIDs."""
    links = {"socket:[%s]" % inode: inode for inode in inodes}
    for pid in _processes_in_turn(proc):
        directory = "%s/%d/fd" % (proc, pid)
        try:
            descriptors = os.listdir(directory)
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                inode = links.get(os.readlink("%s/%s" % (directory, descriptor)))
            except OSError:
                continue
            if inode is not None:
                yield pid, inode
                break


def user_name(uid, passwd="/etc/passwd"):
    """The account's name, from the file alone: the C library would ask a directory server that may hang."""
    for line in _read(passwd, 1 << 20).split("\n"):
        words = line.split(":")
        if len(words) > 2 and words[2] == str(uid):
            return printable(words[0], 64)
    return ""


def unit_of(control_group):
    """The systemd unit that a control group belongs to: the first part of its path that is no slice, as in systemd's
    own cg_path_get_unit(). "" for what no unit holds, such as a container's group."""
    for part in control_group.split("/"):
        if part and not part.endswith(".slice"):
            name = part[1:] if part.startswith("_") else part           # systemd escapes names that the kernel reserves
            return printable(name, 200) if name.endswith(_UNIT_SUFFIXES) else ""
    return ""


def processes(control_group, cgroups=CGROUPS, proc=PROC):
    """((pid, state, name), ...) of a unit's control group and all groups below it, in the order of PIDs.

    `state` is the letter of ps(1): T stopped by a signal, t by a debugger, Z a zombie, D waiting for a disk.
    """
    directory = _group_directory(control_group, cgroups)
    pids = set()
    for number, (place, _, _) in enumerate(os.walk(directory) if directory else ()):
        if number >= _MOST_GROUPS or len(pids) >= _MOST_PROCESSES:
            break
        pids.update(int(pid) for pid in _read(place + "/cgroup.procs").split() if pid.isdecimal())
    states = ((pid,) + _state_and_name(pid, proc) for pid in sorted(pids)[:_MOST_PROCESSES])
    return tuple((pid, state, name) for pid, state, name in states if state)


def stopped(control_group, cgroups=CGROUPS, proc=PROC):
    """The unit's processes that are stopped (SIGSTOP, or held by a debugger). systemd notices nothing of it."""
    return tuple(pid for pid, state, _ in processes(control_group, cgroups, proc) if state in ("T", "t"))


def oom_kills(control_group, cgroups=CGROUPS):
    """How many processes the kernel's OOM killer has taken from this control group since it was made, groups below
    included; None where no memory controller counts it. The group, and with it the count, ends when the unit stops."""
    for place, file in ((_group_directory(control_group, cgroups), "memory.events"),
                        (_group_directory(control_group, cgroups + "/memory"), "memory.oom_control")):
        for line in _read("%s/%s" % (place, file)).split("\n") if place else ():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdecimal():
                return int(count)
    return None


def _group_directory(control_group, cgroups):
    """Where a control group is found: in the unified hierarchy, in the unified part of a hybrid one, or in systemd's
    named one. "" for a group that is not there, and for the root, which is every process of the host."""
    parts = control_group.strip("/").split("/")
    if not parts[0] or ".." in parts:
        return ""
    for base in (cgroups, cgroups + "/unified", cgroups + "/systemd"):
        directory = "/".join([base] + parts)
        if os.path.isdir(directory):
            return directory
    return ""


def pid_file(path, control_group, proc=PROC):
    """A PID file beside what it names: a hint, never a reason to signal that number, for PIDs are reused."""
    try:
        pid = read_pid(path)
    except FileNotFoundError:
        return PidFile(path=path)
    except OSError as error:
        return PidFile(path=path, state="unreadable", detail=os.strerror(error.errno))
    except ValueError as error:
        return PidFile(path=path, state="unreadable", detail=str(error))
    return _named_process(path, pid, control_group, proc)


def read_pid(path, folder=None):
    """The number in a PID file, one that a process can have; `path` may be relative to the descriptor `folder`.

    OSError when there is nothing to read, ValueError when no process is meant: the file is written by an account that
    root does not trust, so it may be a FIFO, a link, huge, or name process 1 or one that no kernel can have.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        content = os.read(descriptor, 65)
    finally:
        os.close(descriptor)
    word = content.strip()
    if len(content) > 64 or not word.isdigit() or not 1 < int(word) <= _LARGEST_PID:
        raise ValueError("it is empty" if not word else "it names no process: %s"
                         % printable(word.decode("ascii", "backslashreplace"), 40))
    return int(word)


def _named_process(path, pid, control_group, proc):
    state, name = _state_and_name(pid, proc)
    if not state or state in ("Z", "X"):
        return PidFile(path=path, pid=pid, state="dead", detail="no process %d" % pid)
    group = _control_group_of(pid, proc)
    if is_within(group, control_group):
        return PidFile(path=path, pid=pid, state="own", detail=name)
    unit = unit_of(group)
    return PidFile(path=path, pid=pid, state="stranger", detail="process %d is %s%s" % (
        pid, name, " of " + unit if unit else ""))


def is_process_of(pid, control_group, proc=PROC):
    """Whether that process is in the unit's control group or beneath it, by the kernel's word."""
    return is_within(_control_group_of(pid, proc), control_group)


def is_within(group, control_group):
    """Whether `group` is that control group or one below it; nothing is within no group, or within the root."""
    control_group = control_group.rstrip("/")
    return bool(control_group) and (group == control_group or group.startswith(control_group + "/"))


def _control_group_of(pid, proc):
    """A process' control group as systemd writes it: from the unified hierarchy, or on a host that has only the older
    ones from systemd's named one. "" for a process that is gone."""
    unified = named = ""
    for line in _read("%s/%d/cgroup" % (proc, pid)).split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if line.startswith("0::"):
            unified = group
        elif controllers == "name=systemd":
            named = group
    return named if named and unified in ("", "/") else unified


def _state_and_name(pid, proc):
    """State and name from /proc/PID/stat: "12 (any) name) S 1 ...", the name ending at the last bracket."""
    before, _, after = _read("%s/%d/stat" % (proc, pid)).rpartition(")")
    return (printable(after.split()[0], 4), printable(before.partition("(")[2], 32)) if after.split() else ("", "")


def _command(pid, proc):
    """The process' name, not its command line: those hold passwords, and this goes into alerts."""
    return printable(_read("%s/%d/comm" % (proc, pid)).rstrip("\n"), 32)


def _processes_in_turn(proc):
    """All PIDs, lowest first, until WALK_SECONDS are over."""
    end = time.monotonic() + WALK_SECONDS
    try:
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdecimal())
    except OSError:
        return
    for pid in pids:
        if time.monotonic() > end:
            return
        yield pid


def _read(path, limit=65536):
    """A small file's text, at most `limit` bytes of it; "" for one that is not there or not for us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        pieces = []
        while limit > 0:
            piece = os.read(descriptor, limit)
            if not piece:
                break
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
