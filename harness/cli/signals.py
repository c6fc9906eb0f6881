"""Ctrl-C: the end at once, or an exception where a run must be closed.

An exception would not do while nothing is open: raised inside an import or at the interpreter's
end, it can be lost, or come with a traceback.
"""

from __future__ import annotations

import atexit
import os
import signal


def begin() -> None:
    """Set up the signals of a command that begins."""
    # Python's own last steps would die of Ctrl-C in silence; by then, all is done.
    atexit.register(_ignore)
    end_at_once()


def end_at_once() -> None:
    """Let Ctrl-C end the process with one line and exit code 130.

    A signal that is ignored, or that someone else handles, stays as it is.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def raise_instead() -> None:
    """Undo `end_at_once`, as soon as there is something to close: it raises an exception again."""
    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _ignore() -> None:
    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupted(_number: int, _frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)
