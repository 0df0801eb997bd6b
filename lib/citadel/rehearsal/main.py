"""citadel-rehearsal: proves on a throwaway copy of this host that the gateway comes back.

    sudo ./bin/citadel-rehearsal [--only FAULT]… [--json] [--keep]
    ./bin/citadel-rehearsal --list

Boots an overlay of this host's root (machine.py) in namespaces that vanish with the program (isolation.py), installs
Citadel into it with install.py, starts, checks and restarts the gateway, then breaks it in each way of faults.FAULTS.
Exit 0 only if all was survived, 1 otherwise.
"""

import os
import signal
import sys
import time

from citadel.core import terminal
from citadel.core.arguments import Parser
from citadel.core.entry import enter
from citadel.core.errors import OK, STILL_WRONG, CannotLook, CitadelError, NotPermitted, UsageError
from citadel.core.run import find, run
from citadel.core.text import plural, printable, span, to_json
from citadel.rehearsal import faults, isolation, kept
from citadel.rehearsal.machine import Machine
from citadel.rehearsal.stage import GATEWAY, MANAGER, SOURCE, Stage

NAME = "citadel-rehearsal"
SOURCE_TREE = os.path.dirname(isolation.LIBRARY)
PACKAGE = "systemd-container"       # on Debian, Fedora, RHEL and openSUSE alike
INSTALLERS = (("apt-get", (["update"], ["install", "-y", "--no-install-recommends", PACKAGE])),
              ("dnf", (["install", "-y", PACKAGE],)),
              ("zypper", (["--non-interactive", "install", PACKAGE],)))


def main(argv, out=sys.stdout):
    """The command. Outside, it starts itself again in isolation; inside, it plays."""
    options = _read(argv)
    if options.list:
        out.write("\n".join(terminal.table([(fault.name, fault.what) for fault in faults.FAULTS])) + "\n")
        return OK
    if os.geteuid() != 0:
        raise NotPermitted("needs root, to mount and boot a throwaway copy of this host: try sudo")
    if options.enter:
        return kept.enter()
    if options.get_nspawn:
        return get_nspawn(out)
    if find("systemd-nspawn") is None:
        raise CannotLook("systemd-nspawn is missing: package %s brings it (--get-nspawn installs it)" % PACKAGE)
    isolation.isolate(isolation.again("citadel.rehearsal.main", "isolated", argv), read_only=True)
    return play(options, Narrator(out, options.json))


def isolated(words):
    """Where the isolated interpreter begins (isolation.again)."""
    sys.argv[1:] = words
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGHUP, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    enter(main, NAME, trusted_tree=False)


def _read(argv):
    parser = Parser(prog=NAME, description="Proves recovery in a throwaway copy of this host, which is not touched.")
    parser.add_argument("--list", action="store_true", help="say which faults there are, and end")
    parser.add_argument("--only", metavar="FAULT", action="append", default=[], help="only this fault (repeatable)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the story")
    parser.add_argument("--keep", action="store_true", help="leave the copy running at the end, until Ctrl-C")
    parser.add_argument("--enter", action="store_true", help="a shell in the copy that a --keep left running")
    parser.add_argument("--get-nspawn", action="store_true", help="install systemd-nspawn with this host's packages")
    options = parser.parse_args(argv)
    known = [fault.name for fault in faults.FAULTS]
    for name in options.only:
        if name not in known:
            raise UsageError("there is no fault %r: %s" % (name, ", ".join(known)))
    return options


def get_nspawn(out):
    """Installs systemd-nspawn by the first package manager that this host has."""
    if find("systemd-nspawn"):
        out.write("systemd-nspawn is here already\n")
        return OK
    for program, orders in INSTALLERS:
        if find(program):
            answers = [run([program] + words, 600, environment={"DEBIAN_FRONTEND": "noninteractive"})
                       for words in orders]
            if not find("systemd-nspawn"):
                raise CannotLook("could not install %s: %s" % (PACKAGE, answers[-1].complaint()))
            out.write("installed %s with %s\n" % (PACKAGE, program))
            return OK
    raise CannotLook("no apt-get, dnf or zypper here: install the package that brings systemd-nspawn by hand")


# --- the story

def play(options, narrator):
    """Boot, install, start, check, test-restart, each fault; then the table."""
    os.umask(0o022)             # in the copy others must read what we write; no one else sees it
    chosen = [fault for fault in faults.FAULTS if not options.only or fault.name in options.only]
    binds = {SOURCE: SOURCE_TREE} if _has_installer() else {}
    results = []
    with Machine("/", NAME, binds=binds) as machine:
        stage = Stage(machine)
        steps = [("boot", lambda: boot(stage)), ("install", lambda: install(stage)), ("start", lambda: start(stage)),
                 ("check", lambda: check(stage)), ("test-restart", lambda: test_restart(stage))]
        well = all(narrator.step(name, action, stage) for name, action in steps)
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
                         os.path.join(SOURCE_TREE, "bin", NAME))
            _wait_for_the_end(machine)
    return OK if survived else STILL_WRONG


def boot(stage):
    stage.machine.boot()
    stage.furnish()
    own = [name for name in ("ollama", "redis", "gateway") if name not in stage.standins]
    return "systemd %d; this host's own: %s; stand-ins: %s" % (
        stage.machine.systemd_version(), ", ".join(own) or "none", ", ".join(stage.standins) or "none")


def install(stage):
    if not _has_installer():
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
    """After the last fault: the same run for longer than RestartSec, and it answers."""
    first = stage.make_ready()
    time.sleep(seconds)
    last = stage.healthy()
    if last is None or last.invocation != first.invocation:
        raise CitadelError("the gateway did not keep running after the last fault")
    return "the same process for longer than RestartSec, and it answers"


def _has_installer():
    return os.path.isfile(os.path.join(SOURCE_TREE, "install.py"))


def _last_line(answer):
    lines = [line for line in answer.out.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else "done"


def _wait_for_the_end(machine):
    try:
        while machine.running():
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


class Narrator:
    """Tells the story: a line a step, redrawn while it lasts on a terminal; silent but for one document with --json."""

    def __init__(self, out, as_json, clock=time.monotonic):
        self.out, self.as_json, self.clock = out, as_json, clock
        self.style = terminal.style_of(out, os.environ)
        self.steps = []
        self.began = self.clock()
        self.total = self.clock()

    def say(self, line=""):
        if not self.as_json:
            self.out.write(line + "\n")
            self.out.flush()

    def begin(self, name, what=""):
        self.began = self.clock()
        if self.style.live and not self.as_json:
            dots = "… " if self.style.unicode else "... "
            self.out.write("\r\x1b[K  %-15s %s" % (name, self.style.paint(dots + what, "faint")))
            self.out.flush()

    def _end(self, name, mark, how, seconds, text):
        start = "\r\x1b[K" if self.style.live else ""
        mark = self.style.paint("%-9s" % mark, how)
        self.say("%s  %-15s %s %7s  %s" % (start, name, mark, span(seconds), text))

    def show_evidence(self, stage):
        if stage.machine.running():
            for line in stage.evidence():
                self.say("      " + self.style.paint(line, "faint"))

    def step(self, name, action, stage):
        """Runs one step of the story; False if it failed."""
        self.begin(name)
        try:
            text, well = action(), True
        except CitadelError as error:
            text, well = str(error), False
        seconds = self.clock() - self.began
        self.steps.append({"step": name, "ok": well, "seconds": round(seconds, 2), "because": text})
        self._end(name, "ok" if well else "FAILED", "good" if well else "bad", seconds, printable(text, 400))
        if not well:
            self.show_evidence(stage)
        return well

    def end_fault(self, result, stage):
        self._end(result.name, *_mark(result), seconds=result.seconds, text=printable(result.happened))
        if result.survived is False:
            self.show_evidence(stage)

    def close(self, results, survived, stage):
        """The table, or the document."""
        if self.as_json:
            self.out.write(to_json({
                "schema": 1, "survived": survived, "seconds": round(self.clock() - self.total, 1),
                "standins": list(stage.standins), "steps": self.steps,
                "faults": [dict(result._asdict(), seconds=round(result.seconds, 2)) for result in results]}))
            return
        if results:
            rows = [("fault", "outcome", "seconds", "what happened, and why")]
            for result in results:
                rows.append((result.name, _mark(result)[0], "%.1f" % result.seconds, printable(result.happened)))
                if result.cause:
                    rows.append(("", "", "", printable(result.because, 400)))
            self.say()
            for line in terminal.table(rows):
                self.say(line)
        self.say()
        tried = [result for result in results if result.survived is not None]
        self.say("%s of %s survived in %s; this host was not touched." % (
            sum(result.survived for result in tried), plural(len(tried), "fault"),
            span(self.clock() - self.total)) if survived else "Not everything was survived.")


def _mark(result):
    return {True: ("survived", "good"), False: ("FAILED", "bad"), None: ("not tried", "uneasy")}[result.survived]
