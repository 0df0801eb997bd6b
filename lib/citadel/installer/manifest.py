"""What was installed on this host: /var/lib/citadel-recovery/installed.sha256.

The format is sha256sum's, so that `sha256sum -c` checks an installation without any of our code. It ignores lines
that start with `#`; there we keep what has no checksum: links, directories we made, the account, the schedule.
"""

import hashlib

from citadel.installer.layout import STATE, is_ours

PATH = STATE + "/installed.sha256"
INTENT = STATE + "/installed.sha256.new"    # what an installation is about to be; it becomes PATH when all is done
HEADER = "# Installed by Citadel's install.py. `sha256sum -c` reads this file; lines with # are install.py's own.\n"
WORDS = ("version", "schedule", "account", "settings")


class Manifest:
    """`files` {path: sha256}, `links` {path: target}, `settings` the checksum of the citadel.conf that was shipped,
    `directories` made by us (outermost first), `account` "" or the user that we created, `schedule` cron|timer|none
    or "" when none was chosen yet."""

    def __init__(self, files=(), links=(), settings="", directories=(), account="", schedule="", version=""):
        self.files, self.links, self.directories = dict(files), dict(links), list(directories)
        self.settings, self.account, self.schedule, self.version = settings, account, schedule, version

    def __eq__(self, other):
        return isinstance(other, Manifest) and self.render() == other.render()

    def render(self):
        lines = ["# %s %s" % (word, getattr(self, word)) for word in WORDS if getattr(self, word)]
        lines += ["# directory %s" % path for path in self.directories]
        lines += ["# link %s -> %s" % pair for pair in sorted(self.links.items())]
        lines += ["%s  %s" % (digest, path) for path, digest in sorted(self.files.items())]
        return (HEADER + "\n".join(lines) + "\n").encode()

    def merged(self, other):
        """Everything that is in either of the two; where they differ, as in this one."""
        return Manifest(dict(other.files, **self.files), dict(other.links, **self.links),
                        self.settings or other.settings,
                        other.directories + [path for path in self.directories if path not in other.directories],
                        self.account or other.account, self.schedule or other.schedule, self.version)


def parse(data):
    """A Manifest from `render`'s bytes. A line that is damaged, or names a path that no installation of ours has, is
    left out: this list says what root deletes."""
    result = Manifest()
    for line in data.decode("utf-8", "replace").splitlines():
        word, _, rest = line[2:].partition(" ")
        linked, arrow, target = rest.partition(" -> ")
        if line.startswith("# ") and rest:
            if word in WORDS:
                setattr(result, word, rest)
            elif word == "directory" and rest.startswith("/"):
                result.directories.append(rest)
            elif word == "link" and arrow and is_ours(linked):
                result.links[linked] = target
        else:
            digest, _, path = line.partition("  ")
            if len(digest) == 64 and is_ours(path):
                result.files[path] = digest
    return result


def read_both(tree):
    """The Manifests of what is installed and of what an interrupted installation intended, each None when there is
    none; and both in one, the first before the second."""
    found = [tree.read(path) for path in (PATH, INTENT)]
    installed, intended = [None if data is None else parse(data) for data in found]
    return installed, intended, installed.merged(intended) if installed and intended else installed or intended


def digest(data):
    return hashlib.sha256(data).hexdigest()
