"""`python -IS bytecode.py DIRECTORY`: makes every __pycache__ below DIRECTORY hold exactly the byte code of the sources
beside it, for this very Python, readable for all; prints how many files it wrote or removed.

A .pyc names its source's time and size (PEP 3147 and 552; its fields are those of the import system's own check), so
a source that somebody mends by hand is compiled anew at its next use.
"""

import importlib.util
import os
import py_compile
import sys


def refresh(directory):
    changes = 0
    for top, subdirectories, names in os.walk(directory):
        subdirectories[:] = [name for name in subdirectories if name != "__pycache__"]
        sources = [os.path.join(top, name) for name in names if name.endswith(".py")]
        changes += _refresh_one(os.path.join(top, "__pycache__"), sources)
    return changes


def _refresh_one(cache, sources):
    wanted = {importlib.util.cache_from_source(source): source for source in sources}
    changes = 0
    if wanted and not os.path.isdir(cache):
        os.mkdir(cache)
    for name in os.listdir(cache) if os.path.isdir(cache) else ():
        if os.path.join(cache, name) not in wanted:
            os.unlink(os.path.join(cache, name))
            changes += 1
    for target, source in sorted(wanted.items()):
        if not _current(target, source):
            # Written under another name first: py_compile gives it the umask's mode, and a check may be starting.
            temporary = target + ".citadel-new"
            py_compile.compile(source, cfile=temporary, dfile=source, doraise=True)
            os.chmod(temporary, 0o644)
            os.rename(temporary, target)
            changes += 1
    if not wanted and os.path.isdir(cache):
        os.rmdir(cache)
    return changes


def _current(target, source):
    status = os.stat(source)
    fields = b"" if sys.version_info < (3, 7) else bytes(4)         # PEP 552's flags: 0 is "by time and size"
    expected = importlib.util.MAGIC_NUMBER + fields + b"".join(
        (number & 0xFFFFFFFF).to_bytes(4, "little") for number in (int(status.st_mtime), status.st_size))
    try:
        with open(target, "rb") as file:
            return file.read(len(expected)) == expected and os.fstat(file.fileno()).st_mode & 0o777 == 0o644
    except OSError:
        return False


if __name__ == "__main__":
    os.umask(0o022)
    print(refresh(sys.argv[1]))
