"""What the analyses share: which rows count, what part of a whole is, what communicates."""

from __future__ import annotations

import polars as pl

from harness.readers import launches

DEVICE = ("rank", "device")
"""The columns that tell devices apart."""


def within_steps(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of steps; all of them if the capture knows of no step."""
    outside = table["step"].null_count()
    return table if outside in {0, table.height} else table.drop_nulls("step")


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


def communicates(kernels: pl.DataFrame) -> pl.Series:
    """Tell which kernels move data between devices: HCCL's and NCCL's."""
    nccl = kernels["name"].str.contains(r"^nccl").fill_null(value=False)
    return launches.communicates(kernels) | nccl


def has_shapes() -> pl.Expr:
    """Tell which rows show a shape: those with several arguments, or with dimensions.

    A single argument without dimensions shows none: torch_npu writes the same empty cell for it as
    for an operator whose arguments were not recorded.
    """
    shapes = pl.col("input_shapes")
    bare = (shapes.list.len() == 1) & (shapes.list.first().list.len() == 0)
    return shapes.list.len().fill_null(0).gt(0) & ~bare.fill_null(value=False)
