"""The kernels of a timeline, for captures that have no table of them.

The device's events have no shapes. Copies, events and waits of streams are left out, as they are in
kernel_details.csv; communication is one event over its many transfers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from harness.readers.cells import nanoseconds, whole

HARDWARE: Final = "Ascend Hardware"
"""The process of the device's own events."""
COMPUTING: Final = frozenset({"AI_CORE", "AI_VECTOR_CORE", "MIX_AIC", "MIX_AIV"})
"""The types of tasks that kernel_details.csv has a row of in any version."""
_COMMUNICATION: Final = ("HCCL", "Communication")
_US: Final = 1000
_NO_KERNEL: Final = re.compile(
    r"(EVENT|PLACE_HOLDER|NOTIFY|WRITE|SDMA|PCIE|RDMA|MEMCPY|CMO|MODEL|STREAM|PROFILING|REDUCE|MEM)"
    r"(?![a-z])",
    re.IGNORECASE,
)
"""How the types of tasks begin that compute nothing."""


class DeviceEvent(NamedTuple):
    """An event that the host did not make, as it is written."""

    name: str
    process: int | str
    stream: int | str
    start_us: str | float | None
    duration_us: str | float | None
    core: Any
    """The type of the task, null for communication."""
    task: Any


class DeviceEvents:
    """The events read so far that may be kernels."""

    def __init__(self) -> None:
        self._events: list[DeviceEvent] = []

    def add(self, events: Iterable[DeviceEvent]) -> None:
        """Keep the events that may be kernels."""
        self._events += (
            event for event in events if event.core is not None or event.name.startswith("hcom_")
        )

    def kernels(
        self, processes: Mapping[object, str], device: Callable[[int], int]
    ) -> pl.DataFrame:
        """Return the kernels in columns of kernel_details.csv, with times in nanoseconds.

        Args:
            processes: The names of the processes.
            device: Returns the device of a process.
        """
        events = [event for event in self._events if _is_kernel(event, processes)]
        numbers = whole_numbers([event.process for event in events]).fill_null(0)
        streams = whole_numbers([event.stream for event in events])
        communicates = pl.Series([event.core is None for event in events], dtype=pl.Boolean)
        cores = ["COMMUNICATION" if event.core is None else str(event.core) for event in events]
        return pl.DataFrame(
            {
                "Device_id": pl.Series(map(device, numbers), dtype=pl.Int32),
                "Stream ID": streams.set(communicates, None),
                "Task ID": whole_numbers([event.task for event in events]),
                "Name": pl.Series([event.name for event in events], dtype=pl.Categorical),
                "Accelerator Core": pl.Series(cores, dtype=pl.Categorical),
                "Start Time(us)": times([event.start_us for event in events]),
                "Duration(us)": times([event.duration_us for event in events]),
            }
        )


def _is_kernel(event: DeviceEvent, processes: Mapping[object, str]) -> bool:
    process = processes.get(event.process)
    if event.core is None:
        return process in _COMMUNICATION
    return process in {HARDWARE, None} and not _NO_KERNEL.match(str(event.core))


def times(us: list[str | float | None]) -> pl.Series:
    """Return whole nanoseconds, null for text that is no number."""
    try:
        return nanoseconds(pl.Series(us, dtype=pl.String))
    except TypeError:
        pass
    try:
        return whole(pl.Series(us, dtype=pl.Float64), _US)
    except TypeError:
        texts = pl.Series([None if value is None else str(value) for value in us], dtype=pl.String)
        return nanoseconds(texts)


def whole_numbers(values: Sequence[int | str]) -> pl.Series:
    """Return numbers that may be written as text, null for text that is none."""
    try:
        return pl.Series(values, dtype=pl.Int64)
    except (TypeError, OverflowError):
        texts = pl.Series([str(value) for value in values], dtype=pl.String)
        return texts.cast(pl.Int64, strict=False)
