"""What the installation asks about units and accounts. Unit files are looked for in the directories themselves, which
is the same for this host and for a prepared root.
"""

import pwd
import re

from citadel.core import accounts
from citadel.core.errors import CannotLook
from citadel.installer.layout import ACCOUNT, REDIS_ALIAS, TMPFILES, UNITS
from citadel.observe.systemctl import show, system_state, version

OLDEST = 239                    # RHEL 8
# systemd.unit(5), "Unit File Load Path".
BEFORE_OURS = ("/etc/systemd/system", "/run/systemd/system")
LOAD_PATH = BEFORE_OURS + (UNITS, "/usr/lib/systemd/system", "/lib/systemd/system")
CRON_DAEMONS = ("cron.service", "crond.service", "cronie.service", "cron.target")
ENABLED = ("enabled", "enabled-runtime", "static", "alias", "generated")


def refuse_unfit(run):
    """CannotLook when systemd is not there, too old, does not answer, or is going down."""
    number = re.match("[0-9]+", version(run))
    if number is None:
        raise CannotLook("systemctl does not work here: Citadel needs a host that runs systemd")
    if int(number.group()) < OLDEST:
        raise CannotLook("systemd %s is too old: %d or newer is needed" % (number.group(), OLDEST))
    if system_state(run) == "stopping":
        raise CannotLook("the system is shutting down")


def find_unit(tree, name):
    """The path inside the root of the unit file `name`, our own alias for redis not counted; None if nowhere."""
    paths = [directory + "/" + name for directory in LOAD_PATH]
    return next((path for path in paths if path != REDIS_ALIAS and tree.status(path) is not None), None)


def is_here(tree, name):
    """Whether there is a unit `name`, from a file or made of a SysV script."""
    return find_unit(tree, name) is not None or tree.status("/run/systemd/generator.late/" + name) is not None


def redis_alias(tree):
    """The unit file that redis-server.service has to be another name of, or None where none is needed or possible.
    Fedora, RHEL and SUSE call it redis.service. A symlink in the load path makes an alias (systemd.unit(5)), and the
    one instance then has both names: Requires=, After=, WantedBy=, crash, stop and start were seen to work through it
    on systemd 247, 252, 257 and 262. A template or a drop-in would not: WantedBy= cannot be overridden by either."""
    if find_unit(tree, "redis-server.service"):
        return None
    path = find_unit(tree, "redis.service")
    target = path and tree.resolve(path)
    return target if target and target.endswith(".service") else None


def cron_runs(host):
    """Whether a cron daemon is active, or will be at the next boot (in a prepared root: whether one is enabled)."""
    names = [name for name in CRON_DAEMONS if find_unit(host.tree, name)]
    if not host.is_running:
        return any(is_enabled(host, name) for name in names)
    answers = show(names, ("ActiveState", "UnitFileState"), host.run)
    return any(answer.get("ActiveState") == "active" or answer.get("UnitFileState") in ENABLED
               for answer in answers.values())


def is_enabled(host, name):
    return host.systemctl("is-enabled", "--", name).out.strip() in ENABLED


def account_exists(host):
    """Whether the gateway's account exists, anywhere the host looks for accounts."""
    if host.is_running:
        try:
            return bool(pwd.getpwnam(ACCOUNT))
        except KeyError:
            return False
    passwd = (host.tree.read(accounts.PASSWD) or b"").decode("utf-8", "replace")
    return any(one.name == ACCOUNT for one in accounts.parse(passwd))


def declared_paths(tree):
    """The paths that our tmpfiles.d file declares."""
    lines = (tree.read(TMPFILES) or b"").decode("utf-8", "replace").splitlines()
    return [line.split()[1] for line in lines if line[:1] in ("d", "f") and len(line.split()) > 1]
