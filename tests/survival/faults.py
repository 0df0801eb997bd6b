"""The table's rows: what is broken on purpose, and what must come of it. Read FAULTS, at the end.

A row runs on a healthy machine: `prepare` (the contestant keeps its hands off), `inject`, then the judge looks from
outside until the rule of the row is met or broken; `cure` is what the operator does who was told; `look` is one more
thing that must be so at the end; after a recovery the contestant's own `aftermath` follows. world.World.reset puts
everything back, whatever a row has left.
"""

from collections import namedtuple

from host import GATEWAY, OLLAMA, REDIS
from injections import answers, ollama_missing, redis_refuses_writes

from survival.breaking import (
    NEEDS_ROOM,
    all_three_killed,
    another_takes_the_port,
    binary_missing,
    clock_stepped,
    crash_for,
    crash_for_good,
    crash_to_the_limit,
    cron_overlaps,
    dbus_dead,
    fifty_handlers,
    fill_logs,
    freeze,
    handler_killed,
    handler_stopped,
    hook_hangs,
    journal_disk,
    journald_stopped,
    kill,
    kill_a_worker,
    lock_held,
    maintenance_then_stopped,
    ollama_answers_nothing,
    ollama_crashes_on_and_on,
    ollama_down_for_good,
    ollama_installed_again,
    ollama_killed_thrice,
    ollama_repaired,
    ollama_stopped_and_started,
    on_its_own_disk,
    one_call,
    operator,
    other_process_ends,
    other_process_lives,
    our_code_broken,
    our_code_repaired,
    our_settings_broken,
    our_settings_corrected,
    pid_1_continues,
    pid_1_stopped,
    pid_file_of_another,
    program_repaired,
    read_only,
    redis_can_save,
    redis_loads,
    redis_was_left_alone,
    restarts,
    restarts_until_refused,
    setting,
    settings_broken,
    settings_corrected,
    short_of_memory,
    stale_pid_file,
    state_corrupt,
    state_disk,
    state_has_room,
    stop_signal,
    stopped_during_a_restart,
    stopped_then_ollama_crashes,
    trigger_during_a_pass,
    triggered_twenty_times,
    unresponsive,
    upgrade_during_a_recovery,
    upgrade_is_whole,
    use_up_inodes,
    worker_was_replaced,
    writable_again,
)
from survival.judge import DECIDED, ESCALATES, RECOVERS, Rule

Row = namedtuple("Row", "name group what inject rule prepare cure look only shortened veto")
Row.__new__.__defaults__ = (None, None, None, (), "", None)
Row.__doc__ = """One fault. `what` happens, in a sentence; `rule` is the judge's; `only`: the contestants for which it
exists at all; `shortened`: what is not as in production, besides what the table's head says; `veto`: what must not be
touched before the cure."""

Veto = namedtuple("Veto", "unit since only")
Veto.__new__.__defaults__ = ("call", ())
Veto.__doc__ = """A unit that must not be started or restarted before the cure, by anybody, or by the contestants in
`only`; `since`: the "call", an alert (until then a first attempt may find out), or the "fault"."""

HUNG = 155              # seconds: who asks first waits for a start's time, two cycles of his own, a stop's time of 60 s
BACK = 90               # seconds after a cure: the pause after a call (a minute here, and a tenth of it), then a check
AN_ATTEMPT_LATER = 80   # seconds after a call: that pause of 66 s at most, a check, and the attempt that comes then
QUICKLY = "RestartSec 5 s -> 100 ms"
LASTS = "Restart=no, so that only a pass can bring it back"


def recovers(bound, **more):
    return Rule(RECOVERS, bound, **more)


def escalates(bound, *causes, **more):
    more.setdefault("bound_after", BACK)
    return Rule(ESCALATES, bound, causes, **more)


def decided(**more):
    return Rule(DECIDED, 0, **more)


OURS = ("citadel",)
NOT_BY_US = Veto(GATEWAY, only=OURS)                # only Citadel claims to know when a restart cannot help

FAULTS = (
    Row("gateway-sigkill", "gateway", "its main process gets SIGKILL", kill(GATEWAY), recovers(20)),
    Row("gateway-sigterm", "gateway", "its main process gets SIGTERM", kill(GATEWAY, "TERM"), recovers(20)),
    Row("worker-killed", "gateway", "one of its 8 workers gets SIGKILL", kill_a_worker, recovers(15),
        look=worker_was_replaced),
    Row("crash-loop-ends", "gateway", "it crashes at each start for 17 s, then no more", crash_for(17), recovers(60)),
    Row("crash-loop-for-good", "gateway", "it crashes at each start until an operator repairs it", crash_for_good,
        # The attempt after the call spends the window's budget of four. The next comes when the first of them is 3 min
        # old: it was made some 25 s before the call, and the operator comes 80 s after it, so 75 s later; then a check.
        escalates(150, "gateway.crash-loop", "gateway.crashed", before_cure=AN_ATTEMPT_LATER, bound_after=120),
        prepare=setting("recovery", "window = 3min"), cure=program_repaired,
        shortened=QUICKLY + ", the window of attempts 30 min -> 3 min"),
    Row("gateway-sigstop", "gateway", "all its processes get SIGSTOP", stop_signal(GATEWAY), recovers(HUNG)),
    Row("gateway-unresponsive", "gateway", "it neither answers nor heeds SIGTERM, from a restart on", unresponsive,
        recovers(HUNG), shortened="unresponsive from its start on, not only later"),
    Row("gateway-hangs", "gateway", "it accepts and never answers, until restarted", answers("hang"), recovers(HUNG)),
    Row("http-500", "gateway", "it answers 500 until it is restarted", answers("error"), recovers(120)),
    Row("slow", "gateway", "it takes 4 s for an answer, until it is restarted", answers("lazy"), recovers(150)),
    Row("too-slow", "gateway", "it takes 8 s for an answer, until it is restarted", answers("slow"), recovers(120)),
    Row("dripping", "gateway", "it answers a byte a second, until it is restarted", answers("drip"), recovers(120)),
    Row("start-limit", "gateway", "it crashes at each start, and no more once systemd has refused one",
        crash_to_the_limit, recovers(90), shortened=QUICKLY),
    Row("six-restarts", "gateway", "an operator restarts it six times at once, then it gets SIGKILL",
        lambda world: (restarts(6)(world), world.kill(GATEWAY)), recovers(30)),
    Row("eleven-restarts", "gateway", "an operator restarts it eleven times; the last is refused by the start limit",
        restarts_until_refused, recovers(60)),
    Row("binary-missing", "gateway", "its program is gone until an operator puts it back", binary_missing,
        escalates(150, "gateway.crash-loop", "gateway.crashed"), cure=program_repaired, shortened=QUICKLY),
    Row("frozen", "gateway", "its cgroup is frozen", freeze, recovers(HUNG)),

    Row("ollama-sigkill", "dependencies", "Ollama gets SIGKILL", kill(OLLAMA), recovers(30)),
    Row("ollama-thrice", "dependencies", "Ollama gets SIGKILL three times in 4 s", ollama_killed_thrice, recovers(60),
        shortened="Ollama's RestartSec 3 s -> 1 s"),
    Row("ollama-sigstop", "dependencies", "all Ollama's processes get SIGSTOP", stop_signal(OLLAMA), recovers(HUNG)),
    Row("ollama-hangs", "dependencies", "Ollama accepts and never answers, until it is restarted",
        ollama_answers_nothing, recovers(HUNG)),
    Row("ollama-down", "dependencies", "Ollama crashes at each start until it is repaired", ollama_down_for_good,
        # Back at the next check: what was repaired beneath the gateway waits for no pause, and is started with it.
        escalates(150, "dependency.ollama.down", before_cure=AN_ATTEMPT_LATER), cure=ollama_repaired,
        shortened="Ollama's RestartSec 3 s -> 0"),
    Row("ollama-loops", "dependencies", "the same, and systemd restarts it each 3 s for ever",
        ollama_crashes_on_and_on, escalates(240, "dependency.ollama.down"), cure=ollama_repaired),
    Row("ollama-stop-start", "dependencies", "an operator stops Ollama and starts it again 2 s later",
        ollama_stopped_and_started, recovers(45)),
    Row("redis-sigkill", "dependencies", "redis gets SIGKILL", kill(REDIS), recovers(30)),
    Row("redis-sigstop", "dependencies", "redis gets SIGSTOP", stop_signal(REDIS), recovers(60)),
    Row("redis-loading", "dependencies", "redis is killed and loads its data for 9 s", redis_loads, recovers(60),
        look=redis_was_left_alone, shortened="loading takes 9 s"),
    Row("redis-refuses-writes", "dependencies", "redis cannot save until an operator makes room", redis_refuses_writes,
        escalates(240, "dependency.redis.refusing-writes"), cure=redis_can_save,
        veto=Veto(REDIS, since="fault")),           # a restart loses what it could not save
    Row("dependency-missing", "dependencies", "Ollama's unit is removed, and put back by an operator", ollama_missing,
        escalates(90, "dependency.ollama.missing"), cure=ollama_installed_again, veto=NOT_BY_US),
    Row("all-three-killed", "dependencies", "gateway, Ollama and redis get SIGKILL at once", all_three_killed,
        recovers(60)),

    Row("stopped", "operator", "an operator stops the gateway", operator("stop", GATEWAY), decided()),
    Row("ollama-stopped", "operator", "an operator stops Ollama, and the gateway with it", operator("stop", OLLAMA),
        decided()),
    Row("disabled", "operator", "an operator disables the gateway", operator("disable", "--now", GATEWAY), decided()),
    Row("masked", "operator", "an operator masks the gateway", operator("mask", "--now", GATEWAY), decided()),
    Row("stopped-in-restart", "operator", "an operator stops it while systemd waits to restart it",
        stopped_during_a_restart, decided()),
    Row("stopped-ollama-crashes", "operator", "an operator stops the gateway, then Ollama crashes and is back",
        stopped_then_ollama_crashes, decided()),
    Row("maintenance", "operator", "maintenance is on, and all its processes get SIGSTOP", maintenance_then_stopped,
        decided(stays="same", may_call=True, causes=("gateway.hung",), watch=90), look=one_call,
        only=("citadel", "monit")),

    Row("disk-full-logs", "host", "rotated logs fill the disk; it does not start without room for its log", fill_logs,
        recovers(90), prepare=on_its_own_disk("size=8m", NEEDS_ROOM), shortened="RestartSec 5 s -> 1 s"),
    Row("disk-full-state", "host", "an operator's file fills the disk of our state, and the gateway gets SIGSTOP",
        state_disk, recovers(60, may_call=True, causes=("disk.full",)), look=state_has_room, only=OURS),
    Row("disk-full-journal", "host", "the journal's disk is full, and the gateway gets SIGSTOP", journal_disk,
        recovers(60)),
    Row("inodes", "host", "no inode is left for the log", use_up_inodes, recovers(90),
        prepare=on_its_own_disk("size=8m,nr_inodes=100"), shortened="RestartSec 5 s -> 1 s"),
    Row("read-only", "host", "the log's disk is read-only until an operator mounts it again", read_only,
        escalates(120, "disk.readonly"), prepare=on_its_own_disk("size=8m"), cure=writable_again, shortened=QUICKLY,
        veto=NOT_BY_US),
    Row("port-taken", "host", "another process takes its port, until an operator ends it", another_takes_the_port,
        escalates(120, "port.taken"), cure=other_process_ends, shortened=QUICKLY, veto=NOT_BY_US),
    Row("stale-pid-file", "host", "a stale PID file keeps it from starting", stale_pid_file, recovers(90),
        shortened=QUICKLY),
    Row("pid-file-of-another", "host", "its PID file names another process, and it gets SIGSTOP", pid_file_of_another,
        recovers(60), look=other_process_lives),
    Row("low-memory", "host", "it cannot allocate memory while Ollama holds a model", short_of_memory, recovers(90),
        shortened=QUICKLY + "; no memory controller here: its program refuses to start while a model is loaded, and "
                            "Citadel's min_available is twice what there is"),
    Row("settings-broken", "host", "production.yaml contradicts its unit, until it is corrected", settings_broken,
        # Back at the next check: nothing was tried, so nothing is waited for.
        escalates(120, "config.invalid", before_cure=AN_ATTEMPT_LATER), cure=settings_corrected, shortened=QUICKLY,
        veto=NOT_BY_US),
    Row("our-settings-broken", "host", "citadel.conf has a bad line, and the gateway gets SIGKILL", our_settings_broken,
        escalates(150, "alarm", serves_within=30, says="citadel.conf:2"), cure=our_settings_corrected, only=OURS),
    Row("our-code-broken", "host", "a file of our library is cut short, and the gateway gets SIGKILL", our_code_broken,
        escalates(150, "alarm", serves_within=30, says="decisions.py"), cure=our_code_repaired, only=OURS),
    Row("journald-stopped", "host", "journald is stopped, and the gateway gets SIGSTOP", journald_stopped,
        recovers(90)),
    Row("dbus-dead", "host", "the D-Bus daemon is dead, and the gateway gets SIGSTOP", dbus_dead, recovers(60)),
    Row("pid-1-stopped", "host", "PID 1 does not answer", pid_1_stopped,
        escalates(90, "systemd.unresponsive"), cure=pid_1_continues),
    Row("clock-stepped", "host", "the clock was 25 years ahead, in this boot and in the one before, and the gateway "
        "gets SIGSTOP", clock_stepped, recovers(60), only=OURS,
        shortened="a container's clock is its host's: the record bears the moments that such a step leaves"),

    Row("handler-killed", "ourselves", "four passes get SIGKILL, each a step later", handler_killed,
        recovers(120), only=OURS, shortened=LASTS),
    Row("fifty-handlers", "ourselves", "fifty handlers at once, with the gateway down", fifty_handlers, recovers(60),
        only=OURS, shortened=LASTS),
    Row("trigger-lost", "ourselves", "the gateway fails while a pass is busy with Ollama", trigger_during_a_pass,
        recovers(120), only=OURS, shortened=LASTS),
    Row("lock-held", "ourselves", "another process holds the lock for 30 s", lock_held, recovers(90), only=OURS),
    Row("handler-stopped", "ourselves", "a pass gets SIGSTOP, and SIGCONT 20 s later", handler_stopped, recovers(90),
        only=OURS, shortened=LASTS),
    Row("state-corrupt", "ourselves", "all files of our state on disk are garbage, and the gateway is down",
        state_corrupt, recovers(90), only=OURS, shortened=LASTS),
    Row("triggered-20-times", "ourselves", "the recovery unit is triggered 20 times in 10 s", triggered_twenty_times,
        recovers(60), only=OURS, shortened=LASTS),
    Row("cron-overlaps", "ourselves", "eight health checks at once, with the gateway stopped by SIGSTOP", cron_overlaps,
        recovers(60), only=OURS),
    Row("hook-hangs", "ourselves", "the alert hook hangs, and the gateway's settings are broken", hook_hangs,
        escalates(150, "config.invalid", bound_after=120), cure=settings_corrected, only=OURS,
        shortened=QUICKLY + ", the hook's timeout 30 s -> 5 s"),
    Row("upgrade", "ourselves", "install.py replaces an older version in the middle of a recovery",
        upgrade_during_a_recovery, recovers(120), look=upgrade_is_whole, only=OURS, shortened=LASTS),
)


def named(names):
    """The rows of these names, in the table's order; KeyError with the first name that is none."""
    known = {row.name for row in FAULTS}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return tuple(row for row in FAULTS if row.name in names) if names else FAULTS
