"""Rows of files against those of other files, and against the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from harness.capture.capture import Capture
from harness.files import regular
from harness.readers.ascend import folder as ascend
from harness.readers.ascend.trace import CALLS
from harness.readers.base import CaptureError
from harness.readers.call_tree import is_mark
from harness.verification.checks.base import profiler_of
from harness.verification.cross_checks.base import (
    CrossCheckResult,
    NotApplicableError,
    cells,
    counted,
    files,
    sums,
)

_GRAPHS: Final = "GE"
_ALLOCATORS: Final = ("PTA", _GRAPHS)
"""The components of memory_record.csv whose allocations operator_memory.csv has, too."""
_WORKSPACE: Final = "WORKSPACE"
"""This one's are there, too; no sum has them."""
_TIMES: Final = {
    "Allocation Time(us)": "allocated",
    "Release Time(us)": "released",
    "Active Release Time(us)": "reusable",
}


def tables(capture: Capture) -> CrossCheckResult:
    """What the readers counted as rows is in the tables."""
    if not capture.event_counts:
        raise NotApplicableError("the events were not counted")
    # A line of an NPU's memory is an allocation and its release: two rows.
    twice = {"operator_memory", "memory_record"}
    counts = [count for kind, count in capture.event_counts.items() if kind not in twice]
    memory = ["memory"] if profiler_of(capture).single_stream else []
    names = ["operators", "kernels", *memory]
    rows = sum(capture.tables[name].height for name in names)
    expected = sum(count.rows for count in counts)
    return counted("rows", expected, rows, f"rows were lost on their way into {', '.join(names)}")


def operators(capture: Capture) -> CrossCheckResult:
    """operator_details.csv has a row for every operator, by name; marks of steps may have some."""
    names = pl.concat(_names(path) for path, _ in files(capture, "operator_details.csv"))
    lines = names.group_by("name").agg(pl.len().cast(pl.Int64).alias("lines"))
    rows = capture.tables["operators"].group_by("name").agg(pl.len().cast(pl.Int64).alias("rows"))
    both = sums(lines, rows, ["name"], ("lines", "rows"))
    wrong = both.rows.filter(pl.col("difference") > 0)
    why = ""
    if wrong.height:
        name, in_file, in_table, _ = wrong.row(0)
        why = (
            f"{name}: {in_file:,} in operator_details.csv, {in_table:,} in trace_view.json; one of"
            " them is cut off or broken"
        )
    return CrossCheckResult(
        f"{both.expected:,} rows", f"{both.actual:,} operators", both.relative, why
    )


def _names(path: Path) -> pl.DataFrame:
    """Return the names of a file's rows, whose cells have ends of lines in them, but for marks."""
    try:
        # Of a path, polars takes [proj] for a pattern.
        with regular(path) as file:
            names = pl.read_csv(file, columns=["Name"], infer_schema=False)["Name"].fill_null("")
    except (OSError, PolarsError) as error:
        raise CaptureError(f"{path.name}: {error}") from error
    operators = [not is_mark(name) for name in names]
    return pl.DataFrame({"name": names.filter(pl.Series(operators, dtype=pl.Boolean))})


def calls(capture: Capture) -> CrossCheckResult:
    """The counts of api_statistic.csv add up to the calls into CANN of the timeline."""
    in_timeline = capture.event_counts.get(CALLS)
    if in_timeline is None:
        raise NotApplicableError("the timeline has no calls into CANN")
    statistic = pl.concat(
        cells(ascend.table(folder, "api_statistic"), {}, {"Count": "count"})
        for _, folder in files(capture, "api_statistic.csv")
    )
    count = int(statistic["count"].sum())
    if count > in_timeline.seen:
        raise NotApplicableError("the timeline leaves out some of the calls")
    missing = in_timeline.seen - count
    return CrossCheckResult(
        f"{count:,} calls",
        f"{in_timeline.seen:,} in trace_view.json",
        missing / in_timeline.seen,
        "api_statistic.csv is cut off or broken" if missing else "",
    )


def memory(capture: Capture) -> CrossCheckResult:
    """Records and operators report the same memory.

    Each time of operator_memory.csv is that of a record. A record whose total rises is an
    allocation there; a record of GE is any event. The sum over components has a record for each
    record of theirs.
    """
    compared, lost, extra = 0, 0, 0
    records_of = files(capture, "memory_record.csv")
    files(capture, "operator_memory.csv")
    for _, folder in records_of:
        every = _records(folder)
        records = every.filter(pl.col("component").is_in(_ALLOCATORS))
        comparable = every.filter(pl.col("component").is_in([*_ALLOCATORS, _WORKSPACE]))
        allocations = cells(ascend.table(folder, "operator_memory"), _TIMES, {})
        rises = records.filter(pl.col("total").diff().over("component", "device") > 0)["time"]
        times = pl.concat([allocations[name] for name in _TIMES.values()])
        times = times.filter(times.str.len_chars() > 0)
        inner = records.filter(pl.col("component") == _GRAPHS)["time"]
        summed = every.filter(pl.col("component") == "+".join(_ALLOCATORS)).height
        compared += len(times) + len(rises) + len(inner) + summed
        lost += _absent(rises, allocations["allocated"]) + _absent(inner, times)
        extra += _absent(times, comparable["time"]) + (summed and abs(summed - records.height))
    if not compared:
        raise NotApplicableError("no memory was allocated")
    whys = [
        f"operator_memory.csv lacks {lost:,} events of memory_record.csv" * (lost > 0),
        f"memory_record.csv lacks {extra:,} events of operator_memory.csv or of its own sums"
        * (extra > 0),
    ]
    wrong = lost + extra
    return CrossCheckResult(
        f"{compared:,} events",
        f"{compared - wrong:,} in both",
        wrong / compared,
        "; ".join(why for why in whys if why),
    )


def _absent(some: pl.Series, among: pl.Series) -> int:
    return len(some.filter(~some.is_in(among.drop_nulls().implode())))


def _records(folder: Path) -> pl.DataFrame:
    """Return the records, in the order of their times."""
    texts = {"Component": "component", "Timestamp(us)": "time", "Device Type": "device"}
    total = {"Total Allocated(MB)": "total"}
    records = cells(ascend.table(folder, "memory_record"), texts, total)
    return records.sort("time", maintain_order=True)


def modules(capture: Capture) -> CrossCheckResult:
    """Each component in npu_module_mem.csv has as many samples as the others."""
    cut_off, expected, rows = False, 0, 0
    for _, folder in files(capture, "npu_module_mem.csv"):
        name = {"Component": "component"}
        counts = cells(ascend.table(folder, "npu_module_mem"), name, {}).group_by(
            "component", maintain_order=True
        )
        samples = counts.len()["len"]
        if len(samples) == 1:
            raise NotApplicableError("it has one component, and no other to compare it with")
        if samples.is_empty() or samples[:-1].n_unique() > 1:
            raise NotApplicableError("its components are not sampled together")
        cut_off |= bool(samples[-1] < samples[0])
        expected += len(samples) * int(samples[0])
        rows += int(samples.sum())
    why = "npu_module_mem.csv ends amid the samples of a component: it is cut off" * cut_off
    missing = (expected - rows) / max(expected, 1) if cut_off else 0.0
    return CrossCheckResult(f"{expected:,} samples", f"{rows:,} rows", missing, why)
