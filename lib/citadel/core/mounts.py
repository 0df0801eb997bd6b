"""The mounts of a process, as /proc/PID/mountinfo lists them (proc_pid_mountinfo(5))."""

from collections import namedtuple

LARGEST = 4 << 20                       # characters that are read
_OCTAL = frozenset("01234567")

Mount = namedtuple("Mount", "root point options type source super_options")
Mount.__doc__ = "One mount: what part of its file system (`root`) is seen where (`point`), and both layers of options."


def mounts(pid="self", proc="/proc"):
    """The Mounts that a process sees, in the order in which they were made. OSError when that is not shown to us."""
    with open("%s/%s/mountinfo" % (proc, pid), encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read(LARGEST))


def parse(text):
    """The Mounts in the text of a mountinfo file; a line that was cut is left out."""
    found = []
    for line in text.split("\n"):
        before, _, after = line.partition(" - ")
        words, tail = before.split(" "), after.split(" ")
        if len(words) >= 6 and len(tail) >= 3:
            found.append(Mount(unescaped(words[3]), unescaped(words[4]), words[5].split(","), tail[0],
                               unescaped(tail[1]), tail[2].split(",")))
    return found


def unescaped(word):
    """mountinfo writes space, tab, newline and backslash as a backslash and three octal digits."""
    first, *rest = word.split("\\")
    return first + "".join("\\" + part if len(part) < 3 or set(part[:3]) - _OCTAL else chr(int(part[:3], 8)) + part[3:]
                           for part in rest)


def mount_id(descriptor):
    """The id of the mount that an open file was reached through (proc_pid_fdinfo(5)), -1 where the kernel tells none; a
    bind mount has the device number of what it shows, and an id of its own."""
    with open("/proc/self/fdinfo/%d" % descriptor) as file:
        return next((int(line[7:]) for line in file if line.startswith("mnt_id:")), -1)
