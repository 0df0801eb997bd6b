"""What can go wrong, and the exit code for it.

The codes are those of sysexits.h where it has one; `check` alone has those of Nagios. Each message is a line to act on.
"""

OK = 0
STILL_WRONG = 1
CANNOT_LOOK = 69
INTERNAL_ERROR = 70


class CitadelError(Exception):
    """An expected failure; its text is the whole message."""
    code = STILL_WRONG


class UsageError(CitadelError):
    """The command line is wrong: the message names the word."""
    code = 64


class CannotLook(CitadelError):
    """systemd or a needed program does not answer. Never to be taken for "nothing is wrong"."""
    code = CANNOT_LOOK


class LockHeld(CitadelError):
    """Another pass is running: the message names it and its age."""
    code = 75


class NotPermitted(CitadelError):
    """Needs root, or found a file that root must not trust."""
    code = 77


class SettingsError(CitadelError):
    """A settings file is wrong: `file:line: key: why`. Line 0 stands for the file as a whole."""
    code = 78

    def __init__(self, file, line, key, why):
        self.file, self.line, self.key, self.why = file, line, key, why
        where = "%s:%d" % (file, line) if line else file
        super().__init__(": ".join(part for part in (where, key, why) if part))
