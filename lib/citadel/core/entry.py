"""What every command of ours does first and last, whoever called it and with whatever surroundings.

First: nothing of the caller's is kept (environment, directory, umask, open files), and root runs our code only from a
tree that root alone can write: a planted .pyc beside our sources would run under `python3 -IS -B` too (measured).
Last: one handler for errors. What we expected is one line and its exit code; what we did not is one line, exit 70, and
a file with the traceback.
"""

import _signal
import os
import sys
import time

from citadel import PACKAGE
from citadel.core.errors import DEFECT, CitadelError, NotPermitted
from citadel.core.trust import objection, objection_above

STATE = "/var/lib/citadel-recovery"
MOST_DEFECTS = 20                       # files about them that are kept, the newest
ENVIRONMENT_KEPT = ("TERM", "NO_COLOR", "COLUMNS", "LINES", "INVOCATION_ID", "MONITOR_UNIT")


def enter(main, name, trusted_tree=True):
    """Calls `main(arguments)` in clean surroundings and exits with its answer.

    `trusted_tree=False` is for what a person runs by hand from a checkout of their own (the rehearsal, the installer).
    """
    try:
        _clean_surroundings()
        if trusted_tree and os.geteuid() == 0:
            refuse_untrusted_tree(PACKAGE)
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except CitadelError as error:
        code = _complain(name, str(error), error.code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nobody is left to tell. Keep the interpreter's own flush at
        # exit from complaining about it (Python's signal documentation, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    except Exception as error:
        code = _complain(name, write_defect(name, error), DEFECT)
    sys.exit(code)


def refuse_untrusted_tree(directory):
    """NotPermitted when anybody but root could change the code in `directory` or swap one of its parents."""
    _refuse(objection_above(directory))
    for top, _, files in os.walk(directory):
        for path in [top] + [os.path.join(top, name) for name in files]:
            why = objection(os.lstat(path))
            _refuse(why and "%s %s" % (path, why))


def _refuse(why):
    if why:
        raise NotPermitted("%s: root runs only what root alone can change (install it with install.py)" % why)


def _clean_surroundings():
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # the lowest free number, which is this one
    # Both outlive exec: with SIGCHLD ignored no child of ours could be awaited, with SIGTERM blocked nobody ends us.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    os.umask(0o077)
    os.chdir("/")
    kept = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8")
    for number, stream in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(number, "w", encoding="utf-8", closefd=False))
        # A file name that is not UTF-8 must not raise in the middle of a report (reconfigure() needs Python 3.7).
        old = getattr(sys, stream)
        setattr(sys, stream, open(old.fileno(), "w", encoding=old.encoding or "utf-8", errors="backslashreplace",
                                  closefd=False, buffering=1))


def _complain(name, message, code):
    try:
        sys.stdout.flush()
        sys.stderr.write("%s: %s\n" % (name, message))
        sys.stderr.flush()
    except OSError:
        pass                                    # nobody can hear us; the exit code still speaks
    return code


def write_defect(name, error, state=STATE):
    """Writes the traceback where root (or the caller) finds it; the sentence that says so."""
    import platform
    import tempfile
    import traceback

    from citadel import __version__
    from citadel.core.text import printable
    what = printable("%s: %s" % (type(error).__name__, error))
    directory = state if os.geteuid() == 0 and os.path.isdir(state) else None
    try:
        if directory:
            _remove_old_defects(directory)
        handle, path = tempfile.mkstemp(prefix="defect-%s-" % name, suffix=".txt", dir=directory)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("citadel %s, Python %s, %s\n%s\n%r\n\n" % (
                __version__, platform.python_version(), platform.platform(),
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), sys.argv))
            traceback.print_exc(file=file)
    except OSError as failure:
        return "a defect of ours: %s (details could not be written: %s)" % (what, failure.strerror)
    return "a defect of ours: %s; the details are in %s" % (what, path)


def _remove_old_defects(directory):
    """Makes room for one more: a defect that is met each minute must not fill the disk."""
    paths = [os.path.join(directory, name) for name in os.listdir(directory)
             if name.startswith("defect-") and name.endswith(".txt")]
    for path in sorted(paths, key=lambda path: os.lstat(path).st_mtime)[:1 - MOST_DEFECTS]:
        os.unlink(path)
