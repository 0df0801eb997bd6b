"""tests/survive: faults for real, on four systemd versions, and who survives them.

One process a root and contestant, isolated (citadel.rehearsal.isolation), a few side by side; their lines arrive as the
rows end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import provision
import roots

from citadel import __version__
from survival import engine, faults, monit, report, soak
from survival.contestants import CHECK_EACH, CONTESTANTS, START_TIMEOUT
from survival.judge import GIVEN_UP

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
MARK = "\x1esurvival "          # before a worker's own lines; what else it prints goes to its log
RELEASES = [release.name for release in roots.RELEASES]


def main(argv):
    options = arguments(argv)
    if options.list:
        for row in options.rows:
            print("%-24s %-13s %s" % (row.name, row.group, row.what))
        return 0
    if os.geteuid() != 0:
        print("tests/survive: it boots machines and needs root", file=sys.stderr)
        return 77
    if options.worker:
        return worker(options)
    provide(options)
    began = time.monotonic()
    outcomes, soaks = orchestrate(options, argv)
    head = heading(options, argv, time.monotonic() - began, outcomes)
    show(options, outcomes, head, soaks)
    return exit_code(options, outcomes, soaks)


def exit_code(options, outcomes, soaks):
    """0 when Citadel survived all that it was given; of a soak, when nothing at all was seen on any release."""
    if options.soak is None:
        return 0 if report.survived_all(outcomes, "citadel") else 1
    clean = {one.root for one in soaks if soak.is_clean(one)}
    return 0 if clean == set(options.root) and len(soaks) == len(clean) and not outcomes else 1


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="tests/survive", description="Injects every fault for real and prints who survives it. Exit code 0: "
        "Citadel survived all that it was given.")
    parser.add_argument("--root", action="append", metavar="NAME", help="only this release (%s), or / for a copy of "
                        "this host; may be given again" % " ".join(RELEASES))
    parser.add_argument("--contestant", action="append", choices=sorted(CONTESTANTS), help="only this one; may be "
                        "given again")
    parser.add_argument("--only", action="append", metavar="FAULT", help="only this fault; may be given again")
    parser.add_argument("--list", action="store_true", help="the faults, and no more")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--json", action="store_true", help="the outcomes as JSON")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="no faults: a small steady load for so long; no "
                        "restart and no missed request may be seen")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="machines side by side (default: cores)")
    parser.add_argument("--split", type=int, default=1, metavar="N", help="the rows of a machine on N machines")
    parser.add_argument("--evidence", metavar="DIRECTORY", help="where the journal of a failed row is kept")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    for name in options.root or ():
        if name != "/" and name not in RELEASES:
            parser.error("argument --root: %r is not / or one of %s" % (name, ", ".join(RELEASES)))
    for name in ("jobs", "split"):
        if getattr(options, name) < 1:
            parser.error("argument --%s: %d is less than 1" % (name, getattr(options, name)))
    try:
        options.rows = faults.named(options.only or ())
    except KeyError as error:
        parser.error("argument --only: no such fault: %s (--list names them)" % error.args[0])
    options.root = options.root or RELEASES
    options.contestant = options.contestant or ["citadel", "plain", "monit"]
    if options.soak is not None:
        options.contestant = ["citadel"]
    return options


def provide(options):
    """What must be there before machines boot: packages, roots, venvs, Monit."""
    names = [name for name in options.root if name != "/"]
    provision.debian_packages(provision.LIVE_PACKAGES + (provision.MATRIX_PACKAGES if names else ()))
    provision.venv()
    for name in names:
        if not roots.built(name, provision.CACHE):
            print("building the root of " + name, flush=True)
            roots.prepare(name, provision.CACHE)
            subprocess.check_call(roots.command(name, provision.CACHE), stdout=subprocess.DEVNULL)
            roots.finish(name, provision.CACHE)
    for name in options.root:
        provision.uvicorn_for(roots.python_minor(roots.directory(name, provision.CACHE)))
        if "monit" in options.contestant:
            monit.directory("trixie" if name == "/" else name)


# --- the workers

def orchestrate(options, argv):
    """Starts a worker for each root and contestant, `jobs` at a time: (outcomes, soaks)."""
    tasks = [(root, contestant, part) for contestant in options.contestant for root in options.root
             for part in range(options.split if options.soak is None else 1)]
    python = provision.venv()
    room, lock, outcomes, soaks = threading.Semaphore(options.jobs), threading.Lock(), [], []

    def one(root, contestant, part):
        with room, tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command(python, options, root, contestant, part), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=log)
            for raw in process.stdout:
                said = raw.decode("utf-8", "replace").rstrip("\n")
                if not said.startswith(MARK):
                    continue
                kind, words = json.loads(said[len(MARK):])
                with lock:
                    if kind == "outcome":
                        outcomes.append(report.Outcome(**words))
                        print(report.line(outcomes[-1]), flush=True, file=stream(options))
                    else:
                        if kind == "soak":
                            soaks.append(soak.Soak(**words))
                            words = soak.sentence(soaks[-1])
                        print("%-9s      %-8s %s" % (root, contestant, words), flush=True, file=stream(options))
            if process.wait() != 0:
                log.seek(0)
                with lock:
                    print("%s, %s: the worker exited %d\n%s" % (root, contestant, process.returncode, log.read().decode(
                        "utf-8", "replace")[-3000:]), file=sys.stderr, flush=True)
                    outcomes.append(report.Outcome(root, 0, contestant, "worker", False, None, "it broke", 0.0))

    threads = [threading.Thread(target=one, args=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes, soaks


def command(python, options, root, contestant, part):
    words = [python, "-B", os.path.join(TREE, "tests", "survive"), "--worker", "--root", root,
             "--contestant", contestant]
    for row in options.rows[part::options.split]:
        words += ["--only", row.name]
    if options.soak is not None:
        words += ["--soak", str(options.soak)]
    return words + (["--evidence", os.path.abspath(options.evidence)] if options.evidence else [])


def stream(options):
    """Progress; apart from the table where that is for a program or a file."""
    return sys.stderr if options.json or options.markdown else sys.stdout


def worker(options):
    """In a process of its own, isolated: one root, one contestant."""
    from citadel.rehearsal.isolation import isolate
    isolate([sys.executable, "-B", os.path.join(TREE, "tests", "survive")] + sys.argv[1:])
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def send(kind, words):
        out.write(MARK + json.dumps([kind, words]) + "\n")
        out.flush()

    def evidence(name, text):
        if options.evidence:
            os.makedirs(options.evidence, exist_ok=True)
            with open(os.path.join(options.evidence, "%s-%s-%s" % (
                    options.root[0].strip("/") or "host", options.contestant[0], name)), "w") as file:
                file.write(text)

    contestant = CONTESTANTS[options.contestant[0]]()
    if options.soak is not None:
        send("soak", soak.run(options.root[0], contestant, options.soak * 60,
                              lambda text: send("say", text))._asdict())
        return 0
    for outcome in engine.run(options.root[0], contestant, options.rows, lambda text: send("say", text), evidence):
        send("outcome", outcome._asdict())
    return 0


def end_with_the_parent():
    """Its end of our stdin closes when it ends, however that happens."""
    while os.read(0, 1024):
        pass
    os._exit(128 + signal.SIGTERM)


# --- the report

def heading(options, argv, seconds, outcomes):
    """What was run on what, what was shortened in all rows, and how each contestant is judged."""
    titles = {release.name: release.title for release in roots.RELEASES}
    where = ", ".join("%s (systemd %s)" % (titles.get(root, "this host"), "/".join(
        str(version) for version in sorted({one.systemd for one in outcomes if one.root == root and one.systemd})
    ) or "?") for root in options.root)
    monits = ", ".join(sorted({monit.version(monit.directory("trixie" if name == "/" else name))
                               for name in options.root})) if "monit" in options.contestant else ""
    return (
        "%s, Citadel %s%s, on %s; `tests/survive %s`, %.0f min. The health check each %d s instead of each minute "
        "(Monit's cycle likewise), start_timeout %d s instead of 2 min (the dependencies' likewise, instead of 1 min), "
        "verify_timeout 30 s instead of 2 min, the pause after an alert 1 min instead of 5; all else as "
        "shipped, but for what a row says. Monit and the unit alone are judged more kindly: Monit's mails may be as "
        "many as they are and name any cause, and neither is held to what becomes of an incident after the recovery. "
        "What an operator decides is typed with systemctl; Monit, which knows of `monit unmonitor` only, is told of it "
        "in the maintenance row alone. The unit alone is given up on after %d s without change, since nobody watches "
        "it." % (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), __version__,
                 ", Monit " + monits if monits else "", where, " ".join(argv), seconds / 60, CHECK_EACH, START_TIMEOUT,
                 GIVEN_UP))


def show(options, outcomes, head, soaks):
    if options.json:
        print(report.as_json(outcomes, head, soaks), end="")
    elif options.soak is not None and options.markdown:
        print(report.soak_markdown(soaks, head), end="")
    elif options.soak is not None:
        print("\n".join("soak on %s: %s" % (one.root, soak.sentence(one)) for one in soaks))
    elif options.markdown:
        titles = {name: CONTESTANTS[name].title for name in options.contestant}
        print(report.markdown(outcomes, options.rows, options.contestant, options.root, titles, head), end="")
    else:
        print("\n" + report.text(outcomes, options.rows, options.contestant, options.root, head), end="")
