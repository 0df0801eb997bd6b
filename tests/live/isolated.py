"""Runs pytest with its words, isolated: what it mounts, starts and writes ends with it (rehearsal/isolation.py)."""

import os
import sys

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "lib"))

import pytest  # noqa: E402

from citadel.rehearsal.isolation import isolate  # noqa: E402  (needs lib/ on the path)

if __name__ == "__main__":
    isolate([sys.executable, "-B", os.path.abspath(__file__)] + sys.argv[1:])
    sys.exit(pytest.main(sys.argv[1:]))
