"""What the files on a host lack for this version. Looks and decides, and changes nothing."""

import os
from collections import namedtuple

from citadel import __version__
from citadel.installer import layout, manifest, systemd
from citadel.installer.layout import REDIS_ALIAS, SETTINGS, Item

Plan = namedtuple("Plan", "writes removals link notes manifest")
Plan.__doc__ = """What to do to the files: `writes` Items with a word each (new|changed), `removals` paths, `link` the
target of the redis alias to make or None, `notes` sentences for the operator, `manifest` what is installed then."""


def decide_schedule(asked, remembered, cron_runs):
    """cron, timer or none: what was asked for, else what is installed, else what the host can do."""
    return asked or remembered or ("cron" if cron_runs() else "timer")


def plan(tree, wanted, shipped, known, alias, schedule):
    """The Plan for `wanted` (Items), citadel.conf (`shipped`: its bytes) and the redis `alias` (its target or None);
    `known` is the manifest of what was installed so far."""
    files = {item.path: manifest.digest(item.data) for item in wanted}
    removals = sorted(path for path in known.files if path not in files and tree.status(path) is not None)
    if not alias and tree.link_target(REDIS_ALIAS) and REDIS_ALIAS in known.links:
        removals.append(REDIS_ALIAS)
    settings, note = _plan_settings(tree, shipped, known.settings)
    writes = [item for item in wanted + settings if not tree.holds(item)]
    after = manifest.Manifest(files, {REDIS_ALIAS: alias} if alias else {}, manifest.digest(shipped),
                              known.directories, known.account, schedule, __version__)
    return Plan(writes=[("new" if tree.status(item.path) is None else "changed", item) for item in writes],
                removals=removals, link=alias if alias and tree.link_target(REDIS_ALIAS) != alias else None,
                notes=_shadows(tree, files) + note, manifest=after)


def _plan_settings(tree, shipped, last_shipped):
    """([the Item to be] or [], [a note] or []) for citadel.conf: an edited one is kept, as dpkg does it."""
    status, current = tree.status(SETTINGS), tree.read(SETTINGS)
    if current == shipped:
        return [], []
    if status is None or (current is not None and manifest.digest(current) == last_shipped):
        return [Item(SETTINGS, shipped, status.st_mode & 0o755 if status else 0o644)], []
    if manifest.digest(shipped) == last_shipped:
        return [], []                           # edited, and nothing new to offer
    return [Item(SETTINGS + ".new", shipped, 0o644)], [
        "%s was edited and stays as it is; the new one is %s.new" % (SETTINGS, SETTINGS)]


def _shadows(tree, files):
    """Notes for unit files that come before ours in systemd's load path: systemd uses those instead of ours."""
    notes = []
    for name in sorted({layout.unit_name(path) for path in files} - {""}):
        found = systemd.find_unit(tree, name)
        if not found or os.path.dirname(found) not in systemd.BEFORE_OURS:
            continue
        if tree.link_target(found) == "/dev/null":
            notes.append("%s is masked (%s): it will not run" % (name, found))
        else:
            notes.append("systemd uses %s instead of Citadel's unit file: remove it, or move your changes into a "
                         "drop-in (`systemctl edit`)" % found)
    return notes
