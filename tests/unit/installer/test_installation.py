"""A source tree is installed below a directory: what is there afterwards, and what is said."""

import hashlib
import os
import stat

import pytest
from installing import ME, SETTINGS, UNITS, Programs, install, listing, read, write

from citadel.core.errors import CannotLook, CitadelError, LockHeld
from citadel.installer import layout, manifest, systemd
from citadel.installer.host import Host
from citadel.installer.installation import label
from citadel.installer.main import main
from citadel.installer.tree import Tree


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


def test_a_damaged_file_is_repaired(product, root, capsys):
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


def test_the_schedule_moves_from_cron_to_timer_to_none(product, root):
    programs = Programs({"is-enabled": (0, "enabled\n")})
    write(root, "/lib/systemd/system/cron.service", "")
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


def test_redis_service_gets_its_debian_name(product, root, capsys):
    write(root, "/usr/lib/systemd/system/redis.service", "[Service]\n")
    install(product, root)
    assert os.readlink(root + UNITS + "/redis-server.service") == "/usr/lib/systemd/system/redis.service"
    write(root, "/usr/lib/systemd/system/redis-server.service", "[Service]\n")
    install(product, root)
    assert not os.path.lexists(root + UNITS + "/redis-server.service")


def test_where_selinux_is_active_labels_are_set(root, tmp_path):
    complaints = []
    (tmp_path / "enforce").write_text("1")
    programs = Programs({"restorecon": (1, "no policy")})
    host = Host(Tree(root, ME), None, complaints.append, programs)
    label(host, ["/opt/citadel", "/etc/cron.d"], str(tmp_path / "enforce"))
    assert programs.calls == [["restorecon", "-R", root + "/opt/citadel", root + "/etc/cron.d"]]
    assert complaints == ["SELinux labels were not set: restorecon exited 1: no policy; ignoring"]
    label(host, ["/opt/citadel"], str(tmp_path / "elsewhere"))
    assert len(programs.calls) == 1


def test_a_second_installation_at_the_same_time_is_refused(product, root):
    install(product, root)
    holder = Host(Tree(root, ME), None, None)
    holder.hold_lock()
    try:
        with pytest.raises(LockHeld, match="another install.py is running"):
            install(product, root, "--uninstall")
    finally:
        holder.release()


def test_what_only_root_can_do_is_left_to_the_boot(product, root, capsys):
    main(["--root", root], product, "/", run=Programs(), uid=ME or 12345)
    said = capsys.readouterr().out
    assert "The account citadel is left to systemd-sysusers at boot" in said
    assert "done     create the account" not in said
