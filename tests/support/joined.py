"""Merged tables written by hand, as the join of several runs makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from harness import tables
from harness.bottlenecks.table import bottlenecks
from harness.settings.request import Analysis
from tests.support.composing import composed

SHAPES: list[object] = [[2, 3], [3, 4]]
"""What kernels read unless a test says otherwise."""


def joined(runs: Sequence[str], columns: dict[str, list[object]]) -> pl.DataFrame:
    """Return kernels of several runs: those that are not given have shapes and run on AI cores."""
    rows = len(next(iter(columns.values())))
    usual: dict[str, list[object]] = {
        "rank": [0] * rows,
        "device": [0] * rows,
        "step": [1] * rows,
        "stream": [2] * rows,
        "name": [f"kernel{row}" for row in range(rows)],
        "type": ["MatMulV2"] * rows,
        "core": ["AI_CORE"] * rows,
        "input_shapes": [SHAPES] * rows,
        "input_dtypes": [["FLOAT16", "FLOAT16"]] * rows,
        "output_shapes": [[[2, 4]]] * rows,
        "output_dtypes": [["FLOAT16"]] * rows,
    }
    durations = [f"duration_ns@{run}" for run in runs]
    times: dict[str, list[object]] = {name: [1000] * rows for name in durations}
    given = usual | times | columns
    table = tables.frame("kernels", given).drop(
        "start_ns", "duration_ns", "wait_ns", "operator", "correlation"
    )
    have = pl.sum_horizontal(pl.col(name).is_not_null() for name in durations)
    return table.with_columns(
        pl.col(durations).cast(pl.Int64),
        position=pl.int_range(pl.len(), dtype=pl.Int64),
        runs=have.cast(pl.Int32),
        ambiguous=pl.lit(value=False),
    )


def analysis(*overrides: str) -> Analysis:
    """The shipped settings, with overrides."""
    return composed(*overrides).analysis


def rows(
    columns: dict[str, list[object]], *runs: str, overrides: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The table of these kernels, as rows."""
    return bottlenecks(joined(runs, columns), runs, analysis(*overrides)).rows(named=True)


def only(columns: dict[str, list[object]], *runs: str, **more: Any) -> dict[str, Any]:
    """The only row of the table of these kernels."""
    (row,) = rows(columns, *runs, **more)
    return row
