"""How long steps take, and what the device does in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from statistics import median
from typing import Final

import polars as pl
from msgspec.structs import replace

from harness.analyses.base import DEVICE
from harness.capture.capture import Capture
from harness.capture.run_record import Timing
from harness.tables.intervals import union, union_within, with_ends
from harness.tables.selection import is_communication, within_steps
from harness.tables.step_statistics import median_interval, warming_up

LONGEST: Final = 50
"""Gaps of each device that are kept."""
_STEP: Final = (*DEVICE, "step")
_RANGE: Final = (*_STEP, "start_ns", "duration_ns")
_PARTS: Final = (
    "span_ns",
    "compute_ns",
    "communication_ns",
    "overlapped_ns",
    "idle_ns",
    "launched_ns",
    "kernels",
)


def step_times(capture: Capture) -> dict[str, Timing]:
    """Return the step times by phase, for the phases that were timed: baseline and active."""
    steps = capture.tables["steps"]
    timing = {}
    for phase in ("baseline", "active"):
        # A step that several devices ran has a row for each, and one time on the host.
        rows = steps.filter(pl.col("phase") == phase)
        first = pl.struct("rank", "step", "start_ns").is_first_distinct()
        times = rows.filter(first | pl.col("step").is_null())["duration_ns"].to_list()
        if times:
            timing[phase] = _timing(times)
    if "baseline" in timing:
        parts = list(_baseline_parts(steps))
        timing["baseline"] = replace(
            timing["baseline"],
            warming_up=warming_up(parts[0]),
            parts=tuple(map(_timing, parts)) if len(parts) > 1 else (),
        )
    return timing


def _timing(times: Sequence[int]) -> Timing:
    return Timing(
        steps=len(times),
        median_ns=round(median(times)),
        min_ns=min(times),
        max_ns=max(times),
        interval=median_interval(times),
    )


def _baseline_parts(steps: pl.DataFrame) -> Iterator[list[int]]:
    """Yield the times of each row of unprofiled steps that no other step lies between."""
    ordered = steps.sort("start_ns", maintain_order=True).select("phase", "duration_ns").rows()
    for phase, row in groupby(ordered, key=itemgetter(0)):
        if phase == "baseline":
            yield [duration for _, duration in row]


def step_breakdown(capture: Capture) -> pl.DataFrame:
    """Return what each device did in each step.

    A step's span goes from the start of the first kernel that the step launched to the end of its
    last. Within it, everything that the device runs counts, whatever step launched it, as the union
    of the kernels' intervals on all streams. So compute_ns + communication_ns + idle_ns = span_ns,
    exactly. A device that runs behind the host has spans that overlap: launched_ns tells a step's
    own work apart.

    Kernels that no step launched have a row of their own for each device, without step, span and
    idle time; in a capture without steps, that row is of the whole capture and has them.

    Columns: rank, device, step; wall_ns (on the host; null if not timed); span_ns; compute_ns
    (under all kernels that do not communicate, copies included); communication_ns (under
    communication alone, not overlapped); overlapped_ns (under both: part of compute_ns); idle_ns
    (of the span, under none); launched_ns (under the kernels that the step launched); kernels (the
    count of those).
    """
    kernels = capture.tables["kernels"].select(*_RANGE, "name", "core")
    launched = within_steps(kernels)
    rows = _broken_down(_spans(launched), kernels)
    if launched.height < kernels.height:
        outside = kernels.filter(pl.col("step").is_null())
        no_span = pl.lit(None, pl.Int64)
        row = _broken_down(_spans(outside), outside)
        rows = pl.concat([rows, row.with_columns(span_ns=no_span, idle_ns=no_span)])
    return (
        rows.join(_wall_times(capture), on=["rank", "step"], how="left", nulls_equal=True)
        .select(*_STEP, "wall_ns", *_PARTS)
        .sort(_STEP, nulls_last=True)
    )


def _spans(kernels: pl.DataFrame) -> pl.DataFrame:
    """Return the span of each step on each device, and the work that it launched."""
    counts = kernels.group_by(_STEP).agg(pl.len().cast(pl.Int64).alias("kernels"))
    return (
        union(kernels, _STEP)
        .rename({"union_ns": "launched_ns"})
        .join(counts, on=_STEP, how="left", nulls_equal=True)
    )


def _broken_down(spans: pl.DataFrame, kernels: pl.DataFrame) -> pl.DataFrame:
    """Return spans with what the device did in them."""
    communicates = is_communication(kernels)
    table = union_within(spans, kernels, DEVICE, "busy_ns")
    if communicates.any():
        table = union_within(table, kernels.filter(~communicates), DEVICE, "compute_ns")
        table = union_within(table, kernels.filter(communicates), DEVICE, "moving_ns")
    else:
        table = table.with_columns(compute_ns="busy_ns", moving_ns=pl.lit(0, pl.Int64))
    return table.with_columns(span_ns=pl.col("end_ns") - pl.col("start_ns")).select(
        *_STEP,
        communication_ns=pl.col("busy_ns") - pl.col("compute_ns"),
        overlapped_ns=pl.col("compute_ns") + pl.col("moving_ns") - pl.col("busy_ns"),
        idle_ns=pl.col("span_ns") - pl.col("busy_ns"),
        **{name: pl.col(name) for name in ("span_ns", "compute_ns", "launched_ns", "kernels")},
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
    """Return the longest times in which nothing ran on a device within a step.

    The gaps of a step add up to its idle_ns in `step_breakdown`; the `LONGEST` of each device are
    kept. A gap within the spans of several steps has a row for each.

    Columns: rank, device, step, start_ns, duration_ns, before (the kernel that ended last), after
    (the kernel that ended the gap), operator (the innermost one that was open when the gap began,
    on the thread that launched `after`; null if there was none or the thread was not recorded).
    """
    kernels = capture.tables["kernels"].select(*_RANGE, "name", "operator")
    gaps = (
        _within(_gaps(kernels), union(within_steps(kernels), _STEP))
        .select(*_STEP, "start_ns", "duration_ns", "before", "after", "operator")
        .sort("duration_ns", "start_ns", "step", descending=[True, False, False])
    )
    return gaps.with_columns(operator=_open_at(gaps, capture.tables["operators"]))


def _gaps(kernels: pl.DataFrame) -> pl.DataFrame:
    """Return all times between kernels in which a device ran none, in order by device."""
    latest = pl.col("covered_ns").is_null() | (pl.col("end_ns") > pl.col("covered_ns"))
    return (
        with_ends(kernels, DEVICE)
        .with_columns(
            before=pl.when(latest).then("name").forward_fill().shift(1).over(DEVICE),
        )
        .filter(pl.col("start_ns") > pl.col("covered_ns"))
        .select(
            *DEVICE,
            "before",
            "operator",
            start_ns="covered_ns",
            end_ns="start_ns",
            duration_ns=pl.col("start_ns") - pl.col("covered_ns"),
            after="name",
        )
    )


def _within(gaps: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Return the longest gaps of each device with the step, or steps, whose span has them.

    A span begins and ends with a kernel: it has the whole of a gap, or nothing.
    """
    of_device = gaps.partition_by(DEVICE, as_dict=True)
    parts = [gaps.clear().with_columns(step=pl.lit(None, pl.Int64))]
    for device, steps in spans.partition_by(DEVICE, as_dict=True).items():
        if device not in of_device:
            continue
        here = of_device[device]
        begun = steps["start_ns"].sort().search_sorted(here["start_ns"], side="right")
        over = steps["end_ns"].sort().search_sorted(here["start_ns"], side="right")
        longest = (
            here.filter(begun > over)
            .sort("duration_ns", descending=True, maintain_order=True)
            .head(LONGEST)
        )
        pairs = longest.join(
            steps.select("step", span_start_ns="start_ns", span_end_ns="end_ns"), how="cross"
        ).filter(
            pl.col("start_ns") >= pl.col("span_start_ns"), pl.col("end_ns") <= pl.col("span_end_ns")
        )
        parts.append(pairs.head(LONGEST).select(*gaps.columns, "step"))
    return pl.concat(parts)


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
