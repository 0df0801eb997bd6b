"""install.py on a real systemd: installed, upgraded, interrupted, removed. No gateway's application is there."""

import pytest
from host import CHECKOUT, GATEWAY, OLLAMA, Host, install, machine_of

SETTINGS = "/opt/citadel/etc/citadel.conf"
LIST = "/var/lib/citadel-recovery/installed.sha256"
TIMER = "citadel-health.timer"
NEWER = "/srv/newer"                # a source tree of the machine's own, to change
SLEEPER = "[Unit]\nDescription=stand-in\n[Service]\nExecStart=/bin/sleep infinity\n"
PLACES = ["/etc", "/opt", "/usr/local", "/usr/lib/systemd", "/usr/lib/sysusers.d", "/usr/lib/tmpfiles.d", "/var/lib",
          "/var/spool"]
# A gateway that can run here: no application, no gate, the same unit file.
DROP_IN = "[Service]\nExecCondition=\nExecStartPre=\nExecStopPost=\nExecStart=\nExecStart=/bin/sleep infinity\n"


@pytest.fixture(scope="module")
def machine(root_name):
    with machine_of(root_name, "-install") as machine:
        machine.boot(120)
        host = Host(machine, [])
        host.do("cp", "-r", CHECKOUT, NEWER)
        host.files_before = files(host)
        yield host


@pytest.fixture(scope="module")
def fresh(machine):
    """The machine with Citadel installed once, for the tests that only look; `said` is what install.py said."""
    machine.said = put(machine)
    return machine


@pytest.fixture
def bare(machine):
    """The machine without Citadel, as it was booted."""
    install(machine.machine, "--uninstall", "--purge")
    yield machine
    machine.do("systemctl", "unmask", GATEWAY, ok=False)
    machine.do("systemctl", "stop", GATEWAY, ok=False)


def put(host, *words, source=CHECKOUT):
    answer = host.do("python3", source + "/install.py", *words)
    assert answer.err == ""
    return answer.out


def files(host):
    """Every path where an installation could leave something, with type, mode, owner and, for links, target."""
    return set(host.machine.run(["find"] + PLACES + [
        "(", "-path", "/var/lib/redis", "-o", "-path", "/var/lib/systemd", "-o", "-name", "__pycache__", ")", "-prune",
        "-o", "-printf", "%p %y %m %u %g %l\n"], 60, cap=1 << 26).out.splitlines())


def touched(host):
    """What was written since the marker."""
    return host.do("find", *PLACES + ["-newer", "/run/marker"]).out


def test_a_fresh_installation(fresh):
    said = fresh.said
    assert "/opt/citadel/venv/bin/uvicorn is missing" in said
    assert GATEWAY + " is enabled and not started yet" in said
    assert fresh.do("systemctl", "is-enabled", GATEWAY).out == "enabled\n"
    assert fresh.show(GATEWAY, "NeedDaemonReload") == "no"
    assert fresh.show(GATEWAY, "FragmentPath") == "/usr/local/lib/systemd/system/" + GATEWAY
    assert fresh.do("getent", "passwd", "citadel").out.split(":")[5:] == ["/opt/citadel", "/usr/sbin/nologin\n"]
    for path, modes in (("/opt/citadel", "755 root root"), ("/opt/citadel/config", "750 root citadel"),
                        ("/opt/citadel/logs", "755 root root"), ("/opt/citadel/logs/api-gateway", "750 root citadel"),
                        ("/var/lib/citadel-recovery", "700 root root"), (SETTINGS, "644 root root")):
        assert fresh.do("stat", "-c", "%a %U %G", path).out.strip() == modes, path


def test_sha256sum_checks_it(fresh):
    assert fresh.do("sha256sum", "-c", "--quiet", "--strict", LIST).out == ""
    fresh.do("sed", "-i", "s/RestartSec=5/RestartSec=6/", "/usr/local/lib/systemd/system/" + GATEWAY)
    assert "/%s: FAILED" % GATEWAY in fresh.do("sha256sum", "-c", LIST, ok=False).out
    assert "changed  /usr/local/lib/systemd/system/" + GATEWAY in put(fresh)
    assert fresh.do("sha256sum", "-c", "--quiet", "--strict", LIST).out == ""


def test_the_gateways_account_cannot_lead_pid_1_astray(fresh):
    """PID 1 opens the log as root and follows symlinks: so its directory must not be the gateway's to write."""
    answer = fresh.do("setpriv", "--reuid=citadel", "--regid=citadel", "--clear-groups", "ln", "-sf", "/etc/passwd",
                      "/opt/citadel/logs/api-gateway/service.log", ok=False)
    assert not answer.ok
    assert "Permission denied" in answer.err


def test_all_byte_code_is_there_and_current(fresh):
    before = fresh.do("find", "/opt/citadel/lib", "-name", "*.pyc", "-printf", "%p %m %u %T@\n").out
    sources = fresh.do("find", "/opt/citadel/lib", "-name", "*.py").out.splitlines()
    assert len(before.splitlines()) == len(sources)
    assert all(line.split()[1:3] == ["644", "root"] for line in before.splitlines())
    fresh.do("python3", "-IS", "-c", "import sys; sys.path.insert(0, '/opt/citadel/lib'); import citadel.settings.file")
    assert fresh.do("find", "/opt/citadel/lib", "-name", "*.pyc", "-printf", "%p %m %u %T@\n").out == before


def test_a_second_run_changes_nothing_and_says_so(fresh):
    fresh.do("touch", "/run/marker")
    assert put(fresh).endswith("is installed already: nothing changed.\n")
    assert put(fresh, source="/opt/citadel").endswith("is installed already: nothing changed.\n")
    assert touched(fresh) == ""


def test_a_dry_uninstall_removes_nothing(fresh):
    fresh.do("touch", "/run/marker")
    said = put(fresh, "--uninstall", "--purge", "--dry-run")
    assert "removed  /opt/citadel/install.py\n" in said
    assert touched(fresh) == ""


def test_a_dry_run_writes_nothing(bare):
    said = put(bare, "--dry-run")
    assert "new      /usr/local/lib/systemd/system/%s\n" % GATEWAY in said
    assert files(bare) == bare.files_before


def test_edited_settings_survive_an_upgrade(bare):
    put(bare)
    mine = bare.read(SETTINGS) + "# mine\n"
    bare.write(SETTINGS, mine)
    shipped = bare.read(NEWER + "/units/citadel.conf")
    bare.write(NEWER + "/units/citadel.conf", shipped + "# newer\n")
    try:
        said = put(bare, source=NEWER)
        assert SETTINGS + " was edited and stays as it is; the new one is " + SETTINGS + ".new" in said
        assert bare.read(SETTINGS) == mine
        assert bare.read(SETTINGS + ".new") == shipped + "# newer\n"
        assert put(bare, source=NEWER).endswith("is installed already: nothing changed.\n")
        put(bare, "--uninstall")
        assert bare.read(SETTINGS) == mine
        put(bare)
        assert bare.read(SETTINGS) == mine
    finally:
        bare.write(NEWER + "/units/citadel.conf", shipped)


def test_the_schedule(bare):
    put(bare, "--schedule", "timer")
    assert bare.show(TIMER, "ActiveState") == "active"
    assert bare.do("systemctl", "is-enabled", TIMER).out == "enabled\n"
    assert bare.read("/etc/cron.d/citadel") == ""
    put(bare, "--schedule", "cron")
    assert bare.show(TIMER, "ActiveState") == "inactive"
    assert bare.do("systemctl", "is-enabled", TIMER, ok=False).out == "disabled\n"
    assert bare.do("stat", "-c", "%a %U", "/etc/cron.d/citadel").out == "644 root\n"
    put(bare, "--schedule", "none")
    assert bare.read("/etc/cron.d/citadel") == ""
    bare.do("touch", "/run/marker")
    put(bare)
    assert touched(bare) == ""


def test_without_a_word_it_is_cron_where_cron_runs(bare):
    cron = bare.do("systemctl", "is-enabled", "cron.service", ok=False).ok
    put(bare)
    assert (bare.read("/etc/cron.d/citadel") != "") == cron
    assert (bare.show(TIMER, "ActiveState") == "active") != cron
    if cron:
        put(bare, "--uninstall", "--purge")
        bare.do("systemctl", "disable", "--now", "cron.service")
        try:
            put(bare)
            assert bare.show(TIMER, "ActiveState") == "active"
            put(bare, "--uninstall", "--purge")
        finally:
            bare.do("systemctl", "enable", "--now", "cron.service")


def test_uninstall_leaves_settings_logs_and_state(bare):
    put(bare, "--schedule", "cron")
    bare.write("/opt/citadel/logs/api-gateway/service.log", "line\n")
    said = put(bare, "--uninstall")
    assert "Settings, logs and state stay" in said
    left = [line.split()[0] for line in files(bare) - bare.files_before if line.split()[1] == "f"]
    assert sorted(left) == [SETTINGS, "/opt/citadel/logs/api-gateway/service.log", LIST]
    assert bare.do("getent", "passwd", "citadel").ok
    assert put(bare, "--uninstall") == "Citadel is not installed: nothing to remove.\n"


def test_purge_leaves_nothing(bare):
    """Done by the installed copy: the checkout may be long gone."""
    put(bare, "--schedule", "timer")
    bare.do("mkdir", "-p", "/var/lib/citadel-recovery/incidents/deep")
    put(bare, "--uninstall", "--purge", source="/opt/citadel")
    assert files(bare) == bare.files_before
    assert not bare.do("getent", "passwd", "citadel", ok=False).ok
    assert not bare.do("getent", "group", "citadel", ok=False).ok
    assert bare.do("systemctl", "list-units", "--all", "--no-legend", "citadel-*.service",
                   "citadel-*.timer").out == ""


def test_an_account_that_was_there_before_stays(bare):
    bare.do("useradd", "--system", "--shell", "/usr/sbin/nologin", "citadel")
    try:
        put(bare)
        put(bare, "--uninstall", "--purge")
        assert bare.do("getent", "passwd", "citadel").ok
    finally:
        bare.do("userdel", "citadel")


def test_a_mask_is_respected_and_outlives_us(bare):
    put(bare)
    bare.do("systemctl", "mask", GATEWAY)
    said = put(bare)
    assert GATEWAY + " is masked" in said
    said = put(bare, "--uninstall", "--purge")
    assert "/etc/systemd/system/%s stays: it is the operator's." % GATEWAY in said
    left = bare.do("find", "/etc/systemd", "-name", "citadel-*", "!", "-name", "*.target").out
    assert left == "/etc/systemd/system/%s\n" % GATEWAY
    bare.do("systemctl", "unmask", GATEWAY)


def test_what_an_operator_disabled_stays_disabled(bare):
    put(bare)
    bare.do("systemctl", "disable", GATEWAY)
    bare.do("sh", "-c", "echo '# newer' >>%s/units/%s" % (NEWER, GATEWAY))
    try:
        put(bare, source=NEWER)
        assert bare.do("systemctl", "is-enabled", GATEWAY, ok=False).out == "disabled\n"
    finally:
        bare.do("sed", "-i", "/^# newer/d", "%s/units/%s" % (NEWER, GATEWAY))


def test_a_running_gateway_is_not_restarted_by_an_upgrade(bare):
    here = bare.do("systemctl", "list-unit-files", "--no-legend", "redis-server.service", "redis.service", ok=False).out
    stand_ins = [OLLAMA] + ([] if here else ["redis.service"])
    for name in stand_ins:
        bare.write("/etc/systemd/system/" + name, SLEEPER)
    bare.write("/run/systemd/system/%s.d/test.conf" % GATEWAY, DROP_IN)
    try:
        put(bare)
        bare.do("systemctl", "start", GATEWAY)
        pid = bare.pid()
        bare.do("sh", "-c", "echo '# newer' >>%s/units/%s" % (NEWER, GATEWAY))
        said = put(bare, source=NEWER)
        assert "%s has changed and keeps its old settings until you restart it." % GATEWAY in said
        assert bare.pid() == pid
        assert bare.show(GATEWAY, "NeedDaemonReload") == "no"
        said = put(bare, "--uninstall", "--purge")
        assert GATEWAY + " is stopped." in said
        assert not bare.do("kill", "-0", str(pid), ok=False).ok
    finally:
        bare.do("sed", "-i", "/^# newer/d", "%s/units/%s" % (NEWER, GATEWAY))
        bare.do("systemctl", "stop", GATEWAY, ok=False)
        bare.do("systemctl", "stop", *stand_ins, ok=False)
        bare.do("rm", "-rf", "/run/systemd/system/%s.d" % GATEWAY)
        bare.do("rm", "-f", *["/etc/systemd/system/" + name for name in stand_ins])
        bare.do("systemctl", "daemon-reload")


def test_killed_anywhere_the_next_run_completes_it(bare):
    for hundredths in (10, 20, 30, 40, 55, 70, 90):
        bare.do("timeout", "-s", "KILL", "%.2f" % (hundredths / 100), "python3", CHECKOUT + "/install.py", ok=False)
    put(bare)
    assert bare.do("systemctl", "is-enabled", GATEWAY).out == "enabled\n"
    bare.do("sha256sum", "-c", "--quiet", "--strict", LIST)
    assert put(bare).endswith("is installed already: nothing changed.\n")
    for hundredths in (10, 20, 30, 40):
        bare.do("timeout", "-s", "KILL", "%.2f" % (hundredths / 100), "python3", CHECKOUT + "/install.py",
                "--uninstall", "--purge", ok=False)
    put(bare, "--uninstall", "--purge")
    assert files(bare) == bare.files_before


def test_a_python_without_its_library_is_refused_with_the_packages_name(bare):
    place = bare.do("/usr/bin/python3", "-IS", "-c", "import json; print(json.__path__[0])").out.strip()
    bare.do("mv", place, "/srv/json")
    try:
        answer = bare.do("/usr/bin/python3", CHECKOUT + "/install.py", ok=False)
    finally:
        bare.do("mv", "/srv/json", place)
    assert (answer.code, answer.out) == (69, "")
    assert answer.err.startswith("install.py: Python lacks json: ")
    assert "install python3" in answer.err
    assert answer.err.count("\n") == 1
    assert files(bare) == bare.files_before


def test_an_installer_that_cannot_load_itself_says_so_too(bare):
    place = bare.do("/usr/bin/python3", "-IS", "-c", "import argparse; print(argparse.__file__)").out.strip()
    bare.do("mv", place, "/srv/argparse.py")
    try:
        answer = bare.do("/usr/bin/python3", CHECKOUT + "/install.py", ok=False)
    finally:
        bare.do("mv", "/srv/argparse.py", place)
    assert (answer.code, answer.out) == (69, "")
    assert answer.err.startswith("install.py: Python lacks argparse: ")


def test_not_root(bare):
    answer = bare.do("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", NEWER + "/install.py",
                     ok=False)
    assert (answer.code, answer.out) == (77, "")
    assert answer.err == "install.py: needs root: sudo ./install.py (or --root DIR for a directory of your own)\n"


def test_the_one_file_installs(bare):
    bare.do("mkdir", "-p", "/tmp/usb")
    put(bare, "--pack", "/tmp/usb/citadel.pyz")
    answer = bare.do("python3", "/tmp/usb/citadel.pyz", "install")
    assert answer.err == ""
    assert put(bare).endswith("is installed already: nothing changed.\n")
    assert bare.do("find", "/tmp", "-maxdepth", "1", "-name", "citadel-*").out == ""
    bare.do("python3", "/tmp/usb/citadel.pyz", "install", "--uninstall", "--purge")
    assert files(bare) == bare.files_before


def test_another_root_leaves_this_host_alone(bare):
    bare.do("mkdir", "-p", "/tmp/image/etc")
    bare.do("cp", "/etc/os-release", "/tmp/image/etc/")
    said = put(bare, "--root", "/tmp/image", "--schedule", "timer")
    assert "is installed in /tmp/image" in said
    assert files(bare) == bare.files_before
    links = bare.do("find", "/tmp/image/etc/systemd", "-type", "l", "-printf", "%P\n").out.split()
    assert sorted(links) == ["system/multi-user.target.wants/" + GATEWAY, "system/ollama.service.wants/" + GATEWAY,
                             "system/redis-server.service.wants/" + GATEWAY, "system/timers.target.wants/" + TIMER]
    assert "citadel:" in bare.read("/tmp/image/etc/passwd")
    assert put(bare, "--root", "/tmp/image").endswith("nothing changed.\n")
    bare.do("rm", "-rf", "/tmp/image")
