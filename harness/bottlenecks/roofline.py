"""The roofline: how fast kernels could be on their chip, by their operations and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from harness.bottlenecks.counters import PRECISIONS
from harness.settings.request import Peaks

COLUMNS: Final = ("attainable_tops", "roof", "roof_share")


def roofline(keys: pl.DataFrame, peaks: Peaks) -> pl.DataFrame:
    """Return the table with attainable_tops, roof and roof_share.

    A roof is the least time that a part of the chip needs for a kernel's work, at its peak: the
    cube and the vector units for their operations, main memory and L2 for the bytes moved. The
    kernel's roof is the longest of them. A unit's peak is the mean of its precisions' peaks,
    weighted by the cycles spent on each, without `misc`. Null unless there is a peak for main
    memory and for each unit that has work; L2 only counts if its peak is known.

    Args:
        keys: roofline|cube, roofline|vector (operations), roofline|main_memory, roofline|l2
            (bytes), roofline|ns, all of the same kernels; cube_fp16_share and the other shares.
            The first five are dropped from the result.
        peaks: The peaks of the chip.
    """
    work = {name: pl.col(f"roofline|{name}") for name in ("cube", "vector", "main_memory", "l2")}
    # Operations in a nanosecond are 1e-3 Tops; bytes in a nanosecond are GB/s.
    units = {
        unit: pl.when(work[unit] == 0)
        .then(0.0)
        .otherwise(work[unit] / (_peak_of(unit, peaks) * 1e3))
        for unit in ("cube", "vector")
    }
    times = units | {
        "main_memory": work["main_memory"] / _literal(peaks.main_memory_gbps),
        "l2": work["l2"] / _literal(peaks.l2_gbps),
    }
    needed = ("cube", "vector", "main_memory")
    has_roofs = pl.all_horizontal(*(pl.col(f"roof|{name}").is_not_null() for name in needed))
    least = pl.max_horizontal(*(pl.col(f"roof|{name}") for name in times))
    return (
        keys.with_columns(time.alias(f"roof|{name}") for name, time in times.items())
        .with_columns(pl.when(has_roofs & (least > 0)).then(least).alias("roof|ns"))
        .with_columns(
            attainable_tops=(work["cube"] + work["vector"]) / pl.col("roof|ns") / 1e3,
            roof=_longest(list(times)),
            roof_share=pl.when(pl.col("roofline|ns") > 0).then(
                pl.col("roof|ns") / pl.col("roofline|ns")
            ),
        )
        .drop("roof|ns", *(f"roof|{name}" for name in times))
        .drop("roofline|ns", *(f"roofline|{name}" for name in work))
    )


def _longest(names: list[str]) -> pl.Expr:
    longest = pl.lit(None, pl.String)
    for name in reversed(names):
        is_it = pl.col(f"roof|{name}") == pl.col("roof|ns")
        longest = pl.when(is_it.fill_null(value=False)).then(pl.lit(name)).otherwise(longest)
    return longest


def _literal(peak: float | None) -> pl.Expr:
    return pl.lit(peak, pl.Float64)


def _peak_of(unit: str, peaks: Peaks) -> pl.Expr:
    """Return the peak of a unit in Tops, for the precisions that it used."""
    tops: Mapping[str, float | None] = {
        "cube_fp16": peaks.cube_fp16_tops,
        "cube_int8": peaks.cube_int8_tops,
        "vector_fp32": peaks.vector_fp32_tops,
        "vector_fp16": peaks.vector_fp16_tops,
        "vector_int32": peaks.vector_int32_tops,
    }
    shares = {
        name: pl.col(f"{name}_share").fill_null(0.0)
        for name in (f"{unit}_{precision}" for precision in PRECISIONS[unit])
        if name in tops
    }
    unknown = pl.any_horizontal(
        *(share > 0 for name, share in shares.items() if tops[name] is None), pl.lit(value=False)
    )
    computing = pl.sum_horizontal(*shares.values())
    weighted = pl.sum_horizontal(*(share * (tops[name] or 0.0) for name, share in shares.items()))
    return pl.when(~unknown & (computing > 0)).then(weighted / computing)
