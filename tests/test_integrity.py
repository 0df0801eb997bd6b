import hashlib

from citadel.integrity import CHECKSUMS, UNITS, changed_units

UNIT = UNITS + "citadel-gateway.service"


def sums(*rows):
    return "".join("%s  %s\n" % (hashlib.sha256(data).hexdigest(), path) for path, data in rows).encode()


def test_what_is_as_installed_is_not_named():
    assert changed_units({CHECKSUMS: sums((UNIT, b"[Unit]\n")), UNIT: b"[Unit]\n"}.get) == ()


def test_a_changed_and_a_missing_unit_are_named():
    files = {CHECKSUMS: sums((UNIT, b"[Unit]\n"), (UNITS + "citadel-x.service", b"[Unit]\n")), UNIT: b"[Unit]\nX=1\n"}
    assert changed_units(files.get) == (UNIT, UNITS + "citadel-x.service")


def test_without_an_installation_nothing_is_changed():
    assert changed_units({}.get) == ()


def test_files_that_are_no_units_are_passed_over():
    assert changed_units({CHECKSUMS: sums(("/opt/citadel/bin/x", b"y"))}.get) == ()


def test_a_damaged_list_is_passed_over():
    assert changed_units({CHECKSUMS: b"\xff\x00 junk\n%s\n" % UNIT.encode()}.get) == ()
