"""No unit test acts on the host that runs it (tests/support/guard.py)."""

import guard
import pytest

from citadel.core import log


@pytest.fixture(scope="session", autouse=True)
def no_journal():
    """Our entries go nowhere; a test that reads them sets log.JOURNAL to a socket of its own."""
    before, log.JOURNAL = log.JOURNAL, "/nonexistent/journal"
    guard.begin()
    yield
    guard.end()
    log.JOURNAL = before


@pytest.fixture(autouse=True)
def host_is_left_alone():
    yield
    guard.check()
