"""What the analyses share: shares, means and sums of a column."""

from __future__ import annotations

import polars as pl

DEVICE = ("rank", "device")
"""The columns that identify a device."""


def share(column: str) -> pl.Expr:
    """Return each value's part of the column's sum, 0 to 1, as `share`; null where that is 0."""
    total = pl.col(column).sum()
    return pl.when(total != 0).then(pl.col(column) / total).alias("share")


def mean(column: str) -> pl.Expr:
    """Return the mean in whole units, as `mean_ns`."""
    return pl.col(column).mean().round().cast(pl.Int64).alias("mean_ns")


def sum_or_null(column: str) -> pl.Expr:
    """Return the sum; null where there is nothing to add up."""
    return pl.when(pl.col(column).is_not_null().any()).then(pl.col(column).sum()).alias(column)
