"""Who watches the healer: what would keep recovery from coming when it is needed. Pure."""

from citadel.diagnose.evidence import as_installed


def unguarded(facts):
    """A sentence for each thing that would."""
    host, ours = facts.host, facts.host.installed
    told = ["%s (unit.changed)" % as_installed(one) for one in ours.changed]
    told += ["%s: recovery may not work" % as_installed(one) for one in ours.damaged[:3]]
    if not ours.schedule or host.unanswered:
        return tuple(told)
    if ours.schedule == "cron" and not ours.cron:
        told.append("/etc/cron.d/citadel is gone: the health check does not run")
    if ours.schedule == "timer" and host.timer is not None and host.timer.active != "active":
        told.append("%s is %s: the health check does not run" % (host.timer.name, host.timer.active))
    if host.recovery is None:
        return tuple(told)
    if host.recovery.load != "loaded":
        told.append("%s is %s: nothing is repaired" % (host.recovery.name, host.recovery.load))
    return tuple(told) + tuple(
        "%s has no OnFailure=%s: its failure starts no recovery" % (unit.name, host.recovery.name)
        for unit in (service.unit for service in facts.services)
        if unit.name in ours.units and unit.load == "loaded" and host.recovery.name not in unit.on_failure)
