import os
import subprocess
import sys

import pytest
from places import TREE

from citadel.core import trust
from citadel.core.errors import NotPermitted, SettingsError
from citadel.settings import file as settings
from citadel.settings import table
from citadel.settings import values as readers
from citadel.settings.values import Mark

SHIPPED = os.path.join(TREE, "units", "citadel.conf")


def shipped():
    with open(SHIPPED, encoding="utf-8") as file:
        return file.read()


def problems(text):
    return settings._examine(text, "citadel.conf")[1]


# --- the table and the shipped file -----------------------------------------------------------------------------------

def documented(text):
    """(section, key) -> (value, the comment above it), of settings that are there, commented out or not."""
    found, section, lines = {}, None, []
    for line in text.split("\n"):
        bare = line[2:] if line.startswith("# ") else line
        key, equals, value = bare.partition(" =")
        if line.startswith("["):
            section, lines = tuple((line[1:-1] + " ").split(" ")[:2]), []
        elif equals and section and key in table.ROWS[section[0]]:
            found[section + (key,)] = value.strip(), " ".join(lines)
            lines = []
        else:
            lines = lines + [bare] if line.startswith("# ") else []
    return found


def rows():
    for section in list(table.BUILT_IN) + [(kind, "") for kind in table.SINGLE]:
        for name, row in table.ROWS[section[0]].items():
            yield section + (name,), table.BUILT_IN.get(section, {}).get(name, row.default), row


def comment(row):
    accepted = getattr(row.reader, "range", "")
    return row.meaning + (" From %s." % accepted if accepted else "")


def test_the_shipped_file_holds_each_setting_with_its_default_and_its_meaning():
    expected = {where: (default, comment(row)) for where, default, row in rows()}
    assert documented(shipped()) == expected


def test_the_shipped_file_says_the_defaults():
    assert settings.parse(shipped(), "x") == settings.parse("", "x")


def test_the_shipped_file_uncommented_says_the_defaults_too():
    text = "\n".join(line[2:] if line.startswith("# ") and line[2:].partition(" =")[0] in table.ROWS[kind] else line
                     for kind, line in with_kinds(shipped()))
    assert text.count("\nhealth = ") == 1
    assert settings.parse(text, "x") == settings.parse("", "x")


def with_kinds(text):
    kind = "recovery"
    for line in text.split("\n"):
        kind = line[1:-1].split(" ")[0] if line.startswith("[") else kind
        yield kind, line


def test_lines_of_the_shipped_file_fit_a_terminal():
    assert max(map(len, shipped().split("\n"))) <= 120


@pytest.mark.parametrize("row", table.SETTINGS, ids=lambda row: "%s.%s" % (row.section, row.name))
def test_every_row_has_a_default_that_its_reader_takes_and_a_meaning(row):
    row.reader(row.default)
    assert row.meaning.endswith(".")


def test_no_row_is_there_twice():
    assert len({(row.section, row.name) for row in table.SETTINGS}) == len(table.SETTINGS)


def test_the_defaults_are_the_shipped_gateway():
    defaults = settings.parse("", "x")
    gateway, = defaults.services
    assert (gateway.unit, gateway.health, gateway.depends, gateway.port) == (
        "citadel-gateway.service", "http://127.0.0.1:8002/health", ("ollama", "redis"), 8002)
    assert defaults.dependencies["redis"].units == ("redis-server.service", "redis.service")
    assert defaults.recovery.backoff == (300, 600, 1200, 2400, 3600)
    assert (defaults.recovery.attempts, defaults.recovery.window) == (5, 1800)
    assert defaults.service("citadel-gateway.service") is gateway
    assert defaults.service("other.service") is None


def test_as_data_is_plain_and_complete():
    import json
    data = json.loads(json.dumps(settings.as_data(settings.parse("", "x"))))
    assert {(kind, name) for kind in table.SINGLE for name in data[kind]} == {
        (row.section, row.name) for row in table.SETTINGS if row.section not in table.NAMED}
    assert data["service"]["citadel-gateway.service"]["depends"] == ["ollama", "redis"]
    assert data["disk"]["min_free"] == "5% 1G"


def test_what_check_imports_stays_light():
    code = ("import sys; sys.path.insert(0, %r); from citadel.settings import file; file.parse(open(%r).read(), 'x'); "
            "print([name for name in ('re', 'json', 'socket', 'argparse', 'configparser', 'typing', 'pathlib', 'enum', "
            "'subprocess', 'difflib') if name in sys.modules])") % (os.path.join(TREE, "lib"), SHIPPED)
    out = subprocess.check_output([sys.executable, "-I", "-S", "-c", code])
    assert out.decode().strip() == "[]"


# --- readers ----------------------------------------------------------------------------------------------------------

READ = (
    pytest.param(readers.duration(0, 10 ** 6), "5s", 5, id="seconds"),
    pytest.param(readers.duration(0, 10 ** 6), "10min", 600, id="minutes"),
    pytest.param(readers.duration(0, 10 ** 6), "2h", 7200, id="hours"),
    pytest.param(readers.duration(0, 10 ** 6), "1d", 86400, id="days"),
    pytest.param(readers.duration(0, 10 ** 6), "1h30min", 5400, id="an hour and a half"),
    pytest.param(readers.duration(0, 10 ** 6), "90", 90, id="a number alone is seconds"),
    pytest.param(readers.duration(0, 10 ** 6), "500ms", 0.5, id="milliseconds"),
    pytest.param(readers.size(0, 1 << 50), "500M", 500 << 20, id="megabytes"),
    pytest.param(readers.size(0, 1 << 50), "8G", 8 << 30, id="gigabytes"),
    pytest.param(readers.size(0, 1 << 50), "64K", 65536, id="kilobytes"),
    pytest.param(readers.size(0, 1 << 50), "1000", 1000, id="bytes"),
    pytest.param(readers.percent(0, 100), "10%", 10, id="a percentage"),
    pytest.param(readers.mark, "5%", Mark(5, None), id="a mark in percent"),
    pytest.param(readers.mark, "2G", Mark(None, 2 << 30), id="a mark in bytes"),
    pytest.param(readers.mark, "1G 5%", Mark(5, 1 << 30), id="a mark in both, in any order"),
    pytest.param(readers.whole(1, 10), "10", 10, id="the highest number"),
    pytest.param(readers.truth, "on", True, id="on"),
    pytest.param(readers.truth, "No", False, id="No with a capital"),
    pytest.param(readers.path, "/a/b/", "/a/b", id="a slash at the end is dropped"),
    pytest.param(readers.path, "/", "/", id="the root"),
    pytest.param(readers.probe, "http://localhost:8002/health", "http://127.0.0.1:8002/health", id="localhost"),
    pytest.param(readers.probe, "http://127.0.0.1:80", "http://127.0.0.1:80/", id="no path is /"),
    pytest.param(readers.probe, "http://127.0.0.1:80?x=1", "http://127.0.0.1:80/?x=1", id="a query alone"),
    pytest.param(readers.probe, "redis://[::1]:6379/", "redis://[::1]:6379", id="redis on IPv6"),
    pytest.param(readers.probe, "tcp://10.0.0.1:5432", "tcp://10.0.0.1:5432", id="tcp"),
    pytest.param(readers.each(readers.unit_name), "a.service  b.service", ("a.service", "b.service"), id="a list"),
    pytest.param(readers.each(readers.path), "", (), id="an empty list"),
    pytest.param(readers.temp_pattern, "/tmp/citadel-*", "/tmp/citadel-*", id="temporary files of ours"),
    pytest.param(readers.temp_pattern, "/run/citadel/*.tmp", "/run/citadel/*.tmp", id="a suffix in our own directory"),
    pytest.param(readers.cleanable_directory, "/var/log/gateway", "/var/log/gateway", id="a log directory"),
)


@pytest.mark.parametrize("reader, text, value", READ)
def test_is_read(reader, text, value):
    assert reader(text) == value


REFUSED = (
    pytest.param(readers.duration(1, 60), "5 parsecs", "not a duration", id="parsecs"),
    pytest.param(readers.duration(1, 60), "", "not a duration", id="an empty duration"),
    pytest.param(readers.duration(1, 60), "-5s", "not a duration", id="a negative duration"),
    pytest.param(readers.duration(1, 60), "1.5s", "not a duration", id="a fraction"),
    pytest.param(readers.duration(1, 60), "5s5", "not a duration", id="a bare number after a unit"),
    pytest.param(readers.duration(1, 60), "61s", "out of range: 1s to 1min", id="a long duration"),
    pytest.param(readers.duration(1, 60), "9" * 5000 + "s", "not a duration", id="more digits than int() takes"),
    pytest.param(readers.whole(1, 10), "1_0", "not a whole number", id="an underscore"),
    pytest.param(readers.whole(1, 10), "٣", "not a whole number", id="Arabic digits"),
    pytest.param(readers.whole(1, 10), "0x5", "not a whole number", id="hexadecimal"),
    pytest.param(readers.whole(1, 10), "11", "1 to 10", id="one too many"),
    pytest.param(readers.size(1024, 2048), "1k", "not a size", id="a small k"),
    pytest.param(readers.size(1024, 2048), "3K", "1K to 2K", id="a large size"),
    pytest.param(readers.percent(0, 50), "10", "not a percentage", id="no percent sign"),
    pytest.param(readers.percent(0, 50), "51%", "0% to 50%", id="a large percentage"),
    pytest.param(readers.mark, "5% 6%", "neither a percentage nor a size", id="two percentages"),
    pytest.param(readers.truth, "maybe", "neither yes nor no", id="maybe"),
    pytest.param(readers.path, "logs", "not an absolute path", id="a relative path"),
    pytest.param(readers.path, "/opt/../etc", "not a plain path", id="a path that climbs"),
    pytest.param(readers.path, "/bin/mail root", "without arguments", id="a command with arguments"),
    pytest.param(readers.unit_name, "ollama", "did you mean ollama.service", id="a unit without .service"),
    pytest.param(readers.unit_name, "--host=x.service", "not the name", id="a unit that is an option"),
    pytest.param(readers.unit_name, "x*.service", "not the name", id="a unit that is a pattern"),
    pytest.param(readers.dependency_name, "a.b", "not a dependency's name", id="a dot in a dependency's name"),
    pytest.param(readers.probe, "http://gateway.local:80/", "resolving a name can hang", id="a host by name"),
    pytest.param(readers.probe, "https://127.0.0.1:443/", "does not begin with", id="https"),
    pytest.param(readers.probe, "http://127.0.0.1/", "has no port", id="no port"),
    pytest.param(readers.probe, "http://127.0.0.1:0/", "not a port", id="port 0"),
    pytest.param(readers.probe, "http://127.0.0.1:65536/", "not a port", id="port 65536"),
    pytest.param(readers.probe, "http://127.0.0.1:/", "not a port", id="a colon and no port"),
    pytest.param(readers.probe, "http://::1:80/", "written in [ ]", id="IPv6 without brackets"),
    pytest.param(readers.probe, "http://[127.0.0.1]:80/", "no IPv6 address", id="IPv4 in brackets"),
    pytest.param(readers.probe, "http://256.0.0.1:80/", "use an IP address", id="a number that is no address"),
    pytest.param(readers.probe, "http://0.0.0.0:80/", "to listen on", id="the address of all interfaces"),
    pytest.param(readers.probe, "redis://127.0.0.1:6379/3", "has no path", id="a redis database"),
    pytest.param(readers.probe, "redis://:secret@127.0.0.1:6379", "no place for secrets", id="a password"),
    pytest.param(readers.probe, "http://127.0.0.1:80/a b", "characters that no URL has", id="a space in a URL"),
    pytest.param(readers.each(readers.path), "/a /a", "given twice", id="a value twice"),
    pytest.param(readers.each(readers.path), " ".join("/%d" % n for n in range(65)), "at most 64", id="65 values"),
    pytest.param(readers.ascending(readers.duration(1, 9)), "", "has no value", id="an empty list that must not be"),
    pytest.param(readers.ascending(readers.duration(1, 60)), "5s 3s", "more than the one before", id="descending"),
    pytest.param(readers.temp_pattern, "/tmp/*", "too much", id="all of /tmp"),
    pytest.param(readers.temp_pattern, "/tmp/*.tmp", "too much", id="a suffix where everybody has files"),
    pytest.param(readers.temp_pattern, "/tmp/sys*", "systemd-private", id="what systemd's private /tmp is called"),
    pytest.param(readers.temp_pattern, "/tmp/systemd-private-x", "systemd-private", id="a private /tmp by name"),
    pytest.param(readers.temp_pattern, "/tmp/*/citadel", "after the last / only", id="a wildcard in a directory"),
    pytest.param(readers.temp_pattern, "/etc/citadel*", "too much", id="temporary files in /etc"),
    pytest.param(readers.temp_pattern, "/citadel-*", "too much", id="temporary files in /"),
    pytest.param(readers.removable_file, "/etc/passwd", "may not be removed", id="a PID file in /etc"),
    pytest.param(readers.removable_file, "/run/*.pid", "may not be removed", id="a pattern of PID files"),
    pytest.param(readers.cleanable_directory, "/var", "may not be cleaned", id="cleaning the first level"),
    pytest.param(readers.cleanable_directory, "/usr/share", "may not be cleaned", id="cleaning the system"),
)


@pytest.mark.parametrize("reader, text, why", REFUSED)
def test_is_refused(reader, text, why):
    with pytest.raises(ValueError) as caught:
        reader(text)
    assert why in str(caught.value)


@pytest.mark.parametrize("seconds, text", [(0, "0s"), (0.5, "500ms"), (90, "90s"), (600, "10min"), (7200, "2h")])
def test_durations_are_written_as_they_are_read(seconds, text):
    assert readers.duration_text(seconds) == text
    assert readers.duration(0, 10 ** 6)(text) == seconds


@pytest.mark.parametrize("mark, total, expected", [
    pytest.param("5%", 1000, 50, id="a share"),
    pytest.param("1K", 10 ** 6, 1024, id="a size"),
    pytest.param("5% 1K", 10 ** 6, 1024, id="the size is less on a large disk"),
    pytest.param("5% 1K", 1000, 50, id="the share is less on a small one"),
    pytest.param("0%", 1000, 0, id="off"),
])
def test_a_mark_on_its_scale(mark, total, expected):
    assert readers.mark(mark).of(total) == expected


@pytest.mark.parametrize("url, expected", [("http://127.0.0.1:8002/a:b", ("127.0.0.1", 8002)),
                                           ("redis://[::1]:6379", ("::1", 6379))])
def test_the_address_of_a_probe(url, expected):
    assert readers.address(url) == expected


# --- the file's form --------------------------------------------------------------------------------------------------

FAULTS = (
    pytest.param("[recovery]\natempts = 3", 2, "atempts", "did you mean attempts?", id="a misspelt key"),
    pytest.param("[service a.service]\nslow-after = 3", 2, "slow-after", "did you mean slow_after?", id="a dash"),
    pytest.param("[recovery]\nslow_after = 3", 2, "slow_after", "it belongs in [service]", id="a key from elsewhere"),
    pytest.param("[recovry]", 1, "[recovry]", "did you mean recovery?", id="a misspelt section"),
    pytest.param("[recovery]\nwall = yes\nwall = yes", 3, "wall", "given twice, first in line 2", id="a key twice"),
    pytest.param("[disk]\n[recovery]\n[disk]", 3, "[disk]", "first in line 1", id="a section twice"),
    pytest.param("[service a.service]\n[service  a.service]", 2, "[service a.service]", "given twice",
                 id="a service twice"),
    pytest.param("[recovery]\nwindow = 30min\n  5", 3, "", "indented line", id="a value that goes on"),
    pytest.param("attempts = 3", 1, "attempts", "comes before the first [section]", id="no section"),
    pytest.param("[recovery]\nattempts: 3", 2, "attempts:", "with '='", id="a colon"),
    pytest.param("; x", 1, ";", "comments begin with #", id="a semicolon"),
    pytest.param("[recovery]\nwall = yes # loud", 2, "wall", "line of its own", id="a comment behind a value"),
    pytest.param("[recovery]\nattempts =", 2, "attempts", "has no value", id="no value"),
    pytest.param("[recovery]\nattempts = 99", 2, "attempts", "out of range: 1 to 50", id="out of range"),
    pytest.param("[recovery", 1, "[recovery", "not a section", id="an open bracket"),
    pytest.param("[recovery] # x", 1, "[recovery] # x", "not a section", id="a comment behind a section"),
    pytest.param("[]", 1, "[]", "not a section", id="an empty section"),
    pytest.param("[recovery x]", 1, "[recovery x]", "there is only one", id="a name too many"),
    pytest.param("[service]", 1, "[service]", "has no name", id="a service without a name"),
    pytest.param("[service citadel-gateway]", 1, "[service citadel-gateway]", "citadel-gateway.service?",
                 id="a service without .service"),
    pytest.param("[dependency My DB]", 1, "[dependency My DB]", "not a dependency's name", id="a name with a space"),
    pytest.param("[recovery]\nwall =\u00a0yes", 2, "", "U+00A0", id="a no-break space, as web pages have"),
    pytest.param("[recovery]\nwall = yes\x00", 2, "", "U+0000", id="a NUL"),
    pytest.param("# \u202e harmless", 1, "", "U+202E", id="a comment that turns the text around"),
    pytest.param("# a\rwall = x", 1, "", "U+000D", id="a lone carriage return"),
    pytest.param("[service a.service]\ndepends = redsi", 2, "depends", "did you mean redis?", id="unknown dependency"),
    pytest.param("[service a.service]\ndepends = x\n[dependency x]\nunit = a.service", 2, "depends",
                 "would depend on itself", id="a service that depends on itself"),
    pytest.param("[disk]\nmin_free = 10%\nenough_free = 10%", 3, "enough_free", "must be more than 10%",
                 id="marks that touch"),
    pytest.param("[disk]\nmin_inodes = 7%", 2, "enough_inodes", "6% must be more than 7%", id="a mark above a default"),
    pytest.param("[disk]\nmin_free = 1G", 2, "enough_free", "cannot be compared", id="marks of two kinds"),
    pytest.param("[service a.service]\nslow_after = 5s", 2, "slow_after", "is never reached", id="never slow"),
    pytest.param("[recovery]\nprobe_timeout = 2s", 2, "slow_after", "is never reached", id="never slow, by default"),
    pytest.param("[recovery]\nverify_timeout = 20s\nprobe_timeout = 30s\n[service a.service]", 3, "verify_timeout",
                 "longer than probe_timeout", id="no time to verify"),
)


@pytest.mark.parametrize("text, line, key, why", FAULTS)
def test_a_fault_is_named_with_its_line(text, line, key, why):
    found, = problems(text + "\n")
    assert (found.file, found.line, found.key) == ("citadel.conf", line, key)
    assert why in found.why
    with pytest.raises(SettingsError) as caught:
        settings.parse(text, "citadel.conf")
    assert (caught.value.line, caught.value.code) == (line, 78)
    assert str(caught.value).startswith("citadel.conf:%d: " % line)


SOUND = (
    pytest.param("", id="an empty file"),
    pytest.param("# only a comment", id="a comment without a line end"),
    pytest.param("\t\n  # indented comment\n", id="an indented comment"),
    pytest.param("[recovery]\r\nwall = yes\r\n", id="lines that end as on Windows"),
    pytest.param("[recovery]\nwall=yes\n", id="no spaces around ="),
    pytest.param("[ recovery ]\n", id="spaces in the brackets"),
    pytest.param("[service citadel-gateway.service]\n[dependency ollama]\n[dependency redis]\n", id="empty sections"),
)


@pytest.mark.parametrize("text", SOUND)
def test_says_the_defaults(text):
    assert settings.parse(text, "x") == settings.parse("", "x")


def test_all_faults_are_listed_in_the_order_of_their_lines():
    text = "[service a.service]\ndepends = nobody\n[recovery]\nattempts = 0\nfoo = 1\n[hook]\ntimeout = x\n"
    assert [problem.line for problem in problems(text)] == [2, 4, 5, 7]


def test_a_long_word_is_cut_in_a_complaint():
    found, = problems("[recovery]\nwall = %s\n" % ("x" * 5000))
    assert len(found.why) < 120


def test_a_wrong_section_is_one_fault_not_one_a_key():
    assert len(problems("[recovry]\nattempts = 1\nfoo = 2\n")) == 1


def test_a_file_that_is_no_settings_file_is_not_read_to_its_end():
    found = problems("x\n" * 10000)
    assert len(found) == settings.MOST_PROBLEMS
    assert found[-1].why == "and more; the rest was not read"


def test_another_service_starts_from_nothing():
    found = settings.parse("[service web.service]\nhealth = tcp://127.0.0.1:81\n", "x")
    web, = found.services
    assert web == table.ServiceSettings(
        unit="web.service", health="tcp://127.0.0.1:81", depends=(), settings="", port=81, start_timeout=120,
        slow_after=3, pid_files=(), temp_files=(), log="")
    assert found.dependencies == {}


def test_a_service_without_a_probe_has_no_port():
    assert settings.parse("[service web.service]\n", "x").services[0].port is None


def test_port_overrules_health():
    text = "[service web.service]\nhealth = tcp://127.0.0.1:81\nport = 82\n"
    assert settings.parse(text, "x").services[0].port == 82


def test_empty_turns_a_default_off():
    text = "[service citadel-gateway.service]\nhealth =\ndepends =\nsettings =\nport = 8002\n"
    gateway, = settings.parse(text, "x").services
    assert (gateway.health, gateway.depends, gateway.settings, gateway.port) == ("", (), "", 8002)


def test_services_keep_their_order():
    text = "".join("[service %s.service]\n" % name for name in "cab")
    assert [one.unit for one in settings.parse(text, "x").services] == ["c.service", "a.service", "b.service"]


def test_a_dependency_is_its_own_unit_unless_told_otherwise():
    found = settings.parse("[dependency postgres]\nprobe = tcp://127.0.0.1:5432\n", "x").dependencies["postgres"]
    assert (found.name, found.units, found.probe) == ("postgres", ("postgres.service",), "tcp://127.0.0.1:5432")


def test_a_built_in_dependency_keeps_what_its_section_leaves_out():
    found = settings.parse("[dependency redis]\nprobe = redis://127.0.0.1:6380\n", "x").dependencies["redis"]
    assert (found.units, found.probe) == (("redis-server.service", "redis.service"), "redis://127.0.0.1:6380")


def test_settings_are_not_changed_in_place():
    recovery = settings.parse("", "x").recovery
    with pytest.raises(AttributeError):
        recovery.attempts = 50
    assert recovery._replace(attempts=7).attempts == 7
    assert recovery.attempts == 5
    assert recovery != recovery._replace(attempts=7)


# --- whom to trust ----------------------------------------------------------------------------------------------------

@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "citadel.conf"
    path.write_text("[recovery]\nattempts = 7\n")
    path.chmod(0o644)
    return path


def refusal(path, **options):
    with pytest.raises(NotPermitted) as caught:
        settings.read(str(path), **options)
    assert caught.value.code == 77
    return str(caught.value)


def test_our_own_file_is_read(conf):
    assert settings.read(str(conf)).recovery.attempts == 7
    assert settings.check_file(str(conf)) == []


@pytest.mark.parametrize("mode, writers", [(0o664, "its group"), (0o646, "everybody"),
                                           (0o666, "its group and everybody")])
def test_a_file_that_others_can_write_is_refused(conf, mode, writers):
    conf.chmod(mode)
    assert "%s is writable by %s" % (conf, writers) in refusal(conf)


def test_root_is_named_as_the_one_who_must_not_trust_it(conf):
    conf.chmod(0o664)
    with pytest.raises(NotPermitted) as caught:
        trust.read_trusted(str(conf), owners=(0, os.geteuid()) if os.geteuid() == 0 else None)
    assert str(caught.value) == "%s is writable by its group; root must not trust it" % conf


def test_a_file_of_another_user_is_refused(conf):
    with pytest.raises(NotPermitted) as caught:
        trust.read_trusted(str(conf), owners=(os.geteuid() + 1,))
    assert "belongs to uid %d" % os.geteuid() in str(caught.value)


def test_a_symbolic_link_is_not_followed(conf, tmp_path):
    (tmp_path / "link").symlink_to(conf)
    assert "symbolic link" in refusal(tmp_path / "link")


def test_a_second_name_is_refused(conf, tmp_path):
    os.link(str(conf), str(tmp_path / "other"))
    assert "2 names" in refusal(conf)


def test_a_fifo_does_not_hang(tmp_path):
    os.mkfifo(str(tmp_path / "fifo"), 0o600)
    assert "not a regular file" in refusal(tmp_path / "fifo")


def test_a_directory_is_refused(tmp_path):
    assert "not a regular file" in refusal(tmp_path)


def test_a_large_file_is_refused_and_one_at_the_limit_is_not(conf):
    conf.write_text("#" * trust.LARGEST_FILE)
    settings.read(str(conf))
    conf.write_text("#" * (trust.LARGEST_FILE + 1))
    assert "larger than 256 KiB" in refusal(conf)


def test_no_file_means_the_defaults_unless_an_operator_named_it(tmp_path):
    missing = str(tmp_path / "none.conf")
    assert settings.read(missing) == settings.parse("", missing)
    with pytest.raises(SettingsError) as caught:
        settings.read(missing, must_exist=True)
    assert str(caught.value) == missing + ": no such file"
    assert settings.check_file(missing)[0].why == "no such file"


@pytest.mark.parametrize("content, line, why", [
    pytest.param(b"\xef\xbb\xbf[recovery]\n", 1, "byte order mark", id="a byte order mark"),
    pytest.param(b"# a\n# caf\xe9\n", 2, "byte 0xe9 is not UTF-8", id="Latin 1"),
    pytest.param(b"\xff\xfe[\x00", 1, "not UTF-8", id="UTF-16"),
])
def test_what_is_not_plain_utf8_is_named(conf, content, line, why):
    conf.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        settings.read(str(conf))
    assert caught.value.line == line
    assert why in str(caught.value)
    assert [problem.line for problem in settings.check_file(str(conf))] == [line]


# --- where alerts and metrics go

@pytest.mark.parametrize("url, value", [
    ("http://127.0.0.1:9093", "http://127.0.0.1:9093"), ("http://localhost:9093/", "http://127.0.0.1:9093"),
    ("https://Alerts.example/am/", "https://alerts.example/am"), ("http://[::1]:9093", "http://[::1]:9093")])
def test_an_alertmanager(url, value):
    assert settings.parse("[alertmanager]\nurls = %s\n" % url, "x").alertmanager.urls == (value,)


@pytest.mark.parametrize("url, why", [
    ("alerts:9093", "does not begin with http:// or https://"), ("ftp://alerts", "does not begin with"),
    ("http://", "names no host"), ("http://:9093", "names no host"), ("http://alerts:0", "is not a port"),
    ("http://me:secret@alerts", "no place for secrets"), ("http://alerts/?x=1", "only a prefix"),
    ("http://alerts/../x", "only a prefix"), ("http://0.0.0.0:9093", "an address to listen on"),
    ("http://-oops", "neither a host's name nor an address"), ("http://a http://a", "is given twice")])
def test_no_alertmanager(url, why):
    with pytest.raises(SettingsError) as raised:
        settings.parse("[alertmanager]\nurls = %s\n" % url, "citadel.conf")
    assert str(raised.value).startswith("citadel.conf:2: urls: ") and why in str(raised.value)
    assert "secret" not in str(raised.value).replace("secrets", "")


@pytest.mark.parametrize("text, value", [("", ""), ("/var/lib/x/", "/var/lib/x"), ("-/var/lib/x", "-/var/lib/x")])
def test_a_directory_for_metrics(text, value):
    assert settings.parse("[metrics]\ndirectory = %s\n" % text, "x").metrics.directory == value


@pytest.mark.parametrize("text", ["textfiles", "-textfiles", "--/x", "/a/../b", "/a /b"])
def test_no_directory_for_metrics(text):
    assert [one.key for one in problems("[metrics]\ndirectory = %s\n" % text)] == ["directory"]
