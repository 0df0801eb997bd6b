"""`--pack FILE`: the whole product as one zip file that Python runs (PEP 441), for hosts without a network.

The same source gives the same bytes, everywhere: sorted, stored and not compressed (deflate's output depends on zlib's
version), no times. archive_starter.py unpacks it and runs the command as from a checkout.
"""

import io
import os
import zipfile


def pack(files):
    """The archive's bytes for `files` (of layout.source_files)."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "archive_starter.py"), "rb") as file:
        members = dict(files, **{"__main__.py": (file.read(), 0o644)})
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, (data, mode) in sorted(members.items()):
            entry = zipfile.ZipInfo(name)               # its time is 1980, the earliest that there is
            entry.create_system = 3                     # Unix: external_attr holds the mode
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
