"""One run that this process records of its own loop: begun, stepped through, ended, left on disk.

The record on disk is true at every moment; its verdict is pending until the run was read.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from msgspec.structs import replace

from harness import steps as marks
from harness.errors import HarnessError, Problem, RecorderError, refuse
from harness.execution.plan import plan
from harness.execution.program import end_of, recorded
from harness.execution.program_steps import ProgramSteps
from harness.execution.protocol import Outcome, Plan
from harness.execution.raised import described, traceback_of
from harness.execution.step_sources import is_compiling
from harness.pipeline.own_run import OpenRun, open_run
from harness.settings.ranks import Rank, rank_of
from harness.settings.request import Request

_OPEN: Final = threading.Lock()
"""Held by the recording that goes on: torch runs one profiler at a time."""
_FORKED: Final[list[ExitStack]] = []
"""Of a copy of the process: what belongs to the original, and must not be ended here."""


class Asked(NamedTuple):
    """What a run is asked for."""

    request: Request
    overrides: tuple[str, ...]
    """As they were given."""


class Marking(NamedTuple):
    """Who says where a step begins and ends."""

    counted: str
    """What the steps are, in one phrase."""
    none_made: str
    """Why there is none, and what to do."""
    more: str
    """How there are more."""
    begins: bool
    """Whether the first one begins with the run."""


MARKED: Final = Marking(
    "calls of step()",
    "the block never called step() in the thread that began it: call step() where each of its steps"
    " ends, or set workload.step=whole, which makes the block one step",
    "let it make more",
    begins=True,
)
"""The program, by ``step()``: from one to the next."""
TRAINED: Final = Marking(
    "steps of the trainer",
    "the training made no whole step: look whether it began, or set workload.step=whole, which"
    " makes the training one step",
    "train for more",
    begins=False,
)
"""A trainer, which says when a step begins and when it ends."""


class OwnRecording:
    """Records the steps of the calling program, in a run folder."""

    def __init__(
        self,
        asked: Asked,
        folder: Path,
        on_failure: Callable[[HarnessError], None],
        marking: Marking = MARKED,
    ) -> None:
        """Make one; nothing happens before `begin`.

        Args:
            asked: The settings.
            folder: The run folder, absolute.
            on_failure: Called with a failure of the profiler or the recorder, when it happens; what
                it raises passes through the call that failed.
            marking: Who says where a step begins and ends.
        """
        self._asked = asked
        self._plan = in_this_process(plan(asked.request, folder, this_rank()))
        self._on_failure = on_failure
        self._marking = marking
        self._is_one_step = asked.request.workload.is_one_step
        self._process = os.getpid()
        self._closing = ExitStack()
        self._run: OpenRun | None = None
        self._steps: ProgramSteps | None = None
        self.folder = folder
        """The run folder, absolute."""

    def begin(self) -> None:
        """Begin the run, and its first step where it begins with the run.

        Raises:
            RecorderError: Another profile or profiler is open in this process.
            RefusedError: The settings do not fit the thread; or another run goes on in the folder.
            WriteError: The folder cannot be written into.
        """
        refuse(_limits_outside_the_main_thread(self._asked.request))
        with ExitStack() as closing:
            closing.enter_context(only_one())
            refuse_other_profilers()
            opened = open_run(self._asked.request, self._plan, overrides=self._asked.overrides)
            self._run = closing.enter_context(opened)
            self._steps = ProgramSteps(self._plan, report_failure=self._on_failure)
            self._steps.counted = self._marking.counted
            self._closing = closing.pop_all()
        if self._marking.begins or self._is_one_step:
            with ExitStack() as leaving:
                leaving.push(self._leave)
                self._steps.begin()
                leaving.pop_all()

    def _leave(
        self,
        _kind: type[BaseException] | None,
        raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End a run whose first step cannot begin, so that another one can."""
        self.end(raised)

    @property
    def steps(self) -> ProgramSteps | None:
        """The steps so far; None before the beginning."""
        return self._steps

    def step(self) -> None:
        """End a step, and begin the next; nothing where the block is one step, or compiled."""
        if self._steps is not None and not self._is_one_step and not is_compiling():
            self._steps.tick()

    def begin_step(self) -> None:
        """Begin a step, where a trainer says so; nothing where all of it is one step."""
        if self._steps is not None and not self._is_one_step:
            self._steps.begin()

    def end_step(self) -> None:
        """End the open step, if there is one; nothing where all of it is one step."""
        if self._steps is not None and not self._is_one_step:
            self._steps.end()

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Name a part of the step."""
        if self._steps is None or is_compiling():
            return nullcontext()
        return self._steps.stage(name)

    def end(self, raised: BaseException | None = None) -> bool:
        """End the run, and leave it recorded; `raised` is what ended the program's block, if any.

        Return whether it can be read now: a copy of the process, which was forked, has no run.

        Raises:
            WriteError: The disk is full, or the like. The record says so.
        """
        steps, run = self._steps, self._run
        if os.getpid() != self._process:
            _FORKED.append(self._closing)
            return False
        if steps is None or run is None:
            return False
        self._run = None
        misplaced = _joined_later(self._plan)
        with self._closing:
            if self._is_one_step and not _has_failed(raised):
                steps.end()
            steps.close()
            outcome = self._outcome(steps, raised)
            if misplaced and outcome.status == "ok":
                outcome = replace(outcome, status="failed", reason=misplaced)
            run.outcome = recorded(outcome, steps)
        if misplaced:
            self._on_failure(RecorderError(misplaced))
        return True

    def _outcome(self, steps: ProgramSteps, raised: BaseException | None) -> Outcome:
        short = "" if steps.needed <= steps.made else self._why_short(steps)
        end = end_of(steps, short)
        if isinstance(raised, KeyboardInterrupt):
            return Outcome(status="interrupted", reason="interrupted", program=end)
        if raised is None or not _has_failed(raised):
            return Outcome(status="ok", program=end)
        if isinstance(raised, HarnessError):
            return Outcome(status="failed", reason=str(raised), program=end)
        trace = traceback_of(raised, raised.__traceback__)
        reason = f"the program raised {described(raised)}"
        return Outcome(status="failed", reason=reason, traceback=trace, program=end)

    def _why_short(self, steps: ProgramSteps) -> str:
        if self._is_one_step:
            return "the block ended before its one step was whole"
        if not steps.made:
            return self._marking.none_made
        return (
            f"the block made {steps.made:,} whole steps ({steps.counted}), and the schedule needs"
            f" {steps.needed:,} with warm-up and baseline: {self._marking.more}, or set"
            " workload.warmup_steps=0 profiler.baseline.steps=0 and a shorter profiler.schedule"
        )


def in_this_process(planned: Plan) -> Plan:
    """Return a plan for the process that makes it: its variables are what they are."""
    return replace(planned, recording=replace(planned.recording, environment={}))


def this_rank() -> Rank:
    """Return which rank this process is: by its process group, else by its environment."""
    return _rank_in_group() or rank_of(os.environ)


def _rank_in_group() -> Rank | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        return Rank(rank=distributed.get_rank(), world_size=distributed.get_world_size())
    return None


def _joined_later(planned: Plan) -> str:
    """Say that the process became another rank within the block than it was recorded as."""
    group, recording = _rank_in_group(), planned.recording
    if group is None or (group.rank, group.world_size) == (recording.rank, recording.world_size):
        return ""
    return (
        f"this is rank {group.rank} of {group.world_size}, and it is recorded as rank"
        f" {recording.rank} of {recording.world_size}, since init_process_group() was called within"
        " the block: begin the profile after it"
    )


@contextmanager
def only_one() -> Iterator[None]:
    """Keep a second recording from beginning in this process."""
    if not _OPEN.acquire(blocking=False):
        raise RecorderError(
            "another harness.profile(), or a window of a harness.Session, is open in this process,"
            " and torch runs one profiler at a time: end that one first, by its stop() or by"
            " harness.stop()"
        )
    try:
        yield
    finally:
        _OPEN.release()


def refuse_other_profilers() -> None:
    """Raise `RecorderError` where something records in this process already."""
    if marks.are_counted():
        raise RecorderError(
            "python -m harness … -- runs this program, and records it already: run it without the"
            " command, or take harness.profile() out"
        )
    # Without torch there is no profiler yet.
    if "torch" in sys.modules:
        from harness.execution.recorder import Recorder

        Recorder.refuse_others()


def _limits_outside_the_main_thread(request: Request) -> list[Problem]:
    profiler = request.profiler
    limits = {
        "profiler.max_seconds": profiler.max_seconds,
        "profiler.max_memory_gib": profiler.max_memory_gib,
    }
    if (
        not request.workload.is_one_step
        or threading.current_thread() is threading.main_thread()
        or not any(limits.values())
    ):
        return []
    return [
        Problem(
            setting=name,
            given=f"{value:g}",
            reason="a window over a whole block is ended by a signal, which only the main thread"
            " gets, and this is another",
            fix=f"{name}=null, or workload.step=marked and step()",
        )
        for name, value in limits.items()
        if value is not None
    ]


def _has_failed(raised: BaseException | None) -> bool:
    """Tell whether an exception is more than the end of the program."""
    if isinstance(raised, SystemExit):
        return raised.code not in {None, 0}
    return raised is not None
