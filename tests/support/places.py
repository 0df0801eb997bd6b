"""Where things lie in this checkout."""

import os

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIB = os.path.join(TREE, "lib")
UNITS = os.path.join(TREE, "units")
TESTS = os.path.join(TREE, "tests")
SAMPLES = os.path.join(TESTS, "samples")        # real output of real hosts
