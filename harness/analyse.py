"""Analyse: plain functions from a capture to a table or a few figures. No drawing, no files."""

from __future__ import annotations

import polars as pl

from harness.emulator.calls import in_words
from harness.records import Capture, Timing, Views


def views(capture: Capture) -> Views:
    """Return the analyses that a summary shows; a new one is a field and a line here."""
    return Views(
        operators=hot_operators(capture),
        kernels=hot_kernels(capture),
        stages=stage_times(capture),
        memory=memory_peaks(capture),
        calls=profiling_calls(capture),
        files=analysed_files(capture),
    )


def hot_operators(capture: Capture) -> pl.DataFrame:
    """Return operators by name and input shapes, the one with the most self time first.

    Columns: name, input_shapes, count, self_ns, share (of all self time, 0 to 1), mean_ns (of the
    whole duration), device_ns, flops (sums; null where nothing has them).
    """
    operators = _recorded(capture.tables["operators"])
    return (
        operators.group_by("name", "input_shapes")
        .agg(
            pl.len().alias("count"),
            pl.col("self_ns").sum(),
            pl.col("duration_ns").mean().round().cast(pl.Int64).alias("mean_ns"),
            _sum_or_null("device_ns"),
            _sum_or_null("flops"),
        )
        .with_columns((pl.col("self_ns") / pl.col("self_ns").sum()).alias("share"))
        .sort("self_ns", "name", "count", descending=[True, False, True])
    )


def hot_kernels(capture: Capture) -> pl.DataFrame:
    """Return device kernels by name and input shapes, the one with the most time first.

    Columns: name, type, input_shapes, count, duration_ns (sum), share (of all kernel time).
    """
    return (
        _recorded(capture.tables["kernels"])
        .group_by("name", "type", "input_shapes")
        .agg(pl.len().alias("count"), pl.col("duration_ns").sum())
        .with_columns((pl.col("duration_ns") / pl.col("duration_ns").sum()).alias("share"))
        .sort("duration_ns", "name", "count", descending=[True, False, True])
    )


def step_times(capture: Capture) -> dict[str, Timing]:
    """Return the step times by phase, for the phases that were timed: baseline and active."""
    found = {}
    for phase in ("baseline", "active"):
        times = capture.tables["steps"].filter(pl.col("phase") == phase)["duration_ns"]
        if len(times):
            low, middle, high = times.min(), times.median(), times.max()
            assert isinstance(low, int)
            assert isinstance(high, int)
            assert isinstance(middle, float)
            found[phase] = Timing(
                steps=len(times), median_ns=round(middle), min_ns=low, max_ns=high
            )
    return found


def stage_times(capture: Capture) -> pl.DataFrame:
    """Return where the operators' self time goes among the named stages of a step.

    Columns: stage (null outside of all), operators (count), self_ns, share.
    """
    operators = _recorded(capture.tables["operators"])
    order = {name: place for place, name in enumerate(capture.outcome.stages)}
    return (
        operators.group_by("stage")
        .agg(pl.len().alias("operators"), pl.col("self_ns").sum())
        .with_columns((pl.col("self_ns") / pl.col("self_ns").sum()).alias("share"))
        .sort(pl.col("stage").replace_strict(order, default=len(order), return_dtype=pl.Int64))
    )


def memory_peaks(capture: Capture) -> pl.DataFrame:
    """Return, for each device, the highest memory in use and the operator that reached it.

    Columns: device, total_allocated (bytes), time_ns, operator (name, or null).
    """
    names = capture.tables["operators"].select(pl.col("id"), pl.col("name"))
    return (
        capture.tables["memory"]
        .sort("total_allocated", descending=True, nulls_last=True)
        .group_by("device", maintain_order=True)
        .first()
        .join(names, left_on="operator", right_on="id", how="left")
        .select("device", "total_allocated", "time_ns", pl.col("name").alias("operator"))
    )


def profiling_calls(capture: Capture) -> pl.DataFrame:
    """Return the ACL profiling calls of a rehearsal, in order, as CANN's header names them.

    Columns: call, arguments (in words), times (in a row).
    """
    rows = in_words(capture.calls)
    calls = pl.DataFrame(rows, {"call": pl.String, "arguments": pl.String}, orient="row")
    return (
        calls.with_columns(pl.struct("call", "arguments").rle_id().alias("run"))
        .group_by("run", maintain_order=True)
        .agg(pl.col("call").first(), pl.col("arguments").first(), pl.len().alias("times"))
        .drop("run")
    )


def analysed_files(capture: Capture) -> pl.DataFrame:
    """Return the files that torch_npu's analysis wrote, largest first.

    Columns: file, captures (in how many of them it is).
    """
    names = [name.rpartition("/")[2] for name in capture.raw if "ASCEND_PROFILER_OUTPUT/" in name]
    files = pl.DataFrame({"file": names}, {"file": pl.String})
    return files.group_by("file").len("captures").sort("file")


def _recorded(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the recorded steps; all of them, if the capture knows no steps."""
    within = table.filter(pl.col("step").is_not_null())
    return table if within.is_empty() else within


def _sum_or_null(column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null().any()).then(pl.col(column).sum()).alias(column)
