"""A machine that holds what a real gateway host holds, and the words in which the tests speak of it.

Before Citadel comes: Debian's own redis-server, an ollama.service like the one that Ollama's own installer writes, and
a venv with real uvicorn and the small application of tests/live/gateway.
"""

import json
import os
import shutil
import time

import provision
import roots

from citadel.core.run import run
from citadel.rehearsal.machine import TARGET, Machine

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
CHECKOUT = "/root/citadel"
GATEWAY = "citadel-gateway.service"
OLLAMA = "ollama.service"
REDIS = "redis-server.service"
RECOVERY = "citadel-recovery.service"
MANAGER = "/opt/citadel/bin/citadel-restart-manager"
HANDLER = "/opt/citadel/bin/citadel-recovery-handler"
MOOD = "/srv/gateway-mood"
ALERT = "b0f1a5865abe4a3f816dad0c3a64c21c"         # MESSAGE_ID of an alert
VOLATILE = ("/tmp", "/run", "/var/tmp", "/var/log", "/var/lib/redis", "/var/lib/systemd", "/var/lib/private",
            "/var/cache/ldconfig", "/var/spool/cron")

# Ollama's own unit, as its documentation for Linux gives it.
OLLAMA_UNIT = """\
[Unit]
Description=Ollama Service
After=network-online.target

[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Restart=always
RestartSec=3
Environment="PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

[Install]
WantedBy=multi-user.target
"""

PRODUCTION = """\
environment: production
server:
  host: 127.0.0.1
  port: 8002
  workers: 8
redis:
  host: 127.0.0.1
  port: 6379
ollama:
  base_url: http://127.0.0.1:11434
"""

ASK = """\
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", 8002, timeout=3)
try:
    connection.request("GET", "/health")
    print(connection.getresponse().status)
except (OSError, http.client.HTTPException):
    print(0)
"""


class Host:
    """A booted machine, asked in the tests' words. Every wait has a condition and a generous end."""

    def __init__(self, machine, seconds):
        self.machine, self.seconds = machine, seconds
        self.run, self.read, self.write = machine.run, machine.read, machine.write

    def do(self, *argv, timeout=120, ok=True):
        """Runs a program inside and returns its Answer; fails the test when it fails and `ok` is asked for."""
        answer = self.machine.run(list(argv), timeout)
        assert answer.ok or not ok, "%s\n%s%s" % (answer.complaint(), answer.out, answer.err)
        return answer

    def show(self, unit, name):
        """One property of a unit, as text."""
        return self.do("systemctl", "show", unit, "--property=" + name, timeout=30).out.strip().partition("=")[2]

    def pid(self, unit=GATEWAY):
        return int(self.show(unit, "MainPID"))

    def kill(self, unit, signal="KILL"):
        """Kills the unit's main process; its PID."""
        pid = self.pid(unit)
        assert pid, unit + " is not running"
        self.do("kill", "-" + signal, str(pid))
        return pid

    def status(self):
        """The HTTP status of the gateway's /health, 0 when it does not answer."""
        return int(self.do("python3", "-IS", "-c", ASK, timeout=30).out)

    def is_healthy(self):
        return self.show(GATEWAY, "ActiveState") == "active" and self.status() == 200

    def wait(self, condition, what, timeout=90):
        """Waits for `condition` (a function) and returns the seconds that it took."""
        started = time.monotonic()
        try:
            self.machine.wait_for(condition, timeout, what, pause=0.2)
        except Exception:
            print(self.do("systemctl", "--no-pager", "status", GATEWAY, OLLAMA, REDIS, RECOVERY, ok=False).out)
            print("\n".join(self.journal()[-60:]))
            raise
        return time.monotonic() - started

    def wait_healthy(self, not_pid=0, timeout=90):
        """Waits until the gateway answers from a main process other than `not_pid`; the seconds that it took."""
        return self.wait(lambda: self.pid() not in (0, not_pid) and self.is_healthy(), "a healthy gateway", timeout)

    def wait_state(self, unit, *states, timeout=90):
        return self.wait(lambda: self.show(unit, "ActiveState") in states, "%s to be %s" % (unit, "/".join(states)),
                         timeout=timeout)

    def age(self, unit):
        """Seconds since the unit became active."""
        uptime = float(self.read("/proc/uptime").split()[0])
        return uptime - int(self.show(unit, "ActiveEnterTimestampMonotonic")) / 1e6

    def restart_gap(self):
        """Seconds that systemd let pass between the end of the gateway's last main process and this one's start."""
        started = int(self.show(GATEWAY, "ExecMainStartTimestampMonotonic"))
        entries = self.entries("UNIT=" + GATEWAY, "MESSAGE_ID=98e322203f7a4ed290d09fe03c09fe15")     # process exited
        ended = max(int(entry["__MONOTONIC_TIMESTAMP"]) for entry in entries
                    if int(entry["__MONOTONIC_TIMESTAMP"]) < started)
        return (started - ended) / 1e6

    def cursor(self):
        """A point in the journal; what `journal` and `entries` give can start after it."""
        self.do("journalctl", "--sync", timeout=30)
        return self.do("journalctl", "--show-cursor", "-n1", "-o", "cat").out.rpartition("-- cursor: ")[2].strip()

    def entries(self, *words, since=""):
        """Journal entries as dicts, those that match each of `words` ("FIELD=value"). With `since` that is seen here:
        up to 252, journalctl skips the first entry that matches after a cursor whose own entry does not."""
        self.do("journalctl", "--sync", timeout=30)
        argv = ["--after-cursor=" + since] if since else list(words)
        answer = self.machine.run(["journalctl", "-o", "json", "--all"] + argv, 60, cap=1 << 26)
        wanted = {tuple(word.split("=", 1)) for word in words}
        return [entry for entry in map(json.loads, answer.out.splitlines()) if wanted <= set(
            (name, value) for name, value in entry.items() if isinstance(value, str))]

    def journal(self, *words, since=""):
        """Journal lines as people read them."""
        after = ["--after-cursor=" + since] if since else []
        return self.machine.run(["journalctl", "--no-pager", "-o", "short-monotonic"] + after + list(words), 60,
                                cap=1 << 24).out.splitlines()

    def mood(self, word):
        """What /health answers from now on: ok, error, slow or hang."""
        self.write(MOOD, word + "\n")

    def note(self, what, seconds):
        """Puts a duration in the table that is printed at the end."""
        self.seconds.append((what, seconds))

    def manager(self, *words, timeout=120, ok=True):
        return self.do(MANAGER, *words, timeout=timeout, ok=ok)

    def handler(self, *words, timeout=300, ok=False):
        return self.do(HANDLER, *words, timeout=timeout, ok=ok)

    def files(self):
        """What has been written to the machine's disk: {(path, mode, uid, gid, link)} of all in the overlay's
        upper layers that the layer below does not hold alike. Logs, temporary and other services' state left out."""
        layers, found = os.path.join(self.machine.directory, "layers"), set()
        for name in os.listdir(layers):
            upper = os.path.join(layers, name)
            for top, directories, names in os.walk(upper) if name.endswith("-upper") else ():
                for place in (os.path.join(top, name) for name in directories + names):
                    path, entry = place[len(upper):], _entry(place)
                    if not path.startswith(VOLATILE) and entry != _entry(self.machine.lower.rstrip("/") + path):
                        found.add((path,) + entry)
        return found


def _entry(place):
    """What matters of a file; an overlay's mark for a deleted one is a character device."""
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return ()
    link = os.readlink(place) if os.path.islink(place) else ""
    return (oct(status.st_mode), status.st_uid, status.st_gid, link)


def furnish(machine):
    """Before the machine boots: ollama.service and its stand-in, the application and uvicorn, a settings file."""
    standin = os.path.join(TREE, "lib", "citadel", "rehearsal", "standins.py")
    with open(standin) as file:
        machine.write("/usr/local/bin/ollama", "#!/usr/bin/python3 -IS\n" + file.read(), 0o755)
    machine.write("/usr/lib/sysusers.d/test-ollama.conf", "u ollama - -\n")
    machine.write("/etc/systemd/system/" + OLLAMA, OLLAMA_UNIT)
    machine.write("/opt/citadel/config/production.yaml", PRODUCTION)
    machine.write("/usr/local/bin/test-uvicorn", "#!/opt/citadel/venv/bin/python3\n"
                  "import sys\nfrom uvicorn.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n",
                  0o755)


def install_gateway(machine):
    """In the running machine: the gateway's venv, as `python3 -m venv` and pip would make it."""
    minor = roots.python_minor(machine.root)
    assert machine.run(["python3", "-m", "venv", "--without-pip", "/opt/citadel/venv"], 60).ok
    site = machine.path("/opt/citadel/venv/lib/python3.%d/site-packages" % minor)
    for source in (provision.uvicorn_for(minor), os.path.join(HERE, "gateway")):
        for name in os.listdir(source):
            if name not in ("bin", "__pycache__"):
                place = os.path.join(source, name)
                (shutil.copytree if os.path.isdir(place) else shutil.copy)(place, os.path.join(site, name))
    os.rename(machine.path("/usr/local/bin/test-uvicorn"), machine.path("/opt/citadel/venv/bin/uvicorn"))
    for words in (["chmod", "-R", "go+rX", "/opt/citadel/venv"],
                  ["python3", "-m", "compileall", "-q", site[site.index("/opt"):]],
                  ["systemd-sysusers"], ["systemctl", "daemon-reload"],
                  ["systemctl", "enable", "--now", OLLAMA]):
        answer = machine.run(words, 120)
        assert answer.ok, answer.complaint()


# The distribution's own housekeeping: it would run, and write, when the clock of the day the tests run on strikes 6.
HOUSEKEEPING = ("/etc/systemd/system/timers.target.wants", "/etc/cron.daily")


class Bare(Machine):
    """A machine without the distribution's HOUSEKEEPING, and without anything of a Citadel that the root it copies may
    hold (Machine itself hides that one's state behind a mount, which an uninstallation could not remove)."""

    def __enter__(self):
        super().__enter__()
        for path in ("/var/lib/citadel-recovery", "/opt/citadel/logs", "/opt/citadel"):
            place = self.path(path)
            if os.path.ismount(place):
                run(["umount", place], 10)
            shutil.rmtree(place, ignore_errors=True)
        for path in HOUSEKEEPING:
            shutil.rmtree(self.path(path), ignore_errors=True)
        os.makedirs(self.path("/etc/cron.daily"))  # cron complains without it; an empty .wants goes with its last unit
        return self


def machine_of(name, suffix=""):
    """A machine on the root `name`, not booted. This host's own services stay out of a copy of it."""
    return Bare(roots.directory(name, provision.CACHE), "citadel-" + (name.strip("/") or "host") + suffix,
                   target=TARGET if name == "/" else "multi-user.target", binds={CHECKOUT: TREE})


def install(machine, *words):
    """install.py as shipped, from a read-only checkout; its Answer."""
    return machine.run(["python3", CHECKOUT + "/install.py"] + list(words), 180)
