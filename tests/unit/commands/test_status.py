import pytest

from citadel import model
from citadel.commands import status
from citadel.core.terminal import Style
from citadel.model import Cause, Dependency, Finding, Probe, Service, Unit

UNIT = Unit(name="x.service", main_pid=10, restart="always", restart_sec=5.0, start_burst=10, start_interval=1800.0,
            memory=512 << 20, memory_max=8 << 30)
WELL = Finding("x.service", because="x.service has been running for 2 h")
RECORD = {"incident": None, "last": None, "maintenance": "", "readable": True}
MORE = {"port": 8002, "workers": 8, "environment": "production", "since": "Mon 2026-11-23 18:00:00 UTC",
        "start_timeout": 120.0, "stop_timeout": 60.0, "on_failure": ["citadel-recovery.service"], "record": RECORD}
INCIDENT = {"id": "20261123T180000-1", "start": "2026-11-23T18:00:00Z", "end": "2026-11-23T18:00:31Z", "duration": 31.0,
            "outcome": "recovered", "causes": [{"cause": "gateway.hung"}]}


def lines(unit=UNIT, finding=WELL, dependencies=(), **more):
    return status.tree(Service(unit=unit, dependencies=dependencies), finding, dict(MORE, **more), Style())


def test_a_healthy_service():
    redis = Dependency("redis", Unit(name="redis.service"), Probe(outcome="ok", seconds=0.002))
    assert lines(dependencies=(redis,)) == [
        "x.service: has been running for 2 h", "├─ enabled: enabled", "├─ active: active (running)", "│  ├─ PID 10",
        "│  ├─ since Mon 2026-11-23 18:00:00 UTC", "│  └─ memory 512 MiB of 8 GiB", "├─ port: 8002", "├─ workers: 8",
        "├─ environment: production", "├─ restart: always", "│  ├─ after 5 s", "│  ├─ at most 10 starts in 30 min",
        "│  ├─ start timeout: 2 min", "│  ├─ stop timeout: 1 min", "│  ├─ on failure: starts citadel-recovery.service",
        "│  └─ automatic restarts: 0", "├─ dependencies",
        "│  └─ redis: redis.service active (running), answers in 2 ms", "├─ open incident: none",
        "├─ last recovery: none on record", "└─ maintenance: off"]


@pytest.mark.parametrize("given, expected", [
    pytest.param({"finding": Finding("x.service", "dependency.redis.down", "redis is down", "redis.service",
                                     (Cause("memory.low", "64 MiB are available"),), None, model.DOWN)},
                 ["x.service: redis is down (dependency.redis.down)", "also: 64 MiB are available (memory.low)"],
                 id="a cause, and others beneath it"),
    pytest.param({"unit": UNIT._replace(restarts=3)},
                 ["│  └─ automatic restarts: 3"], id="restarts"),
    pytest.param({"unit": UNIT._replace(start_burst=None, restart="", restart_sec=None), "on_failure": [],
                  "start_timeout": None}, ["├─ restart: no", "│  ├─ stop timeout: 1 min"],
                 id="what systemd does not say"),
    pytest.param({"workers": None, "environment": None, "port": None},
                 ["├─ port: not known", "├─ workers: not set", "├─ environment: not set"],
                 id="what the unit does not say"),
    pytest.param({"record": dict(RECORD, incident=INCIDENT)},
                 ["├─ open incident: 20261123T180000-1, since 2026-11-23T18:00:00Z, gateway.hung"],
                 id="an open incident"),
    pytest.param({"record": dict(RECORD, incident=dict(INCIDENT, causes=[]))},
                 ["├─ open incident: 20261123T180000-1, since 2026-11-23T18:00:00Z, cause not recorded"],
                 id="an incident without a cause"),
    pytest.param({"record": dict(RECORD, last=INCIDENT)},
                 ["├─ last recovery: 20261123T180000-1, 2026-11-23T18:00:31Z, recovered after 31 s"],
                 id="a past one"),
    pytest.param({"record": dict(RECORD, maintenance="until 18:00, upgrade")},
                 ["└─ maintenance: until 18:00, upgrade"], id="maintenance"),
    pytest.param({"record": dict(RECORD, readable=False)},
                 ["└─ without root, `status` cannot see the open incident, the last recovery and maintenance"],
                 id="not for everybody"),
    pytest.param({"dependencies": (Dependency("redis", Unit(name="redis.service", active="failed", sub="failed"),
                                              Probe(outcome="refused", detail="nothing listens\x1b[2J")),)},
                 ["│  └─ redis: redis.service failed (failed), refused: nothing listens\\x1b[2J"],
                 id="a dependency that is down"),
])
def test_lines(given, expected):
    shown = lines(**given)
    for line in expected:
        assert line in shown
