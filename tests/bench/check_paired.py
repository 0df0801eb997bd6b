#!/usr/bin/env python3
"""What a health check costs beside another version's: `check --quiet` of two checkouts, turn about.

    sudo python3 tests/bench/check_paired.py BEFORE AFTER [RUNS]

Each of RUNS (60) pairs runs the command that cron runs once from each checkout: installed by its own install.py, with
its byte code, its settings as shipped and its list of check sums, on a host where all is well. Measured is the CPU
time, user and system, of the whole process tree (wait4). Printed are the medians, the median of the pairs' ratios
AFTER / BEFORE, and the interval that holds 95 in 100 medians of resampled pairs (bootstrap).

It needs no systemd and leaves the host alone: everything happens in a mount and a network namespace of its own. What
it asks is made up: a `systemctl` that prints files, two HTTP servers that answer 200, and a real redis-server.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
INSIDE = "CITADEL_BENCH_INSIDE"         # in the environment, once we are in our own namespaces
PLACES = ("opt", "usr/local", "var/lib", "etc/cron.d")      # of the host, covered by an installation's own
CHECK = ["/opt/citadel/bin/citadel-restart-manager", "check", "--quiet"]
UNITS = ("citadel-gateway.service", "ollama.service", "redis-server.service", "citadel-recovery.service")
UNIT = """\
Id=%s
LoadState=loaded
UnitFileState=enabled
ActiveState=active
SubState=running
Result=success
MainPID=4711
NRestarts=3
InvocationID=a1
FreezerState=running
NeedDaemonReload=no
OnFailure=citadel-recovery.service
ActiveEnterTimestampMonotonic=1000000
StateChangeTimestampMonotonic=1000000
InactiveExitTimestampMonotonic=1000000

"""
ABSENT = "Id=redis.service\nLoadState=not-found\nActiveState=inactive\n\n"
SYSTEMCTL = """\
#!/bin/sh
cd /usr/local/answers || exit 1
[ "$1" = show ] || exit 1
while [ "$1" != -- ]; do shift; done
exec cat "$@"
"""
PEER = """
import http.server, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "15"); self.end_headers()
        self.wfile.write(b'{"status":"ok"}')
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""


def main(words):
    if words[:1] == ["--worker"]:
        return worker(words[1])
    runs = words[2:] or ["60"]
    if len(words) not in (2, 3) or not runs[0].isdigit():
        print(__doc__.strip(), file=sys.stderr)
        return 64
    missing = [name for name in ("redis-server", "unshare", "ip") if not shutil.which(name)]
    missing += [] if os.path.isdir("/etc/cron.d") else ["/etc/cron.d"]
    if missing or os.geteuid() != 0:
        print("not measured: " + (", ".join(missing) + " is missing" if missing else "needs root"), file=sys.stderr)
        return 69
    if INSIDE not in os.environ:
        isolated = ["unshare", "--mount", "--propagation", "private", "--net"]
        return subprocess.call(isolated + [sys.executable, "-B", __file__] + words,
                               env=dict(os.environ, **{INSIDE: "1"}))
    subprocess.check_call(["ip", "link", "set", "lo", "up"])
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)          # the installation is root's, and so is the way to it
        return compare(place, [os.path.realpath(tree) for tree in words[:2]], int(runs[0]))


def compare(place, trees, runs):
    peers = [subprocess.Popen([sys.executable, "-c", PEER, port]) for port in ("8002", "11434")]
    peers.append(subprocess.Popen(["redis-server", "--port", "6379", "--save", "", "--bind", "127.0.0.1"],
                                  stdout=subprocess.DEVNULL, cwd="/"))
    workers = []
    try:
        for number, tree in enumerate(trees):
            root = os.path.join(place, str(number))
            install(tree, root)
            workers.append(subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", __file__, "--worker", root],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True))
        for port in (8002, 11434):
            wait_for(port)
        for one in workers * 2:         # the first check of an installation writes its notes
            once(one)
        found = []
        for number in range(runs):
            order = (0, 1) if number % 2 else (1, 0)
            seconds = {which: once(workers[which]) for which in order}
            found.append((seconds[0], seconds[1]))
    finally:
        for process in peers + workers:
            process.kill()
            process.wait()
    report(trees, found)
    return 0


def install(tree, root):
    os.mkdir(root)
    subprocess.check_call([sys.executable, "-B", os.path.join(tree, "install.py"), "--root", root,
                           "--schedule", "cron"], stdout=subprocess.DEVNULL)
    for name in PLACES + ("usr/local/sbin", "usr/local/answers"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    write(os.path.join(root, "usr/local/sbin/systemctl"), SYSTEMCTL, 0o755)
    for name in UNITS:
        write(os.path.join(root, "usr/local/answers", name), UNIT % name)
    write(os.path.join(root, "usr/local/answers/redis.service"), ABSENT)


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def wait_for(port):
    for _ in range(100):
        try:
            urllib.request.urlopen("http://127.0.0.1:%d/" % port, timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("not measured: nothing answers at port %d" % port)


def worker(root):
    """In a mount namespace where `root` is the host's installation: a check for each line that is read, and the
    seconds of CPU that it took."""
    for place in PLACES:
        subprocess.check_call(["mount", "--bind", os.path.join(root, place), "/" + place])
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            os.dup2(2, 1)               # a complaint is no number
            os.execve(CHECK[0], CHECK, {"PATH": "/usr/bin:/bin"})
        _, status, used = os.wait4(pid, 0)
        print(used.ru_utime + used.ru_stime if status == 0 else "failed", flush=True)
    return 0


def once(one):
    one.stdin.write("check\n")
    one.stdin.flush()
    answer = one.stdout.readline().strip()
    if answer in ("", "failed"):
        raise SystemExit("not measured: a check did not find all well")
    return float(answer)


def report(trees, found):
    for which, tree in enumerate(trees):
        print("%6.2f ms  %s" % (1000 * statistics.median(pair[which] for pair in found), tree))
    ratios, chance = [after / before for before, after in found], random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    print("ratio %.3f (%.3f to %.3f), %d pairs" % (statistics.median(ratios), medians[50], medians[1949], len(ratios)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
