"""Are the unit files still what was installed? Compared with the checksums that install.py keeps.

An edit belongs in a drop-in (`systemctl edit`), which is the operator's word and no change of ours; a changed unit file
is lost at the next upgrade, and may be why the gateway does not come up.
"""

from citadel.settings import read_trusted

CHECKSUMS = "/var/lib/citadel-recovery/installed.sha256"
UNITS = "/usr/local/lib/systemd/system/"


def changed_units(read=read_trusted):
    """The paths of our installed unit files that differ from their checksums or are missing; () when nothing was
    installed or the checksums cannot be read. `read(path)` gives a file's bytes, or None when there is none."""
    from hashlib import sha256
    return tuple(path for path, digest in sorted(_checksums(read).items())
                 if sha256(_bytes(path, read) or b"").hexdigest() != digest)


def _checksums(read):
    """Path to SHA-256 of our unit files; the other lines of the list are of no interest here."""
    rows = (line.partition("  ") for line in (_bytes(CHECKSUMS, read) or b"").decode("utf-8", "replace").splitlines())
    return {path: digest for digest, _, path in rows
            if path.startswith(UNITS) and len(digest) == 64 and ".." not in path}


def _bytes(path, read):
    from citadel.errors import CitadelError
    try:
        return read(path)
    except (CitadelError, OSError):
        return None
