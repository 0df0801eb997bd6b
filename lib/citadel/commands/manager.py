"""citadel-restart-manager, the operator's command: reads the command line, and has the verb's file do the rest.

Cron takes `check` each minute, so that verb gets here a short way: nothing is imported or built that it does not need.
"""

import sys

from citadel.core.errors import OK


def main(argv, out=None):
    """Does what `argv` asks for, and returns the exit code. `out` is where results go."""
    out = out or sys.stdout
    if argv in (["check"], ["check", "--quiet"]):
        from citadel.commands import check
        return check.tell(out, quiet=len(argv) == 2)
    from citadel.commands import command_line
    from citadel.commands.call import Call
    options = command_line.read(argv, out)
    return OK if options is None else Call(options, out).perform()
