"""Times that a capture reports twice: of steps, of communication, of operators."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from harness.capture.capture import Capture
from harness.readers.ascend import communication, csv_files
from harness.readers.chrome import vocabulary
from harness.tables.intervals import union, with_ends
from harness.tables.selection import is_hccl
from harness.verification.checks.base import profiler_of
from harness.verification.cross_checks.base import (
    EXACT,
    CrossCheckResult,
    NotApplicableError,
    files,
    sums,
)

ROUNDED_NS: Final = 100
"""CANN's own sums of a step differ by some 20 ns."""
UNNESTED: Final = 1e-2
"""What Python frames that overlap operators, and do not lie within, may add to self times."""
_DEVICE: Final = ("rank", "device", "step")
_THREAD: Final = ("rank", "thread")


def computing(capture: Capture) -> CrossCheckResult:
    """Computing of each step is the union of its kernels that do not communicate."""
    return _of_steps(capture, "Computing", "compute_ns", hccl=False)


def communicating(capture: Capture) -> CrossCheckResult:
    """Communication of each step is the union of its kernels that do."""
    return _of_steps(capture, "Communication", "communication_ns", hccl=True)


def _of_steps(capture: Capture, name: str, column: str, *, hccl: bool) -> CrossCheckResult:
    paths = [path for path, _ in files(capture, "step_trace_time.csv")]
    kernels = capture.tables["kernels"]
    rows = capture.tables["steps"].filter(pl.col(column).is_not_null())
    if not any(map(_steps, paths)) and kernels["step"].is_null().all():
        # Without steps, a file has one row for each device: of the whole capture.
        rows, kernels = (table.with_columns(step=pl.lit(0, pl.Int64)) for table in (rows, kernels))
    chosen = kernels.filter(is_hccl(kernels) == hccl)
    unions = union(chosen, _DEVICE).group_by("step").agg(pl.col("union_ns").sum())
    reported = (
        rows.filter(pl.col("step").is_not_null())
        .group_by("step")
        .agg(pl.col(column).sum().alias("reported_ns"))
    )
    if reported.is_empty() and not any(map(_whole_rows, paths)):
        return CrossCheckResult(
            "a row for each step", "none", 1.0, "step_trace_time.csv has no whole row"
        )
    if reported.is_empty():
        raise NotApplicableError("step_trace_time.csv has no step of the workload")
    inside = unions.filter(pl.col("step").is_not_null())
    both = sums(reported, inside, ["step"], ("reported_ns", "union_ns"))
    wrong = both.rows.filter(pl.col("difference") > pl.col("reported_ns") * EXACT + ROUNDED_NS)
    steps, why = both.rows.height, ""
    if wrong.height:
        elsewhere = unions.filter(pl.col("step").is_null())["union_ns"].sum()
        allowed = both.expected * EXACT + ROUNDED_NS * steps + elsewhere
        if abs(both.expected - both.actual) <= allowed and (steps > 1 or elsewhere):
            raise NotApplicableError(
                "kernels at the borders of steps are counted in another step, or in none"
            )
        step, in_file, of_kernels, _ = wrong.row(0)
        why = (
            f"step {step}: {name} is {in_file:,} ns in step_trace_time.csv, the kernels'"
            f" {of_kernels:,} ns"
        )
    return CrossCheckResult(
        f"{both.expected:,} ns in {steps:,} steps", f"{both.actual:,} ns", both.relative, why
    )


def _steps(path: Path) -> int:
    """Count the rows of steps."""
    rows = csv_files.text(path).table
    return rows.filter(pl.col("Step") != "").height if "Step" in rows.columns else rows.height


def _whole_rows(path: Path) -> int:
    return csv_files.text(path).table.height


def operations(capture: Capture) -> CrossCheckResult:
    """Each operation's time in communication.json is that of its rows in `kernels`."""
    calls = [
        call
        for path, _ in files(capture, "communication.json")
        for call in communication.calls(path)
    ]
    if not calls:
        raise NotApplicableError("communication.json has no operation")
    columns = ["name", "reported_ns"]
    reported = (
        pl.DataFrame([(call.name, call.duration_ns) for call in calls], columns, orient="row")
        .group_by("name")
        .agg(pl.len().alias("count"), pl.col("reported_ns").sum())
    )
    kernels = capture.tables["kernels"]
    rows = (
        kernels.filter(is_hccl(kernels))
        .group_by("name")
        .agg(pl.len().alias("rows"), pl.col("duration_ns").sum())
        # An operation outside of all steps has rows, and is not in the file.
        .join(reported, on="name", how="semi")
    )
    outside = rows.join(reported, on="name").filter(pl.col("rows") > pl.col("count"))
    reported, rows = (table.join(outside, on="name", how="anti") for table in (reported, rows))
    both = sums(reported, rows, ["name"], ("reported_ns", "duration_ns"))
    if both.rows.is_empty():
        raise NotApplicableError("each of its operations also ran outside of the steps")
    wrong = both.rows.filter(pl.col("difference") > pl.col("reported_ns") * EXACT + pl.col("count"))
    why = ""
    if wrong.height:
        row = wrong.row(0, named=True)
        why = (
            f"{row['name']}: {row['reported_ns']:,} ns in communication.json,"
            f" {row['duration_ns']:,} ns in kernel_details.csv"
        )
    expected = f"{both.expected:,} ns in {both.rows.height:,} operations"
    return CrossCheckResult(expected, f"{both.actual:,} ns", both.relative, why)


def self_times(capture: Capture) -> CrossCheckResult:
    """The self times of a thread's operators add up to the durations of its outermost ones.

    Exactly, where operators are all that can lie within operators. Python frames and the driver's
    calls take their time from the operators around them and have no rows: with them, self times
    add up to no more than that.
    """
    columns = (*_THREAD, "start_ns", "duration_ns", "self_ns")
    operators = capture.tables["operators"].select(columns).drop_nulls(["start_ns", "self_ns"])
    if operators.is_empty():
        raise NotApplicableError("there are no operators with times")
    # An operator within another one ends within it: readers nest no others.
    outermost = with_ends(operators, _THREAD).filter(
        pl.col("covered_ns").is_null()
        | (pl.col("start_ns") >= pl.col("covered_ns"))
        | (pl.col("end_ns") > pl.col("covered_ns"))
    )
    both = (
        outermost.group_by(_THREAD)
        .agg(pl.col("duration_ns").sum())
        .join(
            operators.group_by(_THREAD).agg(pl.col("self_ns").sum()), on=_THREAD, nulls_equal=True
        )
        .with_columns(over_ns=pl.col("self_ns") - pl.col("duration_ns"))
    )
    exact = not _others_nest(capture)
    wrong = both.filter(
        pl.col("over_ns") != 0 if exact else pl.col("over_ns") > pl.col("duration_ns") * UNNESTED
    )
    durations, selves = both.select(pl.col("duration_ns", "self_ns").sum()).row(0)
    over = both["over_ns"].abs().sum() if exact else both["over_ns"].clip(0).sum()
    why = ""
    if wrong.height:
        row = wrong.row(0, named=True)
        why = (
            f"thread {row['thread']}: self times are {row['self_ns']:,} ns, and the outermost"
            f" operators took {row['duration_ns']:,} ns"
        )
    return CrossCheckResult(
        f"{'' if exact else 'at most '}{durations:,} ns in {both.height:,} threads",
        f"{selves:,} ns",
        over / max(durations, 1),
        why,
    )


def _others_nest(capture: Capture) -> bool:
    """Tell whether operators may hold what has no rows."""
    kinds = [kind for kind, count in capture.event_counts.items() if count.seen]
    if vocabulary.FRAMES in kinds or any(map(vocabulary.launches, kinds)):
        return True
    if not profiler_of(capture).single_stream:
        return False
    counts = capture.event_counts.values()
    return any(count.seen > count.rows + count.marks + count.hidden for count in counts)
