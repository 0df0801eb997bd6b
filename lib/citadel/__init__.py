"""Citadel keeps a systemd service alive on a host that nobody watches."""

import os

__version__ = "1.0.0"

PACKAGE = os.path.dirname(os.path.abspath(__file__))        # lib/citadel: all of our code
LIBRARY = os.path.dirname(PACKAGE)                          # what sys.path holds
TREE = os.path.dirname(LIBRARY)                             # a checkout, or /opt/citadel: bin, lib, units
