"""What the comparisons share: what they find, when they do not apply, whose files they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from harness.capture.capture import Capture
from harness.readers.ascend import folder as ascend

EXACT: Final = 1e-5
"""Sums of the same times differ by no more, relatively."""


class CrossCheckResult(NamedTuple):
    """What was compared, and how much of it differs."""

    expected: str
    actual: str
    difference: float
    """Relative."""
    reason: str = ""
    """Empty if that is within what is allowed."""


class NotApplicableError(Exception):
    """There is nothing to compare; says why."""


Compare = Callable[[Capture], CrossCheckResult]


class Sums(NamedTuple):
    """Two sources side by side, a row for each key, the one that is most off first."""

    rows: pl.DataFrame
    """The keys, both columns (0 for what is absent) and ``off``, their difference."""
    told: Any
    found: Any
    off: Any

    @property
    def difference(self) -> float:
        """How much differs, relatively."""
        return float(self.off / max(self.told, self.found, 1))


def sums(
    told: pl.DataFrame, found: pl.DataFrame, on: Sequence[str], columns: tuple[str, str]
) -> Sums:
    """Put two sums by the same keys side by side; `columns` name the one and the other."""
    one, other = columns
    rows = (
        told.join(found, on=on, how="full", coalesce=True)
        .with_columns(pl.all().exclude(*on).fill_null(0))
        .with_columns(off=(pl.col(one) - pl.col(other)).abs())
        .sort("off", descending=True)
    )
    return Sums(rows, *rows.select(pl.col(one, other, "off").sum()).row(0))


def counted(what: str, expected: int, found: int, why: str) -> CrossCheckResult:
    """Compare two counts."""
    difference = abs(expected - found) / max(expected, found, 1)
    return CrossCheckResult(
        f"{expected:,} {what}", f"{found:,} rows", difference, why if expected != found else ""
    )


def files(capture: Capture, name: str) -> list[tuple[Path, Path]]:
    """Return the file of this name of each capture, with the capture's folder."""
    found = [(ascend.output(folder, name), folder) for folder in capture.cycle_folders]
    there = [(path, folder) for path, folder in found if path is not None]
    if not there:
        raise NotApplicableError(f"there is no {name}")
    if len(there) < len(found):
        raise NotApplicableError(f"only {len(there)} of {len(found)} captures have {name}")
    return there


def cells(
    table: pl.DataFrame | None, texts: Mapping[str, str], numbers: Mapping[str, str]
) -> pl.DataFrame:
    """Choose columns of a csv by the names that they are to have."""
    names = {**texts, **numbers}
    if table is None or not names.keys() <= set(table.columns):
        raise NotApplicableError(f"its columns are not {', '.join(names)}")
    return (
        table.select(list(names))
        .rename(names)
        .with_columns(pl.col(list(numbers.values())).cast(pl.Float64, strict=False))
    )
