"""Uninstalls: removes what the manifest says was installed, and with `purge` settings, logs and state as well.

The gateway's own directories, /opt/citadel/venv and /opt/citadel/config, are never emptied. Interrupted, it is simply
run again: the manifest goes last.
"""

import os
import stat

from citadel.core.errors import CitadelError
from citadel.core.mounts import mount_id
from citadel.installer import layout, manifest, systemd
from citadel.installer.installation import require_lock
from citadel.installer.layout import CRON, GATEWAY, HOME, REDIS_ALIAS, SETTINGS, STATE, TIMER, Item
from citadel.settings import file as settings
from citadel.tell import metrics

# The order matters: first nobody may call for a recovery any more, then the gateway may go.
STOPPED_FIRST = (TIMER, "citadel-health.service", "citadel-recovery.service")
STATE_IN_RAM = "/run/citadel-recovery"
PURGED_FILES = (SETTINGS, SETTINGS + ".new")
PURGED_TREES = (HOME + "/logs", STATE_IN_RAM)
LEFT_IF_NOT_EMPTY = (layout.CONFIG, layout.VENV)
LAST_OF_ALL = (os.path.basename(manifest.PATH), os.path.basename(manifest.INTENT))
DEEPEST = 64


def uninstall(host, source, purge=False, dry_run=False):
    """Removes what install.py installed; 0, or 1 when something would not go and was named."""
    tree = host.tree
    recorded = _recorded(tree)
    installed = recorded or _by_source(tree, source)
    present = [path for path in sorted(set(installed.files) | set(installed.links)) if tree.status(path) is not None]
    purged = [path for path in PURGED_FILES + PURGED_TREES + (STATE,) if purge and tree.status(path) is not None]
    if not present and not purged and not (recorded and recorded.files):
        host.say("Citadel is not installed%s: nothing to remove." % ("" if host.is_running else " in " + host.root))
        return 0
    if dry_run:
        for path in present + purged:
            host.say("removed  " + path)
        host.say("A dry run: nothing was changed.")
        return 0
    if tree.status(STATE) is not None:
        host.lock = require_lock(tree)
    failures = _stop(host, installed, present)
    for path in present:
        tree.remove(path)
    if host.is_running:
        _withdraw_metrics(host)
    _remove_byte_code(tree, installed.files)
    _remove_empty_directories(tree, installed, present)
    if layout.CATALOG in present:
        systemd.update_catalog(host.root, host.run)
    if host.is_running:
        systemd.order("/", ["daemon-reload"], host.run, 90)
        for name in sorted({layout.unit_name(path) for path in installed.files} - {""}):
            systemd.order("/", ["reset-failed", "--", name], host.run)     # "not loaded" is what we are after
    if present:
        host.say("%d files removed." % len(present))
    if purge:
        failures += _purge(host, installed)
    else:
        tree.remove(STATE + "/install.lock")
        tree.write([Item(manifest.PATH, installed.without_files().render(), 0o600)])    # last: from here on it is done
        tree.remove(manifest.INTENT)
        host.say("Settings, logs and state stay: %s/etc, %s/logs, %s. `--uninstall --purge` removes them." % (
            HOME, HOME, STATE))
    for complaint in failures:
        host.complain(complaint)
    return 1 if failures else 0


def _recorded(tree):
    """What the manifest says is installed, or was about to be; None when there is none."""
    found = [read for read in (manifest.read(tree), manifest.read(tree, manifest.INTENT)) if read]
    return found[0].merged(found[-1]) if found else None


def _by_source(tree, source):
    """Where the manifest was lost: whatever this source would have installed."""
    try:
        wanted = layout.items(layout.source_files(source), layout.SHIPPED_INTERPRETER[2:].decode(), "cron")
    except CitadelError:
        wanted = ()
    links = {REDIS_ALIAS: ""} if (tree.link_target(REDIS_ALIAS) or "").endswith("/redis.service") else {}
    return manifest.Manifest({item.path: "" for item in wanted}, links)


def _withdraw_metrics(host):
    """From the directory that the settings name; where they cannot be read, from the default one."""
    try:
        wanted = settings.parse((host.tree.read(SETTINGS) or b"").decode("utf-8", "replace"), SETTINGS)
    except CitadelError:
        wanted = settings.parse("", SETTINGS)
    for name in metrics.withdraw(wanted.metrics.directory) if wanted.metrics.directory else ():
        host.say("removed  %s/%s" % (wanted.metrics.directory.lstrip("-"), name))


def _stop(host, installed, present):
    """Ends and disables our units, the caller of repairs first."""
    if CRON in installed.files:
        host.tree.remove(CRON)
    units = {name for name in map(layout.unit_name, present) if name.startswith("citadel-")}
    ordered = [name for name in STOPPED_FIRST if name in units] + sorted(units - set(STOPPED_FIRST))
    failures = []
    for name in ordered:
        if host.is_running and systemd.order("/", ["is-active", "--", name], host.run).out.strip() != "inactive":
            answer = systemd.order("/", ["stop", "--", name], host.run, 90)     # TimeoutStopSec=60 of the gateway
            if not answer.ok:
                failures.append("%s was not stopped: %s" % (name, answer.complaint()))
            elif name == GATEWAY:
                host.say("%s is stopped." % name)
    with_install = [name for name in ordered if b"\n[Install]" in (host.tree.read(layout.UNITS + "/" + name) or b"")]
    if with_install:
        answer = systemd.order(host.root, ["disable", "--"] + with_install, host.run)
        if not answer.ok:
            failures.append("not disabled: " + answer.complaint())
        _remove_wants(host.tree, with_install)
    for name in ordered:
        for path in ("/etc/systemd/system/" + name, "/etc/systemd/system/%s.d" % name):
            if host.tree.status(path) is not None:
                host.say("%s stays: it is not ours." % path)
    return failures


def _remove_wants(tree, names):
    """The links of enablement that `disable` leaves when a unit is masked (it ignores the unit then, and exits 0)."""
    top = "/etc/systemd/system"
    for directory in tree.names(top):
        if directory.endswith((".wants", ".requires")):
            for name in names:
                path = "%s/%s/%s" % (top, directory, name)
                if tree.link_target(path) == layout.UNITS + "/" + name:
                    tree.remove(path)
                    tree.remove_directory(top + "/" + directory)


def _remove_byte_code(tree, files):
    """The __pycache__ directories beside our sources, whatever Python wrote them."""
    for directory in sorted({os.path.dirname(path) for path in files if path.endswith(".py")}):
        cache = directory + "/__pycache__"
        if directory.startswith(HOME + "/lib") and tree.status(cache) is not None:
            for name in tree.names(cache):
                tree.remove(cache + "/" + name)
            tree.remove_directory(cache)


def _remove_empty_directories(tree, installed, present):
    """Our directories in /opt/citadel, and those elsewhere that we had to make; only if nothing is left in them."""
    inside = set()
    for path in list(installed.files) + present:
        directory = os.path.dirname(path)
        while directory.startswith(HOME + "/"):
            inside.add(directory)
            directory = os.path.dirname(directory)
    outside = {path for path in installed.directories if not (STATE + "/").startswith(path + "/")}
    for directory in sorted(inside | outside, key=len, reverse=True):
        tree.remove_directory(directory)


def _purge(host, installed):
    tree, failures = host.tree, []
    for path in PURGED_FILES:
        tree.remove(path)
    tree.remove_directory(os.path.dirname(SETTINGS))
    for path in PURGED_TREES:
        failures += _remove_whole(tree, path)
    left = [path for path in LEFT_IF_NOT_EMPTY if tree.status(path) is not None and not tree.remove_directory(path)]
    if left:
        host.say("%s stay%s: the gateway's own." % (" and ".join(left), "s" if len(left) == 1 else ""))
    tree.remove_directory(HOME)
    _remove_made_directories(tree, installed)
    if installed.account:
        failures += _remove_account(host, left)
    failures += _remove_whole(tree, STATE)
    _remove_made_directories(tree, installed)       # those that the state was in
    host.say("Settings, logs and state are removed.")
    return failures


def _remove_whole(tree, path):
    """Removes the directory `path` with all that is in it; sentences for what would not go."""
    place = tree.locate(path)
    return ["%s stays: %s" % pair for pair in remove_tree(place)] if tree.status(path) is not None else []


def _remove_made_directories(tree, installed):
    for path in sorted(installed.directories, key=len, reverse=True):
        tree.remove_directory(path)


def _remove_account(host, left):
    """Removes the account that we created, unless something that is left belongs to it."""
    if not systemd.account_exists(host.tree, host.root):
        return []
    if not host.is_running:
        host.say("The account %s in %s stays." % (layout.ACCOUNT, host.root))
        return []
    import grp
    import pwd
    account = pwd.getpwnam(layout.ACCOUNT)
    for path in left:
        if _belongs(host.tree.locate(path), account.pw_uid, account.pw_gid):
            host.say("The account %s stays: it has files in %s." % (layout.ACCOUNT, path))
            return []
    answer = host.run(["userdel", layout.ACCOUNT], systemd.SECONDS)
    if not answer.ok:
        return ["the account %s was not removed: %s" % (layout.ACCOUNT, answer.complaint())]
    try:
        grp.getgrnam(layout.ACCOUNT)
    except KeyError:
        return []
    answer = host.run(["groupdel", layout.ACCOUNT], systemd.SECONDS)    # where login.defs has no USERGROUPS_ENAB
    return [] if answer.ok else ["the group %s was not removed: %s" % (layout.ACCOUNT, answer.complaint())]


def _belongs(place, uid, gid):
    """Whether anything at or below `place` is the account's or its group's."""
    paths = [place]
    for directory, subdirectories, names in os.walk(place):
        paths += [os.path.join(directory, name) for name in subdirectories + names]
    return any(status.st_uid == uid or status.st_gid == gid for status in map(os.lstat, paths))


def remove_tree(place):
    """Removes the directory `place` and all below it; a list of (path, why) for what would not go.

    By descriptors, one component at a time, no link followed, no other mount entered (a bind mount shares st_dev;
    only mnt_id tells it apart): nothing that is swapped meanwhile can lead it elsewhere."""
    parent = os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _remove_at(parent, os.path.basename(place), place, _mount_of(parent, os.path.basename(place)), 0)
    finally:
        os.close(parent)


def _remove_at(parent, name, path, mount, depth):
    try:
        status = os.lstat(name, dir_fd=parent)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent)
            return []
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        return [(path, error.strerror)]
    failures = []
    try:
        if mount_id(descriptor) != mount:
            return [(path, "another file system is mounted there")]
        if depth >= DEEPEST:
            return [(path, "it is too deep")]
        for child in sorted(os.listdir(descriptor), key=LAST_OF_ALL.__contains__):
            failures += _remove_at(descriptor, child, path + "/" + child, mount, depth + 1)
    finally:
        os.close(descriptor)
    if not failures:
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as error:
            failures = [(path, error.strerror)]
    return failures


def _mount_of(parent, name):
    """The mount that `name` itself is on; -1 when it cannot be opened as a directory."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return -1
    try:
        return mount_id(descriptor)
    finally:
        os.close(descriptor)
