"""Uninstalls. The gateway's own directories, /opt/citadel/venv and /opt/citadel/config, are never emptied. The manifest
is removed last, so after an interruption the next run completes it.
"""

import contextlib
import grp
import os
import pwd

from citadel.core.errors import CitadelError
from citadel.core.text import plural
from citadel.installer import interpreter, layout, manifest, steps, systemd
from citadel.installer.host import SECONDS
from citadel.installer.layout import CRON, GATEWAY, HOME, REDIS_ALIAS, SETTINGS, STATE, TIMER, Item
from citadel.settings import file as settings
from citadel.tell import metrics

# The order matters: nothing may start a recovery pass any more when the gateway is stopped.
STOPPED_FIRST = (TIMER, "citadel-health.service", "citadel-recovery.service")
PURGED_FILES = (SETTINGS, SETTINGS + ".new")
PURGED_TREES = (HOME + "/logs", "/run/citadel-recovery")
LEFT_IF_NOT_EMPTY = (layout.CONFIG, layout.VENV)


def uninstall(host, source, purge=False, dry_run=False):
    """Removes what the manifest says was installed, with `purge` settings, logs and state as well; 0, or 1 when
    something would not go and was named."""
    tree = host.tree
    recorded = manifest.read_both(tree)[-1]
    installed = recorded or _by_source(tree, source)
    present = [path for path in sorted(set(installed.files) | set(installed.links)) if tree.status(path) is not None]
    purged = [path for path in PURGED_FILES + PURGED_TREES + (STATE,) if purge and tree.status(path) is not None]
    if not present and not purged and not (recorded and recorded.files):
        host.say("Citadel is not installed%s: nothing to remove." % host.where)
        return 0
    if dry_run:
        for path in present + purged:
            host.say("removed  " + path)
        host.say("A dry run: nothing was changed.")
        return 0
    if tree.status(STATE) is not None:
        host.hold_lock()
    failures = _stop(host, installed, present)
    for path in present:
        tree.remove(path)
    if host.is_running:
        _withdraw_metrics(host)
    interpreter.remove_byte_code(tree, installed.files)
    _remove_empty(tree, _directories(installed, present))
    if layout.CATALOG in present:
        steps.update_catalog(host)
    if host.is_running:
        host.systemctl("daemon-reload", seconds=90)
        for name in sorted({layout.unit_name(path) for path in installed.files} - {""}):
            host.systemctl("reset-failed", "--", name)      # "not loaded" is the answer that we want
    if present:
        host.say("%s removed." % plural(len(present), "file"))
    if purge:
        failures += _purge(host, installed)
    else:
        # What is worth keeping: whose the account is, and which settings were shipped. Last, when all is removed.
        kept = manifest.Manifest(settings=installed.settings, directories=installed.directories,
                                 account=installed.account, schedule=installed.schedule)
        tree.remove(STATE + "/install.lock")
        tree.write([Item(manifest.PATH, kept.render(), 0o600)])
        tree.remove(manifest.INTENT)
        host.say("Settings, logs and state stay: %s/etc, %s/logs, %s. `--uninstall --purge` removes them." % (
            HOME, HOME, STATE))
    for complaint in failures:
        host.complain(complaint)
    return 1 if failures else 0


def _by_source(tree, source):
    """Where the manifest was lost: what this source would have installed."""
    try:
        wanted = layout.items(layout.source_files(source), "", "cron")
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
    for name in metrics.withdraw(wanted.metrics.directory):
        host.say("removed  %s/%s" % (wanted.metrics.directory.lstrip("-"), name))


def _stop(host, installed, present):
    """Stops and disables our units, those that start a recovery pass first; complaints."""
    if CRON in installed.files:
        host.tree.remove(CRON)
    units = {name for name in map(layout.unit_name, present) if name.startswith("citadel-")}
    ordered = [name for name in STOPPED_FIRST if name in units] + sorted(units - set(STOPPED_FIRST))
    failures = []
    for name in ordered:
        if host.is_running and host.systemctl("is-active", "--", name).out.strip() != "inactive":
            answer = host.systemctl("stop", "--", name, seconds=90)     # TimeoutStopSec=60 of the gateway
            if not answer.ok:
                failures.append("%s was not stopped: %s" % (name, answer.complaint()))
            elif name == GATEWAY:
                host.say("%s is stopped." % name)
    with_install = [name for name in ordered if b"\n[Install]" in (host.tree.read(layout.UNITS + "/" + name) or b"")]
    if with_install:
        answer = host.systemctl("disable", "--", *with_install)
        if not answer.ok:
            failures.append("not disabled: " + answer.complaint())
        _remove_wants(host.tree, {layout.UNITS + "/" + name for name in with_install})
    for name in ordered:
        for path in ("/etc/systemd/system/" + name, "/etc/systemd/system/%s.d" % name):
            if host.tree.status(path) is not None:
                host.say("%s stays: it is the operator's." % path)
    return failures


def _remove_wants(tree, units):
    """The links of enablement that `disable` leaves when a unit is masked (it ignores the unit then, and exits 0)."""
    for name in tree.names("/etc/systemd/system"):
        directory = "/etc/systemd/system/" + name
        for link in tree.names(directory) if name.endswith((".wants", ".requires")) else ():
            if tree.link_target(directory + "/" + link) in units:
                tree.remove(directory + "/" + link)
                tree.remove_directory(directory)


def _directories(installed, present):
    """Our directories in /opt/citadel, and those elsewhere that an installation had to make."""
    found = {path for path in installed.directories if not (STATE + "/").startswith(path + "/")}
    for path in list(installed.files) + present:
        directory = os.path.dirname(path)
        while directory.startswith(HOME + "/"):
            found.add(directory)
            directory = os.path.dirname(directory)
    return found


def _remove_empty(tree, directories):
    """Those of `directories` in which nothing is left, the innermost first."""
    for directory in sorted(directories, key=len, reverse=True):
        tree.remove_directory(directory)


def _purge(host, installed):
    tree, failures = host.tree, []
    for path in PURGED_FILES:
        tree.remove(path)
    tree.remove_directory(os.path.dirname(SETTINGS))
    for path in PURGED_TREES:
        failures += tree.remove_whole(path)
    left = [path for path in LEFT_IF_NOT_EMPTY if tree.status(path) is not None and not tree.remove_directory(path)]
    if left:
        host.say("%s stay%s: the gateway's own." % (" and ".join(left), "s" if len(left) == 1 else ""))
    tree.remove_directory(HOME)
    _remove_empty(tree, installed.directories)
    if installed.account:
        failures += _remove_account(host, left)
    failures += tree.remove_whole(STATE, last=(os.path.basename(manifest.PATH), os.path.basename(manifest.INTENT)))
    _remove_empty(tree, installed.directories)      # those that the state was in
    host.say("Settings, logs and state are removed.")
    return failures


def _remove_account(host, left):
    """Removes the account that we created, unless something in the directories `left` belongs to it; complaints."""
    if not systemd.account_exists(host):
        return []
    if not host.is_running:
        host.say("The account %s in %s stays." % (layout.ACCOUNT, host.root))
        return []
    account = pwd.getpwnam(layout.ACCOUNT)
    used = [path for path in left if _belongs(host.tree.locate(path), account.pw_uid, account.pw_gid)]
    if used:
        host.say("The account %s stays: it has files in %s." % (layout.ACCOUNT, used[0]))
        return []
    answer = host.run(["userdel", layout.ACCOUNT], SECONDS)
    with contextlib.suppress(KeyError):                     # there is no such group: userdel removed it
        if answer.ok and grp.getgrnam(layout.ACCOUNT):      # where login.defs has no USERGROUPS_ENAB
            answer = host.run(["groupdel", layout.ACCOUNT], SECONDS)
    return [] if answer.ok else ["the account %s was not removed: %s" % (layout.ACCOUNT, answer.complaint())]


def _belongs(place, uid, gid):
    """Whether anything at or below `place` is the account's or its group's."""
    paths = [place]
    for directory, subdirectories, names in os.walk(place):
        paths += [os.path.join(directory, name) for name in subdirectories + names]
    return any(status.st_uid == uid or status.st_gid == gid for status in map(os.lstat, paths))
