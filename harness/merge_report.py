"""What a person sees of a merged sweep: the kinds of kernels with the most time, their bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from harness.analyses.bound_classes import CLASSES
from harness.rendering import Section, duration

TOP: Final = 15
"""Kinds of kernels in the table; tables/bottlenecks.parquet has them all."""

_PERTURBED: Final = 10
_MAX_TYPE = 26
_MAX_SHAPES = 34
_FEW_SHAPES = 22


def sections(table: pl.DataFrame, runs: Sequence[str], *, emulated: bool = False) -> list[Section]:
    """Return what there is to see of a table of `bottlenecks`, for 120 columns.

    Args:
        table: As `harness.analyses.bottlenecks` makes it.
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
