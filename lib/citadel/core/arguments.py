"""The one argument parser of all our commands."""

import argparse

from citadel.core.errors import UsageError


class Parser(argparse.ArgumentParser):
    """argparse's, but a wrong word is a UsageError: one line that names the word, no help, no abbreviations."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        raise UsageError(message.replace("\n", " "))
