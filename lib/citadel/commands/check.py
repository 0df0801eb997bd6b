"""`check`: the health check that cron, a timer or a Nagios-like monitor calls each minute. Looks, never acts.

One line in the convention of the Monitoring Plugins: OK 0, WARNING 1, CRITICAL 2, UNKNOWN 3, then `|` and perfdata.

    OK        every service runs and answers, and so does what it needs
    WARNING   starting, or systemd is restarting it; a remark (slow, a disk that fills up); stopped by an operator;
              well again, its incident not closed yet; an alert waits or could not be sent; metrics cannot be written
    CRITICAL  down, hung, in a crash loop, or a dependency is; also while maintenance is on, which mutes actions only;
              or all is well, but a recovery pass would not come when it is needed
    UNKNOWN   we could not look: systemd does not answer, our settings are wrong

`--quiet` prints nothing when all is well, and a problem once: cron mails what is printed; it acts by the exit code.
Without root, `check` cannot see our record, and leaves it out. Nothing heavy is imported before something is wrong.
"""

import os

from citadel import model
from citadel.core import clock
from citadel.core.errors import CitadelError
from citadel.core.run import Deadline, run
from citadel.core.text import printable, span
from citadel.diagnose.causes import diagnose
from citadel.diagnose.healer import unguarded
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
MISSED = 300                # seconds without a scheduled check that are more than a busy host's delay
LEFT_ALONE = 900            # seconds for which an incident may be open without a pass; one takes up to 9 min


def perform(call):
    options = call.options
    if not options.json:
        return tell(call.out, options.quiet, options.config, options.service)
    from citadel.commands.call import dependency_as_data, finding_as_data
    code, text, facts, findings = check(options.config, options.service)
    call.report(code=code, status=WORDS[code], text=text, services=[
        dict(finding_as_data(finding), status=WORDS[code_of(finding, seen)], probe=seen.probe,
             dependencies=[dependency_as_data(one) for one in seen.dependencies])
        for finding, seen in zip(findings, facts.services)])
    return code


def tell(out, quiet, config=None, service=""):
    """The line on `out`; its code. With `quiet`, only what cron was not told yet."""
    code, text, _, findings = check(config, service, scheduled=quiet)
    if not quiet or news(findings, text):
        out.write(text + "\n")
        out.flush()
    return code


def check(config=None, service="", look=None, state=STATE, scheduled=False, now=clock.now):
    """(code, line, facts, findings). `config` and `service` are the operator's, when one was named; `look(settings)`
    gives the facts; `scheduled`: cron or the timer asks."""
    try:
        wanted = settings.read(config or settings.DEFAULT_PATH, must_exist=bool(config))
        if service:
            from citadel.commands.call import the_service
            wanted = wanted._replace(services=(the_service(wanted, service),))
        facts = (look or look_within(LIMIT, state))(wanted)
        findings = diagnose(facts, wanted)
    except CitadelError as error:
        return UNKNOWN, line(UNKNOWN, (str(error),), ""), model.Facts(), ()
    graded = sorted(((code_of(finding, seen), finding) for finding, seen in zip(findings, facts.services)),
                    key=lambda one: -GRAVITY.index(one[0]))
    worst = graded[0][0]
    texts = sentences([finding for code, finding in graded if code or worst == OK], len(graded) > 1)
    moment, left_open = now(), open_incidents(state)
    grave = list(unguarded(facts)) + left_alone(left_open, state, moment)
    if scheduled:
        note_heartbeat(state, moment)
    elif facts.host.installed.schedule in ("cron", "timer"):
        grave += missed_checks(state, moment, facts.host.installed.since)
    well = [finding.unit for code, finding in graded if code == OK]
    mild = ["%s is well again, incident %s is still open" % (unit, name) for name, unit in left_open if unit in well]
    if not (look or service or config):         # else it was a question about something else
        mild += not_told(wanted, facts, findings, state, moment)
    if grave or mild:
        texts = (texts if worst else []) + grave + mild
        worst = max(worst, CRITICAL if grave else WARNING, key=GRAVITY.index)
    return worst, line(worst, list(dict.fromkeys(texts)), perfdata(facts, wanted)), facts, findings


def look_within(seconds, state):
    """An `observe` that ends after `seconds`: each program and each round of probes gets a share of what is left."""
    run_within, ask_within = observe.within(Deadline(seconds), run, probes.ask, LONGEST_CALL)

    def stop_note(unit):
        from citadel.record.store import Store
        try:
            return Store(state).intent.stop_note(unit)
        except (CitadelError, OSError):         # not for a user who may not read our state
            return model.Stop()
    return lambda wanted: observe.observe(wanted, run=run_within, ask=ask_within, stop_note=stop_note)


def left_alone(left_open, state, moment):
    """A sentence for each open incident that no pass has looked at for too long."""
    if not left_open:
        return []
    from citadel.record.store import Store
    store = Store(state, now=lambda: moment)
    ages = [(min(store.of(unit).history().last_pass or 0.0, moment.boottime), name, unit) for name, unit in left_open]
    return ["incident %s of %s is open, and no recovery pass has looked at it for %s" % (name, unit, span(age))
            for age, name, unit in ages if age > LEFT_ALONE]


def open_incidents(state):
    """(id, unit) of the incidents on record as open; none for a user who may not read our state."""
    return [tuple(line.split(" ", 1)) for line in notes.read(state, notes.OPEN).splitlines() if " " in line]


def note_heartbeat(state, moment):
    """Notes that a scheduled check ran. Best effort, and without fsync: a minute later it is noted anew."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(os.path.join(state, HEARTBEAT), flags, 0o600), "wb", 0) as file:
            file.write(b"%-20.1f\n" % moment.boottime)
    except OSError:
        pass                                    # no root, no disk: who looks will find the note too old, and say so


def missed_checks(state, moment, installed_at):
    """A sentence when the scheduled check has not run for too long: cron is dead, its line is commented out, ..."""
    if os.geteuid():
        return []                               # the note is root's
    try:
        noted = float(notes.read(state, HEARTBEAT))
    except ValueError:
        noted = 0.0
    age = moment.boottime - (noted if noted <= moment.boottime else 0.0)        # a later one is of another boot
    if moment.wall > installed_at:
        age = min(age, moment.wall - installed_at)
    if age <= MISSED:
        return []
    return ["the health check has not been run for %s: look at cron, or at citadel-health.timer" % span(age)]


def not_told(wanted, facts, findings, state, moment):
    """Writes the metrics, as root. A sentence where that fails, for each receiver that an alert would not reach, and
    for alerts that wait: the recovery pass that a warning brings about sends them."""
    if os.geteuid():
        told = [metrics.complaint(wanted.metrics.directory)]
    else:
        told = [metrics.after_check(wanted, facts, findings, state, moment.wall)]
        if wanted.alertmanager.credentials or wanted.hook.command:
            from citadel.tell import receivers
            told += receivers.complaints(wanted)
    waiting = notes.spooled(state)
    if waiting:
        refused = printable(notes.read(state, notes.REFUSED), 300)
        told.append("%d alert%s to be sent%s" % (
            waiting, " waits" if waiting == 1 else "s wait", " (%s)" % refused if refused else ""))
    return [why for why in told if why]


def code_of(finding, service):
    """How grave a finding is, in Nagios' codes. Pure."""
    if finding.condition == model.UNKNOWN:
        return UNKNOWN if service.probe.outcome in ("ok", "none") else CRITICAL
    if not finding.cause:
        return WARNING if finding.others or finding.condition != model.SERVING else OK
    return WARNING if model.gravity_of(finding) == model.WARNING else CRITICAL


def sentences(findings, several):
    """Each finding in one sentence, its causes in brackets. With several services a sentence names its own, and those
    that share it (a dependency's) share one."""
    units = {}
    for finding in findings:
        causes = (finding,) if finding.cause or not finding.others else finding.others
        text = "; ".join(model.full_sentence(finding.unit, one) + (" (%s)" % one.cause if one.cause else "")
                         for one in causes)
        units.setdefault(text, []).append(finding.unit)
    return ["%s: %s" % (", ".join(names), text) if several and not text.startswith(names[0]) else text
            for text, names in units.items()]


def line(code, texts, measured):
    """The one line. A "|" in the text would begin the perfdata, so it is replaced."""
    text = printable("; ".join(texts), 600).replace("|", "/")
    return "%s: %s%s" % (WORDS[code], text, " | " + measured if measured else "")


def perfdata(facts, wanted):
    """label=value[UOM];warn;crit;min for each probe that was answered: the first service's is `response`, a further
    one's bears its name, a dependency's its own."""
    measured = {}
    for number, service in enumerate(facts.services):
        own = service.unit.name[:-len(".service")] + "_response" if number else "response"
        measured[own] = service.probe, service.slow_after
        measured.update((one.name + "_response", (one.probe, None)) for one in service.dependencies)
    return " ".join("%s=%.3fs;%s;%g;0" % (
        "'%s'" % name if set(name) & set(" ='") else name, probe.seconds, "%g" % slow_after if slow_after else "",
        wanted.recovery.probe_timeout) for name, (probe, slow_after) in measured.items() if probe.outcome == "ok")


def news(findings, text, state=STATE):
    """Whether cron is to be told: all is not well, and some cause is new since it last was. Without a note of what it
    was told (no root, no disk) it is told each time."""
    amiss = [finding for finding in findings if not finding.well or finding.others]
    if findings and not amiss:
        try:
            os.unlink(os.path.join(state, SAID))
        except OSError:
            pass                                # mostly because there is none
        return False
    from citadel.record.directory import Directory
    causes = {"%s %s" % (finding.unit, cause.cause) for finding in amiss
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
