import hashlib
from collections import namedtuple

import pytest

from citadel.model import Installed, Problem
from citadel.observe.installed import CRON, LIST, SHIPPED, UNITS, look

NAME = "citadel-gateway.service"
UNIT = UNITS + NAME
TEXT = b"[Unit]\nDescription=x\n\n[Service]\nExecStart=/bin/y\n"
Status = namedtuple("Status", "st_ctime")


def sums(*rows):
    return b"# version 1\n# schedule cron\n" + "".join(
        "%s  %s\n" % (hashlib.sha256(data).hexdigest(), path) for path, data in rows).encode()


class Disk(dict):
    """Files by path; those of `touched` have changed since the installation."""

    touched = ()

    def stat(self, path):
        if path not in self:
            raise FileNotFoundError(path)
        return Status(200.0 if path in self.touched else 100.0)


def seen(files, touched=()):
    disk = Disk(files)
    disk.touched = touched
    return look(disk.get, disk.stat)


def test_as_installed():
    assert seen({LIST: sums((UNIT, TEXT)), UNIT: TEXT, CRON: b""}) == Installed("cron", 100.0, True, (NAME,), ())


def test_a_file_that_was_touched_and_is_the_same():
    assert seen({LIST: sums((UNIT, TEXT)), UNIT: TEXT}, touched=(UNIT,)).changed == ()


@pytest.mark.parametrize("now, line", [
    pytest.param(TEXT.replace(b"=x", b"=z"), 2, id="a line differs"),
    pytest.param(TEXT + b"User=root\n", 6, id="a line more"),
    pytest.param(TEXT[:-len(b"ExecStart=/bin/y\n")], 5, id="a line less"),
])
def test_a_changed_unit_is_named_with_its_line(now, line):
    files = {LIST: sums((UNIT, TEXT)), UNIT: now, SHIPPED + NAME: TEXT}
    assert seen(files, touched=(UNIT,)).changed == (Problem(UNIT, line, "", "is not as it was installed"),)


def test_a_changed_unit_without_a_shipped_copy():
    assert seen({LIST: sums((UNIT, TEXT)), UNIT: b"x"}, touched=(UNIT,)).changed[0].line == 0


def test_a_missing_unit():
    assert seen({LIST: sums((UNIT, TEXT))}).changed == (Problem(UNIT, 0, "", "is missing"),)


def test_a_missing_cron_file():
    assert seen({LIST: sums((UNIT, TEXT)), UNIT: TEXT}).cron is False


def test_without_an_installation_nothing_is_said():
    assert seen({}) == Installed()


def test_files_that_recovery_does_not_rest_on_are_passed_over():
    found = seen({LIST: sums(("/opt/citadel/README.md", b"y"), ("/opt/citadel/units/prometheus/x.yml", b"z"))})
    assert found.changed == found.damaged == ()


@pytest.mark.parametrize("now, why", [(b"def (", "is not as it was installed"), (None, "is missing"), (b"pass", "")])
def test_code_of_ours_that_is_cut_short_is_known_before_it_is_needed(now, why):
    path = "/opt/citadel/lib/citadel/plan.py"
    files = {LIST: sums((path, b"pass")), path: now} if now is not None else {LIST: sums((path, b"pass"))}
    found = seen(files, touched=(path,))
    assert (found.changed, found.damaged) == ((), (Problem(path, 0, "", why),) if why else ())


def test_a_damaged_list_is_passed_over():
    assert seen({LIST: b"\xff\x00 junk\n%s\n" % UNIT.encode()}).changed == ()
