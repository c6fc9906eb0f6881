"""What a run counts in a step: figures without noise, which tell a change at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final, Literal

import polars as pl
from msgspec import Struct

from harness.analyses.memory import memory_peaks
from harness.capture.capture import Capture
from harness.tables.selection import within_steps

CountName = Literal["kernels", "launches", "operators", "collective_bytes", "peak_memory"]


class Counts(Struct, frozen=True, kw_only=True):
    """The counts of one run; a name is missing where nothing was recorded."""

    values: dict[str, Fraction]
    """By `CountName`: in a step, the mean over the recorded steps; peak_memory: bytes, the highest
    of a device."""
    peak_operator: str = ""
    """The operator that reached the peak."""


def counts(capture: Capture) -> Counts:
    """Return what a capture counts; of one without steps, in the whole capture."""
    steps = max(_steps(capture), 1)
    found = {name: of(capture) for name, of in COUNTS.items()}
    values: dict[str, Fraction] = {
        name: Fraction(count, steps) for name, count in found.items() if count is not None
    }
    peaks = memory_peaks(capture).drop_nulls("total_allocated")
    operator = ""
    if peaks.height:
        peak = peaks.sort("total_allocated", descending=True).row(0, named=True)
        values["peak_memory"] = Fraction(peak["total_allocated"])
        operator = peak["operator"] or ""
    return Counts(values=values, peak_operator=operator)


def _steps(capture: Capture) -> int:
    recorded = (pl.col("phase") == "active") & pl.col("step").is_not_null()
    return capture.tables["steps"].filter(recorded).height


def _rows(capture: Capture, table: str) -> int | None:
    return within_steps(capture.tables[table]).height or None


def _launches(capture: Capture) -> int | None:
    """Count the calls of the driver that started something on the device, each once."""
    launched = within_steps(capture.tables["kernels"])["correlation"].drop_nulls()
    return launched.n_unique() or None


def _collective_bytes(capture: Capture) -> int | None:
    sizes = within_steps(capture.tables["communication"])["bytes"].drop_nulls()
    return int(sizes.sum()) if sizes.len() else None


COUNTS: Final[Mapping[CountName, Callable[[Capture], int | None]]] = {
    "kernels": lambda capture: _rows(capture, "kernels"),
    "launches": _launches,
    "operators": lambda capture: _rows(capture, "operators"),
    "collective_bytes": _collective_bytes,
}
"""Of all recorded steps together; None where nothing was recorded."""
