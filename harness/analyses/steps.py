"""How long steps take, and what the device does in them."""

from __future__ import annotations

from typing import Final

import polars as pl

from harness.analyses.base import DEVICE
from harness.capture.capture import Capture
from harness.capture.run_record import Timing
from harness.tables.intervals import union, with_ends
from harness.tables.selection import is_communication, within_steps

LONGEST: Final = 50
"""Gaps of each device that are kept."""
_STEP: Final = (*DEVICE, "step")
_RANGE: Final = (*_STEP, "start_ns", "duration_ns")


def step_times(capture: Capture) -> dict[str, Timing]:
    """Return the step times by phase, for the phases that were timed: baseline and active."""
    timing = {}
    for phase in ("baseline", "active"):
        times = capture.tables["steps"].filter(pl.col("phase") == phase)["duration_ns"]
        if len(times):
            low, middle, high = times.min(), times.median(), times.max()
            assert isinstance(low, int)
            assert isinstance(high, int)
            assert isinstance(middle, float)
            timing[phase] = Timing(
                steps=len(times), median_ns=round(middle), min_ns=low, max_ns=high
            )
    return timing


def step_breakdown(capture: Capture) -> pl.DataFrame:
    """Return what each device did in each step.

    Times are of the union of the kernels' intervals, whatever their stream; a step's kernels are
    those that it launched. compute_ns + communication_ns + idle_ns = span_ns, exactly.

    Columns: rank, device, step; wall_ns (on the host; null if not timed); span_ns (from the
    start of its first kernel to the end of its last); compute_ns (under all kernels that do not
    communicate, copies included); communication_ns (under communication alone, not overlapped);
    overlapped_ns (under both: part of compute_ns); idle_ns (of the span, under none).
    """
    kernels = within_steps(capture.tables["kernels"].select(*_RANGE, "name", "core"))
    communicates = is_communication(kernels)
    busy = union(kernels, _STEP)
    computing, communicating = (
        union(kernels.filter(chosen), _STEP).select(*_STEP, pl.col("union_ns").alias(name))
        for chosen, name in ((~communicates, "compute_ns"), (communicates, "moving_ns"))
    )
    return (
        busy.join(computing, on=_STEP, how="left", nulls_equal=True)
        .join(communicating, on=_STEP, how="left", nulls_equal=True)
        .join(_wall_times(capture), on=["rank", "step"], how="left", nulls_equal=True)
        .with_columns(pl.col("compute_ns", "moving_ns").fill_null(0))
        .with_columns(span_ns=pl.col("end_ns") - pl.col("start_ns"))
        .select(
            *_STEP,
            "wall_ns",
            "span_ns",
            "compute_ns",
            (pl.col("union_ns") - pl.col("compute_ns")).alias("communication_ns"),
            (pl.col("compute_ns") + pl.col("moving_ns") - pl.col("union_ns")).alias(
                "overlapped_ns"
            ),
            (pl.col("span_ns") - pl.col("union_ns")).alias("idle_ns"),
        )
        .sort(_STEP, nulls_last=True)
    )


def _wall_times(capture: Capture) -> pl.DataFrame:
    """Return how long each step took on the host: rank, step, wall_ns."""
    return (
        capture.tables["steps"]
        .filter(pl.col("step").is_not_null())
        .unique(["rank", "step"], keep="first")
        .select("rank", "step", pl.col("duration_ns").alias("wall_ns"))
    )


def device_gaps(capture: Capture) -> pl.DataFrame:
    """Return the longest times in which a device was idle within a step.

    The gaps of a step add up to its idle_ns in `step_breakdown`; the `LONGEST` of each device are
    kept.

    Columns: rank, device, step, start_ns, duration_ns, before (the kernel that ended last), after
    (the kernel that ended the gap), operator (the innermost one that was open when the gap began,
    on the thread that launched `after`; null if there was none or the thread was not recorded).
    """
    kernels = within_steps(capture.tables["kernels"].select(*_RANGE, "name", "operator"))
    ends = pl.col("end_ns")
    latest = pl.col("covered_ns").is_null() | (ends > pl.col("covered_ns"))
    gaps = (
        with_ends(kernels, _STEP)
        .with_columns(
            before=pl.when(latest).then("name").forward_fill().shift(1).over(_STEP),
        )
        .filter(pl.col("start_ns") > pl.col("covered_ns"))
        .with_columns(gap_ns=pl.col("start_ns") - pl.col("covered_ns"))
        .filter(pl.col("gap_ns").rank("ordinal", descending=True).over(DEVICE) <= LONGEST)
        .select(
            *_STEP,
            pl.col("covered_ns").alias("start_ns"),
            pl.col("gap_ns").alias("duration_ns"),
            "before",
            pl.col("name").alias("after"),
            "operator",
        )
        .sort("duration_ns", "start_ns", descending=[True, False])
    )
    return gaps.with_columns(operator=_open_at(gaps, capture.tables["operators"]))


def _open_at(gaps: pl.DataFrame, operators: pl.DataFrame) -> pl.Series:
    """Return the operator that was open at each gap's start, on the thread that ended it."""
    threads = gaps.join(
        operators.select("id", "thread"),
        left_on="operator",
        right_on="id",
        how="left",
        maintain_order="left",
    )["thread"]
    names = [
        None if thread is None else _innermost(operators, thread, rank, time)
        for thread, rank, time in zip(threads, gaps["rank"], gaps["start_ns"], strict=True)
    ]
    return pl.Series(names, dtype=pl.String)


def _innermost(operators: pl.DataFrame, thread: int, rank: int | None, time: int) -> str | None:
    open_ = operators.filter(
        pl.col("thread") == thread,
        pl.col("rank").eq_missing(rank),
        pl.col("start_ns") <= time,
        pl.col("start_ns") + pl.col("duration_ns") > time,
    )
    # The one that began last, and ends first.
    names = open_.sort("start_ns", -pl.col("duration_ns"), maintain_order=True)["name"]
    return names[-1] if len(names) else None
