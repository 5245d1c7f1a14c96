"""Signals and stop buttons: the first lets the step end and writes a checkpoint, the second stops at once."""

from __future__ import annotations

import signal
import threading

from blipvqa.errors import UserError

NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last is Ctrl-Break, and what Windows sends instead of SIGTERM
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Stopped(UserError, KeyboardInterrupt):
    """Training was asked to stop and has written a checkpoint; the message says how to go on.

    A KeyboardInterrupt, so that Jupyter runs no further cell and a shell sees that the run did not end.
    """


class Interrupts:
    """While this context lasts, `SIGNALS` are noted in `received`: Ctrl-C, Jupyter's stop button, a request to end."""

    received = ""

    def __enter__(self) -> Interrupts:
        # Python allows handlers in the main thread only; elsewhere nothing is caught, and nothing breaks
        catch = threading.current_thread() is threading.main_thread()
        self.before = {number: signal.signal(number, self._note) for number in SIGNALS} if catch else {}
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _note(self, number: int, _frame) -> None:
        self.received = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
