"""The interface of every reader: files in, tables out. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from msgspec import Struct

from harness.errors import ExitCode, HarnessError
from harness.tables.event_counts import EventCounts
from harness.tables.markers import HostRange


class CaptureError(HarnessError):
    """A file of a capture cannot be read: which file, where in it, and why."""

    exit_code = ExitCode.REFUSED


class ReadContext(Struct, frozen=True, kw_only=True):
    """What the run knows about a capture that is read."""

    rank: int = 0
    """The rank of every row if the capture does not record one."""
    first_operator: int = 0
    """The `id` of the first operator; the others are numbered from there."""
    steps: tuple[HostRange, ...] = ()
    """The host ranges of the steps, as the run measured them; used if the capture has no step marks
    (`harness.tables.markers.STEP_MARK`)."""
    step_threads: frozenset[int] = frozenset()
    """The threads that made steps, perhaps at the same time, as the capture numbers them: what runs
    in one of these belongs to its own steps only. Empty where one thread makes all steps."""


class CaptureInfo(Struct, frozen=True, kw_only=True):
    """What a capture's metadata reports about its origin; other fields are empty."""

    device: str = ""
    """The kind: a name of `harness.devices.READABLE`."""
    device_name: str = ""
    host: str = ""
    rank: int | None = None
    versions: dict[str, str] = {}
    settings: dict[str, Any] = {}
    """The profiler's effective settings, by their dotted names."""


class LazyTables(Mapping[str, pl.DataFrame]):
    """Tables by name. A lazy one is computed at each access and not kept."""

    def __init__(self, frames: Mapping[str, pl.DataFrame | pl.LazyFrame]) -> None:
        self._frames = dict(frames)

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self._frames[name].lazy().collect()

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def lazy(self, name: str) -> pl.DataFrame | pl.LazyFrame:
        """Return a table for `tables.write`, which never holds a whole lazy table in memory."""
        return self._frames[name]


class ReadResult(Struct, frozen=True, kw_only=True):
    """The tables of a capture, and what could not be read."""

    frames: Mapping[str, pl.DataFrame]
    """Tables with the columns of `harness.tables.SCHEMAS`, followed by the source's own columns; a
    table that the capture has no data for is absent."""
    event_counts: dict[str, EventCounts] = {}
    """How many of the file's events and rows became table rows, by kind."""
    notes: tuple[str, ...] = ()
    """What could not be read, with file and place."""
    remarks: tuple[str, ...] = ()
    """What else users should know: for example unknown columns, which are kept as they are."""
    info: CaptureInfo = CaptureInfo()


class Reader(Protocol):
    """A capture format."""

    @property
    def name(self) -> str:
        """The name of the format, as users see it."""

    def recognises(self, path: Path) -> bool:
        """Tell whether a file or folder has this format, by its name and first bytes."""

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing in it can be read."""
