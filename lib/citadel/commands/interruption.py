"""What runs until the operator ends it: `monitor` and `logs --follow`."""

import os
import select
import signal
from contextlib import contextmanager


@contextmanager
def interruption():
    """Ctrl-C and SIGTERM as the end of a pause, and no exception anywhere else. Gives `pause(seconds)`, which waits so
    long, or until a signal arrives, and is False once one has."""
    arrived, sender = os.pipe()
    os.set_blocking(sender, False)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(sender)
    try:
        yield lambda seconds: not select.select([arrived], [], [], seconds)[0]
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(arrived)
        os.close(sender)
