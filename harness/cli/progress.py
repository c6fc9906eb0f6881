"""What a person sees while a run goes on: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from harness.execution.protocol import Progress
from harness.report.console import Console
from harness.text import one_line, visible

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
    "done": "done",
}

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
    """A `harness.execution.process.ProgressListener` that shows progress on stderr."""

    lends_streams = True
    """A program of the user's has the terminal."""

    def __init__(self, console: Console, *, beside_program: bool = False) -> None:
        """Show a bar on a terminal; beside a program, which has the terminal, one line a phase."""
        self.console = console
        self.prefix = "harness: " if beside_program else ""
        self.phase = ""
        self.bar = Bar(
            TextColumn("{task.description:<26}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=beside_program or not console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=None, unit="steps")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def progress(self, progress: Progress) -> None:
        """Move the bar; in a pipe, say each phase once."""
        words = PHASES.get(progress.phase) or one_line(progress.phase)
        unit = "captures" if progress.phase == "analyse" else "steps"
        self.bar.update(
            self.task,
            description=words,
            completed=progress.done,
            total=progress.total,
            unit=unit,
        )
        if self.bar.disable and progress.phase != self.phase:
            self.console.print(
                f"{self.prefix}{words} ({progress.done} of {progress.total} {unit} done)"
            )
        self.phase = progress.phase

    def output(self, line: str) -> None:
        """Pass on what the workload prints."""
        if not _CHATTER.search(_RANK.sub("", line)):
            line = _SPINNER.sub("", line)
            self.console.print(Text.assemble(("│", "dim"), " ", visible(line)), soft_wrap=True)


def headline(console: Console, number: int, total: int, text: str, note: str = "") -> None:
    """Print which job begins, and how far the sweep is."""
    parts = [(f"\njob {number + 1} of {total}", "bold"), ("  " + one_line(text), "")]
    if note:
        parts.append(("  " + one_line(note), "dim"))
    console.print(Text.assemble(*parts), soft_wrap=True)
