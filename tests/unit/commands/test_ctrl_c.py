import os

from citadel.commands.interruption import interruption


def test_an_interruption_ends_the_pause_and_nothing_else():
    with interruption() as pause:
        assert pause(0.001) is True
        os.kill(os.getpid(), 15)
        assert pause(60) is False
        assert pause(60) is False
