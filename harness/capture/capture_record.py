"""capture.json: what a capture is checked against, its source, what its readers reported."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from harness.capture.capture import Emulation
from harness.execution.protocol import SCHEMA_VERSION
from harness.settings.expectations import ExpectedSettings
from harness.tables.event_counts import EventCounts


class ReaderReport(Struct, frozen=True, kw_only=True):
    """What readers reported of the files that they turned into tables."""

    event_counts: dict[str, EventCounts] = {}
    """What became of the profiler's events, by activity type or kind of row."""
    lost: tuple[str, ...] = ()
    """What could not be read, with file and place."""
    remarks: tuple[str, ...] = ()
    """What else a user should know."""
    emulation: Emulation | None = None
    """What the emulator did in place of an NPU; null on a real device."""
    settings: dict[str, Any] = {}
    """Of an imported capture, the settings that its metadata reports."""


class CaptureRecord(Struct, frozen=True, kw_only=True):
    """capture.json: all that a saved capture needs beside its tables to be judged and shown.

    Written when a run starts or a capture is imported, and again when its tables are written.
    """

    schema_version: int = SCHEMA_VERSION
    source: str = ""
    """The path of an imported capture; empty for a run of the harness."""
    rank: int | None = None
    """Of a source with several ranks, the one that was imported; null for all."""
    expected: ExpectedSettings
    reported: ReaderReport | None = None
    """Null until the tables are written."""
