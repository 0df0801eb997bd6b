"""Installs, or says what installing would change.

Look at the source and at the host, decide (`plan`, no writing), write down what is about to be (manifest.INTENT), put
files in place, ask systemd for the rest, and make the intent the manifest. Killed anywhere, the next run completes it:
each step looks at what is there, and an intent left behind says that systemd's part may be missing.
"""

import fcntl
import os
from collections import namedtuple

from citadel import __version__
from citadel.core.errors import CannotLook, LockHeld
from citadel.core.run import run as run_program
from citadel.installer import interpreter as pythons
from citadel.installer import layout, manifest, preflight, systemd
from citadel.installer.layout import (
    CATALOG,
    CRON,
    GATEWAY,
    HOME,
    REDIS_ALIAS,
    SETTINGS,
    STATE,
    SYSUSERS,
    TIMER,
    TMPFILES,
    Item,
)
from citadel.observe.systemctl import show

Plan = namedtuple("Plan", "writes removals link kept notes manifest")
Plan.__doc__ = """What to do to the files: `writes` Items with a word each (new|changed), `removals` paths, `link` the
target of the redis alias to make or None, `kept` whether an edited citadel.conf stays, `notes` sentences, `manifest`
what is installed afterwards."""


class Host:
    """Where to install and whom to ask: `tree`, `root` (for systemctl), `run`, and `say` and `complain` for lines."""

    def __init__(self, tree, say, complain, run=run_program):
        self.tree, self.root, self.run = tree, tree.root, run
        self.say, self.complain = say, complain
        self.lock = None                # the descriptor that keeps others off

    @property
    def is_running(self):
        """Whether this is the running system, and not a root that is being prepared."""
        return self.root == "/"


def install(host, source, schedule=None, dry_run=False):
    """Installs what `source` holds; 0 when all is done (or nothing had to be), 1 when a step failed and was named."""
    files = layout.source_files(source)
    python = _fit_python(host, files)
    if host.is_running:
        systemd.refuse_unfit(host.run)
    old, interrupted = manifest.read(host.tree), manifest.read(host.tree, manifest.INTENT)
    known = old.merged(interrupted) if old and interrupted else old or interrupted or manifest.Manifest()
    decided = decide_schedule(schedule, known.schedule, lambda: systemd.cron_runs(host.tree, host.root, host.run))
    wanted = layout.items(files, python, decided)
    shipped = files["units/citadel.conf"][0]
    planned = plan(host.tree, wanted, shipped, known, systemd.redis_alias(host.tree), decided)
    steps = _systemd_steps(host, planned, old or manifest.Manifest(), wanted, interrupted is not None)
    for note in planned.notes:
        host.say(note)
    if not (planned.writes or planned.removals or planned.link or steps or old != planned.manifest):
        host.say("Citadel %s is installed already: nothing changed." % __version__)
        return 0
    if dry_run:
        return _say_plan(host, planned, steps)
    _put_files(host, planned, known, python)
    _say_files(host, planned)
    failures = 0
    for words, step in steps:
        complaint = step(host)
        if complaint:
            failures += 1
            host.complain(complaint)
        elif step is not _start:                # that one speaks for itself
            host.say("%-8s %s" % ("done", words))
    if failures:
        host.complain("installed, but not everything worked: mend it and run install.py again")
        return 1
    _settle(host, planned.manifest)
    _say_what_is_left(host, planned, old)
    return 0


def _fit_python(host, files):
    """The interpreter to write into the first lines; raises CannotLook when it could not run us."""
    if not host.is_running:
        return pythons.choose_unseen(host.tree)
    python = pythons.choose(host.tree, host.run)
    sources = {name: data.decode() for name, (data, _) in files.items()
               if name.endswith(".py") or data.startswith(layout.SHIPPED_INTERPRETER)}
    missing = pythons.missing_modules(python, preflight.imported_names(sources), host.run)
    if missing:
        raise CannotLook(preflight.advice(missing, preflight.os_release()) + "; nothing was changed")
    return python


def decide_schedule(asked, remembered, cron_runs):
    """cron, timer or none: what was asked for, else what is installed, else what the host can do."""
    return asked or remembered or ("cron" if cron_runs() else "timer")


def plan(tree, wanted, shipped, known, alias, schedule):
    """What the files on the host lack for `wanted` (Items), citadel.conf (`shipped`: its bytes) and the redis `alias`
    (its target or None); `known` is the manifest of what was installed so far. Looks, and changes nothing."""
    writes = [(_word(tree, item), item) for item in wanted if not tree.holds(item)]
    files = {item.path: manifest.digest(item.data) for item in wanted}
    removals = sorted(path for path in known.files if path not in files and tree.status(path) is not None)
    notes = _shadows(tree, files)
    write, kept, note = _plan_settings(tree, shipped, known.settings)
    writes += [(_word(tree, write), write)] if write else []
    notes += [note] if note else []
    links = {REDIS_ALIAS: alias} if alias else {}
    if not alias and tree.link_target(REDIS_ALIAS) and REDIS_ALIAS in known.links:
        removals.append(REDIS_ALIAS)
    link = alias if alias and tree.link_target(REDIS_ALIAS) != alias else None
    after = manifest.Manifest(files, links, manifest.digest(shipped), known.directories, known.account, schedule,
                              __version__)
    return Plan(writes, removals, link, kept, notes, after)


def _word(tree, item):
    return "new" if tree.status(item.path) is None else "changed"


def _plan_settings(tree, shipped, last_shipped):
    """(Item to write or None, whether an edited file is kept, a note or "") for citadel.conf, as dpkg does it."""
    status, current = tree.status(SETTINGS), tree.read(SETTINGS)
    if status is None:
        return Item(SETTINGS, shipped, 0o644), False, ""
    if current == shipped:
        return None, False, ""
    if current is not None and manifest.digest(current) == last_shipped:
        return Item(SETTINGS, shipped, status.st_mode & 0o755), False, ""
    if manifest.digest(shipped) == last_shipped:
        return None, True, ""                   # edited, and nothing new to offer
    beside = Item(SETTINGS + ".new", shipped, 0o644)
    note = "%s was edited and stays as it is; the new one is %s" % (SETTINGS, beside.path)
    return None if tree.holds(beside) else beside, True, note


def _shadows(tree, files):
    """Notes for unit files that come before ours in systemd's load path: then ours are not what runs."""
    notes = []
    for name in sorted({layout.unit_name(path) for path in files} - {""}):
        for directory in systemd.LOAD_PATH[:systemd.LOAD_PATH.index(layout.UNITS)]:
            path = directory + "/" + name
            if tree.status(path) is not None:
                masked = tree.link_target(path) == "/dev/null"
                notes.append("%s is masked (%s): it will not run" % (name, path) if masked else
                             "%s is used instead of ours: remove it, or `systemctl edit %s`" % (path, name))
                break
    return notes


def _put_files(host, planned, known, python):
    tree, intent = host.tree, planned.manifest
    missing = tree.missing_directories(os.path.dirname(STATE))
    tree.make_directories(STATE, 0o700)
    host.lock = require_lock(tree)
    if not intent.account and not systemd.account_exists(tree, host.root):
        intent.account = layout.ACCOUNT
    paths = [item.path for _, item in planned.writes] + ([REDIS_ALIAS] if planned.link else [])
    directories = sorted({os.path.dirname(path) for path in paths})
    for directory in directories:
        missing += tree.missing_directories(directory)
    intent.directories = known.directories + sorted(set(missing) - set(known.directories), key=len)
    tree.write([Item(manifest.INTENT, intent.merged(known).render(), 0o600)])
    for directory in directories:               # said before they are made: a kill in between leaves none unknown
        tree.make_directories(directory)
    tree.write([item for _, item in planned.writes])
    for path in planned.removals:
        if path != REDIS_ALIAS and layout.unit_name(path) and host.is_running:
            systemd.order(host.root, ["disable", "--now", "--", layout.unit_name(path)], host.run)
        tree.remove(path)
        tree.remove_directory(os.path.dirname(path))
    if planned.link:
        tree.link(REDIS_ALIAS, planned.link)
    if host.is_running:
        pythons.compile_tree(python, tree.locate(HOME + "/lib"), host.run)
        label(host, [HOME] + sorted({os.path.dirname(path) for path in paths if not path.startswith(HOME + "/")}))


def label(host, paths, selinux="/sys/fs/selinux/enforce"):
    """Where SELinux rules, gives what was written the labels of its places: a new file has its directory's."""
    if os.path.exists(selinux):
        answer = host.run(["restorecon", "-R"] + [host.tree.locate(path) for path in paths], systemd.SECONDS)
        if not answer.ok:
            host.complain("SELinux labels were not set: %s; ignoring" % answer.complaint())


def _settle(host, settled):
    """The intent is now the truth."""
    host.tree.write([Item(manifest.INTENT, settled.render(), 0o600)])
    os.rename(host.tree.locate(manifest.INTENT), host.tree.locate(manifest.PATH))


# --- systemd's part: (what it does, a function of the host that returns a complaint or None)

def _systemd_steps(host, planned, old, wanted, interrupted):
    tree, changed = host.tree, {item.path for _, item in planned.writes}
    units_changed = planned.link or any(layout.unit_name(path) for path in list(changed) + planned.removals)
    steps = []
    if SYSUSERS in changed or interrupted or not systemd.account_exists(tree, host.root):
        steps.append(("create the account %s" % layout.ACCOUNT, _create_account))
    if TMPFILES in changed or interrupted or any(tree.status(path) is None for path in systemd.declared_paths(tree)):
        steps.append(("create the directories of %s" % TMPFILES, _create_directories))
    if tree.status(layout.CONFIG) is None:
        steps.append(("create %s" % layout.CONFIG, _create_config_directory))
    if CATALOG in changed or interrupted:
        steps.append(("journalctl --update-catalog", _update_catalog))
    if host.is_running and (units_changed or interrupted):
        steps.append(("systemctl daemon-reload", _reload))
    known_units = {layout.unit_name(path) for path in old.files}
    for name in layout.enableable(wanted):
        new = name not in known_units
        if new or (units_changed and systemd.is_enabled(host.root, name, host.run)):
            steps.append(("systemctl enable %s" % name, _enabler(name)))
    timer_changed = layout.UNITS + "/" + TIMER in changed
    steps += _schedule_steps(host.is_running, planned.manifest.schedule, old.schedule, timer_changed)
    if GATEWAY not in known_units:
        steps.append(("start %s, if it can start" % GATEWAY, _start))
    return steps


def _schedule_steps(running, schedule, before, timer_changed):
    now = "--now " if running else ""
    if schedule == "timer" and before != "timer":
        return [("systemctl enable %s%s" % (now, TIMER), _enabler(TIMER, now=running))]
    if schedule != "timer" and before == "timer":
        return [("systemctl disable %s%s" % (now, TIMER), _disable_timer)]
    if schedule == "timer" and timer_changed and running:
        return [("systemctl try-restart %s" % TIMER, _restart_timer)]
    return []


def _create_account(host):
    if host.tree.owner != 0:
        host.say("The account %s is left to systemd-sysusers at boot: only root can create it." % layout.ACCOUNT)
        return None
    host.tree.make_directories("/etc")
    return _complaint(systemd.create_account(host.root, host.run), "the account was not created")


def _create_directories(host):
    if host.tree.owner != 0:
        host.say("The directories of %s are left to systemd-tmpfiles at boot: only root can give them away." % TMPFILES)
        return None
    return _complaint(systemd.create_directories(host.root, host.run), "the directories were not created")


def _create_config_directory(host):
    if host.tree.owner != 0:
        return None
    return _complaint(systemd.create_config_directory(host.root, host.run), "%s was not created" % layout.CONFIG)


def _reload(host):
    return _complaint(systemd.order("/", ["daemon-reload"], host.run, 90), "systemd did not read the new units")


def _update_catalog(host):
    answer = systemd.update_catalog(host.root, host.run)
    if not answer.ok:                           # without it `journalctl -x` explains nothing, and all else works
        host.complain("journalctl -x will not explain our entries: %s; ignoring" % answer.complaint())


def _enabler(name, now=False):
    def enable(host):
        if host.tree.link_target("/etc/systemd/system/" + name) == "/dev/null":
            return None                         # masked: said by _shadows, and meant so
        words = ["enable"] + (["--now"] if now else []) + ["--", name]
        return _complaint(systemd.order(host.root, words, host.run), "%s was not enabled" % name)
    return enable


def _disable_timer(host):
    words = ["disable"] + (["--now"] if host.is_running else []) + ["--", TIMER]
    return _complaint(systemd.order(host.root, words, host.run), "%s was not disabled" % TIMER)


def _restart_timer(host):
    """A running timer keeps the times of its old file over a daemon-reload."""
    return _complaint(systemd.order("/", ["try-restart", "--", TIMER], host.run), "%s was not restarted" % TIMER)


def _start(host):
    """Starts the gateway if all that it needs is here; what is missing is said, and is no failure."""
    missing = missing_for_start(host.tree)
    for sentence in missing:
        host.say(sentence)
    if not host.is_running:
        return None
    if missing:
        host.say("%s is enabled and not started yet; when that is there: systemctl start %s" % (GATEWAY, GATEWAY))
        return None
    answer = systemd.order("/", ["start", "--", GATEWAY], host.run, systemd.START_SECONDS)
    if answer.ok:
        host.say("%s is started." % GATEWAY)
        return None
    # The installation is whole; that the service does not come up is what the product is there to look after.
    host.say("%s did not start (%s). Ask: %s/bin/citadel-restart-manager explain" % (GATEWAY, answer.complaint(), HOME))
    return None


def missing_for_start(tree):
    """Sentences for what the gateway needs and this host does not have."""
    sentences = []
    if tree.resolve(layout.VENV + "/bin/uvicorn") is None:
        sentences.append("The gateway's application is not here yet: %s/bin/uvicorn is missing." % layout.VENV)
    if not systemd.is_here(tree, "ollama.service"):
        sentences.append("ollama.service is not on this host, and the gateway needs it.")
    if not any(systemd.is_here(tree, name) for name in ("redis-server.service", "redis.service")):
        sentences.append("Neither redis-server.service nor redis.service is on this host, and the gateway needs one.")
    return sentences


def _complaint(answer, what):
    return None if answer.ok else "%s: %s" % (what, answer.complaint())


# --- saying it

def _say_plan(host, planned, steps):
    for word, item in planned.writes:
        host.say("%-8s %s" % (word, item.path))
    for path in planned.removals:
        host.say("%-8s %s" % ("removed", path))
    if planned.link:
        host.say("%-8s %s -> %s" % ("link", REDIS_ALIAS, planned.link))
    for words, _ in steps:
        host.say("%-8s %s" % ("then", words))
    host.say("A dry run: nothing was changed.")
    return 0


def _say_files(host, planned):
    """The files written, those inside /opt/citadel by number only."""
    inside = [item for _, item in planned.writes if item.path.startswith(HOME + "/")
              and item.path not in (SETTINGS, SETTINGS + ".new")]
    if inside:
        host.say("%-8s %d file%s in %s" % ("written", len(inside), "" if len(inside) == 1 else "s", HOME))
    for word, item in planned.writes:
        if item not in inside:
            host.say("%-8s %s" % (word, item.path))
    for path in planned.removals:
        host.say("%-8s %s" % ("removed", path))
    if planned.link:
        host.say("%-8s %s -> %s (this host's redis)" % ("link", REDIS_ALIAS, planned.link))


def _say_what_is_left(host, planned, old):
    """What the operator still has to do, if anything."""
    if old and host.is_running:
        _say_restarts(host, [item.path for _, item in planned.writes])
    if planned.manifest.schedule == "cron" and not systemd.cron_runs(host.tree, host.root, host.run):
        host.say("No cron daemon runs here, so nothing will read %s: `install.py --schedule timer`" % CRON)
    host.say("Citadel %s is installed%s." % (__version__, "" if host.is_running else " in " + host.root))


def _say_restarts(host, written):
    """A running service keeps its old settings until it is restarted, which is the operator's to decide."""
    names = sorted({layout.unit_name(path) for path in written} - {"", TIMER})
    for name, answer in sorted(show(names, ("ActiveState", "Type"), host.run).items()):
        if answer.get("ActiveState") in ("active", "activating", "reloading") and answer.get("Type") != "oneshot":
            host.say("%s has changed and runs on with its old settings until: systemctl restart %s" % (name, name))


def require_lock(tree):
    """Holds other installations off until the descriptor that it returns is closed. Raises LockHeld.

    In the 0700 directory: a file that others can open is a file that they can lock."""
    descriptor = os.open(tree.locate(STATE + "/install.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                         0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockHeld("another install.py is at work")
    return descriptor
