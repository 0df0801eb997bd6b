"""Citadel in one file. `python3 citadel.pyz install --help`"""
# This is the archive's __main__.py. Any Python must be able to read it, so that an old one gets a sentence and not a
# SyntaxError. A child does the work, because a command may exec itself into namespaces; the parent removes the files.

import os
import signal
import sys

COMMANDS = {"install": "install.py", "rehearsal": "bin/citadel-rehearsal",
            "restart-manager": "bin/citadel-restart-manager", "recovery-handler": "bin/citadel-recovery-handler"}


def start(arguments):
    if sys.version_info < (3, 6):
        return complain("needs Python 3.6 or newer, and this is %d.%d" % sys.version_info[:2], 69)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write("usage: python3 %s %s [ARGUMENTS]\n" % (os.path.basename(sys.argv[0]), "|".join(
            sorted(COMMANDS))))
        return 0 if arguments else 64
    if arguments[0] not in COMMANDS:
        return complain("there is no command '%s'. Commands: %s" % (arguments[0], ", ".join(sorted(COMMANDS))), 64)
    try:
        import shutil
        import tempfile
        import zipfile
    except ImportError as error:
        return complain("Python lacks %s: install your distribution's whole Python 3 (Debian: python3, "
                        "not python3-minimal)" % error.name, 69)
    directory = tempfile.mkdtemp(prefix="citadel-")         # 0700, the caller's alone
    try:
        archive = zipfile.ZipFile(os.path.abspath(sys.argv[0]))
        for entry in archive.infolist():
            os.chmod(archive.extract(entry, directory), (entry.external_attr >> 16) & 0o777)
        return run([sys.executable, "-IS", os.path.join(directory, COMMANDS[arguments[0]])] + arguments[1:])
    except OSError as error:
        return complain("cannot unpack into %s: %s" % (directory, error.strerror), 1)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(argv):
    """Runs the command as if it had been called itself: same signals, same exit code (128 + N for signal N)."""
    child = []

    def pass_on(number, frame):
        for pid in child:
            os.kill(pid, number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    # A terminal sends Ctrl-C to the child as well. No SIG_IGN: the child would inherit that, but not a handler.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    child.append(os.spawnv(os.P_NOWAIT, argv[0], argv))
    status = os.waitpid(child[0], 0)[1]
    del child[:]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def complain(message, code):
    sys.stderr.write("citadel: %s\n" % message)
    return code


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
