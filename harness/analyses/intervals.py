"""The union of intervals, on whole nanoseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

END: Final = pl.col("start_ns") + pl.col("duration_ns")


def with_ends(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Sort intervals within each group of `keys` by their start, longer ones first.

    Adds `end_ns`, and `covered_ns`: the latest end of all intervals before, null for the first.
    """
    return (
        table.with_columns(end_ns=END)
        .sort(*keys, "start_ns", -pl.col("duration_ns"), maintain_order=True)
        .with_columns(covered_ns=pl.col("end_ns").cum_max().shift(1).over(keys))
    )


def union(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return how long at least one interval was open, by group.

    Columns: `keys`; union_ns; start_ns and end_ns, the first start and the last end.
    """
    fresh = pl.col("end_ns") - pl.max_horizontal("start_ns", "covered_ns")
    return (
        with_ends(table, keys)
        .group_by(keys, maintain_order=True)
        .agg(
            fresh.clip(0).sum().alias("union_ns"),
            pl.col("start_ns").min(),
            pl.col("end_ns").max(),
        )
    )
