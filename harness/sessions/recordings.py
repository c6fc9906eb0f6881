"""The steps of one window, as the program's threads begin and end them.

Either one thread makes the steps, and starts and stops the profiler between them. Or any thread
does, the profiler sees them all, and the session's own thread starts and stops it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, NamedTuple, Protocol

from harness.devices import TARGETS
from harness.errors import HarnessError, RecorderError
from harness.execution.pool_steps import PoolStep, PoolSteps
from harness.execution.program import CountedSteps
from harness.execution.program_steps import ProgramSteps
from harness.execution.protocol import Plan
from harness.execution.window_limits import resident_bytes
from harness.sessions.wanted import Wanted

COUNTED: Final = "steps of the session"
ALL_THREADS: Final = "profiler.experimental.profile_all_threads"
_PERIOD_S: Final = 0.05
_PATIENCE_S: Final = 5.0
"""How long a thread may take to come to the end of a step before that is told."""
_GIB: Final = 1 << 30


class Step(Protocol):
    """A step under way that a window records."""

    def end(self) -> None:
        """End it, in the thread that began it."""


class Limits:
    """The seconds and the memory of a window, from the start of its profiler on."""

    def __init__(self, seconds: float | None, memory_gib: float | None) -> None:
        self._seconds, self._memory_gib = seconds, memory_gib
        self._begun: float | None = None
        self._before = 0
        self.asked = ""
        """Why someone has asked to end the window; empty if nobody has."""

    def begin(self) -> None:
        """Let them count from now on, if they do not yet."""
        if self._begun is None:
            self._before = resident_bytes()
            self._begun = time.monotonic()

    def reached(self) -> str:
        """Return why the window is to end, if it is."""
        if self.asked or self._begun is None:
            return self.asked
        if self._seconds is not None and time.monotonic() - self._begun > self._seconds:
            return f"after profiler.max_seconds={self._seconds:g}"
        added = (resident_bytes() - self._before) / _GIB
        if self._memory_gib is not None and added > self._memory_gib:
            return f"after profiler.max_memory_gib={self._memory_gib:g} were added"
        return ""


class Tell(NamedTuple):
    """What is called when something happens to a recording."""

    begun: Callable[[], None]
    """The profiler has started, or its first step has begun."""
    stuck: Callable[[str], None]
    """It is to end and cannot: why."""
    closing: Callable[[], bool]
    """Asked whether the session is being closed."""


class Recording(Protocol):
    """Records the steps of a window."""

    later: list[Callable[[], None]]
    """What is to be written when the recording is over."""
    cut: str
    """Why it was ended before the schedule was full; empty if it was not."""

    @property
    def steps(self) -> CountedSteps:
        """What was recorded."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of other steps."""

    @property
    def has_begun(self) -> bool:
        """Whether a step has begun that counts."""

    def begin(self, number: int, stage: str | None, batch: int | None) -> Step | None:
        """Begin a step of the calling thread; None if the window has nothing to do with it."""

    def run(self, until: Callable[[], str]) -> None:
        """Return when the recording is over; for the session's own thread.

        `until` is asked, as long as no step has begun, for a reason to wait no longer.
        """


class OneThread:
    """Records the steps of the thread that makes the first one; implements `Recording`."""

    def __init__(self, plan: Plan, wanted: Wanted, limits: Limits, tell: Tell) -> None:
        self.later: list[Callable[[], None]] = []
        self.cut = ""
        self._tell = tell
        self._stops_anywhere = not TARGETS[plan.recording.device].profiled_by.analysed_after_run
        self.steps = ProgramSteps(plan, report_failure=self._failed, later=self.later)
        self.steps.counted = COUNTED
        self._wanted, self._limits = wanted, limits
        self._warmup = plan.recording.profiler.schedule.warmup
        self._process = os.getpid()
        self._claim = threading.Lock()
        self._thread: int | None = None
        self._marks: ExitStack | None = None
        self._over = threading.Event()
        self._elsewhere = self._within = self._crossed = 0
        self._is_left = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of other steps."""
        notes = []
        if self._elsewhere:
            notes.append(
                f"{self._elsewhere:,} more steps were made in other threads than the window's, and"
                f" are not in it: {ALL_THREADS}=true records the steps of all threads"
            )
        if self._within:
            notes.append(
                f"{self._within:,} steps began before another one of the same thread had ended,"
                " and are counted with that one"
            )
        if self._crossed:
            notes.append(
                f"{self._crossed:,} steps were ended by another thread than they began in, and do"
                " not count"
            )
        return tuple(notes)

    @property
    def has_begun(self) -> bool:
        """Whether a step has begun that counts."""
        return self._thread is not None

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread alone can end the recording."""
        return self._thread == threading.get_ident() and os.getpid() == self._process

    @property
    def needs_caller(self) -> bool:
        """Whether the recording does not end unless the calling thread goes on."""
        return self.is_mine and not self._over.is_set()

    def begin(self, number: int, stage: str | None, batch: int | None) -> Step | None:
        """Begin a step of the calling thread; None if the window has nothing to do with it."""
        if os.getpid() != self._process or self._over.is_set():
            return None
        fits = self._wanted.fits(number, stage, batch, self._warmup)
        if self._thread is None and not (fits and self._claimed()):
            return None
        if not self.is_mine:
            self._elsewhere += fits
            return None
        self._drop_left()
        if self._marks is not None:
            self._within += 1
            return None
        if self.end_if_due() or not fits:
            return None
        self._limits.begin()
        self._marks = ExitStack()
        self.steps.begin()
        if not self.steps.made:
            self._tell.begun()
        if stage is not None:
            self._marks.enter_context(self.steps.stage(stage))
        return self

    def _claimed(self) -> bool:
        with self._claim:
            if self._thread is None and not self._over.is_set():
                self._thread = threading.get_ident()
        return self._thread is not None

    def end(self) -> None:
        """End the open step, and the recording if it was the last one."""
        if not self.is_mine:
            self._is_left = True
            return
        marks, self._marks = self._marks, None
        if marks is not None:
            marks.close()
        self.steps.end()
        if not self.steps.counting:
            self._over.set()
        else:
            self.end_if_due()

    def end_if_due(self) -> bool:
        """End the recording if it is to be; in its thread, between two steps."""
        self._drop_left()
        if self._marks is None and not self._over.is_set() and (why := self._limits.reached()):
            self.cut = why
            self.steps.close()
            self._over.set()
        return self._over.is_set()

    def _drop_left(self) -> None:
        """Drop the open step if another thread has ended it; in the recording's thread."""
        if self._is_left and self._marks is not None:
            self._marks.close()
            self.steps.drop()
            self._marks, self._is_left = None, False
            self._crossed += 1

    def run(self, until: Callable[[], str]) -> None:
        """Wait until the program's thread has ended the recording."""
        due: float | None = None
        while not self._over.wait(_PERIOD_S):
            if not self.has_begun:
                self._give_up(self._limits.asked or until())
            elif why := self._limits.reached():
                due = due or time.monotonic()
                late = time.monotonic() - due
                self._await_thread(why, late)

    def _give_up(self, why: str) -> None:
        with self._claim:
            if self._thread is None and why:
                self.cut = why
                self._over.set()

    def _await_thread(self, why: str, late_s: float) -> None:
        """Say that the recording's thread must end it; do without, if that thread has ended."""
        thread = next((one for one in threading.enumerate() if one.ident == self._thread), None)
        if thread is None:
            lost = "the thread that made its steps has ended, and it alone could stop its profiler"
        elif late_s < _PATIENCE_S:
            return
        else:
            lost = (
                f"thread {thread.name} has made no step for {_PATIENCE_S:g} s, and it alone can"
                " stop its profiler"
            )
            if not self._tell.closing():
                self._tell.stuck(f"it is to end {why}: {lost}")
                return
        if self._stops_anywhere:
            self.steps.abandon(f"{lost}: what was recorded is lost")
        else:
            self.steps.failure = RecorderError(f"{lost}: it goes on until the process ends")
        self.cut = why
        self._over.set()

    def _failed(self, _error: HarnessError) -> None:
        self._over.set()


class ManyThreads:
    """Records the steps of all threads; implements `Recording`."""

    def __init__(self, plan: Plan, wanted: Wanted, limits: Limits, tell: Tell) -> None:
        self.later: list[Callable[[], None]] = []
        self.cut = ""
        self._tell = tell
        self.steps = PoolSteps(plan, self.later)
        self.steps.counted = COUNTED
        self._wanted, self._limits = wanted, limits
        self._warmup = plan.recording.profiler.schedule.warmup
        self._process = os.getpid()
        self._first = threading.Event()
        self.notes: tuple[str, ...] = ()

    @property
    def has_begun(self) -> bool:
        """Whether a step has begun that counts."""
        return self._first.is_set()

    def begin(self, number: int, stage: str | None, batch: int | None) -> Step | None:
        """Begin a step of the calling thread; None if the window has nothing to do with it."""
        if os.getpid() != self._process:
            return None
        fits = self._wanted.fits(number, stage, batch, self._warmup)
        if fits:
            self._first.set()
        elif not self._first.is_set():
            return None
        return _PoolStep(self.steps, self.steps.begin(stage, counts=fits), self._process)

    def run(self, until: Callable[[], str]) -> None:
        """Record, once a step has begun that is waited for."""
        while self._wanted.waits and not self._first.wait(_PERIOD_S):
            if why := self._limits.asked or until():
                self.cut = why
                return

        def ended() -> str:
            return self._limits.reached() or ("" if self.has_begun else until())

        def begun() -> None:
            # The profiler records all threads from now on, whether or not a step comes.
            self._limits.begin()
            self._tell.begun()

        self.cut = self.steps.record(ended, begun)


class _PoolStep:
    __slots__ = ("_process", "_step", "_steps")

    def __init__(self, steps: PoolSteps, step: PoolStep, process: int) -> None:
        self._steps, self._step, self._process = steps, step, process

    def end(self) -> None:
        """End it, in the thread that began it."""
        if os.getpid() == self._process:
            self._steps.end(self._step)
