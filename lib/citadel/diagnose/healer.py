"""Who watches the healer: what would keep recovery from coming when it is needed. Pure."""

from citadel.diagnose.evidence import as_installed


def unguarded(facts):
    """A sentence for each thing that would keep recovery from coming when it is needed: who watches the healer."""
    host, ours = facts.host, facts.host.installed
    told = ["%s (unit.changed)" % as_installed(one) for one in ours.changed]
    told += ["%s: recovery may not come" % as_installed(one) for one in ours.damaged[:3]]
    if not ours.schedule or host.unanswered:
        return tuple(told)
    if ours.schedule == "cron" and not ours.cron:
        told.append("/etc/cron.d/citadel is gone: nobody runs the health check")
    if ours.schedule == "timer" and host.timer is not None and host.timer.active != "active":
        told.append("%s is %s: nobody runs the health check" % (host.timer.name, host.timer.active))
    if host.recovery is not None and host.recovery.load != "loaded":
        told.append("%s is %s: nothing repairs" % (host.recovery.name, host.recovery.load))
    told += ["%s has no OnFailure=%s: a failure of it calls nobody" % (unit.name, host.recovery.name)
             for unit in (service.unit for service in facts.services)
             if host.recovery is not None and unit.name in ours.units and unit.load == "loaded"
             and host.recovery.name not in unit.on_failure]
    return tuple(told)
