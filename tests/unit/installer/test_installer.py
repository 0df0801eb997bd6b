"""install.py below a directory of one's own: as any user, with systemd's programs replaced by a list of who was called.

What a real systemd makes of it is tests/live/test_install.py's part.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest
from places import TREE

from citadel.core.errors import CannotLook, CitadelError, LockHeld, NotPermitted, UsageError
from citadel.core.run import Answer
from citadel.installer import archive, interpreter, layout, manifest, preflight, systemd
from citadel.installer.host import Host, require_lock
from citadel.installer.installation import label
from citadel.installer.main import main, read_arguments
from citadel.installer.plan import decide_schedule
from citadel.installer.tree import Tree, leftover_of

ME = os.geteuid()
SETTINGS = "/opt/citadel/etc/citadel.conf"
UNITS = "/usr/local/lib/systemd/system"
CRON_UNIT = "/lib/systemd/system/cron.service"


class Programs:
    """Stands where commands.run stands: remembers what would have been run, and answers what `answers` says."""

    def __init__(self, answers=None):
        self.answers, self.calls = answers or {}, []

    def __call__(self, argv, timeout, **_):
        self.calls.append(list(argv))
        words = " ".join(argv)
        for part, (code, out) in self.answers.items():
            if part in words:
                return Answer(tuple(argv), code, out, "", 0.0, False)
        return Answer(tuple(argv), 0, "", "", 0.0, False)


def copy_of(source, target):
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


SOME = ("install.py", "LICENSE", "bin/citadel-restart-manager", "lib/citadel/__init__.py", "lib/citadel/core/errors.py",
        "lib/citadel/installer/__init__.py")


@pytest.fixture(scope="session")
def product(tmp_path_factory):
    """A source tree with every unit and a few of the other files: an installation of it takes milliseconds."""
    target = str(tmp_path_factory.mktemp("product") / "tree")
    os.mkdir(target)
    copy_of(os.path.join(TREE, "units"), os.path.join(target, "units"))
    for name in SOME:
        os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
        shutil.copy(os.path.join(TREE, name), os.path.join(target, name))
    return target


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """All of the product, as it is now: nobody edits it meanwhile."""
    target = str(tmp_path_factory.mktemp("whole") / "tree")
    os.mkdir(target)
    for name in layout.SOURCE_DIRECTORIES:
        copy_of(os.path.join(TREE, name), os.path.join(target, name))
    for name in ("install.py", "LICENSE"):
        shutil.copy(os.path.join(TREE, name), target)
    return target


@pytest.fixture
def source(product, tmp_path):
    """A source tree of the test's own, to change."""
    target = str(tmp_path / "source")
    copy_of(product, target)
    return target


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir(mode=0o755)
    return str(tmp_path / "root")


def listing(directory):
    """Every path below with all that an installation could change of it."""
    found = {}
    for top, directories, names in os.walk(directory):
        for name in directories + names:
            path = os.path.join(top, name)
            status = os.lstat(path)
            what = os.readlink(path) if os.path.islink(path) else ""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            found[path] = (stat.filemode(status.st_mode), what, status.st_mtime if not stat.S_ISDIR(status.st_mode)
                           else 0)
    return found


def install(source, root, *words, **more):
    programs = more.get("programs") or Programs()
    return main(["--root", root] + list(words), source, "/", run=programs, uid=ME)


def read(root, path):
    with open(root + path, encoding="utf-8") as file:
        return file.read()


def write(root, path, text):
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    with open(root + path, "w", encoding="utf-8") as file:
        file.write(text)


# --- installing

def test_a_fresh_installation(product, root, capsys):
    assert install(product, root, "--schedule", "cron") == 0
    said = capsys.readouterr().out
    assert "Citadel 1.0.0 is installed in " + root in said
    assert "The gateway's application is not here yet: /opt/citadel/venv/bin/uvicorn is missing." in said
    for path, mode in (("/opt/citadel/bin/citadel-restart-manager", 0o755), ("/opt/citadel/install.py", 0o755),
                       (UNITS + "/citadel-gateway.service", 0o644), (UNITS + "/citadel-health.timer", 0o644),
                       ("/usr/local/lib/sysusers.d/citadel.conf", 0o644), (SETTINGS, 0o644),
                       ("/usr/local/lib/tmpfiles.d/citadel.conf", 0o644), ("/etc/cron.d/citadel", 0o644),
                       ("/var/lib/citadel-recovery/installed.sha256", 0o600)):
        assert stat.S_IMODE(os.stat(root + path).st_mode) == mode, path
    assert stat.S_IMODE(os.stat(root + "/var/lib/citadel-recovery").st_mode) == 0o700
    assert not [path for path in listing(root) if "__pycache__" in path or "/tests" in path]
    assert not [path for path in listing(root) if path.endswith(".citadel-new")]


def test_the_running_system_is_not_asked_to_do_anything_for_another_root(product, root):
    programs = Programs()
    install(product, root, programs=programs)
    assert ["systemctl", "--root=" + root, "enable", "--", "citadel-gateway.service"] in programs.calls
    assert all("--root=" + root in words for words in programs.calls), programs.calls


def test_a_second_run_changes_nothing_and_says_so(product, root, capsys):
    install(product, root)
    before = listing(root)
    capsys.readouterr()
    write(root, "/opt/citadel/config/production.yaml", "")
    for path in systemd.declared_paths(Tree(root, ME)):
        os.makedirs(root + path, exist_ok=True)
    write(root, "/etc/passwd", "citadel:x:990:990::/opt/citadel:/usr/sbin/nologin\n")
    middle = listing(root)
    programs = Programs()
    assert install(product, root, programs=programs) == 0
    assert capsys.readouterr().out == "Citadel 1.0.0 is installed already: nothing changed.\n"
    assert listing(root) == middle
    assert set(before) <= set(middle)
    assert programs.calls == []


def test_a_dry_run_writes_nothing_and_names_each_file(product, root, capsys):
    assert install(product, root, "--dry-run") == 0
    assert os.listdir(root) == []
    said = capsys.readouterr().out
    assert "new      /opt/citadel/bin/citadel-restart-manager\n" in said
    assert "then     systemctl enable citadel-gateway.service\n" in said


def test_a_damaged_file_is_mended(product, root, capsys):
    install(product, root)
    path = root + UNITS + "/citadel-gateway.service"
    os.chmod(path, 0o666)
    with open(root + "/opt/citadel/lib/citadel/core/errors.py", "a") as file:
        file.write("damage")
    capsys.readouterr()
    assert install(product, root) == 0
    said = capsys.readouterr().out
    assert "changed  " + UNITS + "/citadel-gateway.service" in said
    assert "written  1 file in /opt/citadel\n" in said
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert "damage" not in read(root, "/opt/citadel/lib/citadel/core/errors.py")


def test_an_upgrade_removes_what_is_no_longer_part_of_the_product(source, root):
    write(source, "/lib/citadel/old_room.py", "")
    write(source, "/units/citadel-old.service", "[Service]\nExecStart=/bin/true\n")
    install(source, root)
    assert os.path.exists(root + "/opt/citadel/lib/citadel/old_room.py")
    os.unlink(source + "/lib/citadel/old_room.py")
    os.unlink(source + "/units/citadel-old.service")
    install(source, root)
    assert not os.path.exists(root + "/opt/citadel/lib/citadel/old_room.py")
    assert not os.path.exists(root + UNITS + "/citadel-old.service")


def test_an_upgrade_does_not_enable_again_what_an_operator_disabled(source, root):
    install(source, root)
    with open(source + "/units/citadel-gateway.service", "a") as file:
        file.write("# newer\n")
    programs = Programs({"is-enabled": (1, "disabled\n")})
    install(source, root, programs=programs)
    assert "# newer" in read(root, UNITS + "/citadel-gateway.service")
    assert not [words for words in programs.calls if "enable" in words]


def test_the_installed_tree_can_install_itself(product, root, tmp_path, capsys):
    install(product, root)
    first = layout.source_files(root + "/opt/citadel")
    assert first == layout.source_files(product)


def test_the_checksums_are_right(product, root):
    install(product, root)
    lines = [line for line in read(root, manifest.PATH).splitlines() if not line.startswith("#")]
    assert len(lines) > 10
    for line in lines:
        digest, path = line.split("  ")
        with open(root + path, "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest, path
    assert not [line for line in lines if SETTINGS + "\n" in line + "\n"]


def test_an_incomplete_source_is_refused_before_anything_is_written(source, root):
    os.unlink(source + "/units/citadel-gateway.service")
    with pytest.raises(CannotLook, match="units/citadel-gateway.service is missing"):
        install(source, root)
    assert os.listdir(root) == []


def test_a_failed_step_is_named_and_done_again_next_time(product, root, capsys):
    programs = Programs({"enable -- citadel-gateway": (1, "no room")})
    assert install(product, root, programs=programs) == 1
    assert "install.py: citadel-gateway.service was not enabled: systemctl exited 1: no room" in capsys.readouterr().err
    programs = Programs()
    assert install(product, root, programs=programs) == 0
    assert ["systemctl", "--root=" + root, "enable", "--", "citadel-gateway.service"] in programs.calls


def test_a_write_that_fails_changes_nothing(source, root):
    install(source, root)
    with open(source + "/lib/citadel/core/errors.py", "a") as file:
        file.write("# newer\n")
    os.mkdir(root + "/opt/citadel/lib/citadel/zz_new.py")
    write(source, "/lib/citadel/zz_new.py", "")
    before = listing(root + "/opt")
    with pytest.raises(CitadelError, match="zz_new.py: a directory is in its place; nothing was changed"):
        install(source, root)
    assert listing(root + "/opt") == before


CHANGING = ("mkdir", "rmdir", "rename", "unlink", "symlink")


def killed_after(calls, product, root, *words):
    """Whether install.py had not ended by itself when SIGKILL came, right after its `calls`-th change of a directory."""
    child = os.fork()
    if not child:
        left = [calls]

        def deadly(call):
            def change(*args, **more):
                call(*args, **more)
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
            return change
        for name in CHANGING:
            setattr(os, name, deadly(getattr(os, name)))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            os._exit(install(product, root, *words))
        finally:
            os._exit(99)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


@pytest.fixture
def host_root(root):
    """A root with the directories that every host has."""
    for path in ("/var/lib", "/usr/local", "/etc/cron.d", "/opt"):
        os.makedirs(root + path)
    return root


def inside(root):
    return {path[len(root):]: what[:2] for path, what in listing(root).items()}


def test_killed_after_any_change_the_next_run_completes_it_and_a_purge_removes_it(product, host_root):
    before = inside(host_root)
    install(product, host_root)
    complete = inside(host_root)
    calls, killed = 0, True
    while killed:
        install(product, host_root, "--uninstall", "--purge")
        assert inside(host_root) == before, calls
        calls += 1
        killed = killed_after(calls, product, host_root)
        assert install(product, host_root) == 0
        assert inside(host_root) == complete, calls
    assert calls > 50


@pytest.mark.parametrize("words", [[], ["--purge"]], ids=["uninstall", "purge"])
def test_an_uninstall_killed_after_any_change_is_completed_by_the_next(product, host_root, words):
    def prepare():
        install(product, host_root, "--schedule", "cron")
        write(host_root, "/opt/citadel/logs/api-gateway/service.log", "line\n")
        write(host_root, "/var/lib/citadel-recovery/incidents/1", "{}")
        write(host_root, "/opt/citadel/lib/citadel/__pycache__/errors.cpython-399.pyc", "")
    prepare()
    install(product, host_root, "--uninstall", *words)
    complete = inside(host_root)
    calls, killed = 0, True
    while killed:
        prepare()
        calls += 1
        killed = killed_after(calls, product, host_root, "--uninstall", *words)
        assert install(product, host_root, "--uninstall", *words) == 0
        assert inside(host_root) == complete, calls
    assert calls > 30


# --- settings

@pytest.mark.parametrize("current, last, shipped, result", [
    pytest.param(None, None, "new", ("new", None), id="there is none yet: the shipped one"),
    pytest.param("old", "old", "new", ("new", None), id="unedited: replaced by the new one"),
    pytest.param("edited", "old", "new", ("edited", "new"), id="edited: kept, the new one beside it"),
    pytest.param("edited", "old", "old", ("edited", None), id="edited, and nothing new to offer"),
    pytest.param("edited", None, "new", ("edited", "new"), id="of unknown origin: kept, the new one beside it"),
    pytest.param("new", "old", "new", ("new", None), id="edited to what is now shipped"),
])
def test_edited_settings_are_never_overwritten(source, root, capsys, current, last, shipped, result):
    if last is not None:
        write(source, "/units/citadel.conf", last)
        install(source, root)
    if current is not None:
        write(root, SETTINGS, current)
    write(source, "/units/citadel.conf", shipped)
    capsys.readouterr()
    install(source, root)
    beside = read(root, SETTINGS + ".new") if os.path.exists(root + SETTINGS + ".new") else None
    assert (read(root, SETTINGS), beside) == result
    assert ("was edited and stays as it is" in capsys.readouterr().out) == (beside is not None)
    install(source, root)
    assert read(root, SETTINGS) == result[0]


# --- SELinux

def test_where_selinux_rules_labels_are_set(root, tmp_path):
    complaints = []
    (tmp_path / "enforce").write_text("1")
    programs = Programs({"restorecon": (1, "no policy")})
    host = Host(Tree(root, ME), None, complaints.append, programs)
    label(host, ["/opt/citadel", "/etc/cron.d"], str(tmp_path / "enforce"))
    assert programs.calls == [["restorecon", "-R", root + "/opt/citadel", root + "/etc/cron.d"]]
    assert complaints == ["SELinux labels were not set: restorecon exited 1: no policy; ignoring"]
    label(host, ["/opt/citadel"], str(tmp_path / "elsewhere"))
    assert len(programs.calls) == 1


# --- the schedule

@pytest.mark.parametrize("asked, remembered, cron_runs, result", [
    pytest.param(None, "", True, "cron", id="cron where it runs"),
    pytest.param(None, "", False, "timer", id="a timer where no cron runs"),
    pytest.param(None, "none", True, "none", id="what was chosen before stays"),
    pytest.param("timer", "cron", True, "timer", id="what is asked for wins"),
])
def test_who_runs_the_health_check(asked, remembered, cron_runs, result):
    assert decide_schedule(asked, remembered, lambda: cron_runs) == result


def test_the_schedule_moves_from_cron_to_timer_to_nobody(product, root):
    programs = Programs({"is-enabled": (0, "enabled\n")})
    write(root, CRON_UNIT, "")
    install(product, root, programs=programs)
    assert os.path.exists(root + "/etc/cron.d/citadel")
    assert not [words for words in programs.calls if "citadel-health.timer" in words]
    programs = Programs()
    install(product, root, "--schedule", "timer", programs=programs)
    assert not os.path.exists(root + "/etc/cron.d/citadel")
    assert ["systemctl", "--root=" + root, "enable", "--", "citadel-health.timer"] in programs.calls
    programs = Programs()
    install(product, root, "--schedule", "none", programs=programs)
    assert ["systemctl", "--root=" + root, "disable", "--", "citadel-health.timer"] in programs.calls
    install(product, root)
    assert not os.path.exists(root + "/etc/cron.d/citadel")


def test_cron_reads_the_cron_file():
    """crontab(5), run-parts(8): no dot in the file's name, a user in each line, a newline at the end."""
    with open(os.path.join(TREE, "units/cron.d/citadel")) as file:
        text = file.read()
    assert "." not in os.path.basename(layout.CRON)
    assert text.endswith("\n")
    jobs = [line.split(None, 6) for line in text.splitlines() if line[:1].isdigit() or line.startswith("*")]
    assert [job[:6] for job in jobs] == [["*", "*", "*", "*", "*", "root"]]
    assert jobs[0][6].startswith("/opt/citadel/bin/citadel-restart-manager check --quiet || timeout 20 "
                                 "systemctl start --no-block citadel-recovery.service ")


# --- redis by its other name

def test_redis_service_gets_its_debian_name(product, root, capsys):
    write(root, "/usr/lib/systemd/system/redis.service", "[Service]\n")
    install(product, root)
    assert os.readlink(root + UNITS + "/redis-server.service") == "/usr/lib/systemd/system/redis.service"
    write(root, "/usr/lib/systemd/system/redis-server.service", "[Service]\n")
    install(product, root)
    assert not os.path.lexists(root + UNITS + "/redis-server.service")


@pytest.mark.parametrize("files, links, result", [
    pytest.param(["/lib/systemd/system/redis-server.service"], {}, None, id="Debian: none needed"),
    pytest.param(["/lib/systemd/system/redis-server.service"],
                 {"/etc/systemd/system/redis.service": "/lib/systemd/system/redis-server.service"}, None,
                 id="Debian, enabled: redis.service is the alias"),
    pytest.param(["/usr/lib/systemd/system/redis.service"], {}, "/usr/lib/systemd/system/redis.service", id="Fedora"),
    pytest.param(["/usr/lib/systemd/system/redis.service"], {"/lib": "usr/lib"},
                 "/usr/lib/systemd/system/redis.service", id="Fedora, with a merged /usr"),
    pytest.param(["/usr/lib/systemd/system/valkey.service"],
                 {"/etc/systemd/system/redis.service": "/usr/lib/systemd/system/valkey.service"},
                 "/usr/lib/systemd/system/valkey.service", id="valkey that is also called redis"),
    pytest.param(["/run/systemd/generator.late/redis-server.service", "/etc/systemd/system/redis.service"], {},
                 "/etc/systemd/system/redis.service", id="a left-over SysV script does not count"),
    pytest.param([], {"/etc/systemd/system/redis.service": "/dev/null"}, None, id="masked"),
    pytest.param([], {}, None, id="no redis at all"),
])
def test_which_unit_is_redis(root, files, links, result):
    for path in files:
        write(root, path, "")
    for path, target in links.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)
    assert systemd.redis_alias(Tree(root, ME)) == result


# --- uninstalling

def test_uninstall_leaves_settings_logs_and_state(product, root, capsys):
    install(product, root, "--schedule", "cron")
    write(root, SETTINGS, "# mine\n")
    write(root, "/opt/citadel/logs/api-gateway/service.log", "line\n")
    write(root, "/var/lib/citadel-recovery/state", "{}")
    write(root, "/opt/citadel/lib/citadel/__pycache__/errors.cpython-399.pyc", "")
    assert install(product, root, "--uninstall") == 0
    files = {path[len(root):] for path, what in listing(root).items() if what[0][0] != "d"}
    assert files == {SETTINGS, "/opt/citadel/logs/api-gateway/service.log", "/var/lib/citadel-recovery/state",
                     manifest.PATH}
    capsys.readouterr()
    assert install(product, root, "--uninstall") == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_purge_leaves_nothing_of_ours(product, root):
    write(root, "/etc/hostname", "mine\n")
    before = listing(root)
    install(product, root, "--schedule", "cron")
    write(root, SETTINGS + ".new", "")
    write(root, "/opt/citadel/logs/api-gateway/service.log", "line\n")
    write(root, "/var/lib/citadel-recovery/incidents/1", "{}")
    assert install(product, root, "--uninstall", "--purge") == 0
    assert listing(root) == before


def test_purge_leaves_the_gateways_own_directories(product, root, capsys):
    install(product, root)
    write(root, "/opt/citadel/venv/bin/uvicorn", "")
    write(root, "/opt/citadel/config/production.yaml", "")
    install(product, root, "--uninstall", "--purge")
    files = {path[len(root):] for path, what in listing(root).items() if what[0][0] != "d"}
    assert files == {"/opt/citadel/venv/bin/uvicorn", "/opt/citadel/config/production.yaml"}
    assert "/opt/citadel/config and /opt/citadel/venv stay: the gateway's own." in capsys.readouterr().out


def test_uninstall_without_its_list_goes_by_the_source(product, root):
    install(product, root)
    os.unlink(root + manifest.PATH)
    install(product, root, "--uninstall")
    assert not os.path.exists(root + "/opt/citadel/bin")
    assert os.listdir(root + UNITS) == []


def test_a_dry_uninstall_removes_nothing(product, root, capsys):
    install(product, root)
    before = listing(root)
    capsys.readouterr()
    assert install(product, root, "--uninstall", "--purge", "--dry-run") == 0
    assert listing(root) == before
    assert "removed  /opt/citadel/install.py\n" in capsys.readouterr().out


def test_a_link_to_elsewhere_is_removed_and_not_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "link").symlink_to(tmp_path / "kept")
    assert Tree(str(tmp_path), ME).remove_whole("/gone") == []
    assert not (tmp_path / "gone").exists()
    assert (tmp_path / "kept" / "file").read_text() == "kept"


# --- the list of what is installed

def test_the_list_survives_being_written_and_read():
    whole = manifest.Manifest({"/opt/citadel/bin/x": "a" * 64}, {layout.REDIS_ALIAS: "/lib/redis.service"}, "b" * 64,
                              ["/opt/citadel"], "citadel", "timer", "1.0.0")
    assert manifest.parse(whole.render()) == whole


@pytest.mark.parametrize("line", [
    pytest.param("a" * 64 + "  /etc/passwd", id="a path that is not ours"),
    pytest.param("a" * 64 + "  /opt/citadel/lib/../../../etc/passwd", id="a way out of ours"),
    pytest.param("a" * 64 + "  /usr/local/lib/systemd/system/ollama.service", id="somebody else's unit"),
    pytest.param("a" * 64 + "  /opt/citadel/venv/bin/uvicorn", id="the gateway's own"),
    pytest.param("# link /etc/passwd -> x", id="a link that is not ours"),
    pytest.param("a" * 63 + "  /opt/citadel/bin/x", id="a cut line"),
    pytest.param("\x00\ufffd", id="noise"),
])
def test_a_damaged_list_makes_nobody_delete_anything_else(line):
    found = manifest.parse((line + "\n").encode())
    assert (found.files, found.links) == ({}, {})


# --- whom to trust on the way

def test_a_directory_of_somebody_else_on_the_way_is_refused(product, root):
    with pytest.raises(NotPermitted, match="belongs to uid %d" % ME if ME else "x"):
        if ME == 0:
            os.mkdir(root + "/opt")
            os.chown(root + "/opt", 12345, 12345)
            try:
                install(product, root)
            except NotPermitted as error:
                assert "/opt belongs to uid 12345" in str(error)
                raise NotPermitted("x")
        Tree(root, 12345).locate("/opt/citadel")


def test_a_directory_that_everybody_may_write_is_refused(product, root):
    os.mkdir(root + "/opt")
    os.chmod(root + "/opt", 0o777)
    with pytest.raises(NotPermitted, match="/opt is writable by everybody"):
        install(product, root)
    assert not os.path.exists(root + "/opt/citadel")


def test_links_on_the_way_are_followed_inside_the_root_only(product, root, tmp_path):
    outside = tmp_path / "srv"
    outside.mkdir()
    os.makedirs(root + str(outside))
    os.mkdir(root + "/srv")
    os.symlink("/srv", root + "/opt")
    os.symlink("../../../../.." + str(outside), root + "/etc")
    install(product, root, "--schedule", "cron")
    assert os.path.exists(root + "/srv/citadel/install.py")
    assert os.path.exists(root + str(outside) + "/cron.d/citadel")
    assert os.listdir(str(outside)) == []


def test_a_link_to_nowhere_is_named(product, root):
    os.symlink("/nowhere", root + "/opt")
    with pytest.raises(CitadelError, match="/opt is a link that leads nowhere"):
        install(product, root)


def test_two_at_once(product, root):
    install(product, root)
    holder = require_lock(Tree(root, ME))
    try:
        with pytest.raises(LockHeld, match="another install.py is running"):
            install(product, root, "--uninstall")
    finally:
        os.close(holder)


def test_a_planted_leftover_is_not_written_through(product, root, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.makedirs(root + "/opt/citadel")
    os.symlink(str(victim), leftover_of(root + "/opt/citadel/install.py"))
    install(product, root)
    assert victim.read_text() == "precious"


# --- before anything is done

@pytest.mark.parametrize("text, names", [
    pytest.param("import json, os.path", ["json", "os.path"], id="plain"),
    pytest.param("from http import client", ["http:client"], id="a module out of a package"),
    pytest.param("from citadel import settings\nimport citadel.core.errors\nfrom . import x", [], id="our own"),
    pytest.param("try:\n    import tomllib\nexcept ImportError:\n    tomllib = None", [], id="one we can do without"),
    pytest.param("def f():\n    import wave", ["wave"], id="inside a function"),
])
def test_what_a_source_imports(text, names):
    assert preflight.imported_names({"x.py": text}) == names


def test_missing_modules_are_found_by_loading_them():
    present = {"http": type("http", (), {}), "os": os}

    def load(name):
        if name in present:
            return present[name]
        raise ImportError(name, name="gettext" if name == "argparse" else name)
    assert preflight.absent(["os", "os:path", "json", "http:client", "argparse", "json:loads"], load) == [
        "json", "http.client", "gettext"]


def test_this_python_has_everything_that_the_whole_product_imports():
    sources = {}
    for name, (data, _) in layout.source_files(TREE).items():
        if name.endswith(".py") or data.startswith(layout.SHIPPED_INTERPRETER):
            sources[name] = data.decode()
    names = preflight.imported_names(sources)
    assert "json" in names
    answer = subprocess.check_output([sys.executable, "-IS", preflight.__file__] + names)
    assert answer == b""


@pytest.mark.parametrize("release, words", [
    pytest.param('ID=debian\n', "apt-get install python3 (package libpython3-stdlib", id="Debian"),
    pytest.param('ID=ubuntu\nID_LIKE=debian\n', "apt-get install python3", id="Ubuntu"),
    pytest.param('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install python3", id="Rocky"),
    pytest.param('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install python3", id="openSUSE"),
    pytest.param("", "install your distribution's whole Python 3", id="no os-release"),
])
def test_the_advice_names_the_package(release, words):
    advice = preflight.advice(["json", "shutil"], release)
    assert advice.startswith("Python lacks json, shutil: ")
    assert words in advice


@pytest.mark.parametrize("answers, complaint", [
    pytest.param({"--version": (127, "")}, "systemctl does not work here", id="no systemd"),
    pytest.param({"--version": (0, "systemd 237 (237-3)\n")}, "systemd 237 is too old: 239", id="too old"),
    pytest.param({"--version": (0, "systemd 252 (252.4)\n"), "is-system": (1, "offline\n")}, "offline", id="a chroot"),
    pytest.param({"--version": (0, "systemd 252 (252.4)\n"), "is-system": (1, "stopping\n")}, "shutting down",
                 id="going down"),
])
def test_an_unfit_systemd_is_refused(answers, complaint):
    with pytest.raises(CannotLook, match=complaint):
        systemd.refuse_unfit(Programs(answers))


@pytest.mark.parametrize("state", ["running", "degraded", "starting"])
def test_a_fit_systemd_is_not_refused(state):
    systemd.refuse_unfit(Programs({"--version": (0, "systemd 262~rc1 (262)\n"), "is-system": (1, state + "\n")}))


def test_the_host_itself_needs_root(product):
    with pytest.raises(NotPermitted, match="needs root: sudo ./install.py"):
        main([], product, "/", run=Programs(), uid=1000)


@pytest.mark.parametrize("words, complaint", [
    pytest.param(["--bogus"], "--bogus", id="an unknown option"),
    pytest.param(["--schedule", "weekly"], "weekly", id="an unknown schedule"),
    pytest.param(["--purge"], "--purge goes with --uninstall", id="purge alone"),
    pytest.param(["--pack", "x", "--dry-run"], "leave out --dry-run", id="pack and dry-run"),
    pytest.param(["--uninstall", "--schedule", "cron"], "--uninstall has no --schedule", id="uninstall and schedule"),
])
def test_a_wrong_command_line_is_refused_by_its_word(words, complaint):
    with pytest.raises(UsageError, match=complaint):
        read_arguments(words)


def test_a_root_that_is_not_there(product, tmp_path):
    with pytest.raises(UsageError, match="--root nowhere: there is no such directory"):
        main(["--root", "nowhere"], product, str(tmp_path), run=Programs(), uid=ME)


@pytest.mark.parametrize("first, result", [
    pytest.param(b"#!/usr/bin/python3 -IS\nx", b"#!/py -IS\nx", id="ours"),
    pytest.param(b"#!/usr/bin/python3\nx", b"#!/py\nx", id="without options"),
    pytest.param(b"#!/bin/sh\nx", b"#!/bin/sh\nx", id="a shell's"),
    pytest.param(b"import os\n", b"import os\n", id="none"),
])
def test_the_interpreter_line(first, result):
    assert layout.with_interpreter(first, b"#!/py") == result


def test_platform_python_is_written_where_there_is_no_other(product, root):
    write(root, "/usr/libexec/platform-python", "")
    install(product, root)
    assert read(root, "/opt/citadel/bin/citadel-restart-manager").startswith("#!/usr/libexec/platform-python -IS\n")


# --- byte code

@pytest.fixture
def renew(root):
    """Byte code as an installation makes it, under the umask that every command of ours has."""
    def renew(*sources):
        before = os.umask(0o077)
        try:
            interpreter.remove_byte_code(Tree(root, ME), sources)
            interpreter.write_byte_code(sys.executable, root + "/opt/citadel/lib")
        finally:
            os.umask(before)
    return renew


def test_there_is_the_byte_code_of_each_source_and_nothing_else(root, renew):
    one, other = "/opt/citadel/lib/citadel/one.py", "/opt/citadel/lib/citadel/room/other.py"
    write(root, one, "x = 1\n")
    write(root, other, "x = 1\n")
    renew(one, other)
    cache = root + "/opt/citadel/lib/citadel/__pycache__"
    write(cache, "/planted.pyc", "")
    os.unlink(root + other)
    write(root, one, "x = 22\n")
    renew(one, other)
    assert os.listdir(cache) == ["one.cpython-%d%d.pyc" % sys.version_info[:2]]
    assert stat.S_IMODE(os.stat(os.path.join(cache, os.listdir(cache)[0])).st_mode) == 0o644
    assert os.listdir(root + "/opt/citadel/lib/citadel/room") == []


def test_a_source_changed_by_hand_takes_effect_at_its_next_use(root, renew):
    write(root, "/opt/citadel/lib/one.py", "x = 1\n")
    renew("/opt/citadel/lib/one.py")
    words = [sys.executable, "-IS", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import one; print(one.x)"]
    written = os.listdir(root + "/opt/citadel/lib/__pycache__")
    assert subprocess.check_output(words + [root + "/opt/citadel/lib"]) == b"1\n"
    write(root, "/opt/citadel/lib/one.py", "x = 22\n")
    assert subprocess.check_output(words[:2] + ["-B"] + words[2:] + [root + "/opt/citadel/lib"]) == b"22\n"
    assert os.listdir(root + "/opt/citadel/lib/__pycache__") == written


def test_a_source_that_cannot_be_compiled_is_a_complaint(root, renew):
    write(root, "/opt/citadel/lib/one.py", "def (\n")
    with pytest.raises(CannotLook, match="byte code could not be written"):
        renew("/opt/citadel/lib/one.py")


# --- one file

def test_the_same_source_gives_the_same_bytes(product, source, root):
    for top, _, names in os.walk(source):
        for name in names:
            os.utime(os.path.join(top, name), (1, 1))
    write(source, "/lib/citadel/__pycache__/x.pyc", "")
    install(product, root)
    packed = archive.pack(layout.source_files(product))
    assert packed == archive.pack(layout.source_files(source))
    assert packed == archive.pack(layout.source_files(root + "/opt/citadel"))


def pythons():
    """Those of 3.6 and newer that can be found, oldest first; at least the one that runs us."""
    places = os.path.expanduser("~/.pyenv/versions")
    found = [os.path.join(places, name, "bin", "python3") for name in
             (os.listdir(places) if os.path.isdir(places) else ()) if name.startswith("3.6.")]
    return [path for path in found if os.path.exists(path)] or [sys.executable]


@pytest.fixture(scope="session")
def packed(whole, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("packed") / "citadel.pyz")
    assert main(["--pack", path], whole, "/", uid=ME) == 0
    return path


def call(*words):
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.skipif(ME == 0 and not os.path.exists("/usr/bin/systemd-sysusers"), reason="needs systemd-sysusers")
def test_the_one_file_installs_with_an_old_python(packed, whole, root, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        code, out, err = call(pythons()[0], packed, "install", "--root", root, "--schedule", "none")
    finally:
        del os.environ["TMPDIR"]
    assert (code, err) == (0, "")
    assert "is installed in " + root in out
    assert layout.source_files(root + "/opt/citadel") == layout.source_files(whole)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("words, code, complaint", [
    pytest.param(["frobnicate"], 64, "there is no command 'frobnicate'", id="an unknown command"),
    pytest.param(["install", "--bogus"], 64, "--bogus", id="an unknown option"),
    pytest.param(["install", "--root", "/nowhere"], 64, "/nowhere", id="a wrong root"),
])
def test_the_one_file_passes_complaints_and_codes_on(packed, words, code, complaint):
    got, _, err = call(sys.executable, packed, *words)
    assert got == code
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_an_old_python_gets_a_sentence(packed):
    place = os.path.expanduser("~/.pyenv/versions")
    old = [os.path.join(place, name, "bin", "python") for name in (os.listdir(place) if os.path.isdir(place) else ())
           if name.startswith("2.7")]
    if not old:
        pytest.skip("no Python 2.7 found")
    for words in ([os.path.join(TREE, "install.py")], [packed, "install"]):
        code, out, err = call(old[0], *words)
        assert (code, out) == (69, "")
        assert err.endswith("needs Python 3.6 or newer, and this is 2.7\n")
