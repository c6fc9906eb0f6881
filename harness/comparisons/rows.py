"""Rows of files against those of other files, and against the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from harness.comparisons.base import Differs, DoesNotApplyError, cells, counted, files, on_npu
from harness.readers import ascend
from harness.readers.ascend_trace import CALLS
from harness.readers.base import CaptureError
from harness.records import Capture

_ALLOCATORS: Final = ("PTA", "GE")
"""The components of memory_record.csv whose allocations operator_memory.csv has, too."""
_TIMES: Final = {
    "Allocation Time(us)": "allocated",
    "Release Time(us)": "released",
    "Active Release Time(us)": "reusable",
}


def tables(capture: Capture) -> Differs:
    """What the readers counted as rows is in the tables."""
    if not capture.coverage:
        raise DoesNotApplyError("the events were not counted")
    # A line of an NPU's memory is an allocation and its release: two rows.
    twice = {"operator_memory", "memory_record"}
    kinds = {kind: each for kind, each in capture.coverage.items() if kind not in twice}
    names = ["operators", "kernels", *([] if on_npu(capture) else ["memory"])]
    rows = sum(capture.tables[name].height for name in names)
    expected = sum(each.rows for each in kinds.values())
    return counted("rows", expected, rows, f"rows were lost on their way into {', '.join(names)}")


def operators(capture: Capture) -> Differs:
    """operator_details.csv has a row for every operator, and for some marks of steps and stages."""
    counts = [_count(path) for path, _ in files(capture, "operator_details.csv")]
    account = capture.coverage.get("cpu_op")
    marks = account.marks if account else 0
    rows, found = sum(counts), capture.tables["operators"].height
    off = max(found - rows, rows - marks - found, 0)
    return Differs(
        f"{rows:,} rows with up to {marks:,} marks",
        f"{found:,} operators",
        off / max(rows, found, 1),
        "operator_details.csv or trace_view.json is cut off or broken" if off else "",
    )


def _count(path: Path) -> int:
    """Count the rows of a file whose cells have ends of lines in them."""
    try:
        found = pl.scan_csv(path, infer_schema=False).select(pl.len()).collect()
    except PolarsError as error:
        raise CaptureError(f"{path.name}: {error}") from error
    return int(found.item())


def calls(capture: Capture) -> Differs:
    """The counts of api_statistic.csv add up to the calls into CANN of the timeline."""
    account = capture.coverage.get(CALLS)
    if account is None:
        raise DoesNotApplyError("the timeline has no calls into CANN")
    told = pl.concat(
        cells(ascend.table(folder, "api_statistic"), {}, {"Count": "count"})
        for _, folder in files(capture, "api_statistic.csv")
    )
    count = int(told["count"].sum())
    if count > account.seen:
        raise DoesNotApplyError("the timeline leaves out some of its calls")
    off = account.seen - count
    return Differs(
        f"{count:,} calls",
        f"{account.seen:,} in trace_view.json",
        off / account.seen,
        "api_statistic.csv is cut off or broken" if off else "",
    )


def memory(capture: Capture) -> Differs:
    """What operator_memory.csv tells are records; records that rise are allocations there."""
    compared, lost, extra = 0, 0, 0
    records_of = files(capture, "memory_record.csv")
    files(capture, "operator_memory.csv")
    for _, folder in records_of:
        records = _records(folder)
        told = cells(ascend.table(folder, "operator_memory"), _TIMES, {})
        rises = records.filter(pl.col("total").diff().over("component", "device") > 0)["time"]
        times = pl.concat([told[name] for name in _TIMES.values()])
        times = times.filter(times.str.len_chars() > 0)
        compared += len(times) + len(rises)
        lost += len(rises.filter(~rises.is_in(told["allocated"].drop_nulls().implode())))
        extra += len(times.filter(~times.is_in(records["time"].implode())))
    if not compared:
        raise DoesNotApplyError("no memory was allocated")
    whys = [
        f"operator_memory.csv lacks {lost:,} allocations of memory_record.csv" * (lost > 0),
        f"memory_record.csv lacks {extra:,} times of operator_memory.csv" * (extra > 0),
    ]
    why = "; ".join(each for each in whys if each)
    off = lost + extra
    return Differs(f"{compared:,} times", f"{compared - off:,} in both", off / compared, why)


def _records(folder: Path) -> pl.DataFrame:
    """Return the records of allocators, in the order of their times."""
    texts = {"Component": "component", "Timestamp(us)": "time", "Device Type": "device"}
    total = {"Total Allocated(MB)": "total"}
    found = cells(ascend.table(folder, "memory_record"), texts, total)
    return found.filter(pl.col("component").is_in(_ALLOCATORS)).sort("time", maintain_order=True)


def modules(capture: Capture) -> Differs:
    """Each component in npu_module_mem.csv has as many samples as the others."""
    short, expected, found = 0, 0, 0
    for _, folder in files(capture, "npu_module_mem.csv"):
        name = {"Component": "component"}
        counts = cells(ascend.table(folder, "npu_module_mem"), name, {}).group_by(
            "component", maintain_order=True
        )
        samples = counts.len()["len"]
        if samples.is_empty() or samples[:-1].n_unique() > 1:
            raise DoesNotApplyError("its components are not sampled together")
        short += samples[-1] < samples[0]
        expected += len(samples) * int(samples[0])
        found += int(samples.sum())
    why = "npu_module_mem.csv ends amid the samples of a component: it is cut off" * (short > 0)
    off = (expected - found) / max(expected, 1)
    return Differs(f"{expected:,} samples", f"{found:,} rows", off if why else 0.0, why)
