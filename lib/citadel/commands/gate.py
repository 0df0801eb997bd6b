"""The gate before each start (ExecStartPre=): waits until the dependencies are ready, not merely started.

After= on a Type=simple dependency orders the exec only: Ollama is "active" seconds before it answers. When they do not
become ready, recovery is started, and this start fails; systemd counts it, waits RestartSec and tries again. The gate
fails for no other reason: with wrong settings, or when systemd does not answer, it says so and lets the start go on.
"""

from citadel.diagnose import stopped
from citadel.observe import systemctl

PATIENCE = 60                           # seconds; the unit's TimeoutStartSec is 120
PATIENCE_LOADING = 110                  # a dependency that says it is loading will be ready; a restart prolongs it
GLANCE = 2                              # seconds that one look at all probes may take
PAUSE = 0.25
STOP_ARRIVES = 10                       # seconds
RECOVERY = "citadel-recovery.service"


def pass_gate(service, settings, stop_note, world, say):
    """Takes an unwanted start back, or waits for the dependencies of `service` (its ServiceSettings). Whether the start
    goes on, and why. `say(event, sentence)` is told of one that does not, before we act: that may end us."""
    dependencies = [settings.dependencies[name] for name in service.depends]
    names = [service.unit] + [name for dependency in dependencies for name in dependency.units]
    units = systemctl.units(names, run=world.run)
    unwanted = stopped.unwanted_start(units.pop(service.unit), tuple(units.values()), stop_note)
    if unwanted:
        say("gate-taken-back", unwanted)
        # A gate that ended before systemd's stop ends it would let the program start for a moment. (The unit's
        # ExecStartPre= sees to it that this end is a clean one.)
        systemctl.stop(service.unit, run=world.run)
        world.sleep(STOP_ARRIVES)
        return True, "start cancelled: " + unwanted
    return _wait_for({dependency.probe: dependency.name for dependency in dependencies if dependency.probe}, world, say)


def _wait_for(waiting, world, say):
    """Asks all that are not ready yet ({probe: name}), side by side, until none is left or patience ends."""
    started = world.now().monotonic
    while waiting:
        answers = world.ask(list(waiting), GLANCE)
        waiting = {target: name for target, name in waiting.items() if answers[target].outcome != "ok"}
        loading = any(answers[target].outcome == "loading" for target in waiting)
        if waiting and world.now().monotonic - started > (PATIENCE_LOADING if loading else PATIENCE):
            because = "; ".join("%s is not ready: %s" % (name, answers[target].detail or answers[target].outcome)
                                for target, name in waiting.items())
            say("gate-refused", because)
            systemctl.start(RECOVERY, run=world.run)
            return False, because + "; started " + RECOVERY
        if waiting:
            world.sleep(PAUSE)
    return True, "dependencies are ready"
