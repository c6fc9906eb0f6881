"""Sections of measured values: how long steps take, and what takes the time and the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl
from msgspec.structs import replace

from harness.report.results import FEW, RunResults
from harness.report.section import LEFT_OUT, Brief, Column, Section
from harness.report.units import duration
from harness.tables.selection import within_steps

_BESIDE_KERNELS: Final = 2
"""Operators on one screen that has kernels, too."""


def step_breakdown(results: RunResults) -> Section | None:
    """Show what the devices did in each step."""
    table = results.analyses["step_breakdown"]
    steps = within_steps(table)
    outside = table.filter(pl.col("step").is_null()) if steps.height < table.height else table[:0]
    communicates = bool((table["communication_ns"] + table["overlapped_ns"] > 0).any())
    parts = ("compute", *(("communication", "overlapped") if communicates else ()), "idle")
    columns = {"step": Column("step", "identifier")}
    if table["device"].n_unique() > 1:
        columns["device"] = Column("device", "identifier")
    columns |= {"wall_ns": Column("wall", "ns"), "span_ns": Column("span", "ns")}
    columns |= {f"{part}_ns": Column(part, "ns", part_of="span") for part in parts}
    whole = "compute + communication, not overlapped," if communicates else "compute"
    unlaunched = tuple(_outside_steps(outside))
    notes = [f"span = {whole} + idle", *unlaunched]
    section = _first_rows(results, "Steps on the device", steps, columns, notes)
    if section is None or results.analyses["wall_time"].is_empty():
        return section
    # The wall time says where the time goes.
    return replace(section, brief=Brief(notes=unlaunched))


def _outside_steps(rows: pl.DataFrame) -> Iterator[str]:
    """Yield what the devices ran that no step launched."""
    if rows.height:
        kernels, time = rows.select(pl.col("kernels", "launched_ns").sum()).row(0)
        yield f"kernels that no step launched: {kernels:,}, in {duration(time)} of device time"


def hot_operators(results: RunResults) -> Section | None:
    """Show the operators with the most self time."""
    columns = {
        "name": Column("operator", "name"),
        "input_shapes": Column("input shapes", "shapes"),
        "count": Column("count", "count"),
        "self_ns": Column("self", "ns"),
        "share": Column("share", "share"),
        "device_ns": Column("device", "ns"),
        "flops": Column("flops", "flops"),
    }
    table = results.analyses["hot_operators"]
    section = _first_rows(results, "Operators by self time, all recorded steps", table, columns)
    if section is None or results.analyses["hot_kernels"].is_empty():
        return section
    # A rehearsal's times are invented; its booking sheet says more.
    rows = () if results.record.emulated else section.rows[:_BESIDE_KERNELS]
    return replace(section, brief=Brief(rows=rows))


def kernels_by_type(results: RunResults) -> Section | None:
    """Show the types of kernels with the most device time."""
    columns = {
        "type": Column("type"),
        "core": Column("core"),
        "count": Column("count", "count"),
        "duration_ns": Column("time", "ns"),
        "mean_ns": Column("mean", "ns"),
        "share": Column("share", "share"),
    }
    table = results.analyses["kernels_by_type"]
    section = _first_rows(results, "Kernels by type, all recorded steps", table, columns)
    if section is None or results.analyses["hot_kernels"].is_empty():
        return section
    return replace(section, brief=LEFT_OUT)


def hot_kernels(results: RunResults) -> Section | None:
    """Show the kernels with the most device time."""
    columns = {
        "name": Column("kernel", "name"),
        "input_shapes": Column("input shapes", "shapes"),
        "count": Column("count", "count"),
        "duration_ns": Column("time", "ns"),
        "share": Column("share", "share"),
    }
    table = results.analyses["hot_kernels"]
    return _first_rows(results, "Kernels by device time, all recorded steps", table, columns)


def stages(results: RunResults) -> Section | None:
    """Show where the operators' self time goes among the stages of a step.

    None without stages, and where the wall time is shown by them, which says more.
    """
    table = results.analyses["stages"]
    by_stage = results.analyses["wall_time"]["stage"].is_not_null().any()
    if by_stage or table["stage"].is_null().all():
        return None
    columns = {
        "stage": Column("stage", absent="(outside)"),
        "operators": Column("operators", "count"),
        "self_ns": Column("self", "ns"),
        "share": Column("share", "share"),
    }
    return _first_rows(results, "Stages", table, columns)


def functions(results: RunResults) -> Section | None:
    """Show which functions outside torch the operators' self time belongs to.

    None where it is known by line, which says more.
    """
    if not results.analyses["wall_time_lines"].is_empty():
        return None
    columns = {
        "function": Column("function, and the line where it begins", "name", absent="(none known)"),
        "operators": Column("operators", "count"),
        "self_ns": Column("self", "ns"),
        "share": Column("share", "share"),
        "device_ns": Column("device", "ns"),
    }
    return _first_rows(results, "Functions outside torch", results.analyses["functions"], columns)


def memory_peaks(results: RunResults) -> Section | None:
    """Show the most memory in use on each device."""
    columns = {
        "device": Column("device"),
        "total_allocated": Column("in use", "bytes"),
        "operator": Column("reached in", "name", absent="(no operator)"),
        "step": Column("step", "identifier"),
        "after_ns": Column("after", "ns"),
        "module": Column("module", "name"),
        "line": Column("line", "name"),
    }
    return _first_rows(results, "Memory peaks", results.analyses["memory_peaks"], columns)


def _first_rows(
    results: RunResults,
    title: str,
    table: pl.DataFrame,
    columns: Mapping[str, Column],
    notes: Sequence[str] = (),
) -> Section | None:
    """Return a section of an analysis' first rows; None without rows.

    Columns other than the first are left out where nothing was recorded.
    """
    if table.is_empty():
        return None
    first, *others = columns
    names = [first, *(name for name in others if table[name].is_not_null().any())]
    left = table.height - results.rows
    more = [f"{left:,} more in analyses/"] if left > 0 else []
    rows = tuple(table.head(results.rows).select(names).rows())
    return Section(
        title=title,
        columns=tuple(columns[name] for name in names),
        rows=rows,
        notes=(*notes, *more),
        brief=Brief(rows=rows[:FEW]),
    )
