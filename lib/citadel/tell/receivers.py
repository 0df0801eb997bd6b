"""Whether those whom we would call could be called at all: what root must not read, and what it must not run.

`check` asks each minute, so that a person hears of it now and not when a call fails; nothing heavy is imported here.
"""

import os
import stat

from citadel.core.errors import CitadelError, NotPermitted
from citadel.core.text import printable
from citadel.core.trust import read_trusted


def complaints(settings):
    """A sentence for each receiver of the settings that will not hear a call. For root: who else may look?"""
    why = []
    if settings.alertmanager.urls:
        try:
            credentials(settings.alertmanager.credentials)
        except CitadelError as error:
            why.append("no Alertmanager can be told: %s" % error)
    if settings.hook.command:
        why += ["the hook is not run: " + one for one in (untrusted(settings.hook.command),) if one]
    return why


def credentials(path):
    """(`bearer` or `basic`, the secret) of a credentials file, ("", "") without one. CitadelError says why they cannot
    be had; no word of the file is in it."""
    if not path:
        return "", ""
    data = read_trusted(path, owners=(0, os.geteuid()), forbidden_mode=0o077)
    if data is None:
        raise NotPermitted("%s: no such file" % path)
    kind, _, secret = data.decode("utf-8", "replace").strip().partition(" ")
    kind, secret = kind.lower(), secret.strip()
    if kind not in ("bearer", "basic") or not secret or not all(" " < one <= "~" for one in secret):
        raise NotPermitted("%s does not hold `bearer TOKEN` or `basic USER:PASSWORD`" % path)
    if kind == "basic" and ":" not in secret:
        raise NotPermitted("%s: `basic` is followed by USER:PASSWORD" % path)
    return kind, secret


def untrusted(path, uid=0):
    """Why root must not run this program, or "": it and all above it belong to root, and nobody else can write them."""
    if not path.startswith("/"):
        return "%s is no absolute path" % printable(path)
    here = path
    while True:
        try:
            status = os.lstat(here)
        except OSError as error:
            return "%s: %s" % (printable(here), error.strerror)
        kind = stat.S_ISREG if here == path else stat.S_ISDIR
        if not kind(status.st_mode):
            return "%s is %s" % (printable(here), "no regular file" if here == path else "no directory (a link?)")
        if status.st_uid not in (0, uid):
            return "%s belongs to uid %d, not to root" % (printable(here), status.st_uid)
        if status.st_mode & 0o022 and (here == path or not status.st_mode & 0o1000):
            return "%s can be written by others than root" % printable(here)
        if here == path and not status.st_mode & 0o100:
            return "%s is not executable" % printable(here)
        if here == "/":
            return ""
        here = os.path.dirname(here)
