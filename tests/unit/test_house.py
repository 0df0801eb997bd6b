"""Who may import whom: the road runs one way, a wing knows only what stands before it, and no test knows another."""

import ast
import glob
import os
import re

import pytest
from places import LIB, TESTS

BELOW = {"core": set(), "model": set()}
BELOW["settings"] = {"core", "model"}
BELOW["diagnose"] = BELOW["plan"] = {"core", "model"}
BELOW["observe"] = BELOW["record"] = BELOW["settings"] | {"settings"}
BELOW["tell"] = BELOW["record"] | {"record"}
BELOW["act"] = BELOW["record"] | {"observe", "record"}
BELOW["recovery"] = BELOW["act"] | {"act", "diagnose", "plan", "tell"}
BELOW["commands"] = BELOW["recovery"] | {"recovery"}
BELOW["installer"] = BELOW["commands"]
BELOW["rehearsal"] = BELOW["commands"] | {"installer"}     # it installs

MODULES = {os.path.relpath(path, LIB) for path in glob.glob(os.path.join(LIB, "citadel", "**", "*.py"), recursive=True)}
TEST_FILES = {os.path.relpath(path, TESTS): path
              for path in glob.glob(os.path.join(TESTS, "**", "*.py"), recursive=True)}


def wing(path_or_module):
    return path_or_module.replace("/", ".").split(".")[1]


def imports(path):
    """The wings that a file imports, wherever in it the import stands."""
    with open(path, encoding="utf-8") as file:
        for node in ast.walk(ast.parse(file.read())):
            if isinstance(node, ast.ImportFrom) and node.module == "citadel":
                for alias in node.names:
                    if not (alias.name.isupper() or alias.name == "__version__"):
                        yield alias.name
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("citadel."):
                yield wing(node.module)


def test_every_wing_imports_only_what_stands_below_it():
    wrong = []
    for path in sorted(glob.glob(os.path.join(LIB, "citadel", "**", "*.py"), recursive=True)):
        name = os.path.relpath(path, LIB)
        own = wing(name)
        wrong += ["%s imports %s" % (name, other) for other in imports(path)
                  if own != "__init__" and other != own and other not in BELOW[own]]
    assert wrong == []


@pytest.fixture(scope="module")
def trees():
    trees = {}
    for name, path in TEST_FILES.items():
        with open(path, encoding="utf-8") as file:
            trees[name] = ast.parse(file.read())
    assert len(trees) > 70              # it looks at what there is
    return trees


def imported(node):
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_no_test_module_imports_another(trees):
    """What two of them need stands in tests/support, or beside tests/live/host.py."""
    wrong = ["%s imports %s" % (name, module) for name, tree in trees.items() for node in ast.walk(tree)
             for module in imported(node) if re.match(r"(.*\.)?(test_\w+|conftest)$", module)]
    assert wrong == []


def test_programs_in_the_strings_of_live_tests_name_modules_that_exist(trees):
    """An import there fails only on a booted machine, and `echo x >>FILE` not even there."""
    wrong, seen = [], 0
    for name, tree in trees.items():
        if name.startswith("unit"):
            continue                    # these have modules of their own invention
        for text in (vars(node).get("value", vars(node).get("s")) for node in ast.walk(tree)):
            named = list(modules_named_in(text)) if isinstance(text, str) else []
            seen += len(named)
            wrong += ["%s: %s" % (name, module) for module in named if module not in MODULES]
    assert wrong == [] and seen >= 10


def modules_named_in(text):
    """citadel/... of each path of ours and each import in a piece of Python or shell."""
    yield from re.findall(r"(?:^|[ ;/>])lib/(citadel/[\w/]+\.py)\b", text)
    for package, names in re.findall(r"\bfrom (citadel[.\w]*) import ([\w, ]+)", text):
        module = package.replace(".", "/") + ".py"
        if module in MODULES:
            yield module
        else:
            yield from ((package + "." + one).replace(".", "/") + ".py" for one in names.split(", "))
