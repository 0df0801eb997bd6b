"""`maintenance`: mutes actions, never alerts, for a time; it always ends by itself."""

import os
import pwd

from citadel.core import log
from citadel.core.errors import OK, CitadelError, UsageError
from citadel.core.text import local_time, printable
from citadel.observe.processes import read_text


def perform(call):
    options = call.options
    if options.word != "on" and (options.span is not None or options.reason):
        raise UsageError("--for and --reason belong to `maintenance on`")
    text = {"on": _begin, "off": _end, "status": _status}[options.word](call)
    active = call.store.intent.maintenance()
    call.report(text, on=active is not None, **(active._asdict() if active else {}))
    return OK


def words(call):
    """The end and the reason of the maintenance that is on; "" when none is."""
    found = call.store.intent.maintenance()
    return "" if found is None else printable("until %s, %s" % (
        local_time(call.now().wall + found.left), found.reason or "no reason given"))


def _status(call):
    found = words(call)
    return "maintenance is on " + found if found else "maintenance is off"


def _begin(call):
    call.only_root("maintenance on")
    if call.options.span is None or not call.options.reason:
        raise UsageError("maintenance on needs --for (such as --for 2h) and --reason TEXT")
    try:
        call.store.intent.begin_maintenance(call.options.span, call.options.reason, _who())
    except OSError as error:
        raise CitadelError("maintenance is not on: it could not be written to disk (%s)" % error.strerror)
    text = _status(call) + "; actions are muted, alerts are not"
    log.journal("maintenance-on", text)
    return text


def _end(call):
    call.only_root("maintenance off")
    if not call.store.intent.end_maintenance():
        return "maintenance was off already"
    log.journal("maintenance-off", "maintenance is off")
    return "maintenance is off"


def _who():
    """The user who logged in, before sudo: the kernel's word (/proc/self/loginuid), else who we are; "" if unnamed."""
    text = read_text("/proc/self/loginuid").strip()
    try:
        return pwd.getpwuid(int(text) if text.isdecimal() and text != "4294967295" else os.getuid()).pw_name
    except KeyError:
        return ""
