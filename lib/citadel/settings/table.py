"""The table of all settings: one row a setting.

`SETTINGS` is the only place that knows a setting: its section, name, default (as in the file), reader (values.py) and
meaning. Defaults, validation, `config --json` and the test of the shipped units/citadel.conf are derived from it.
"""

from collections import namedtuple

from citadel.settings import values as read

Row = namedtuple("Row", "section name default reader meaning")

SETTINGS = (
    Row("service", "health", "", read.maybe(read.probe, ""),
        "What is probed to learn whether the service is healthy: http://IP:PORT/path must answer with status 200, "
        "redis://IP:PORT with PONG, tcp://IP:PORT must accept a connection. An IP address, or localhost. Empty: no "
        "probe; the state in systemd counts."),
    Row("service", "depends", "", read.each(read.dependency_name),
        "The dependencies that the service needs, in the order in which they are repaired. Each has its own "
        "[dependency NAME] section; ollama and redis are known without one."),
    Row("service", "settings", "", read.maybe(read.path, ""),
        "The service's own settings file (YAML). It is compared with the unit and never written. Empty: none."),
    Row("service", "port", "", read.maybe(read.whole(1, 65535), None),
        "The port that the service listens on, to name another process that holds it. Empty: the port in health."),
    Row("service", "start_timeout", "2min", read.duration(1, 3600),
        "Maximum time from the start of the service until it answers; until then it counts as starting, not as hung."),
    Row("service", "slow_after", "3s", read.duration(0.1, 600),
        "An answer that takes longer than this is reported as slow. Must be less than probe_timeout in [recovery]."),
    Row("service", "pid_files", "", read.each(read.removable_file),
        "PID files that an earlier run may have left. A stale one is removed; the process it names gets no signal."),
    Row("service", "temp_files", "", read.each(read.temp_pattern),
        "Temporary files that may be removed once older than temp_age in [cleanup]. Wildcards only after the last /."),
    Row("service", "log", "", read.maybe(read.path, ""),
        "The application log that `logs --app` shows. Empty: none."),

    Row("dependency", "unit", "", read.each(read.unit_name),
        "The unit of the dependency; of several, the first that exists on this host is used. Empty: NAME.service."),
    Row("dependency", "probe", "", read.maybe(read.probe, ""),
        "What is probed to learn whether the dependency is healthy, as health in [service]. Empty: no probe."),
    Row("dependency", "start_timeout", "1min", read.duration(1, 3600),
        "Maximum time from the start of the dependency until it answers. While it answers that it is loading, "
        "Citadel waits longer."),

    Row("recovery", "attempts", "5", read.whole(1, 50),
        "Maximum recovery attempts per service within window; every start, restart and reset-failed counts. After "
        "that an operator is told. One attempt is held in reserve, for when the record of the others is lost."),
    Row("recovery", "window", "30min", read.duration(60, 86400),
        "The period for which attempts is the limit."),
    Row("recovery", "attempts_per_level", "1", read.whole(1, 5),
        "Maximum attempts at each level (start; clean; repair dependencies; relieve disk or memory) before the next."),
    Row("recovery", "verify_timeout", "2min", read.duration(10, 3600),
        "Maximum time after a step until the service must be healthy: the same run for longer than RestartSec, and "
        "answering."),
    Row("recovery", "healthy_forgets", "10min", read.duration(60, 86400),
        "When a service has been healthy for this long, the next fault is treated from the first level again."),
    Row("recovery", "backoff", "5min 10min 20min 40min 60min", read.ascending(read.duration(60, 86400)),
        "After an operator was told, Citadel keeps trying, with these pauses; the last one repeats."),
    Row("recovery", "jitter", "10%", read.percent(0, 50),
        "Each pause is longer by a random share up to this, so that many hosts do not try at the same moment."),
    Row("recovery", "probe_timeout", "5s", read.duration(1, 60),
        "Maximum time for all probes together. What has not answered by then counts as hung."),
    Row("recovery", "wall", "yes", read.truth,
        "Whether an alert is also written to every terminal (wall(1))."),

    Row("cleanup", "temp_age", "1d", read.duration(3600, 365 * 86400),
        "Temporary files (temp_files in [service]) are removed when they have not changed for this long."),
    Row("cleanup", "log_directories", "/opt/citadel/logs", read.each(read.cleanable_directory),
        "When a disk is full, rotated logs are removed from these directories, the oldest first, until enough_free "
        "is reached. Never a file that is open, never anything outside. Empty: none."),
    Row("cleanup", "keep_logs", "3", read.whole(0, 1000),
        "This many rotated files of each log are kept, however full the disk is."),
    Row("cleanup", "journal_size", "500M", read.size(16 * 1024 ** 2, 1 << 50),
        "When a disk is full, the journal is cut down to this size (journalctl --vacuum-size)."),
    Row("cleanup", "keep_incidents", "200", read.whole(10, 100000),
        "This many closed incidents stay on record."),

    Row("disk", "paths", "/ /opt/citadel/logs /var/lib/citadel-recovery /var/log", read.each(read.path),
        "The file systems that hold these paths are watched; for a path that is missing, its nearest parent counts."),
    Row("disk", "min_free", "5% 1G", read.mark,
        "Less free space than this is a full disk: a percentage, a size, or both, of which the smaller counts. 0% "
        "turns it off."),
    Row("disk", "enough_free", "10% 3G", read.mark,
        "Cleaning ends when this much is free."),
    Row("disk", "min_inodes", "3%", read.share_mark,
        "Fewer free inodes than this are a full disk too. 0% turns it off."),
    Row("disk", "enough_inodes", "6%", read.share_mark,
        "Cleaning ends when this many inodes are free."),

    Row("memory", "min_available", "5% 512M", read.mark,
        "Less available memory than this (MemAvailable, which includes page cache) is low memory. 0% turns it off."),
    Row("memory", "max_pressure", "60%", read.percent(1, 100),
        "Low memory too: a larger share of the last 10 s stalled for memory (PSI, some avg10). 100% turns it off."),
    Row("memory", "unload_models", "yes", read.truth,
        "Whether Ollama is asked to unload idle models before anything is restarted."),

    Row("hook", "command", "", read.maybe(read.path, ""),
        "A program that is run when an operator must be told and when that is over; it reads the incident as JSON "
        "from stdin. It belongs to root, nobody else can write it, and it gets no arguments. It runs in "
        "citadel-recovery.service, whose 512 MB and 64 tasks it shares. Empty: none."),
    Row("hook", "timeout", "30s", read.duration(1, 300),
        "Maximum time for the program; then it is killed with everything that it started."),

    Row("alertmanager", "urls", "", read.each(read.receiver),
        "The Alertmanagers that receive alerts (API v2), each of them every alert: http://HOST:PORT or "
        "https://HOST:PORT, with a prefix where there is one. An IP address needs no name service. Empty: none."),
    Row("alertmanager", "credentials", "", read.maybe(read.path, ""),
        "A file that only root can read, with one line: `bearer TOKEN` or `basic USER:PASSWORD`. Empty: none."),

    Row("metrics", "directory", "-/var/lib/prometheus/node-exporter", read.maybe(read.textfile_directory, ""),
        "Where node_exporter's textfile collector reads *.prom; only root may be able to write there. With a - "
        "before it, it need not exist. Empty: no metrics."),
)

NAMED = ("service", "dependency")       # sections of which there may be several: [service UNIT], [dependency NAME]

# What is known without a section of its own, and what a section of that name leaves out.
BUILT_IN = {
    ("service", "citadel-gateway.service"): {
        "health": "http://127.0.0.1:8002/health", "depends": "ollama redis",
        "settings": "/opt/citadel/config/production.yaml", "pid_files": "/run/citadel/gateway.pid",
        "temp_files": "/run/citadel/*.tmp", "log": "/opt/citadel/logs/api-gateway/service.log"},
    ("dependency", "ollama"): {"unit": "ollama.service", "probe": "http://127.0.0.1:11434/api/version"},
    ("dependency", "redis"): {"unit": "redis-server.service redis.service", "probe": "redis://127.0.0.1:6379"},
}

ROWS = {}
for _row in SETTINGS:
    ROWS.setdefault(_row.section, {})[_row.name] = _row

ServiceSettings = namedtuple("ServiceSettings", ["unit"] + list(ROWS["service"]))
DependencySettings = namedtuple("DependencySettings", ["name"] + [
    "units" if name == "unit" else name for name in ROWS["dependency"]])
SINGLE = ("recovery", "cleanup", "disk", "memory", "hook", "alertmanager", "metrics")


class Section:
    """The settings of a section of which there is one, by their names in the file. Used like a namedtuple; seven of
    those would take a third of the time that reading the settings takes."""

    def __init__(self, **values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        raise AttributeError("settings are not changed in place: _replace()")

    def __eq__(self, other):
        return isinstance(other, Section) and self.__dict__ == other.__dict__

    def _replace(self, **changes):
        return Section(**dict(self.__dict__, **changes))


class Settings(namedtuple("Settings", ("file", "services", "dependencies") + SINGLE)):
    """All settings: `services` a tuple of ServiceSettings in the file's order, `dependencies` a dict of
    DependencySettings by name, the rest one Section each."""

    __slots__ = ()

    def service(self, unit):
        """The ServiceSettings of that unit, or None."""
        return next((service for service in self.services if service.unit == unit), None)
