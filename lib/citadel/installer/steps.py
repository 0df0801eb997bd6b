"""systemd's part of an installation, after the files are in place: accounts, directories, enablement, the first start.

A step is (its words, a function of the Host). That returns None when it is done, a complaint when it failed, and ""
when it has said itself what came of it.
"""

from citadel.installer import layout, systemd
from citadel.installer.host import SECONDS
from citadel.installer.layout import ACCOUNT, CATALOG, CONFIG, GATEWAY, HOME, SYSUSERS, TIMER, TMPFILES


def needed(host, planned, old, wanted, interrupted):
    """The steps that `planned` makes necessary; `old` is the manifest of a completed installation, and `interrupted`
    says that one was started and not completed, so that any of the steps may be missing."""
    tree, changed = host.tree, {item.path for _, item in planned.writes}
    units_changed = planned.link or any(layout.unit_name(path) for path in list(changed) + planned.removals)
    steps = []
    if SYSUSERS in changed or interrupted or not systemd.account_exists(host):
        steps.append(("create the account %s" % ACCOUNT, _create_account))
    if TMPFILES in changed or interrupted or any(tree.status(path) is None for path in systemd.declared_paths(tree)):
        steps.append(("create the directories of %s" % TMPFILES, _create_directories))
    if tree.status(CONFIG) is None:
        steps.append(("create %s" % CONFIG, _create_config_directory))
    if CATALOG in changed or interrupted:
        steps.append(("journalctl --update-catalog", update_catalog))
    if host.is_running and (units_changed or interrupted):
        steps.append(_order("systemd did not read the new units", "daemon-reload", seconds=90))
    known_units = {layout.unit_name(path) for path in old.files}
    for name in layout.enableable(wanted):
        if name not in known_units or (units_changed and systemd.is_enabled(host, name)):
            steps.append(_enable(name))
    now = ["--now"] if host.is_running else []
    timer, before = planned.manifest.schedule == "timer", old.schedule == "timer"
    if timer and not before:
        steps.append(_enable(TIMER, *now))
    elif before and not timer:
        steps.append(_order("%s was not disabled" % TIMER, "disable", *now, unit=TIMER))
    elif timer and layout.UNITS + "/" + TIMER in changed and host.is_running:
        # A running timer keeps the times of its old file over a daemon-reload.
        steps.append(_order("%s was not restarted" % TIMER, "try-restart", unit=TIMER))
    if GATEWAY not in known_units:
        steps.append(("start %s, if it can start" % GATEWAY, _start))
    return steps


def _order(what_failed, *words, unit="", seconds=SECONDS):
    """The step that is one call of systemctl."""
    orders = words + (("--", unit) if unit else ())
    return (" ".join(("systemctl",) + words + (unit,)).strip(),
            lambda host: _complaint(host.systemctl(*orders, seconds=seconds), what_failed))


def _enable(name, *now):
    words, enable = _order("%s was not enabled" % name, "enable", *now, unit=name)

    def unless_masked(host):
        """An operator who masked a unit wants it so; the plan's notes name it."""
        return None if host.tree.link_target("/etc/systemd/system/" + name) == "/dev/null" else enable(host)
    return words, unless_masked


def _create_account(host):
    if host.tree.owner != 0:
        host.say("The account %s is left to systemd-sysusers at boot: only root can create it." % ACCOUNT)
        return ""
    host.tree.make_directories("/etc")
    return _complaint(host.call("systemd-sysusers", ["citadel.conf"]), "the account was not created")


def _create_directories(host):
    if host.tree.owner != 0:
        host.say("The directories of %s are left to systemd-tmpfiles at boot: only root can set their owners." %
                 TMPFILES)
        return ""
    return _complaint(host.call("systemd-tmpfiles", ["--create", "citadel.conf"]), "the directories were not created")


def _create_config_directory(host):
    """Closed to others because the gateway's settings may hold secrets, and not for the gateway to write."""
    if host.tree.owner != 0:
        return ""
    line = "d %s 0750 root %s\n" % (CONFIG, ACCOUNT)
    return _complaint(host.call("systemd-tmpfiles", ["--create", "-"], stdin=line.encode()),
                      "%s was not created" % CONFIG)


def update_catalog(host):
    """Tells `journalctl -x` which catalog files there are now."""
    answer = host.call("journalctl", ["--update-catalog"])
    if answer.ok:
        return None
    host.complain("journalctl -x will not explain Citadel's entries: %s; ignoring" % answer.complaint())
    return ""


def _start(host):
    """Starts the gateway if all that it needs is here; what is missing is said, and is no failure."""
    missing = []
    if host.tree.resolve(layout.VENV + "/bin/uvicorn") is None:
        missing.append("The gateway's application is not here yet: %s/bin/uvicorn is missing." % layout.VENV)
    if not systemd.is_here(host.tree, "ollama.service"):
        missing.append("ollama.service is not on this host, and the gateway needs it.")
    if not any(systemd.is_here(host.tree, name) for name in ("redis-server.service", "redis.service")):
        missing.append("Neither redis-server.service nor redis.service is on this host, and the gateway needs one.")
    for sentence in missing:
        host.say(sentence)
    if host.is_running and missing:
        host.say("%s is enabled and not started yet: start it with systemctl when nothing is missing." % GATEWAY)
    elif host.is_running:
        answer = host.systemctl("start", "--", GATEWAY, seconds=150)    # TimeoutStartSec, and the dependencies' start
        # A gateway that does not start is no failed installation: to recover it is what Citadel is there for.
        host.say("%s is started." % GATEWAY if answer.ok else "%s did not start (%s). To see why: "
                 "%s/bin/citadel-restart-manager explain" % (GATEWAY, answer.complaint(), HOME))
    return ""


def _complaint(answer, what):
    return None if answer.ok else "%s: %s" % (what, answer.complaint())
