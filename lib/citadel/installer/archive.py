"""`--pack FILE`: the whole product as one file, for hosts that nothing can be downloaded to.

    python3 citadel.pyz install [OPTIONS]
    python3 citadel.pyz rehearsal | restart-manager | recovery-handler [ARGUMENTS]

It is a zip file that Python runs (PEP 441). The same source gives the same bytes, everywhere: sorted, stored and not
compressed (deflate's output depends on zlib's version), no times. When it is run, it unpacks itself into a directory
that is the caller's alone, runs the command from there as from a checkout, and removes the directory.
"""

import io
import os
import zipfile

TIME = (1980, 1, 1, 0, 0, 0)        # the earliest that a zip file can name
STARTER = "archive_starter.py"      # becomes __main__.py; beside this file


def pack(files):
    """The archive's bytes for `files` (of layout.source_files)."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), STARTER), "rb") as file:
        members = dict(files, **{"__main__.py": (file.read(), 0o644)})
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, (data, mode) in sorted(members.items()):
            entry = zipfile.ZipInfo(name, TIME)
            entry.create_system = 3                     # Unix: external_attr holds the mode
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
