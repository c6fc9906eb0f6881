"""The limits of a window over a whole program: seconds, and memory that is added."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

_PERIOD_S: Final = 0.1
_GIB: Final = 1 << 30
_SIGNAL: Final = signal.SIGRTMAX - 1
"""Calls the main thread, which alone may stop the profiler; programs hardly use it."""


class WindowLimits:
    """Calls `cut` in the main thread when a limit is reached, with the reason."""

    def __init__(
        self, seconds: float | None, memory_gib: float | None, cut: Callable[[str], None]
    ) -> None:
        self._seconds = seconds
        self._memory_gib = memory_gib
        self._cut = cut
        self._ended = threading.Event()
        self._reason = ""
        self._watching: threading.Thread | None = None
        self._before: Any = None
        """The handler that the program has for the signal."""

    def begin(self) -> None:
        """Watch the limits from now on."""
        if self._seconds is None and self._memory_gib is None:
            return
        self._before = signal.signal(_SIGNAL, self._called)
        self._watching = threading.Thread(target=self._watch, name="harness-limits", daemon=True)
        self._watching.start()

    def end(self) -> None:
        """Watch no longer, and give the signal back; only the main thread can do that."""
        self._ended.set()
        watching, self._watching = self._watching, None
        if watching is None or threading.current_thread() is not threading.main_thread():
            return
        # A signal of its own that came later would end the process.
        watching.join()
        if self._before is not None:
            signal.signal(_SIGNAL, self._before)

    def _watch(self) -> None:
        start, before = time.monotonic(), resident_bytes()
        while not self._ended.wait(_PERIOD_S):
            added = (resident_bytes() - before) / _GIB
            if self._seconds is not None and time.monotonic() - start > self._seconds:
                self._reason = f"profiler.max_seconds={self._seconds:g}"
            elif self._memory_gib is not None and added > self._memory_gib:
                self._reason = f"profiler.max_memory_gib={self._memory_gib:g}"
            else:
                continue
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            return

    def _called(self, _number: int, _frame: FrameType | None) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._cut(self._reason)


def resident_bytes() -> int:
    """Return the memory of this process that is in use, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
