"""SIGKILL after any change of a directory: the next run completes what was begun."""

import os
import signal

import pytest
from installing import install, listing, write

CHANGING = ("mkdir", "rmdir", "rename", "unlink", "symlink")


def killed_after(calls, product, root, *words):
    """Whether install.py was killed: SIGKILL comes right after its `calls`-th change of a directory."""
    child = os.fork()
    if not child:
        left = [calls]

        def deadly(call):
            def change(*args, **more):
                call(*args, **more)
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
            return change
        for name in CHANGING:
            setattr(os, name, deadly(getattr(os, name)))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            os._exit(install(product, root, *words))
        finally:
            os._exit(99)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


@pytest.fixture
def host_root(root):
    """A root with the directories that every host has."""
    for path in ("/var/lib", "/usr/local", "/etc/cron.d", "/opt"):
        os.makedirs(root + path)
    return root


def inside(root):
    return {path[len(root):]: what[:2] for path, what in listing(root).items()}


def test_killed_after_any_change_the_next_run_completes_it_and_a_purge_removes_it(product, host_root):
    before = inside(host_root)
    install(product, host_root)
    complete = inside(host_root)
    calls, killed = 0, True
    while killed:
        install(product, host_root, "--uninstall", "--purge")
        assert inside(host_root) == before, calls
        calls += 1
        killed = killed_after(calls, product, host_root)
        assert install(product, host_root) == 0
        assert inside(host_root) == complete, calls
    assert calls > 50


@pytest.mark.parametrize("words", [[], ["--purge"]], ids=["uninstall", "purge"])
def test_an_uninstall_killed_after_any_change_is_completed_by_the_next(product, host_root, words):
    def prepare():
        install(product, host_root, "--schedule", "cron")
        write(host_root, "/opt/citadel/logs/api-gateway/service.log", "line\n")
        write(host_root, "/var/lib/citadel-recovery/incidents/1", "{}")
        write(host_root, "/opt/citadel/lib/citadel/__pycache__/errors.cpython-399.pyc", "")
    prepare()
    install(product, host_root, "--uninstall", *words)
    complete = inside(host_root)
    calls, killed = 0, True
    while killed:
        prepare()
        calls += 1
        killed = killed_after(calls, product, host_root, "--uninstall", *words)
        assert install(product, host_root, "--uninstall", *words) == 0
        assert inside(host_root) == complete, calls
    assert calls > 30
