"""What the live tests and the survival table break on purpose, and how each is repaired: functions of a host.Host.

`host.grown_up(unit)` waits until the unit no longer counts as starting.
"""

from host import GATEWAY, OLLAMA, REDIS, install

CONF = "/opt/citadel/etc/citadel.conf"
STATE = "/var/lib/citadel-recovery"
UNIT_FILE = "/usr/local/lib/systemd/system/" + GATEWAY
UVICORN = "/opt/citadel/venv/bin/uvicorn"
LOGS = "/opt/citadel/logs"
QUICK = "[Service]\nRestartSec=100ms\n"


class Impossible(Exception):
    """This kind of machine does not let itself be broken so."""


def drop_in(host, unit, text):
    host.write("/run/systemd/system/%s.d/fault.conf" % unit, text)
    host.do("systemctl", "daemon-reload")


def no_drop_in(host, unit):
    host.do("rm", "-rf", "/run/systemd/system/%s.d" % unit)
    host.do("systemctl", "daemon-reload")


def processes(host, unit):
    """PIDs in the unit's cgroup."""
    return host.do("cat", "/sys/fs/cgroup%s/cgroup.procs" % host.show(unit, "ControlGroup")).out.split()


def stop_signal(unit):
    def make(host):
        host.grown_up(unit)
        host.do("kill", "-STOP", *processes(host, unit))
    return make


def crash_loop(host, says="cannot open the model store"):
    """Its program says that and exits 3, until systemd gives up."""
    host.do("mv", UVICORN, UVICORN + ".away")
    host.write(UVICORN, "#!/bin/sh\necho '%s' >&2\nsleep 0.2\nexit 3\n" % says, 0o755)
    drop_in(host, GATEWAY, QUICK)
    host.kill(GATEWAY)
    host.wait_state(GATEWAY, "failed")


def repair_uvicorn(host):
    host.do("mv", UVICORN + ".away", UVICORN)
    no_drop_in(host, GATEWAY)


def crash_for_good(host):
    drop_in(host, GATEWAY, "[Service]\nRestart=no\n")
    host.kill(GATEWAY)
    host.wait_state(GATEWAY, "failed")


def freeze(host):
    host.grown_up(GATEWAY)
    if not host.do("systemctl", "freeze", GATEWAY, ok=False).ok:
        raise Impossible("this container cannot freeze a unit")


def start_timeout(host):
    drop_in(host, GATEWAY, "[Service]\nRestart=no\nTimeoutStartSec=1\nExecStartPre=/bin/sleep 60\n")
    host.do("systemctl", "restart", GATEWAY, ok=False)
    host.wait_state(GATEWAY, "failed")


def answers(word):
    def make(host):
        host.grown_up(GATEWAY)
        host.mood("%s %d" % (word, host.pid()))
    return make


def operator_stops(host):
    host.do("systemctl", "stop", GATEWAY)


def operator_disables(host):
    host.do("systemctl", "disable", "--now", GATEWAY)


def operator_masks(host):
    host.do("systemctl", "mask", "--now", GATEWAY)


def stopped_with_ollama(host):
    """Ollama is back, but not in a way that brings the gateway along."""
    host.do("systemctl", "stop", OLLAMA)
    host.do("systemctl", "--job-mode=ignore-dependencies", "start", OLLAMA)
    host.wait(lambda: ":11434 " in host.do("ss", "-ltn").out, "Ollama to listen")


def ollama_down(host):
    host.write("/run/citadel-rehearsal/ollama", "crash\n")
    drop_in(host, OLLAMA, "[Service]\nRestartSec=0\n")
    host.kill(OLLAMA)
    host.wait_state(OLLAMA, "failed")


def ollama_can_run(host):
    host.do("rm", "-f", "/run/citadel-rehearsal/ollama")
    no_drop_in(host, OLLAMA)


def ollama_missing(host):
    host.do("systemctl", "stop", OLLAMA)
    host.do("mv", "/etc/systemd/system/" + OLLAMA, "/root/")
    host.do("systemctl", "daemon-reload")


def ollama_found(host):
    host.do("mv", "/root/" + OLLAMA, "/etc/systemd/system/")
    host.do("systemctl", "daemon-reload")


def redis_missing(host):
    """Its unit file is gone, as after a removal of the package; and the script from which systemd would make one."""
    host.do("systemctl", "stop", REDIS)
    host.do("mv", "/etc/init.d/redis-server", "/root/")
    host.do("mv", host.show(REDIS, "FragmentPath"), "/root/" + REDIS)
    host.do("systemctl", "daemon-reload")


def redis_found(host):
    host.do("mv", "/root/" + REDIS, "/lib/systemd/system/")
    host.do("mv", "/root/redis-server", "/etc/init.d/")
    host.do("systemctl", "daemon-reload")
    host.do("systemctl", "start", REDIS)


def memory_low(host):
    """No memory controller here: a setting that asks for more than there is, and a gateway that is down."""
    host.write(CONF, host.read(CONF) + "[memory]\nmin_available = 1000G\n")
    crash_for_good(host)


def memory_enough(host):
    host.write(CONF, host.read(CONF).partition("[memory]")[0])


def operator_stops_ollama(host):
    host.do("systemctl", "stop", OLLAMA)


def redis_down(host):
    drop_in(host, REDIS, "[Service]\nType=simple\nExecStart=\nExecStart=/bin/false\nRestartSec=0\n")
    host.kill(REDIS)
    host.wait_state(REDIS, "failed")


def redis_slow_to_load(host):
    """60 MB that redis will read slowly: a key each 150 ms."""
    host.do("redis-cli", "eval", "for i=1,60 do redis.call('set', 'k'..i, string.rep('x', 1000000)) end", "0")
    host.do("redis-cli", "config", "set", "rdbcompression", "no")
    host.do("redis-cli", "save")
    host.do("sh", "-c", "echo 'key-load-delay 150000' >>/etc/redis/redis.conf")


def redis_loading(host):
    redis_slow_to_load(host)
    host.kill(REDIS)
    host.wait(lambda: "LOADING" in host.do("redis-cli", "ping", ok=False).out, "redis to be loading")


def redis_empty(host):
    host.do("sed", "-i", "/key-load-delay/d", "/etc/redis/redis.conf")
    host.do("redis-cli", "config", "set", "key-load-delay", "0")
    host.wait(lambda: "PONG" in host.do("redis-cli", "ping", ok=False).out, "redis to be loaded")
    host.do("redis-cli", "flushall")
    host.do("redis-cli", "save")


def redis_refuses_writes(host):
    """Its dump file is a directory, so saving fails, so it takes no more writes."""
    place = host.do("redis-cli", "config", "get", "dir").out.split()[-1]
    host.do("sh", "-c", "rm -f %s/dump.rdb && mkdir -p %s/dump.rdb/in-the-way" % (place, place))
    host.do("redis-cli", "config", "set", "save", "3600 1")
    host.do("redis-cli", "set", "a", "b")
    host.do("redis-cli", "bgsave")
    host.wait(lambda: "MISCONF" in host.do("redis-cli", "ping", ok=False).out, "redis to refuse writes")


def redis_writes_soon(host):
    place = host.do("redis-cli", "config", "get", "dir").out.split()[-1]
    host.do("systemd-run", "--on-active=3s", "--timer-property=AccuracySec=100ms", "sh", "-c",
            "rm -rf %s/dump.rdb && redis-cli bgsave" % place)


def port_taken(host):
    """Another process is quicker than the gateway's restart."""
    drop_in(host, GATEWAY, "[Service]\nRestartSec=2\n")
    host.kill(GATEWAY)
    host.do("systemd-run", "--unit=other-process", "python3", "-m", "http.server", "8002", "--bind", "127.0.0.1")
    host.wait(lambda: host.show(GATEWAY, "NRestarts") not in ("0", ""), "a first restart")
    drop_in(host, GATEWAY, QUICK)
    host.wait_state(GATEWAY, "failed")


LISTEN_6 = """\
import socket
with socket.socket(socket.AF_INET6) as server:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("::", 8002))
    server.listen(1)
    server.accept()
"""


def port_taken_elsewhere(host):
    """Any local user may do this while the gateway is down: the port at another loopback address and on all of IPv6."""
    crash_for_good(host)
    host.do("systemd-run", "--unit=other-process", "--uid=nobody", "python3", "-m", "http.server", "8002",
            "--bind", "127.0.0.2")
    host.do("systemd-run", "--unit=other-process-6", "--uid=nobody", "python3", "-IS", "-c", LISTEN_6)
    host.wait(lambda: host.do("ss", "-Hltn", "sport = :8002").out.count("8002") >= 2, "both processes")


def other_process_ends(host):
    host.do("systemctl", "stop", "other-process.service")
    no_drop_in(host, GATEWAY)


def own_disk(host, options):
    """The application log on a small file system of its own."""
    host.do("systemctl", "stop", GATEWAY)
    host.do("sh", "-c", "mount -t tmpfs -o mode=755,%s logs %s && cd %s && mkdir -m 750 api-gateway && "
            "touch api-gateway/service.log && chown citadel:citadel api-gateway/service.log" % (options, LOGS, LOGS))


def restart_on_own_disk(host, options):
    own_disk(host, options)
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()


def fill_with_logs(host):
    """Rotated logs, the oldest first, to the last byte."""
    host.do("sh", "-c", "cd %s/api-gateway; for i in 7 6 5 4 3 2; do dd if=/dev/zero of=service.log.$i bs=1M count=1; "
            "touch -d \"-$i hour\" service.log.$i; done; dd if=/dev/zero of=service.log.1 bs=4k; "
            "chown citadel:citadel *; true" % LOGS)


def fill_with_empty_logs(host):
    """Rotated logs, the oldest first, to the last inode."""
    host.do("sh", "-c", "cd %s/api-gateway; i=2; while touch service.log.$i; do touch -d \"-$i minute\" "
            "service.log.$i; i=$((i+1)); done 2>/dev/null; chown citadel:citadel *; true" % LOGS)


def disk_full(host):
    restart_on_own_disk(host, "size=8m")
    fill_with_logs(host)


def disk_inodes(host):
    restart_on_own_disk(host, "size=8m,nr_inodes=100")
    fill_with_empty_logs(host)


def disk_readonly(host):
    """Its log file cannot be opened for writing, so no start succeeds."""
    restart_on_own_disk(host, "size=8m")
    drop_in(host, GATEWAY, "[Service]\nRestartSec=3\n")
    host.kill(GATEWAY)
    host.wait(lambda: host.do("mount", "-o", "remount,ro", LOGS, ok=False).ok, "the disk to be read-only")
    drop_in(host, GATEWAY, QUICK)
    host.wait_state(GATEWAY, "failed")


def own_disk_away(host):
    no_drop_in(host, GATEWAY)
    host.do("systemctl", "stop", GATEWAY)
    host.do("umount", "-l", LOGS)


def settings_invalid(host):
    """Its own settings say another port than its unit, and it ends at once."""
    host.write("/opt/citadel/config/production.yaml",
               host.read("/opt/citadel/config/production.yaml").replace("port: 8002", "port: 9002"))
    crash_loop(host, "production.yaml: port 9002 is not mine")


def settings_valid(host):
    host.write("/opt/citadel/config/production.yaml",
               host.read("/opt/citadel/config/production.yaml").replace("port: 9002", "port: 8002"))
    repair_uvicorn(host)


def unit_gone(host):
    crash_for_good(host)
    host.do("mv", UNIT_FILE, "/root/")
    no_drop_in(host, GATEWAY)


def unit_installed_again(host):
    answer = install(host.machine, "--schedule", "none")
    assert answer.ok, answer.out + answer.err
    host.do("rm", "-f", "/root/" + GATEWAY)
