"""Whether the receivers could be told at all: what root must not read, and what it must not run.

`check` asks each minute, so that the operator learns it now and not when an alert fails. Nothing heavy is imported.
"""

import os
from binascii import b2a_base64

from citadel.core.errors import CitadelError, NotPermitted
from citadel.core.trust import read_trusted, untrusted_program


def complaints(settings):
    """A sentence for each receiver of the settings that no alert can reach. Only root can tell."""
    why = []
    if settings.alertmanager.urls:
        try:
            authorization(settings.alertmanager.credentials)
        except CitadelError as error:
            why.append("no alert can be sent to Alertmanager: %s" % error)
    if settings.hook.command:
        why += ["the hook is not run: " + one for one in (untrusted_program(settings.hook.command),) if one]
    return why


def authorization(path):
    """The fields of a request that a credentials file asks for. CitadelError says why not, with no word of the file."""
    if not path:
        return []
    data = read_trusted(path, owners=(0, os.geteuid()), forbidden_mode=0o077)
    if data is None:
        raise NotPermitted("%s: no such file" % path)
    kind, _, secret = data.decode("utf-8", "replace").strip().partition(" ")
    kind, secret = kind.capitalize(), secret.strip()
    if kind not in ("Bearer", "Basic") or not secret or not all(" " < one <= "~" for one in secret):
        raise NotPermitted("%s does not hold `bearer TOKEN` or `basic USER:PASSWORD`" % path)
    if kind == "Basic":
        if ":" not in secret:
            raise NotPermitted("%s: `basic` is followed by USER:PASSWORD" % path)
        secret = b2a_base64(secret.encode("ascii"), newline=False).decode("ascii")
    return ["Authorization: %s %s" % (kind, secret)]
