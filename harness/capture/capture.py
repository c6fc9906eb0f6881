"""The capture: a run folder read back, which verification, analyses and report work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct

from harness.execution.protocol import CYCLE_FOLDERS, Outcome
from harness.settings.expectations import ExpectedSettings
from harness.tables.event_counts import EventCounts


class Emulation(Struct, frozen=True, kw_only=True):
    """What the emulator did in place of an NPU; outside of captures it counts nothing."""

    operators_computed: int
    operators_not_computed: int
    """Launches whose outputs are zeros: accepted, with their shapes, and no more."""
    not_computed: dict[str, int] = {}
    """These, by operator."""


class Capture(Struct, frozen=True, kw_only=True):
    """A run folder read back: what verify, analyse and report work on."""

    folder: Path
    expected: ExpectedSettings
    outcome: Outcome
    analysis: Outcome | None = None
    """How the device's own analysis of its captures ended; null: there was none."""
    tables: dict[str, pl.DataFrame]
    """By name, with the columns of `harness.tables.SCHEMAS`; empty ones included."""
    raw: tuple[str, ...]
    """Files that the profiler wrote, relative to the folder."""
    event_counts: dict[str, EventCounts] = {}
    """What became of the profiler's events, by activity type or kind of row."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read."""
    lost: tuple[str, ...] = ()
    """What could not be read, with file and place."""
    emulation: Emulation | None = None
    """Null on a real device."""
    calls: tuple[dict[str, Any], ...] = ()
    """The profiling calls of a rehearsal, as they were recorded."""

    @property
    def cycle_folders(self) -> tuple[Path, ...]:
        """The folders that torch_npu left, one a window, in order."""
        return tuple(sorted(self.folder.glob(CYCLE_FOLDERS)))
