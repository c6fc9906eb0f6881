"""Signals that stop: the end at once, or an exception where a run must be closed.

An exception would not do while nothing is open: raised inside an import or at the interpreter's
end, it can be lost, or come with a traceback.
"""

from __future__ import annotations

import atexit
import os
import signal

from harness.stopping import STOPS, interrupt

_DEFAULT = (signal.SIG_DFL, signal.default_int_handler)


def begin() -> None:
    """Set up the signals of a command that begins."""
    # Python's own last steps would die of them in silence; by then, all is done.
    atexit.register(_ignore)
    end_at_once()


def end_at_once() -> None:
    """Let signals that stop end the process with one line and exit code 130.

    One that is ignored, as SIGHUP under nohup, or that someone else handles, stays as it is.
    """
    _replace((*_DEFAULT, interrupt), _end)


def raise_instead() -> None:
    """Undo `end_at_once`, as soon as there is something to close: they raise `Interrupted`."""
    _replace((_end,), interrupt)


def _ignore() -> None:
    _replace((_end,), signal.SIG_IGN)


def _replace(present: tuple[object, ...], handler: signal._HANDLER) -> None:
    for number in STOPS:
        if signal.getsignal(number) in present:
            signal.signal(number, handler)


def _end(_number: int, _frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)
