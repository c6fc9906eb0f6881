"""Record steps: the device's profiler, the markers, the step times, the cycles. Has no loop.

Works in the child process of a run and in a user's own process. Imported only where torch is
loaded.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec
import torch
from msgspec import Struct
from msgspec.structs import asdict
from torch.profiler import record_function

from harness import tables
from harness.devices import DEVICES
from harness.devices.base import CycleWriter, OpenDevice, Profiler
from harness.errors import RecorderError
from harness.execution import lines
from harness.execution.compiled import compilation
from harness.execution.protocol import Compilation, RecordingPlan, StepTime
from harness.files import Appended, make_folder, make_root
from harness.paths import RunFolder
from harness.settings.request import Schedule
from harness.settings.schedule import phase_of
from harness.stopping import Held
from harness.tables.event_counts import EventCounts
from harness.tables.markers import STAGE_MARK, STEP_MARK, HostRange

_VARIABLES_OF_TORCH = ("DISABLE_CUPTI_LAZY_REINIT", "TEARDOWN_CUPTI")
"""torch sets these when it profiles CUDA graphs."""
UNRECORDED: Final = "unrecorded"
"""The phase of the scheduled steps of a rank that runs no profiler."""
_PROCESS = threading.Lock()
"""Held by the open recorder: one process has one."""


class _Clocks(NamedTuple):
    unix_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]


_CLOCKS: Final = _Clocks(time.time_ns, time.perf_counter_ns)
"""A workload may replace the clocks of `time`, and those that modules have imported from it."""


class RecordingFacts(Struct, frozen=True, kw_only=True):
    """What a recorder knows of the device, the software and the profiler's events."""

    versions: dict[str, str]
    device_name: str = ""
    emulated: bool = False
    event_counts: dict[str, EventCounts] = {}
    compilation: Compilation | None = None
    """What torch.compile did; null for nothing."""
    notes: tuple[str, ...] = ()
    """What a user should know about what was recorded."""


class _OpenStep(NamedTuple):
    phase: str
    number: int | None
    start_ns: int
    started: int
    """By the monotonic clock, in nanoseconds."""


@dataclass(kw_only=True)
class _Recording:
    """What an open recorder holds."""

    thread: int
    device: OpenDevice
    writer: CycleWriter
    times: Appended
    closing: ExitStack
    profiler: Profiler | None = None


class Recorder:
    """Records the steps of a loop that its caller runs.

    ``step()`` is ``begin_step(); …; end_step(); advance()``::

        with Recorder(plan.recording, folder) as recorder:
            for batch in batches:
                with recorder.step(), recorder.stage("forward"):
                    ...

    An exception of the caller's code passes unchanged; what was recorded before is kept. One
    thread makes all calls, since a profiler belongs to its thread. After `close`, the process is
    as it was before `open`.
    """

    def __init__(  # noqa: PLR0913 - keywords, each a choice of its own
        self,
        plan: RecordingPlan,
        folder: Path,
        *,
        on_write: Callable[[], None] = lambda: None,
        hold_interrupts: bool = False,
        synchronise: bool = True,
        later: list[Callable[[], None]] | None = None,
    ) -> None:
        """Make a recorder; nothing happens before `open`.

        Args:
            plan: What to record.
            folder: The run folder, which may not exist yet.
            on_write: Called before a cycle is written.
            hold_interrupts: Let signals that stop wait while a cycle is written; sets signal
                handlers meanwhile, in the main thread only.
            synchronise: Wait for the device where a step begins and where it ends. Else the time
                of a step is the host's, and the program's own pace is kept.
            later: Gets what takes long to write, to be called after `close`, in any thread; else
                each cycle is written when it ends.
        """
        self._plan = plan
        self._folder = folder
        self._on_write = on_write
        self._hold_interrupts = hold_interrupts
        self._synchronise = synchronise
        self._later = later
        self._device = DEVICES[plan.device]
        self._schedule = Schedule(**asdict(plan.profiler.schedule))
        self._number = 0
        self._recording: _Recording | None = None
        self._lines = lines.LineTrace(_CLOCKS.unix_ns) if plan.profiler.with_lines else None
        self._mark = ExitStack()
        self._open_step: _OpenStep | None = None
        self._ended_step: StepTime | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def torch_device(self) -> torch.device:
        """The open device, for tensors and parameters."""
        return self._open_recording().device.torch_device

    @property
    def phase(self) -> str:
        """What the schedule does in the next profiled step: wait, profiler_warmup or active."""
        if not self._plan.records:
            return UNRECORDED
        return phase_of(self._schedule, self._number, self._plan.cycles)

    @property
    def ends_phase(self) -> bool:
        """Whether the profiled step that is open, or the next one, is the last of its phase."""
        following = phase_of(self._schedule, self._number + 1, self._plan.cycles)
        return self._plan.records and following != self.phase

    @property
    def facts(self) -> RecordingFacts:
        """The facts so far; they stay after `close`."""
        versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
        recording = self._recording
        if recording is None:
            return RecordingFacts(versions=versions)
        return RecordingFacts(
            versions=versions | recording.device.versions,
            device_name=recording.device.name,
            emulated=recording.device.emulated,
            event_counts=dict(recording.writer.event_counts),
            compilation=compilation(),
            notes=self._lines.notes if self._lines else (),
        )

    @staticmethod
    def refuse_others() -> None:
        """Raise `RecorderError` if another recorder is open, or another profiler is recording."""
        with _only_recorder():
            _refuse_other_profilers()

    def open(self) -> None:
        """Open the device and the files; the profiler starts with the first profiled step.

        Raises:
            RecorderError: Another recorder is open, another profiler is recording, or this
                recorder was open before.
            MachineError: The device is not there.
            WriteError: The disk is full, or the like.
        """
        if self._recording is not None:
            raise RecorderError("a recorder opens only once: make another one")
        with ExitStack() as closing:
            closing.enter_context(_only_recorder())
            _refuse_other_profilers()
            closing.enter_context(_globals_restored(self._plan.device))
            device = self._device.open(self._plan.index)
            run = RunFolder(self._folder)
            make_root(self._folder)
            make_folder(self._folder, run.raw)
            times = closing.enter_context(Appended(self._folder, run.steps, afresh=True))
            writer = CycleWriter(
                folder=self._folder,
                torch_device=device.torch_device,
                cycles=self._plan.cycles,
                rank=self._plan.rank,
                on_write=self._on_write,
                later=self._later,
            )
            self._recording = _Recording(
                thread=threading.get_ident(),
                device=device,
                writer=writer,
                times=times,
                closing=closing.pop_all(),
            )

    def close(self) -> None:
        """Stop the profiler, write what it holds, undo what `open` did; again, do nothing."""
        recording = self._recording
        if recording is None or recording.times.closed:
            return
        _check_thread(recording)
        self._leave_step()
        recording.profiler = None
        with self._interrupts_held():
            recording.closing.close()
            self._keep_lines()

    def abandon(self) -> None:
        """Close in the place of the thread that opened it, which makes no more calls.

        What torch's profiler holds is lost, and torch says so; it can start anew.
        """
        if self._recording is not None:
            self._recording.thread = threading.get_ident()
            self.close()

    def discard(self) -> None:
        """Remove what this recorder, which is closed, has recorded."""
        run = RunFolder(self._folder)
        for folder in (run.raw, run.cycles):
            shutil.rmtree(folder, ignore_errors=True)
        run.lines.unlink(missing_ok=True)

    @contextmanager
    def step(self, phase: str | None = None) -> Iterator[None]:
        """Record one step; `phase` as in `begin_step`."""
        self.begin_step(phase)
        try:
            yield
            self.end_step()
        finally:
            self._leave_step()
        self.advance()

    def begin_step(self, phase: str | None = None) -> None:
        """Begin the schedule's next step, or an unprofiled step that is named `phase`.

        Waits for the device first, unless that is not wanted, so that earlier work is not measured.
        """
        recording = self._open_recording()
        self._leave_step()
        number = None
        if phase is None:
            self._start_profiler(recording)
            phase, number = self.phase, self._number
        self._wait_for_device(recording)
        if number is not None and self._plan.records:
            self._mark.enter_context(record_function(f"{STEP_MARK}{number}"))
        # In the steps before, too, so that what it learns once is not in a recorded step.
        if self._lines is not None and phase in {"active", "profiler_warmup"}:
            self._lines.start()
        self._open_step = _OpenStep(phase, number, _CLOCKS.unix_ns(), _CLOCKS.monotonic_ns())

    def end_step(self) -> StepTime:
        """End the step when the device has finished it; its asynchronous errors come up here.

        Return its time.
        """
        recording, step = self._open_recording(), self._open_step
        if step is None:
            raise RecorderError("no step has begun: call begin_step() first")
        called = _CLOCKS.monotonic_ns()
        self._wait_for_device(recording)
        ended_at = _CLOCKS.monotonic_ns()
        waits = self._synchronise and self._device.has_kernels
        ended_step = StepTime(
            phase=step.phase,
            step=step.number,
            start_ns=step.start_ns,
            duration_ns=ended_at - step.started,
            wait_ns=ended_at - called if waits else None,
        )
        self._ended_step = ended_step
        self._leave_step()
        return ended_step

    def advance(self) -> None:
        """Write the time of the ended step and advance the profiler, which may write a cycle."""
        recording, ended = self._open_recording(), self._ended_step
        if ended is None:
            raise RecorderError("no step has ended: call end_step() first")
        self._ended_step = None
        recording.times.write(msgspec.json.encode(ended) + b"\n")
        if ended.step is not None and not self._plan.records:
            self._number += 1
        if ended.step is None or recording.profiler is None:
            return
        end_ns = ended.start_ns + ended.duration_ns
        recording.writer.ranges.append(HostRange(ended.step, ended.start_ns, end_ns))
        self._number += 1
        if ended.phase != "active" and self.phase != "wait":
            _refuse_other_profilers()
        with self._interrupts_held():
            recording.profiler.step()

    def start_profiler(self) -> None:
        """Start the profiler before its first step, for steps that others make: see `take`."""
        self._start_profiler(self._open_recording())

    def take(self, step: StepTime) -> None:
        """Take a step of the schedule that other threads have made and timed; then `advance`."""
        self._ended_step = step
        self.advance()

    def note(self, steps: Sequence[StepTime]) -> None:
        """Write the times of steps, and leave the profiler as it is: `close` ends its cycle."""
        lines = [msgspec.json.encode(step) + b"\n" for step in steps]
        self._open_recording().times.write(b"".join(lines))

    def drop_step(self) -> None:
        """Leave the open step, if there is one: it is not counted, and begins anew."""
        self._open_recording()
        self._leave_step()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name a part of a profiled step; does nothing elsewhere."""
        if self._recording is None or self._recording.profiler is None:
            yield
        else:
            with record_function(STAGE_MARK + name):
                yield

    def _keep_lines(self) -> None:
        if self._lines is None:
            return
        write = partial(_write_lines, self._lines, self._plan.rank, self._folder)
        if self._later is None:
            write()
        else:
            self._later.append(write)

    def _wait_for_device(self, recording: _Recording) -> None:
        if self._synchronise:
            self._device.synchronise(recording.device.torch_device)

    def _start_profiler(self, recording: _Recording) -> None:
        if recording.profiler is None and self._plan.records:
            _refuse_other_profilers()
            profiler = self._device.profiler(self._plan.profiler, recording.writer)
            recording.profiler = recording.closing.enter_context(profiler)

    def _leave_step(self) -> None:
        """Leave the range of the step; a step that was not ended is not timed."""
        if self._lines is not None:
            self._lines.stop()
        self._open_step = None
        self._mark.close()

    def _interrupts_held(self) -> AbstractContextManager[None]:
        return Held() if self._hold_interrupts else nullcontext()

    def _open_recording(self) -> _Recording:
        if self._recording is None or self._recording.times.closed:
            raise RecorderError("the recorder is not open")
        _check_thread(self._recording)
        return self._recording


def _write_lines(trace: lines.LineTrace, rank: int, folder: Path) -> None:
    tables.write(lines.table(trace, rank), RunFolder(folder).lines, folder)


def _check_thread(recording: _Recording) -> None:
    if threading.get_ident() != recording.thread:
        raise RecorderError(
            "the recorder was opened in another thread, and its profiler belongs to that thread:"
            " open, step and close it in one thread"
        )


@contextmanager
def _only_recorder() -> Iterator[None]:
    if not _PROCESS.acquire(blocking=False):
        raise RecorderError(
            "another recorder is open in this process, and torch runs one profiler at a time:"
            " close that recorder first"
        )
    try:
        yield
    finally:
        _PROCESS.release()


def _refuse_other_profilers() -> None:
    """Raise where a profiler already records: torch 2.13 crashes when another one starts."""
    # The first belongs to the process, but torch_npu does not set it; the second to the thread.
    enabled = torch.autograd.profiler._is_profiler_enabled  # noqa: SLF001
    if enabled or torch._C._autograd._profiler_enabled():  # noqa: SLF001
        raise RecorderError(
            "another profiler is recording in this process, and torch runs one profiler at a"
            " time: stop that profiler first"
        )


@contextmanager
def _globals_restored(device: str) -> Iterator[None]:
    """Restore what a device or a profiler changes in the process."""
    variables = {name: os.environ.get(name) for name in _VARIABLES_OF_TORCH}
    profile_function = sys.getprofile()
    # A backend that is not loaded yet, or not in use, has no current device.
    backend = getattr(torch, device, None)
    index = backend.current_device() if backend and backend.is_initialized() else None
    try:
        yield
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        # with_stack takes the thread's profile function away.
        if callable(profile_function) and sys.getprofile() is None:
            sys.setprofile(profile_function)
        if backend and index is not None:
            backend.set_device(index)
