"""`check`: the health check that cron, a timer or a Nagios-like monitor calls each minute. Looks, never acts.

One line in the convention of the Monitoring Plugins: OK 0, WARNING 1, CRITICAL 2, UNKNOWN 3, then `|` and perfdata.

    OK        every service runs and answers, and so does what it needs
    WARNING   on its way up, or systemd is restarting it; a remark (slow, a disk that fills up); stopped by a person;
              well again, while its incident is still open: the recovery pass that this calls for closes it; an
              alert that waits to be sent, or could not be; metrics that cannot be written
    CRITICAL  down, hung, in a crash loop, or a dependency is; also while maintenance is on, which mutes actions only;
              or all is well, but recovery would not come: who watches the healer is this check (`unguarded`)
    UNKNOWN   we could not look: systemd does not answer, our settings are wrong

`--quiet` says nothing when all is well, and a problem once: cron mails what it hears. The exit code is told each time,
since cron's `check --quiet || systemctl start citadel-recovery.service` lives on it. Ends within LIMIT seconds,
whatever hangs. Works for any user; what only root may read is left out.

This path is measured in milliseconds: nothing heavy is imported before something is wrong.
"""

import os

from citadel import model
from citadel.core import clock
from citadel.core.errors import CitadelError, UsageError
from citadel.core.run import Deadline, run
from citadel.core.text import printable
from citadel.diagnose.causes import diagnose
from citadel.diagnose.healer import unguarded
from citadel.model import Stop
from citadel.observe import look as observe
from citadel.observe import probes
from citadel.record import notes
from citadel.settings import file as settings
from citadel.tell import metrics

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
GRAVITY = (OK, WARNING, UNKNOWN, CRITICAL)              # what the line leads with when services differ

LIMIT = 9.5                 # seconds for all of it, so that a monitor with the usual limit of 10 s gets its line
LONGEST_CALL = 4.0          # of which one program may take: systemd answers in milliseconds or is stuck for 90 s
STATE = "/var/lib/citadel-recovery"
SAID = "check-said"         # what cron was told since all was well; in STATE
HEARTBEAT = "last-check"    # when cron or the timer last ran this; in STATE
MISSED = 300                # seconds without a scheduled check that are no hiccup of a busy host any more
LEFT_ALONE = 900            # seconds for which an incident may be open without a pass; one takes up to 9 min


def check(path=settings.DEFAULT_PATH, must_exist=False, service="", look=None, state=STATE, scheduled=False,
          now=clock.now):
    """The code, the line, and what was found: (code, line, facts, findings). `look(settings)` gives the facts;
    `service` narrows it to one of the settings' services; `scheduled`: cron or the timer asks, nobody else."""
    try:
        wanted = settings.read(path, must_exist=must_exist)
        if service:
            wanted = wanted._replace(services=(the_service(wanted, service),))
        facts = (look or look_within(LIMIT, state))(wanted)
        findings = diagnose(facts, wanted)
    except CitadelError as error:
        return UNKNOWN, line(UNKNOWN, (str(error),), ""), None, ()
    codes = [code_of(finding, seen) for finding, seen in zip(findings, facts.services)]
    worst = max(codes, key=GRAVITY.index)
    order = sorted(range(len(codes)), key=lambda at: -GRAVITY.index(codes[at]))
    texts = [sentence(findings[at]) for at in order if codes[at] or worst == OK]
    moment, left_open = now(), open_incidents(state)
    unguarded = unguarded_against(facts, left_open, state, moment, scheduled)
    mild = to_be_closed(left_open, [finding.unit for finding, code in zip(findings, codes) if code == OK])
    if look is None and not service and not must_exist:         # else it was a question about something else
        mild += not_told(wanted, facts, findings, state, moment)
    if unguarded or mild:
        texts = (texts if worst else []) + unguarded + mild
        worst = max(worst, CRITICAL if unguarded else WARNING, key=GRAVITY.index)
    return worst, line(worst, list(dict.fromkeys(texts)), perfdata(facts, wanted)), facts, findings


def look_within(seconds, state):
    """An `observe` that ends after `seconds`: each program and each round of probes gets a share of what is left."""
    run_within, ask_within = observe.within(Deadline(seconds), run, probes.ask, LONGEST_CALL)
    return lambda wanted: observe.observe(wanted, run=run_within, ask=ask_within,
                                          stop_note=lambda unit: stop_note(unit, state))


def stop_note(unit, state):
    """What our ExecStopPost= noted when the unit last stopped; nothing for a user who may not read our state."""
    from citadel.record.store import Store
    try:
        return Store(state).stop_note(unit)
    except (CitadelError, OSError):
        return Stop()


def unguarded_against(facts, left_open, state, moment, scheduled):
    """A sentence for each reason why recovery might not come: it is not armed, nobody asks for it, or it hangs."""
    told = list(unguarded(facts)) + left_alone(left_open, state, moment)
    if scheduled:
        note_heartbeat(state, moment)
    elif facts.host.installed.schedule in ("cron", "timer"):
        told += missed_checks(state, moment, facts.host.installed.since)
    return told


def to_be_closed(left_open, units):
    """A sentence for each incident that is on record as open though its service is well: it came back by itself, or by
    a person's hand."""
    return ["%s is well again, incident %s is still open" % (unit, name)
            for name, unit in left_open if unit in units]


def left_alone(left_open, state, moment):
    """A sentence for each open incident that no pass has looked at for too long."""
    if not left_open:
        return []
    from citadel.core.text import span
    from citadel.record.store import Store
    store = Store(state, now=lambda: moment)
    ages = [(min(store.history(unit).last_pass or 0.0, moment.boottime), name, unit) for name, unit in left_open]
    return ["incident %s of %s is open, and no recovery pass has looked at it for %s" % (name, unit, span(age))
            for age, name, unit in ages if age > LEFT_ALONE]


def open_incidents(state):
    """(id, unit) of the incidents on record as open; none for a user who may not read our state."""
    return [tuple(line.split(" ", 1)) for line in notes.read(state, notes.OPEN).splitlines() if " " in line]


def note_heartbeat(state, moment):
    """Notes that a scheduled check ran. Best effort, and without fsync: a minute later it is noted anew."""
    try:
        descriptor = os.open(os.path.join(state, HEARTBEAT),
                             os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError:
        return                                  # no root, no disk: who looks will find the note too old, and say so
    try:
        os.write(descriptor, b"%-20.1f\n" % moment.boottime)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def missed_checks(state, moment, installed_at):
    """A sentence when the scheduled check has not run for too long: cron is dead, its line is commented out, ..."""
    if os.geteuid():
        return []                               # the note is root's
    try:
        age = moment.boottime - float(notes.read(state, HEARTBEAT))
    except ValueError:
        age = moment.boottime
    if age < 0:                                 # noted before this boot
        age = moment.boottime
    since_installed = moment.wall - installed_at
    age = min(age, since_installed) if since_installed > 0 else age
    if age <= MISSED:
        return []
    from citadel.core.text import span
    return ["the health check has not been run for %s: look at cron, or at citadel-health.timer" % span(age)]


def not_told(wanted, facts, findings, state, moment):
    """Writes the metrics, as root; a sentence where that is not possible, one for each receiver that would not hear a
    call, and one for alerts that wait: the recovery pass that a warning calls for sends them."""
    if os.geteuid():
        told = [metrics.complaint(wanted.metrics.directory)]
    else:
        told = [metrics.after_check(wanted, facts, findings, state, moment.wall)]
        if wanted.alertmanager.credentials or wanted.hook.command:
            from citadel.tell import receivers
            told += receivers.complaints(wanted)
    told = [why for why in told if why]
    waiting = notes.spooled(state)
    if not waiting:
        return told
    refused = printable(notes.read(state, "spool/refused"), 300)             # alerts.py
    return told + ["%d alert%s to be sent%s" % (
        waiting, " waits" if waiting == 1 else "s wait", " (%s)" % refused if refused else "")]


def code_of(finding, service):
    """How grave a finding is, in Nagios' codes. Pure."""
    if finding.condition == model.UNKNOWN:
        return UNKNOWN if service.probe.outcome in ("ok", "none") else CRITICAL
    if not finding.cause:
        return WARNING if finding.others or finding.condition != model.SERVING else OK
    if finding.cause == "gateway.crash-loop":
        return CRITICAL                         # "systemd is restarting it" is no comfort the fifth time
    mild = (finding.manner == model.PASSING or finding.cause.endswith(".stopped-by-operator")
            or (finding.condition == model.SERVING and finding.cause.startswith("gateway.")))
    return WARNING if mild else CRITICAL


def sentence(finding):
    """A finding in one sentence, its cause in brackets."""
    if finding.cause or not finding.others:
        text = model.full_sentence(finding.unit, finding)
        return "%s (%s)" % (text, finding.cause) if finding.cause else text
    return "; ".join("%s (%s)" % (model.full_sentence(finding.unit, cause), cause.cause) for cause in finding.others)


def line(code, texts, measured):
    """The one line. A "|" in the text would begin the perfdata, so it is replaced."""
    text = printable("; ".join(texts), 600).replace("|", "/")
    return "%s: %s%s" % (WORDS[code], text, " | " + measured if measured else "")


def perfdata(facts, wanted):
    """label=value[UOM];warn;crit;min for each probe that was answered: the first service's is `response`, a further
    one's bears its name, a dependency's its own."""
    limit = "%g" % wanted.recovery.probe_timeout
    rows, seen = [], set()
    for number, service in enumerate(facts.services):
        label = "response" if not number else service.unit.name[:-len(".service")] + "_response"
        if service.probe.outcome == "ok":
            rows.append("%s=%.3fs;%s;%s;0" % (_label(label), service.probe.seconds,
                                              "%g" % service.slow_after if service.slow_after else "", limit))
        for dependency in service.dependencies:
            if dependency.probe.outcome == "ok" and dependency.name not in seen:
                seen.add(dependency.name)
                rows.append("%s=%.3fs;;%s;0" % (_label(dependency.name + "_response"), dependency.probe.seconds, limit))
    return " ".join(rows)


def _label(text):
    return "'%s'" % text if set(text) & set(" ='") else text


def news(code, findings, text, state=STATE):
    """Whether cron must hear of it: all is not well, and some cause is new since it last was. Best effort: who cannot
    keep a note (no root) hears of it each time."""
    if findings and all(finding.well and not finding.others for finding in findings):
        try:
            os.unlink(os.path.join(state, SAID))
        except OSError:
            pass                                # mostly because there is none
        return False
    from citadel.core.atomic import Directory
    causes = {"%s %s" % (finding.unit, cause.cause) for finding in findings if not finding.well or finding.others
              for cause in finding.actionable_causes or finding.others or (finding,)} or {text}
    try:
        directory = Directory(state)
        before = set((directory.read(SAID) or b"").decode("utf-8", "replace").splitlines())
        if causes <= before:
            return False
        directory.write(SAID, "".join(one + "\n" for one in sorted(causes | before)).encode())
    except (CitadelError, OSError):
        pass                                    # better twice than not at all
    return True


def the_service(wanted, unit):
    """The ServiceSettings of `unit`, by default the first one; UsageError when the settings do not list it."""
    found = wanted.service(unit) if unit else wanted.services[0]
    if found is None:
        raise UsageError("--service %s: not one of the services in the settings: %s" % (
            printable(unit, 80), " ".join(service.unit for service in wanted.services)))
    return found
