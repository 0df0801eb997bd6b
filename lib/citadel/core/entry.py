"""What every command of ours does first and last, whoever called it and in whatever environment.

First: nothing of the caller's is kept (environment, directory, umask, open files), and root runs our code only from a
tree that root alone can change: a planted .pyc beside our sources would run under `python3 -IS -B` too (measured).
Last: one handler for errors. An expected error is one line and its exit code; an internal error is one line, exit 70,
and a file with the traceback.
"""

import _signal
import os
import sys
import time

from citadel import PACKAGE
from citadel.core.errors import INTERNAL_ERROR, CitadelError, NotPermitted
from citadel.core.trust import objection, objection_above

STATE = "/var/lib/citadel-recovery"
MOST_REPORTS = 20                       # of internal errors that are kept, the newest
ENVIRONMENT_KEPT = ("TERM", "NO_COLOR", "COLUMNS", "LINES", "INVOCATION_ID", "MONITOR_UNIT")


def enter(main, name, trusted_tree=True):
    """Calls `main(arguments)` in a clean environment; the exit code, with all output written. The caller ends with
    `os._exit`: nothing is left to do, and taking the interpreter apart costs an eighth of a health check.
    `trusted_tree=False` is for what an operator runs from their own checkout (the rehearsal, the installer)."""
    try:
        _clean_environment()
        if trusted_tree and os.geteuid() == 0:
            refuse_untrusted_tree(PACKAGE)
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except CitadelError as error:
        code = _complain(name, str(error), error.code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader has gone (`| head`): the flush at exit must not fail too (Python's signal, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    except Exception as error:
        code = _complain(name, write_internal_error(name, error), INTERNAL_ERROR)
    return code


def refuse_untrusted_tree(directory):
    """NotPermitted when anybody but root could change the code in `directory` or swap one of its parents."""
    why = objection_above(directory)
    for top, _, files in os.walk(directory):
        for path in [top] + [os.path.join(top, name) for name in files]:
            wrong = objection(os.lstat(path))
            why = why or (wrong and "%s %s" % (path, wrong))
    if why:
        raise NotPermitted("%s: root runs only what root alone can change (install it with install.py)" % why)


def _clean_environment():
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # the lowest free number, which is this one
    # Both survive exec: with SIGCHLD ignored we could wait for no child, with SIGTERM blocked nobody could end us.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    os.umask(0o077)
    os.chdir("/")
    kept = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8")
    for number, stream in ((1, "stdout"), (2, "stderr")):
        # A file name that is not UTF-8 must not raise in the middle of a report (reconfigure() needs Python 3.7).
        encoding = getattr(getattr(sys, stream), "encoding", None) or "utf-8"       # it is None if it was closed
        setattr(sys, stream, open(number, "w", 1, encoding, errors="backslashreplace", closefd=False))


def _complain(name, message, code):
    try:
        sys.stdout.flush()
        sys.stderr.write("%s: %s\n" % (name, message))
        sys.stderr.flush()
    except OSError:
        pass                                    # nobody reads us; the exit code still says it
    return code


def write_internal_error(name, error, state=STATE):
    """Writes the traceback into a file defect-*.txt of root (or of the caller); the sentence for the operator."""
    import platform
    import tempfile
    import traceback

    from citadel import __version__
    from citadel.core.clock import stamp
    from citadel.core.text import printable
    what = printable("%s: %s" % (type(error).__name__, error))
    directory = state if os.geteuid() == 0 and os.path.isdir(state) else None
    try:
        if directory:           # room for one more: an error that occurs each minute must not fill the disk
            paths = [os.path.join(directory, name) for name in os.listdir(directory)
                     if name.startswith("defect-") and name.endswith(".txt")]
            for path in sorted(paths, key=lambda path: os.lstat(path).st_mtime)[:1 - MOST_REPORTS]:
                os.unlink(path)
        handle, path = tempfile.mkstemp(prefix="defect-%s-" % name, suffix=".txt", dir=directory)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("citadel %s, Python %s, %s\n%s\n%r\n\n" % (
                __version__, platform.python_version(), platform.platform(), stamp(time.time()), sys.argv))
            traceback.print_exc(file=file)
    except OSError as failure:
        return "internal error: %s (details could not be written: %s)" % (what, failure.strerror)
    return "internal error: %s; the details are in %s" % (what, path)
