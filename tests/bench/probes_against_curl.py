#!/usr/bin/env python3
"""What one look at three targets (two over HTTP, one redis) costs in CPU: `probes.ask` beside curl and redis-cli.

    python3 tests/bench/probes_against_curl.py [ROUNDS]

Prints the median CPU milliseconds, user and system, children included, of ROUNDS (100) rounds each. The peers run in
processes of their own and are not counted.
"""

import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "lib"))

from citadel.observe import probes  # noqa: E402

PEER = """
import http.server, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "15"); self.end_headers()
        self.wfile.write(b'{"status":"ok"}')
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""
ASK = "import sys; sys.path.insert(0, sys.argv[1]); from citadel.observe import probes; probes.ask(sys.argv[2:], 5)"


def main(rounds):
    missing = [name for name in ("curl", "redis-server", "redis-cli") if not shutil.which(name)]
    if missing:
        print("not measured: %s is not installed" % ", ".join(missing), file=sys.stderr)
        return 69
    ports = [free_port() for _ in range(3)]
    peers = [subprocess.Popen([sys.executable, "-c", PEER, str(port)]) for port in ports[:2]]
    peers.append(subprocess.Popen(["redis-server", "--port", str(ports[2]), "--save", "", "--bind", "127.0.0.1"],
                                  stdout=subprocess.DEVNULL, cwd="/"))
    try:
        targets = ["http://127.0.0.1:%d/health" % port for port in ports[:2]] + ["redis://127.0.0.1:%d" % ports[2]]
        while {probe.outcome for probe in probes.ask(targets, 5).values()} != {"ok"}:
            time.sleep(0.05)
        python = shutil.which("python3", path="/usr/bin") or sys.executable
        measure("probes.ask, in a running program", rounds, lambda: probes.ask(targets, 5))
        measure("python3 -IS, doing nothing", rounds, lambda: call([python, "-IS", "-c", "pass"]))
        measure("python3 -IS, probes.ask", rounds,
                lambda: call([python, "-IS", "-c", ASK, os.path.join(TREE, "lib")] + targets))
        measure("curl, curl, redis-cli PING", rounds, lambda: with_programs(targets, ports[2]))
    finally:
        for peer in peers:
            peer.kill()
            peer.wait()
    return 0


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def with_programs(targets, port):
    for target in targets[:2]:
        call(["curl", "-fsS", "-o", "/dev/null", "--max-time", "5", target])
    call(["redis-cli", "-p", str(port), "PING"])


def call(argv):
    subprocess.check_call(argv, stdout=subprocess.DEVNULL)


def measure(what, rounds, work):
    seconds = []
    for _ in range(rounds):
        before = cpu()
        work()
        seconds.append(cpu() - before)
    print("%-36s %6.2f ms" % (what, 1000 * statistics.median(seconds)), flush=True)


def cpu():
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF,
                                                                                 resource.RUSAGE_CHILDREN)))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
