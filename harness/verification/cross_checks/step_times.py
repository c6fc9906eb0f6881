"""Times of steps in torch_npu's analysis.db against what the devices did in these steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from harness.analyses.steps import step_breakdown
from harness.capture.capture import Capture
from harness.readers.ascend import folder as ascend
from harness.tables.intervals import with_ends
from harness.tables.selection import within_steps
from harness.verification.cross_checks.base import (
    EXACT,
    CrossCheckResult,
    NotApplicableError,
    files,
    sums,
)
from harness.verification.cross_checks.times import ROUNDED_NS

_PARTS: Final[Mapping[str, pl.Expr]] = {
    "Computing": pl.col("compute_ns"),
    "Communication": pl.col("communication_ns"),
    "Overlapped": pl.col("overlapped_ns"),
    "Free": pl.col("idle_ns"),
}
"""The parts of a step as StepTraceTime names them, from the columns of the table steps."""
_WHOLE: Final = 0
"""Stands for the step of a capture without steps."""


def database(capture: Capture) -> CrossCheckResult:
    """StepTraceTime has the times of `step_breakdown`, of all devices of a step together.

    torch_npu counts a kernel in each step in whose time on the device it starts, and counts all of
    it (`_trace_step_time_db_parser.py`). That is the same, unless steps overlap on the device.
    """
    folders = [folder for _, folder in files(capture, "analysis.db")]
    if any(ascend.output(folder, "step_trace_time.csv") for folder in folders):
        raise NotApplicableError("the times of steps were read from step_trace_time.csv")
    steps = capture.tables["steps"].filter(
        pl.any_horizontal(part.is_not_null() for part in _PARTS.values())
    )
    breakdown = step_breakdown(capture)
    if breakdown["step"].is_null().all() and steps["step"].is_null().all():
        steps, breakdown = (rows.with_columns(step=pl.lit(_WHOLE)) for rows in (steps, breakdown))
    of_kernels = breakdown.with_columns(pl.col("communication_ns") + pl.col("overlapped_ns"))
    reported, computed = _parts(steps, "reported_ns"), _parts(of_kernels, "kernels_ns")
    if reported.is_empty():
        raise NotApplicableError("StepTraceTime in analysis.db has no step of the workload")
    both = sums(reported, computed, ["step", "part"], ("reported_ns", "kernels_ns"))
    wrong = both.rows.filter(pl.col("difference") > pl.col("reported_ns") * EXACT + ROUNDED_NS)
    why = ""
    if wrong.height:
        if _overlap(capture):
            raise NotApplicableError(
                "steps overlap on the device, or no step launched some kernels: torch_npu counts a"
                " kernel by its start"
            )
        step, part, in_file, of_device, _ = wrong.row(0)
        why = (
            f"step {step}: {part} is {in_file:,} ns in analysis.db, and {of_device:,} ns by the"
            " kernels"
        )
    times, count = both.rows.height, both.rows["step"].n_unique()
    return CrossCheckResult(
        f"{times:,} times of {count:,} steps", f"{times - wrong.height:,} equal", both.relative, why
    )


def _parts(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return step, part, and the time of it under `name`."""
    return (
        rows.filter(pl.col("step").is_not_null())
        .group_by(pl.col("step").cast(pl.Int64))
        .agg(part.sum().alias(part_name) for part_name, part in _PARTS.items())
        .unpivot(index="step", variable_name="part", value_name=name)
    )


def _overlap(capture: Capture) -> bool:
    """Tell whether spans of steps overlap on a device, or kernels belong to no step."""
    kernels = capture.tables["kernels"].select("rank", "device", "step", "start_ns", "duration_ns")
    if within_steps(kernels).height < kernels.height:
        return True
    spans = kernels.group_by("rank", "device", "step").agg(
        pl.col("start_ns").min(),
        duration_ns=(pl.col("start_ns") + pl.col("duration_ns")).max() - pl.col("start_ns").min(),
    )
    # A kernel of the next step may start when the last one of this step ends.
    earlier = with_ends(spans, ("rank", "device"))
    return bool((earlier["start_ns"] < earlier["covered_ns"]).any())
