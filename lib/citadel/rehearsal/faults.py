"""What is broken on purpose, and what must be seen then. Each fault begins with a healthy gateway and cleared counters,
and is repaired at its end, whatever happened.
"""

import time
from collections import namedtuple
from operator import methodcaller

from citadel.core.errors import CitadelError
from citadel.rehearsal.stage import GATEWAY, OLLAMA, OTHER, SETTINGS

BROKEN_OLLAMA = """[Service]
ExecStart=
ExecStart=/bin/sh -c 'echo "Error: CUDA error: out of memory" >&2; exit 1'
Restart=on-failure
"""
LISTENS = """import socket, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", 8002))
server.listen(100)
time.sleep(1000)
"""
BEFORE_A_PASS = 12      # seconds for systemd to recover it alone, where it can, before cron's check would look

Fault = namedtuple("Fault", "name what inject seen causes bound needs prepare")
Fault.__new__.__defaults__ = ((), 60, "", lambda stage: None)
Fault.__doc__ = """`what` happens, in a few words; `inject(stage)` does it; `seen(stage, before, fault)` watches and
returns what happened, or raises CitadelError with what did not; `causes` are those that a recovery pass may name first
(empty: any); `bound` seconds from the fault to its end; `needs` the stand-in without which it cannot be tried;
`prepare(stage)` is done before the fault."""

Result = namedtuple("Result", "name survived happened because cause seconds")
Result.__doc__ = "How a fault ended. `survived` is None for one that could not be tried on this host."


def perform(fault, stage):
    """Plays one fault and returns its Result; the machine is repaired afterwards."""
    if fault.needs and fault.needs not in stage.standins:
        return Result(fault.name, None, "not tried: it needs a stand-in for " + fault.needs, "", "", 0.0)
    try:
        before = stage.make_ready()
        fault.prepare(stage)
    except CitadelError as error:
        stage.repair()
        return Result(fault.name, False, "the gateway was not healthy before the fault", str(error), "", 0.0)
    stage.said = {}
    started = time.monotonic()
    try:
        fault.inject(stage)
        survived, happened = True, fault.seen(stage, before, fault)
    except CitadelError as error:
        survived, happened = False, str(error)
    finally:
        seconds = time.monotonic() - started
        stage.repair()
    cause = stage.said.get("cause", "")
    if survived and fault.causes and cause not in fault.causes:
        survived, happened = False, "%s, but the cause that was named is %s" % (happened, cause or "none")
    return Result(fault.name, survived, happened, stage.said.get("because", ""), cause, seconds)


# --- what must be seen

def comes_back(stage, before, fault, alone=BEFORE_A_PASS):
    """Down, and up again with another InvocationID; a recovery pass only if it is not back after `alone` seconds."""
    stage.listen()
    try:
        stage.wait_until_healthy(alone, unlike=before.invocation)
        return "back by itself"
    except CitadelError:
        stage.recover(wait=False)
        stage.wait_until_healthy(fault.bound - alone, unlike=before.invocation)
        return "back after a recovery pass"


def a_pass_brings_it_back(stage, before, fault):
    """systemd does not notice it; the recovery pass that cron's check would start does."""
    stage.recover(wait=False)
    stage.wait_until_healthy(fault.bound, unlike=before.invocation)
    stage.recall()
    return "found and restarted by a recovery pass"


def is_named_then_comes_back_when_repaired(stage, before, fault):
    """While Ollama cannot start, a recovery pass names it; when an operator has repaired it, the gateway is back."""
    stage.machine.wait_for(lambda: stage.unit(OLLAMA).exec_code == "exited", 30, "Ollama to fail by itself", pause=0.1)
    stage.listen()
    stage.recover()
    if stage.healthy():
        raise CitadelError("the gateway runs although Ollama is broken")
    stage.drop_in(OLLAMA, "")
    stage.machine.run(["systemctl", "reset-failed", "--", OLLAMA], 10)
    stage.machine.run(["systemctl", "start", "--no-block", "--", OLLAMA], 10)
    stage.wait_until_healthy(fault.bound, unlike=before.invocation)
    return "named while it lasted; back when Ollama was repaired"


def ends_its_crash_loop(stage, before, fault):
    """The start limit ends the loop; when the program is repaired, a recovery pass brings the gateway back."""
    stage.wait_for_state(("failed",), 60)
    stage.switch("gateway", "")
    comes_back(stage, before, fault, alone=30)
    stage.recall()
    return "the start limit ended the loop; back after a recovery pass"


def is_left_alone(stage, before, fault):
    """A recovery pass looks and does nothing, for longer than RestartSec."""
    stage.listen()
    stage.recover()
    end = time.monotonic() + 7
    while time.monotonic() < end:
        active = stage.unit().active
        if active not in ("inactive", "failed", "deactivating"):
            raise CitadelError("stopped by an operator, and started again (%s)" % active)
        time.sleep(0.25)
    return "stopped by an operator; not restarted"


def is_named_and_not_restarted(stage, before, fault):
    """Wrong settings are named with file and line. A restart cannot help, so none is made; back when they are right."""
    stage.wait_for_state(("auto-restart", "auto-restart-queued", "failed"), 30)
    stage.wait_for_state(("failed",), 90)
    stage.listen()
    stage.recover()
    if stage.healthy():
        raise CitadelError("the gateway runs with settings that contradict its unit")
    stage.machine.write(SETTINGS, "server:\n  port: 8002\n")
    stage.switch("gateway", "")
    stage.reset()
    stage.recover()
    stage.wait_until_healthy(fault.bound, unlike=before.invocation)
    return "named with file and line; back when it was corrected"


def is_named_and_let_be(stage, before, fault):
    """Another process on its port is named and not killed, and the gateway is not started; back when it has ended."""
    stage.wait_for_state(("failed",), 90)
    stage.listen()
    stage.recover()
    if stage.unit(OTHER).active != "active":
        raise CitadelError("the process on its port was killed")
    stage.inside(["systemctl", "stop", "--", OTHER], 10)
    stage.recover(wait=False)
    stage.wait_until_healthy(fault.bound, unlike=before.invocation)
    return "the other process was named and not killed; back when it ended"


# --- how it is broken

def break_ollama(stage):
    stage.drop_in(OLLAMA, BROKEN_OLLAMA)
    stage.kill_main(OLLAMA)


def stop_processes_of(unit):
    return lambda stage: stage.inside(["kill", "-STOP"] + stage.processes(unit), 10)


def shorten_start_time_of(unit, section):
    """A service that does not answer just after its start counts as starting for a minute or two; here, for 10 s."""
    def prepare(stage):
        stage.set_option(section, "start_timeout = 10")
        stage.machine.wait_for(lambda: time.monotonic() - stage.unit(unit).active_enter > 11, 12,
                               "its start time to be over", 0.5)
    return prepare


def answer_500(stage):
    stage.switch("gateway", "500 %d" % stage.main_pid(GATEWAY))


def use_up_starts(stage):
    """Restarts use up all but three of the ten starts that the limit allows: a crash loop ends after 15 s, not 50."""
    for _ in range(6):
        stage.inside(["systemctl", "restart", "--", GATEWAY], 60)
    stage.wait_until_healthy(30)


def take_its_port(stage):
    """Another process takes it before systemd starts the gateway again."""
    stage.kill_main(GATEWAY)
    stage.inside(["systemd-run", "--quiet", "--unit=" + OTHER, stage.python(), "-IS", "-c", LISTENS], 10)


def crash_at_start(stage):
    stage.switch("gateway", "crash")
    stage.kill_main(GATEWAY)


def contradict_the_unit(stage):
    stage.machine.write(SETTINGS, "server:\n  port: 9002\n")
    crash_at_start(stage)


FAULTS = (
    Fault("gateway-killed", "the gateway's main process gets SIGKILL",
          methodcaller("kill_main", GATEWAY), comes_back, ("gateway.crashed",), 30),
    Fault("ollama-killed", "Ollama gets SIGKILL",
          methodcaller("kill_main", OLLAMA), comes_back,
          ("dependency.ollama.down", "gateway.stopped-with-dependency"), 60),
    Fault("ollama-broken", "Ollama cannot start until an operator repairs it",
          break_ollama, is_named_then_comes_back_when_repaired, ("dependency.ollama.down",), 90),
    Fault("ollama-hung", "every process of Ollama gets SIGSTOP",
          stop_processes_of(OLLAMA), a_pass_brings_it_back, ("dependency.ollama.hung",), 150,
          prepare=shorten_start_time_of(OLLAMA, "[dependency ollama]")),
    Fault("gateway-hung", "every process of the gateway gets SIGSTOP",
          stop_processes_of(GATEWAY), a_pass_brings_it_back, ("gateway.hung",), 60),
    Fault("port-taken", "another process takes its port while it is down, until an operator stops that process",
          take_its_port, is_named_and_let_be, ("port.taken",), 60, prepare=use_up_starts),
    Fault("crash-loop", "the gateway crashes at each start, up to the start limit; then it is repaired",
          crash_at_start, ends_its_crash_loop, ("gateway.crash-loop",), 120, "gateway", use_up_starts),
    Fault("operator-stop", "an operator stops the gateway",
          methodcaller("inside", ["systemctl", "stop", "--", GATEWAY], 90), is_left_alone,
          ("gateway.stopped-by-operator",), 60),
    Fault("bad-settings", "production.yaml contradicts the unit, and the gateway does not start",
          contradict_the_unit, is_named_and_not_restarted, ("config.invalid",), 120, "gateway", use_up_starts),
    Fault("http-500", "the gateway answers 500 until it is restarted (a recovery pass waits a minute to be sure)",
          answer_500, a_pass_brings_it_back, ("gateway.http-error",), 120, "gateway",
          shorten_start_time_of(GATEWAY, "[service %s]" % GATEWAY)),
)
