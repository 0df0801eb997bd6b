"""What the installation asks of systemd, and the files that it and cron read."""

import os

import pytest
from installing import ME, Programs, write
from places import TREE

from citadel.core.errors import CannotLook
from citadel.installer import layout, systemd
from citadel.installer.tree import Tree


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
