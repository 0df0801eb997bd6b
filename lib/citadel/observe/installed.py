"""Is what recovery depends on still as it was installed: the unit files, Citadel's code, the schedule of the check?

Compared with the list that install.py keeps (sha256sum's format; its own lines begin with #). Drop-ins are not looked
at: an edit belongs there. No checksum is taken of a file whose ctime is not later than the list's: it is as installed.
"""

import os

from citadel.core.trust import read_trusted
from citadel.model import Installed, Problem

LIST = "/var/lib/citadel-recovery/installed.sha256"
UNITS = "/usr/local/lib/systemd/system/"
SHIPPED = "/opt/citadel/units/"         # the same files once more, for `config` and for `_difference`
CODE = ("/opt/citadel/bin/", "/opt/citadel/lib/")       # seen before a recovery pass needs it
CRON = "/etc/cron.d/citadel"


def look(read=read_trusted, stat=os.stat):
    """model.Installed; an empty one when nothing was installed, or for a user who may not read the list."""
    listed = (_bytes(LIST, read) or b"").decode("utf-8", "replace").splitlines()
    if not listed:
        return Installed()
    since = _changed_at(LIST, stat) or 0.0
    rows = [line.partition("  ") for line in listed]
    ours = {path: digest for digest, _, path in rows
            if path.startswith(CODE + (UNITS,)) and len(digest) == 64 and ".." not in path}
    changed = [_difference(path, ours[path], read) for path in sorted(ours)
               if (_changed_at(path, stat) or since + 1) > since]
    return Installed(
        schedule=next((line[len("# schedule "):] for line in listed if line.startswith("# schedule ")), ""),
        since=since, cron=_changed_at(CRON, stat) is not None,
        changed=tuple(one for one in changed if one and one.file.startswith(UNITS)),
        damaged=tuple(one for one in changed if one and not one.file.startswith(UNITS)),
        units=tuple(path[len(UNITS):] for path in sorted(ours) if os.path.dirname(path) + "/" == UNITS))


def _changed_at(path, stat):
    try:
        return stat(path).st_ctime
    except OSError:
        return None


def _difference(path, digest, read):
    """The Problem with a file, None when there is none."""
    from hashlib import sha256
    data = _bytes(path, read)
    if data is None:
        return Problem(path, 0, "", "is missing")
    if sha256(data).hexdigest() == digest:
        return None
    shipped = _bytes(SHIPPED + path[len(UNITS):], read) if path.startswith(UNITS) else None
    return Problem(path, _first_difference(data, shipped) if shipped else 0, "", "is not as it was installed")


def _first_difference(data, shipped):
    """The number of the first line that differs, from 1."""
    pairs = list(zip(shipped.split(b"\n"), data.split(b"\n")))
    return next((number for number, (one, other) in enumerate(pairs, 1) if one != other), len(pairs) + 1)


def _bytes(path, read):
    from citadel.core.errors import CitadelError
    try:
        return read(path)
    except (CitadelError, OSError):
        return None
