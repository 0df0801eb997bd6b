"""citadel-rehearsal: proves on a throwaway copy of this host that the gateway recovers.

Boots an overlay of this host's root (machine.py) in namespaces that vanish with the program (isolation.py), installs
Citadel into it with install.py, starts, checks and restarts the gateway, then breaks it in each way of faults.FAULTS.
Exit 0 only if every fault was survived, 1 otherwise.
"""

import contextlib
import os
import signal
import sys
import time

from citadel import TREE
from citadel.core import terminal
from citadel.core.arguments import Parser
from citadel.core.entry import enter
from citadel.core.errors import OK, STILL_WRONG, CannotLook, CitadelError, NotPermitted
from citadel.core.run import find, run
from citadel.core.text import printable
from citadel.rehearsal import faults, isolation, leader
from citadel.rehearsal.machine import Machine
from citadel.rehearsal.narrator import Narrator
from citadel.rehearsal.stage import GATEWAY, MANAGER, SOURCE, STANDIN_NAMES, Stage

NAME = "citadel-rehearsal"
HAS_INSTALLER = os.path.isfile(os.path.join(TREE, "install.py"))
PACKAGE = "systemd-container"       # on Debian, Fedora, RHEL and openSUSE alike
INSTALLERS = (("apt-get", (["update"], ["install", "-y", "--no-install-recommends", PACKAGE])),
              ("dnf", (["install", "-y", PACKAGE],)),
              ("zypper", (["--non-interactive", "install", PACKAGE],)))


def main(argv, out=sys.stdout):
    """The command. On the host it starts itself again in isolation; there, it plays."""
    options = _read(argv)
    if options.list:
        out.write("\n".join(terminal.table([(fault.name, fault.what) for fault in faults.FAULTS])) + "\n")
        return OK
    if os.geteuid() != 0:
        raise NotPermitted("needs root, to mount and boot a throwaway copy of this host: run it with sudo")
    if options.enter:
        return leader.enter_kept()
    if options.get_nspawn:
        return get_nspawn(out)
    if find("systemd-nspawn") is None:
        raise CannotLook("systemd-nspawn is not installed: package %s contains it (--get-nspawn installs it)" % PACKAGE)
    isolation.isolate(isolation.again("citadel.rehearsal.main", "isolated", argv), read_only=True)
    return play(options, Narrator(out, options.json))


def isolated(words):
    """Where the isolated interpreter begins (isolation.again)."""
    sys.argv[1:] = words        # `enter` reads them
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(enter(main, NAME, trusted_tree=False))


def _read(argv):
    parser = Parser(prog=NAME, description="Proves recovery in a throwaway copy of this host, which is not touched.")
    parser.add_argument("--list", action="store_true", help="list the faults, and exit")
    parser.add_argument("--only", metavar="FAULT", action="append", choices=[fault.name for fault in faults.FAULTS],
                        help="only this fault (repeatable)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the story")
    parser.add_argument("--keep", action="store_true", help="keep the copy running at the end, until Ctrl-C")
    parser.add_argument("--enter", action="store_true", help="open a shell in the copy that --keep left running")
    parser.add_argument("--get-nspawn", action="store_true", help="install systemd-nspawn by package manager")
    return parser.parse_args(argv)


def get_nspawn(out):
    """Installs systemd-nspawn by the first package manager that this host has."""
    if find("systemd-nspawn"):
        out.write("systemd-nspawn is installed already\n")
        return OK
    for program, orders in INSTALLERS:
        if find(program):
            for words in orders:
                answer = run([program] + words, 600, environment={"DEBIAN_FRONTEND": "noninteractive"})
            if not find("systemd-nspawn"):
                raise CannotLook("could not install %s: %s" % (PACKAGE, answer.complaint()))
            out.write("installed %s with %s\n" % (PACKAGE, program))
            return OK
    raise CannotLook("this host has no apt-get, dnf or zypper: install the package with systemd-nspawn by hand")


def play(options, narrator):
    """Boot, install, start, check, test-restart, each fault; then the table. The exit code."""
    os.umask(0o022)             # the copy's users must be able to read what is written into it
    chosen = [fault for fault in faults.FAULTS if not options.only or fault.name in options.only]
    results = []
    with Machine("/", NAME, binds={SOURCE: TREE} if HAS_INSTALLER else {}) as machine:
        stage = Stage(machine)
        well = all(narrator.step(name, lambda action=action: action(stage), stage) for name, action in STEPS)
        for fault in chosen if well else ():
            narrator.begin(fault.name, fault.what)
            results.append(faults.perform(fault, stage))
            narrator.end_fault(results[-1], stage)
        if results:
            well = narrator.step("steady", lambda: steady(stage), stage) and well
        survived = well and all(result.survived is not False for result in results)
        narrator.close(results, survived, stage)
        if options.keep and machine.leader:
            narrator.say("The copy keeps running; enter it with:  sudo %s --enter    Ctrl-C ends it." %
                         os.path.join(TREE, "bin", NAME))
            with contextlib.suppress(KeyboardInterrupt):
                while machine.running():
                    time.sleep(0.5)
    return OK if survived else STILL_WRONG


def boot(stage):
    stage.machine.boot()
    stage.furnish()
    own = [name for name in STANDIN_NAMES if name not in stage.standins]
    return "systemd %d; this host's own: %s; stand-ins: %s" % (
        stage.machine.systemd_version(), ", ".join(own) or "none", ", ".join(stage.standins) or "none")


def install(stage):
    if not HAS_INSTALLER:
        return "it is installed on this host already"
    words = [stage.python(), "-IS", SOURCE + "/install.py", "--schedule", "none"]
    return _last_line(stage.inside(words, 300))


def start(stage):
    stage.inside(["systemctl", "start", "--", GATEWAY], 150)
    stage.wait_until_healthy(60)
    return "it answers 200, PID %d" % stage.main_pid(GATEWAY)


def check(stage):
    return _last_line(stage.inside([MANAGER, "check"], 30)).partition(" | ")[0]


def test_restart(stage):
    return _last_line(stage.inside([MANAGER, "test-restart"], 60))


def steady(stage, seconds=6):
    """After the last fault: the same process for longer than RestartSec, and it answers."""
    first = stage.make_ready()
    time.sleep(seconds)
    last = stage.healthy()
    if last is None or last.invocation != first.invocation:
        raise CitadelError("the gateway did not keep running after the last fault")
    return "the same process for longer than RestartSec, and it answers"


def _last_line(answer):
    lines = [line for line in answer.out.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else "done"


STEPS = (("boot", boot), ("install", install), ("start", start), ("check", check), ("test-restart", test_restart))
