"""What the installation asks of systemd, on this host or for a prepared root (`systemctl --root=DIR`).

Looking for unit files is done in the directories themselves: the same for a host and for a root that is not running.
"""

from citadel.core import accounts
from citadel.core.errors import CannotLook
from citadel.core.run import run as run_program
from citadel.installer.layout import ACCOUNT, CONFIG, REDIS_ALIAS, TMPFILES
from citadel.observe.systemctl import show, system_state, version

OLDEST = 239                    # RHEL 8
SECONDS = 30
START_SECONDS = 150             # the gateway's TimeoutStartSec, and the dependencies' own start before it
# systemd.unit(5), "Unit File Load Path".
LOAD_PATH = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
             "/lib/systemd/system")
GENERATED = "/run/systemd/generator.late"       # where a SysV script becomes a unit
CRON_DAEMONS = ("cron.service", "crond.service", "cronie.service", "cron.target")
ENABLED = ("enabled", "enabled-runtime", "static", "alias", "generated")


def refuse_unfit(run=run_program):
    """CannotLook when systemd is not there, too old, does not answer, or is going down."""
    said = version(run)
    number = said.split()[0] if said else ""
    digits = number[:len(number) - len(number.lstrip("0123456789"))]
    if not digits:
        raise CannotLook("systemctl does not work here: Citadel is for hosts that systemd runs")
    if int(digits) < OLDEST:
        raise CannotLook("systemd %s is too old: %d or newer is needed" % (number, OLDEST))
    if system_state(run) == "stopping":
        raise CannotLook("the system is shutting down")


def find_unit(tree, name):
    """The path inside the root of the unit file `name`, our own alias for redis not counted; None if nowhere."""
    for directory in LOAD_PATH:
        path = directory + "/" + name
        if path != REDIS_ALIAS and tree.status(path) is not None:
            return path
    return None


def is_here(tree, name):
    """Whether there is a unit `name`, from a file or made of a SysV script."""
    return find_unit(tree, name) is not None or tree.status(GENERATED + "/" + name) is not None


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


def cron_runs(tree, root, run=run_program):
    """Whether a cron daemon is there that reads /etc/cron.d, and is running or will be at boot."""
    names = [name for name in CRON_DAEMONS if find_unit(tree, name)]
    if root != "/":
        return any(is_enabled(root, name, run) for name in names)
    answers = show(names, ("ActiveState", "UnitFileState"), run)
    return any(answer.get("ActiveState") == "active" or answer.get("UnitFileState") in ENABLED
               for answer in answers.values())


def is_enabled(root, name, run=run_program):
    return order(root, ["is-enabled", "--", name], run).out.strip() in ENABLED


def order(root, words, run=run_program, seconds=SECONDS):
    """`systemctl WORDS`, on the host or on the root's files only."""
    return run(["systemctl"] + (["--root=" + root] if root != "/" else []) + words, seconds)


def account_exists(tree, root):
    """Whether the gateway's account exists, anywhere the host looks for accounts."""
    if root == "/":
        import pwd
        try:
            pwd.getpwnam(ACCOUNT)
        except KeyError:
            return False
        return True
    passwd = (tree.read(accounts.PASSWD) or b"").decode("utf-8", "replace")
    return any(one.name == ACCOUNT for one in accounts.parse(passwd))


def create_account(root, run=run_program):
    return run(["systemd-sysusers"] + (["--root=" + root] if root != "/" else []) + ["citadel.conf"], SECONDS)


def create_directories(root, run=run_program):
    return run(_tmpfiles(root) + ["citadel.conf"], SECONDS)


def create_config_directory(root, run=run_program):
    """The gateway's settings directory, closed to others because it may hold secrets, and not its own to write."""
    return run(_tmpfiles(root) + ["-"], SECONDS, stdin=("d %s 0750 root %s\n" % (CONFIG, ACCOUNT)).encode())


def update_catalog(root, run=run_program):
    """Makes `journalctl -x` know the catalog files that are there now, or know no more those that are gone."""
    return run(["journalctl"] + (["--root=" + root] if root != "/" else []) + ["--update-catalog"], SECONDS)


def _tmpfiles(root):
    return ["systemd-tmpfiles"] + (["--root=" + root] if root != "/" else []) + ["--create"]


def declared_paths(tree):
    """The paths that our tmpfiles.d file declares."""
    lines = (tree.read(TMPFILES) or b"").decode("utf-8", "replace").splitlines()
    return [line.split()[1] for line in lines if line[:1] in ("d", "f") and len(line.split()) > 1]
