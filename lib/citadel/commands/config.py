"""`config`: a unit's settings as systemd has them now, beside those that we ship; or, with --check, only citadel.conf.

What the shipped unit file sets is compared; the tables below only say where `systemctl show` words a setting otherwise.
"""

import os
import re
import sys
from collections import namedtuple

from citadel import TREE
from citadel.commands.call import NAME
from citadel.core.errors import OK, STILL_WRONG, CitadelError, SettingsError
from citadel.core.terminal import table
from citadel.core.text import plural, printable, size, span
from citadel.observe import gateway_settings, systemctl
from citadel.observe.processes import read_text
from citadel.settings import file as settings_file
from citadel.settings.values import size as whole_size
from citadel.tell import receivers

ABOUT = ("LoadState", "FragmentPath", "DropInPaths", "NeedDaemonReload")

Setting = namedtuple("Setting", "name value shipped same origin")
Setting.__doc__ = """`value` is systemd's, `shipped` ours, both made readable; `origin` "file:line" or ""."""

# What this command is about; always shown. All others are shown only when they differ.
RESTART = ("Restart", "RestartSec", "RestartMode", "StartLimitIntervalSec", "StartLimitBurst", "TimeoutStartSec",
           "TimeoutStopSec", "OnFailure", "Requires", "BindsTo", "After", "Wants", "WantedBy", "MemoryMax", "CPUQuota")

# The properties in which `systemctl show` tells these directives, all of them times.
PROPERTIES = {"RestartSec": "RestartUSec", "TimeoutStartSec": "TimeoutStartUSec", "TimeoutStopSec": "TimeoutStopUSec",
              "StartLimitIntervalSec": "StartLimitIntervalUSec", "CPUQuota": "CPUQuotaPerSecUSec"}
# Older or wider spellings of the same directive, which a drop-in may use.
SPELLINGS = {"StartLimitIntervalSec": ("StartLimitInterval",), "TimeoutStartSec": ("TimeoutSec",),
             "TimeoutStopSec": ("TimeoutSec",), "MemoryMax": ("MemoryLimit",)}
# show expands or merges these beyond comparing, or (the last two) they say nothing about how it runs.
LEFT_OUT = ("SystemCallFilter", "SystemCallErrorNumber", "StandardOutput", "StandardError", "Description",
            "Documentation")
SIZES = ("MemoryMax", "MemoryHigh")
COMMANDS = ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload", "ExecCondition")
# systemd adds to these by itself (sysinit.target, the slice), and so may an administrator: only what is missing counts.
AT_LEAST = ("After", "Before", "Wants", "Requires", "BindsTo", "OnFailure", "WantedBy", "PartOf", "Conflicts")
LISTS = AT_LEAST + ("RestrictAddressFamilies", "CapabilityBoundingSet", "AmbientCapabilities", "Environment",
                    "UnsetEnvironment", "SystemCallArchitectures", "ReadWritePaths", "LogsDirectory", "StateDirectory",
                    "RuntimeDirectory")
LARGEST = 1 << 20           # bytes of a unit file
_FOR_EVER = float("inf")
_TRUTH = {"yes": "yes", "true": "yes", "on": "yes", "1": "yes", "no": "no", "false": "no", "off": "no", "0": "no"}


def perform(call):
    if call.options.check:
        return _check_file(call, call.options.check)
    name = call.unit
    shipped = read_text(os.path.join(TREE, "units", name), LARGEST)
    if not shipped:
        raise CitadelError("%s is not a unit that Citadel ships; there is nothing to compare it with" % name)
    shown = systemctl.show([name], asked_for(shipped) + ABOUT, run=call.run)[name]
    if shown.get("LoadState") != "loaded":
        raise CitadelError("%s is %s; systemd has no settings for it" % (name, shown.get("LoadState") or "unknown"))
    paths = [shown.get("FragmentPath", "")] + shown.get("DropInPaths", "").split()
    files = [(path, read_text(path, LARGEST)) for path in paths]
    alike = [dependency.units for dependency in call.settings.dependencies.values()]
    settings = compare(name, shipped, shown, files, alike)
    note = ("the unit's files have changed since systemd read them; run `systemctl daemon-reload`"
            if shown.get("NeedDaemonReload") == "yes" else "")
    differ = sum(not one.same for one in settings)
    call.report(*_lines(call, settings, differ, note), unit=name, same=not differ and not note, note=note,
                settings=settings, citadel=settings_file.as_data(call.settings))
    return STILL_WRONG if differ or note else OK


def _check_file(call, path):
    """Says all that is wrong with a citadel.conf, a line each; to root also what would not work here."""
    problems, warnings = settings_file.check_file(path), []
    if call.is_root and not problems:
        settings = settings_file.read(path)
        warnings = receivers.complaints(settings) + gateway_settings.unchecked(settings.services)
    if not call.options.json:
        for text in ["warning: " + one for one in warnings] + [str(SettingsError(*one)) for one in problems[1:]]:
            sys.stderr.write("%s: %s\n" % (NAME, text))
        if problems:
            raise SettingsError(*problems[0])
    call.report("%s is valid" % path, file=path, ok=not problems, problems=problems, warnings=warnings)
    return SettingsError.code if problems else OK


def _lines(call, settings, differ, note):
    yield "%s: settings as systemd has them now, beside the shipped ones" % call.paint(call.unit, "strong")
    shown = [one for one in settings if not one.same or one.name in RESTART]
    for line, one in zip(table([(one.name, one.value) for one in shown]), shown):
        yield "  " + line
        if not one.same:
            origin = "set in " + one.origin if one.origin else "no unit file sets it"
            yield "      " + call.paint("differs: shipped %s; %s" % (one.shipped, origin), "uneasy")
    yield "%s as shipped, the sandbox among them; %s differ%s" % (
        plural(len(settings) - len(shown), "more setting"), differ or "none", "" if differ > 1 else "s")
    if note:
        yield call.paint(note, "uneasy")


def assignments(text):
    """[(key, value, line that it begins on)] of a unit file, in order (systemd.syntax(7))."""
    found, started, pending = [], 0, ""
    for number, line in enumerate(re.split("\r\n?|\n", text), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue                            # also within a continued line, as systemd reads it
        started = started if pending else number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        key, equals, value = (pending + line).partition("=")
        pending = ""
        if equals:
            found.append((key.strip(), " ".join(value.split()), started))
    return found


def asked_for(shipped):
    """The properties to ask `systemctl show` for, given the shipped unit file's text."""
    return tuple(sorted({PROPERTIES.get(key, key) for key in _values(shipped)}))


def compare(unit, shipped, shown, files, alike=()):
    """Setting by setting. `shipped` is the text of our file for `unit`, `shown` the properties that systemd shows,
    `files` (path, text) of its unit file and drop-ins in systemd's order, `alike` groups of unit names of which any
    will do. A directive that this systemd does not show, it does not know (RestartMode= before 254): no difference."""
    written = [(path, assignments(text)) for path, text in files]
    settings = []
    for key, values in _values(shipped).items():
        values = [value.replace("%n", unit).replace("%%", "%") for value in values]
        value = shown.get(PROPERTIES.get(key, key))
        if value is None:
            continue
        ours, theirs = _meaning(key, values), _meaning(key, [value])
        same = ours == theirs
        if key in AT_LEAST:
            same = ours <= theirs.union(*(group for group in alike if theirs & set(group)))
            value = _ours_first(values, value)
        settings.append(Setting(key, _readable(key, [value]), _readable(key, values), same,
                                "" if same else origin(key, written)))
    return tuple(sorted(settings, key=lambda one: ((*RESTART, one.name).index(one.name), one.name)))


def origin(key, written):
    """Where a directive was set last: "file:line", or "" when no file sets it."""
    spellings = (key, *SPELLINGS.get(key, ()))
    places = ["%s:%d" % (path, line) for path, found in written for name, _, line in found if name in spellings]
    return places[-1] if places else ""


def _values(text):
    """{directive: its values}: a list assigned again grows, an empty assignment clears it, else the last one counts."""
    values = {}
    for key, value, _ in assignments(text):
        if key not in LEFT_OUT:
            grows = value and (key in LISTS or key in COMMANDS)
            values[key] = (values.get(key, []) if grows else []) + [value]
    return values


def _meaning(key, values):
    """What a setting's values mean, however they are spelled: commands, a list's words, seconds, bytes, yes or no, else
    (and where they cannot be read) the text. CPUQuota= is a share of a processor, shown as CPU time in each second."""
    text = " ".join(values)
    if key in COMMANDS:
        return [command for value in values for command in _commands(value)]
    if key in LISTS:
        return set((text if key in AT_LEAST else text.lower()).replace('"', "").split())
    try:
        if key == "CPUQuota" and text.endswith("%"):
            return float(text[:-1]) / 100
        if key in PROPERTIES:
            seconds = float(text) if text.isdecimal() else systemctl.seconds(text)
            return text if seconds is None else seconds
        if key in SIZES:
            return _FOR_EVER if text == "infinity" else whole_size(0, _FOR_EVER)(text)
    except ValueError:
        return text
    return _TRUTH.get(text.lower(), text)


def _readable(key, values):
    """Systemd's values or a unit file's, so that an operator can compare the two by eye."""
    meaning, text = _meaning(key, values), " ".join(values)
    if isinstance(meaning, (int, float)):
        if key in SIZES + ("CPUQuota",):
            return "no limit" if meaning == _FOR_EVER else size(meaning) if key in SIZES else "%.0f%%" % (meaning * 100)
        return span(meaning)
    return printable("; ".join(meaning) if key in COMMANDS else text, 300) or "(none)"


def _ours_first(values, shown):
    """Of a list that systemd adds to by itself: what we ship, and how much more there is."""
    have, wanted = shown.split(), " ".join(values).split()
    if not set(wanted) <= set(have):
        return shown                            # one is missing, or bears its other name (redis.service) here
    more = len(have) - len(wanted)
    return " ".join(wanted) + (" and %d more" % more if more else "")


def _commands(value):
    """The command lines in a unit file's assignment, or in `show`'s "{ path=... ; argv[]=... ; ignore_errors=no ...":
    without the prefixes of a path (systemd.service(5)), and without single quotes, which 247 and 252 do not show."""
    if not value.startswith("{"):
        return [value.lstrip("@-:+!|").replace("'", "")] if value else []
    return [" ".join(part.partition(" ; ignore_errors=")[0].replace("'", "").split())
            for part in value.split("argv[]=")[1:]]
