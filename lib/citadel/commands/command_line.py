"""The verbs of citadel-restart-manager, a row each. To add one: a row here, and a file beside this one whose
`perform(call)` does it and returns the exit code.
"""

import argparse
from collections import namedtuple
from contextlib import redirect_stdout

from citadel import __version__
from citadel.commands.call import NAME
from citadel.core.arguments import Parser
from citadel.core.errors import UsageError
from citadel.settings.file import DEFAULT_PATH
from citadel.settings.values import duration, whole

LOG_LINES = 50
DAY = 86400                             # seconds


def reader(convert):
    """A reader of settings/values.py for argparse, which shows the words of no other error than its own."""
    def read_word(text):
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error))
    return read_word


Verb = namedtuple("Verb", "name module about words")
Verb.__doc__ = "`module`: the file here, imported only then; `words` that may follow, with options for add_argument."

VERBS = (
    Verb("test-restart", "drill", "kill the service's main process and watch systemd restart it", {
        "--force": dict(action="store_true", help="also in maintenance, and when it uses up the start limit")}),
    Verb("config", "config", "the restart settings as systemd has them now, beside the shipped ones", {
        "--check": dict(metavar="FILE", help="only validate this citadel.conf")}),
    Verb("status", "status", "the service, its settings, its dependencies and what Citadel has on record", {}),
    Verb("monitor", "monitor", "watch live, then say availability, restarts, downtime", {
        "seconds": dict(metavar="SECONDS", nargs="?", default=60, type=reader(duration(1, 30 * DAY)),
                        help="how long (default: %(default)s; also 10min, 2h); Ctrl-C ends it with the same summary")}),
    Verb("logs", "logs", "the journal of the service, or its application log", {
        "lines": dict(metavar="LINES", nargs="?", type=reader(whole(1, 1000000)),
                      help="how many of the last lines (default: %d)" % LOG_LINES),
        "-f --follow": dict(action="store_true", help="show new lines as they are added"),
        "--app": dict(action="store_true", help="the application log instead of the journal"),
        "--incident": dict(metavar="ID", help="the lines of that incident only")}),
    Verb("reset", "reset", "clear systemd's failed state and counters, and Citadel's count of recovery attempts", {}),
    Verb("check", "check", "the health check, in the convention of Nagios plug-ins; never acts", {
        "--quiet": dict(action="store_true", help="print nothing when all is well, and a problem only once")}),
    Verb("explain", "explain", "what a recovery pass would do now, and why", {}),
    Verb("maintenance", "maintenance", "mute actions (never alerts) for a time", {
        "word": dict(metavar="on|off|status", choices=("on", "off", "status")),
        "--for": dict(metavar="TIME", dest="span", type=reader(duration(1, 7 * DAY)), help="how long: 30min, 2h, 1d"),
        "--reason": dict(metavar="TEXT", help="why, for the next operator")}),
    Verb("history", "history", "past incidents, MTTR and MTBF", {
        "count": dict(metavar="N", nargs="?", default=20, type=reader(whole(1, 100000)),
                      help="how many of the newest (default: %(default)s)")}),
)


def read(argv, out):
    """The options that `argv` means (`module` is the verb's), or None when help or the version was asked for and given
    on `out`. Global options stand before the verb or after it. Raises UsageError."""
    everywhere = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument("--service", metavar="UNIT", help="a service in the settings (default: the first)")
    everywhere.add_argument("--config", metavar="FILE", help="another settings file (default: %s)" % DEFAULT_PATH)
    everywhere.add_argument("--json", action="store_true", help="one JSON document")
    parser = Parser(prog=NAME, parents=[everywhere], description="Keeps a systemd service running. "
                    "`%s ACTION --help` says more about one action." % NAME)
    parser.add_argument("--version", action="version", version="%s %s" % (NAME, __version__))
    subparsers = parser.add_subparsers(metavar="ACTION", dest="action", parser_class=Parser, title="actions")
    for verb in VERBS:
        own = subparsers.add_parser(verb.name, parents=[everywhere], help=verb.about,
                                    description=verb.about[0].upper() + verb.about[1:] + ".")
        own.set_defaults(module=verb.module)
        for names, how in verb.words.items():
            own.add_argument(*names.split(), **how)
    try:
        with redirect_stdout(out):
            options = parser.parse_args(argv, argparse.Namespace(service="", config=None, json=False))
    except SystemExit:                          # after --help and --version; an error is a UsageError
        return None
    if options.action is None:
        raise UsageError("an action is missing; one of: " + " ".join(verb.name for verb in VERBS))
    return options
