"""Who is compared: Citadel as install.py installs it, the unit as first asked for alone, and that unit with Monit."""

import os
import subprocess
import time

from host import GATEWAY, MANAGER, RECOVERY, TREE, install
from injections import CONF, UNIT_FILE

from citadel.record.notes import OPEN
from citadel.rehearsal.leader import entry_command
from survival import monit
from survival.judge import Call, is_good, told
from survival.observer import PAGER

HERE = os.path.dirname(os.path.abspath(__file__))
START_TIMEOUT = 15              # seconds until a start is over, for Citadel: 8 workers on a busy host take 10
CHECK_EACH = 10                 # seconds between two health checks, of Citadel and of Monit
FIRING = "b0f1a5865abe4a3f816dad0c3a64c21c"         # MESSAGE_ID of an alert
STATE = "/var/lib/citadel-recovery"
ALARM = "citadel-recovery-alarm.service"
CLOSED = 40                     # seconds after a recovery in which the incident must be over,
QUIET = 15                      # and in which, at least, nobody may be told any more: a health check, and its pass

PAGE = """\
#!/usr/bin/python3 -IS
import _socket, sys
text = sys.stdin.buffer.read()
pager = _socket.socket()
pager.settimeout(5)
pager.connect(("127.0.0.1", %d))
pager.sendall(text)
pager.close()
""" % PAGER

# What is shortened, so that a row need not take minutes; said in the table's head.
SETTINGS = """\
[service citadel-gateway.service]
start_timeout = {0}s
[dependency ollama]
start_timeout = {0}s
[dependency redis]
start_timeout = {0}s
[recovery]
verify_timeout = 30s
backoff = 1min
[hook]
command = /usr/local/sbin/page
""".format(START_TIMEOUT)


class Contestant:
    """What the engine needs of each; `watched`: whether anybody looks after the service at all."""

    name, title, watched = "", "", True

    def furnish(self, machine, root):
        """Before the machine boots."""

    def install(self, world):
        """In the booted machine, whose venv is there."""

    def pause(self, world):
        """Keeps its hands off until `resume`."""

    def resume(self, world):
        """Looks after the service from now on, with nothing on record."""

    def forget(self, world):
        """Paused: forgets all that was."""

    def calls(self, world):
        """Alerts that did not come by pager or mail."""
        return ()

    def maintenance(self, world):
        """What an operator types before work on the gateway."""
        raise NotImplementedError(self.name)

    def kindly(self, rule):
        """The row's rule, as this contestant is to be judged by it."""
        return rule

    def beat(self, world):
        """Called a few times a second while it looks after the service."""

    def aftermath(self, world, calls):
        """After a recovery: what is still wrong, in a sentence, or "". `calls` alerts were sent so far."""
        return ""


class Plain(Contestant):
    name, title, watched = "plain", "the unit as first asked for, alone", False

    def furnish(self, machine, root):
        with open(os.path.join(HERE, "plain.service")) as file:
            machine.write(UNIT_FILE, file.read())
        for path in ("sysusers.d/citadel.conf", "tmpfiles.d/citadel.conf"):
            with open(os.path.join(TREE, "units", path)) as file:
                machine.write("/usr/lib/" + path, file.read())

    def install(self, world):
        world.do("systemd-sysusers")
        world.do("systemd-tmpfiles", "--create", "citadel.conf", ok=False)
        world.do("systemctl", "daemon-reload")
        world.do("systemctl", "enable", "--now", GATEWAY)


class Monit(Plain):
    name, title, watched = "monit", "the same unit with Monit", True

    UNIT = """\
[Unit]
Description=Monit
After=network-online.target

[Service]
ExecStart=/usr/local/bin/monit -I -c /etc/monitrc
Restart=on-failure
KillMode=process

[Install]
WantedBy=multi-user.target
"""

    DISK_BELOW = """\
#!/bin/sh
# disk-below PERCENT PATH: whether less than that is used of its file system, in bytes and in inodes.
for used in $(df --output=pcent,ipcent "$2" | tail -n 1 | tr -d %-); do
    test "$used" -le "$1" || { echo "$2: $used %"; exit 1; }
done
"""

    def furnish(self, machine, root):
        super().furnish(machine, root)
        monit.put_into(machine, root)
        machine.write("/usr/local/bin/disk-below", self.DISK_BELOW, 0o755)
        with open(os.path.join(HERE, "monitrc")) as file:
            machine.write("/etc/monitrc", file.read(), 0o600)
        machine.write("/etc/systemd/system/monit.service", self.UNIT)

    def install(self, world):
        super().install(world)
        world.do("mkdir", "-p", "/var/lib/monit/events")
        world.do("monit", "-t", "-c", "/etc/monitrc")

    def pause(self, world):
        world.do("systemctl", "stop", "monit.service", ok=False)

    def forget(self, world):
        world.do("sh", "-c", "rm -rf /var/lib/monit/state /var/lib/monit/events/*")

    def resume(self, world):
        world.do("systemctl", "start", "monit.service")

    def kindly(self, rule):
        """Its mails tell of each event, so that none is sent for nothing, nor one too many; and any words will do
        for the cause."""
        return rule._replace(may_call=True, causes=(), says="", once=False)

    def maintenance(self, world):
        world.wait(lambda: world.do("test", "-S", "/run/monit.sock", ok=False).ok, "Monit to take a command")
        world.do("monit", "-c", "/etc/monitrc", "unmonitor", "gateway")


class Citadel(Contestant):
    name, title = "citadel", "Citadel"
    _next, _line = 0.0, ""

    def __init__(self):
        self._checks = []

    def furnish(self, machine, root):
        machine.write("/usr/local/sbin/page", PAGE, 0o755)

    def install(self, world):
        answer = install(world.machine, "--schedule", "cron")
        if not answer.ok:
            raise AssertionError(answer.out + answer.err)
        world.write(CONF, SETTINGS)
        lines = world.read("/etc/cron.d/citadel").splitlines()
        self._line = next(line for line in lines if line.startswith("* * * * * root ")).split("root ", 1)[1]

    def pause(self, world):
        """Neither cron nor the pass that OnFailure= would start."""
        self._next = float("inf")
        world.do("systemctl", "stop", "cron.service", ok=False)
        self._end_checks()
        world.do("systemctl", "mask", "--runtime", "--now", RECOVERY, ok=False)
        world.do("systemctl", "stop", ALARM, ok=False)
        world.do("pkill", "-KILL", "-f", "citadel-recovery-handler", ok=False)

    def forget(self, world):
        world.do("sh", "-c", "cd %s && rm -rf state.json* incidents spool stops maintenance.json lock check-said; "
                             "rm -rf /run/citadel-recovery/*" % STATE, ok=False)

    def resume(self, world):
        world.do("systemctl", "unmask", "--runtime", RECOVERY, ok=False)
        world.do("systemctl", "start", "cron.service", ok=False)
        self._next = time.monotonic() + CHECK_EACH

    def beat(self, world):
        """Called many times a second: what is cron for us. The line of /etc/cron.d/citadel, as cron would run it, with
        a shell of its own, whether or not the one before has ended, and whatever PID 1 does."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHECK_EACH
        self.check(world)

    def check(self, world):
        """Begins one more health check, whether or not the one before has ended."""
        self._checks = [check for check in self._checks if check.poll() is None]
        self._checks.append(subprocess.Popen(
            entry_command(world.machine.leader) + ["/bin/sh", "-c", self._line], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}))

    def _end_checks(self):
        for check in self._checks:
            if check.poll() is None:
                os.killpg(check.pid, 9)
            check.wait()
        self._checks = []

    def calls(self, world):
        """What the journal of this row holds: alerts, and the alarm that a pass itself has failed."""
        def at(entry):
            return max(0.0, int(entry["__REALTIME_TIMESTAMP"]) / 1e6 - world.observer.began_at)

        found = [Call(at(entry), "journal", entry.get("CITADEL_INCIDENT", ""), entry.get("CITADEL_CAUSE", ""),
                      str(entry.get("MESSAGE", ""))) for entry in world.since("MESSAGE_ID=" + FIRING)]
        return found + [Call(at(entry), "alarm", "alarm", "alarm", str(entry.get("MESSAGE", "")))
                        for entry in world.since("-t", "citadel", "-p", "crit")]

    def aftermath(self, world, calls):
        """All is still well, no incident is open any more, and nobody else was told."""
        now = began = time.monotonic()
        while now - began < QUIET or (now - began < CLOSED and self._unfinished(world)):
            self.beat(world)
            time.sleep(0.3)
            now = time.monotonic()
        if world.observer.broken:
            raise AssertionError(world.observer.broken)
        heard = told(world.observer.seen()[1] + tuple(self.calls(world)))
        if len(heard) > calls:
            return "an operator was told once more after the recovery (%s): %s" % (
                heard[-1].cause or "no cause", heard[-1].text[:160])
        return self._unfinished(world) and "%.0f s after the recovery, %s" % (now - began, self._unfinished(world))

    def _unfinished(self, world):
        """What is not over yet, in words, or ""."""
        samples = world.observer.seen()[0]
        if not samples or not is_good(samples[-1]):
            return "the gateway is unhealthy again"
        incidents = world.do("cat", "%s/%s" % (STATE, OPEN), ok=False).out.split()
        return "incident %s is still open" % incidents[0] if incidents else ""

    def maintenance(self, world):
        world.do(MANAGER, "maintenance", "on", "--for", "1h", "--reason", "a new GPU")


CONTESTANTS = {one.name: one for one in (Citadel, Plain, Monit)}
