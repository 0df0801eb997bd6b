"""The source trees that are installed, and the root that they go to."""

import os
import shutil

import pytest
from installing import copy_of
from places import TREE

from citadel.installer import layout

SOME = ("install.py", "LICENSE", "bin/citadel-restart-manager", "lib/citadel/__init__.py", "lib/citadel/core/errors.py",
        "lib/citadel/installer/__init__.py")


@pytest.fixture(scope="session")
def product(tmp_path_factory):
    """A source tree with every unit and a few of the other files: an installation of it takes milliseconds."""
    target = str(tmp_path_factory.mktemp("product") / "tree")
    os.mkdir(target)
    copy_of(os.path.join(TREE, "units"), os.path.join(target, "units"))
    for name in SOME:
        os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
        shutil.copy(os.path.join(TREE, name), os.path.join(target, name))
    return target


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """All of the product, as it is now: a copy, so that no edit meanwhile can change it."""
    target = str(tmp_path_factory.mktemp("whole") / "tree")
    os.mkdir(target)
    for name in layout.SOURCE_DIRECTORIES:
        copy_of(os.path.join(TREE, name), os.path.join(target, name))
    for name in ("install.py", "LICENSE"):
        shutil.copy(os.path.join(TREE, name), target)
    return target


@pytest.fixture
def source(product, tmp_path):
    """A source tree of the test's own, to change."""
    target = str(tmp_path / "source")
    copy_of(product, target)
    return target


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir(mode=0o755)
    return str(tmp_path / "root")
