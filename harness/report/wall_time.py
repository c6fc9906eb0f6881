"""Sections about where the wall time of the recorded steps goes."""

from __future__ import annotations

from typing import Final

import polars as pl

from harness.analyses.pieces import PARTS
from harness.execution.protocol import Compilation
from harness.report.results import FEW, RunResults
from harness.report.section import Brief, Column, Section, Value

_UNKNOWN: Final = "(not attributed)"


def wall_time(results: RunResults) -> Section | None:
    """Show the wall time of the recorded steps by stage and part; every row adds up to it."""
    table = results.analyses["wall_time"]
    if table.is_empty():
        return None
    steps = table.select("rank", "step").n_unique()
    total = int(table["duration_ns"].sum())
    parts = [part for part in PARTS if part in table["part"]]
    by_stage = table.group_by("stage", maintain_order=True).agg(
        pl.col("duration_ns").sum().alias("all"),
        *(pl.col("duration_ns").filter(pl.col("part") == part).sum().alias(part) for part in parts),
    )
    by_stage = by_stage.sort("all", descending=True)
    rows = [_shared(row, total) for row in by_stage.iter_rows()]
    sums = by_stage.select(pl.col("all", *parts).sum()).row(0)
    whole = _shared(("whole step", *sums), total)
    if by_stage["stage"].is_null().all():
        rows = []
    return Section(
        title=f"Where the wall time goes, {steps:,} recorded step(s)",
        columns=(
            Column("stage", absent=_UNKNOWN),
            Column("share", "share"),
            Column("time", "ns"),
            *(Column(part, "ns") for part in parts),
        ),
        rows=(*rows, whole),
        notes=tuple(_notes(parts)),
        brief=Brief(rows=(*rows[:FEW], whole)),
    )


def _shared(row: tuple[Value, ...], total: int) -> tuple[Value, ...]:
    stage, whole, *parts = row
    assert isinstance(whole, int)
    return (stage, whole / total, whole, *(part or None for part in parts))


def _notes(parts: list[str]) -> list[str]:
    notes = []
    if "idle" in parts:
        notes.append("idle: the step waits at its end for the device, which runs nothing")
    if "python" in parts:
        notes.append(
            "python: between operators: Python, what it calls that torch does not record, waiting"
        )
    return notes


def compilation(results: RunResults) -> Section | None:
    """Show what torch.compile did, and where it could not make one graph."""
    compiled = results.record.compilation
    if compiled is None:
        return None
    breaks = compiled.graph_breaks
    return Section(
        title="torch.compile",
        columns=(Column("graph break"), Column("count", "count")) if breaks else (),
        rows=tuple(breaks.items()),
        notes=(_compiled(compiled),),
        brief=Brief(rows=tuple(breaks.items())[:FEW], notes=(_compiled(compiled),)),
    )


def _compiled(compiled: Compilation) -> str:
    return (
        f"{compiled.compilations:,} compilation(s) of {compiled.graphs:,} graph(s) took"
        f" {compiled.seconds:.1f} s in all, warm-up included"
    )


def lines(results: RunResults) -> Section | None:
    """Show the lines of the user's code with the most wall time."""
    table = results.analyses["wall_time_lines"]
    if table.is_empty():
        return None
    lost = float(table.filter(pl.col("file").is_null())["share"].sum())
    shown = table.filter(pl.col("file").is_not_null())
    notes = ["backward counts for the line of forward, a kernel for the line that launched it"]
    unknown = [f"of no line that is known: {lost:.1%} of the wall time"] if lost > 0 else []
    notes += unknown
    top = results.rows
    if shown.height > top:
        notes.append(f"{shown.height - top:,} more in analyses/")
    rows = tuple(
        (f"{place}:{line}", *others)
        for place, (line, *others) in zip(
            short_names(shown["file"].head(top).to_list()),
            shown.head(top).select("line", "text", "stage", "duration_ns", "share").iter_rows(),
            strict=True,
        )
    )
    return Section(
        title="Lines of your code by wall time",
        columns=(
            Column("line", "name"),
            Column("code", "name"),
            Column("stage", absent="–"),
            Column("time", "ns"),
            Column("share", "share"),
        ),
        rows=rows,
        notes=tuple(notes),
        brief=Brief(rows=rows[:FEW], notes=tuple(unknown)),
    )


def short_names(files: list[str]) -> list[str]:
    """Return the last part of each path, with as many before it as tell different files apart."""
    parts = {file: file.split("/") for file in files}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        names = {file: "/".join(of[-length:]) for file, of in parts.items()}
        if len(set(names.values())) == len(parts):
            return [names[file] for file in files]
    return files


def modules(results: RunResults) -> Section | None:
    """Show the modules with the most wall time."""
    table = results.analyses["wall_time_modules"]
    if table.is_empty():
        return None
    parts = [part for part in PARTS if table[f"{part.replace(' ', '_')}_ns"].sum()]
    names = ["module", "share", "duration_ns", *(f"{part.replace(' ', '_')}_ns" for part in parts)]
    top = results.rows
    more = [f"{table.height - top:,} more in analyses/"] if table.height > top else []
    rows = tuple(
        (module, part, whole, *(value or None for value in values))
        for module, part, whole, *values in table.head(top).select(names).iter_rows()
    )
    return Section(
        title="Modules by wall time",
        columns=(
            Column("module", "name", absent=_UNKNOWN),
            Column("share", "share"),
            Column("time", "ns"),
            *(Column(part, "ns") for part in parts),
        ),
        rows=rows,
        notes=("the innermost module that called; backward counts for that of forward", *more),
        brief=Brief(rows=rows[:FEW]),
    )
