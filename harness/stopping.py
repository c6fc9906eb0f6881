"""Signals that stop a command: an exception of our own, which waits where it would do harm.

Loaded before anything else, so that the first moments of a command can be interrupted, too.
"""

from __future__ import annotations

import signal
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what schedulers send; what a terminal that is closed sends."""


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop. A workload that raises KeyboardInterrupt itself has failed."""


_RETRY_S = 0.02


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `Interrupted`: a handler of signals.

    Not within polars, which calls Python from Rust, where an exception is a panic: a little later.
    """
    if not _inside("polars", frame):
        raise Interrupted
    import os
    import threading

    threading.Timer(_RETRY_S, os.kill, (os.getpid(), number)).start()


def _inside(package: str, frame: FrameType | None) -> bool:
    """Tell whether a frame, or one that called it, is a package's."""
    while frame:
        # Code that `exec` runs may have anything as its name, or none.
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            return True
        frame = frame.f_back
    return False


class Held:
    """Lets signals that stop wait for the end of a block; then their handlers are called.

    Only those with a handler wait; outside the main thread, which gets the signals, none does.
    """

    def __enter__(self) -> None:
        import threading

        self._waiting: list[int] = []
        self._handlers = {}
        if threading.current_thread() is not threading.main_thread():
            return
        before = {number: signal.getsignal(number) for number in STOPS}
        self._handlers = {number: before[number] for number in STOPS if callable(before[number])}
        for number in self._handlers:
            signal.signal(number, self._wait)

    def _wait(self, number: int, _frame: FrameType | None) -> None:
        self._waiting.append(number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for waiting in self._waiting:
            signal.raise_signal(waiting)
