"""Can this host's Python run Citadel? Asked before anything is changed, of the interpreter that will run the commands.

Debian's python3-minimal lacks json, http.client, shutil and more, and a command would fail only when it needs one of
them, perhaps in an incident. So every module that our sources import is loaded once: `python -IS preflight.py NAME...`
prints the names that this Python cannot load. Therefore this file imports only what every Python has.
"""

import importlib
import os
import sys

OLDEST = (3, 6)
CANDIDATES = ("/usr/bin/python3", "/usr/libexec/platform-python")   # the second: RHEL 8 without a python3 package
PACKAGES = (
    (("debian", "ubuntu"), "apt-get install python3 (package libpython3-stdlib; python3-minimal is not enough)"),
    (("rhel", "fedora", "centos"), "dnf install python3 (package python3-libs)"),
    (("suse",), "zypper install python3 (package python3-base)"))
LONGEST_INTERPRETER = 120           # the kernel cuts an interpreter line at 127 bytes before Linux 5.1, execve(2)


def imported_names(sources):
    """The modules that Python `sources` ({name: text}) import, sorted: "module" or "module:attribute or submodule". Our
    own are left out, and imports under `try` or `if`: there the code handles a missing one itself."""
    import ast
    own = {"citadel"} | {os.path.basename(name)[:-3] for name in sources if name.endswith(".py")}
    names = set()

    def look(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.level == 0:
                names.update("%s:%s" % (child.module, alias.name) for alias in child.names if alias.name != "*")
            elif not isinstance(child, (ast.Try, ast.If)):
                look(child)
    for name in sorted(sources):
        look(ast.parse(sources[name], filename=name))
    return sorted(name for name in names if name.partition(":")[0].partition(".")[0] not in own)


def absent(names, load=importlib.import_module):
    """Those of `names` that cannot be loaded, as module names."""
    result = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            loaded = load(module)
            if attribute and not hasattr(loaded, attribute):
                load(module + "." + attribute)
        except ImportError as error:
            culprit = error.name or module
            if culprit not in result:
                result.append(culprit)
    return result


def advice(names, os_release):
    """One sentence that says what is missing and which package brings it; `os_release` is /etc/os-release's text."""
    family = " ".join(line.partition("=")[2].strip('"') for line in os_release.splitlines()
                      if line.startswith(("ID=", "ID_LIKE=")))
    package = next((package for words, package in PACKAGES if any(word in family for word in words)),
                   "install your distribution's whole Python 3, with its standard library")
    return "Python lacks %s: %s" % (", ".join(names), package)


def os_release(path="/etc/os-release"):
    """The text that tells distributions apart, os-release(5); "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    for absentee in absent(sys.argv[1:]):
        print(absentee)
