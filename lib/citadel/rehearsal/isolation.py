"""Runs a program with mounts, processes, a cgroup and a /run of its own, which all vanish with the program.

    the command that the user typed     waits, passes Ctrl-C and SIGTERM on
      └ keeper (own session)            outlives it: when the command or the program below ends, however it ends,
        │                               it kills what is left and removes the cgroup
        └ unshare --mount --pid …       the program again, now PID 1 of a PID namespace of its own

The kernel kills every process of a PID namespace with its PID 1 and drops every mount of a mount namespace with its
last process, so even SIGKILL to any of the three leaves nothing behind.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time

from citadel import LIBRARY
from citadel.core.errors import CannotLook, CitadelError, NotPermitted
from citadel.core.mounts import mounts
from citadel.core.run import find, run
from citadel.rehearsal import cgroups

DIRECTORY = "/run/citadel-rehearsal"            # inside: ours, on a tmpfs that hides the host's /run
CGROUP = "CITADEL_ISOLATED_CGROUP"              # set inside: our own cgroup directory in the cgroup2 tree, or ""
LIFELINE = "CITADEL_ISOLATED_LIFELINE"          # set inside: a pipe that ends with the keeper
HOST_MOUNTS = "CITADEL_ISOLATED_FROM"           # set inside: the host's mount namespace, to compare with
# Read once, at import: a main may clean its environment afterwards.
GIVEN = {name: os.environ.get(name, "") for name in (CGROUP, HOST_MOUNTS, LIFELINE)}
SOURCE_NAME = "citadel-rehearsal"               # the source of our mounts in /proc/mounts
PSEUDO = frozenset((
    "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue nsfs "
    "proc pstore ramfs rpc_pipefs securityfs selinuxfs sysfs tracefs").split())
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SYSTEMD_IS_INIT = os.path.isdir("/run/systemd/system")      # the test of sd_booted(3)
PATIENCE = 15                                   # seconds from a first Ctrl-C to SIGKILL


def isolate(argv, read_only=False):
    """Runs `argv` isolated and exits with its code; in there, makes the mounts and returns. To be called once. `argv`
    is the whole command line that starts this program again, an absolute path first. With `read_only`, the host's file
    systems are read-only in there: the kernel itself prevents writes outside our own directory. Raises NotPermitted
    without root, CannotLook when `unshare` is missing."""
    if inside():
        _settle(read_only)
        return
    if os.geteuid() != 0:
        raise NotPermitted("needs root: it mounts a copy of this host and boots it")
    if find("unshare") is None:
        raise CannotLook("unshare is not installed on this host (package util-linux)")
    if LIBRARY.startswith("/run/"):
        raise CannotLook("cannot run from %s: the rehearsal hides /run; put the tree elsewhere" % LIBRARY)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(_watch(argv))


def inside():
    """Whether this process runs in namespaces of its own that `isolate` made; the kernel confirms it."""
    return bool(GIVEN[HOST_MOUNTS]) and os.getpid() == 1 and os.readlink("/proc/self/ns/mnt") != GIVEN[HOST_MOUNTS]


def again(module, function, words):
    """The command line that calls `module.function(words)` in a new interpreter, with our library and nothing else."""
    code = "import sys; sys.path.insert(0, %r); import %s as module; sys.exit(module.%s(sys.argv[1:]))"
    return [sys.executable, "-IS", "-B", "-c", code % (LIBRARY, module, function)] + list(words)


def step_down(command):
    """In a fresh delegated scope: moves into a cgroup below it, since one that holds processes cannot hand its
    controllers to those beneath it (cgroups(7), "no internal processes"), and becomes `command`."""
    scope = cgroups.own_directory()
    cgroups.join(cgroups.make(scope, "program"))
    os.execve(command[0], command, dict(os.environ, **{CGROUP: scope}))


def _settle(read_only):
    """/run becomes a tmpfs of ours, for our own directory and for the locks that nspawn leaves. With `read_only`,
    writes to /tmp land there, too: nspawn 262 makes a directory in it, whatever TMPDIR is, and leaves it if killed."""
    _end_with_the_keeper(int(GIVEN[LIFELINE]))
    if read_only:
        for mount in mounts():
            # One that another mount hides cannot be reached by its path, nor written to.
            if is_for_files(mount) and os.path.exists(mount.point):
                _mount(["-o", "remount,bind,ro", mount.point], must=mount.point == "/")
    _mount(["-t", "tmpfs", "-o", "mode=0755", SOURCE_NAME, "/run"])
    os.mkdir(DIRECTORY, 0o700)
    if read_only:
        layers = DIRECTORY + "/tmp-upper", DIRECTORY + "/tmp-work"
        for place in layers:
            os.mkdir(place)
            os.chmod(place, 0o1777)
        _mount(["-t", "overlay", "-o", "lowerdir=/tmp,upperdir=%s,workdir=%s" % layers, SOURCE_NAME, "/tmp"])


def _end_with_the_keeper(lifeline):
    """SIGIO comes when the pipe's other end closes (fcntl(2), O_ASYNC); then this process ends, and with it every
    process and mount in here."""
    signal.signal(signal.SIGIO, lambda number, frame: os._exit(128 + signal.SIGKILL))
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    os.set_inheritable(lifeline, False)
    if _hung_up(lifeline, 0):
        os._exit(128 + signal.SIGKILL)


def _mount(words, must=True):
    answer = run(["mount", "--no-mtab"] + words, 10)     # else libmount leaves a /run/mount behind
    if must and not answer.ok:
        why = answer.err.strip().splitlines()[:1] or [answer.complaint()]
        raise CitadelError("cannot set up the throwaway host: mount %s: %s" % (" ".join(words), why[0]))


def _watch(argv):
    """In the command that the user typed: starts the keeper, passes signals on, returns the exit code."""
    name = "citadel-%d-%s" % (os.getpid(), os.urandom(4).hex())
    here = "" if SYSTEMD_IS_INIT else cgroups.own_directory()
    group = cgroups.make(here, name) if here and os.access(here, os.W_OK) else ""
    alive, our_end = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(our_end)
        os.setsid()
        code = 70
        try:
            code = _keep(argv, name, group, alive)
        finally:
            os._exit(code)
    os.close(alive)
    for number in ENDING:
        signal.signal(number, lambda number, frame: send(os.kill, keeper, number))
    status = os.waitpid(keeper, 0)[1]
    cgroups.remove(group)        # the keeper has done so, unless it was killed
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _keep(argv, name, group, alive):
    """In the keeper: runs the program until it ends or the user's command has died (its end of the pipe `alive`
    closes), then cleans up. A first signal is passed on to the program; a second one, or PATIENCE seconds, kill it."""
    asked, passed_on, end, program = [], 0, None, None
    for number in ENDING:
        signal.signal(number, lambda number, frame: asked.append(number))
    try:
        program = _start(argv, name, group)
        while program.poll() is None:
            if len(asked) > passed_on:
                send(os.killpg, program.pid, signal.SIGKILL if passed_on else asked[0])
                passed_on, end = len(asked), end or time.monotonic() + PATIENCE
            if (end and time.monotonic() > end) or _hung_up(alive, 0.02):
                send(os.killpg, program.pid, signal.SIGKILL)
                program.wait()
        return program.returncode if program.returncode >= 0 else 128 - program.returncode
    except (OSError, subprocess.SubprocessError) as error:
        os.write(2, ("cannot start the rehearsal: %s\n" % error).encode())
        return 69
    finally:
        if program:
            send(os.killpg, program.pid, signal.SIGKILL)
        cgroups.remove(group)


def _start(argv, name, group):
    """The program in its namespaces and its cgroup, in a session of its own; the Popen of its unshare."""
    lifeline, _ = os.pipe()     # the keeper alone holds the other end, so that the program hears of its end
    environment = dict(os.environ, **{CGROUP: group, HOST_MOUNTS: os.readlink("/proc/self/ns/mnt"),
                                      LIFELINE: str(lifeline)})
    command = [find("unshare"), "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
               "--mount-proc"] + list(argv)
    if SYSTEMD_IS_INIT:
        # A systemd host owns its cgroup tree: only a delegated scope may be used as one's own.
        command = [find("systemd-run"), "--scope", "--collect", "--quiet", "--unit=" + name,
                   "-p", "Delegate=yes", "--"] + again("citadel.rehearsal.isolation", "step_down", command)
    return subprocess.Popen(command, env=environment, pass_fds=[lifeline], start_new_session=True,
                            preexec_fn=lambda: cgroups.join(group))


def _hung_up(descriptor, seconds):
    return bool(select.select([descriptor], [], [], seconds)[0])


def send(kill, target, number):
    """Sends the signal `number` by os.kill or os.killpg; nothing happens if the target has ended."""
    with contextlib.suppress(OSError):
        kill(target, number)


def is_for_files(mount):
    """Whether files are kept there: no kernel interface, and none of the system's own mounts in /dev."""
    return mount.type not in PSEUDO and not mount.point.startswith(("/dev/", "/proc/", "/sys/"))
