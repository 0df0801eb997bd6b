"""Can this Python run Citadel? Asked before anything is changed."""

import os
import subprocess
import sys

import pytest
from places import TREE

from citadel.installer import layout, preflight


@pytest.mark.parametrize("text, names", [
    pytest.param("import json, os.path", ["json", "os.path"], id="plain"),
    pytest.param("from http import client", ["http:client"], id="a module out of a package"),
    pytest.param("from citadel import settings\nimport citadel.core.errors\nfrom . import x", [], id="our own"),
    pytest.param("try:\n    import tomllib\nexcept ImportError:\n    tomllib = None", [], id="one we can do without"),
    pytest.param("def f():\n    import wave", ["wave"], id="inside a function"),
])
def test_what_a_source_imports(text, names):
    assert preflight.imported_names({"x.py": text}) == names


def test_missing_modules_are_found_by_loading_them():
    present = {"http": type("http", (), {}), "os": os}

    def load(name):
        if name in present:
            return present[name]
        raise ImportError(name, name="gettext" if name == "argparse" else name)
    assert preflight.absent(["os", "os:path", "json", "http:client", "argparse", "json:loads"], load) == [
        "json", "http.client", "gettext"]


def test_this_python_has_everything_that_the_whole_product_imports():
    sources = {}
    for name, (data, _) in layout.source_files(TREE).items():
        if name.endswith(".py") or data.startswith(layout.SHIPPED_INTERPRETER):
            sources[name] = data.decode()
    names = preflight.imported_names(sources)
    assert "json" in names
    answer = subprocess.check_output([sys.executable, "-IS", preflight.__file__] + names)
    assert answer == b""


@pytest.mark.parametrize("release, words", [
    pytest.param('ID=debian\n', "apt-get install python3 (package libpython3-stdlib", id="Debian"),
    pytest.param('ID=ubuntu\nID_LIKE=debian\n', "apt-get install python3", id="Ubuntu"),
    pytest.param('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install python3", id="Rocky"),
    pytest.param('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install python3", id="openSUSE"),
    pytest.param("", "install your distribution's whole Python 3", id="no os-release"),
])
def test_the_advice_names_the_package(release, words):
    advice = preflight.advice(["json", "shutil"], release)
    assert advice.startswith("Python lacks json, shutil: ")
    assert words in advice
