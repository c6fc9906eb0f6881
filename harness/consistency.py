"""Consistency: do a capture's own sources agree with each other, and with the tables?

A file that was cut off is like one of a shorter run, until its sums are compared with another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from harness.analyses.intervals import union, with_ends
from harness.readers import ascend, ascend_csv, communication, launches
from harness.readers.base import CaptureError
from harness.records import Capture, Consistency

EXACT: Final = 1e-5
"""Sums of the same times differ by no more, relatively."""
ROUNDED_NS: Final = 100
"""CANN's own sums of a step differ by some 20 ns."""
UNNESTED: Final = 1e-2
"""What Python frames that overlap operators, and do not lie within, may add to self times."""
RATIO: Final = 5e-4
"""Half the last digit of a ratio, and of a time in microseconds."""
_DEVICE: Final = ("rank", "device", "step")
_THREAD: Final = ("rank", "thread")
_PAIR: Final = ("type", "core")
_MOVERS: Final = ("HCCL", "COMMUNICATION")
"""The cores of what communicates, and is in no statistic."""


class _Differs(NamedTuple):
    """What was compared, and how much of it differs."""

    expected: str
    found: str
    difference: float
    """Relative."""
    why: str = ""
    """Empty if that is within what is allowed."""


class _DoesNotApplyError(Exception):
    """There is nothing to compare; says why."""


Compare = Callable[[Capture], _Differs]


def consistency(capture: Capture) -> tuple[Consistency, ...]:
    """Compare whatever two sources of the capture tell the same."""
    return tuple(_judged(name, compare, capture) for name, compare in CHECKS.items())


def _judged(name: str, compare: Compare, capture: Capture) -> Consistency:
    try:
        found = compare(capture)
    except _DoesNotApplyError as reason:
        return Consistency(name=name, status="does_not_apply", why=str(reason))
    except CaptureError as error:
        return Consistency(name=name, status="broken", why=f"cannot be read: {error}")
    return Consistency(
        name=name,
        status="broken" if found.why else "holds",
        expected=found.expected,
        found=found.found,
        difference=found.difference,
        why=found.why,
    )


def _rows_of_kernels(capture: Capture) -> _Differs:
    """Every line of kernel_details.csv, but its first, is a row of `kernels`."""
    paths = [path for path, _ in _files(capture, "kernel_details.csv")]
    lines = sum(_lines(path) - 1 for path in paths)
    rows = capture.tables["kernels"].height
    return _counted("lines", lines, rows, "kernel_details.csv is cut off or broken")


def _lines(path: Path) -> int:
    """Count lines, an unfinished one too; no cell of this file has an end of line in it."""
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")


def _rows_of_tables(capture: Capture) -> _Differs:
    """What the readers counted as rows is in the tables."""
    if not capture.coverage:
        raise _DoesNotApplyError("the events were not counted")
    # A line of an NPU's memory is an allocation and its release: two rows.
    twice = {"operator_memory", "memory_record"}
    kinds = {kind: each for kind, each in capture.coverage.items() if kind not in twice}
    names = ["operators", "kernels", *([] if _on_npu(capture) else ["memory"])]
    rows = sum(capture.tables[name].height for name in names)
    counted = sum(each.rows for each in kinds.values())
    return _counted("rows", counted, rows, f"rows were lost on their way into {', '.join(names)}")


def _rows_of_operators(capture: Capture) -> _Differs:
    """operator_details.csv has a row for every operator, and for some marks of steps and stages."""
    counts = [_count(path) for path, _ in _files(capture, "operator_details.csv")]
    account = capture.coverage.get("cpu_op")
    marks = account.marks if account else 0
    rows, operators = sum(counts), capture.tables["operators"].height
    off = max(operators - rows, rows - marks - operators, 0)
    return _Differs(
        f"{rows:,} rows with up to {marks:,} marks",
        f"{operators:,} operators",
        off / max(rows, operators, 1),
        "operator_details.csv or trace_view.json is cut off or broken" if off else "",
    )


def _count(path: Path) -> int:
    """Count the rows of a file whose cells have ends of lines in them."""
    try:
        found = pl.scan_csv(path, infer_schema=False).select(pl.len()).collect()
    except PolarsError as error:
        raise CaptureError(f"{path.name}: {error}") from error
    return int(found.item())


def _counted(what: str, expected: int, found: int, why: str) -> _Differs:
    difference = abs(expected - found) / max(expected, found, 1)
    return _Differs(
        f"{expected:,} {what}", f"{found:,} rows", difference, why if expected != found else ""
    )


def _op_statistic(capture: Capture) -> _Differs:
    """Counts and times by type and core are those of the rows that do not communicate."""
    told = pl.concat(
        _cells(
            ascend.table(folder, "op_statistic"),
            {"OP Type": "type", "Core Type": "core"},
            {"Count": "count", "Total Time(us)": "time_us"},
        )
        for _, folder in _files(capture, "op_statistic.csv")
    )
    told = told.group_by(_PAIR).agg(
        pl.col("count").sum().cast(pl.Int64), (pl.col("time_us").sum() * 1000).alias("time_ns")
    )
    kernels = capture.tables["kernels"].with_columns(pl.col(_PAIR).fill_null("N/A"))
    moving = launches.communicates(kernels)
    # Communication that runs on vector cores may be in the file or not.
    unsure = kernels.filter(moving & ~kernels["core"].is_in(_MOVERS))
    rows = (
        kernels.filter(~moving)
        .group_by(_PAIR)
        .agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("duration_ns").sum())
    )
    both = (
        told.join(rows, on=_PAIR, how="full", coalesce=True)
        .join(unsure, on=_PAIR, how="anti")
        .with_columns(pl.col("count", "time_ns", "rows", "duration_ns").fill_null(0))
        .with_columns(off_ns=(pl.col("time_ns") - pl.col("duration_ns")).abs())
        .sort("off_ns", descending=True)
    )
    # Each row is rounded to nanoseconds.
    allowed = pl.max_horizontal(pl.col("time_ns") * EXACT, pl.col("rows") + 1)
    wrong = both.filter((pl.col("count") != pl.col("rows")) | (pl.col("off_ns") > allowed))
    sums = both.select(pl.col("count", "time_ns", "rows", "duration_ns", "off_ns").sum()).row(0)
    count, time, height, duration, off = sums
    why = ""
    if wrong.height:
        worst = wrong.row(0, named=True)
        why = (
            f"{worst['type']} on {worst['core']}: {worst['count']:,} kernels and"
            f" {worst['time_ns']:,.0f} ns in op_statistic.csv, {worst['rows']:,} and"
            f" {worst['duration_ns']:,} ns in kernel_details.csv"
            + (f"; {wrong.height - 1} more of {both.height} differ" if wrong.height > 1 else "")
        )
    return _Differs(
        f"{count:,} kernels, {time:,.0f} ns",
        f"{height:,} kernels, {duration:,} ns",
        off / max(time, duration, 1),
        why,
    )


def _computing(capture: Capture) -> _Differs:
    """Computing of each step is the union of its kernels that do not communicate."""
    return _of_steps(capture, "Computing", "compute_ns", moving=False)


def _communicating(capture: Capture) -> _Differs:
    """Communication of each step is the union of its kernels that do."""
    return _of_steps(capture, "Communication", "communication_ns", moving=True)


def _of_steps(capture: Capture, name: str, column: str, *, moving: bool) -> _Differs:
    paths = [path for path, _ in _files(capture, "step_trace_time.csv")]
    kernels = capture.tables["kernels"]
    chosen = kernels.filter(launches.communicates(kernels) == moving)
    found = union(chosen, _DEVICE).group_by("step").agg(pl.col("union_ns").sum())
    told = (
        capture.tables["steps"]
        .filter(pl.col("step").is_not_null() & pl.col(column).is_not_null())
        .group_by("step")
        .agg(pl.col(column).sum().alias("told_ns"))
    )
    if told.is_empty() and not any(map(_whole_rows, paths)):
        return _Differs("a row for each step", "none", 1.0, "step_trace_time.csv has no whole row")
    if told.is_empty():
        raise _DoesNotApplyError("step_trace_time.csv tells of no step of the workload")
    both = (
        told.join(found.filter(pl.col("step").is_not_null()), on="step", how="full", coalesce=True)
        .with_columns(pl.col("told_ns", "union_ns").fill_null(0))
        .with_columns(off_ns=(pl.col("told_ns") - pl.col("union_ns")).abs())
        .sort("off_ns", descending=True)
    )
    wrong = both.filter(pl.col("off_ns") > pl.col("told_ns") * EXACT + ROUNDED_NS)
    expected, rows, off = both.select(pl.col("told_ns", "union_ns", "off_ns").sum()).row(0)
    if wrong.height:
        elsewhere = found.filter(pl.col("step").is_null())["union_ns"].sum()
        if abs(expected - rows) <= expected * EXACT + ROUNDED_NS * both.height + elsewhere and (
            both.height > 1 or elsewhere
        ):
            raise _DoesNotApplyError(
                "kernels at the borders of steps are counted in another step, or in none"
            )
    why = ""
    if wrong.height:
        step, of_file, of_rows, _ = wrong.row(0)
        why = (
            f"step {step}: {name} is {of_file:,} ns in step_trace_time.csv, the kernels'"
            f" {of_rows:,} ns"
        )
    return _Differs(
        f"{expected:,} ns in {both.height:,} steps",
        f"{rows:,} ns",
        off / max(expected, rows, 1),
        why,
    )


def _whole_rows(path: Path) -> int:
    return ascend_csv.text(path).table.height


def _pipes(capture: Capture) -> _Differs:
    """The time of a pipe is its ratio of the core's time, each as it was rounded."""
    kernels = capture.tables["kernels"]
    compared, worst, why = 0, 0.0, ""
    for time, core, ratio in _pipe_columns(kernels.columns):
        # Times have three digits, too: those of short kernels are rounded more, relatively.
        rounding = RATIO * (1 + (1 + pl.col(ratio)) / (pl.col(core) - RATIO))
        off = kernels.filter(pl.col(core) > RATIO).select(
            "name",
            time,
            core,
            ratio,
            off=(pl.col(time) / pl.col(core) - pl.col(ratio)).abs(),
            allowed=rounding + 1e-9,
        )
        compared += off["off"].count()
        wrong = off.filter(pl.col("off") > pl.col("allowed")).sort("off", descending=True)
        largest = off.select((pl.col("off") - pl.col("allowed")).max()).item()
        if wrong.height:
            row = wrong.row(0, named=True)
            why = why or (
                f"{row['name']}: {time} {row[time]} of {core} {row[core]} is not {ratio}"
                f" {row[ratio]} ({wrong.height:,} of {off.height:,} kernels)"
            )
        worst = max(worst, largest or 0.0)
    if not compared:
        raise _DoesNotApplyError("kernels have no times and ratios of pipes")
    return _Differs(f"{compared:,} ratios", "times of pipes", worst, why)


def _pipe_columns(columns: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return time, core's time and ratio of each pipe that has all three."""
    found = []
    for time in columns:
        stem = time.removesuffix("_time(us)")
        core = "aiv_time(us)" if stem.startswith("aiv_") else "aicore_time(us)"
        if stem != time and {core, f"{stem}_ratio"} <= set(columns):
            found.append((time, core, f"{stem}_ratio"))
    return found


def _communication(capture: Capture) -> _Differs:
    """Each operation's time in communication.json is that of its rows in `kernels`."""
    calls = [
        call
        for path, _ in _files(capture, "communication.json")
        for call in communication.calls(path)
    ]
    if not calls:
        raise _DoesNotApplyError("communication.json tells of no operation")
    told = (
        pl.DataFrame(
            [(call.name, call.duration_ns) for call in calls], ["name", "told_ns"], orient="row"
        )
        .group_by("name")
        .agg(pl.len().alias("count"), pl.col("told_ns").sum())
    )
    kernels = capture.tables["kernels"]
    rows = (
        kernels.filter(launches.communicates(kernels))
        .group_by("name")
        .agg(pl.len().alias("rows"), pl.col("duration_ns").sum())
    )
    both = (
        told.join(rows, on="name", how="left")
        .with_columns(pl.col("rows", "duration_ns").fill_null(0))
        .with_columns(off_ns=(pl.col("told_ns") - pl.col("duration_ns")).abs())
        # An operation outside of all steps has rows, and is not in the file.
        .filter(pl.col("rows") <= pl.col("count"))
        .sort("off_ns", descending=True)
    )
    if both.is_empty():
        raise _DoesNotApplyError("its operations are not those of steps alone")
    wrong = both.filter(pl.col("off_ns") > pl.col("told_ns") * EXACT + pl.col("count"))
    expected, found, off = both.select(pl.col("told_ns", "duration_ns", "off_ns").sum()).row(0)
    why = ""
    if wrong.height:
        row = wrong.row(0, named=True)
        why = (
            f"{row['name']}: {row['told_ns']:,} ns in communication.json,"
            f" {row['duration_ns']:,} ns in kernel_details.csv"
        )
    text = f"{expected:,} ns in {both.height:,} operations"
    return _Differs(text, f"{found:,} ns", off / max(expected, found, 1), why)


def _self_times(capture: Capture) -> _Differs:
    """The self times of a thread's operators add up to the durations of its outermost ones.

    Exactly, where operators are all that can lie within operators. Python frames and the driver's
    calls take their time from the operators around them and have no rows: with them, self times
    add up to no more than that.
    """
    operators = capture.tables["operators"].filter(pl.col("self_ns").is_not_null())
    if operators.is_empty():
        raise _DoesNotApplyError("there are no operators")
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
    return _Differs(
        f"{'' if exact else 'at most '}{durations:,} ns in {both.height:,} threads",
        f"{selves:,} ns",
        over / max(durations, 1),
        why,
    )


def _others_nest(capture: Capture) -> bool:
    """Tell whether operators may hold what has no rows."""
    if _on_npu(capture):
        frames = capture.coverage.get("python_function")
        return frames is not None and frames.seen > 0
    accounts = capture.coverage.values()
    return any(each.seen > each.rows + each.marks + each.hidden for each in accounts)


def _on_npu(capture: Capture) -> bool:
    return capture.asked.device == "npu"


def _files(capture: Capture, name: str) -> list[tuple[Path, Path]]:
    """Return the file of this name of each capture, with the capture's folder."""
    found = [(ascend.output(folder, name), folder) for folder in capture.captures]
    there = [(path, folder) for path, folder in found if path is not None]
    if not there:
        raise _DoesNotApplyError(f"there is no {name}")
    if len(there) < len(found):
        raise _DoesNotApplyError(f"only {len(there)} of {len(found)} captures have {name}")
    return there


def _cells(
    table: pl.DataFrame | None, texts: Mapping[str, str], numbers: Mapping[str, str]
) -> pl.DataFrame:
    """Choose columns of a csv by the names that they are to have."""
    names = {**texts, **numbers}
    if table is None or not names.keys() <= set(table.columns):
        raise _DoesNotApplyError(f"its columns are not {', '.join(names)}")
    return (
        table.select(list(names))
        .rename(names)
        .with_columns(pl.col(list(numbers.values())).cast(pl.Float64, strict=False))
    )


CHECKS: Final[Mapping[str, Compare]] = {
    "rows of kernel_details.csv": _rows_of_kernels,
    "rows of operator_details.csv": _rows_of_operators,
    "rows of the tables": _rows_of_tables,
    "op_statistic.csv": _op_statistic,
    "computing in step_trace_time.csv": _computing,
    "communication in step_trace_time.csv": _communicating,
    "communication.json": _communication,
    "ratios of pipes": _pipes,
    "self times of operators": _self_times,
}
"""Each by the name under which it is reported."""
