"""The Debian releases that the live tests run on, and how their root directories are made.

A root is built once by mmdebstrap into the cache and never written to again: each machine lays an overlay over it.
`/` stands for this host's own root.
"""

import os
import shutil
import subprocess
from collections import namedtuple

Root = namedtuple("Root", "name title systemd")

RELEASES = (Root("bullseye", "Debian 11", "247"), Root("bookworm", "Debian 12", "252"),
            Root("trixie", "Debian 13", "257"), Root("sid", "Debian sid", "262"))

PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "redis-server", "cron", "procps", "iproute2",
            "ca-certificates", "logrotate")


def directory(name, cache):
    """Where a root lies. `name` is a release, `/`, or any other directory that holds one."""
    return name if name.startswith("/") else os.path.join(cache, name)


def built(name, cache):
    """Whether the cached root is there, and holds what PACKAGES asks for now."""
    try:
        with open(_stamp(name, cache)) as file:
            return file.read() == _recipe() and os.path.isdir(directory(name, cache))
    except FileNotFoundError:
        return False


def command(name, cache):
    """The argv that makes a root in `directory(name, cache)` + ".new"."""
    source = os.environ.get("CITADEL_TESTS_MIRROR") or mirror()
    argv = ["mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES)]
    if name == "sid":       # a mirror that keeps still for a while serves a Release file past its Valid-Until
        argv.append("--aptopt=Acquire::Check-Valid-Until \"false\"")
    return argv + [name, directory(name, cache) + ".new"] + ([source] if source else [])


def prepare(name, cache):
    """Before `command`: removes what an unfinished build or an older recipe left."""
    os.makedirs(cache, exist_ok=True)
    for leftover in (directory(name, cache) + ".new", directory(name, cache)):
        shutil.rmtree(leftover, ignore_errors=True)


def finish(name, cache):
    """After `command` succeeded: the root gets its name, then its stamp."""
    os.rename(directory(name, cache) + ".new", directory(name, cache))
    with open(_stamp(name, cache), "w") as file:
        file.write(_recipe())


def python_minor(root):
    """The N of the root's own Python 3.N: Debian's /usr/bin/python3 is a link to python3.N."""
    return int(os.readlink(os.path.join(root, "usr/bin/python3")).rpartition(".")[2])


def _recipe():
    return " ".join(PACKAGES) + "\n"


def _stamp(name, cache):
    return directory(name, cache) + ".packages"


def mirror():
    """The mirror that this host itself uses for its release; "" leaves the choice to mmdebstrap."""
    answer = subprocess.run(["apt-get", "indextargets", "--format", "$(LABEL) $(SUITE) $(REPO_URI)",
                             "Created-By: Packages"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in answer.stdout.decode().splitlines():
        words = line.split()
        if words[:1] == ["Debian"]:
            return words[-1]
    return ""
