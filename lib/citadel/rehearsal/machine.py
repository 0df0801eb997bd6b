"""A throwaway machine: systemd-nspawn on an overlay of this host's root (or another root), with its upper layer in RAM.

Call `isolation.isolate` first: mounts, processes and cgroups made here then end with the program. The machine has its
own network (loopback only), /run, /tmp, /dev and journal, and none of the host's enabled services: it boots as far as
basic.target, journald and D-Bus. Nothing in it can write to the layer below.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

from citadel.core.atomic import write_file
from citadel.core.errors import CannotLook, CitadelError
from citadel.core.mounts import mounts
from citadel.core.run import Deadline, find, run
from citadel.installer.tree import follow_inside
from citadel.rehearsal import cgroups, isolation, leader

# Where a host may have mounted a part of what a service needs; an overlay shows one file system only.
PARTS = ("/usr", "/var", "/opt", "/etc", "/srv", "/bin", "/sbin", "/lib", "/lib64")
# The host's own history: its journal, and a Citadel installed there for good.
HIDDEN = ("/var/log/journal", "/var/lib/citadel-recovery", "/opt/citadel/logs")
TARGET = "citadel-rehearsal.target"
TARGET_FILE = """\
[Unit]
Description=Just enough of a host to rehearse on
Requires=basic.target dbus.socket systemd-journald.service
After=basic.target dbus.socket systemd-journald.service
AllowIsolate=yes
"""
KEPT_WANTS = ("multi-user.target.wants", "graphical.target.wants")
MARKER = ".citadel-rehearsal"


class Machine:
    """One throwaway machine; as a context manager it is stopped and unmounted at the end. `lower` is the root to copy,
    `target` what to boot (default: the small one above), `binds` a dict of paths in the machine to directories of the
    host that appear there read-only, `options` are further words for systemd-nspawn."""

    def __init__(self, lower="/", name="citadel-rehearsal", directory=None, target=TARGET, binds=None, options=()):
        self.name, self.lower, self.target = name, os.path.abspath(lower), target
        self.binds, self.options = dict(binds or {}), list(options)
        self.directory = os.path.join(directory or isolation.DIRECTORY, name)
        self.root = os.path.join(self.directory, "root")
        self._console = os.path.join(self.directory, "console")
        self.leader, self._group = 0, ""
        self.boot_seconds = self._nspawn = None

    def __enter__(self):
        if not isolation.inside():
            raise CitadelError("a throwaway machine is made in namespaces of its own only: call isolate() first")
        if find("systemd-nspawn") is None:
            raise CannotLook("systemd-nspawn is not installed on this host (package systemd-container)")
        os.makedirs(self.root)
        self._overlay(self.lower, self.root)
        for mount in mounts() if self.lower == "/" else ():
            below_a_part = any((mount.point + "/").startswith(part + "/") for part in PARTS)
            if below_a_part and isolation.is_for_files(mount):
                self._overlay(mount.point, self.root + mount.point)
        self._furnish()
        return self

    def __exit__(self, *_):
        self.stop()

    def _overlay(self, lower, point):
        """Mounts an overlay of `lower` at `point`; what the kernel cannot overlay (vfat) is shown read-only instead."""
        layers = os.path.join(self.directory, "layers", lower.strip("/").replace("/", "-") or "root")
        upper, work = layers + "-upper", layers + "-work"
        os.makedirs(upper)
        os.makedirs(work)
        shutil.copystat(lower, upper)
        owner = os.stat(lower)
        os.chown(upper, owner.st_uid, owner.st_gid)
        options = "lowerdir=%s,upperdir=%s,workdir=%s" % (_escaped(lower).replace(",", "\\,"), upper, work)
        answer = run(["mount", "-t", "overlay", "-o", options, isolation.SOURCE_NAME, point], 10)
        if not answer.ok and lower != self.lower:
            answer = run(["mount", "-o", "bind,ro", lower, point], 10)
        if not answer.ok:
            raise CannotLook("cannot mount an overlay of %s: %s" % (lower, answer.complaint()))

    def _furnish(self):
        """Makes the copy a host of its own: another identity, no mounts, no history, none of the host's services."""
        self.write("/etc/machine-id", os.urandom(16).hex() + "\n", 0o444)
        for path, text in ((MARKER, self.name + "\n"), ("/etc/hostname", self.name + "\n"), ("/etc/fstab", ""),
                           ("/etc/crypttab", ""), ("/etc/systemd/system/" + TARGET, TARGET_FILE)):
            self.write(path, text)
        wants = self.path("/etc/systemd/system")
        for name in os.listdir(wants) if self.target == TARGET else ():
            # What the host has enabled early (sockets, timers, mounts) would start at boot. multi-user.target is not
            # reached: what hangs there may stay, and `is-enabled` answers as on the host.
            if name.endswith((".target.wants", ".target.requires")) and name not in KEPT_WANTS:
                shutil.rmtree(os.path.join(wants, name))
        for path in HIDDEN:
            place = self.path(path)
            if os.path.isdir(place):
                look = os.stat(place)
                like_it = "mode=%o,uid=%d,gid=%d" % (look.st_mode & 0o7777, look.st_uid, look.st_gid)
                run(["mount", "-t", "tmpfs", "-o", like_it, isolation.SOURCE_NAME, place], 10)

    def path(self, path):
        """Where `path` of the machine is for us, links followed as in there; once booted, on its own mounts, too."""
        return follow_inside("/proc/%d/root" % self.leader if self.leader else self.root, path)

    def write(self, path, text, mode=0o644):
        """Writes a file in the machine, with the directories above it."""
        place = self.path(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        write_file(place, text.encode("utf-8", "surrogateescape"), mode, sync=False)

    def read(self, path):
        """The text of a file in the machine, undecodable bytes as backslash escapes; "" if there is no such file."""
        with suppress(FileNotFoundError), open(self.path(path), encoding="utf-8", errors="backslashreplace") as file:
            return file.read()
        return ""

    def boot(self, timeout=60):
        """Starts PID 1 and waits until it has started its target. Refuses unless the root is surely the copy."""
        self._be_sure_it_is_the_copy()
        started, deadline = time.monotonic(), Deadline(timeout)
        self._group = cgroups.make(isolation.GIVEN[isolation.CGROUP], self.name)
        environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
        if cgroups.own_directory():
            environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
        with open(self._console, "wb") as console:
            self._nspawn = subprocess.Popen(
                self._nspawn_command(), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True, preexec_fn=lambda: cgroups.join(self._group))
        self.wait_for(self._find_leader, deadline.left(), "the machine's PID 1 to start")
        self.wait_for(lambda: os.path.exists(self.path("/run/systemd/private")), deadline.left(),
                      "its systemd to answer")
        self.wait_for(self._is_up, deadline.left(), "the machine to boot", pause=0.1)
        self.boot_seconds = time.monotonic() - started

    def _nspawn_command(self):
        binds = ["--bind-ro=%s:%s" % (_escaped(outside), _escaped(inside))
                 for inside, outside in sorted(self.binds.items())]
        return [find("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--private-network",
                "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe",
                "--machine=" + self.name, "--directory=" + self.root] + binds + self.options + [
                "--boot", "--", "systemd.unit=" + self.target, "systemd.show_status=no"]

    def _be_sure_it_is_the_copy(self):
        """Three signs that this is a throwaway overlay and not a real root."""
        point = [mount for mount in mounts() if mount.point == self.root][-1:]
        if not point or point[0].type != "overlay":
            raise CitadelError("%s is not an overlay: refusing to boot it" % self.root)
        if os.path.samefile("/", self.root):
            raise CitadelError("%s is this host's own root: refusing to boot it" % self.root)
        layers = os.path.join(self.directory, "layers")
        if not any(os.path.exists(os.path.join(layers, name, MARKER)) for name in os.listdir(layers)):
            raise CitadelError("writes to %s do not arrive in its upper layer: refusing to boot it" % self.root)

    def _find_leader(self):
        self._require_nspawn("did not start")
        self.leader = leader.below(self._nspawn.pid)
        return self.leader

    def _is_up(self):
        self._require_nspawn("ended while it booted")
        return self.run(["systemctl", "is-system-running"], 10).out.strip() in ("running", "degraded")

    def _require_nspawn(self, what):
        if not self.running():
            with open(self._console, "rb") as file:
                lines = file.read()[-4000:].decode("utf-8", "backslashreplace").split("\n")
            said = " / ".join(line.strip() for line in lines[-3:] if line.strip())
            raise CitadelError("the machine %s: %s" % (what, said or "it said nothing"))

    def running(self):
        return self._nspawn is not None and self._nspawn.poll() is None

    def run(self, argv, timeout, stdin=b"", cap=1 << 20, environment=None):
        """Runs a program in the machine, as its root; its core.run.Answer."""
        if not self.leader:
            raise CitadelError("the machine is not running")
        answer = run(leader.entry_command(self.leader) + list(argv), timeout, stdin, cap, environment)
        return answer._replace(argv=tuple(argv))

    def wait_for(self, condition, timeout, what, pause=0.02):
        """Waits until `condition()` is true and returns that; CitadelError with `what` after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            held = condition()
            if held:
                return held
            if time.monotonic() > end:
                raise CitadelError("waited %.0f s for %s" % (timeout, what))
            time.sleep(pause)

    def systemd_version(self):
        """The version of the machine's systemd, e.g. 252."""
        return int(self.run(["systemctl", "--version"], 10).out.split()[1])

    def stop(self):
        """Kills the machine (it is a throwaway: a clean shutdown would only take time) and unmounts its root."""
        if self._nspawn is not None:
            if self.leader:
                isolation.send(os.kill, self.leader, signal.SIGKILL)
            self._nspawn.kill()
            self._nspawn.wait()
            self._nspawn, self.leader = None, 0
        cgroups.remove(self._group)
        for mount in reversed(mounts()):
            if (mount.point + "/").startswith(self.root + "/"):
                run(["umount", "--lazy", mount.point], 10)
        shutil.rmtree(self.directory, ignore_errors=True)


def _escaped(path):
    """A path as nspawn's --bind-ro= wants it, and overlay's mount options, which split at commas as well."""
    return path.replace("\\", "\\\\").replace(":", "\\:")
