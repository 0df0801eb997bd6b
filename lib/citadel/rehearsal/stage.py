"""The stage of a rehearsal: a booted machine with ollama, redis and the gateway, and what can be done there. The host's
own units are used where the copy has them; a stand-in takes the place of each that is missing.
"""

import json
import os
import sys
import time

from citadel.core.errors import CitadelError
from citadel.core.text import printable
from citadel.installer.preflight import CANDIDATES
from citadel.observe import systemctl

GATEWAY = "citadel-gateway.service"
RECOVERY = "citadel-recovery.service"
OLLAMA = "ollama.service"
OTHER = "rehearsal-other.service"     # another process, on the gateway's port
REDIS = ("redis-server.service", "redis.service")
ASK_HEALTH = """from http.client import HTTPConnection
gateway = HTTPConnection("127.0.0.1", 8002, timeout=3)
gateway.request("GET", "/health")
print(gateway.getresponse().status)
"""
UVICORN = "/opt/citadel/venv/bin/uvicorn"
MANAGER = "/opt/citadel/bin/citadel-restart-manager"
HANDLER = "/opt/citadel/bin/citadel-recovery-handler"
SETTINGS = "/opt/citadel/config/production.yaml"
INCIDENTS = "/var/lib/citadel-recovery/incidents"
CONF = "/opt/citadel/etc/citadel.conf"
STANDIN_NAMES = ("ollama", "redis", "gateway")
SOURCE = "/run/citadel-source"
STANDINS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "standins.py")
# Like the units that Ollama's own installer and Debian's redis-server package write.
STANDIN_UNIT = """[Unit]
Description=@NAME@ (a rehearsal's stand-in)
After=network-online.target

[Service]
ExecStart=/usr/local/lib/citadel-rehearsal/@NAME@
DynamicUser=yes
Restart=always
RestartSec=3

[Install]
WantedBy=multi-user.target
"""


class Stage:
    """What a fault can do to the machine and ask of it."""

    def __init__(self, machine):
        self.machine, self.standins, self.redis = machine, (), REDIS[0]
        self.said = {}              # what a recovery pass last said of the gateway: verdict, cause and because
        self.incidents_before = {}
        self._conf_before = ""

    def furnish(self):
        """Puts a stand-in in the place of each service that the host does not have; `standins` names them."""
        units = systemctl.units((OLLAMA,) + REDIS, run=self.machine.run)
        there = [name for name, unit in units.items() if unit.load == "loaded"]
        self.redis = next((name for name in REDIS if name in there), REDIS[0])
        with open(STANDINS, encoding="utf-8") as file:
            program = "#!%s -IS\n%s" % (self.python(), file.read())
        for name, unit in (("ollama", OLLAMA), ("redis", self.redis)):
            if unit not in there:
                self.machine.write("/usr/local/lib/citadel-rehearsal/" + name, program, 0o755)
                self.machine.write("/etc/systemd/system/" + unit, STANDIN_UNIT.replace("@NAME@", name))
                self.standins += (name,)
        if not os.path.exists(self.machine.path(UVICORN)):
            self.machine.write(UVICORN, program, 0o755)
            self.standins += ("gateway",)
        self.inside(["systemctl", "daemon-reload"], 30)

    def python(self):
        """The machine's own Python, which any of its users may run."""
        return next((path for path in CANDIDATES if os.path.exists(self.machine.path(path))),
                    os.path.realpath(sys.executable))

    def inside(self, argv, timeout):
        """Runs a program in the machine that must succeed; returns its answer."""
        answer = self.machine.run(argv, timeout)
        if not answer.ok:
            raise CitadelError("%s: %s" % (" ".join(argv), answer.complaint()))
        return answer

    def switch(self, standin, mode):
        """Switches a stand-in; mode "" is healthy."""
        self.machine.write("/run/citadel-rehearsal/" + standin, mode + "\n")

    def drop_in(self, unit, text):
        """Writes a drop-in of a unit; an empty text removes it."""
        path = "/run/systemd/system/%s.d/rehearsal.conf" % unit
        self.machine.write(path, text)
        if not text:
            os.unlink(self.machine.path(path))
        self.inside(["systemctl", "daemon-reload"], 30)

    def main_pid(self, unit):
        pid = self.unit(unit).main_pid
        if not pid:
            raise CitadelError("%s has no main process" % unit)
        return pid

    def kill_main(self, unit):
        """SIGKILL to the main process (by `kill`: in a container `systemctl kill` sometimes answers EIO)."""
        self.inside(["kill", "-KILL", str(self.main_pid(unit))], 10)

    def processes(self, unit):
        """The PIDs of a unit's cgroup, as the machine numbers them."""
        group = self.unit(unit).control_group
        listing = self.machine.run(["cat", "/sys/fs/cgroup%s/cgroup.procs" % group], 10).out if group else ""
        return [pid for pid in listing.split() if pid != "0"]

    def recover(self, wait=True):
        """Starts a recovery pass as cron or OnFailure= would, if none is running, and with `wait` waits for its end."""
        self.machine.run(["systemctl", "start"] + ([] if wait else ["--no-block"]) + ["--", RECOVERY], 180)

    def listen(self):
        """Keeps as `said` what a recovery pass would say now, without letting it act; asks until it names a cause, for
        up to 3 seconds, because a service that is just stopping has none yet."""
        end = time.monotonic() + 3
        while True:
            answer = self.machine.run([HANDLER, "--dry-run", "--json"], 30)
            try:
                self.said = json.loads(answer.out)["services"][0]
            except (ValueError, LookupError):
                self.said = {"verdict": "unknown", "cause": "", "because": answer.complaint()}
            if self.said["cause"] or time.monotonic() > end:
                return
            time.sleep(0.1)

    def recall(self):
        """Keeps as `said` the first cause that a pass recorded since `make_ready`; if it recorded none, listens."""
        now = self._incidents()
        new = sorted(name for name in now if now[name] != self.incidents_before.get(name))
        if not new:
            return self.listen()
        newest = now[new[-1]]
        known = len(self.incidents_before.get(new[-1], {}).get("causes", ()))
        self.said = dict((newest["causes"][known:] or newest["causes"][-1:])[0], verdict=newest["outcome"])

    def _incidents(self):
        """The incidents on record, by file name."""
        directory = self.machine.path(INCIDENTS)
        names = os.listdir(directory) if os.path.isdir(directory) else ()
        return {name: json.loads(self.machine.read(INCIDENTS + "/" + name)) for name in names if name.endswith(".json")}

    def reset(self):
        """Clears systemd's counters and Citadel's attempts."""
        self.inside([MANAGER, "reset"], 30)

    def make_ready(self):
        """A healthy gateway with cleared counters; returns its Unit. After a repair, a recovery pass stays a while."""
        self.machine.wait_for(lambda: self.unit(RECOVERY).active in ("inactive", "failed"), 180,
                              "the recovery pass to end", pause=0.1)
        self.reset()
        self.incidents_before = self._incidents()
        if not self.healthy():
            self.machine.run(["systemctl", "start", "--", GATEWAY], 150)
        return self.wait_until_healthy(30)

    def set_option(self, section, line):
        """Adds a line to a section of citadel.conf, until `repair`."""
        self._conf_before = self._conf_before or self.machine.read(CONF)
        if section not in self._conf_before:
            raise CitadelError("%s has no %s" % (CONF, section))
        self.machine.write(CONF, self._conf_before.replace(section, section + "\n" + line, 1))

    def repair(self):
        """Undoes every fault."""
        if self._conf_before:
            self.machine.write(CONF, self._conf_before)
            self._conf_before = ""
        for standin in STANDIN_NAMES:
            self.switch(standin, "")
        self.drop_in(OLLAMA, "")
        self.machine.run(["systemctl", "stop", "--", OTHER], 30)
        for unit in (GATEWAY, OLLAMA):
            self.machine.run(["kill", "-CONT"] + self.processes(unit), 10)
        if os.path.exists(self.machine.path(SETTINGS)):
            os.unlink(self.machine.path(SETTINGS))

    def unit(self, name=GATEWAY):
        return systemctl.units([name], run=self.machine.run)[name]

    def answers(self):
        """The HTTP status that the gateway's health page answers, 0 for none."""
        answer = self.machine.run([self.python(), "-IS", "-c", ASK_HEALTH], 10)
        return int(answer.out) if answer.ok else 0

    def healthy(self, unlike=None):
        """The gateway's Unit if it is active (with another InvocationID than `unlike`) and answers 200, else None."""
        unit = self.unit()
        well = unit.active == "active" and unit.invocation != unlike and self.answers() == 200
        return unit if well else None

    def evidence(self):
        """The newest journal lines of these units, for a step that failed."""
        units = [word for name in (GATEWAY, RECOVERY, OLLAMA, self.redis) for word in ("-u", name)]
        answer = self.machine.run(["journalctl", "--no-pager", "-q", "-o", "short", "-n", "8"] + units, 10)
        return [printable(line) for line in answer.out.splitlines()]

    def wait_until_healthy(self, timeout, unlike=None):
        """Waits for `healthy`; CitadelError says what the gateway was like instead."""
        try:
            return self.machine.wait_for(lambda: self.healthy(unlike), timeout, "the gateway", pause=0.1)
        except CitadelError:
            unit = self.unit()
            raise CitadelError("not back after %.0f s: %s/%s, result %s, HTTP %s" % (
                timeout, unit.active, unit.sub, unit.result, self.answers() or "no answer"))

    def wait_for_state(self, states, timeout):
        """Waits until the gateway's ActiveState or SubState is one of `states`."""
        def reached():
            unit = self.unit()
            return {unit.active, unit.sub} & set(states)
        self.machine.wait_for(reached, timeout, "%s to be %s" % (GATEWAY, " or ".join(states)), pause=0.1)
