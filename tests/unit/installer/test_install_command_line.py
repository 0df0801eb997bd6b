"""install.py's command line."""

import pytest
from installing import ME, Programs

from citadel.core.errors import NotPermitted, UsageError
from citadel.installer.main import main, read_arguments


def test_the_host_itself_needs_root(product):
    with pytest.raises(NotPermitted, match="needs root: sudo ./install.py"):
        main([], product, "/", run=Programs(), uid=1000)


@pytest.mark.parametrize("words, complaint", [
    pytest.param(["--bogus"], "--bogus", id="an unknown option"),
    pytest.param(["--schedule", "weekly"], "weekly", id="an unknown schedule"),
    pytest.param(["--purge"], "--purge goes with --uninstall", id="purge alone"),
    pytest.param(["--pack", "x", "--dry-run"], "leave out --dry-run", id="pack and dry-run"),
    pytest.param(["--uninstall", "--schedule", "cron"], "--uninstall has no --schedule", id="uninstall and schedule"),
])
def test_a_wrong_command_line_is_refused_by_its_word(words, complaint):
    with pytest.raises(UsageError, match=complaint):
        read_arguments(words)


def test_a_root_that_is_not_there(product, tmp_path):
    with pytest.raises(UsageError, match="--root nowhere: there is no such directory"):
        main(["--root", "nowhere"], product, str(tmp_path), run=Programs(), uid=ME)
