"""A booted machine with one contestant, healthy at the start of each row."""

import json
import os
import signal
import subprocess
import time

from host import GATEWAY, MOOD, OLLAMA, PRODUCTION, REDIS, Host, furnish, install_gateway, machine_of
from injections import CONF, LOGS, UVICORN

from citadel.core.errors import CitadelError
from citadel.rehearsal.leader import entry_command
from survival.contestants import SETTINGS, START_TIMEOUT
from survival.judge import Run
from survival.observer import Observer

WELL = 6.5                      # seconds for which all must have been well before a row begins
DROP_INS = "/run/systemd/system/%s.d"
JOURNALD = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
            "systemd-journald-audit.socket")


class World(Host):
    """Host's words, and those of the rows."""

    def __init__(self, machine, contestant):
        super().__init__(machine, [])
        self.contestant, self.observer, self.began = contestant, None, 0.0
        self.notes = {}         # what a row's injection leaves for its cure and its last look
        self.restart_due = self.broken_library = self.struck = False

    # --- what the rows say

    @property
    def is_citadel(self):
        return self.contestant.name == "citadel"

    def grown_up(self, unit):
        """Waits until the unit no longer counts as starting."""
        while self.age(unit) <= START_TIMEOUT + 0.5:
            time.sleep(START_TIMEOUT + 0.6 - self.age(unit))

    def set(self, section, line):
        """One more setting of Citadel's; nothing for the others."""
        if self.is_citadel:
            text = self.read(CONF) or SETTINGS
            self.write(CONF, text.replace("[%s]\n" % section, "[%s]\n%s\n" % (section, line), 1)
                       if "[%s]\n" % section in text else text + "[%s]\n%s\n" % (section, line))

    def strike(self, unit):
        """Kills the unit's main process, which is the first harm; its PID."""
        pid = self.pid(unit)
        self.harm_begins()
        self.kill(unit)
        return pid

    def harm_begins(self):
        """The row's seconds count from now, and not from the end of its injection."""
        self.struck = True
        self.observer.begin()

    def settled_run(self, unit):
        """The newest Run of a unit; None while it has a job, or is on its way up or down."""
        answer = self.do("systemctl", "show", unit, "--property=ActiveState,MainPID,InvocationID,Job", timeout=30)
        facts = dict(line.split("=", 1) for line in answer.out.splitlines() if "=" in line)
        if facts["ActiveState"] in ("activating", "deactivating") or facts.get("Job", "0") not in ("", "0"):
            return None
        return Run(int(facts["MainPID"]), facts["InvocationID"])

    def program(self, text):
        """Another program in uvicorn's place; `its_own_program` ends that."""
        self.restart_due = True     # one that runs from uvicorn.away could not replace a worker later
        self.do("sh", "-c", "test -e %s.away || mv %s %s.away" % (UVICORN, UVICORN, UVICORN))
        self.write(UVICORN, text, 0o755)

    def its_own_program(self):
        self.do("sh", "-c", "test ! -e %s.away || mv -f %s.away %s" % (UVICORN, UVICORN, UVICORN))

    def background(self, *argv):
        """Starts a program inside and does not wait for it."""
        return subprocess.Popen(entry_command(self.machine.leader) + list(argv), stdin=subprocess.DEVNULL, cwd="/",
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def since(self, *words):
        """Journal entries of this row; none where journald does not answer."""
        answer = self.machine.run(["journalctl", "-q", "-o", "json", "--all", "--since=@%d" % int(self.began)]
                                  + list(words), 20, cap=1 << 24)
        entries = []
        for line in answer.out.splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return [entry for entry in entries if int(entry["__REALTIME_TIMESTAMP"]) / 1e6 >= self.began]

    # --- between rows

    def reset(self):
        """Everything as it was, whatever the last row has left; CitadelError when that cannot be had."""
        self.wake_pid_1()
        self.contestant.pause(self)
        self.put_back()
        self.contestant.forget(self)
        for unit in (GATEWAY, OLLAMA, REDIS):
            self.do("systemctl", "unmask", unit, ok=False)
        self.do("systemctl", "daemon-reload", timeout=60)
        self.do("systemctl", "enable", GATEWAY, OLLAMA, ok=False)
        self.do("systemctl", "reset-failed", ok=False)
        if self.restart_due or not self.all_well():
            self.restart_due = False
            for unit in (GATEWAY, OLLAMA, REDIS):
                for pid in self.pids(unit):
                    self.do("kill", "-KILL", pid, ok=False)
            self.do("systemctl", "reset-failed", ok=False)
            self.do("systemctl", "restart", REDIS, OLLAMA, ok=False)
            self.do("systemctl", "restart", GATEWAY, ok=False)
        self.machine.wait_for(self.all_well, 60, "a healthy gateway between two rows", pause=0.5)

    def wake_pid_1(self):
        os.kill(self.machine.leader, signal.SIGCONT)

    def wait_beating(self, condition, what, timeout):
        """Waits like `wait`, while the contestant looks after the service; what the condition gave."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.contestant.beat(self)
            held = condition()
            if held:
                return held
            time.sleep(0.02)
        raise CitadelError("waited %.0f s for %s" % (timeout, what))

    def put_back(self):
        """Undoes whatever any row does. Each line is harmless where there is nothing to undo."""
        self.do("sh", "-c", """
            systemctl start %s 2>/dev/null
            rm -rf /run/systemd/system/*.d/fault.conf %s /run/citadel-rehearsal/*
            for unit in %s %s %s; do
                echo 0 >/sys/fs/cgroup/system.slice/$unit/cgroup.freeze
                for pid in $(cat /sys/fs/cgroup/system.slice/$unit/cgroup.procs); do kill -CONT $pid; done
            done
            systemctl thaw %s
            systemctl stop 'other-process*.service' 'fault*.service' 'fault*.timer'
            systemctl start dbus.socket dbus.service
            rm -f /usr/local/sbin/systemctl /run/fault-hold-*
            grep -q '^journal /var/log/journal tmpfs' /proc/mounts && {
                journalctl --relinquish-var; umount -l /var/log/journal
                systemctl restart systemd-journald.service; journalctl --flush; }
            for place in 'logs %s' 'state /var/lib/citadel-recovery'; do
                grep -q "^$place tmpfs" /proc/mounts && umount -l ${place#* }
            done
            rm -rf /run/citadel/gateway.pid
            test -e /root/ollama.service && mv /root/ollama.service /etc/systemd/system/
            sed -i /key-load-delay/d /etc/redis/redis.conf
            dump=/var/lib/redis/dump.rdb; test -d $dump && rm -rf $dump && redis-cli bgsave
            redis-cli config set save '' ; redis-cli config set key-load-delay 0
            true""" % (" ".join(JOURNALD), MOOD, GATEWAY, OLLAMA, REDIS, GATEWAY, LOGS), ok=False, timeout=60)
        self.its_own_program()
        if self.broken_library:
            self.broken_library = False
            self.contestant.install(self)
        self.write("/opt/citadel/config/production.yaml", PRODUCTION)
        if self.is_citadel:
            self.write(CONF, SETTINGS)
            self.write("/usr/local/sbin/page", self.machine_page, 0o755)

    def pids(self, unit):
        place = "/proc/%d/root/sys/fs/cgroup/system.slice/%s/cgroup.procs" % (self.machine.leader, unit)
        answer = self.do("cat", place.partition("/root")[2], ok=False)
        return answer.out.split()

    def all_well(self):
        """Gateway, Ollama and redis active and answering; the gateway for long enough to count. What is seen from
        outside first: it costs nothing."""
        if not self.observer.sees_all_well():
            return False
        states = self.do("systemctl", "is-active", GATEWAY, OLLAMA, REDIS, ok=False).out.split()
        return states == ["active"] * 3 and self.age(GATEWAY) > WELL and self.age(OLLAMA) > 3

    def evidence(self):
        """What an operator would look at where a row has failed."""
        units = self.do("systemctl", "--no-pager", "status", "-n0", GATEWAY, OLLAMA, REDIS, ok=False, timeout=100).out
        return units + "\n".join(self.journal("--since=@%d" % int(self.began - 1))[-3000:])


class Stage:
    """Boots a world for one root and contestant, and boots another when one is beyond repair."""

    def __init__(self, root, contestant, say):
        self.root, self.contestant, self.say = root, contestant, say
        self.world, self._machine, self._count = None, None, 0

    def ready(self):
        """A healthy world, between rows; CitadelError when there is none to be had."""
        if self.world is not None:
            try:
                self.world.reset()
                return self.world
            except (CitadelError, AssertionError, ValueError) as error:
                self.say("booting anew: %s" % str(error)[:200])
                self.close()
        self._boot()
        self.world.reset()
        return self.world

    def _boot(self):
        self._count += 1
        self._machine = machine_of(self.root, "-%s-%d" % (self.contestant.name, self._count))
        self._machine.__enter__()
        furnish(self._machine)
        self.contestant.furnish(self._machine, self.root)
        self._machine.boot(180)
        install_gateway(self._machine)
        self.world = World(self._machine, self.contestant)
        self.world.machine_page = self._machine.read("/usr/local/sbin/page")
        self.contestant.install(self.world)
        self.world.observer = Observer(self._machine.leader)

    def close(self):
        if self.world is not None and self.world.observer:
            self.world.observer.end()
        if self._machine is not None:
            self._machine.stop()
        self.world = self._machine = None


def stop_all_in(world, unit):
    """SIGSTOP to all processes of a unit."""
    world.grown_up(unit)
    world.do("kill", "-STOP", *world.pids(unit))
