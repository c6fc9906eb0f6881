"""Rows of kernels against what CANN's other files say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from harness.capture.capture import Capture
from harness.files import regular
from harness.readers.ascend import folder as ascend
from harness.tables.selection import HCCL_CORES, is_hccl
from harness.verification.cross_checks.base import (
    EXACT,
    CrossCheckResult,
    NotApplicableError,
    cells,
    counted,
    files,
    sums,
)

RATIO: Final = 5e-4
"""Half the last digit of a ratio, and of a time in microseconds."""
_PAIR: Final = ("type", "core")
_CORES: Final = ("AI_CORE", "AI_VECTOR_CORE")
"""The cores whose kernels are in every file of tasks; of mixed kernels some are."""


def rows(capture: Capture) -> CrossCheckResult:
    """Every line of kernel_details.csv, but its first, is a row of `kernels`."""
    paths = [path for path, _ in files(capture, "kernel_details.csv")]
    lines = sum(_lines(path) - 1 for path in paths)
    kernels = capture.tables["kernels"].height
    return counted("lines", lines, kernels, "kernel_details.csv is cut off or broken")


def _lines(path: Path) -> int:
    """Count lines, an unfinished one too; no cell of this file has an end of line in it."""
    count, last = 0, b"\n"
    with regular(path) as file:
        while chunk := file.read(1 << 22):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")


def op_statistic(capture: Capture) -> CrossCheckResult:
    """Counts and times by type and core are those of the rows that do not communicate."""
    statistic = _statistic(capture)
    kernels = capture.tables["kernels"].with_columns(pl.col(_PAIR).fill_null("N/A"))
    communicates = is_hccl(kernels)
    computing = (
        kernels.filter(~communicates)
        .group_by(_PAIR)
        .agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("duration_ns").sum())
    )
    # Communication that runs on vector cores may be in the file or not.
    unclear = kernels.filter(communicates & ~kernels["core"].is_in(HCCL_CORES))
    both = sums(
        statistic.join(unclear, on=_PAIR, how="anti"),
        computing.join(unclear, on=_PAIR, how="anti"),
        _PAIR,
        ("time_ns", "duration_ns"),
    )
    # Each row is rounded to nanoseconds.
    allowed = pl.max_horizontal(pl.col("time_ns") * EXACT, pl.col("rows") + 1)
    differs = (pl.col("count") != pl.col("rows")) | (pl.col("difference") > allowed)
    return CrossCheckResult(
        f"{both.rows['count'].sum():,} kernels, {both.expected:,.0f} ns",
        f"{both.rows['rows'].sum():,} kernels, {both.actual:,} ns",
        both.relative,
        _worst_pair(both.rows.filter(differs), both.rows.height),
    )


def _statistic(capture: Capture) -> pl.DataFrame:
    """Return count and time by type and core, as op_statistic.csv has them."""
    lines = pl.concat(
        cells(
            ascend.table(folder, "op_statistic"),
            {"OP Type": "type", "Core Type": "core"},
            {"Count": "count", "Total Time(us)": "time_us"},
        )
        for _, folder in files(capture, "op_statistic.csv")
    )
    return lines.group_by(_PAIR).agg(
        pl.col("count").sum().cast(pl.Int64, strict=False),
        (pl.col("time_us").sum() * 1000).alias("time_ns"),
    )


def _worst_pair(wrong: pl.DataFrame, compared: int) -> str:
    """Describe the first of the rows that differ, the worst; "" for none."""
    if wrong.is_empty():
        return ""
    worst = wrong.row(0, named=True)
    return (
        f"{worst['type']} on {worst['core']}: {worst['count']:,} kernels and"
        f" {worst['time_ns']:,.0f} ns in op_statistic.csv, {worst['rows']:,} and"
        f" {worst['duration_ns']:,} ns in kernel_details.csv"
        + (f"; {wrong.height - 1} more of {compared} differ" * (wrong.height > 1))
    )


def pipes(capture: Capture) -> CrossCheckResult:
    """The time of a pipe is its ratio of the core's time, each as it was rounded."""
    kernels = capture.tables["kernels"]
    compared, worst, why = 0, 0.0, ""
    for time, core, ratio in _pipe_columns(kernels.columns):
        # Times have three digits, too: those of short kernels are rounded more, relatively.
        rounding = RATIO * (1 + (1 + pl.col(ratio)) / (pl.col(core) - RATIO))
        ratios = kernels.filter(pl.col(core) > RATIO).select(
            "name",
            time,
            core,
            ratio,
            difference=(pl.col(time) / pl.col(core) - pl.col(ratio)).abs(),
            allowed=rounding + 1e-9,
        )
        compared += ratios["difference"].count()
        excess = pl.col("difference") - pl.col("allowed")
        wrong = ratios.filter(excess > 0).sort("difference", descending=True)
        largest = ratios.select(excess.max()).item()
        if wrong.height:
            row = wrong.row(0, named=True)
            why = why or (
                f"{row['name']}: {time} {row[time]} of {core} {row[core]} is not {ratio}"
                f" {row[ratio]} ({wrong.height:,} of {ratios.height:,} kernels)"
            )
        worst = max(worst, largest or 0.0)
    if not compared:
        raise NotApplicableError("kernels have no times and ratios of pipes")
    return CrossCheckResult(f"{compared:,} ratios", "times of pipes", worst, why)


def _pipe_columns(columns: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return time, core's time and ratio of each pipe that has all three."""
    complete = []
    for time in columns:
        stem = time.removesuffix("_time(us)")
        core = "aiv_time(us)" if stem.startswith("aiv_") else "aicore_time(us)"
        if stem != time and {core, f"{stem}_ratio"} <= set(columns):
            complete.append((time, core, f"{stem}_ratio"))
    return complete


def reached(name: str, stream: str, task: str, capture: Capture) -> CrossCheckResult:
    """A file of rows by task reaches to the last kernel of the AI cores.

    CANN leaves out the first kernel, and some mixed ones, but ends where the kernels end. `stream`
    and `task` are the columns that name a kernel there; its numbers of tasks wrap around, and
    graphs that are replayed keep theirs.
    """
    complete, compared = 0, 0
    names = {"Stream ID": stream, "Task ID": task}
    for _, folder in files(capture, name):
        tasks, kernels = ascend.table(folder, name), ascend.table(folder, "kernel_details")
        if kernels is None or not {*names, "Accelerator Core"} <= set(kernels.columns):
            raise NotApplicableError("kernel_details.csv has no tasks to find its rows by")
        if tasks is None or not {stream, task} <= set(tasks.columns):
            raise NotApplicableError(f"its columns are not {stream}, {task}")
        last = kernels.filter(pl.col("Accelerator Core").is_in(_CORES))[1:].tail(1)
        if last.is_empty():
            raise NotApplicableError("there are too few kernels on AI cores")
        rows = kernels.join(last, on=list(names), how="semi").height
        matches = tasks.join(last.rename(names), on=[stream, task], how="semi").height
        if 0 < matches < rows:
            raise NotApplicableError(
                f"{rows} kernels share the stream and task of the last one, and the file has"
                f" {matches} of them"
            )
        compared += 1
        complete += matches > 0
    why = f"{name} ends before kernel_details.csv does: it is cut off" * (complete < compared)
    return CrossCheckResult(
        f"the last kernel of {compared} file(s)",
        f"{complete} of them",
        1 - complete / compared,
        why,
    )
