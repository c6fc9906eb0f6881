"""Which line of the user's own code runs when, in the thread that makes the steps.

torch's profiler knows the line where a function begins, and not the line that runs. Here Python's
own tracing does (`sys.settrace`), of those functions alone that are outside torch, Python's library
and installed packages; all other calls cost the question whether they are (some 0.1 us each).
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import threading
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

import polars as pl

from harness import tables
from harness.execution.protocol import NO_LINES

MOST: Final = 4_000_000
"""Entries that are kept, of 16 bytes; then no more lines are recorded."""
_LINE_BITS: Final = 24
_CALL: Final = -1
_RETURN: Final = -2
_STOP: Final = -3

_GENERATED: Final = ("/site-packages/", "/dist-packages/", "/torchinductor_")
"""In the names of files that are installed, or that torch.compile writes."""
_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"


class Segment(NamedTuple):
    """A time in which one line was the innermost of the user's code."""

    start_ns: int
    duration_ns: int
    code: int
    """Its place among the codes."""
    line: int


_Tracer = Callable[[FrameType, str, Any], Any]


class LineTrace:
    """Records lines between `start` and `stop`, which one thread calls; may start again."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """Take a clock that returns unix nanoseconds."""
        self.codes: list[CodeType] = []
        self._obstacle = ""
        self._clock = clock
        self._tracers: dict[int, _Tracer | None] = {}  # by the id of a code
        self._kept: list[CodeType] = []  # so that no other code gets its id
        self._global: _Tracer = self._called
        self._log = array("q")  # a time and what happened then, in turn
        self._thread: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Say why lines are missing, if some are."""
        return (f"{NO_LINES}{self._obstacle}",) if self._obstacle else ()

    def start(self) -> None:
        """Begin to record. Where another one traces (a debugger, coverage), nothing is recorded."""
        if sys.gettrace() is not None:
            self._obstacle = "another tracer was active, such as a debugger or coverage.py"
            return
        if len(self._log) >= 2 * MOST:
            self._obstacle = f"the lines changed more than {MOST:,} times, and no more are kept"
            return
        now = self._clock()
        for frame in reversed(list(_frames(sys._getframe(1)))):  # noqa: SLF001 - no other way
            tracer = self._tracer(frame.f_code)
            if tracer is not None:
                frame.f_trace = tracer
                self._log.extend((now, _CALL))
                tracer(frame, "line", None)
        self._thread = threading.get_ident()
        sys.settrace(self._global)

    def stop(self) -> None:
        """End recording; again, do nothing. Another thread than that of `start` may call it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._log.extend((self._clock(), _STOP))
        if thread != threading.get_ident():
            return  # That one ends its tracing where its next line begins.
        if sys.gettrace() is self._global:
            sys.settrace(None)
        else:
            self._obstacle = "another tracer took over, such as a debugger or coverage.py"
        for frame in _frames(sys._getframe(1)):  # noqa: SLF001
            if frame.f_trace is not None and frame.f_trace is self._tracers.get(id(frame.f_code)):
                frame.f_trace = None

    def segments(self) -> Iterator[Segment]:
        """Yield when which line was innermost, in order."""
        open_lines: list[int] = []
        begun = 0
        log = iter(self._log)
        current: int | None = None
        for time, event in zip(log, log, strict=True):
            if event == _CALL:
                open_lines.append(_CALL)
            elif event == _RETURN:
                if open_lines:
                    open_lines.pop()
            elif event == _STOP:
                open_lines.clear()
            elif open_lines:
                open_lines[-1] = event
            innermost = open_lines[-1] if open_lines and open_lines[-1] >= 0 else None
            if event == _CALL:
                continue  # Its first line follows.
            if innermost != current:
                if current is not None and time > begun:
                    yield _segment(begun, time, current)
                begun, current = time, innermost

    def _tracer(self, code: CodeType) -> _Tracer | None:
        """Return what is called at each line of a code; None if the code is not the user's."""
        # By the object: Python computes the hash of a code anew each time.
        key = id(code)
        if key not in self._tracers:
            self._kept.append(code)
            self._tracers[key] = self._new_tracer(code) if is_own(code.co_filename) else None
        return self._tracers[key]

    def _new_tracer(self, code: CodeType) -> _Tracer:
        base = len(self.codes) << _LINE_BITS
        self.codes.append(code)
        # Local names: this runs at each line.
        clock, log, add, most = self._clock, self._log, self._log.append, 2 * MOST

        def tracer(frame: FrameType, event: str, _: object) -> _Tracer:
            if event == "line":
                add(clock())
                add(base | frame.f_lineno)
                if len(log) >= most:
                    self.stop()
            elif event == "return":
                add(clock())
                add(_RETURN)
            return tracer

        return tracer

    def _called(self, frame: FrameType, event: str, argument: object) -> _Tracer | None:
        del event, argument
        if self._thread is None:
            sys.settrace(None)
            return None
        try:
            tracer = self._tracers[id(frame.f_code)]
        except KeyError:
            tracer = self._tracer(frame.f_code)
        if tracer is not None:
            self._log.append(self._clock())
            self._log.append(_CALL)
        return tracer


def _segment(start: int, end: int, event: int) -> Segment:
    return Segment(start, end - start, event >> _LINE_BITS, event & ((1 << _LINE_BITS) - 1))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def table(trace: LineTrace, rank: int) -> pl.DataFrame:
    """Return the recorded lines as the table `lines`."""
    segments = list(trace.segments())
    names = {number: _named(trace.codes[number]) for number in {part.code for part in segments}}
    texts: Mapping[tuple[int, int], str] = {
        key: linecache.getline(trace.codes[key[0]].co_filename, key[1]).strip()
        for key in {(part.code, part.line) for part in segments}
    }
    return tables.frame(
        "lines",
        {
            "rank": pl.repeat(rank, len(segments), dtype=pl.Int32, eager=True),
            "start_ns": [part.start_ns for part in segments],
            "duration_ns": [part.duration_ns for part in segments],
            "file": [names[part.code][0] for part in segments],
            "line": [part.line for part in segments],
            "function": [names[part.code][1] for part in segments],
            "text": [texts[part.code, part.line] for part in segments],
        },
    )


def _named(code: CodeType) -> tuple[str, str]:
    return shortened(code.co_filename), code.co_qualname


def shortened(file: str) -> str:
    """Return a file's name relative to where Python finds modules, as torch's stacks have it."""
    folders = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100 - "" is the current one
    holders = [folder for folder in folders if file.startswith(folder + os.sep)]
    return file[len(max(holders, key=len)) + 1 :] if holders else file


@cache
def is_own(file: str) -> bool:
    """Tell whether a file is the user's own: not of torch, Python, a package, or the harness."""
    if file.startswith("<") and not file.startswith(("<ipython", "<stdin")):
        return False
    if any(part in file for part in _GENERATED):
        return False
    if file.startswith(_PACKAGE):
        return file.startswith(f"{_PACKAGE}workloads{os.sep}")
    return not file.startswith(_foreign())


@cache
def _foreign() -> tuple[str, ...]:
    """Return the folders of Python's own library, of installed packages and of torch."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [Path(sysconfig.get_path(name)) for name in names]
    folders.append(Path(os.__file__).parent)
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__:
        folders.append(Path(torch.__file__).parent)
    return tuple(f"{folder}{os.sep}" for folder in folders)
