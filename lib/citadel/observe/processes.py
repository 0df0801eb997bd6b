"""Ports and processes of this host, as /proc and /sys show them. On a host in trouble these questions must not hang: no
program is started, no name resolved, and every walk over /proc ends after WALK_SECONDS with what it has. A process that
vanishes while it is looked at is not seen.
"""

import _socket
import errno
import os
import sys
import time

from citadel.core.text import printable
from citadel.core.trust import open_file
from citadel.model import Holder, PidFile

PROC = "/proc"
CGROUPS = "/sys/fs/cgroup"
WALK_SECONDS = 2.0
_MOST_PROCESSES = 4096                  # of one control group
_MOST_GROUPS = 512                      # directories of one control group
_LARGEST_PID = 4194304                  # PID_MAX_LIMIT of 64-bit kernels
_UNIT_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")


def holder(port, control_group="", address="", proc=PROC):
    """Who listens on TCP `port`, or None; another process comes before those of `control_group`. With an `address` only
    listeners that may take it away count: on that very address, or on all. Without root, Citadel cannot see which
    process holds a socket: then `pid` is 0, and the socket's `uid` is still true."""
    owners = _listeners(port, address, proc)
    if not owners:
        return None
    ours, unseen = None, dict(owners)
    for pid, inode in _socket_holders(owners, proc):
        unseen.pop(inode, None)
        group = control_group_of(pid, proc)
        if group or os.path.exists("%s/%d" % (proc, pid)):
            found = _holder(port, pid, owners[inode], group, proc)
            if not is_within(group, control_group):
                return found
            ours = ours or found
    return _holder(port, 0, min(unseen.values()), "", proc) if ours is None and unseen else ours


def is_taken(address, port):
    """Whether nobody could listen on that address now, by the kernel's own word: a socket on all of IPv6 may or may not
    take an IPv4 address along, and /proc does not show which.

    One bind(2) with SO_REUSEADDR and no listen(2), closed at once, beside which a server starts undisturbed (665,000
    starts, none refused; one without SO_REUSEADDR could be refused in these few microseconds). A port that only root
    may bind counts as taken: no user can hold it to deceive.
    """
    probe = None
    try:
        probe = _socket.socket(_family(address), _socket.SOCK_STREAM)
        probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        return False
    except OSError as error:
        return error.errno in (errno.EADDRINUSE, errno.EACCES)
    finally:
        if probe is not None:
            probe.close()


def _family(address):
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


def _holder(port, pid, uid, group, proc):
    return Holder(port=port, pid=pid, uid=uid, user=user_name(uid), unit=unit_of(group),
                  control_group=printable(group, 4096), command=command_of(pid, proc) if pid else "")


def _listeners(port, address, proc):
    """{socket inode: uid} of the sockets that listen on `port`, from /proc/net/tcp and tcp6 (proc_pid_net(5)). One on
    all of IPv6 may or may not take an IPv4 address along. Where another has that address, it does not: the kernel lets
    only one of them listen."""
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
    packed = [_socket.inet_pton(_family(address), address)]
    if len(packed[0]) == 4:
        packed.append(b"\0" * 10 + b"\xff\xff" + packed[0])     # the same one, bound through IPv6
    return tuple("".join("%08X" % int.from_bytes(raw[at:at + 4], sys.byteorder) for at in range(0, len(raw), 4))
                 for raw in packed)


def _socket_holders(inodes, proc):
    """(pid, inode) of each process that has one of these sockets open, in the order of PIDs."""
    links = {"socket:[%s]" % inode: inode for inode in inodes}
    for pid in pids_in_turn(proc):
        directory = "%s/%d/fd" % (proc, pid)
        for descriptor in _names(directory):
            try:
                inode = links.get(os.readlink("%s/%s" % (directory, descriptor)))
            except OSError:
                continue
            if inode is not None:
                yield pid, inode
                break


def user_name(uid, passwd=None):
    """The account's name; "" for none."""
    from citadel.core import accounts  # a healthy check need not load it
    account = accounts.by_uid(uid, passwd or accounts.PASSWD)
    return printable(account.name, 64) if account else ""


def unit_of(control_group):
    """The systemd unit that a control group belongs to: the first part of its path that is no slice, as in systemd's
    own cg_path_get_unit(). "" for what no unit holds, such as a container's group."""
    for part in control_group.split("/"):
        if part and not part.endswith(".slice"):
            name = part[1:] if part.startswith("_") else part           # systemd escapes names that the kernel reserves
            return printable(name, 200) if name.endswith(_UNIT_SUFFIXES) else ""
    return ""


def processes(control_group, cgroups=CGROUPS, proc=PROC):
    """((pid, state, name), ...) of a unit's control group and all groups below it, in the order of PIDs. `state` is the
    letter of ps(1): T stopped by a signal, t by a debugger, Z a zombie, D waiting for a disk."""
    directory = _group_directory(control_group, cgroups)
    pids = set()
    for number, (place, _, _) in enumerate(os.walk(directory) if directory else ()):
        if number >= _MOST_GROUPS or len(pids) >= _MOST_PROCESSES:
            break
        pids.update(int(pid) for pid in read_text(place + "/cgroup.procs").split() if pid.isdecimal())
    states = ((pid,) + _state_and_name(pid, proc) for pid in sorted(pids)[:_MOST_PROCESSES])
    return tuple((pid, state, name) for pid, state, name in states if state)


def stopped(control_group, cgroups=CGROUPS, proc=PROC):
    """The unit's processes that are stopped (SIGSTOP, or by a debugger), which systemd does not notice."""
    return tuple(pid for pid, state, _ in processes(control_group, cgroups, proc) if state in ("T", "t"))


def oom_kills(control_group, cgroups=CGROUPS):
    """How many processes the kernel's OOM killer has taken from this control group since it was made, groups below
    included; None where no memory controller counts it. The group, and with it the count, ends when the unit stops."""
    for place, file in ((_group_directory(control_group, cgroups), "memory.events"),
                        (_group_directory(control_group, cgroups + "/memory"), "memory.oom_control")):
        for line in read_text("%s/%s" % (place, file)).split("\n") if place else ():
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
    except (OSError, ValueError) as error:
        return PidFile(path=path, state="unreadable", detail=getattr(error, "strerror", str(error)))
    state, name = _state_and_name(pid, proc)
    if not state or state in ("Z", "X"):
        return PidFile(path=path, pid=pid, state="dead", detail="no process %d" % pid)
    group = control_group_of(pid, proc)
    if is_within(group, control_group):
        return PidFile(path=path, pid=pid, state="own", detail=name)
    unit = unit_of(group)
    return PidFile(path=path, pid=pid, state="other", detail="process %d is %s%s" % (
        pid, name, " of " + unit if unit else ""))


def read_pid(path, folder=None):
    """The number in a PID file; `path` may be relative to the descriptor `folder`. OSError when nothing can be read,
    ValueError when no process is meant: an account that root does not trust writes the file, so it may be a FIFO, a
    link, huge, or name process 1 or one that no kernel can have."""
    with open(open_file(path, folder), "rb") as file:
        content = file.read(65)
    word = content.strip()
    if len(content) > 64 or not word.isdigit() or not 1 < int(word) <= _LARGEST_PID:
        raise ValueError("it is empty" if not word else "it names no process: %s"
                         % printable(word.decode("ascii", "backslashreplace"), 40))
    return int(word)


def is_process_of(pid, control_group, proc=PROC):
    """Whether that process is in the unit's control group or beneath it, by the kernel's word."""
    return is_within(control_group_of(pid, proc), control_group)


def is_within(group, control_group):
    """Whether `group` is that control group or one below it; nothing is within no group, or within the root."""
    control_group = control_group.rstrip("/")
    return bool(control_group) and (group == control_group or group.startswith(control_group + "/"))


def control_group_of(pid, proc):
    """A process' control group as systemd writes it: from the unified hierarchy, or on a host that has only the older
    ones from systemd's named one. "" for a process that is gone."""
    lines = (line.split(":", 2) for line in read_text("%s/%d/cgroup" % (proc, pid)).split("\n"))
    groups = {line[1]: line[2] for line in lines if len(line) == 3}
    unified, named = groups.get("", ""), groups.get("name=systemd", "")
    return named if named and unified in ("", "/") else unified


def _state_and_name(pid, proc):
    """State and name from /proc/PID/stat: "12 (any) name) S 1 ...", the name ending at the last bracket."""
    before, _, after = read_text("%s/%d/stat" % (proc, pid)).rpartition(")")
    return (printable(after.split()[0], 4), printable(before.partition("(")[2], 32)) if after.split() else ("", "")


def command_of(pid, proc):
    """The process' name, not its command line: that may hold passwords, and this goes into alerts."""
    return printable(read_text("%s/%d/comm" % (proc, pid)).rstrip("\n"), 32)


def pids_in_turn(proc):
    """All PIDs, lowest first, until WALK_SECONDS are over."""
    end = time.monotonic() + WALK_SECONDS
    for pid in sorted(int(name) for name in _names(proc) if name.isdecimal()):
        if time.monotonic() > end:
            return
        yield pid


def _names(directory):
    try:
        return os.listdir(directory)
    except OSError:
        return []


def read_text(path, limit=65536):
    """A small file's text, at most `limit` bytes of it; "" for one that is not there or not for us."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
