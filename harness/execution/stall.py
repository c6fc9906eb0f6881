"""A run whose steps do not end: noticed from outside, with what the other ranks have done.

Nothing is ended: a step may take that long. Where the process is, its own Python stack says.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from harness.execution.protocol import Plan, Progress
from harness.paths import RunFolder
from harness.workloads.program import Program

STACK_SIGNAL: Final = getattr(signal, "SIGRTMAX", 0) - 3
"""Lets a child print the stack of its main thread; negative where there is no such signal."""
_STEPS: Final = frozenset(
    ("warmup", "baseline", "wait", "profiler_warmup", "active", "unrecorded"),
)
"""The phases in which steps are made."""
_PERIOD_S: Final = 0.5
_OURS: Final = f'File "{Path(__file__).parent}'
_FIRST: Final = 'File "<string>", line 1 in <module>'
"""What starts a child."""


class StallWatch:
    """Watches the steps of one child process."""

    def __init__(self, plan: Plan) -> None:
        """Watch the run of a plan; never where `execution.stall_notice_s` is null."""
        recording, workload = plan.recording, plan.loop.workload
        self._folder = RunFolder(Path(plan.folder))
        self._rank, self._world_size = recording.rank, recording.world_size
        self._limit_s = plan.loop.execution.stall_notice_s
        if isinstance(workload, Program) and workload.is_one_step:
            self._limit_s = None
        self._makes_steps = self._was_told = False
        self._ended = 0
        self._moved = self._since = self._next = 0.0
        self._restart()

    def take(self, progress: Progress) -> None:
        """Take a word of the child: it has gone on."""
        self._makes_steps = progress.phase in _STEPS
        self._restart()

    def notice(self) -> str:
        """Say once for each stall that no step has ended, and who is behind; "" if all is well."""
        now = time.monotonic()
        if self._limit_s is None or not self._makes_steps or now < self._next:
            return ""
        self._next = now + _PERIOD_S
        ended = self._steps_of(self._rank)
        if ended != self._ended:
            self._ended = ended
            self._restart()
        if self._was_told or now - self._moved < self._limit_s:
            return ""
        self._was_told = True
        since = time.strftime("%H:%M:%S", time.localtime(self._since))
        return (
            f"{self._who()} ended no step since {since} ({self._limit_s:g} s), {ended} before;"
            f"{self._others(ended)} Ctrl-C ends the run and keeps what was recorded;"
            " execution.timeout_s=SECONDS does so by itself. It is here, innermost first:"
        )

    def _restart(self) -> None:
        self._was_told = False
        self._moved, self._since = time.monotonic(), time.time()
        self._next = self._moved + _PERIOD_S

    def _who(self) -> str:
        return "the run has" if self._world_size == 1 else f"rank {self._rank} has"

    def _others(self, ended: int) -> str:
        """Say which ranks are behind: those with the fewest steps."""
        if self._world_size == 1:
            return ""
        counts = [self._steps_of(rank) for rank in range(self._world_size)]
        counts[self._rank] = ended
        least = min(counts)
        behind = [str(rank) for rank, count in enumerate(counts) if count == least]
        if len(behind) == self._world_size:
            return (
                " all ranks are in the same step; where each is, which its harness.log keeps, tells"
                " who waits for whom."
            )
        return f" behind is rank {', '.join(behind)}, with {least}."

    def _steps_of(self, rank: int) -> int:
        """Count the steps that a rank has ended, warm-up and baseline included."""
        folder = self._folder if self._world_size == 1 else self._folder.of_job.rank(rank)
        try:
            return folder.steps.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0


def ask_for_stack(process: int, descriptor: int, pipe: os.stat_result) -> None:
    """Let a child write its stack into the pipe that its `descriptor` leads to.

    Does nothing where the child does not catch `STACK_SIGNAL`, of which it would die, or where its
    descriptor is another file by now.
    """
    place = Path(f"/proc/{process}")
    try:
        lines = (place / "status").read_text(encoding="utf-8").splitlines()
        is_ours = os.path.samestat((place / "fd" / str(descriptor)).stat(), pipe)
    except OSError:
        return
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    if is_ours and STACK_SIGNAL > 0 and int(caught, 16) >> (STACK_SIGNAL - 1) & 1:
        os.kill(process, STACK_SIGNAL)


def is_of_stack(line: bytes) -> bool:
    """Tell whether a line in the pipe is one of a stack, as `faulthandler` prints it."""
    return line.startswith((b"Stack (most recent call first):", b"  File ", b"  ..."))


def frame_of(line: bytes) -> str:
    """Return a frame of the workload's as text; "" for those of the harness that runs it."""
    text = line.decode(errors="replace").rstrip()
    return "" if _OURS in text or _FIRST in text or not text.startswith(" ") else text
