"""Everything that users script against, compared with tests/samples/contract.json: a name lost or added fails here.

The real mains run, through the door that every command takes (`enter`), each in a process of its own, on a host that is
made up (`Host`): a directory stands for our paths, fake systemctl and journalctl for systemd, a small server for the
gateway, the dependencies and Alertmanager. In that process alone our user is root, and long pauses only move the
clocks. So neither root, nor systemd, nor a network is needed, and nothing here knows how the code is divided.

A JSON document's golden lists the path of every key with the JSON types that it was seen to hold; `?` after a key says
that it may be absent. The file tells what was promised, so it is not changed along with the code. To see it as the code
is now:  PYTHONPATH=lib python3 tests/unit/test_contract.py
"""

import difflib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import re
import select
import shutil
import socket
import sys
import tempfile
import time
import types

import pytest

# Where things live; the only place that follows when they move.
from places import SAMPLES
from world import FAULTS, GATEWAY, OLLAMA, REDIS, World

import citadel
from citadel.commands.handler import main as handler
from citadel.commands.manager import main as manager
from citadel.core import log
from citadel.core import run as programs  # it has PATH, where programs are
from citadel.core.entry import enter
from citadel.core.log import EVENTS, journal
from citadel.diagnose.causes import diagnose
from citadel.model import Facts, Probe, Service, Stop, Unit
from citadel.model import Host as HostFacts
from citadel.rehearsal.faults import Result as FaultResult
from citadel.rehearsal.narrator import Narrator
from citadel.settings.file import as_data, parse
from citadel.settings.table import SETTINGS

GOLDEN = os.path.join(SAMPLES, "contract.json")

# What belongs to us or to journald on a real host; below the made-up host's directory here.
OURS = ("/opt/citadel", "/var/lib/citadel-recovery", "/run/citadel-recovery", "/run/systemd/journal/socket",
        "/etc/cron.d/citadel")
STATE = OURS[1]
SHORT = 0.2                             # seconds; a longer pause only moves the clocks
NOT_ROOT = 12345

SETTINGS_FILE = """
[service citadel-gateway.service]
health = http://127.0.0.1:%(port)d/health
depends = ollama redis
settings =
port = 1
start_timeout = 1s
pid_files =
temp_files =
log = %(log)s
[dependency ollama]
unit = ollama.service
probe = http://127.0.0.1:%(port)d/api/version
start_timeout = 1s
[dependency redis]
unit = redis-server.service
probe = tcp://127.0.0.1:%(port)d
start_timeout = 1s
[recovery]
attempts = 1
window = 1min
wall = no
[disk]
paths = /proc
[memory]
min_available = 0%%
max_pressure = 100%%
[alertmanager]
urls = http://127.0.0.1:%(port)d
[hook]
command = %(hook)s
[metrics]
directory = %(metrics)s
"""

SYSTEMCTL = """#!/bin/sh
cd '%s' || exit 1
[ ! -e silent ] || { echo 'Failed to connect to bus' >&2; exit 1; }
verb=$1
while [ "$1" != -- ] && [ $# -gt 0 ]; do shift; done
[ $# -eq 0 ] || shift
case $verb in
is-system-running) echo running;;
show)
    for name; do
        cat "units/$name" 2>/dev/null || printf 'Id=%%s\\nLoadState=not-found\\nActiveState=inactive\\n' "$name"
        echo
    done;;
start|restart|kill) [ ! -e next ] || mv next units/citadel-gateway.service;;
esac
"""

UNIT = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running",
    "Result": "success", "MainPID": "4711", "ControlGroup": "", "ExecMainCode": "0", "ExecMainStatus": "0",
    "NRestarts": "0", "InvocationID": "a1", "Job": "", "FreezerState": "running", "NeedDaemonReload": "no",
    "FragmentPath": "/usr/local/lib/systemd/system/citadel-gateway.service", "DropInPaths": "/etc/x.conf",
    "OnFailure": "citadel-recovery.service", "MemoryCurrent": "1048576", "MemoryMax": "infinity", "TasksCurrent": "3",
    "Restart": "always", "RestartUSec": "100ms", "StartLimitBurst": "10", "StartLimitIntervalUSec": "30min",
    "TimeoutStartUSec": "2min", "TimeoutStopUSec": "30s", "StateChangeTimestamp": "Mon 2026-11-23 18:00:00 UTC",
    "Environment": "CITADEL_ENV=production",
    "ExecStart": "{ path=/opt/citadel/venv/bin/uvicorn ; argv[]=/opt/citadel/venv/bin/uvicorn x:app --port 8002 "
                 "--workers 2 ; }"}
BROKEN = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": "1",
          "ExecMainStatus": "3", "MainPID": "0"}

LINE = {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1795456800000000", "__MONOTONIC_TIMESTAMP": "1000000",
        "_BOOT_ID": "b", "MESSAGE": "hello", "PRIORITY": "6", "_PID": "4711", "SYSLOG_IDENTIFIER": "uvicorn"}


class Host:
    """The made-up host, and the commands that are given on it."""

    def __init__(self):
        self.place = os.path.realpath(tempfile.mkdtemp(prefix="c"))
        for name in ("bin", "units", "kept"):
            os.mkdir(self.path(name))
        for name in OURS:
            os.makedirs(os.path.dirname(self.place + name), exist_ok=True)
        os.makedirs(self.place + "/opt/citadel/etc")
        os.mkdir(self.path("metrics"), 0o755)
        self.program("bin/systemctl", SYSTEMCTL % self.place)
        self.program("bin/journalctl", "#!/bin/sh\ncat '%s'\n" % self.path("lines"))
        self.program("hook", "#!/bin/sh\ncat >> '%s'\necho >> '%s'\n" % ((self.path("heard-by-hook"),) * 2))
        self.write("lines", json.dumps(LINE) + "\n")
        self.write("app.log", "hello\n")
        self.write("slept", "0.0")
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        words = {"port": listener.getsockname()[1], "log": self.path("app.log"), "hook": self.path("hook"),
                 "metrics": self.path("metrics")}
        self.write(OURS[0] + "/etc/citadel.conf", SETTINGS_FILE % words)
        self.write("wrong.conf", "[recovery]\nattempts = none\n")
        self.write("no-hook.conf", "[hook]\ncommand = /nonexistent/hook\n")
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        datagrams.bind(self.place + "/run/systemd/journal/socket")
        self.server = os.fork()
        if not self.server:
            serve(listener, datagrams, self)
        listener.close()
        datagrams.close()
        self.gateway()
        for name in (OLLAMA, REDIS):
            self.unit("units/" + name, name)

    def path(self, name):
        return os.path.join(self.place, name)

    def write(self, name, text, mode=0o644):
        path = self.place + "/" + name.lstrip("/")
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def program(self, name, text):
        self.write(name, text, 0o755)

    def unit(self, file, name, **properties):
        entered = str(max(1, int((time.monotonic() - 60) * 1e6)))
        stamps = dict.fromkeys(("ActiveEnterTimestampMonotonic", "StateChangeTimestampMonotonic",
                                "InactiveExitTimestampMonotonic"), entered)
        stamps["ActiveExitTimestampMonotonic"] = "0" if "ActiveState" not in properties else str(int(entered) + 1)
        words = dict(UNIT, Id=name, **stamps)
        words.update(properties)
        self.write(file, "".join("%s=%s\n" % item for item in sorted(words.items())))

    def gateway(self, **properties):
        self.unit("units/" + GATEWAY, GATEWAY, **properties)

    def after_next_start(self, **properties):
        """What the gateway is like once somebody starts, restarts or kills it."""
        self.unit("next", GATEWAY, InvocationID="b2", MainPID="4712", **properties)

    def command(self, main, *words, **how):
        """(exit code, stdout) of a command; `uid`: who gives it."""
        pid = os.fork()
        if not pid:
            self.become(main, words, how.get("uid", 0))
        code = os.waitpid(pid, 0)[1]
        assert os.WIFEXITED(code), "killed by signal %d: %s" % (code, words)
        for name in os.listdir(self.path("metrics")):
            number = len(os.listdir(self.path("kept")))
            shutil.copy(self.path("metrics/" + name), self.path("kept/%d-%s" % (number, name)))
        with open(self.path("stdout")) as file:
            return os.WEXITSTATUS(code), file.read()

    def become(self, main, words, uid):
        """The child: moves into this host and does not return."""
        code = 99
        try:
            for number, name in ((0, os.devnull), (1, self.path("stdout")), (2, self.path("stderr"))):
                os.dup2(os.open(name, (os.O_WRONLY if number else os.O_RDONLY) | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
            self.move_in(uid)
            sys.argv = ["command"] + list(words)
            code = enter(main, "command", trusted_tree=False)
        except SystemExit as end:
            code = end.code
            sys.stdout.flush()
        finally:
            os._exit(code)

    def move_in(self, uid):
        """From here on our paths lie below this host's directory, its programs are the fake ones, our user is `uid`,
        and a pause moves its clocks. By value and not by name, wherever in our modules such a thing is kept."""
        fakes = dict(self.clocks(), **{"statvfs": lambda path: os.statvfs_result(
            (4096, 4096, 1 << 24, 1 << 23, 1 << 23, 1 << 20, 1 << 19, 1 << 19, 0, 255))})
        replaced = {getattr(time if hasattr(time, name) else os, name): fake for name, fake in fakes.items()}

        def moved(value):
            if isinstance(value, str) and value.startswith(OURS):
                return self.place + value
            return replaced.get(value, value) if isinstance(value, types.BuiltinFunctionType) else value

        functions = [one for one in gc.get_objects() if isinstance(one, types.FunctionType)
                     and str(one.__module__).partition(".")[0] == "citadel"]
        for one in functions:
            one.__defaults__ = one.__defaults__ and tuple(map(moved, one.__defaults__))
            for name, value in (one.__kwdefaults__ or {}).items():
                one.__kwdefaults__[name] = moved(value)
            fixed = [word for word in one.__code__.co_consts if str(word).startswith(OURS) and " " not in str(word)]
            assert not fixed, "%s would leave this host: %s" % (one, fixed)
        for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "citadel"]:
            for name, value in list(vars(module).items()):
                if not name.startswith("__"):
                    setattr(module, name, moved(value))
        for name, fake in fakes.items():
            setattr(time if hasattr(time, name) else os, name, fake)
        programs.PATH = (self.path("bin"),)
        log.JOURNAL = self.place + "/run/systemd/journal/socket"
        self.change_user(uid)

    def slept(self):
        with open(self.path("slept")) as file:
            return float(file.read())

    def later(self, seconds):
        self.write("slept", repr(self.slept() + seconds))

    def clocks(self):
        """The real ones, and ahead of them by all that was slept on this host."""
        real = {name: getattr(time, name) for name in ("sleep", "monotonic", "time", "clock_gettime")}
        ahead = [self.slept()]

        def sleep(seconds):
            if seconds < SHORT:
                real["sleep"](seconds)
                return
            self.later(seconds)
            ahead[0] += seconds

        return {"sleep": sleep, "monotonic": lambda: real["monotonic"]() + ahead[0],
                "time": lambda: real["time"]() + ahead[0],
                "clock_gettime": lambda number: real["clock_gettime"](number) + ahead[0]}

    @staticmethod
    def change_user(uid):
        """What belongs to the user of these tests belongs to `uid`, who we are."""
        ours = os.getuid()

        def seen(ask):
            def status(*words, **more):
                kind, (visible, others) = ask(*words, **more).__reduce__()
                return kind(visible[:4] + ((uid,) if visible[4] == ours else visible[4:5]) + visible[5:], others)
            return status

        for name in ("stat", "lstat", "fstat"):
            setattr(os, name, seen(getattr(os, name)))
        os.getuid = os.geteuid = lambda: uid

    def end(self):
        """Ends the server; what it heard is complete then."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"END", self.place + "/run/systemd/journal/socket")
        os.waitpid(self.server, 0)

    def documents_in(self, name):
        with open(self.path(name)) as file:
            text = file.read().strip()
        found, decoder = [], json.JSONDecoder()
        while text:
            document, end = decoder.raw_decode(text)
            found.append(document)
            text = text[end:].lstrip()
        return found


def serve(listener, datagrams, host):
    """The server's process: answers every GET with 200, keeps what is POSTed and what is sent to the journal."""
    try:
        alerts, entries = (open(host.path(name), "ab", 0) for name in ("heard-by-alertmanager", "entries"))
        with alerts, entries:
            while True:
                ready = select.select([listener, datagrams], [], [])[0]
                if datagrams in ready:
                    entry = datagrams.recv(65536)
                    if entry == b"END":
                        break
                    entries.write(json.dumps(dict(line.split("=", 1) for line in entry.decode().splitlines()
                                                  if "=" in line)).encode() + b"\n")
                if listener in ready:
                    answer(listener.accept()[0], alerts)
    finally:
        os._exit(0)


def answer(connection, alerts):
    """One exchange by HTTP; who only connects is let go."""
    connection.settimeout(10)
    try:
        with connection, connection.makefile("rb") as heard:
            first, length = heard.readline(), 0
            for line in iter(heard.readline, b"\r\n"):
                if not line:
                    return
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            body = heard.read(length)
            if first.startswith(b"POST /api/v2/alerts "):
                alerts.write(body + b"\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    except OSError:
        pass                            # who asked has gone, which is its own affair


# --- what a document is like ------------------------------------------------------------------------------------------

KEYS = {GATEWAY: "<unit>", "ollama": "<name>", "redis": "<name>"}      # that are not ours but the settings'


def shape(documents):
    """{path: JSON types} of all that these documents hold; lists by the union of their elements."""
    rows = {}
    _note("", documents, rows)
    return {path: "|".join(sorted(kinds)) for path, kinds in rows.items() if path}


def _note(path, values, rows):
    """Notes what stands at one path in all documents, and goes on beneath it."""
    objects = [value for value in values if isinstance(value, dict)]
    elements = [element for value in values if isinstance(value, list) for element in value]
    rows.setdefault(path, set()).update(map(_kind, values))
    if elements:
        _note(path + "[]", elements, rows)
    beneath = {}
    for one in objects:
        for key, value in one.items():
            beneath.setdefault(KEYS.get(key, key), []).append((id(one), value))
    for key, found in beneath.items():
        may_be_absent = "" if len({owner for owner, _ in found}) == len(objects) else "?"
        _note((path + "." if path else "") + key + may_be_absent, [value for _, value in found], rows)


def _kind(value):
    return ("null" if value is None else "boolean" if isinstance(value, bool) else
            "number" if isinstance(value, (int, float)) else "string" if isinstance(value, str) else
            "list" if isinstance(value, list) else "object")


# --- the story --------------------------------------------------------------------------------------------------------

class Story:
    """The commands in an order in which each meets what it can tell of; what they answered."""

    def __init__(self, host):
        self.host = host
        self.documents, self.verdicts, self.foreseen, self.statuses, self.codes = {}, {}, {}, {}, {}

    def tell(self, name, main, *words):
        """Gives a command with --json and files its document under that name."""
        code, said = self.host.command(main, *(words + ("--json",)))
        try:
            document = json.loads(said)
        except ValueError:
            with open(self.host.path("stderr")) as file:
                raise AssertionError("%s: exit %d without a document: %s%s" % (words, code, said, file.read()))
        self.documents.setdefault(name, []).append(document)
        return code, document

    def a_pass(self, name, *words):
        code, document = self.tell(name, handler, *words)
        verdict, = (one["verdict"] for one in document["services"])
        verdicts = self.foreseen if "--dry-run" in words else self.verdicts
        assert verdicts.setdefault(verdict, code) == code
        return verdict

    def check(self):
        code, document = self.tell("check", manager, "check")
        assert document["code"] == code
        assert self.statuses.setdefault(document["status"], code) == code

    def fails(self, what, main, *words, **how):
        self.codes[what] = self.host.command(main, *words, **how)[0]

    def play(self):
        for chapter in (self.all_is_well, self.a_drill, self.maintenance, self.recovered, self.escalated, self.over,
                        self.taken_out_of_service, self.systemd_is_silent, self.settings, self.what_fails):
            chapter()
        return self

    def all_is_well(self):
        assert self.a_pass("handler, healthy") == "healthy"
        self.check()
        for words in ("status", "explain", "history", "logs", "config"):
            self.tell(words, manager, words)
        self.tell("logs --app", manager, "logs", "--app")
        self.tell("monitor", manager, "monitor", "1")

    def a_drill(self):
        self.host.after_next_start(NRestarts="1")
        code, document = self.tell("test-restart, done", manager, "test-restart")
        assert (code, document["ok"]) == (0, True), document
        self.host.gateway(**BROKEN)
        code, document = self.tell("test-restart, refused", manager, "test-restart")
        assert (code, document["ok"]) == (1, False), document

    def maintenance(self):
        self.tell("maintenance off", manager, "maintenance", "off")
        self.tell("maintenance status", manager, "maintenance", "status")
        self.tell("maintenance on", manager, "maintenance", "on", "--for", "2h", "--reason", "new disk")
        self.tell("maintenance status", manager, "maintenance", "status")
        self.host.unit("units/" + REDIS, REDIS, **BROKEN)       # a second cause beneath the first
        for words in ("status", "check", "explain"):
            self.tell(words, manager, words)
        self.host.unit("units/" + REDIS, REDIS)
        self.tell("maintenance off", manager, "maintenance", "off")

    def recovered(self):
        """A start helps."""
        self.check()
        self.tell("explain", manager, "explain")
        self.a_pass("handler --dry-run", "--dry-run")
        self.host.after_next_start()
        assert self.a_pass("handler, recovered") == "recovered"
        self.tell("status", manager, "status")

    def escalated(self):
        """Nothing helps, and an alert is sent."""
        self.host.gateway(**BROKEN)
        self.host.later(120)                                    # the attempt before does not count any more
        assert self.a_pass("handler, escalated") == "escalated"
        self.check()
        self.tell("explain", manager, "explain")
        self.a_pass("handler --dry-run", "--dry-run")
        self.tell("status", manager, "status")
        self.tell("history", manager, "history")
        incident = self.documents["history"][-1]["incidents"][0]["id"]
        self.tell("logs --incident", manager, "logs", "--incident", incident)

    def over(self):
        """It is well again, but so it was before: this has to last."""
        self.host.gateway(InvocationID="c3")
        assert self.a_pass("handler, waiting") == "waiting"
        self.check()
        self.tell("reset", manager, "reset")
        self.host.later(1200)
        assert self.a_pass("handler, healthy") == "healthy"
        self.tell("history", manager, "history")

    def taken_out_of_service(self):
        self.host.gateway(ActiveState="inactive", SubState="dead", MainPID="0", UnitFileState="disabled")
        assert self.a_pass("handler, stood-down") == "stood-down"
        self.check()

    def systemd_is_silent(self):
        self.host.write("silent", "")
        assert self.a_pass("handler --dry-run", "--dry-run") == "unknown"
        assert self.a_pass("handler, escalated") == "escalated"
        self.check()
        self.fails("could not look", manager, "status")
        os.unlink(self.host.path("silent"))

    def settings(self):
        good, wrong = self.host.place + OURS[0] + "/etc/citadel.conf", self.host.path("wrong.conf")
        assert self.tell("config --check, valid", manager, "config", "--check", good)[0] == 0
        self.tell("config --check, valid", manager, "config", "--check", self.host.path("no-hook.conf"))
        self.codes["settings are wrong"] = self.tell("config --check, wrong", manager, "config", "--check", wrong)[0]
        code, document = self.tell("check, settings are wrong", manager, "check", "--config", wrong)
        assert self.statuses.setdefault(document["status"], code) == code

    def what_fails(self):
        self.fails("done", manager, "maintenance", "status")
        self.fails("still wrong", manager, "status")
        self.fails("the command line is wrong", manager, "stauts")
        self.fails("not permitted", manager, "reset", uid=NOT_ROOT)
        self.fails("internal error", lambda arguments: 1 // 0)
        self.fails("interrupted", interrupt)
        with open(self.host.place + STATE + "/lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.fails("another pass holds the lock", handler)


def interrupt(arguments):
    raise KeyboardInterrupt


class FakeStage:
    standins = ("ollama",)


def rehearsal():
    """The document of citadel-rehearsal, which boots no machine for it."""
    out = io.StringIO()
    narrator = Narrator(out, True, clock=lambda: 0.0)
    narrator.step("boot", lambda: "systemd 252", FakeStage())
    results = [FaultResult("one", True, "back", "it was killed", "gateway.crashed", 5.25),
               FaultResult("two", None, "not tried", "", "", 0.0)]
    narrator.close(results, True, FakeStage())
    return json.loads(out.getvalue())


# --- the other parts --------------------------------------------------------------------------------------------------

def metrics_in(texts):
    """{name: its type and its labels' names}, and the causes that are counted, of files in Prometheus' text format."""
    families, causes = {}, set()
    for line in "\n".join(texts).splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            families.setdefault(name, {"type": kind, "labels": set()})
        elif line and not line.startswith("#"):
            name = re.match("[a-z_]+", line).group()
            labels = re.findall(r'[{,]([a-z_]+)="', line)
            family = families[name if name in families else name.rpartition("_")[0]]
            family["labels"].update(labels)
            if name == "citadel_incidents_total":
                causes.add(re.search('cause="([^"]*)"', line).group(1))
    return {name: {"type": one["type"], "labels": sorted(one["labels"])} for name, one in families.items()}, causes


def in_general(cause):
    """A cause with `<name>` for the dependency's."""
    words = cause.split(".")
    return ".".join(["dependency", "<name>"] + words[2:]) if words[0] == "dependency" else cause


def causes_found():
    """Every cause that is found on hosts which suffer from one thing each."""
    settings = parse("", "citadel.conf")
    found = set()

    def look(world, stops):
        facts = world.observe(settings, stop_note=lambda unit: stops.get(unit, Stop()))
        judge(facts)

    def judge(facts):
        for finding in diagnose(facts, settings):
            found.update([finding.cause] if finding.cause else [], (one.cause for one in finding.others))

    for happens in [lambda world, fault=fault: world.breaks(fault) for fault in FAULTS] + [
            lambda world, unit=unit: world.operator_stops(unit) for unit in (GATEWAY, REDIS)] + [World.reboots]:
        world, stops = World(random.Random(1), None), {}
        world.note_stop = stops.__setitem__
        happens(world)
        for seconds in (1, 60, 600):
            world.passes(seconds)
            look(world, stops)
        world.breaks("crash")                                   # what keeps it from coming up again is seen now
        for seconds in (1, 600):
            world.passes(seconds)
            look(world, stops)
    for unit in (dict(result="timeout", active_enter=1.0, inactive_exit=2.0), dict(active="inactive", sub="dead")):
        judge(Facts(HostFacts(monotonic=900.0), (Service(
            Unit(name=GATEWAY, **dict({"active": "failed", "sub": "failed", "main_pid": 0}, **unit)),
            Probe("x", "refused")),)))
    return sorted(set(map(in_general, found)))


SAMPLE = "only to see what it looks like"


def send_every_event(arguments):
    for event in EVENTS:
        for _ in range(200):                                    # a socket takes some ten entries until they are read
            if journal(event, SAMPLE, GATEWAY, cause="gateway.hung", verdict="act", incident="20261123T180000-1"):
                break
            time.sleep(0.01)
    return 0


def contract():
    """All of it, as the code is now."""
    for _, name, _ in pkgutil.walk_packages(citadel.__path__, "citadel."):
        if ".standins" not in name:
            importlib.import_module(name)
    host = Host()
    try:
        try:
            story = Story(host).play()
            assert host.command(send_every_event)[0] == 0
        finally:
            host.end()
        texts = []
        for name in os.listdir(host.path("kept")):
            with open(host.path("kept/" + name)) as file:
                texts.append(file.read())
        metrics, counted = metrics_in(texts)
        entries = host.documents_in("entries")
        story.documents["citadel-rehearsal"] = [rehearsal()]
        told = [alert for post in host.documents_in("heard-by-alertmanager") for alert in post]
        heard = host.documents_in("heard-by-hook")
        return {
            "documents": {name: shape(documents) for name, documents in story.documents.items()},
            "verdicts": story.verdicts,
            "verdicts of --dry-run": story.foreseen,
            "check": story.statuses,
            "exit codes": story.codes,
            "causes": causes_found(),
            "causes counted": sorted(set(map(in_general, counted))),
            "metrics": metrics,
            "metrics, files": sorted({name.partition("-")[2] for name in os.listdir(host.path("kept"))}),
            "journal events": {entry["CITADEL_EVENT"]: {name: entry[name] for name in (
                "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER")} for entry in entries},
            "journal events of the story": sorted({entry["CITADEL_EVENT"] for entry in entries
                                                   if entry["MESSAGE"] != SAMPLE}),
            "journal fields": sorted({field for entry in entries for field in entry}),
            "alertmanager": shape(told),
            "alertmanager, fixed labels": sorted({"alertname=%(alertname)s severity=%(severity)s" % alert["labels"]
                                                  for alert in told}),
            "hook": shape(heard),
            "hook, kinds and severities": sorted({"%(kind)s %(severity)s" % one for one in heard}),
            "settings": {"[%s] %s" % (row.section, row.name): row.default for row in SETTINGS},
            "settings of an empty file": as_data(parse("", "citadel.conf"))}
    finally:
        shutil.rmtree(host.place)


def as_text(part):
    return json.dumps(part, indent=1, sort_keys=True, ensure_ascii=False)


with open(GOLDEN, encoding="utf-8") as golden:
    PROMISED = json.load(golden)


@pytest.fixture(scope="module")
def found():
    return contract()


def assert_same(promised, found):
    difference = "\n".join(difflib.unified_diff(as_text(promised).splitlines(), as_text(found).splitlines(),
                                                "promised", "as the code is now", lineterm=""))
    assert not difference, "\n" + difference


@pytest.mark.parametrize("name", sorted(PROMISED["documents"]))
def test_a_json_document(found, name):
    assert_same(PROMISED["documents"][name], found["documents"].get(name, {}))


def test_no_json_document_is_without_its_promise(found):
    assert_same(sorted(PROMISED["documents"]), sorted(found["documents"]))


@pytest.mark.parametrize("part", sorted(set(PROMISED) - {"documents"}))
def test_a_part(found, part):
    assert_same(PROMISED[part], found.get(part))


def test_no_part_is_without_its_promise(found):
    assert_same(sorted(PROMISED), sorted(found))


if __name__ == "__main__":
    print(as_text(contract()))
