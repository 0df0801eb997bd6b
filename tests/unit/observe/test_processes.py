"""host.py on recorded /proc files (tests/samples/proc-*), on small trees made here, and on this very host."""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
from network import port_of_nobody
from places import SAMPLES

from citadel.model import Disk, Holder, Memory, PidFile
from citadel.observe import disks, processes

GATEWAY = "/system.slice/citadel-gateway.service"


def sample(name):
    with open(os.path.join(SAMPLES, name)) as file:
        return file.read()


def put(path, text=""):
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    with open(str(path), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


class Proc:
    """A small /proc: processes with a name, a control group, a state, memory and sockets."""

    def __init__(self, directory):
        self.path = str(directory.join("proc") if hasattr(directory, "join") else directory / "proc")
        os.makedirs(self.path)

    def process(self, pid, name="python3", group=GATEWAY, state="S", sockets=(), pages=(0, 0)):
        place = "%s/%d/" % (self.path, pid)
        put(place + "comm", name + "\n")
        put(place + "stat", "%d (%s) %s 1 1 1 0 -1\n" % (pid, name, state))
        put(place + "statm", "999999 %d %d 1 0 1 0\n" % pages)
        put(place + "cgroup", "0::%s\n" % group)
        os.makedirs(place + "fd")
        for number, inode in enumerate(("dev/null",) + tuple(sockets)):
            os.symlink("socket:[%d]" % inode if isinstance(inode, int) else inode, "%sfd/%d" % (place, number))
        return self

    def table(self, name, text):
        put("%s/self/net/%s" % (self.path, name), text)
        return self


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path)


# --- disks

class Statvfs:
    f_frsize, f_blocks, f_bavail, f_files, f_favail = 4096, 1000, 100, 50, 5


def mounts(*rows):
    """mountinfo lines from (mount point, type, mount options, superblock options)."""
    return "".join("%d 1 0:%d / %s %s shared:1 - %s /dev/%s %s\n" % (
        number, number, point, options, kind, kind, superblock)
        for number, (point, kind, options, superblock) in enumerate(rows, 30))


def disk(path, mount, device="/dev/ext4", read_only=False, measured=True):
    seen = dict(total=4096000, free=409600, inodes=50, inodes_free=5) if measured else {}
    return Disk(path=path, mount=mount, device=device, read_only=read_only, **seen)


ROOT = ("/", "ext4", "rw,relatime", "rw")


def measured(paths, text, statvfs=lambda path: Statvfs):
    with tempfile.TemporaryDirectory() as proc:
        os.mkdir(proc + "/1")
        with open(proc + "/1/mountinfo", "w") as file:
            file.write(text)
        return disks.disks(paths, statvfs=statvfs, proc=proc)


@pytest.mark.parametrize("paths,rows,found", [
    pytest.param(["/x"], [ROOT], [disk("/x", "/")], id="one root for everything"),
    pytest.param(["/nowhere/at/all", "/"], [ROOT], [disk("/nowhere/at/all", "/")], id="the first path names it"),
    pytest.param(["/proc/x", "/nowhere"], [ROOT, ("/proc", "ext4", "rw", "rw")],
                 [disk("/proc/x", "/proc"), disk("/nowhere", "/")], id="the longest mount point wins"),
    pytest.param(["/procession"], [ROOT, ("/proc", "ext4", "ro", "rw")], [disk("/procession", "/")],
                 id="a mount point ends at a slash"),
    pytest.param(["/x"], [("/", "ext4", "ro,relatime", "rw,errors=remount-ro")], [disk("/x", "/", read_only=True)],
                 id="read-only by its mount"),
    pytest.param(["/x"], [("/", "ext4", "rw", "ro,errors=remount-ro")], [disk("/x", "/", read_only=True)],
                 id="read-only by its file system, after an I/O error"),
    pytest.param(["/x"], [("/", "ext4", "rw", "rw,errors=remount-ro")], [disk("/x", "/")],
                 id="errors=remount-ro alone is not read-only"),
    pytest.param(["/x"], [ROOT, ("/", "xfs", "ro", "rw")], [disk("/x", "/", "/dev/xfs", True)],
                 id="a later mount hides the earlier one"),
    pytest.param(["/proc/x"], [ROOT, ("/proc", "nfs4", "rw", "rw")],
                 [disk("/proc/x", "/proc", "/dev/nfs4", False, False)], id="NFS is not touched"),
    pytest.param(["/proc/x"], [ROOT, ("/proc", "fuse.sshfs", "rw", "rw")],
                 [disk("/proc/x", "/proc", "/dev/fuse.sshfs", False, False)], id="sshfs is not touched"),
    pytest.param(["/proc/x"], [ROOT, ("/proc", "fuseblk", "rw", "rw")], [disk("/proc/x", "/proc", "/dev/fuseblk")],
                 id="NTFS through FUSE is a local disk"),
    pytest.param([], [ROOT], [], id="no paths, no disks"),
    pytest.param(["/x"], [], [], id="no mounts are known"),
])
def test_disks(paths, rows, found):
    assert measured(paths, mounts(*rows)) == tuple(found)


@pytest.mark.parametrize("version", ["247", "262"])
def test_a_sandbox_of_ours_does_not_make_the_host_read_only(version, tmp_path):
    """Recorded in a unit with ProtectSystem=strict: there / is `ro` to itself, and `rw` to PID 1."""
    assert measured(["/opt/x"], sample("proc-%s-mountinfo-in-a-strict-unit" % version))[0].read_only
    put(tmp_path / "1" / "mountinfo", sample("proc-%s-mountinfo-of-pid-1" % version))
    put(tmp_path / "self" / "mountinfo", sample("proc-%s-mountinfo-in-a-strict-unit" % version))
    found, = disks.disks(["/opt/x"], statvfs=lambda path: Statvfs, proc=str(tmp_path))
    assert (found.mount, found.read_only) == ("/", False)
    os.remove(str(tmp_path / "1" / "mountinfo"))
    found, = disks.disks(["/opt/x"], statvfs=lambda path: Statvfs, proc=str(tmp_path))
    assert (found.mount, found.read_only) == ("/", False), "unseen, only the file system's own state counts"


def test_links_are_followed_and_a_path_that_is_not_there_stands_for_its_parent(tmp_path):
    data = tmp_path / "the data"
    data.mkdir()
    (tmp_path / "logs").symlink_to("the data/../the data")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "absolute").symlink_to(str(data))
    text = mounts(ROOT, (str(data).replace(" ", "\\040"), "xfs", "rw", "rw"))
    asked = []

    def statvfs(path):
        asked.append(path)
        return Statvfs

    assert measured([str(tmp_path / "logs" / "not" / "yet")], text, statvfs)[0].mount == str(data)
    assert asked == [str(data)]
    assert measured([str(tmp_path / "absolute")], text)[0].mount == str(data)
    assert measured([str(tmp_path / "loop" / "x")], text)[0].mount == "/"


def test_nothing_is_looked_up_beyond_a_remote_mount(tmp_path, monkeypatch):
    """A link on the way to a dead NFS server, as /opt/citadel/logs may be one: lstat there would hang for ever."""
    (tmp_path / "logs").symlink_to("share/logs")
    (tmp_path / "share").mkdir()
    looked_at = []
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **how: looked_at.append(path) or real(path, **how))
    found, = measured([str(tmp_path / "logs")], mounts(ROOT, (str(tmp_path / "share"), "nfs", "rw", "rw")))
    assert (found.mount, found.total) == (str(tmp_path / "share"), 0)
    assert not [path for path in looked_at if path.startswith(str(tmp_path / "share"))]


def test_a_file_system_that_cannot_be_measured_has_no_total():
    def statvfs(path):
        raise OSError(5, "Input/output error")

    assert measured(["/x"], mounts(ROOT), statvfs) == (disk("/x", "/", measured=False),)


def test_the_disks_of_this_host():
    found, = disks.disks(["/"])
    seen = os.statvfs("/")
    assert found.mount == "/" and found.total == seen.f_blocks * seen.f_frsize
    assert 0 <= found.free <= found.total and not found.read_only


# --- memory

def test_memory_of_a_recorded_host(proc):
    put(proc.path + "/meminfo", sample("proc-6.18-meminfo"))
    put(proc.path + "/pressure/memory", "some avg10=12.34 avg60=1.00 avg300=0.10 total=5\nfull avg10=99.00 avg60=0 "
                                        "avg300=0 total=0\n")
    assert disks.memory(proc=proc.path) == Memory(
        total=24684096 * 1024, available=sample_kilobytes("MemAvailable") * 1024, swap_free=0, pressure=12.34)


def sample_kilobytes(name):
    return int(sample("proc-6.18-meminfo").partition(name + ":")[2].split()[0])


def test_memory_without_psi_and_without_meminfo(proc):
    assert disks.memory(proc=proc.path) == Memory(total=0, available=0, swap_free=0, pressure=None)


@pytest.mark.parametrize("text,pressure", [
    (sample("proc-6.18-pressure-memory"), 0.0), ("", None), ("some\n", None), ("some avg10=x\n", None),
    ("full avg10=3.00\n", None)], ids=["recorded", "empty", "no numbers", "not a number", "full is not some"])
def test_pressure(text, pressure):
    assert disks._pressure(text) == pressure


def test_the_biggest_are_summed_by_unit_and_without_what_they_share(proc):
    page = os.sysconf("SC_PAGE_SIZE")
    for pid in range(10, 18):
        proc.process(pid, "uvicorn", pages=(1000, 900))
    proc.process(20, "ollama", "/system.slice/ollama.service", pages=(5000, 100))
    proc.process(21, "bash\x1b[31m", "/user.slice/user-1000.slice/session-3.scope", pages=(300, 100))
    proc.process(2, "kthreadd", "/", pages=(0, 0))
    put(proc.path + "/30/comm", "vanished\n")
    assert disks.memory(biggest=True, proc=proc.path).biggest == (
        ("ollama.service", 4900 * page), ("citadel-gateway.service", 800 * page), ("bash\\x1b[31m", 200 * page))


def test_the_memory_of_this_host():
    found = disks.memory(biggest=True)
    assert 0 < found.available <= found.total
    assert 1 <= len(found.biggest) <= 5 and found.biggest[0][1] > 0
    assert [size for _, size in found.biggest] == sorted((size for _, size in found.biggest), reverse=True)


# --- who holds a port

def recorded_ports(proc):
    return proc.table("tcp", sample("proc-6.18-net-tcp")).table("tcp6", sample("proc-6.18-net-tcp6"))


@pytest.mark.parametrize("port,address,inodes", [
    (8002, "", {"317276", "317280"}), (8002, "127.0.0.1", {"317276"}), (8002, "::1", {"317280"}),
    (8002, "10.0.0.1", set()), (6379, "", {"317277"}), (6379, "127.0.0.1", {"317277"}),
    (9000, "127.0.0.1", {"317281"}), (9000, "::1", {"317281"}),
    (11434, "127.0.0.1", {"317282"}), (11434, "10.0.0.1", set()), (51644, "", set()), (80, "", set())],
    ids=["both families", "IPv4 loopback", "IPv6 loopback", "another address", "all addresses", "all include loopback",
         "all of IPv6 include IPv4", "all of IPv6", "IPv4 through IPv6", "another one through IPv6",
         "a mere connection",
         "nobody"])
@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")
def test_recorded_listeners(proc, port, address, inodes):
    assert set(processes._listeners(port, address, recorded_ports(proc).path)) == inodes


def holder(**what):
    return Holder(**dict(dict(port=8002, uid=0, user="root"), **what))


def test_nobody_listens(proc):
    assert processes.holder(80, proc=recorded_ports(proc).path) is None
    assert processes.holder(80, proc=proc.path + "/nowhere") is None


def test_our_own_workers_hold_it(proc):
    for pid in (41, 42):
        recorded_ports(proc).process(pid, "uvicorn", GATEWAY, sockets=[317276])
    ours = holder(pid=41, command="uvicorn", unit="citadel-gateway.service", control_group=GATEWAY)
    assert processes.holder(8002, GATEWAY, proc=proc.path) == ours
    assert processes.holder(8002, GATEWAY + "/", proc=proc.path) == ours
    assert processes.holder(8002, "", proc=proc.path) == ours, "without a group every process is another one"


def test_another_process_comes_before_our_own(proc):
    recorded_ports(proc).process(41, "uvicorn", GATEWAY + "/worker", sockets=[317276])
    proc.process(99, "nc\x1b", "/user.slice/user-1000.slice/session-3.scope", sockets=[5, 317280])
    proc.process(100, "innocent", "/", sockets=[317279])
    other = holder(pid=99, command="nc\\x1b", unit="session-3.scope",
                   control_group="/user.slice/user-1000.slice/session-3.scope")
    assert processes.holder(8002, GATEWAY, proc=proc.path) == other
    assert processes.holder(8002, GATEWAY, "127.0.0.1", proc=proc.path).pid == 41


def listeners(*rows):
    """/proc/net/tcp* from (address as it is written there, inode), all of them listening on port 8002."""
    return "  sl  local_address ...\n" + "".join(
        "   0: %s:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 %d 1\n" % row for row in rows)


HERE, EVERYWHERE, EVERYWHERE_6, THERE = "0100007F", "00000000", "0" * 32, "0200007F"


@pytest.mark.parametrize("tcp, tcp6, pid", [
    pytest.param([(HERE, 7)], [(EVERYWHERE_6, 8)], 99, id="ours is here, theirs on all of IPv6"),
    pytest.param([(EVERYWHERE, 7)], [(EVERYWHERE_6, 8)], 99, id="ours is everywhere, theirs on all of IPv6"),
    pytest.param([(HERE, 7), (THERE, 8)], [], 99, id="theirs is at 127.0.0.2"),
    pytest.param([(HERE, 8)], [(EVERYWHERE_6, 7)], 41, id="theirs is here, ours is on all of IPv6"),
    pytest.param([], [(EVERYWHERE_6, 7), (EVERYWHERE_6, 8)], 41, id="both on all of IPv6"),
    pytest.param([(HERE, 9)], [(EVERYWHERE_6, 8)], 0, id="one is here that there was no time to find, and it may be ours"),
    pytest.param([(THERE, 8)], [], None, id="theirs is at 127.0.0.2, ours is not there"),
])
@pytest.mark.skipif(sys.byteorder != "little", reason="written as on a little-endian machine")
def test_where_ours_listens_for_certain_nobody_has_taken_it(proc, tcp, tcp6, pid):
    """`pid` of the one that is named: ours is 99, the other process, which comes first, is 41."""
    proc.table("tcp", listeners(*tcp)).table("tcp6", listeners(*tcp6))
    proc.process(41, "nc", "/user.slice/x.scope", sockets=[8]).process(99, sockets=[7])
    found = processes.holder(8002, GATEWAY, "127.0.0.1", proc=proc.path)
    assert (found and found.pid) == pid


@pytest.mark.parametrize("family, at, only_6, listens, taken", [
    pytest.param(socket.AF_INET, "127.0.0.1", None, True, True, id="on that address"),
    pytest.param(socket.AF_INET, "0.0.0.0", None, True, True, id="on all"),
    pytest.param(socket.AF_INET6, "::", 0, True, True, id="on all of IPv6, IPv4 along with it"),
    pytest.param(socket.AF_INET6, "::", 1, True, False, id="on all of IPv6 alone"),
    pytest.param(socket.AF_INET6, "::1", None, True, False, id="on ::1"),
    pytest.param(socket.AF_INET, "127.0.0.2", None, True, False, id="on 127.0.0.2"),
    pytest.param(socket.AF_INET, "127.0.0.1", None, False, False, id="bound, as a server is right before it listens"),
])
def test_the_kernel_knows_whether_an_address_is_taken(family, at, only_6, listens, taken):
    try:
        listener = socket.socket(family)
    except OSError as error:
        pytest.skip("this host has no IPv6: %s" % error)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if only_6 is not None:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_6)
        port = port_of_nobody()
        listener.bind((at, port))
        if listens:
            listener.listen(1)
        assert processes.is_taken("127.0.0.1", port) is taken
        if not listens:
            listener.listen(1)                      # and our having looked did not disturb it
            socket.create_connection((at, port), 5).close()


def test_looking_disturbs_no_server_that_starts_meanwhile():
    port = port_of_nobody()
    child = os.fork()
    if child == 0:
        try:
            while True:
                processes.is_taken("127.0.0.1", port)
        finally:
            os._exit(1)
    try:
        end = time.monotonic() + 1
        starts = 0
        while time.monotonic() < end:
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind(("127.0.0.1", port))
                server.listen(1)
                starts += 1
        assert starts > 100 and os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_group_whose_name_only_begins_like_ours_is_another(proc):
    recorded_ports(proc).process(41, "uvicorn", sockets=[317276]).process(42, "x", GATEWAY + "x", sockets=[317276])
    assert processes.holder(8002, GATEWAY, proc=proc.path).pid == 42


def test_a_socket_whose_process_we_may_not_see_still_has_its_user(proc):
    put(recorded_ports(proc).path + "/99/comm", "hidden\n")
    assert processes.holder(6379, GATEWAY, proc=proc.path) == holder(port=6379)


def test_this_very_process_holds_a_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        found = processes.holder(port)
        assert (found.port, found.pid, found.uid) == (port, os.getpid(), os.getuid())
        with open("/proc/self/comm") as file:
            assert found.command == file.read().strip()
        assert processes.holder(port, address="10.1.2.3") is None
    assert processes.holder(port) is None


def test_user_names_come_from_the_file_alone(tmp_path):
    put(tmp_path / "passwd", "root:x:0:0::/root:/bin/sh\n\n+@nis\nred\x1bis:x:104:1::/:/bin/sh\n")
    names = [processes.user_name(uid, str(tmp_path / "passwd")) for uid in (0, 104, 5)]
    assert names == ["root", "red\\x1bis", ""]
    assert processes.user_name(0, str(tmp_path / "nowhere")) == ""


# --- control groups

@pytest.mark.parametrize("group,unit", [
    ("/system.slice/redis-server.service", "redis-server.service"),
    ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
    ("/system.slice/a.service/payload/b.service", "a.service"),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "user@1000.service"),
    ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
    ("/init.scope", "init.scope"),
    ("/system.slice/_cgroup.service", "cgroup.service"),
    ("/docker/0123456789ab", ""), ("/", ""), ("", ""), ("/../..", ""), ("/system.slice", ""),
    ("/system.slice/\x1b[31m.service", "\\x1b[31m.service")])
def test_unit_of_a_control_group(group, unit):
    assert processes.unit_of(group) == unit


@pytest.mark.parametrize("text,group", [
    (sample("proc-247-cgroup-on-a-hybrid-host"), "/system.slice/run-u1.service"),
    (sample("proc-262-cgroup-on-a-hybrid-host"), "/system.slice/run-p59-i69290.service"),
    ("0::/a.slice/b.service\n", "/a.slice/b.service"),
    ("4:memory:/m\n1:name=systemd:/s.service\n", "/s.service"),
    ("1:name=systemd:/s.service\n0::/\n", "/s.service"),
    ("1:name=systemd:/s.service\n0::/u.service\n", "/u.service"),
    ("0::/with:colon.service\n", "/with:colon.service"), ("0::/\n", "/"), ("", ""), ("nonsense", "")],
    ids=["hybrid, 247", "hybrid, 262", "unified", "legacy", "hybrid where only the named one is used",
         "hybrid where both are", "a colon in the name", "the root", "gone", "nonsense"])
def test_control_group_of_a_process(proc, text, group):
    put(proc.path + "/7/cgroup", text)
    assert processes.control_group_of(7, proc.path) == group


@pytest.mark.parametrize("text, inside", [
    pytest.param("0::/system.slice/x.service\n", True, id="cgroup v2"),
    pytest.param("0::/system.slice/x.service/worker\n", True, id="in a cgroup beneath it"),
    pytest.param("1:name=systemd:/system.slice/x.service\n0::/\n", True, id="cgroup v1"),
    pytest.param("0::/user.slice/user-1000.slice/system.slice/x.service\n", False, id="a user's group that ends like it"),
    pytest.param("0::/user.slice/system.slice/x.service/y\n", False, id="a user's group that holds its name"),
    pytest.param("0::/system.slice/x.service.d\n", False, id="a name that only begins alike"),
    pytest.param("0::/system.slice/y.service\n", False, id="another service"),
    pytest.param("nonsense", False, id="nonsense"),
])
def test_whether_a_process_is_of_a_unit(proc, text, inside):
    put(proc.path + "/7/cgroup", text)
    assert processes.is_process_of(7, "/system.slice/x.service", proc.path) is inside
    assert not processes.is_process_of(8, "/system.slice/x.service", proc.path)
    assert not processes.is_process_of(7, "", proc.path)


@pytest.mark.parametrize("base", ["", "/unified", "/systemd"], ids=["unified", "hybrid", "legacy"])
def test_processes_of_a_unit_and_of_the_groups_below_it(proc, tmp_path, base):
    cgroups = str(tmp_path / "cgroup")
    put(cgroups + base + GATEWAY + "/cgroup.procs", "12\n10\n999\n0\n")
    put(cgroups + base + GATEWAY + "/payload/deep/cgroup.procs", "11\n")
    put(cgroups + base + "/system.slice/other.service/cgroup.procs", "13\n")
    proc.process(10, "a) Z (b").process(11, "evil\x1b", state="T").process(12, state="t").process(13, state="T")
    assert processes.processes(GATEWAY, cgroups, proc.path) == (
        (10, "S", "a) Z (b"), (11, "T", "evil\\x1b"), (12, "t", "python3"))
    assert processes.stopped(GATEWAY, cgroups, proc.path) == (11, 12)


@pytest.mark.parametrize("group", ["", "/", "//", "/nowhere.service", "/..", "/system.slice/../..", "../etc"])
def test_no_such_group_and_the_root_have_no_processes(proc, tmp_path, group):
    put(str(tmp_path / "cgroup" / "cgroup.procs"), "10\n")
    put(str(tmp_path / "cgroup.procs"), "10\n")
    proc.process(10)
    assert processes.processes(group, str(tmp_path / "cgroup"), proc.path) == ()
    assert processes.oom_kills(group, str(tmp_path / "cgroup")) is None


def test_a_group_of_very_many_processes_is_cut(proc, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_MOST_PROCESSES", 5)
    put(str(tmp_path / "cgroup") + GATEWAY + "/cgroup.procs", "".join("%d\n" % pid for pid in range(10, 30)))
    for pid in range(10, 30):
        proc.process(pid)
    assert len(processes.processes(GATEWAY, str(tmp_path / "cgroup"), proc.path)) == 5


def test_a_real_stopped_process_is_found(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        put(str(tmp_path) + GATEWAY + "/cgroup.procs", "%d\n" % child.pid)
        assert processes.stopped(GATEWAY, str(tmp_path)) == ()
        child.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 5
        while not processes.stopped(GATEWAY, str(tmp_path)) and time.monotonic() < end:
            time.sleep(0.005)
        assert processes.stopped(GATEWAY, str(tmp_path)) == (child.pid,)
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("file,text,kills", [
    ("unified/%s/memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
    ("%s/memory.events", "oom 1\noom_kill 0\n", 0),
    ("memory/%s/memory.oom_control", sample("proc-6.18-memory.oom_control-v1"), 0),
    ("memory/%s/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", 7),
    ("%s/memory.events", "oom_kill x\n", None), ("%s/cgroup.procs", "", None)],
    ids=["hybrid", "unified", "legacy, recorded", "legacy", "nonsense", "no memory controller"])
def test_oom_kills(tmp_path, file, text, kills):
    put(str(tmp_path / file) % GATEWAY.strip("/"), text)
    assert processes.oom_kills(GATEWAY, str(tmp_path)) == kills


# --- PID files

@pytest.mark.parametrize("content,state,detail", [
    ("10", "own", "uvicorn"), ("10\n", "own", "uvicorn"), (" 10 \n", "own", "uvicorn"), ("11\n", "own", "worker"),
    ("20\n", "stranger", "process 20 is sshd of ssh.service"), ("21\n", "stranger", "process 21 is bash"),
    ("30\n", "dead", "no process 30"), ("40\n", "dead", "no process 40"),
    ("", "unreadable", "it is empty"), ("\n", "unreadable", "it is empty"),
    ("0", "unreadable", "it names no process: 0"), ("1\n", "unreadable", "it names no process: 1"),
    ("-1", "unreadable", "it names no process: -1"), ("4194305", "unreadable", "it names no process: 4194305"),
    ("10 11", "unreadable", "it names no process: 10 11"), ("\x1b[31m", "unreadable", "it names no process: \\x1b[31m"),
    ("\udcff", "unreadable", "it names no process: \\xff"), ("\u0661\u0660", "unreadable", None),
    ("1" * 65, "unreadable", None), ("10" + " " * 63, "unreadable", None), ("x" * 5000000, "unreadable", None)],
    ids=["ours", "with a line's end", "with spaces", "in a group below", "another unit's", "of no unit", "gone",
         "a zombie", "empty", "an empty line", "0", "process 1", "-1", "too large for a PID", "two", "an escape",
         "not UTF-8",
         "digits of another script", "65 digits", "too long", "5 MB"])
def test_pid_file(proc, tmp_path, content, state, detail):
    proc.process(10, "uvicorn").process(11, "worker", GATEWAY + "/payload").process(40, "x", state="Z")
    proc.process(20, "sshd", "/system.slice/ssh.service").process(21, "bash", "/")
    path = str(tmp_path / "pid")
    put(path, content)
    found = processes.pid_file(path, GATEWAY, proc.path)
    assert (found.path, found.state) == (path, state)
    assert found.pid == (int(content) if state in ("own", "stranger", "dead") else 0)
    assert found.detail.isprintable() and (detail is None or found.detail == detail)


def test_a_pid_file_that_is_no_file(proc, tmp_path):
    """None of these may hang, follow or raise."""
    os.mkfifo(str(tmp_path / "fifo"))
    (tmp_path / "link").symlink_to(tmp_path / "file")
    put(tmp_path / "file", "10")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        states = {name: processes.pid_file(str(tmp_path / name), GATEWAY, proc.path).state
                  for name in ("fifo", "link", "socket", ".", "absent", "file/below")}
    assert states == {"fifo": "unreadable", "link": "unreadable", "socket": "unreadable", ".": "unreadable",
                      "absent": "absent", "file/below": "unreadable"}
    assert processes.pid_file("/dev/zero", GATEWAY, proc.path) == PidFile(
        path="/dev/zero", state="unreadable", detail="not a regular file")


def test_while_the_unit_has_no_group_every_process_is_another(proc, tmp_path):
    proc.process(10)
    put(tmp_path / "pid", "10")
    assert processes.pid_file(str(tmp_path / "pid"), "", proc.path).state == "stranger"


# --- whatever stands there

def test_no_content_of_proc_breaks_it(proc, tmp_path):
    """Every file cut off at random, and with random bytes in it: no exception, and text that can be printed."""
    dice = random.Random(8002)
    recorded_ports(proc).process(10, "a) (b", sockets=[317276])
    put(proc.path + "/meminfo", sample("proc-6.18-meminfo"))
    put(proc.path + "/pressure/memory", sample("proc-6.18-pressure-memory"))
    put(proc.path + "/1/mountinfo", sample("proc-262-mountinfo-of-pid-1"))
    cgroups = str(tmp_path / "cgroup")
    put(cgroups + GATEWAY + "/cgroup.procs", "10\n")
    put(cgroups + GATEWAY + "/memory.events", "oom_kill 2\n")
    paths = [os.path.join(place, name) for top in (proc.path, cgroups) for place, _, names in os.walk(top)
             for name in names if not os.path.islink(os.path.join(place, name))]
    contents = {}
    for path in paths:
        with open(path, "rb") as file:
            contents[path] = file.read()
    for _ in range(60):
        for path, content in contents.items():
            changed = bytearray(content[:dice.randrange(len(content) + 1)])
            for _ in range(dice.randrange(4)):
                if changed:
                    changed[dice.randrange(len(changed))] = dice.choice(b"\x00\xff\x1b\n :()0-9\xc2\xb2/\\")
            with open(path, "wb") as file:
                file.write(changed)
        found = (disks.disks(["/opt/x", "/tmp"], statvfs=lambda path: Statvfs, proc=proc.path),
                 disks.memory(True, proc.path), processes.holder(8002, GATEWAY, proc=proc.path),
                 processes.processes(GATEWAY, cgroups, proc.path), processes.oom_kills(GATEWAY, cgroups))
        assert "\\x1b" not in repr(found).replace("\\\\x1b", "")
