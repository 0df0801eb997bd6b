"""What an installation consists of: the files of a source tree, and where each of them goes. Decides, writes nothing.

The source is a checkout, an unpacked archive or /opt/citadel itself, which holds all that is needed to install again
(the rehearsal does so inside its throwaway host) and to uninstall without a checkout.
"""

import os
import re
from collections import namedtuple

from citadel.core.errors import CannotLook

HOME = "/opt/citadel"
SETTINGS = HOME + "/etc/citadel.conf"
CONFIG = HOME + "/config"
VENV = HOME + "/venv"
STATE = "/var/lib/citadel-recovery"
UNITS = "/usr/local/lib/systemd/system"     # `systemctl mask` works there; on a unit in /etc/systemd/system it does not
SYSUSERS = "/usr/local/lib/sysusers.d/citadel.conf"
TMPFILES = "/usr/local/lib/tmpfiles.d/citadel.conf"
CRON = "/etc/cron.d/citadel"
CATALOG = "/usr/local/lib/systemd/catalog/citadel.catalog"      # read there by systemd 247 to 262 (measured)
TIMER = "citadel-health.timer"
GATEWAY = "citadel-gateway.service"
REDIS_ALIAS = UNITS + "/redis-server.service"
ACCOUNT = "citadel"

PLACES = {"units/sysusers.d/citadel.conf": SYSUSERS, "units/tmpfiles.d/citadel.conf": TMPFILES,
          "units/logrotate.d/citadel": "/etc/logrotate.d/citadel", "units/catalog/citadel.catalog": CATALOG,
          "units/cron.d/citadel": CRON}
SOURCE_DIRECTORIES = ("bin", "lib", "units")
SOURCE_FILES = ("install.py", "LICENSE", "README.md")
NEEDED = ("bin", "lib/citadel/__init__.py", "install.py", "units/citadel-gateway.service",
          "units/citadel-recovery.service", "units/citadel.conf", "units/sysusers.d/citadel.conf",
          "units/tmpfiles.d/citadel.conf", "units/cron.d/citadel")
SHIPPED_INTERPRETER = b"#!/usr/bin/python3"

Item = namedtuple("Item", "path data mode")
Item.__doc__ = "One file to be: its path on the installed host, its bytes, its mode (root:root always)."


def source_files(source):
    """{relative path: (bytes, mode)} of all that belongs to the product; raises CannotLook when a part is missing. Left
    out: tests, byte code, hidden and backup files. The mode is 0755 or 0644, whoever may read the checkout. The
    interpreter line is the shipped one again, when the source is an installed tree."""
    missing = [name for name in NEEDED if not os.path.exists(os.path.join(source, name))]
    if missing:
        raise CannotLook("%s is not a complete source tree: %s is missing" % (source, missing[0]))
    paths = [os.path.join(source, name) for name in SOURCE_FILES]
    for top in SOURCE_DIRECTORIES:
        for directory, subdirectories, names in os.walk(os.path.join(source, top)):
            subdirectories[:] = [name for name in subdirectories if name != "__pycache__" and name[0] != "."]
            paths += [os.path.join(directory, name) for name in names
                      if name[0] != "." and not name.endswith((".pyc", ".pyo", "~", ".orig", ".rej"))]
    found = {}
    for path in paths:
        if os.path.isfile(path) and not os.path.islink(path):
            mode = 0o755 if os.stat(path).st_mode & 0o100 else 0o644
            with open(path, "rb") as file:
                found[os.path.relpath(path, source)] = with_interpreter(file.read(), SHIPPED_INTERPRETER), mode
    return found


def with_interpreter(data, line):
    """`data` with the Python of its first line (`#!... -IS`) replaced; anything else unchanged."""
    first, newline, rest = data.partition(b"\n")
    if not first.startswith(b"#!") or b"python" not in first:
        return data
    _, space, options = first.partition(b" ")
    return line + space + options + newline + rest


def items(files, interpreter, schedule):
    """The Items that `files` (of `source_files`) become on a host whose Python is `interpreter`; citadel.conf apart.
    What goes to its place outside of /opt/citadel is in /opt/citadel/units as well."""
    result = []
    for name, (data, mode) in files.items():
        data = with_interpreter(data, b"#!" + interpreter.encode())
        result.append(Item(HOME + "/" + name, data, mode))
        path = PLACES.get(name)
        if re.match(r"units/[^/]+\.(service|timer|path|socket|target|slice)(\.d/|$)", name):
            path = UNITS + name[len("units"):]
        if path and (path != CRON or schedule == "cron"):
            result.append(Item(path, data, 0o644))
    return sorted(result)


def unit_name(path):
    """The unit that a path of ours in UNITS is about, a drop-in's unit included; "" for any other path."""
    if not path.startswith(UNITS + "/"):
        return ""
    first = path[len(UNITS) + 1:].partition("/")[0]
    return first[:-2] if first.endswith(".d") else first


def is_ours(path):
    """Whether an installation may ever have put a file at `path`: what uninstall will remove at most."""
    if os.path.normpath(path) != path:
        return False
    if path == REDIS_ALIAS or path in PLACES.values():
        return True
    if path.startswith(UNITS + "/"):            # our units and their drop-ins, or a drop-in of ours for another's unit
        return unit_name(path).startswith("citadel-") or os.path.basename(path).startswith("citadel-")
    top, _, below = path[len(HOME) + 1:].partition("/")
    return path.startswith(HOME + "/") and top in (SOURCE_DIRECTORIES if below else SOURCE_FILES)


def enableable(all_items):
    """Names of our units that have an [Install] section; the health timer is the schedule's business."""
    return sorted({unit_name(item.path) for item in all_items if b"\n[Install]" in item.data} - {"", TIMER})
