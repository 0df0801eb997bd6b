"""A terminal that is drawn on live, and the person at it who presses Ctrl-C."""

import os
import select
import signal


class LiveLine:
    """The one line that is redrawn, on a terminal that can; nothing in a pipe."""

    def __init__(self, out, live):
        self._out, self._live = out, live

    def draw(self, text):
        if self._live:
            self._out.write("\r\x1b[K" + text())
            self._out.flush()

    def clear(self):
        self.draw(lambda: "")

    def print_above(self, text):
        self.clear()
        self._out.write(text + "\n")
        self._out.flush()


class Interruption:
    """Ctrl-C and SIGTERM as the end of a pause instead of an exception in the middle of something."""

    def __enter__(self):
        self._arrived, sender = os.pipe()
        os.set_blocking(sender, False)
        self._sender = sender
        self._before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        self._wakeup = signal.set_wakeup_fd(sender)
        return self

    def __exit__(self, *_):
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._arrived)
        os.close(self._sender)

    def pause(self, seconds):
        """Waits so long, or until a signal arrives; False once one has."""
        poll = select.poll()
        poll.register(self._arrived, select.POLLIN)
        return not poll.poll(max(0.0, seconds) * 1000)
