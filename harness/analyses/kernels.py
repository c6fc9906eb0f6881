"""Which kernels take the device's time: by name, type, shape and precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from operator import itemgetter
from typing import Final

import polars as pl

from harness.analyses.base import mean, share
from harness.capture.capture import Capture
from harness.tables.selection import is_communication, within_steps

_SIGNATURE: Final = ("type", "input_shapes", "input_dtypes", "output_shapes", "output_dtypes")
_FILLERS: Final = ("", "DT_UNDEFINED", "UNDEFINED", "NULL", "N/A")
"""What the profiler writes for an input that is absent."""


def hot_kernels(capture: Capture) -> pl.DataFrame:
    """Return device kernels by name and input shapes, the one with the most time first.

    Columns: name, type, input_shapes, count, duration_ns (sum), share (of all kernel time).
    """
    return (
        within_steps(capture.tables["kernels"])
        .group_by("name", "type", "input_shapes")
        .agg(pl.len().alias("count"), pl.col("duration_ns").sum())
        .with_columns(share("duration_ns"))
        .sort("duration_ns", "name", "count", descending=[True, False, True])
    )


def kernels_by_type(capture: Capture) -> pl.DataFrame:
    """Return kernels by type and by the unit that ran them, the one with the most time first.

    Columns: type, core (null where not recorded), count, duration_ns (sum), mean_ns, share (of all
    kernel time, 0 to 1).
    """
    return (
        within_steps(capture.tables["kernels"])
        .group_by("type", "core")
        .agg(
            pl.len().alias("count"),
            pl.col("duration_ns").sum().alias("sum_ns"),
            mean("duration_ns"),
        )
        .rename({"sum_ns": "duration_ns"})
        .with_columns(share("duration_ns"))
        .sort("duration_ns", "type", "core", descending=[True, False, False], nulls_last=True)
    )


def kernels_by_shape(capture: Capture) -> pl.DataFrame:
    """Return kernels by type and by the shapes and dtypes of what they read and wrote.

    Columns: type, input_shapes, input_dtypes, output_shapes, output_dtypes (null where not
    recorded), count, duration_ns (sum), min_ns, mean_ns, max_ns, share (of all kernel time).
    """
    time = pl.col("duration_ns")
    return (
        within_steps(capture.tables["kernels"])
        .group_by(_SIGNATURE)
        .agg(
            pl.len().alias("count"),
            time.sum().alias("sum_ns"),
            time.min().alias("min_ns"),
            mean("duration_ns"),
            time.max().alias("max_ns"),
        )
        .rename({"sum_ns": "duration_ns"})
        .with_columns(share("duration_ns"))
        .sort("duration_ns", "type", "count", descending=[True, False, True], nulls_last=True)
    )


def precision_mix(capture: Capture) -> pl.DataFrame:
    """Return the device time of computing kernels by type and by the dtype of their main input.

    The main input is the largest, the first of equals; the first of all where no shapes were
    recorded. Communication kernels are left out.

    Columns: type, dtype (null where not recorded), count, duration_ns (sum), share (of all
    computing time, 0 to 1).
    """
    kernels = within_steps(capture.tables["kernels"])
    groups = (
        kernels.filter(~is_communication(kernels))
        .group_by("type", "input_shapes", "input_dtypes")
        .agg(pl.len().alias("count"), pl.col("duration_ns").sum())
    )
    inputs = zip(groups["input_shapes"].to_list(), groups["input_dtypes"].to_list(), strict=True)
    main = pl.Series([_main_dtype(*both) for both in inputs], dtype=pl.String)
    return (
        groups.with_columns(dtype=main)
        .group_by("type", "dtype")
        .agg(pl.col("count", "duration_ns").sum())
        .with_columns(share("duration_ns"))
        .sort("duration_ns", "type", "dtype", descending=[True, False, False], nulls_last=True)
    )


def _main_dtype(
    shapes: Sequence[Sequence[int]] | None, dtypes: Sequence[str | None] | None
) -> str | None:
    # Not the first: a convolution's gradient begins with a small tensor of integers.
    sized = zip_longest((math.prod(shape) for shape in shapes or ()), dtypes or (), fillvalue=None)
    real = [(size or 0, dtype) for size, dtype in sized if dtype and dtype not in _FILLERS]
    return max(real, key=itemgetter(0), default=(0, None))[1]
