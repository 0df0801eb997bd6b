"""Each pass writes to a journal of its own, and keeps its record in a place of its own."""

import os
import shutil
import tempfile

import pytest
from story import MEMORY, Journald

from citadel.core import log


@pytest.fixture(scope="module", autouse=True)
def journald():
    """No entry of these passes may reach the journal of the host that runs the tests."""
    directory, before = tempfile.mkdtemp(), log.JOURNAL
    receiver = Journald(os.path.join(directory, "socket"))
    log.JOURNAL = receiver.path
    yield receiver
    log.JOURNAL = before
    receiver.socket.close()
    shutil.rmtree(directory)


@pytest.fixture
def place():
    """In RAM, where there is a file system in it: a pass syncs its files some ten times."""
    directory = tempfile.mkdtemp(dir=MEMORY)
    yield directory
    shutil.rmtree(directory)
