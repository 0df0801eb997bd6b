"""How each row of the table breaks its machine, and what the person does who is called: functions of a world.World."""

import os
import signal
import time

from host import CHECKOUT, GATEWAY, HANDLER, OLLAMA, RECOVERY, REDIS
from injections import (CONF, LOGS, QUICK, UVICORN, drop_in, fill_with_empty_logs, fill_with_logs, no_drop_in,
                        ollama_can_run, ollama_found, own_disk, redis_loading)
from survival.world import stop_all_in

STATE = "/var/lib/citadel-recovery"
ALREADY_RUNS = """#!/bin/sh
if [ -e /run/citadel/gateway.pid ]; then echo 'gateway.pid exists: another gateway runs' >&2; exit 1; fi
exec %s.away "$@"
""" % UVICORN
NEEDS_ROOM = """#!/bin/sh
if ! head -c 65536 /dev/zero; then echo 'cannot write my log: No space left on device' >&2; exit 1; fi
exec %s.away "$@"
""" % UVICORN
DEAF = """#!/usr/bin/python3 -IS
import signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 8002))
listener.listen(100)
time.sleep(10 ** 6)
"""
CRASHES = "#!/bin/sh\necho 'cannot open the model store' >&2\nsleep 0.2\nexit 3\n"


# --- the gateway

def kill(unit, name="KILL"):
    return lambda world: world.kill(unit, name)


def kill_a_worker(world):
    main = world.pid()
    world.notes["main"] = main
    children = world.do("pgrep", "-P", str(main), "-f", "multiprocessing.spawn|uvicorn").out.split()
    world.do("kill", "-KILL", children[-1])


def main_is_the_same(world):
    return "" if world.pid() == world.notes["main"] else "the gateway's main process was replaced for one worker's sake"


def crashes_until(seconds):
    """The program crashes at its start for so long, and is then mended by nobody: it was an outage of its own."""
    return "#!/bin/sh\nif [ $(date +%%s) -lt %d ]; then\n" \
           "  echo 'cannot open the model store' >&2; sleep 0.2; exit 3; fi\n" \
           "exec %s.away \"$@\"\n" % (time.time() + seconds, UVICORN)


def crash_for(seconds, quick=False):
    def inject(world):
        world.program(crashes_until(seconds))
        if quick:
            drop_in(world, GATEWAY, QUICK)
        world.kill(GATEWAY)
    return inject


def crash_for_good(world):
    world.program(CRASHES)
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def program_mended(world):
    world.its_own_program()
    no_drop_in(world, GATEWAY)


def binary_missing(world):
    world.do("mv", UVICORN, UVICORN + ".away")
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def deaf(world):
    """A run that ignores SIGTERM and never answers; the next one will be well."""
    world.program(DEAF)
    world.do("systemctl", "restart", GATEWAY)
    world.wait(lambda: ":8002 " in world.do("ss", "-ltn").out, "a deaf gateway")
    world.its_own_program()
    world.grown_up(GATEWAY)


def restarts(count):
    def inject(world):
        for _ in range(count):
            world.do("systemctl", "restart", GATEWAY, ok=False)
    return inject


def freeze(world):
    world.grown_up(GATEWAY)
    if not world.do("systemctl", "freeze", GATEWAY, ok=False).ok:
        world.do("sh", "-c", "echo 1 >/sys/fs/cgroup/system.slice/%s/cgroup.freeze" % GATEWAY)


def stop_signal(unit):
    return lambda world: stop_all_in(world, unit)


# --- what it depends on

def ollama_killed_thrice(world):
    drop_in(world, OLLAMA, "[Service]\nRestartSec=1\n")
    for _ in range(3):
        pid = world.kill(OLLAMA)
        world.wait(lambda: world.pid(OLLAMA) not in (0, pid), "Ollama's next run")


def ollama_answers_nothing(world):
    """It accepts and never answers, in this run; the next one is well."""
    world.grown_up(OLLAMA)
    world.write("/run/citadel-rehearsal/ollama", "hang\n")
    world.do("systemd-run", "--unit=fault-ollama", "sh", "-c", "old=$(systemctl show -p MainPID --value %s); "
             "while kill -0 $old; do sleep 0.2; done; rm -f /run/citadel-rehearsal/ollama" % OLLAMA)


def ollama_down_for_good(world):
    world.write("/run/citadel-rehearsal/ollama", "crash\n")
    drop_in(world, OLLAMA, "[Service]\nRestartSec=0\n")
    world.kill(OLLAMA)


def ollama_crashes_on_and_on(world):
    world.write("/run/citadel-rehearsal/ollama", "crash\n")
    world.kill(OLLAMA)


def ollama_repaired(world):
    """What ADVICE says: repair the dependency; the gateway comes back by itself when it starts."""
    ollama_can_run(world)
    world.do("systemctl", "reset-failed", OLLAMA, ok=False)
    world.do("systemctl", "start", OLLAMA)


def ollama_stopped_and_started(world):
    world.do("systemctl", "stop", OLLAMA)
    time.sleep(2)
    world.do("systemctl", "start", OLLAMA)


def ollama_installed_again(world):
    ollama_found(world)
    world.do("systemctl", "start", OLLAMA)


def redis_loads(world):
    redis_loading(world)
    world.notes["redis"] = world.pid(REDIS)


def redis_was_left_alone(world):
    same = world.pid(REDIS) == world.notes["redis"]
    return "" if same else "redis was restarted while it was loading, which begins the loading anew"


def redis_can_save(world):
    world.do("sh", "-c", "rm -rf /var/lib/redis/dump.rdb; redis-cli bgsave")


def all_three_killed(world):
    pids = [str(world.pid(unit)) for unit in (GATEWAY, OLLAMA, REDIS)]
    world.do("kill", "-KILL", *pids)


# --- the operator

def operator(*words):
    return lambda world: world.do("systemctl", *words)


def stopped_during_a_restart(world):
    for _ in range(5):              # who looks after it may be quicker, and start it before RestartSec is over
        pid = world.kill(GATEWAY)
        world.wait(lambda: world.show(GATEWAY, "SubState").startswith("auto-restart") or world.pid() not in (0, pid),
                   "the wait for RestartSec")
        world.do("systemctl", "stop", GATEWAY)
        if world.pid() == 0:
            break


def stopped_then_ollama_crashes(world):
    world.do("systemctl", "stop", GATEWAY)
    time.sleep(2)
    pid = world.kill(OLLAMA)
    world.wait(lambda: world.pid(OLLAMA) not in (0, pid), "Ollama to be back")


def maintenance_then_stopped(world):
    world.grown_up(GATEWAY)
    world.contestant.maintenance(world)
    stop_all_in(world, GATEWAY)


# --- the host

def on_its_own_disk(options, program=""):
    """Prepares: the application log on a small file system, and the gateway running on it."""
    def prepare(world):
        world.restart_due = True
        own_disk(world, options)
        if program:
            world.program(program)
        world.do("systemctl", "start", GATEWAY)
        world.wait(world.all_well, "the gateway on its own disk")
    return prepare


def fill_logs(world):
    """Rotated logs fill the disk, and the gateway dies; it does not start without room for its log."""
    drop_in(world, GATEWAY, "[Service]\nRestartSec=1\n")
    fill_with_logs(world)
    world.kill(GATEWAY)


def use_up_inodes(world):
    """Empty rotated logs use up the inodes, the log itself is rotated away, and systemd cannot make a new one."""
    drop_in(world, GATEWAY, "[Service]\nRestartSec=1\n")
    world.do("mv", LOGS + "/api-gateway/service.log", LOGS + "/api-gateway/service.log.1")
    fill_with_empty_logs(world)
    world.kill(GATEWAY)


def state_disk(world):
    world.do("sh", "-c", "mount -t tmpfs -o mode=700,size=1m state %s; dd if=/dev/zero of=%s/filler bs=4k; true" % (
        STATE, STATE))
    stop_all_in(world, GATEWAY)


def journal_disk(world):
    world.do("sh", "-c", "mkdir -p /var/log/journal; mount -t tmpfs -o size=24m journal /var/log/journal; "
             "journalctl --flush; dd if=/dev/zero of=/var/log/journal/filler bs=64k; true", ok=False)
    stop_all_in(world, GATEWAY)


def read_only(world):
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)
    world.wait(lambda: world.do("mount", "-o", "remount,ro", LOGS, ok=False).ok, "the disk to be read-only")


def writable_again(world):
    world.do("mount", "-o", "remount,rw", LOGS)
    no_drop_in(world, GATEWAY)


def stranger_takes_the_port(world):
    world.kill(GATEWAY)
    world.do("systemd-run", "--unit=stranger", "python3", "-m", "http.server", "8002", "--bind", "127.0.0.1")
    world.wait(lambda: world.status() == 404, "the stranger")
    drop_in(world, GATEWAY, QUICK)


def stranger_leaves(world):
    world.do("systemctl", "stop", "stranger.service")
    no_drop_in(world, GATEWAY)


def stale_pid_file(world):
    """A gateway that does not start while its PID file is there, and one that a crash has left behind."""
    world.program(ALREADY_RUNS)
    drop_in(world, GATEWAY, QUICK)
    world.do("mkdir", "-p", "/run/citadel")
    world.write("/run/citadel/gateway.pid", "4194000\n")
    world.kill(GATEWAY)


def pid_file_of_a_stranger(world):
    world.do("systemd-run", "--unit=stranger", "sleep", "1000")
    world.notes["stranger"] = world.pid("stranger.service")
    world.do("mkdir", "-p", "/run/citadel")
    world.write("/run/citadel/gateway.pid", "%d\n" % world.notes["stranger"])
    stop_all_in(world, GATEWAY)


def stranger_lives(world):
    same = world.pid("stranger.service") == world.notes["stranger"]
    return "" if same else "the stranger whom the PID file named was killed"


def killed_for_memory(world):
    """systemd may not restart it, as after an OOM kill with OOMPolicy=stop; and memory is low by the settings."""
    world.set("memory", "min_available = 1000G")
    drop_in(world, GATEWAY, "[Service]\nRestart=no\n")
    world.kill(GATEWAY)


def settings_broken(world):
    text = world.read("/opt/citadel/config/production.yaml")
    world.write("/opt/citadel/config/production.yaml", text.replace("port: 8002", "port: 9002"))
    world.program("#!/bin/sh\necho 'production.yaml: port 9002 is not mine' >&2\nexit 3\n")
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def settings_mended(world):
    text = world.read("/opt/citadel/config/production.yaml")
    world.write("/opt/citadel/config/production.yaml", text.replace("port: 9002", "port: 8002"))
    program_mended(world)


def our_settings_broken(world):
    world.write(CONF, "[recovery]\nattempts = many\n")
    world.kill(GATEWAY)


def our_code_broken(world):
    """As after an upgrade that ran out of room. World.reset installs it again."""
    world.broken_library = True
    world.do("sh", "-c", "rm -rf /opt/citadel/lib/citadel/__pycache__; echo 'def (' >>/opt/citadel/lib/citadel/plan.py")
    world.kill(GATEWAY)


def journald_stopped(world):
    world.do("systemctl", "stop", "systemd-journald.socket", "systemd-journald-dev-log.socket",
             "systemd-journald-audit.socket", "systemd-journald.service", ok=False)
    stop_all_in(world, GATEWAY)


def dbus_dead(world):
    world.do("sh", "-c", "systemctl stop dbus.socket dbus.service; pkill -KILL -x dbus-daemon; true")
    stop_all_in(world, GATEWAY)


def pid_1_stopped(world):
    """From outside: it takes no signal from inside that it does not expect (kill(2))."""
    os.kill(world.machine.leader, signal.SIGSTOP)


def pid_1_continues(world):
    world.wake_pid_1()


STEPPED = """\
import sys
sys.path.insert(0, "/opt/citadel/lib")
from citadel import clock
from citadel.incidents import Store
ahead = lambda: clock.now()._replace(wall=clock.now().wall + 25 * 365 * 86400)
store = Store(now=ahead)
with store.lock("manual"):
    store.count_attempt("citadel-gateway.service", "gateway.crashed: start", 1)
    store.mark_escalated("citadel-gateway.service")
    store.mark_pass("citadel-gateway.service", "")
"""


def clock_stepped(world):
    world.do("python3", "-IS", "-B", "-c", STEPPED)
    stop_all_in(world, GATEWAY)


# --- ourselves

def lasting_fault(world):
    """Down, and systemd may not restart it: whatever happens next is the recovery pass's doing. The seconds count from
    here, whatever else the row does."""
    drop_in(world, GATEWAY, "[Service]\nRestart=no\n")
    world.strike(GATEWAY)


def handlers(world):
    return world.do("pgrep", "-f", "citadel-recovery-handler($| --trigger (check|on-failure|manual))",
                    ok=False).out.split()


def handler_killed(count):
    """SIGKILL to each of the first `count` passes, each a step further than the one before."""
    def inject(world):
        lasting_fault(world)
        for step in range(count):
            world.wait_beating(lambda: handlers(world) or world.is_healthy(), "a pass", 60)
            pids, since = handlers(world), time.time()
            world.wait_beating(lambda: not handlers(world) or len(_said(world, since)) > step, "its step %d" % step, 60)
            world.do("kill", "-KILL", *pids, ok=False)
    return inject


def _said(world, since):
    """What passes have said since then (seconds since 1970)."""
    return [entry for entry in world.since("SYSLOG_IDENTIFIER=citadel-recovery")
            if int(entry["__REALTIME_TIMESTAMP"]) / 1e6 > since]


def fifty_handlers(world):
    lasting_fault(world)
    world.do("sh", "-c", "i=0; while [ $i -lt 50 ]; do %s >/dev/null 2>&1 & i=$((i+1)); done; wait" % HANDLER,
             timeout=200)


def trigger_during_a_pass(world):
    """A pass is busy with a hung Ollama when the gateway fails: the trigger is lost."""
    stop_all_in(world, OLLAMA)
    world.wait_beating(lambda: handlers(world), "a pass", 60)
    lasting_fault(world)


def lock_held(world):
    """Something holds the lock for 30 seconds."""
    world.background("flock", STATE + "/lock", "sleep", "30")
    stop_all_in(world, GATEWAY)


def handler_stopped(world):
    """A pass is stopped by SIGSTOP in its middle; its process lives and holds the lock for 20 seconds."""
    lasting_fault(world)
    pids = world.wait_beating(lambda: handlers(world), "a pass", 60)
    world.do("kill", "-STOP", *pids, ok=False)
    world.background("sh", "-c", "sleep 20; kill -CONT %s" % " ".join(pids))


def state_corrupt(world):
    world.do(HANDLER)                   # so that there is a record
    world.do("sh", "-c", "cd %s; echo '{\"schema\": 1, \"services\": {' >state.json; mkdir -p incidents stops spool; "
             "head -c 4096 /dev/urandom >incidents/20260101T000000-1.json; echo null >maintenance.json; "
             "echo x >stops/%s.json; echo x >spool/x.json" % (STATE, GATEWAY))
    lasting_fault(world)


def triggered_twenty_times(world):
    lasting_fault(world)
    for _ in range(20):
        world.do("systemctl", "start", "--no-block", RECOVERY, ok=False)
        time.sleep(0.5)


def cron_overlaps(world):
    stop_all_in(world, GATEWAY)
    for _ in range(8):
        world.contestant.check(world)


def hook_hangs(world):
    world.write("/usr/local/sbin/page", "#!/bin/sh\nsleep 1000\n", 0o755)
    world.set("hook", "timeout = 5s")
    settings_broken(world)


def upgrade_during_a_recovery(world):
    stop_all_in(world, OLLAMA)
    lasting_fault(world)
    world.wait_beating(lambda: handlers(world), "a pass", 60)
    answer = world.do("python3", CHECKOUT + "/install.py", "--schedule", "cron", timeout=180, ok=False)
    assert answer.ok, answer.out + answer.err
