"""The steps of a program of the user's: which are unprofiled, which recorded, and their end.

What finds the steps is in `harness.execution.step_sources`. A failure of the profiler or of the
harness ends the recording, and never the program.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from harness.devices import TARGETS
from harness.errors import HarnessError, RecorderError
from harness.execution.load_watch import LoadWatch
from harness.execution.main_module import StopProgramError
from harness.execution.protocol import Plan, Progress, RecordingPlan, ReportProgress
from harness.execution.raised import described
from harness.execution.window_limits import WindowLimits
from harness.tables.machine_load import PhaseLoad

if TYPE_CHECKING:
    from harness.execution.recorder import Recorder, RecordingFacts

_OTHER_THREADS: Final = (
    "{count:,} more steps were made in other threads than the first, and are not counted: a"
    " profiler belongs to one thread"
)


def _unseen(_progress: Progress) -> None:
    """Show nothing."""


def _print_failure(error: HarnessError) -> None:
    # The program may have closed its streams.
    with suppress(Exception):
        print(f"harness: the recording has failed, the program goes on: {error}", file=sys.stderr)


class ProgramSteps:
    """Counts the steps of a program, and records those that the schedule names.

    The thread that makes the first step is the one whose steps count.
    """

    def __init__(
        self,
        plan: Plan,
        report_progress: ReportProgress = _unseen,
        report_failure: Callable[[HarnessError], None] = _print_failure,
        *,
        stops: bool = False,
        later: list[Callable[[], None]] | None = None,
    ) -> None:
        """Make the counter; nothing happens before the first step.

        Args:
            plan: What to record, and which steps before that.
            report_progress: Called when the phase changes.
            report_failure: Called with what ended the recording too soon; what it raises passes.
            stops: End the program after the last step, by `StopProgramError`.
            later: Gets what takes long to write, to be called when the recording has ended.
        """
        loop = plan.loop
        self._plan = plan
        self._is_one_step = loop.workload.is_one_step
        self._report_progress = report_progress
        self._report_failure = report_failure
        self._stops = stops
        self._later = later
        self._unprofiled = loop.workload.warmup_steps, loop.baseline.steps
        self._process = os.getpid()
        self._thread: int | None = None
        self._recorder: Recorder | None = None
        self._limits = WindowLimits(loop.max_seconds, loop.max_memory_gib, self._cut_window)
        self._load = _watch_of(plan, serves=later is not None)
        self._is_open = False
        self._phase = ""
        self._elsewhere = 0
        self._is_over = False
        self.needed = sum(self._unprofiled) + loop.steps
        """Steps until the end of the schedule."""
        self.made = 0
        """Whole steps so far."""
        self.counted = ""
        """What the steps are, in one phrase."""
        self.stages: dict[str, None] = {}
        """The names of their parts, in order."""
        self.failure: HarnessError | None = None
        """What ended the recording too soon."""
        self.facts: RecordingFacts | None = None
        self._cut = ""

    @property
    def counting(self) -> bool:
        """Whether steps are counted still."""
        return not self._is_over

    @property
    def machine_load(self) -> tuple[PhaseLoad, ...]:
        """Who used the cores while steps were timed."""
        torch = sys.modules.get("torch")
        return self._load.loads(torch.get_num_threads() if torch else None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the steps were counted."""
        other = _OTHER_THREADS.format(count=self._elsewhere) if self._elsewhere else ""
        return tuple(note for note in (self._cut, other) if note)

    def tick(self) -> None:
        """End the open step, if there is one; the next one begins."""
        self.end()
        self.begin()

    def begin(self) -> None:
        """Begin a step."""
        if self._is_mine():
            with self._program_goes_on():
                self._begin()
        elif not self._is_over and os.getpid() == self._process:
            self._elsewhere += 1

    def end(self) -> None:
        """End the open step, if there is one; after the last one, the recording."""
        if self._is_open and self._is_mine():
            with self._program_goes_on():
                self._end()
            self._stop_if_wanted()

    def drop(self) -> None:
        """Leave the open step, which does not count."""
        if self._is_open and self._is_mine():
            self._is_open = False
            assert self._recorder is not None
            self._recorder.drop_step()

    def restart(self) -> None:
        """Forget all steps so far: what comes now counts."""
        if self._recorder is None or not self._is_mine():
            return
        with self._program_goes_on():
            self._recorder.close()
            self._recorder.discard()
        self._recorder, self._is_open, self.made = None, False, 0

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Name a part of the step."""
        if self._recorder is None or not self._is_mine():
            return nullcontext()
        if self._phase in {"profiler_warmup", "active"}:
            self.stages.setdefault(name)
        return self._recorder.stage(name)

    def close(self) -> None:
        """End the recording with the program; a step that is open is not whole."""
        if not self._is_over:
            with self._program_goes_on():
                self._finish()

    def abandon(self, why: str) -> None:
        """End the recording in the place of its thread, which makes no more steps; it is lost."""
        recorder, self._recorder = self._recorder, None
        self._is_over, self._is_open = True, False
        self.failure = RecorderError(why)
        if recorder is not None:
            with suppress(Exception):  # The loss is told.
                recorder.abandon()
            self.facts = recorder.facts
        if self._later is not None:
            # torch 2.13 dies of SIGSEGV when it writes such a trace.
            self._later.clear()

    def _is_mine(self) -> bool:
        """Tell whether a step of this thread, in this process, counts."""
        if self._is_over or os.getpid() != self._process:
            return False
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        return self._thread == thread

    def _begin(self) -> None:
        recorder = self._recorder or self._opened()
        warmup, baseline = self._unprofiled
        unprofiled = None
        if self.made < warmup + baseline:
            unprofiled = "warmup" if self.made < warmup else "baseline"
        phase = unprofiled or recorder.phase
        self._report(phase)
        self._load.begin(phase)
        with _as_planned(is_one_step=self._is_one_step):
            recorder.begin_step(unprofiled)
        self._is_open = True
        if self._is_one_step:
            self._limits.begin()

    def _opened(self) -> Recorder:
        from harness.execution.recorder import Recorder

        recorder = Recorder(
            _where_it_works(self._plan.recording),
            Path(self._plan.folder),
            on_write=lambda: self._report("drain"),
            hold_interrupts=True,
            synchronise=False,
            later=self._later,
        )
        recorder.open()
        self._recorder = recorder
        return recorder

    def _end(self) -> None:
        assert self._recorder is not None
        self._is_open = False
        phase = self._recorder.end_step().phase
        if self._recorder.ends_phase if phase != "baseline" else self._ends_baseline():
            self._load.end()
        self._recorder.advance()
        self.made += 1
        if self.made == self.needed:
            self._finish()

    def _ends_baseline(self) -> bool:
        return self.made + 1 == sum(self._unprofiled)

    def _finish(self) -> None:
        self._is_over = True
        self._limits.end()
        recorder = self._recorder
        if recorder is None:
            return
        self.facts = recorder.facts
        if threading.get_ident() != self._thread:
            raise RecorderError(
                "the thread that made the steps has ended, and the recording could not be ended in"
                " it: make the steps in the main thread, or enough of them for the schedule"
            )
        recorder.close()
        self.facts = recorder.facts
        self._report("done")

    def _cut_window(self, why: str) -> None:
        """End the window over a whole program in the midst of it."""
        if not self._is_over:
            self._cut = f"the window over the program was ended after {why}; the program went on"
            self.end()

    def _stop_if_wanted(self) -> None:
        if self._stops and self.made == self.needed:
            raise StopProgramError

    @contextmanager
    def _program_goes_on(self) -> Iterator[None]:
        """Keep what goes wrong with the recording from the program."""
        try:
            yield
        except HarnessError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the profiler's failure is not the program's
            self._fail(RecorderError(f"the profiler raised {described(error)}"))

    def _fail(self, error: HarnessError) -> None:
        self._is_over, self._is_open = True, False
        self.failure = error
        self._limits.end()
        recorder, self._recorder = self._recorder, None
        if recorder is not None and threading.get_ident() == self._thread:
            # The first failure is the one that is told.
            with suppress(Exception):
                recorder.close()
        self._report_failure(error)

    def _report(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            progress = Progress(phase=phase, done=self.made, total=self.needed)
            self._report_progress(progress)


def _watch_of(plan: Plan, *, serves: bool) -> LoadWatch:
    """Return what looks at the cores; a program that serves does not wait for it."""
    if serves:
        return LoadWatch.blind()
    return LoadWatch.of_run(plan.recording, in_child=plan.loop.execution.kind != "inline")


def _where_it_works(recording: RecordingPlan) -> RecordingPlan:
    """Return the plan for the device that the program uses: it may have chosen one by its rank."""
    if not TARGETS[recording.device].has_kernels:
        return recording
    import torch

    backend = getattr(torch, recording.device, None)
    if backend is None or not backend.is_initialized():
        return recording
    return replace(recording, index=backend.current_device())


@contextmanager
def _as_planned(*, is_one_step: bool) -> Iterator[None]:
    """Keep torch from its warning that a window over a whole program has no warm-up."""
    if not is_one_step:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Profiler won't be using warmup", UserWarning)
        yield
