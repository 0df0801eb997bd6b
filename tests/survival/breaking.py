"""How each row of the table breaks its machine, and what the operator does who is told: functions of a world.World."""

import os
import signal
import time

from host import CHECKOUT, GATEWAY, HANDLER, OLLAMA, RECOVERY, REDIS
from injections import (
    CONF,
    LOGS,
    QUICK,
    UNIT_FILE,
    UVICORN,
    drop_in,
    fill_with_empty_logs,
    fill_with_logs,
    no_drop_in,
    ollama_can_run,
    ollama_found,
    own_disk,
    redis_slow_to_load,
)

from survival.contestants import SETTINGS
from survival.judge import told
from survival.world import stop_all_in

STATE = "/var/lib/citadel-recovery"
WORKERS = 8
STARTS = 10                                         # StartLimitBurst of the shipped unit
ALREADY_RUNS = """#!/bin/sh
if [ -e /run/citadel/gateway.pid ]; then echo 'gateway.pid exists: another gateway runs' >&2; exit 1; fi
exec %s.away "$@"
""" % UVICORN
NEEDS_ROOM = """#!/bin/sh
if ! head -c 65536 /dev/zero; then echo 'cannot write my log: No space left on device' >&2; exit 1; fi
exec %s.away "$@"
""" % UVICORN
UNRESPONSIVE = """#!/usr/bin/python3 -IS
import signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 8002))
listener.listen(100)
time.sleep(10 ** 6)
"""
HUNGRY = """#!/usr/bin/python3 -IS
import os, socket, sys
with socket.create_connection(("127.0.0.1", 11434), 5) as ollama:
    ollama.sendall(b"GET /api/ps HTTP/1.0\\r\\n\\r\\n")
    if b'"name"' in b"".join(iter(lambda: ollama.recv(65536), b"")):
        sys.exit("cannot allocate memory")
os.execv("{0}.away", ["{0}.away"] + sys.argv[1:])
""".format(UVICORN)
LOADS_A_MODEL = """\
import urllib.request
urllib.request.urlopen("http://127.0.0.1:11434/api/generate", b'{"model": "llama3:8b", "prompt": "why?"}', 10).read()
"""
OTHER_PROCESS = """\
import time
from http.server import HTTPServer, SimpleHTTPRequestHandler
while True:
    try:
        HTTPServer(("127.0.0.1", 8002), SimpleHTTPRequestHandler).serve_forever()
    except OSError:
        time.sleep(0.01)
"""
CRASHES = "#!/bin/sh\necho 'cannot open the model store' >&2\nsleep 0.2\nexit 3\n"


# --- the gateway

def kill(unit, name="KILL"):
    return lambda world: world.kill(unit, name)


def kill_a_worker(world):
    main = world.pid()
    world.notes["main"] = main
    workers = _workers(world)
    assert len(workers) == WORKERS, "%d workers to begin with" % len(workers)
    world.notes["worker"] = workers[-1]
    world.do("kill", "-KILL", workers[-1])


def _workers(world):
    return world.do("pgrep", "-P", str(world.notes["main"]), "-f", "multiprocessing.spawn", ok=False).out.split()


def worker_was_replaced(world):
    """And nothing else was."""
    workers = _workers(world)
    if world.pid() != world.notes["main"]:
        return "the gateway's main process was replaced for one worker's sake"
    return "" if len(workers) == WORKERS and world.notes["worker"] not in workers else \
        "it has %d workers instead of %d" % (len(workers), WORKERS)


def crashes_until(seconds):
    """The program crashes at its start for so long, and then nobody repairs it: it was an outage of its own."""
    return "#!/bin/sh\nif [ $(date +%%s) -lt %d ]; then\n" \
           "  echo 'cannot open the model store' >&2; sleep 0.2; exit 3; fi\n" \
           "exec %s.away \"$@\"\n" % (time.time() + seconds, UVICORN)


def crash_for(seconds):
    def inject(world):
        world.program(crashes_until(seconds))
        world.kill(GATEWAY)
    return inject


def crash_to_the_limit(world):
    """It crashes at each start until systemd has refused one, and then nobody repairs it."""
    world.program(CRASHES)
    drop_in(world, GATEWAY, QUICK)
    world.strike(GATEWAY)
    world.wait_beating(lambda: _was_refused(world), "systemd to refuse a start", 60)
    world.its_own_program()


def _was_refused(world):
    """Whether the start limit was hit in this row: the unit's Result says so on 262 only."""
    return any("repeated too quickly" in str(entry.get("MESSAGE")) for entry in world.since("UNIT=" + GATEWAY))


def crash_for_good(world):
    world.program(CRASHES)
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def program_repaired(world):
    world.its_own_program()
    no_drop_in(world, GATEWAY)


def binary_missing(world):
    world.do("mv", UVICORN, UVICORN + ".away")
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def unresponsive(world):
    """A run that ignores SIGTERM and never answers; the next one will be well."""
    world.program(UNRESPONSIVE)
    world.harm_begins()
    before = world.pid()
    world.do("systemctl", "restart", GATEWAY)
    world.wait_beating(lambda: world.pid() not in (0, before) and ":8002 " in world.do("ss", "-ltn").out,
                       "an unresponsive gateway", 60)
    world.its_own_program()


def restarts(count):
    def inject(world):
        for _ in range(count):
            world.do("systemctl", "restart", GATEWAY, ok=False)
    return inject


def restarts_until_refused(world):
    world.do("systemctl", "reset-failed", GATEWAY)
    for _ in range(STARTS + 1):
        world.harm_begins()
        if not world.do("systemctl", "restart", GATEWAY, ok=False).ok:
            break
    assert _was_refused(world), "systemd refused none of %d restarts" % (STARTS + 1)


def freeze(world):
    world.grown_up(GATEWAY)
    if not world.do("systemctl", "freeze", GATEWAY, ok=False).ok:
        world.do("sh", "-c", "echo 1 >/sys/fs/cgroup/system.slice/%s/cgroup.freeze" % GATEWAY)


def stop_signal(unit):
    return lambda world: stop_all_in(world, unit)


# --- what it depends on

def ollama_killed_thrice(world):
    drop_in(world, OLLAMA, "[Service]\nRestartSec=1\n")
    for blow in (world.strike, world.kill, world.kill):
        pid = blow(OLLAMA)
        world.wait_beating(lambda pid=pid: world.pid(OLLAMA) not in (0, pid), "Ollama's next run", 60)


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
    redis_slow_to_load(world)
    world.strike(REDIS)
    world.wait_beating(lambda: "LOADING" in world.do("redis-cli", "ping", ok=False).out, "redis to be loading", 60)
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
    """A contestant may be quicker, and have started it before the operator comes; then it is killed once more. What is
    started after the stop is what the row is about."""
    for _ in range(5):
        pid = world.kill(GATEWAY)
        world.wait(lambda pid=pid: world.pid() not in (0, pid)
                   or world.show(GATEWAY, "SubState").startswith("auto-restart"), "the wait for RestartSec")
        if world.show(GATEWAY, "SubState").startswith("auto-restart"):
            world.do("systemctl", "stop", GATEWAY)
            return
    raise AssertionError("it never waited for its restart for long enough to be stopped")


def stopped_then_ollama_crashes(world):
    world.do("systemctl", "stop", GATEWAY)
    time.sleep(2)
    pid = world.kill(OLLAMA)
    world.wait(lambda: world.pid(OLLAMA) not in (0, pid), "Ollama to be back")


def one_call(world):
    """Actions are muted, alerts are not: of Citadel, which promises that."""
    heard = told(world.observer.seen()[1] + tuple(world.contestant.calls(world)))
    return "" if len(heard) == 1 or not world.is_citadel else "%d alerts instead of one" % len(heard)


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


def state_has_room(world):
    """The operator's file is gone again, so that the incident can end."""
    world.do("rm", "-f", STATE + "/filler")
    return ""


def journal_disk(world):
    """World.put_back gives journald its real place again."""
    world.do("sh", "-c", "mkdir -p /var/log/journal; mount -t tmpfs -o size=24m journal /var/log/journal; "
             "journalctl --flush; dd if=/dev/zero of=/var/log/journal/filler bs=64k; true", ok=False)
    stop_all_in(world, GATEWAY)


def read_only(world):
    drop_in(world, GATEWAY, QUICK)
    world.strike(GATEWAY)
    world.wait_beating(lambda: world.do("mount", "-o", "remount,ro", LOGS, ok=False).ok, "the disk to be read-only", 60)


def writable_again(world):
    world.do("mount", "-o", "remount,rw", LOGS)
    no_drop_in(world, GATEWAY)


def another_takes_the_port(world):
    """He tries until he has it, and the gateway is killed until then."""
    world.do("systemd-run", "--unit=other-process", "python3", "-c", OTHER_PROCESS)
    world.strike(GATEWAY)

    def has_it():
        if world.status() == 404:
            return True
        pid = world.pid()
        if pid:
            world.do("kill", "-KILL", str(pid), ok=False)
        return False

    world.wait_beating(has_it, "the other process to hold the port", 60)
    drop_in(world, GATEWAY, QUICK)


def other_process_ends(world):
    world.do("systemctl", "stop", "other-process.service")
    no_drop_in(world, GATEWAY)


def stale_pid_file(world):
    """A gateway that does not start while its PID file is there, and one that a crash has left behind."""
    world.program(ALREADY_RUNS)
    drop_in(world, GATEWAY, QUICK)
    world.do("mkdir", "-p", "/run/citadel")
    world.write("/run/citadel/gateway.pid", "4194000\n")
    world.kill(GATEWAY)


def pid_file_of_another(world):
    world.do("systemd-run", "--unit=other-process", "sleep", "1000")
    world.notes["other"] = world.pid("other-process.service")
    world.do("mkdir", "-p", "/run/citadel")
    world.write("/run/citadel/gateway.pid", "%d\n" % world.notes["other"])
    stop_all_in(world, GATEWAY)


def other_process_lives(world):
    same = world.pid("other-process.service") == world.notes["other"]
    return "" if same else "the process that the PID file named was killed"


def short_of_memory(world):
    """It does not start while Ollama holds a model, as where there is not enough memory for both. Low memory is a
    setting, since there is no memory controller here: more than there is, and not so much more that a gateway that
    serves would count as about to stop."""
    world.do("python3", "-IS", "-c", LOADS_A_MODEL)
    available = int(world.do("sed", "-n", "s/MemAvailable: *//p", "/proc/meminfo").out.split()[0])
    world.set("memory", "min_available = %dM" % (2 * available >> 10))
    world.program(HUNGRY)
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def settings_broken(world):
    text = world.read("/opt/citadel/config/production.yaml")
    world.write("/opt/citadel/config/production.yaml", text.replace("port: 8002", "port: 9002"))
    world.program("#!/bin/sh\necho 'production.yaml: port 9002 is not mine' >&2\nexit 3\n")
    drop_in(world, GATEWAY, QUICK)
    world.kill(GATEWAY)


def settings_corrected(world):
    text = world.read("/opt/citadel/config/production.yaml")
    world.write("/opt/citadel/config/production.yaml", text.replace("port: 9002", "port: 8002"))
    program_repaired(world)


def setting(section, line):
    """Prepares: one more setting of Citadel's."""
    return lambda world: world.set(section, line)


def our_settings_broken(world):
    world.write(CONF, "[recovery]\nattempts = many\n")
    world.kill(GATEWAY)


def our_settings_corrected(world):
    world.write(CONF, SETTINGS)


def our_code_broken(world):
    """As after an upgrade that ran out of room."""
    world.broken_library = True
    world.do("sh", "-c", "rm -rf /opt/citadel/lib/citadel/plan/__pycache__; "
             "echo 'def (' >>/opt/citadel/lib/citadel/plan/decisions.py")
    world.kill(GATEWAY)


def our_code_repaired(world):
    world.contestant.install(world)
    world.broken_library = False


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
from citadel.core import clock
from citadel.record.store import Store
UNIT = "citadel-gateway.service"

def store(**more):
    return Store(now=lambda: clock.now()._replace(wall=clock.now().wall + 25 * 365 * 86400, **more))

earlier = store(boot_id="0123456789abcdef0123456789abcdef")
with earlier.lock("manual"):
    earlier.of(UNIT).open_incident("gateway.crashed", "it crashed")
    earlier.of(UNIT).count_attempt("gateway.crashed: start", 1, window=1800)
    earlier.of(UNIT).set_level(1)
    earlier.of(UNIT).mark_escalated("gateway.crashed")
    earlier.of(UNIT).mark_pass("gateway.crashed", 600)
now = store()
with now.lock("manual"):
    now.of(UNIT).count_attempt("gateway.crashed: start", 1, window=1800)
"""


def clock_stepped(world):
    """An attempt of this boot, by a clock that was 25 years ahead; and an incident that an earlier boot had begun, with
    an alert, by such a clock: there the record has nothing but the wall clock and the uptime to ask."""
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


# A slow systemctl, for recovery passes alone: it waits for as long as there is a file for its verb.
SLOW = """#!/bin/sh
for verb; do case $verb in -*) ;; *) break ;; esac; done
case $(tr '\\0' ' ' </proc/$PPID/cmdline) in
    *--note-stop*|*"--trigger gate"*) ;;
    *citadel-recovery-handler*) while [ -e /run/fault-hold-$verb ]; do sleep 0.05; done ;;
esac
exec /bin/systemctl "$@"
"""
# Where each of four passes is killed: the verb that it waits for then, and what it has said last.
ROAD = (("show", "nothing"), ("reset-failed", "act"), ("start", "reset-failed"), ("", "start"))


def handler_killed(world):
    """SIGKILL to four passes: before one has said anything, after the decision, after its first step, and while it
    verifies what it has started."""
    world.write("/usr/local/sbin/systemctl", SLOW, 0o755)
    world.do("touch", *("/run/fault-hold-" + verb for verb, _ in ROAD if verb))
    lasting_fault(world)
    world.notes["killed"] = []
    for verb, word in ROAD:
        pid = world.wait_beating(lambda verb=verb, word=word: _pass_at(world, verb, word),
                                 "a pass that waits for %s, after %s" % (verb or "the gateway to last", word), 60)
        world.do("journalctl", "--sync", timeout=30)
        said = _last_word(world, pid)
        hit = world.do("kill", "-KILL", pid, ok=False).ok
        world.do("rm", "-f", "/run/fault-hold-" + verb)
        world.wait_beating(lambda pid=pid: not world.do("test", "-e", "/proc/" + pid, ok=False).ok,
                           "pass %s to end" % pid, 20)
        world.notes["killed"].append((said, hit))
    assert all(hit for _, hit in world.notes["killed"]), "a kill missed its pass: %s" % world.notes["killed"]
    assert len({said for said, _ in world.notes["killed"]}) >= 3, "the same step hit again: %s" % world.notes["killed"]


def _pass_at(world, verb, word):
    """The PID of the living pass that waits for this verb of systemctl, or has said this word last; "" for none."""
    if verb:
        waiting = world.do("pgrep", "-f", "^/bin/sh /[a-z/]*systemctl (.* )?%s( |$)" % verb, ok=False).out.split()
        parents = world.do("ps", "-o", "ppid=", "-p", ",".join(waiting), ok=False).out.split() if waiting else ()
        living = handlers(world)            # what a killed pass has started may outlive it for a moment
        return next((pid for pid in parents if pid in living), "")
    pid = str(world.pid(RECOVERY))
    return pid if pid != "0" and _last_word(world, pid) == word else ""


def _last_word(world, pid):
    """What a pass has said last: "nothing", "act" for its decision, else the step that it has done."""
    said = world.since("SYSLOG_IDENTIFIER=citadel-recovery", "_PID=" + pid)
    if not said:
        return "nothing"
    return said[-1]["MESSAGE"].split()[0] if said[-1]["CITADEL_EVENT"] == "step" else said[-1]["CITADEL_EVENT"]


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


AGED = ("/opt/citadel/lib/citadel/plan/decisions.py", UNIT_FILE)


def upgrade_during_a_recovery(world):
    """From an installation that is not what the checkout holds, so that files are replaced under the pass."""
    world.broken_library = True             # World.reset installs it again, whatever comes of this
    for path in AGED:
        world.do("sh", "-c", "echo '# of an older version' >>" + path)
    world.do("systemctl", "daemon-reload")
    stop_all_in(world, OLLAMA)
    lasting_fault(world)
    world.wait_beating(lambda: handlers(world), "a pass", 60)
    before = handlers(world)
    assert before, "the pass was over before the upgrade began"
    answer = world.do("python3", CHECKOUT + "/install.py", "--schedule", "cron", timeout=180, ok=False)
    assert answer.ok, answer.out + answer.err


def upgrade_is_whole(world):
    left = [path for path in AGED if "of an older version" in world.read(path)]
    return "the upgrade left %s as it was" % " and ".join(left) if left else ""
