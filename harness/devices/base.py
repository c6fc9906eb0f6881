"""What the harness needs of a device. Imports no torch: the parent process uses it, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from harness.errors import Problem
from harness.settings.experimental import Experimental
from harness.tables.markers import HostRange

if TYPE_CHECKING:
    import torch

    from harness.settings.request import Request
    from harness.tables.event_counts import EventCounts
    from harness.tables.thread_counts import ThreadCounts


TraceHandler = Callable[[Any], object]
"""What a profiler calls with itself when a cycle of its schedule has ended."""


class Profiler(Protocol):
    """What the run needs of a profiler: torch.profiler's and torch_npu's both have it."""

    def step(self) -> None:
        """Tell the profiler that a step has ended."""


class OpenDevice(Struct, frozen=True, kw_only=True):
    """A device that exists and can be used."""

    torch_device: torch.device
    """For tensors and parameters."""
    name: str
    """The model, as the system or the driver calls it."""
    versions: dict[str, str] = {}
    """Of the software between torch and the device: its toolkit, its driver."""
    emulated: bool = False
    """Whether the driver itself reports that the device is emulated."""


@dataclass(kw_only=True)
class CycleWriter:
    """Where a run's profiler leaves what it records: one for each run, in the child process."""

    folder: Path
    """The run folder."""
    torch_device: torch.device
    cycles: int
    """How many cycles the profiler will record."""
    rank: int
    """Of the process, in a job of several."""
    on_write: Callable[[], None]
    """To be called when a cycle is being written."""
    later: list[Callable[[], None]] | None = None
    """If given, what takes long to write is put here, and the caller calls it when it suits; the
    tables are made from what that leaves. None: all is written when a cycle ends."""
    ranges: list[HostRange] = field(default_factory=list)
    """The steps so far."""
    event_counts: dict[str, EventCounts] = field(default_factory=dict)
    """What became of the profiler's events, by activity type, as far as they were read."""


class Unsupported(Struct, frozen=True):
    """Something that a device never delivers."""

    reason: str
    """Why, as the end of "device=… cannot deliver it: "."""
    fix: str
    """What to write instead."""


class ProfilerFacts(Struct, frozen=True, kw_only=True):
    """What is true of a profiler on each device that it records."""

    name: str
    """The package that it comes with, as it is named to a person."""
    analysed_after_run: bool
    """It leaves folders of raw data, from which `Device.analyse` makes files that readers read."""
    single_stream: bool
    """It hands over all events in one stream, so that runtime calls nest within operators and
    allocations are counted among the events."""
    records_kernel_shapes: bool
    """Kernels have shapes of their own, not those of their operators."""
    records_lists: bool
    """Arguments that are lists of tensors have the shapes of these."""


class Target(Protocol):
    """What can be composed, validated and planned for; needs neither torch nor the device."""

    @property
    def name(self) -> str:
        """As in ``device=cpu``."""

    @property
    def profiled_by(self) -> ProfilerFacts:
        """The profiler that records it."""

    @property
    def has_kernels(self) -> bool:
        """Whether there is a device beside the host, which runs kernels."""

    @property
    def reports_overflow(self) -> bool:
        """Whether the profiler reports that the device's buffers have overflowed."""

    @property
    def distributed_backend(self) -> str:
        """What torch.distributed joins several ranks by."""

    @property
    def can_be_rehearsed(self) -> bool:
        """Whether the emulator can take its place."""

    @property
    def experimental(self) -> type[Experimental]:
        """Its ``profiler.experimental`` settings."""

    @property
    def unsupported(self) -> Mapping[str, Unsupported]:
        """The capability list: what it never delivers.

        A key is a setting, or ``setting=value`` for one value of it.
        """

    def problems(self, request: Request) -> Iterator[Problem]:
        """Yield the device's own objections to a request; touches no device."""

    def environment(self) -> dict[str, str]:
        """Return the variables that must be set before torch is imported."""


class Device(Target, Protocol):
    """A target that can be run; these are called in child processes only."""

    def open(self, index: int) -> OpenDevice:
        """Return the device; raise `MachineError` with what this machine lacks."""

    def synchronise(self, device: torch.device) -> None:
        """Wait until all work queued on the device is done."""

    def profiler(
        self, lowered: LoweredProfiler, writer: CycleWriter
    ) -> AbstractContextManager[Profiler]:
        """Build the profiler; it writes each finished cycle of the schedule to `writer`."""

    def bare_profiler(self, lowered: LoweredProfiler, on_trace_ready: TraceHandler | None) -> Any:
        """Build the profiler alone: torch's or torch_npu's own object, which was not started.

        `on_trace_ready` is called with it when a cycle ends; None: as that profiler has it.
        """

    def counting_threads(
        self, lowered: LoweredProfiler, take: Callable[[ThreadCounts], None]
    ) -> AbstractContextManager[None] | None:
        """Return a context that counts a step's operators in all threads; None where it cannot.

        `take` gets the counts when the step has ended. The step must not be one that is recorded.
        """

    def analyse(self, capture: Path) -> None:
        """Turn one of the profiler's captures into files that readers read, if it is not yet."""


class LoweredSchedule(Struct, frozen=True, kw_only=True):
    """The schedule's numbers, as both profilers take them. Unit: steps."""

    skip_first: int
    skip_first_wait: int
    wait: int
    warmup: int
    active: int
    repeat: int


class LoweredProfiler(Struct, frozen=True, kw_only=True):
    """What will be handed to the profiler, in plain values: the effective settings."""

    activities: tuple[str, ...]
    record_shapes: bool
    with_stack: bool
    with_lines: bool = False
    """Plans of earlier versions have not asked for it."""
    profile_memory: bool
    with_modules: bool
    with_flops: bool
    memory_timeline: bool
    schedule: LoweredSchedule
    experimental: dict[str, Any]
    """The keyword arguments of the device's ``_ExperimentalConfig``."""
