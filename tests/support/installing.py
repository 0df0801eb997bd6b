"""An installation below a directory of one's own, as any user: programs are not run, but noted."""

import hashlib
import os
import shutil
import stat

from citadel.core.run import Answer
from citadel.installer.main import main

ME = os.geteuid()
SETTINGS = "/opt/citadel/etc/citadel.conf"
UNITS = "/usr/local/lib/systemd/system"


class Programs:
    """In the place of core.run.run: remembers what would have been run, and answers what `answers` says."""

    def __init__(self, answers=None):
        self.answers, self.calls = answers or {}, []

    def __call__(self, argv, timeout, **_):
        self.calls.append(list(argv))
        words = " ".join(argv)
        for part, (code, out) in self.answers.items():
            if part in words:
                return Answer(tuple(argv), code, out, "", 0.0, False)
        return Answer(tuple(argv), 0, "", "", 0.0, False)


def copy_of(source, target):
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def listing(directory):
    """Every path below with all that an installation could change of it."""
    found = {}
    for top, directories, names in os.walk(directory):
        for name in directories + names:
            path = os.path.join(top, name)
            status = os.lstat(path)
            what = os.readlink(path) if os.path.islink(path) else ""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            found[path] = (stat.filemode(status.st_mode), what, status.st_mtime if not stat.S_ISDIR(status.st_mode)
                           else 0)
    return found


def install(source, root, *words, **more):
    programs = more.get("programs") or Programs()
    return main(["--root", root] + list(words), source, "/", run=programs, uid=ME)


def read(root, path):
    with open(root + path, encoding="utf-8") as file:
        return file.read()


def write(root, path, text):
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    with open(root + path, "w", encoding="utf-8") as file:
        file.write(text)
