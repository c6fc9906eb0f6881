"""What a database says of the program's own marks, and of where it comes from."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from harness.readers.base import CaptureError
from harness.readers.sqlite import opened


def marks(path: Path) -> pl.DataFrame:
    """Return the marks and ranges of mstx: name, domain, start_ns and duration_ns."""
    types = dict.fromkeys(("startNs", "endNs", "message", "domainId"), pl.Int64())
    with opened(path) as database:
        found = database.read("MSTX_EVENTS", types)
        marks = pl.DataFrame(
            {
                "name": database.texts(found["message"]),
                "domain": database.texts(found["domainId"]),
                "start_ns": found["startNs"],
                "duration_ns": found["endNs"] - found["startNs"],
            }
        )
    return marks.sort("start_ns", maintain_order=True)


def emulated(path: Path) -> bool:
    """Tell whether the emulator made the data of a database: it says so there."""
    types = dict.fromkeys(("name", "value"), pl.String())
    try:
        with opened(path) as database:
            found = database.read("META_DATA", types, "name = 'emulated'")
    except CaptureError:
        return False
    return "true" in found["value"]
