"""Installs: look at the source and at the host, decide (plan.py, steps.py: no writing), write down what is about to be
(manifest.INTENT), put files in place, take systemd's steps, and make the intent the manifest.

Killed at any moment, the next run completes it: each step looks at what is there, and an intent that was left says that
steps may be missing.
"""

import os

from citadel import __version__
from citadel.core.errors import CannotLook
from citadel.core.text import plural
from citadel.installer import interpreter, layout, manifest, preflight, steps, systemd
from citadel.installer.host import SECONDS
from citadel.installer.layout import CRON, HOME, REDIS_ALIAS, SETTINGS, STATE, TIMER, Item
from citadel.installer.plan import decide_schedule, plan
from citadel.observe.systemctl import show


def install(host, source, schedule=None, dry_run=False):
    """Installs what `source` holds; 0 when all is done (or nothing had to be), 1 when a step failed and was named."""
    files = layout.source_files(source)
    python = _fit_python(host, files)
    if host.is_running:
        systemd.refuse_unfit(host.run)
    old, interrupted, known = manifest.read_both(host.tree)
    known = known or manifest.Manifest()
    decided = decide_schedule(schedule, known.schedule, lambda: systemd.cron_runs(host))
    wanted = layout.items(files, python, decided)
    planned = plan(host.tree, wanted, files["units/citadel.conf"][0], known, systemd.redis_alias(host.tree), decided)
    to_do = steps.needed(host, planned, old or manifest.Manifest(), wanted, interrupted is not None)
    for note in planned.notes:
        host.say(note)
    if not (planned.writes or planned.removals or planned.link or to_do or old != planned.manifest):
        host.say("Citadel %s is installed already: nothing changed." % __version__)
        return 0
    if dry_run:
        _say_changes(host, planned)
        for words, _ in to_do:
            host.say("then     " + words)
        host.say("A dry run: nothing was changed.")
        return 0
    _put_files(host, planned, known, python)
    _say_changes(host, planned, brief=True)
    complaints = 0
    for words, step in to_do:
        complaint = step(host)
        if complaint:
            host.complain(complaint)
            complaints += 1
        elif complaint is None:
            host.say("done     " + words)
    if complaints:
        host.complain("not everything was installed: correct what is named above, then run install.py again")
        return 1
    host.tree.write([Item(manifest.INTENT, planned.manifest.render(), 0o600)])
    os.rename(host.tree.locate(manifest.INTENT), host.tree.locate(manifest.PATH))
    _say_what_is_left(host, planned, old)
    return 0


def _fit_python(host, files):
    """The interpreter to write into the first lines; raises CannotLook when it could not run Citadel."""
    if not host.is_running:         # the Python of a prepared root cannot be run from here
        return next((path for path in preflight.CANDIDATES if host.tree.resolve(path)), preflight.CANDIDATES[0])
    python = interpreter.choose(host.tree, host.run)
    sources = {name: data.decode() for name, (data, _) in files.items()
               if name.endswith(".py") or data.startswith(layout.SHIPPED_INTERPRETER)}
    missing = interpreter.missing_modules(python, preflight.imported_names(sources) + ["compileall"], host.run)
    if missing:
        raise CannotLook(preflight.advice(missing, preflight.os_release()) + "; nothing was changed")
    return python


def _put_files(host, planned, known, python):
    tree, intent = host.tree, planned.manifest
    missing = tree.missing_directories(os.path.dirname(STATE))
    tree.make_directories(STATE, 0o700)
    host.hold_lock()
    if not intent.account and not systemd.account_exists(host):
        intent.account = layout.ACCOUNT
    paths = [item.path for _, item in planned.writes] + ([REDIS_ALIAS] if planned.link else [])
    directories = sorted({os.path.dirname(path) for path in paths})
    for directory in directories:
        missing += tree.missing_directories(directory)
    intent.directories = known.directories + sorted(set(missing) - set(known.directories), key=len)
    everything = intent.merged(known)
    tree.write([Item(manifest.INTENT, everything.render(), 0o600)])
    for directory in directories:               # named in the intent first: a kill in between leaves none unknown
        tree.make_directories(directory)
    tree.write([item for _, item in planned.writes])
    if host.is_running:
        interpreter.remove_byte_code(tree, everything.files)
    for path in planned.removals:
        if path != REDIS_ALIAS and layout.unit_name(path) and host.is_running:
            host.systemctl("disable", "--now", "--", layout.unit_name(path))
        tree.remove(path)
        tree.remove_directory(os.path.dirname(path))
    if planned.link:
        tree.link(REDIS_ALIAS, planned.link)
    if host.is_running:
        interpreter.write_byte_code(python, tree.locate(HOME + "/lib"), host.run)
        label(host, [HOME] + sorted({os.path.dirname(path) for path in paths if not path.startswith(HOME + "/")}))


def label(host, paths, selinux="/sys/fs/selinux/enforce"):
    """Where SELinux is active, gives what was written the labels of its places: a new file has its directory's."""
    if os.path.exists(selinux):
        answer = host.run(["restorecon", "-R"] + [host.tree.locate(path) for path in paths], SECONDS)
        if not answer.ok:
            host.complain("SELinux labels were not set: %s; ignoring" % answer.complaint())


def _say_changes(host, planned, brief=False):
    """What happens to the files; with `brief` those inside /opt/citadel by number only, the settings apart."""
    rows = [(word, item.path) for word, item in planned.writes
            if not brief or not item.path.startswith(HOME + "/") or item.path in (SETTINGS, SETTINGS + ".new")]
    if len(rows) < len(planned.writes):
        host.say("written  %s in %s" % (plural(len(planned.writes) - len(rows), "file"), HOME))
    rows += [("removed", path) for path in planned.removals]
    if planned.link:
        rows.append(("link", "%s -> %s (this host's redis)" % (REDIS_ALIAS, planned.link)))
    for row in rows:
        host.say("%-8s %s" % row)


def _say_what_is_left(host, planned, old):
    """What the operator still has to do, if anything: to restart a running service is their decision."""
    if old and host.is_running:
        names = sorted({layout.unit_name(item.path) for _, item in planned.writes} - {"", TIMER})
        for name, answer in sorted(show(names, ("ActiveState", "Type"), host.run).items()):
            if answer.get("ActiveState") in ("active", "activating", "reloading") and answer.get("Type") != "oneshot":
                host.say("%s has changed and keeps its old settings until you restart it." % name)
    if planned.manifest.schedule == "cron" and not systemd.cron_runs(host):
        host.say("No cron daemon runs here, so nothing reads %s: run `install.py --schedule timer`." % CRON)
    host.say("Citadel %s is installed%s." % (__version__, host.where))
