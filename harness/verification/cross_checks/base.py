"""What the cross-checks share: their results, when they do not apply, and whose files they read."""

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
    """What two sources of a capture say of the same thing."""

    expected: str
    """What the first source says."""
    actual: str
    """What the second source says."""
    difference: float
    """Between the two, relative."""
    reason: str = ""
    """What is wrong; empty if the difference is within what is allowed."""


class NotApplicableError(Exception):
    """There is nothing to compare; the message says why."""


Compare = Callable[[Capture], CrossCheckResult]


class Sums(NamedTuple):
    """Two sources side by side, one row for each key, the largest difference first."""

    rows: pl.DataFrame
    """The keys, both columns (0 for what is absent) and ``difference``."""
    expected: Any
    """The total of the first source."""
    actual: Any
    """The total of the second source."""
    difference: Any
    """The total of the rows' differences."""

    @property
    def relative(self) -> float:
        """The difference in proportion to the larger total."""
        return float(self.difference / max(self.expected, self.actual, 1))


def sums(
    expected: pl.DataFrame, actual: pl.DataFrame, on: Sequence[str], columns: tuple[str, str]
) -> Sums:
    """Put two sums by the same keys side by side; `columns` name the first and the second."""
    first, second = columns
    rows = (
        expected.join(actual, on=on, how="full", coalesce=True)
        .with_columns(pl.all().exclude(*on).fill_null(0))
        .with_columns(difference=(pl.col(first) - pl.col(second)).abs())
        .sort("difference", descending=True)
    )
    return Sums(rows, *rows.select(pl.col(first, second, "difference").sum()).row(0))


def counted(what: str, expected: int, rows: int, why: str) -> CrossCheckResult:
    """Compare a count with one of rows."""
    difference = abs(expected - rows) / max(expected, rows, 1)
    return CrossCheckResult(
        f"{expected:,} {what}", f"{rows:,} rows", difference, why if expected != rows else ""
    )


def files(capture: Capture, name: str) -> list[tuple[Path, Path]]:
    """Return the file of this name of each cycle, with the cycle's folder."""
    folders = capture.cycle_folders
    paths = [(ascend.output(folder, name), folder) for folder in folders]
    present = [(path, folder) for path, folder in paths if path is not None]
    if not present:
        raise NotApplicableError(f"there is no {name}")
    if len(present) < len(folders):
        raise NotApplicableError(f"only {len(present)} of {len(folders)} cycles have {name}")
    return present


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
