"""Read the program's own marks, and whether it is emulated, from a database."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from harness.readers.base import CaptureError
from harness.readers.sqlite import opened


def marks(path: Path) -> pl.DataFrame:
    """Return the marks and ranges of mstx: name, domain, start_ns and duration_ns."""
    types = dict.fromkeys(("startNs", "endNs", "message", "domainId"), pl.Int64())
    with opened(path) as database:
        events = database.read("MSTX_EVENTS", types)
        marks = pl.DataFrame(
            {
                "name": database.texts(events["message"]),
                "domain": database.texts(events["domainId"]),
                "start_ns": events["startNs"],
                "duration_ns": events["endNs"] - events["startNs"],
            }
        )
    return marks.sort("start_ns", maintain_order=True)


def emulated(path: Path) -> bool:
    """Tell whether the emulator made a database: its metadata says so."""
    types = dict.fromkeys(("name", "value"), pl.String())
    try:
        with opened(path) as database:
            rows = database.read("META_DATA", types, "name = 'emulated'")
    except CaptureError:
        return False
    return "true" in rows["value"]
