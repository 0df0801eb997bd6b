"""install.py's command line."""

import os
import sys

from citadel import __version__
from citadel.core.arguments import Parser
from citadel.core.atomic import write_file
from citadel.core.errors import CitadelError, NotPermitted, UsageError
from citadel.core.run import run as run_program
from citadel.installer import archive, layout
from citadel.installer.host import Host
from citadel.installer.installation import install
from citadel.installer.removal import uninstall
from citadel.installer.tree import Tree


def main(arguments, source, directory, run=run_program, uid=None):
    """Does what `arguments` ask from the tree `source`; relative paths start at `directory`. Returns the exit code."""
    options = read_arguments(arguments)
    uid = os.geteuid() if uid is None else uid
    try:
        if options.pack:
            return _pack(source, os.path.join(directory, options.pack))
        return _on_host(options, source, os.path.realpath(os.path.join(directory, options.root)), uid, run)
    except OSError as error:
        what = "%s: %s" % (error.filename, error.strerror) if error.filename else error.strerror
        raise (NotPermitted if isinstance(error, PermissionError) else CitadelError)(
            "%s; correct that and run install.py again" % what)


def _on_host(options, source, root, uid, run):
    if not options.root or not os.path.isdir(root):
        raise UsageError("--root %s: there is no such directory" % options.root)
    if root == "/" and uid != 0:
        raise NotPermitted("needs root: sudo ./install.py (or --root DIR for a directory of your own)")
    host = Host(Tree(root, uid), print, _complain, run)
    try:
        if options.uninstall:
            return uninstall(host, source, options.purge, options.dry_run)
        return install(host, source, options.schedule, options.dry_run)
    finally:
        host.release()


def read_arguments(arguments):
    """The options; raises UsageError, which names the word."""
    parser = Parser(prog="install.py", description="Installs Citadel into /opt/citadel. A second run changes nothing.")
    add = parser.add_argument
    add("--root", default="/", metavar="DIR", help="install below DIR, and leave this host alone")
    add("--schedule", choices=("cron", "timer", "none"), help="who runs the health check each minute (default: as "
        "installed before, else cron where it runs, else a timer)")
    add("--dry-run", action="store_true", help="say what would change, and change nothing")
    add("--uninstall", action="store_true", help="remove what was installed; settings, logs and state stay")
    add("--purge", action="store_true", help="with --uninstall: remove settings, logs and state too")
    add("--pack", metavar="FILE", help="write everything into one file that Python runs: for hosts without a network")
    add("--version", action="version", version="Citadel " + __version__)
    options = parser.parse_args(arguments)
    if options.purge and not options.uninstall:
        raise UsageError("--purge goes with --uninstall only")
    for name in ("uninstall", "dry_run", "schedule"):
        if options.pack and getattr(options, name):
            raise UsageError("--pack installs nothing: leave out --%s" % name.replace("_", "-"))
    if options.uninstall and options.schedule:
        raise UsageError("--uninstall has no --schedule")
    return options


def _pack(source, path):
    data = archive.pack(layout.source_files(source))
    try:
        write_file(path, data, 0o755)
    except OSError as error:
        raise CitadelError("cannot write %s: %s" % (path, error.strerror))
    print("%s: Citadel %s in one file; `python3 %s install` on any host with Python 3.6 or newer" % (
        path, __version__, os.path.basename(path)))
    return 0


def _complain(line):
    sys.stdout.flush()
    print("install.py: " + line, file=sys.stderr)
