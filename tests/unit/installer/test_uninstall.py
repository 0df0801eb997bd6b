"""Uninstalling: what goes, and what stays."""

import os

from installing import SETTINGS, UNITS, install, listing, write

from citadel.installer import manifest


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
