"""Who may import whom: the road runs one way, and a wing knows only what stands before it."""

import ast
import glob
import os

from places import LIB

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
