"""Which operators take the host's time, and what they launch."""

from __future__ import annotations

import polars as pl

from harness.analyses.base import mean, share, sum_or_null
from harness.capture.capture import Capture
from harness.tables.event_counts import LinkedKernels
from harness.tables.selection import has_shapes, within_steps


def hot_operators(capture: Capture) -> pl.DataFrame:
    """Return operators by name and input shapes, the one with the most self time first.

    Columns: name, input_shapes, count, self_ns, mean_ns (of the whole duration), device_ns, flops
    (sums; null where nothing has them), share (of all self time, 0 to 1).
    """
    columns = ("step", "name", "input_shapes", "self_ns", "duration_ns", "device_ns", "flops")
    return (
        within_steps(capture.tables["operators"].select(columns))
        .group_by("name", "input_shapes")
        .agg(
            pl.len().alias("count"),
            pl.col("self_ns").sum(),
            mean("duration_ns"),
            sum_or_null("device_ns"),
            sum_or_null("flops"),
        )
        .with_columns(share("self_ns"))
        .sort("self_ns", "name", "count", descending=[True, False, True])
    )


def stage_times(capture: Capture) -> pl.DataFrame:
    """Return how the operators' self time is divided among the named stages of a step.

    Columns: stage (null outside of all), operators (count), self_ns, share.
    """
    order = {name: place for place, name in enumerate(capture.outcome.stages)}
    return (
        within_steps(capture.tables["operators"].select("step", "stage", "self_ns"))
        .group_by("stage", maintain_order=True)
        .agg(pl.len().alias("operators"), pl.col("self_ns").sum())
        .with_columns(share("self_ns"))
        .sort(
            pl.col("stage").replace_strict(order, default=len(order), return_dtype=pl.Int64),
            pl.col("stage").is_null(),
            maintain_order=True,
        )
    )


def operator_kernels(capture: Capture) -> pl.DataFrame:
    """Return the kernels that operators launched, the operator with the most device time first.

    Columns: operator (name; null for kernels that have none), calls (those that launched a
    kernel), kernels (count), device_ns (sum over the kernels), host_ns (sum over the calls'
    durations; null without an operator), share (of all device time, 0 to 1).
    """
    kernels = within_steps(capture.tables["kernels"])
    launched = kernels.group_by("operator").agg(
        pl.len().alias("kernels"), pl.col("duration_ns").sum().alias("device_ns")
    )
    calls = capture.tables["operators"].select(
        pl.col("id").alias("operator"), "name", pl.col("duration_ns").alias("host_ns")
    )
    return (
        launched.join(calls, on="operator", how="left")
        .group_by(pl.col("name").alias("operator"))
        .agg(
            pl.col("name").count().alias("calls"),
            pl.col("kernels", "device_ns").sum(),
            sum_or_null("host_ns"),
        )
        .with_columns(share("device_ns"))
        .sort("device_ns", "operator", descending=[True, False], nulls_last=True)
    )


def linked(capture: Capture) -> LinkedKernels | None:
    """Return how many of all kernels have an operator; None without kernels."""
    kernels = capture.tables["kernels"]
    if kernels.is_empty():
        return None
    launched = kernels.filter(pl.col("operator").is_not_null())
    return LinkedKernels(
        kernels=kernels.height,
        linked=launched.height,
        time_ns=int(kernels["duration_ns"].sum()),
        linked_ns=int(launched["duration_ns"].sum()),
    )


def shape_coverage(capture: Capture) -> pl.DataFrame:
    """Return how many rows have input shapes, by type of kernel and by name of operator.

    Communication kernels, and operators without tensors, have none to record; a single argument
    without dimensions does not count as a shape.

    Columns: table (kernels or operators), name (of a kernel its type, null where not
    recorded; of an operator its name), count, with_shapes (count), share (with_shapes / count, 0
    to 1).
    """
    return pl.concat(
        _coverage(capture, table, name)
        for table, name in (("kernels", "type"), ("operators", "name"))
    )


def _coverage(capture: Capture, table: str, name: str) -> pl.DataFrame:
    return (
        within_steps(capture.tables[table])
        .group_by(pl.col(name).alias("name"))
        .agg(
            pl.len().alias("count"),
            has_shapes().sum().cast(pl.UInt32).alias("with_shapes"),
        )
        .with_columns((pl.col("with_shapes") / pl.col("count")).alias("share"))
        .sort("count", "name", descending=[True, False], nulls_last=True)
        .select(pl.lit(table).alias("table"), pl.all())
    )
