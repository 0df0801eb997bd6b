"""Which Python runs the installed commands, and its byte code.

The system's own is preferred to the one that runs install.py: that may be a user's virtual environment, removed
tomorrow or writable for others. Byte code is written at installation, so that the first check is as quick as all
others, and so that root alone writes into __pycache__.
"""

import os
import sys

from citadel.core.errors import CannotLook, NotPermitted
from citadel.core.run import run as run_program
from citadel.core.trust import objection
from citadel.installer.layout import HOME
from citadel.installer.preflight import CANDIDATES, LONGEST_INTERPRETER, OLDEST

SECONDS = 120
PREFLIGHT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "preflight.py")


def choose(tree, run):
    """The path of the Python to use on the host itself; raises CannotLook when none will do."""
    objections = []
    for path in CANDIDATES + (sys.executable or "",):
        if os.access(path, os.X_OK):
            why = _objection(tree, path, run)
            if not why:
                return path
            objections.append(why)
    raise CannotLook("; ".join(objections) or "no Python 3 found: " + ", ".join(CANDIDATES))


def _objection(tree, path, run):
    if len(path) > LONGEST_INTERPRETER or " " in path:
        return "%s is too long for an interpreter line, or has a space in it" % path
    try:
        real = tree.resolve(path)
        status = real and tree.status(real)
    except NotPermitted as error:
        return "root must not run %s: %s" % (path, error)
    why = objection(status, (tree.owner,)) if status else "is missing"
    if why:
        return "root must not run %s: it %s" % (path, why)
    answer = run([path, "-IS", "-c", "import sys; print('%d %d' % sys.version_info[:2])"], SECONDS)
    if not answer.ok:
        return "%s does not work: %s" % (path, answer.complaint())
    version = tuple(int(word) for word in answer.out.split())
    return "" if version >= OLDEST else "%s is Python %d.%d; Citadel needs %d.%d" % ((path,) + version + OLDEST)


def missing_modules(interpreter, names, run):
    """Those of `names` (of preflight.imported_names) that `interpreter` cannot load."""
    answer = run([interpreter, "-IS", PREFLIGHT] + names, SECONDS)
    if not answer.ok:
        raise CannotLook("%s cannot be asked for its modules: %s" % (interpreter, answer.complaint()))
    return answer.out.split()


def remove_byte_code(tree, files):
    """Removes each __pycache__ beside the sources among `files`, whichever Python wrote it: nothing stale stays."""
    for directory in sorted({os.path.dirname(path) for path in files if path.endswith(".py")}):
        if directory.startswith(HOME + "/lib"):
            tree.remove_whole(directory + "/__pycache__")


def write_byte_code(interpreter, directory, run=run_program):
    """Compiles all sources below `directory`. Raises CannotLook when one could not be compiled.
    Each .pyc names the time and size of its source, compileall's default: a source that an operator corrects by hand
    takes effect at its next use, which it would not with `--invalidation-mode unchecked-hash`. -f, because without it
    compileall compares the time alone, in whole seconds."""
    before = os.umask(0o022)            # compileall gives a .pyc its source's mode, less the umask
    try:
        answer = run([interpreter, "-IS", "-m", "compileall", "-q", "-f", directory], SECONDS)
    finally:
        os.umask(before)
    if not answer.ok:
        raise CannotLook("byte code could not be written: " + answer.complaint())
