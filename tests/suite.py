"""Runs ruff, the pure tests on every Python there is, and the live ones on every systemd that was asked for.

Every pytest is a process of its own, a few side by side; their outputs are kept apart and shown in order. What was
not run is said and counted, and the last line is the sum.
"""

import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "live"))

import provision  # noqa: E402  (both lie beside this file)
import roots  # noqa: E402

CORES = os.cpu_count() or 1
PURE_SIDE_BY_SIDE = 2 * CORES       # the tests of time and processes wait more than they work
# What --matrix runs on a copy of this host: the rest it runs on four others, one of them likely of the same version.
ON_THIS_HOST = ("tests/live/test_rehearsal.py", "tests/live/test_story.py", "tests/live/test_units.py")
NO_TESTS = 5                        # pytest's exit code
LIVE_SIDE_BY_SIDE = CORES + 3       # a machine of theirs waits for RestartSec most of the time

# --quick plays fewer random histories than the 60 of a full run, and begins with what takes longest.
FEW_HISTORIES = 16
LONGEST = ("installer", "recovery/test_histories.py", "tell", "record", "recovery/test_passes.py", "test_contract.py")

# Each cause of a pass, made for real: as long as all the rest, so in a matrix on a machine of their own.
FAULTS = ("tests/live/test_recovery.py", "tests/live/test_flow.py", "tests/live/test_several.py")


def main(argv):
    options = _options(argv)
    if options.quick:
        return _quick()
    if os.geteuid() != 0:
        print("tests/run: the live tests boot machines and need root; --quick does not", file=sys.stderr)
        return 77
    return _everything(options)


def _options(argv):
    parser = argparse.ArgumentParser(
        prog="tests/run", description="Without options: the pure tests, then the live ones on this host's systemd.")
    parser.add_argument("--quick", action="store_true",
                        help="only the pure tests on one Python, as any user, within a minute")
    parser.add_argument("--matrix", action="store_true", help="the live tests on Debian 11, 12, 13 and sid as well")
    parser.add_argument("--root", action="append", metavar="NAME", help="the live tests on this release only, or on /")
    parser.add_argument("-k", metavar="EXPRESSION", default="", help="only the tests that match, as pytest's -k")
    options = parser.parse_args(argv)
    releases = [release.name for release in roots.RELEASES]
    for name in options.root or ():
        if name != "/" and name not in releases:
            parser.error("argument --root: %r is not / or one of %s" % (name, ", ".join(releases)))
    options.k = ["-k", options.k] if options.k else []
    options.root = options.root or (["/"] + (releases if options.matrix else []))
    return options


def _quick():
    """All pure tests on this Python, or on another one if only that has a pytest; nothing is fetched."""
    python, not_run = _python_with_pytest(), []
    ruff = provision.ruff_here()
    jobs = [_lint(ruff)] if ruff else []
    if not ruff:
        not_run.append("ruff: it is not on this host; a full run fetches it")
    if python:
        for part, names in _parts():
            job = _pure(*python, tests=["tests/unit/" + name for name in names])
            job.title = "Python %s: %s" % (python[1], part)
            job.environment.setdefault("CITADEL_HISTORIES", str(FEW_HISTORIES))
            jobs.append(job)
    else:
        not_run.append("pure tests: no Python here has pytest; install it (python3-pytest), or a full run fetches one")
    return _report(jobs, [], not_run + ["the other Pythons, most of the random histories, the live tests: a full run"])


def _python_with_pytest():
    """(minor, version, path, has a pytest of its own) of this Python if it can run the tests, else of any other."""
    found = provision.pythons()
    own = {minor: python for minor, python in found.items() if minor == sys.version_info[1]}
    for minor, python in list(own.items()) + sorted(found.items(), reverse=True):
        if python[2] or provision.pytest_directory(minor):
            return (minor,) + python
    return None


def _parts():
    """tests/unit cut for pytests side by side: [(name, files)], LONGEST first, then a folder each."""
    unit, parts = os.path.join(HERE, "unit"), {}
    for path in sorted(glob.glob(os.path.join(unit, "**", "test_*.py"), recursive=True)):
        name = os.path.relpath(path, unit)
        part = name if name in LONGEST else os.path.dirname(name) or "the rest"
        parts.setdefault(part, []).append(name)
    return sorted(parts.items(), key=lambda item: LONGEST.index(item[0]) if item[0] in LONGEST else len(LONGEST))


def _lint(ruff):
    programs = [path for path in glob.glob(os.path.join(TREE, "bin", "*")) if os.path.isfile(path)]
    return Job("ruff", [ruff, "check", "--no-cache", "--quiet", "--output-format=concise", "lib", "install.py", "tests",
                        "tests/survive"] + sorted(programs))


def _everything(options):
    names = [name for name in options.root if name != "/"]
    provision.debian_packages(provision.LIVE_PACKAGES + (provision.MATRIX_PACKAGES if names else ()))
    provision.venv()
    provision.monitoring()
    unbuilt = _build_roots([name for name in names if not roots.built(name, provision.CACHE)])
    pythons = provision.pythons()
    for minor, (_, path, _) in pythons.items():
        provision.pytest_for(minor, path)
    pure = [_lint(provision.ruff())] + [_pure(minor, *python) for minor, python in sorted(pythons.items())]
    pure += [_pure_in(name) for name in names if name not in unbuilt]
    live = [job for name in options.root if name not in unbuilt for job in _live_jobs(name, options)]
    not_run = ["live tests on %s: its root could not be built" % name for name in unbuilt]
    if options.matrix and "/" in options.root:
        not_run.append("on this host: all live tests but %s; the matrix has them" % ", ".join(
            os.path.basename(path) for path in ON_THIS_HOST))
    return _report([] if options.k else pure, live, not_run + _missing_pythons(
        list(pythons) + [roots.python_minor(roots.directory(name, provision.CACHE)) for name in names
                         if name not in unbuilt]), failed=len(unbuilt))


def _build_roots(names):
    """Builds the roots that are not in the cache yet; the names of those that failed."""
    jobs = []
    for name in names:
        roots.prepare(name, provision.CACHE)
        jobs.append(Job("root of " + name, roots.command(name, provision.CACHE)))
    failed = []
    for name, job in zip(names, _side_by_side(jobs)):
        if job.code == 0:
            roots.finish(name, provision.CACHE)
        else:
            failed.append(name)
            print(job.output())
    return failed


class Job:
    """One process: what it is called in the summary, its command, and afterwards how it ended and what it said."""

    def __init__(self, title, argv, environment=None):
        self.title, self.argv = title, argv
        self.environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **(environment or {}))
        self.file = tempfile.TemporaryFile()
        self.code, self.seconds, self.process = None, 0.0, None

    def run(self):
        started = time.monotonic()
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.file,
                                        stderr=subprocess.STDOUT, cwd=TREE, env=self.environment,
                                        start_new_session=True)
        code = self.process.wait()
        if code == NO_TESTS and "-k" in self.argv:
            code = 0                    # the expression meant another job; a sum of none passed is still a failure
        self.seconds, self.code = time.monotonic() - started, code

    def output(self, offset=0):
        return os.pread(self.file.fileno(), 1 << 26, offset).decode("utf-8", "backslashreplace")

    def summary(self):
        """Its line in the report."""
        counts = self.counts()
        if not counts:
            return "%-44s %s  %6.1f s" % (self.title, "exit %d" % self.code if self.code else "clean", self.seconds)
        return "%-44s %4d passed, %d failed, %d skipped  %6.1f s%s" % (
            self.title, counts.get("passed", 0), _wrong(counts), counts.get("skipped", 0), self.seconds,
            "" if self.code == 0 else "  exit %d" % self.code)

    def counts(self):
        """{"passed": 12, ...} from pytest's last line."""
        lines = [line for line in self.output().splitlines() if re.search(r"\bin [0-9.]+s\b", line)]
        return {word.rstrip("s") if word == "errors" else word: int(number)
                for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", lines[-1] if lines else "")}


def _wrong(counts):
    return counts.get("failed", 0) + counts.get("error", 0)


def _side_by_side(jobs, width=CORES):
    """Starts all jobs, `width` at a time, says when one has ended, and yields each in order."""
    room = threading.Semaphore(width)

    def one(job):
        with room:
            job.run()
        print(job.summary(), flush=True)

    threads = [threading.Thread(target=one, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        for job, thread in zip(jobs, threads):
            thread.join()
            yield job
    finally:
        for job in jobs:
            if job.process and job.code is None:
                os.killpg(job.process.pid, signal.SIGKILL)


def _pytest(python, words):
    return [python, "-m", "pytest", "-q", "--tb=short", "--color=no", "-p", "no:cacheprovider"] + words


def _pure(minor, version, path, has_pytest, tests=("tests/unit",)):
    """The pure tests on one of the host's Pythons; None where there is no pytest for it."""
    directory = provision.pytest_directory(minor)
    if not directory and not has_pytest:
        return None
    return Job("pure tests, Python " + version, _pytest(path, list(tests)),
               {"PYTHONPATH": directory} if directory else None)


def _pure_in(name):
    """The pure tests on a release's own Python, in a container that boots nothing and keeps nothing."""
    root = roots.directory(name, provision.CACHE)
    minor = roots.python_minor(root)
    argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--volatile=overlay",
            "--as-pid2", "--machine=citadel-pure-" + name, "--directory=" + root, "--bind-ro=%s:/mnt" % TREE,
            "--bind-ro=%s:/srv" % provision.pytest_for(minor), "--setenv=PYTHONPATH=/srv", "--chdir=/mnt",
            "--setenv=PYTHONDONTWRITEBYTECODE=1"]
    return Job("pure tests, Python 3.%d of %s" % (minor, name),
               argv + _pytest("/usr/bin/python3", ["tests/unit"]),
               {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})


def _live_jobs(name, options):
    if not options.matrix:
        return [_live(name, options.k, "live tests", ["tests/live"])]
    if name == "/":
        return [_live(name, options.k, "live tests", ON_THIS_HOST)]
    elsewhere = FAULTS + ("tests/live/test_rehearsal.py",)      # a rehearsal copies this host, whatever the matrix
    return [_live(name, options.k, "faults", FAULTS),
            _live(name, options.k, "live tests", ["tests/live"] + ["--ignore=" + one for one in elsewhere])]


def _live(name, words, what, tests):
    root = roots.directory(name, provision.CACHE)
    provision.uvicorn_for(roots.python_minor(root))
    title = what + ", " + ("this host" if name == "/" else next(
        "%s (systemd %s)" % (release.title, release.systemd) for release in roots.RELEASES if release.name == name))
    return Job(title, [provision.venv(), "-B", os.path.join(HERE, "live", "isolated.py"), "-q", "-ra", "--tb=short",
                       "-p", "no:cacheprovider", "--durations=10", "--root=" + name] + list(tests) + words)


def _missing_pythons(found):
    return ["pure tests, Python 3.%d: not on this host" % minor for minor in provision.MINORS if minor not in found]


def _report(pure, live, not_run, failed=0):
    """Runs the jobs, shows what needs to be seen, then a line for each and the sum; the exit code."""
    done = []
    for job in _side_by_side(pure, PURE_SIDE_BY_SIDE):
        if job.code != 0:
            print("\n==== %s ====\n%s" % (job.title, job.output()), flush=True)
        done.append(job)
    for job in _side_by_side(live, LIVE_SIDE_BY_SIDE):
        print("\n==== %s ====\n%s" % (job.title, job.output()), flush=True)
        done.append(job)
    total = {"passed": 0, "failed": failed, "skipped": len(not_run)}
    print()
    for job in done:
        counts = job.counts()
        total["passed"] += counts.get("passed", 0)
        total["failed"] += _wrong(counts) or (job.code != 0)
        total["skipped"] += counts.get("skipped", 0)
        if live:                        # their output has pushed the lines of the first jobs off the screen
            print(job.summary())
    for line in not_run:
        print("not run: " + line)
    print("\n%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % total)
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        print("tests/run: %s exited %d" % (" ".join(error.cmd), error.returncode), file=sys.stderr)
        sys.exit(1)
