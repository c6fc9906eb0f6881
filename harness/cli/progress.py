"""What a person sees while a run goes on: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, Self

from rich.progress import Progress as Bar
from rich.progress import ProgressColumn, SpinnerColumn, Task
from rich.progress_bar import ProgressBar
from rich.text import Text

from harness.estimate import Pace, about, clock
from harness.execution.protocol import Progress
from harness.report.console import Console
from harness.text import one_line, visible
from harness.waits import Wait, heard_by

PHASES = {
    "build": "building the workload",
    "warmup": "warm-up, untimed",
    "baseline": "baseline, without profiler",
    "wait": "profiler waits",
    "profiler_warmup": "profiler warms up",
    "active": "recording",
    "unrecorded": "steps without profiler",
    "exit_barrier": "waiting for the other ranks",
    "drain": "writing what was recorded",
    "analyse": "analysis by torch_npu",
    "done": "ending its process",
}

_UNEVEN: Final = frozenset({"build", "warmup", "exit_barrier", "drain", "done"})
"""Phases of a run whose pace says nothing of the steps that are left."""
_BAR: Final = 14
"""Characters of the bar."""
_SIGN: Final = 5
"""Characters of the moving sign, and between the columns."""
_LEAST: Final = 12
"""Of the words."""
LONG_S: Final = 2.0
"""How long something takes before it is said in a pipe."""
_MB: Final = 1_000_000

_CHATTER = re.compile(
    r"^(USDT|INFO|STAGE|WARNING):\d{4}-\d\d-\d\d "  # Kineto's
    # torch_npu's, with what its own progress bar has left on the line; a backspace is shown as text
    r"|^([-|/\\\s]|\[U\+0008\])*\[\d{4}-\d\d-\d\d [\d:]+\] \[INFO\]"
    r"|NPUCachingAllocator.cpp.*32 padding size"
    # torch_npu warns of "=" in a path, as folders of a sweep's jobs have it, and goes on
    r"|_path_manager.py:\d+: UserWarning: Invalid input path: "
    r"|^  warnings\.warn\(msg\)$"
)
"""What only harness.log keeps; errors and warnings are shown."""

_RANK = re.compile(r"^\[rank\d+\]: ")

_SPINNER = re.compile(r"^([-|/\\\s]|\[U\+0008\])+(?=\[\d{4}-)")


class ConsoleProgress:
    """A `harness.execution.process.ProgressListener` that shows progress on stderr.

    Shows also what says of itself that it takes a while (`harness.waits`).
    """

    lends_streams = True
    """A program of the user's has the terminal."""

    def __init__(
        self,
        console: Console,
        *,
        beside_program: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show a bar on a terminal; beside a program, which has the terminal, one line a phase."""
        self.console = console
        self.prefix = "harness: " if beside_program else ""
        self.clock = clock
        self.is_plain = beside_program or not console.is_terminal
        self.bar = Bar(
            SpinnerColumn("line", style="none"),
            _Words(console, clock),
            _KnownLength(),
            _HowFar(clock),
            console=console,
            transient=True,
            disable=self.is_plain,
        )
        self.shown = Shown("", Pace(clock(), 0))
        self.task = self.bar.add_task("", total=None, shown=self.shown, visible=False)
        self.late: threading.Timer | None = None
        self.heard = ExitStack()

    def __enter__(self) -> Self:
        self.bar.start()
        self.heard.enter_context(heard_by(self.waiting))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.heard.close()
        self._cancel()
        self.bar.stop()

    def progress(self, progress: Progress) -> None:
        """Move the bar; in a pipe, say each phase once."""
        words = PHASES.get(progress.phase) or one_line(progress.phase)
        unit = "captures" if progress.phase == "analyse" else "steps"
        begins = words != self.shown.words
        # One capture is of unknown length.
        total = progress.total if progress.total > 1 else None
        self._show(words, progress.done, total, unit)
        self.shown.is_even = progress.phase not in _UNEVEN
        if self.is_plain and begins:
            self._cancel()
            self._say(f"{words} ({progress.done} of {progress.total} {unit} done)")

    def waiting(self, wait: Wait | None) -> None:
        """Show what takes a while; in a pipe, say it once, and only if it takes long."""
        if wait is None:
            self._cancel()
            self.bar.update(self.task, visible=False)
            self.shown.words = ""
            return
        words = one_line(wait.what)
        begins = words != self.shown.words
        self._show(words, wait.done, wait.total, wait.unit, one_line(wait.part))
        if self.is_plain and begins:
            self._cancel()
            self.late = threading.Timer(LONG_S, self._say, [words])
            self.late.daemon = True
            # Where the system grants no thread, nothing is said.
            with suppress(RuntimeError):
                self.late.start()

    def output(self, line: str) -> None:
        """Pass on what the workload prints."""
        if not _CHATTER.search(_RANK.sub("", line)):
            line = _SPINNER.sub("", line)
            self.console.print(Text.assemble(("│", "dim"), " ", visible(line)), soft_wrap=True)

    def _show(self, words: str, done: int, total: int | None, unit: str, part: str = "") -> None:
        now = self.clock()
        if words != self.shown.words:
            self.shown = Shown(words, Pace(now, done))
        shown = self.shown
        shown.pace.take(done, now)
        shown.done, shown.total, shown.unit = done, total, unit
        self.bar.update(self.task, description=part or words, shown=shown, visible=True)

    def _say(self, words: str) -> None:
        self.console.print(self.prefix + words, soft_wrap=True)

    def _cancel(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None


class Shown:
    """What the bar shows of one phase."""

    def __init__(self, words: str, pace: Pace) -> None:
        self.words = words
        self.pace = pace
        self.done = 0
        self.total: int | None = None
        self.unit = ""
        self.is_even = True
        """Whether what was done tells how long the rest takes."""


class _Words(ProgressColumn):
    """What is done, cut where the line is too short for it and the figures."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        super().__init__()
        self.console, self.clock = console, clock

    def render(self, task: Task) -> Text:
        shown: Shown = task.fields["shown"]
        bar = _BAR + 1 if shown.total is not None else 0
        others = _SIGN + bar + len(how_far(shown, self.clock()))
        text = Text(task.description, no_wrap=True)
        text.truncate(max(self.console.width - others, _LEAST), overflow="ellipsis")
        return text


class _KnownLength(ProgressColumn):
    """A bar where a total is known."""

    def render(self, task: Task) -> ProgressBar | Text:
        shown: Shown = task.fields["shown"]
        if shown.total is None:
            return Text("")
        # Colours are for verdicts.
        return ProgressBar(
            total=max(shown.total, 1),
            completed=shown.done,
            width=_BAR,
            style="dim",
            complete_style="none",
            finished_style="none",
        )


class _HowFar(ProgressColumn):
    """How much is done, how long it has taken, and how long it still takes, if that is known."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock = clock

    def render(self, task: Task) -> Text:
        return Text(how_far(task.fields["shown"], self.clock()), no_wrap=True)


def how_far(shown: Shown, now_s: float) -> str:
    """Return the figures beside a bar."""
    parts = [clock(now_s - shown.pace.began_s)]
    if shown.total is not None:
        parts.insert(0, _counted(shown.done, shown.total, shown.unit))
        left_s = shown.pace.left_s(shown.total, now_s) if shown.is_even else None
        if left_s is not None:
            parts.append(about(left_s))
    return ", ".join(parts)


def _counted(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{done / _MB:,.0f} of {total / _MB:,.0f} MB"
    return f"{done:,} of {total:,} {unit}"


def headline(console: Console, number: int, total: int, text: str, note: str = "") -> None:
    """Print which job begins, and how far the sweep is."""
    parts = [(f"\njob {number + 1} of {total}", "bold"), ("  " + one_line(text), "")]
    if note:
        parts.append(("  " + one_line(note), "dim"))
    console.print(Text.assemble(*parts), soft_wrap=True)
