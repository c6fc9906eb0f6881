"""What readers found in several captures becomes the cycles of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from harness import tables
from harness.readers.base import LazyTables, ReadResult
from harness.tables.event_counts import EventCounts


def write(results: Sequence[ReadResult], folder: Path) -> None:
    """Write what readers found as the cycles of a run, to be joined like those of torch."""
    for number, reading in enumerate(results):
        frames = reading.frames
        for name in frames:
            frame = frames.lazy(name) if isinstance(frames, LazyTables) else frames[name]
            if isinstance(frame, pl.DataFrame):
                # A reader gives the columns that it knows; the others are null.
                frame = tables.frame(name, {column.name: column for column in frame})
            tables.write(frame, folder / f"{number:03d}" / f"{name}.parquet")


def total(results: Sequence[ReadResult]) -> dict[str, EventCounts]:
    """Add up the accounts of what became of the events."""
    found: dict[str, EventCounts] = {}
    for reading in results:
        for kind, more in reading.event_counts.items():
            found[kind] = found[kind] + more if kind in found else more
    return found
