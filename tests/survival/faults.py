"""The table's rows: what is broken on purpose, and what must come of it. Read FAULTS, at the end.

A row runs on a healthy machine: `prepare` (the contestant keeps its hands off), `inject`, then the judge looks from
outside until the rule of the row is met or broken; `cure` is what the person does who was called; `look` is one more
thing that must be so at the end. world.World.reset puts everything back, whatever a row has left.
"""

from collections import namedtuple

from host import GATEWAY, OLLAMA, REDIS
from injections import ill, ollama_missing, redis_refuses_writes
from survival.breaking import (NEEDS_ROOM, all_three_killed, binary_missing, clock_stepped, crash_for, crash_for_good,
                               cron_overlaps, dbus_dead, deaf, fifty_handlers, fill_logs, freeze, handler_killed,
                               handler_stopped, hook_hangs, journal_disk, journald_stopped, kill,
                               kill_a_worker, killed_for_memory, lock_held, main_is_the_same, maintenance_then_stopped,
                               ollama_answers_nothing, ollama_crashes_on_and_on, ollama_down_for_good,
                               ollama_installed_again, ollama_killed_thrice, ollama_repaired,
                               ollama_stopped_and_started, on_its_own_disk, operator, our_code_broken,
                               our_settings_broken, pid_1_continues, pid_1_stopped, pid_file_of_a_stranger,
                               program_mended, read_only, redis_can_save, redis_loads, redis_was_left_alone, restarts,
                               settings_broken, settings_mended, stale_pid_file, state_corrupt, state_disk,
                               stop_signal, stopped_during_a_restart, stopped_then_ollama_crashes, stranger_leaves,
                               stranger_lives, stranger_takes_the_port, trigger_during_a_pass, triggered_twenty_times,
                               upgrade_during_a_recovery, use_up_inodes, writable_again)
from survival.judge import DECIDED, ESCALATES, RECOVERS, Rule

Row = namedtuple("Row", "name group what inject rule prepare cure look only shortened")
Row.__new__.__defaults__ = (None, None, None, (), "")
Row.__doc__ = """One fault. `what` happens, in a sentence; `rule` is the judge's; `only`: the contestants for which it
exists at all; `shortened`: what is not as in production, besides what the table's head says."""

STARTS = 10                                         # StartLimitBurst of the shipped unit
HUNG = 150              # seconds: who asks first waits for a TimeoutStopSec of 60 s, after two cycles of his own
BACK = 90               # seconds after a cure: the pause after a call (a minute here, and a tenth of it), then a check
QUICKLY = "RestartSec 5 s -> 100 ms"


def recovers(bound, **more):
    return Rule(RECOVERS, bound, **more)


def escalates(bound, *causes, **more):
    more.setdefault("bound_after", BACK)
    return Rule(ESCALATES, bound, causes, **more)


def decided(**more):
    return Rule(DECIDED, 0, **more)


OURS = ("citadel",)

FAULTS = (
    Row("gateway-sigkill", "gateway", "its main process gets SIGKILL", kill(GATEWAY), recovers(20)),
    Row("gateway-sigterm", "gateway", "its main process gets SIGTERM", kill(GATEWAY, "TERM"), recovers(20)),
    Row("worker-killed", "gateway", "one of its 8 workers gets SIGKILL", kill_a_worker, recovers(15),
        look=main_is_the_same),
    Row("crash-loop-ends", "gateway", "it crashes at each start for 17 s, then no more", crash_for(17), recovers(60)),
    Row("crash-loop-for-good", "gateway", "it crashes at each start until a person mends it", crash_for_good,
        escalates(150, "gateway.crash-loop", "gateway.crashed"), cure=program_mended, shortened=QUICKLY),
    Row("gateway-sigstop", "gateway", "all its processes get SIGSTOP", stop_signal(GATEWAY), recovers(HUNG)),
    Row("gateway-deaf", "gateway", "it neither answers nor heeds SIGTERM", deaf, recovers(HUNG)),
    Row("gateway-hangs", "gateway", "it accepts and never answers, until it is restarted", ill("hang"), recovers(HUNG)),
    Row("http-500", "gateway", "it answers 500 until it is restarted", ill("error"), recovers(120)),
    Row("slow", "gateway", "it takes 4 s for an answer, until it is restarted", ill("lazy"), recovers(150)),
    Row("too-slow", "gateway", "it takes 8 s for an answer, until it is restarted", ill("slow"), recovers(120)),
    Row("dripping", "gateway", "it answers a byte a second without end, until restarted", ill("drip"), recovers(120)),
    Row("start-limit", "gateway", "it crashes for 8 s, to the start limit and on", crash_for(8, quick=True),
        recovers(90), shortened=QUICKLY),
    Row("six-restarts", "gateway", "an operator restarts it six times at once, then it gets SIGKILL",
        lambda world: (restarts(6)(world), world.kill(GATEWAY)), recovers(30)),
    Row("eleven-restarts", "gateway", "an operator restarts it eleven times; the last is refused by the start limit",
        restarts(STARTS + 1), recovers(60)),
    Row("binary-missing", "gateway", "its program is gone until a person puts it back", binary_missing,
        escalates(150, "gateway.crash-loop", "gateway.crashed"), cure=program_mended, shortened=QUICKLY),
    Row("frozen", "gateway", "its cgroup is frozen", freeze, recovers(HUNG)),

    Row("ollama-sigkill", "dependencies", "Ollama gets SIGKILL", kill(OLLAMA), recovers(30)),
    Row("ollama-thrice", "dependencies", "Ollama gets SIGKILL three times in 4 s", ollama_killed_thrice, recovers(60),
        shortened="Ollama's RestartSec 3 s -> 1 s"),
    Row("ollama-sigstop", "dependencies", "all Ollama's processes get SIGSTOP", stop_signal(OLLAMA), recovers(HUNG)),
    Row("ollama-hangs", "dependencies", "Ollama accepts and never answers, until it is restarted",
        ollama_answers_nothing, recovers(HUNG)),
    Row("ollama-down", "dependencies", "Ollama crashes at each start until a person repairs it", ollama_down_for_good,
        escalates(150, "dependency.ollama.down"), cure=ollama_repaired, shortened="Ollama's RestartSec 3 s -> 0"),
    Row("ollama-loops", "dependencies", "the same, and systemd restarts it each 3 s for ever",
        ollama_crashes_on_and_on, escalates(240, "dependency.ollama.down"), cure=ollama_repaired),
    Row("ollama-stop-start", "dependencies", "an operator stops Ollama and starts it again 2 s later",
        ollama_stopped_and_started, recovers(45)),
    Row("redis-sigkill", "dependencies", "redis gets SIGKILL", kill(REDIS), recovers(30)),
    Row("redis-sigstop", "dependencies", "redis gets SIGSTOP", stop_signal(REDIS), recovers(60)),
    Row("redis-loading", "dependencies", "redis is killed and loads its data for 9 s", redis_loads, recovers(60),
        look=redis_was_left_alone, shortened="loading takes 9 s"),
    Row("redis-refuses-writes", "dependencies", "redis cannot save until a person makes room", redis_refuses_writes,
        escalates(240, "dependency.redis.refusing-writes"), cure=redis_can_save),
    Row("dependency-missing", "dependencies", "Ollama's unit is removed, and put back by a person", ollama_missing,
        escalates(90, "dependency.ollama.missing"), cure=ollama_installed_again),
    Row("all-three-killed", "dependencies", "gateway, Ollama and redis get SIGKILL at once", all_three_killed,
        recovers(60)),

    Row("stopped", "operator", "a person stops the gateway", operator("stop", GATEWAY), decided()),
    Row("ollama-stopped", "operator", "a person stops Ollama, and the gateway with it", operator("stop", OLLAMA),
        decided()),
    Row("disabled", "operator", "a person disables the gateway", operator("disable", "--now", GATEWAY), decided()),
    Row("masked", "operator", "a person masks the gateway", operator("mask", "--now", GATEWAY), decided()),
    Row("stopped-in-restart", "operator", "a person stops it while systemd waits to restart it",
        stopped_during_a_restart, decided()),
    Row("stopped-ollama-crashes", "operator", "a person stops the gateway, then Ollama crashes and is back",
        stopped_then_ollama_crashes, decided()),
    Row("maintenance", "operator", "maintenance is on, and all its processes get SIGSTOP", maintenance_then_stopped,
        decided(stays="same", may_call=True), only=("citadel", "monit")),

    Row("disk-full-logs", "host", "rotated logs fill the disk; it does not start without room for its log", fill_logs,
        recovers(90), prepare=on_its_own_disk("size=8m", NEEDS_ROOM), shortened="RestartSec 5 s -> 1 s"),
    Row("disk-full-state", "host", "a person's file fills the disk of our state, and the gateway gets SIGSTOP",
        state_disk, recovers(60, may_call=True, causes=("disk.full",)), only=OURS),
    Row("disk-full-journal", "host", "the journal's disk is full, and the gateway gets SIGSTOP", journal_disk,
        recovers(60)),
    Row("inodes", "host", "no inode is left for the log", use_up_inodes, recovers(90),
        prepare=on_its_own_disk("size=8m,nr_inodes=100"), shortened="RestartSec 5 s -> 1 s"),
    Row("read-only", "host", "the log's disk is read-only until a person mounts it again", read_only,
        escalates(120, "disk.readonly"), prepare=on_its_own_disk("size=8m"), cure=writable_again, shortened=QUICKLY),
    Row("port-taken", "host", "a stranger takes its port, until a person ends it", stranger_takes_the_port,
        escalates(120, "port.taken"), cure=stranger_leaves, shortened=QUICKLY),
    Row("stale-pid-file", "host", "a stale PID file keeps it from starting", stale_pid_file, recovers(90),
        shortened=QUICKLY),
    Row("pid-file-of-a-stranger", "host", "its PID file names a stranger, and it gets SIGSTOP", pid_file_of_a_stranger,
        recovers(60), look=stranger_lives),
    Row("low-memory", "host", "it gets SIGKILL as by the OOM killer, and memory is low", killed_for_memory,
        recovers(60), shortened="no memory controller here: Restart=no stands for OOMPolicy=stop, and a setting of "
                                "min_available = 1000G for low memory"),
    Row("settings-broken", "host", "production.yaml contradicts its unit, until a person corrects it", settings_broken,
        escalates(120, "config.invalid"), cure=settings_mended, shortened=QUICKLY),
    Row("our-settings-broken", "host", "citadel.conf has a bad line, and the gateway gets SIGKILL", our_settings_broken,
        recovers(30, may_call=True), only=OURS),
    Row("our-code-broken", "host", "a file of our library is cut short, and the gateway gets SIGKILL", our_code_broken,
        recovers(30, may_call=True), only=OURS),
    Row("journald-stopped", "host", "journald is stopped, and the gateway gets SIGSTOP", journald_stopped,
        recovers(90)),
    Row("dbus-dead", "host", "the D-Bus daemon is dead, and the gateway gets SIGSTOP", dbus_dead, recovers(60)),
    Row("pid-1-stopped", "host", "PID 1 does not answer", pid_1_stopped,
        escalates(90, "systemd.unresponsive"), cure=pid_1_continues),
    Row("clock-stepped", "host", "the clock was 25 years ahead, and the gateway gets SIGSTOP", clock_stepped,
        recovers(60), only=OURS, shortened="a container's clock is its host's: the record bears the moments that such "
                                           "a step leaves"),

    Row("handler-killed", "ourselves", "four passes get SIGKILL, each a step later", handler_killed(4),
        recovers(120), only=OURS),
    Row("fifty-handlers", "ourselves", "fifty handlers at once, with the gateway down", fifty_handlers, recovers(60),
        only=OURS),
    Row("trigger-lost", "ourselves", "the gateway fails while a pass is busy with Ollama", trigger_during_a_pass,
        recovers(120), only=OURS),
    Row("lock-held", "ourselves", "another process holds the lock for 30 s", lock_held, recovers(90), only=OURS),
    Row("handler-stopped", "ourselves", "a pass gets SIGSTOP, and SIGCONT 20 s later", handler_stopped, recovers(90),
        only=OURS),
    Row("state-corrupt", "ourselves", "all files of our state are garbage, and the gateway is down", state_corrupt,
        recovers(90), only=OURS),
    Row("triggered-20-times", "ourselves", "the recovery unit is triggered 20 times in 10 s", triggered_twenty_times,
        recovers(60), only=OURS),
    Row("cron-overlaps", "ourselves", "eight health checks at once, with the gateway stopped by SIGSTOP", cron_overlaps,
        recovers(60), only=OURS),
    Row("hook-hangs", "ourselves", "the alert hook hangs, and the gateway's settings are broken", hook_hangs,
        escalates(150, "config.invalid", bound_after=120), cure=settings_mended, only=OURS,
        shortened=QUICKLY + ", the hook's timeout 30 s -> 5 s"),
    Row("upgrade", "ourselves", "install.py runs again in the middle of a recovery", upgrade_during_a_recovery,
        recovers(120), only=OURS),
)


def named(names):
    """The rows of these names, in the table's order; KeyError with the first name that is none."""
    known = {row.name for row in FAULTS}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return tuple(row for row in FAULTS if row.name in names) if names else FAULTS
