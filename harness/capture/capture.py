"""The capture: a run folder read back, which verification, analyses and report work on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from harness.execution.protocol import Outcome
from harness.paths import RunFolder
from harness.settings.expectations import ExpectedSettings
from harness.tables.event_counts import EventCounts

if TYPE_CHECKING:
    import polars as pl


class Emulation(Struct, frozen=True, kw_only=True):
    """What the emulator did in place of an NPU while it was profiled."""

    operators_computed: int
    operators_not_computed: int
    """Launches that were accepted, with their shapes, but whose outputs are zeros."""
    not_computed: dict[str, int] = {}
    """Their counts by operator."""


class Capture(Struct, frozen=True, kw_only=True):
    """A run folder in memory: what verify, analyse and report work on."""

    folder: Path
    source: str = ""
    """The path of an imported capture; empty for a run."""
    expected: ExpectedSettings
    outcome: Outcome
    analysis: Outcome | None = None
    """How the device's own analysis of its captures ended; null if there was none."""
    tables: Mapping[str, pl.DataFrame]
    """By name, with the columns of `harness.tables.SCHEMAS`; empty ones included."""
    raw: tuple[str, ...]
    """Files that the profiler wrote, relative to the folder."""
    event_counts: dict[str, EventCounts] = {}
    """What became of the profiler's events, by activity type or kind of row."""
    notes: tuple[str, ...] = ()
    """What a user should know about how it was read."""
    lost: tuple[str, ...] = ()
    """What could not be read, with file and place."""
    emulation: Emulation | None = None
    """Null on a real device."""
    settings: dict[str, Any] = {}
    """Of an imported capture, the settings that its metadata reports."""
    calls: tuple[dict[str, Any], ...] = ()
    """The profiling calls of a rehearsal, as they were recorded."""

    @property
    def cycle_folders(self) -> tuple[Path, ...]:
        """The folders that torch_npu left, one for each cycle, in order."""
        return tuple(RunFolder(self.folder).cycle_folders())
