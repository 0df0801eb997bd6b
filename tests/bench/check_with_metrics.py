#!/usr/bin/env python3
"""What the metrics cost a health check: `check` with and without a directory for them, of a healthy host.

    python3 tests/bench/check_with_metrics.py [ROUNDS]

Prints the median CPU milliseconds, user and system, of ROUNDS (100) checks each, turn about, and their ratio. Each
check is a process of its own, as cron starts it, from the settings to the line; only the look at the host is left
out, which costs the same with and without (systemctl, three probes), so the true ratio is nearer to 1.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
from citadel.commands import check
from citadel.model import Dependency, Disk, Facts, Host, Memory, Probe, Service, Unit
def up(name, restarts=3):
    return Unit(name=name, load="loaded", active="active", sub="running", main_pid=7, restarts=restarts)
facts = Facts(
    Host(disks=(Disk("/", "/", "", 100 << 30, 40 << 30, 1000, 900),), memory=Memory(32 << 30, 16 << 30)),
    (Service(up("citadel-gateway.service"), Probe("http", "ok", 200, 0.012), (
        Dependency("ollama", up("ollama.service"), Probe("http", "ok", 200, 0.001)),
        Dependency("redis", up("redis.service"), Probe("redis", "ok", 0, 0.001)))),))
check.look_within = lambda seconds, state: lambda wanted: facts
check.settings.DEFAULT_PATH = sys.argv[2]
print(check.check(state=sys.argv[3], scheduled=True)[1])
"""


def main(rounds):
    with tempfile.TemporaryDirectory() as place:
        state, textfiles = os.path.join(place, "state"), os.path.join(place, "textfiles")
        os.mkdir(state, 0o700)
        os.mkdir(textfiles, 0o755)
        settings = {}
        for name, directory in (("without", ""), ("with", textfiles)):
            settings[name] = os.path.join(place, name + ".conf")
            with open(settings[name], "w") as file:
                file.write("[metrics]\ndirectory = %s\n" % directory)
        for name in settings:                       # the first one writes the record, too, and compiles
            line = check(settings[name], state)
            if not line.startswith("OK: "):
                print("not measured: " + line, file=sys.stderr)
                return 69
        seconds = {name: [] for name in settings}
        for _ in range(rounds):
            for name in settings:
                before = cpu()
                check(settings[name], state)
                seconds[name].append(cpu() - before)
        assert os.listdir(textfiles), "it has measured nothing"
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name in ("without", "with"):
        print("check %-8s metrics %6.2f ms" % (name, 1000 * medians[name]))
    print("ratio                  %6.2f" % (medians["with"] / medians["without"]))
    return 0


def check(settings, state):
    return subprocess.check_output([sys.executable, "-IS", "-c", CHECK, os.path.join(TREE, "lib"), settings, state],
                                   universal_newlines=True)


def cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
