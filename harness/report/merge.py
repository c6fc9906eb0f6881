"""What a person sees of a merged sweep: the kinds of kernels with the most time, their bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from harness.bottlenecks.classes import CLASSES
from harness.capture.merge_record import MergeRecord
from harness.report.section import Section
from harness.report.units import duration

TOP: Final = 15
"""Kinds of kernels in the table; tables/bottlenecks.parquet has them all."""

_PERTURBED: Final = 10
_MAX_TYPE = 26
_MAX_SHAPES = 34
_FEW_SHAPES = 22


def sections(table: pl.DataFrame, runs: Sequence[str], *, emulated: bool = False) -> list[Section]:
    """Return what there is to see of a table of `bottlenecks`, for 120 columns.

    Args:
        table: As `harness.bottlenecks.table` makes it.
        runs: The labels of its runs.
        emulated: Whether an emulator stood in for the device; said beside every figure.
    """
    if table.is_empty():
        return [Section(title="Bottlenecks", notes=("no kernel was joined",))]
    parts = [*_kinds(table, runs), *_classes(table), *_perturbed(table, runs), *_roofline(table)]
    if emulated:
        invented = "EMULATED device: every time and counter is invented, and so are these bounds"
        parts = [replace(each, title=f"{each.title} (emulated: invented)") for each in parts]
        parts[0] = replace(parts[0], notes=(*parts[0].notes, invented))
    return parts


def join_sections(record: MergeRecord, unmatched: pl.DataFrame, folder: str) -> list[Section]:
    """Return what there is to see of a join: the runs, and the rows that not every run has.

    Args:
        record: Of the merge.
        unmatched: As `harness.merge.join` makes it.
        folder: Where the tables are, as a person would type it.
    """
    parts = [_runs(record, folder), *_unmatched(record, unmatched)]
    if record.emulated:
        parts = [replace(each, title=f"{each.title} (emulated: invented)") for each in parts]
    return parts


def _runs(record: MergeRecord, folder: str) -> Section:
    some = record.rows - record.in_all
    time = ">device time" if record.table == "kernels" else ">own time"
    count = f"{record.in_all:,} of {record.rows:,} {record.table}"
    notes = [f"{count} are in all {len(record.runs)} runs, match={record.match}"]
    if record.ambiguous:
        notes.append(
            f"{record.ambiguous:,} {record.table} are marked ambiguous: as few edits would pair"
            " them otherwise"
        )
    if outside := sum(run.outside for run in record.runs):
        notes.append(f"{outside:,} {record.table} of no step are left out")
    for run in record.runs:
        if run.streams:
            numbers = ", ".join(f"{own} is {other}" for own, other in run.streams.items())
            notes.append(f"{run.label}: streams have other numbers: {numbers}")
    notes += [f"left out: {each.folder}: {each.reason}" for each in record.left_out]
    notes += record.notes
    notes.append(f"{folder}/tables/: {record.table}_merged, bottlenecks, unmatched (.parquet)")
    title = f"Merged: {len(record.runs)} runs"
    if record.left_out:
        title += f", {len(record.left_out)} left out"
    return Section(
        title=title + (", not all of it" if some else ""),
        columns=("run", f">{record.table}", ">only in some", ">lacks", time, ">exit"),
        rows=tuple(
            (
                run.label,
                f"{run.rows - run.outside:,}",
                f"{run.unmatched:,}",
                f"{run.missing:,}",
                duration(run.duration_ns),
                "–" if run.exit_code is None else str(run.exit_code),
            )
            for run in record.runs
        ),
        notes=tuple(notes),
    )


def _unmatched(record: MergeRecord, table: pl.DataFrame) -> Iterator[Section]:
    """Show the rows that not every run has, by the shorter list of runs."""
    if table.is_empty():
        return
    rows = []
    for row in table.head(TOP).iter_rows(named=True):
        lacking, having = row["missing_in"], row["found_in"]
        fewer = len(lacking) <= len(having)
        where = row.get("stream", row.get("thread"))
        rows.append(
            (
                _cut((row.get("type") if row["input_shapes"] else "") or row["name"], _MAX_TYPE),
                _shapes(row["input_shapes"], _FEW_SHAPES),
                str(row["step"]),
                "–" if where is None else str(where),
                str(row["position"]),
                ("not in " if fewer else "only in ") + ", ".join(lacking if fewer else having),
            )
        )
    more = table.height - TOP
    yield Section(
        title=f"{record.table.capitalize()} that not every run has",
        columns=(
            *(
                "type",
                "input shapes",
                ">step",
                ">stream" if record.table == "kernels" else ">thread",
            ),
            *(">position", "run"),
        ),
        rows=tuple(rows),
        notes=(f"{more:,} more in tables/unmatched.parquet",) if more > 0 else (),
    )


def _kinds(table: pl.DataFrame, runs: Sequence[str]) -> Iterator[Section]:
    count, matched = int(table["count"].sum()), int(table["matched"].sum())
    notes = []
    if table.height > TOP:
        notes.append(f"{table.height - TOP:,} more in tables/bottlenecks.parquet")
    if len(runs) > 1:
        notes.append(f"{matched:,} of {count:,} kernels are in all {len(runs)} runs")
    if not table["averaged"].all():
        notes.append("mean –: kernels without shapes are added up, and not averaged")
    yield Section(
        title="Bottlenecks: kinds of kernels by device time",
        columns=("type", "input shapes", ">count", ">mean", ">share", "busiest pipe", "bound by"),
        rows=tuple(
            (
                _kind(row),
                _shapes(row["input_shapes"]),
                f"{row['count']:,}",
                "–" if row["mean_ns"] is None else duration(row["mean_ns"]),
                "–" if row["share"] is None else f"{row['share']:.1%}",
                _pipe(row),
                row["bound"],
            )
            for row in table.head(TOP).iter_rows(named=True)
        ),
        notes=tuple(notes),
    )


def _classes(table: pl.DataFrame) -> Iterator[Section]:
    """Show the classes that occur, the one with the most time first, and what to do."""
    found = (
        table.group_by("bound")
        .agg(pl.len().alias("kinds"), pl.col("share").sum(), pl.col("needs").drop_nulls().unique())
        .sort("share", "bound", descending=[True, False])
    )
    yield Section(
        title="What bounds them, and what to do",
        columns=("bound by", ">kinds", ">share", "advice"),
        rows=tuple(
            (row["bound"], f"{row['kinds']:,}", f"{row['share']:.1%}", _advice(row))
            for row in found.iter_rows(named=True)
        ),
        notes=("limits: analysis.bound; rules and columns: docs/bottlenecks.md",),
    )


def _advice(row: Mapping[str, Any]) -> str:
    needs = sorted(row["needs"])
    more = f" Not measured, and might tell more: {', '.join(needs)}." if needs else ""
    return CLASSES[row["bound"]].advice + more


def _perturbed(table: pl.DataFrame, runs: Sequence[str]) -> Iterator[Section]:
    """Show the kinds of kernels whose durations differ between runs by more than noise."""
    found = table.filter(pl.col("perturbed").fill_null(value=False))
    if found.is_empty():
        return
    rows = []
    for row in found.head(_PERTURBED).iter_rows(named=True):
        means = {
            run: row[f"duration_ns@{run}"] / row[f"count@{run}"]
            for run in runs
            if row[f"count@{run}"]
        }
        least, most = (chosen(means, key=lambda run: means[run]) for chosen in (min, max))
        rows.append(
            (
                _kind(row),
                _shapes(row["input_shapes"], _FEW_SHAPES),
                f"{row['spread']:.0%}",
                f"{duration(means[least])} {least}",
                f"{duration(means[most])} {most}",
            )
        )
    more = found.height - _PERTURBED
    notes = (
        "a figure of one run says less of another there; limits: analysis.perturbed",
        *((f"{more:,} more in tables/bottlenecks.parquet",) if more > 0 else ()),
    )
    yield Section(
        title="Perturbed: durations that differ between runs by more than noise",
        columns=("type", "input shapes", ">spread", "shortest on average", "longest on average"),
        rows=tuple(rows),
        notes=notes,
    )


def _roofline(table: pl.DataFrame) -> Iterator[Section]:
    found = table.filter(pl.col("roof_share").is_not_null())
    if found.is_empty():
        return
    yield Section(
        title="Roofline: how much of what the chip could do",
        columns=(
            "type",
            "input shapes",
            ">op/byte",
            ">Tops",
            ">attainable",
            "roof",
            ">of the roof",
        ),
        rows=tuple(
            (
                _kind(row),
                _shapes(row["input_shapes"], _FEW_SHAPES),
                "–" if row["intensity"] is None else f"{row['intensity']:.3g}",
                "–" if row["achieved_tops"] is None else f"{row['achieved_tops']:.3g}",
                f"{row['attainable_tops']:.3g}",
                row["roof"],
                f"{row['roof_share']:.0%}",
            )
            for row in found.head(TOP).iter_rows(named=True)
        ),
        notes=("Tops: 1e12 operations a second, achieved and attainable; peaks: analysis.peaks",),
    )


def _kind(row: Mapping[str, Any]) -> str:
    # Of kernels without shapes, the type may be no more than "kernel".
    return _cut(row["name"] or row["type"] or "–", _MAX_TYPE)


def _shapes(value: Sequence[Sequence[int]] | None, most: int = _MAX_SHAPES) -> str:
    if value is None:
        return "–"
    text = " ".join(f"[{','.join(map(str, shape))}]" for shape in value if shape)
    return _cut(text, most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _pipe(row: Mapping[str, Any]) -> str:
    if row["dominant_pipe"] is None:
        return "–"
    return f"{row['dominant_pipe']} {row['dominant_ratio']:.0%}"
