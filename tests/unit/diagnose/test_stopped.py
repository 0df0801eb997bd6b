import pytest

from citadel.diagnose.stopped import unwanted_start, who_stopped
from citadel.model import Stop, Unit

GATEWAY = Unit(name="citadel-gateway.service", invocation="abc", inactive_exit=100.02)
OLLAMA, REDIS = Unit(name="ollama.service"), Unit(name="redis-server.service")


@pytest.mark.parametrize("jobs, dependencies, state, by, dependency", [
    pytest.param({}, (OLLAMA, REDIS), "running", "crash", "", id="no job of its own: it ended by itself"),
    pytest.param({"citadel-gateway.service": "restart"}, (OLLAMA, REDIS), "running", "restart", "",
                 id="a restart is no stop"),
    pytest.param({"citadel-gateway.service": "stop"}, (OLLAMA, REDIS), "running", "operator", "",
                 id="a stop while all dependencies stay up is an operator's"),
    pytest.param({"citadel-gateway.service": "stop"}, (OLLAMA._replace(active="failed"), REDIS), "running",
                 "dependency", "ollama.service", id="a stop beside a dependency that failed is the dependency's"),
    pytest.param({"citadel-gateway.service": "stop", "ollama.service": "stop"}, (OLLAMA, REDIS), "running",
                 "dependency", "ollama.service", id="a stop beside a dependency's own stop job is the dependency's"),
    pytest.param({"citadel-gateway.service": "stop", "cron.service": "stop"}, (OLLAMA, REDIS), "running",
                 "operator", "", id="another unit's stop says nothing about ours"),
    pytest.param({"citadel-gateway.service": "stop", "ollama.service": "stop"}, (OLLAMA, REDIS), "stopping",
                 "shutdown", "", id="a shutdown stops everybody and is nobody's decision about us"),
])
def test_who_stopped(jobs, dependencies, state, by, dependency):
    assert who_stopped(GATEWAY, dependencies, jobs, state) == Stop(by, dependency, "abc")


@pytest.mark.parametrize("stop, dependency, unwanted", [
    pytest.param(Stop(by="operator"), OLLAMA._replace(restarts=1, active_enter=100.0), True,
                 id="an operator stopped it and a crashed dependency came back"),
    pytest.param(Stop(by="crash"), OLLAMA._replace(restarts=1, active_enter=100.0), False,
                 id="it had crashed: it is to come back"),
    pytest.param(Stop(by="dependency"), OLLAMA._replace(restarts=1, active_enter=100.0), False,
                 id="the dependency had stopped it too: it is to come back"),
    pytest.param(Stop(by="operator"), OLLAMA._replace(restarts=0, active_enter=100.0), False,
                 id="an operator started the dependency too"),
    pytest.param(Stop(by="operator"), OLLAMA._replace(restarts=3, active_enter=50.0), False,
                 id="the dependency has been up for a while: an operator starts us"),
])
def test_unwanted_start(stop, dependency, unwanted):
    assert bool(unwanted_start(GATEWAY, (dependency, REDIS), stop)) is unwanted
