"""An interrupt reaches all jobs of a sweep by a file, since they may run in other processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from harness.errors import ExitCode
from harness.paths import SweepFolder
from harness.stopping import STOPS, interrupt

_POLL_S: Final = 0.2
_marked: set[Path] = set()
"""The sweeps that this process has marked."""
_working = threading.Lock()
"""Held while this process runs a job for another one."""
_leavers: set[int] = set()
"""The process that leaves once its parent is gone, if it is this one: a fork has no threads."""
_Handler = Callable[[int, FrameType | None], None]


def mark(sweep: Path) -> None:
    """Let no further job of the sweep begin, and end those that run in other processes."""
    _marked.add(sweep.absolute())
    # On a full disk, the others are not told; those that run here are.
    with suppress(OSError):
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(SweepFolder(sweep).interrupted, flags, 0o666))


def marked(sweep: Path) -> bool:
    """Tell whether the sweep was interrupted."""
    return sweep.absolute() in _marked or SweepFolder(sweep).interrupted.exists()


def clear(sweep: Path) -> None:
    """Forget the interrupt of an earlier run of the sweep."""
    _marked.discard(sweep.absolute())
    SweepFolder(sweep).interrupted.unlink(missing_ok=True)


_STOPPING: Final = "stopping: running jobs write down what they have; once more ends them at once"


@contextmanager
def first_marks(
    sweep: Path, report: Callable[[str], None], said: str = _STOPPING
) -> Iterator[None]:
    """Let the first signal that stops mark the sweep, so that its jobs end cleanly.

    `report` is called then, with what is to be `said`. The second signal raises `Interrupted`.
    """

    def first(number: int, frame: FrameType | None) -> None:
        if marked(sweep):
            interrupt(number, frame)
        mark(sweep)
        report(said)

    with _handlers(dict.fromkeys(_not_ignored(), first)):
        yield


@contextmanager
def obeyed(sweep: Path) -> Iterator[None]:
    """Interrupt this process, which runs one job of the sweep, once the sweep is marked.

    Ctrl-C in a terminal, or its end, reaches this process, too; that is left to the process which
    marks the sweep, since a job ends at once if it is interrupted twice. If that process dies, the
    job is interrupted, too, and this process ends.
    """

    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Do nothing. SIG_IGN would be inherited by the workload."""

    handlers: dict[signal.Signals, _Handler] = {signal.SIGTERM: interrupt}
    # Else this is the process that marks the sweep.
    works_for_another = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if works_for_another:
        handlers |= {number: ignore for number in _not_ignored() if number != signal.SIGTERM}
        _leave_with_parent()
    parent = os.getppid()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            if marked(sweep) or (works_for_another and os.getppid() != parent):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    with _handlers(handlers), _working if works_for_another else nullcontext():
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _leave_with_parent() -> None:
    """Let this process end once its parent is gone, after its job: no other one will come."""
    if os.getpid() in _leavers:
        return
    _leavers.add(os.getpid())
    parent = os.getppid()

    def leave() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        with _working:
            os._exit(ExitCode.INTERRUPTED)

    threading.Thread(target=leave, daemon=True).start()


def _not_ignored() -> list[signal.Signals]:
    """Return the signals that stop; one that is ignored, as SIGHUP under nohup, stays so."""
    return [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def _handlers(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
