"""What readers found in several captures becomes the cycles of one run."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from harness import tables
from harness.paths import RunFolder
from harness.readers.base import LazyTables, ReadResult
from harness.tables.event_counts import EventCounts


def write(results: Sequence[ReadResult], run: RunFolder) -> None:
    """Write what readers found as the cycles of a run, to be joined like those of torch."""
    for number, result in enumerate(results):
        frames = result.frames
        for name in frames:
            frame = frames.lazy(name) if isinstance(frames, LazyTables) else frames[name]
            if isinstance(frame, pl.DataFrame):
                # A reader gives the columns that its source has; the others are null.
                frame = tables.frame(name, {column.name: column for column in frame})
            tables.write(frame, run.cycle(number) / f"{name}.parquet", run.path)


def total(results: Sequence[ReadResult]) -> dict[str, EventCounts]:
    """Add up the counts of events, by kind."""
    totals: dict[str, EventCounts] = {}
    for result in results:
        for kind, counts in result.event_counts.items():
            totals[kind] = totals[kind] + counts if kind in totals else counts
    return totals
