"""The table of a sweep's jobs: what each varied, how it ended, how long its steps took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from harness import tables
from harness.capture.run_record import RunRecord
from harness.capture.sweep_record import SweepJob
from harness.paths import RunFolder

Jobs = Sequence[tuple[SweepJob, RunRecord | None]]
"""Each expected job, and its record if it left one."""


def reason_of(record: RunRecord | None) -> str:
    """Return one line that says why a job was not delivered; "" if it was."""
    if record is None:
        return "it left no result"
    if record.exit_code is None:
        return record.unended
    failing = [
        f"{item.setting.rpartition('.')[2]} {item.status}, arrived: {item.arrived or 'nothing'}"
        + (f" ({item.reason})" if item.reason else "")
        for item in record.delivery
        if item.fails
    ]
    broken = [f"{item.name}: {item.reason}" for item in record.consistency if item.fails]
    return record.reason or record.analysis or "; ".join([*failing, *broken])


def short_names(swept: Sequence[str]) -> list[str]:
    """Return the last words of settings, as many as tell them apart."""
    last = [key.rpartition(".")[2] for key in swept]
    return [word if last.count(word) == 1 else key for word, key in zip(last, swept, strict=True)]


def sweep_table(swept: Sequence[str], results: Jobs, folder: Path) -> pl.DataFrame:
    """Return the sweep as a table, a row a job.

    Columns: each swept setting, as it is typed; folder; exit_code, verdict, reason;
    unprofiled_step_ns and profiled_step_ns (medians); overhead (profiled / unprofiled); device_ns
    (median over the recorded steps of the time under kernels, all devices added up);
    unprofiled_spread ((max - min) / median of the unprofiled steps); samples_per_s (workload.batch
    by the unprofiled step; null without a batch); memory_peak (bytes, of the device that has most
    in use; null where it was not recorded).
    """
    rows = []
    for job, record in results:
        timing = record.timing if record else {}
        unprofiled, profiled = (
            timing[phase].median_ns if phase in timing else None for phase in ("baseline", "active")
        )
        rows.append(
            {
                **{key: job.values.get(key) for key in swept},
                "folder": job.folder,
                "exit_code": job.exit_code,
                "verdict": record.verdict if record else None,
                "reason": job.reason or None,
                "unprofiled_step_ns": unprofiled,
                "profiled_step_ns": profiled,
                "overhead": profiled / unprofiled if unprofiled and profiled else None,
                "device_ns": _device_time(folder / job.folder) if record else None,
                "unprofiled_spread": timing["baseline"].spread if "baseline" in timing else None,
                "samples_per_s": samples_per_s(record),
                "memory_peak": _memory_peak(folder / job.folder) if record else None,
            }
        )
    return pl.DataFrame(rows, schema=_columns(swept))


def _columns(swept: Iterable[str]) -> Mapping[str, type[pl.DataType]]:
    words = (*swept, "folder", "verdict", "reason")
    numbers = ("exit_code", "unprofiled_step_ns", "profiled_step_ns", "device_ns", "memory_peak")
    ratios = ("overhead", "unprofiled_spread", "samples_per_s")
    types: dict[str, type[pl.DataType]] = {
        **dict.fromkeys(words, pl.String),
        **dict.fromkeys(numbers, pl.Int64),
        **dict.fromkeys(ratios, pl.Float64),
    }
    order = ("folder", "exit_code", "verdict", "reason")
    figures = (
        *("unprofiled_step_ns", "profiled_step_ns", "overhead", "device_ns"),
        *("unprofiled_spread", "samples_per_s", "memory_peak"),
    )
    return {name: types[name] for name in (*swept, *order, *figures)}


def samples_per_s(record: RunRecord | None) -> float | None:
    """Return how many samples the unprofiled step works on in a second; None without a batch."""
    if record is None or "baseline" not in record.timing:
        return None
    batch = record.requested.get("workload.batch")
    if not isinstance(batch, int) or isinstance(batch, bool):
        return None
    return batch * 1e9 / record.timing["baseline"].median_ns


def _memory_peak(job: Path) -> int | None:
    try:
        peaks = tables.read(RunFolder(job).analysis_table("memory_peaks"))
        value: Any = peaks["total_allocated"].max()
    except (OSError, pl.exceptions.PolarsError):
        return None
    return value if isinstance(value, int) else None


def _device_time(job: Path) -> int | None:
    """Return the device time that a step launched; None if the table has none."""
    path = RunFolder(job).analysis_table("step_breakdown")
    try:
        steps = tables.read(path).filter(pl.col("step").is_not_null())
        times = steps.group_by("step").agg(pl.col("launched_ns").sum())["launched_ns"].to_list()
    except (OSError, pl.exceptions.PolarsError):
        return None
    return round(median(times)) if times else None
