"""Steps that any thread makes, also at the same time: one thread records them.

torch's profiler sees the operators of all threads with ``profile_all_threads``. Then the thread
that starts, advances and stops it need not be one that makes steps. But torch 2.13 may end the
process (SIGSEGV) if it is stopped while another thread is within an operator: in measurements, one
of some 200 stops beside three busy threads. So it is stopped while no step is open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from harness.errors import HarnessError, RecorderError
from harness.execution.protocol import Plan, StepTime
from harness.execution.raised import described
from harness.tables.machine_load import PhaseLoad
from harness.tables.markers import STAGE_MARK, STEP_MARK

if TYPE_CHECKING:
    from harness.execution.recorder import Recorder, RecordingFacts

_PERIOD_S: Final = 0.1
"""How often limits are looked at."""
_PAUSE_S: Final = 0.5
"""How long open steps are waited for before the profiler is stopped; longer ones run through it."""
BESIDE: Final = "beside"
"""The phase of a step that is made meanwhile and does not count."""


class PoolStep:
    """A step under way, in the thread that makes it."""

    __slots__ = ("marks", "number", "phase", "start_ns", "started", "thread")

    def __init__(self, phase: str, number: int | None) -> None:
        self.phase = phase
        self.number = number
        """By which the profile knows it; null for one that is not recorded."""
        self.marks = ExitStack()
        self.thread = threading.get_native_id()
        self.start_ns = time.time_ns()
        self.started = time.perf_counter_ns()

    def time(self) -> StepTime:
        """Return its time until now."""
        return StepTime(
            phase=self.phase,
            step=self.number,
            start_ns=self.start_ns,
            duration_ns=time.perf_counter_ns() - self.started,
            thread=self.thread,
        )


class PoolSteps:
    """Counts the steps of a plan's schedule: warm-up, then active ones, as they begin and end.

    `begin` and `end` are for the threads that make steps, `record` for the one that records.
    """

    def __init__(self, plan: Plan, later: list[Callable[[], None]]) -> None:
        """Make the counter; `later` gets what is to be written when `record` has returned."""
        schedule = plan.recording.profiler.schedule
        self._plan = plan
        self._later = later
        self._warmup, self._active = schedule.warmup, schedule.active
        self._lock = threading.Condition()
        self._stopping = False
        self._ended: list[StepTime] = []
        self._done = threading.Event()
        self._open: set[PoolStep] = set()
        self._phase = BESIDE
        self._enough = 0
        self._begun = 0
        self.needed = self._warmup + self._active
        """Steps until the end of the schedule."""
        self.made = 0
        """Those that have ended."""
        self.counted = ""
        """What the steps are, in one phrase."""
        self.machine_load: tuple[PhaseLoad, ...] = ()
        """Nothing: steps overlap, and nothing is looked at between them."""
        self.stages: dict[str, None] = {}
        """The names of the steps' stages, in order."""
        self.notes: tuple[str, ...] = ()
        """What a user should know about how the steps were counted."""
        self.failure: HarnessError | None = None
        """What ended the recording too soon."""
        self.facts: RecordingFacts | None = None

    def begin(self, stage: str | None, *, counts: bool) -> PoolStep:
        """Begin a step of the calling thread; one that does not count is recorded beside.

        While the profiler is stopped, it waits.
        """
        with self._lock:
            self._lock.wait_for(lambda: not self._stopping, 2 * _PAUSE_S)
            step = PoolStep(*self._place(counts=counts))
            self._open.add(step)
        if step.phase == "active":
            from torch.profiler import record_function

            step.marks.enter_context(record_function(f"{STEP_MARK}{step.number}"))
            if stage is not None:
                self.stages.setdefault(stage)
                step.marks.enter_context(record_function(STAGE_MARK + stage))
        return step

    def _place(self, *, counts: bool) -> tuple[str, int | None]:
        if not counts or self._phase == BESIDE:
            return BESIDE, None
        if self._phase != "active":
            return self._phase, None
        if self._begun == self._active:
            return BESIDE, None
        self._begun += 1
        return "active", self._warmup + self._begun - 1

    def end(self, step: PoolStep) -> None:
        """End a step, in the thread that began it."""
        step.marks.close()
        ended = step.time()
        with self._lock:
            self._open.discard(step)
            self._lock.notify_all()
            self._ended.append(ended)
            if step.phase != self._phase or self.made == self._enough:
                return
            self.made += 1
            if self.made == self._enough:
                # Not before: the recording thread would take the interpreter's lock from those that
                # make steps.
                self._done.set()

    def record(self, cut: Callable[[], str], begun: Callable[[], None]) -> str:
        """Record until the schedule is full; return why it was ended before, if it was.

        `cut` is asked now and then for a reason to end it. `begun` is called when the profiler has
        started.
        """
        from harness.execution.recorder import Recorder

        why = ""
        recorder = Recorder(
            self._plan.recording, Path(self._plan.folder), synchronise=False, later=self._later
        )
        try:
            try:
                recorder.open()
                recorder.start_profiler()
                begun()
                why = self._recorded(recorder, cut)
            finally:
                self._set_phase(BESIDE)
                self._pause()
                recorder.close()
        except HarnessError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - the profiler's failure is not the program's
            self.failure = RecorderError(f"the profiler raised {described(error)}")
        finally:
            self._resume()
        self.facts = recorder.facts
        return why

    def _recorded(self, recorder: Recorder, cut: Callable[[], str]) -> str:
        why = ""
        if self._warmup:
            self._set_phase("profiler_warmup", self._warmup)
            why = self._awaited(cut)
            for number, step in enumerate(self._first_ended("profiler_warmup", self._warmup)):
                recorder.take(replace(step, step=number))
        if not why:
            self._set_phase("active", self.needed)
            why = self._awaited(cut)
        self._pause()
        with self._lock:
            self._phase = BESIDE
            self._ended += [_beside(step.time()) for step in self._open]
        active = self._first_ended("active", self._active)
        recorder.note([*active, *map(_beside, self._ended)])
        return why

    def _awaited(self, cut: Callable[[], str]) -> str:
        """Wait until the steps of a phase have ended, or there is a reason to wait no longer."""
        why = ""
        while not self._done.wait(_PERIOD_S) and not why:
            why = cut()
        self._done.clear()
        return why

    def _pause(self) -> None:
        """Let no step begin, and those that are open end."""
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._lock.wait_for(lambda: not self._open, _PAUSE_S)

    def _resume(self) -> None:
        with self._lock:
            self._stopping = False
            self._lock.notify_all()

    def _first_ended(self, phase: str, count: int) -> list[StepTime]:
        """Take the first steps of a phase from those that have ended."""
        with self._lock:
            found = [step for step in self._ended if step.phase == phase][:count]
            taken = set(map(id, found))
            self._ended = [step for step in self._ended if id(step) not in taken]
        return found

    def _set_phase(self, phase: str, enough: int = 0) -> None:
        """Let the steps that begin from now on be of a phase, until `enough` have ended in all."""
        with self._lock:
            self._phase, self._enough = phase, enough


def _beside(step: StepTime) -> StepTime:
    return replace(step, phase=BESIDE, step=None)
