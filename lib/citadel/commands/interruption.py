"""What runs until the operator ends it: `monitor` and `logs --follow`."""

import os
import select
import signal


class Interruption:
    """Ctrl-C and SIGTERM as the end of a pause, and no exception anywhere else."""

    def __enter__(self):
        self._arrived, self._sender = os.pipe()
        os.set_blocking(self._sender, False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        self._wakeup = signal.set_wakeup_fd(self._sender)
        return self

    def __exit__(self, *_):
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._arrived)
        os.close(self._sender)

    def pause(self, seconds):
        """Waits this many seconds, or until a signal arrives; False once one has."""
        return not select.select([self._arrived], [], [], max(0.0, seconds))[0]
