"""What a reader of captures is: files in, tables out. Imports no torch."""

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
    """A file of a capture cannot be read; says which, where in it, and why."""

    exit_code = ExitCode.REFUSED


class ReadContext(Struct, frozen=True, kw_only=True):
    """Where a capture stands in its run."""

    rank: int = 0
    """Goes into every row where the capture does not tell its own."""
    first_operator: int = 0
    """The `id` of the first operator, counted on from there."""
    steps: tuple[HostRange, ...] = ()
    """The steps' ranges on the host, as the run measured them; used where the capture has no mark
    of a step (`harness.tables.markers.STEP_MARK`)."""


class CaptureInfo(Struct, frozen=True, kw_only=True):
    """What a capture says of where it comes from; empty where it says nothing."""

    device: str = ""
    """The kind: cpu, cuda, npu."""
    device_name: str = ""
    host: str = ""
    rank: int | None = None
    versions: dict[str, str] = {}
    settings: dict[str, Any] = {}
    """The profiler's, by their dotted names, as they took effect."""


class LazyTables(Mapping[str, pl.DataFrame]):
    """Tables by name, of which some are made when they are asked for, and not kept."""

    def __init__(self, known: Mapping[str, pl.DataFrame | pl.LazyFrame]) -> None:
        self._known = dict(known)

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self._known[name].lazy().collect()

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def lazy(self, name: str) -> pl.DataFrame | pl.LazyFrame:
        """Return a table for `tables.write`, which never has the whole of a lazy one."""
        return self._known[name]


class ReadResult(Struct, frozen=True, kw_only=True):
    """What a reader found in a capture."""

    frames: Mapping[str, pl.DataFrame]
    """Tables with the columns of `harness.tables.SCHEMAS`, and the source's own behind them; a
    table that the capture says nothing of is absent."""
    event_counts: dict[str, EventCounts] = {}
    """What became of the file's events and rows, by kind."""
    notes: tuple[str, ...] = ()
    """What could not be read, with file and place."""
    remarks: tuple[str, ...] = ()
    """What else a person should know: columns that nobody knows, kept as they are."""
    info: CaptureInfo = CaptureInfo()


class Reader(Protocol):
    """A format of captures."""

    @property
    def name(self) -> str:
        """The format, as it is named to a person."""

    def recognises(self, path: Path) -> bool:
        """Tell whether a file or folder is of this format, by its name and first bytes."""

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing of it can be read."""
