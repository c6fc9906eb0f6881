"""The sections of merged runs: the join, the kinds of kernels with the most time, their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from harness.bottlenecks.classes import CLASSES
from harness.capture.merge_record import MergeRecord
from harness.report.results import FEW
from harness.report.section import Brief, Column, Section, Value, mark_emulated

TOP: Final = 15
"""Kinds of kernels in the table; tables/bottlenecks.parquet has them all."""

_PERTURBED: Final = 10
_BRIEF_KINDS: Final = 5
_KIND: Final = (Column("type", "name"), Column("input shapes", "shapes"))


def sections(table: pl.DataFrame, runs: Sequence[str], *, emulated: bool = False) -> list[Section]:
    """Return what a table of bottlenecks shows.

    Args:
        table: As `harness.bottlenecks.table` makes it.
        runs: The labels of its runs.
        emulated: Whether an emulator stood in for the device; said beside every figure.
    """
    if table.is_empty():
        return [Section(title="Bottlenecks", notes=("no kernel was joined",))]
    shown = [section for of in SECTIONS.values() if (section := of(table, runs)) is not None]
    if emulated:
        invented = "EMULATED device: every time and counter is invented, and so are these bounds"
        shown = list(map(mark_emulated, shown))
        shown[0] = replace(shown[0], notes=(*shown[0].notes, invented))
    return shown


def join_sections(record: MergeRecord, unmatched: pl.DataFrame, folder: str) -> list[Section]:
    """Return what a join shows: the runs, and the rows that not every run has.

    Args:
        record: Of the merge.
        unmatched: As `harness.merge.join` makes it.
        folder: Where the tables are, as a user would type it.
    """
    shown = [_runs(record, folder)]
    if not unmatched.is_empty():
        shown.append(_unmatched(record, unmatched))
    return list(map(mark_emulated, shown)) if record.emulated else shown


def _runs(record: MergeRecord, folder: str) -> Section:
    title = f"Merged: {len(record.runs)} runs"
    if record.left_out:
        title += f", {len(record.left_out)} left out"
    if record.in_all < record.rows:
        title += f", {record.rows - record.in_all:,} unmatched {record.table}"
    rows = tuple(
        (
            run.label,
            run.rows - run.outside,
            run.unmatched,
            run.missing,
            run.duration_ns,
            run.exit_code,
        )
        for run in record.runs
    )
    tables = f"{record.table}_merged, bottlenecks, unmatched (.parquet)"
    return Section(
        title=title,
        columns=(
            Column("run"),
            Column(record.table, "count"),
            Column("only in some", "count"),
            Column("lacks", "count"),
            Column("device time" if record.table == "kernels" else "self time", "ns"),
            Column("exit", "identifier"),
        ),
        rows=rows,
        notes=(*_run_notes(record), f"{folder}/tables/: {tables}"),
        brief=Brief(
            # Those that lack something, have more than others, or did not end well.
            rows=tuple(row for row in rows if any(row[2:4]) or row[-1]),
            notes=tuple(_run_notes(record)),
        ),
    )


def _run_notes(record: MergeRecord) -> Iterator[str]:
    rows = record.table
    yield (
        f"{record.in_all:,} of {record.rows:,} {rows} are in all {len(record.runs)} runs,"
        f" match={record.match}"
    )
    if record.ambiguous:
        yield (
            f"{record.ambiguous:,} {rows} are ambiguous: another alignment with as few edits pairs"
            " them differently"
        )
    if outside := sum(run.outside for run in record.runs):
        yield f"{outside:,} {rows} outside of all steps are left out"
    for run in record.runs:
        if run.streams:
            numbers = ", ".join(f"{number} is {merged}" for number, merged in run.streams.items())
            yield f"{run.label}: streams have other numbers: {numbers}"
    for left_out in record.left_out:
        yield f"left out: {left_out.folder}: {left_out.reason}"
    yield from record.notes


def _unmatched(record: MergeRecord, table: pl.DataFrame) -> Section:
    """Show the rows that not every run has, by the shorter list of runs."""
    lane = "stream" if record.table == "kernels" else "thread"
    rows = tuple(
        (
            (row.get("type") if row["input_shapes"] else None) or row["name"],
            row["input_shapes"],
            row["step"],
            row[lane],
            row["position"],
            _where(row["missing_in"], row["found_in"]),
        )
        for row in table.head(TOP).iter_rows(named=True)
    )
    return Section(
        title=f"{record.table.capitalize()} that not every run has",
        columns=(
            *_KIND,
            Column("step", "identifier"),
            Column(lane, "identifier"),
            Column("position", "identifier"),
            Column("run"),
        ),
        rows=rows,
        notes=_more(table, TOP, "unmatched"),
        brief=Brief(rows=rows[:FEW], notes=_more(table, FEW, "unmatched")),
    )


def _where(lacking: Sequence[str], having: Sequence[str]) -> str:
    if len(lacking) <= len(having):
        return f"not in {', '.join(lacking)}"
    return f"only in {', '.join(having)}"


def _kinds(table: pl.DataFrame, runs: Sequence[str]) -> Section:
    """Show the kinds of kernels with the most time, and what bounds each."""
    count, matched = int(table["count"].sum()), int(table["matched"].sum())
    notes = [*_more(table, TOP, "bottlenecks")]
    if len(runs) > 1:
        notes.append(f"{matched:,} of {count:,} kernels are in all {len(runs)} runs")
    if not table["averaged"].all():
        notes.append("mean –: kernels without shapes are summed, not averaged")
    figures = {
        "count": Column("count", "count"),
        "mean_ns": Column("mean", "ns"),
        "share": Column("share", "share"),
        "dominant_pipe": Column("busiest pipe"),
        "dominant_ratio": Column("busy", "share"),
        "bound": Column("bound by"),
    }
    return Section(
        title="Bottlenecks: kinds of kernels by device time",
        columns=(*_KIND, *figures.values()),
        rows=_rows(table.head(TOP), figures),
        notes=tuple(notes),
        brief=Brief(rows=_rows(table.head(_BRIEF_KINDS), figures)),
    )


def _classes(table: pl.DataFrame, _runs: Sequence[str]) -> Section:
    """Show the classes that occur, the one with the most time first, and what to do."""
    classes = (
        table.group_by("bound")
        .agg(pl.len().alias("kinds"), pl.col("share").sum(), pl.col("needs").drop_nulls().unique())
        .sort("share", "bound", descending=[True, False])
    )
    return Section(
        title="What bounds them, and what to do",
        columns=(
            Column("bound by"),
            Column("kinds", "count"),
            Column("share", "share"),
            Column("advice"),
        ),
        rows=tuple(
            (bound, kinds, share, _advice(bound, needs))
            for bound, kinds, share, needs in classes.rows()
        ),
        notes=("limits: analysis.bound; rules and columns: docs/bottlenecks.md",),
        # The advice takes several lines for each class.
        brief=Brief(notes=(", ".join(_share(*row[:3:2]) for row in classes.head(FEW).rows()),)),
    )


def _share(bound: str, share: float) -> str:
    return f"{bound} {share:.1%}"


def _advice(bound: str, needs: Sequence[str]) -> str:
    groups = ", ".join(sorted(needs))
    more = f" Not measured, and could tell more: {groups}." if groups else ""
    return CLASSES[bound].advice + more


def _perturbed(table: pl.DataFrame, runs: Sequence[str]) -> Section | None:
    """Show the kinds of kernels whose durations differ between runs by more than noise."""
    perturbed = table.filter(pl.col("perturbed").fill_null(value=False))
    if perturbed.is_empty():
        return None
    rows = tuple(
        (*_kind(row), row["spread"], *_extremes(row, runs))
        for row in perturbed.head(_PERTURBED).iter_rows(named=True)
    )
    limits = "a figure of one run says less about the other there; limits: analysis.perturbed"
    return Section(
        title="Perturbed: mean durations that differ between runs by more than noise",
        columns=(
            *_KIND,
            Column("spread", "share"),
            Column("shortest", "ns"),
            Column("in"),
            Column("longest", "ns"),
            Column("in"),
        ),
        rows=rows,
        notes=(limits, *_more(perturbed, _PERTURBED, "bottlenecks")),
        brief=Brief(rows=rows[:FEW], notes=_more(perturbed, FEW, "bottlenecks")),
    )


def _extremes(row: Mapping[str, Any], runs: Sequence[str]) -> tuple[float, str, float, str]:
    """Return the shortest and the longest mean duration of a kind, each with its run."""
    means = {
        run: row[f"duration_ns@{run}"] / row[f"count@{run}"] for run in runs if row[f"count@{run}"]
    }
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    return means[least], least, means[most], most


def _roofline(table: pl.DataFrame, _runs: Sequence[str]) -> Section | None:
    """Show how near kernels come to what the chip's peaks allow."""
    bounded = table.filter(pl.col("roof_share").is_not_null())
    if bounded.is_empty():
        return None
    figures = {
        "intensity": Column("op/byte", "number"),
        "achieved_tops": Column("Tops", "number"),
        "attainable_tops": Column("attainable", "number"),
        "roof": Column("roof"),
        "roof_share": Column("of the roof", "share"),
    }
    return Section(
        title="Roofline: how much of what the chip could do",
        columns=(*_KIND, *figures.values()),
        rows=_rows(bounded.head(TOP), figures),
        notes=("Tops: 1e12 operations a second, achieved and attainable; peaks: analysis.peaks",),
        brief=Brief(rows=_rows(bounded.head(FEW), figures)),
    )


SECTIONS: Final[Mapping[str, Callable[[pl.DataFrame, Sequence[str]], Section | None]]] = {
    "kinds": _kinds,
    "classes": _classes,
    "perturbed": _perturbed,
    "roofline": _roofline,
}
"""Every section of a table of bottlenecks, in order; a new one is a function and a line here."""


def _rows(table: pl.DataFrame, names: Mapping[str, Column]) -> tuple[tuple[Value, ...], ...]:
    """Return a row for each kind of kernels: what tells it apart, and the columns named."""
    return tuple(
        (*_kind(row), *(row[name] for name in names)) for row in table.iter_rows(named=True)
    )


def _kind(row: Mapping[str, Any]) -> tuple[Value, Value]:
    # Of kernels without shapes, the type may be no more than "kernel".
    return row["name"] or row["type"], row["input_shapes"]


def _more(table: pl.DataFrame, shown: int, name: str) -> tuple[str, ...]:
    more = table.height - shown
    return (f"{more:,} more in tables/{name}.parquet",) if more > 0 else ()
