"""Readings of several captures become the parts of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from harness import tables
from harness.readers.base import Frames, Reading
from harness.tables.event_counts import Coverage


def keep(readings: Sequence[Reading], parts: Path) -> None:
    """Write readings as the parts of a run, so that they are joined like those of torch."""
    for number, reading in enumerate(readings):
        frames = reading.frames
        for name in frames:
            frame = frames.unmade(name) if isinstance(frames, Frames) else frames[name]
            if isinstance(frame, pl.DataFrame):
                # A reader gives the columns that it knows; the others are null.
                frame = tables.frame(name, {column.name: column for column in frame})
            tables.write(frame, parts / f"{number:03d}" / f"{name}.parquet")


def total(readings: Sequence[Reading]) -> dict[str, Coverage]:
    """Add up the accounts of what became of the events."""
    found: dict[str, Coverage] = {}
    for reading in readings:
        for kind, more in reading.coverage.items():
            found[kind] = found[kind] + more if kind in found else more
    return found
