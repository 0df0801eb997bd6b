#!/usr/bin/python3 -IS
"""Installs Citadel: `sudo ./install.py`; `./install.py --help`. The code is in lib/citadel/installer/."""
# Any Python must be able to read this file, so that an old one gets a sentence and not a SyntaxError.

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))


def start():
    if sys.version_info < (3, 6):
        complain("needs Python 3.6 or newer, and this is %d.%d" % sys.version_info[:2])
    if not os.path.isfile(os.path.join(HERE, "lib", "citadel", "core", "entry.py")):
        complain("there is no lib/citadel beside %s: run it in a complete source tree" % os.path.abspath(__file__))
    called_in = os.getcwd()
    sys.dont_write_bytecode = True          # a checkout stays as it was cloned, without files of root in it
    sys.path.insert(0, os.path.join(HERE, "lib"))
    from citadel.core.entry import enter
    enter(lambda arguments: run(arguments, called_in), "install.py", trusted_tree=False)


def run(arguments, called_in):
    try:
        from citadel.installer.main import main
    except ImportError as error:
        from citadel.core.errors import CannotLook
        from citadel.installer.preflight import advice, os_release
        raise CannotLook(advice([error.name], os_release()))
    return main(arguments, HERE, called_in)


def complain(message):
    sys.stderr.write("install.py: %s\n" % message)
    sys.exit(69)


if __name__ == "__main__":
    start()
