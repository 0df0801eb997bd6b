import os

from citadel.commands.interruption import Interruption


def test_an_interruption_ends_the_pause_and_nothing_else():
    with Interruption() as interruption:
        assert interruption.pause(0.001) is True
        os.kill(os.getpid(), 15)
        assert interruption.pause(60) is False
        assert interruption.pause(60) is False
