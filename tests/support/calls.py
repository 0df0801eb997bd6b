"""A Call for a verb of citadel-restart-manager, its outer world given by hand."""

import io

from citadel.commands import command_line
from citadel.commands.call import Call


def read(*words):
    """The options that a command line means."""
    return command_line.read(list(words), io.StringIO())


def call(words, **fields):
    """(Call, its output) for a command line; `fields` take the place of the Call's own."""
    out = io.StringIO()
    made = Call(read(*words), out)
    for name, value in fields.items():
        setattr(made, name, value)
    return made, out
