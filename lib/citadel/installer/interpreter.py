"""Which Python runs the installed commands, and its byte code.

The system's own is preferred to the one that runs install.py: that may be a virtual environment of somebody's, gone
tomorrow, or writable for others. Byte code is written at installation, so that the first check is as quick as all
others, and so that nothing but root ever writes into __pycache__.
"""

import os
import sys

from citadel.core.errors import CannotLook, NotPermitted
from citadel.core.run import run as run_program
from citadel.core.trust import objection
from citadel.installer.preflight import CANDIDATES, LONGEST_INTERPRETER, OLDEST

SECONDS = 120
BYTECODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bytecode.py")
PREFLIGHT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "preflight.py")


def choose(tree, run=run_program, running=sys.executable):
    """The path of the Python to use on the host itself; raises CannotLook when none will do."""
    objections = []
    for path in CANDIDATES + ((running,) if running else ()):
        if os.access(path, os.X_OK):
            objection = _objection(tree, path, run)
            if not objection:
                return path
            objections.append(objection)
    raise CannotLook("; ".join(objections) or "no Python 3 found: " + ", ".join(CANDIDATES))


def choose_unseen(tree):
    """The path to write where a prepared root will be a host later on: its Python cannot be run from here."""
    for path in CANDIDATES:
        if tree.resolve(path):
            return path
    return CANDIDATES[0]


def _objection(tree, path, run):
    if len(path) > LONGEST_INTERPRETER or " " in path:
        return "%s cannot stand in an interpreter line" % path
    try:
        real = tree.resolve(path)
        status = real and tree.status(real)
    except NotPermitted as error:
        return "%s is not for root to run: %s" % (path, error)
    why = objection(status, (tree.owner,)) if status else "is missing"
    if why:
        return "%s is not for root to run: it %s" % (path, why)
    answer = run([path, "-IS", "-c", "import sys; print('%d %d' % sys.version_info[:2])"], SECONDS)
    if not answer.ok:
        return "%s does not work: %s" % (path, answer.complaint())
    version = tuple(int(word) for word in answer.out.split())
    return "" if version >= OLDEST else "%s is Python %d.%d, and we need %d.%d" % ((path,) + version + OLDEST)


def missing_modules(interpreter, names, run=run_program):
    """Those of `names` (of preflight.imported_names) that `interpreter` cannot load."""
    answer = run([interpreter, "-IS", PREFLIGHT] + names, SECONDS)
    if not answer.ok:
        raise CannotLook("%s cannot be asked for its modules: %s" % (interpreter, answer.complaint()))
    return answer.out.split()


def compile_tree(interpreter, directory, run=run_program):
    """Brings the byte code below `directory` up to date; how many files were written or removed."""
    answer = run([interpreter, "-IS", BYTECODE, directory], SECONDS)
    if not answer.ok:
        raise CannotLook("byte code could not be written: " + answer.complaint())
    return int(answer.out or 0)
