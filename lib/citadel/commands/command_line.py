"""The command line of citadel-restart-manager: words to options. Global options stand before the action or after it."""

import argparse
from contextlib import redirect_stdout

from citadel import __version__
from citadel.core.arguments import Parser, reader
from citadel.core.errors import UsageError
from citadel.settings import file as settings
from citadel.settings.values import duration, whole

NAME = "citadel-restart-manager"
LOG_LINES = 50
MOST_LOG_LINES = 1000000
WATCH = 60                              # seconds
LONGEST_WATCH = 30 * 86400
LONGEST_MAINTENANCE = 7 * 86400
HISTORY = 20


def read(argv, actions, out):
    """The options that `argv` means, or None when help or the version was asked for and given on `out`.

    `actions` are rows of name, function (it becomes `options.act`) and description. Raises UsageError.
    """
    parser = Parser(prog=NAME, description="Looks after a systemd service. `%s ACTION --help` says "
                    "more about one action." % NAME)
    _add_global_options(parser, {"service": "", "config": None, "json": False})
    parser.add_argument("--version", action="version", version="%s %s" % (NAME, __version__))
    everywhere = Parser(add_help=False)
    _add_global_options(everywhere, dict.fromkeys(("service", "config", "json"), argparse.SUPPRESS))
    subparsers = parser.add_subparsers(metavar="ACTION", dest="action", parser_class=Parser, title="actions")
    for name, act, about in actions:
        words = subparsers.add_parser(name, parents=[everywhere], help=about,
                                      description=about[0].upper() + about[1:] + ".")
        words.set_defaults(act=act)
        _add_words(words, name)
    try:
        with redirect_stdout(out):
            options = parser.parse_args(argv)
    except SystemExit:                          # argparse's way of saying that it has printed help or the version
        return None
    if options.action is None:
        raise UsageError("an action is missing: " + " ".join(row[0] for row in actions))
    return options


def _add_global_options(parser, defaults):
    """The options that may stand before the action and after it: after it without a default of their own, which would
    undo what was said before it."""
    parser.add_argument("--service", metavar="UNIT", default=defaults["service"],
                        help="one of the services in the settings (default: the first)")
    parser.add_argument("--config", metavar="FILE", default=defaults["config"],
                        help="our settings (default: %s)" % settings.DEFAULT_PATH)
    parser.add_argument("--json", action="store_true", default=defaults["json"], help="one JSON document")


def _add_words(words, action):
    """What may follow that action."""
    if action == "test-restart":
        words.add_argument("--force", action="store_true", help="also in maintenance, or when it uses up the limit")
    elif action == "config":
        words.add_argument("--check", metavar="FILE", help="only validate this citadel.conf")
    elif action == "monitor":
        words.add_argument("seconds", metavar="SECONDS", nargs="?", default=WATCH,
                           type=reader(duration(1, LONGEST_WATCH)),
                           help="how long (default: %d; also 10min, 2h); Ctrl-C ends it with the same summary" % WATCH)
    elif action == "logs":
        words.add_argument("lines", metavar="LINES", nargs="?", type=reader(whole(1, MOST_LOG_LINES)),
                           help="the last so many lines (default: %d)" % LOG_LINES)
        words.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
        words.add_argument("--app", action="store_true", help="the application log instead of the journal")
        words.add_argument("--incident", metavar="ID", help="the lines of that incident only")
    elif action == "check":
        words.add_argument("--quiet", action="store_true", help="silent when all is well, and a problem is told once")
    elif action == "maintenance":
        words.add_argument("word", metavar="on|off|status", choices=("on", "off", "status"))
        words.add_argument("--for", metavar="TIME", dest="span",
                           type=reader(duration(1, LONGEST_MAINTENANCE)), help="how long: 30min, 2h, 1d")
        words.add_argument("--reason", metavar="TEXT", help="why, for whoever finds it")
    elif action == "history":
        words.add_argument("count", metavar="N", nargs="?", default=HISTORY, type=reader(whole(1, 100000)),
                           help="the newest so many (default: %d)" % HISTORY)
