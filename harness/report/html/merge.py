"""The page of merged runs: what bounds each kind of kernel, with the evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from harness.bottlenecks.counters import PIPES
from harness.capture.merge_record import MergeRecord
from harness.paths import MergedFolder
from harness.report.html.figure import Bars, Heat, Plot, Points, Series, mark_emulated
from harness.report.html.page import Content, Link, Page, Part, Tile, link_to
from harness.report.merge import join_sections, sections
from harness.report.section import Column, Section
from harness.report.section import mark_emulated as mark_section
from harness.report.units import shapes, shortened
from harness.settings.request import Peaks

_HERE: Final = MergedFolder(Path())
ROWS: Final = 200
"""Rows of the table of bottlenecks; the parquet file, which is linked, has them all."""
KINDS: Final = 30
"""Kinds of kernels in a figure."""
_RUNNER_UP: Final = (
    "runner-up: the pipe with the second highest ratio; not given for kernels that use both halves"
    " of the core"
)
_NO_ROOF: Final = "no roof is known: analysis.peaks has no values for what these kernels use"


def merged_page(
    record: MergeRecord, unmatched: pl.DataFrame, kinds: pl.DataFrame, folder: Path
) -> Page:
    """Return the page of merged runs.

    Args:
        record: Of the merge.
        unmatched: The rows that not every run has.
        kinds: The table of bottlenecks.
        folder: Where the tables are.
    """
    labels = [run.label for run in record.runs]
    join = join_sections(record, unmatched, str(folder))
    names = (f"{record.table}_merged", "unmatched")
    parts = [
        _part(record, "Bottlenecks", _bottlenecks(kinds, labels), ["bottlenecks"], _nothing(kinds)),
        _part(record, "Pipes", [_heat(kinds)], ["bottlenecks"], "no pipe was measured"),
        _part(record, "Roofline", _roofline(kinds, record), ["bottlenecks"], _NO_ROOF),
        Part(title="Merged runs", contents=tuple(join), links=_links(names)),
    ]
    return Page(
        title="Merged runs",
        subtitle=f"{record.device} ({record.device_name})" if record.device_name else record.device,
        warning="EMULATED device: every time and counter on this page is invented"
        if record.emulated
        else "",
        tiles=(
            Tile("merged runs", len(record.runs), "count"),
            Tile(f"{record.table} in all runs", record.in_all, "count", f"of {record.rows:,}"),
        ),
        parts=tuple(parts),
    )


def joined_page(jobs: Page, merged: Page) -> Page:
    """Return the page of a sweep whose jobs were merged."""
    *shown, last = jobs.parts
    return Page(
        title=jobs.title,
        subtitle=jobs.subtitle,
        warning=jobs.warning,
        tiles=(*jobs.tiles, *merged.tiles),
        parts=(*merged.parts[:-1], *shown, merged.parts[-1], last),
    )


def _nothing(kinds: pl.DataFrame) -> str:
    return "no kernel was joined" if kinds.is_empty() else ""


def _links(names: Sequence[str]) -> tuple[Link, ...]:
    return tuple(link_to(_HERE.table(name)) for name in names)


def _part(
    record: MergeRecord,
    title: str,
    contents: Sequence[Content | None],
    names: Sequence[str],
    absent: str,
) -> Part:
    there = tuple(content for content in contents if content is not None)
    if not there:
        return Part(title=title, absent=absent)
    if record.emulated:
        there = tuple(map(_invented, there))
    return Part(title=title, contents=there, links=_links(names))


def _invented(content: Content) -> Content:
    return mark_section(content) if isinstance(content, Section) else mark_emulated(content)


def _bottlenecks(kinds: pl.DataFrame, labels: Sequence[str]) -> list[Content]:
    if kinds.is_empty():
        return []
    # The first section is the table that stands here with more columns.
    _, *others = sections(kinds, labels)
    advice = [section for section in others if not section.title.startswith("Roofline")]
    return [_bound_bars(kinds), _table(kinds), *advice]


def _bound_bars(kinds: pl.DataFrame) -> Bars:
    bounds = kinds.group_by("bound").agg(pl.col("duration_ns").sum())
    bounds = bounds.sort("duration_ns", "bound", descending=[True, False])
    return Bars(
        title="Device time by what bounds it",
        unit="ns",
        labels=tuple(bounds["bound"].to_list()),
        series=(Series("time", tuple(bounds["duration_ns"].to_list())),),
    )


def _table(kinds: pl.DataFrame) -> Section:
    """Return each kind with its bottleneck, the evidence, and the second busiest pipe."""
    columns = {
        "count": Column("count", "count"),
        "mean_ns": Column("mean", "ns"),
        "share": Column("share", "share"),
        "bound": Column("bound by"),
        "evidence": Column("evidence"),
        "dominant_pipe": Column("busiest pipe"),
        "dominant_ratio": Column("busy", "share"),
    }
    rows = []
    for row in kinds.head(ROWS).iter_rows(named=True):
        second, ratio = runner_up(row)
        figures = [row[name] for name in columns]
        name = row["name"] or row["type"]
        rows.append((name, row["input_shapes"], *figures, second, ratio, row["needs"]))
    left = kinds.height - ROWS
    notes = [_RUNNER_UP]
    if left > 0:
        notes.append(f"{left:,} more in {_HERE.table('bottlenecks')}")
    return Section(
        title="Kinds of kernels by device time",
        columns=(
            *(Column("type", "name"), Column("input shapes", "shapes"), *columns.values()),
            *(Column("runner-up"), Column("its busy", "share"), Column("not measured")),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def runner_up(row: Mapping[str, Any]) -> tuple[str | None, float | None]:
    """Return the second busiest pipe of a kind of kernels, and its ratio; None if it has none.

    A ratio of one half of the core counts by that half's time, which the table does not have: so
    kernels that use both halves have none.
    """
    halves = {half: _ratios(row, half) for half in PIPES}
    measured = [ratios for ratios in halves.values() if ratios]
    if len(measured) != 1:
        return None, None
    ordered = sorted(measured[0].items(), key=lambda item: -item[1])
    return ordered[1] if len(ordered) > 1 else (None, None)


def _ratios(row: Mapping[str, Any], half: str) -> dict[str, float]:
    return {
        f"{half}{pipe}": row[f"{half}{pipe}_ratio"]
        for pipe in PIPES[half]
        if row[f"{half}{pipe}_ratio"] is not None
    }


def _heat(kinds: pl.DataFrame) -> Heat | None:
    """Return how busy each pipe was in each kind; None if no pipe was measured."""
    pipes = [f"{half}{pipe}" for half, names in PIPES.items() for pipe in names]
    shown = kinds.head(KINDS)
    measured = [pipe for pipe in pipes if shown[f"{pipe}_ratio"].is_not_null().any()]
    rows = shown.filter(pl.any_horizontal(pl.col(f"{pipe}_ratio").is_not_null() for pipe in pipes))
    if not measured or rows.is_empty():
        return None
    return Heat(
        title="How busy each pipe was, in percent of its half's cycles",
        note="the kinds of kernels with the most time first; an empty cell was not measured",
        rows=tuple(map(_label, rows.iter_rows(named=True))),
        columns=tuple(measured),
        values=tuple(rows.select(f"{pipe}_ratio" for pipe in measured).rows()),
    )


def _roofline(kinds: pl.DataFrame, record: MergeRecord) -> list[Content]:
    """Return what kernels achieve below the roofs of their chip; empty if no roof is known."""
    figures = ("intensity", "achieved_tops", "attainable_tops")
    drawn = kinds.drop_nulls(figures).filter(
        pl.all_horizontal(pl.col(name) > 0 for name in figures)
    )
    runs = [run.label for run in record.runs]
    table = [each for each in sections(kinds, runs) if each.title.startswith("Roofline")]
    if drawn.is_empty():
        return [*table]
    labels = tuple(map(_label, drawn.iter_rows(named=True)))
    x = tuple(drawn["intensity"].to_list())
    figure = Plot(
        title="Roofline: achieved and attainable speed by intensity",
        x_title="operations per byte of main memory",
        y_title="1e12 operations a second",
        x_unit="number",
        y_unit="number",
        is_logarithmic=True,
        series=(
            Points(name="achieved", x=x, y=tuple(drawn["achieved_tops"].to_list()), labels=labels),
            Points(
                name="attainable", x=x, y=tuple(drawn["attainable_tops"].to_list()), labels=labels
            ),
            *_roofs(record.peaks, min(x), max(x)),
        ),
    )
    return [figure, *table]


def _roofs(peaks: Peaks, least: float, most: float) -> Iterator[Points]:
    """Yield the line of main memory, and from there on those of the units, by intensity.

    Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009: min(peak, intensity × bandwidth).
    A byte of L2 is none of main memory, so that its roof is no line here.
    """
    if peaks.main_memory_gbps is None:
        return
    slope = peaks.main_memory_gbps / 1e3  # 1e9 bytes a second; 1e12 operations
    units = {
        name: peak
        for name in ("cube_fp16", "cube_int8", "vector_fp32", "vector_fp16", "vector_int32")
        if (peak := getattr(peaks, f"{name}_tops"))
    }
    ridges = {name: peak / slope for name, peak in units.items()}
    first = 10 ** math.floor(math.log10(min([least, *ridges.values()])))
    last = 10 ** math.ceil(math.log10(max([most, *ridges.values()]) * 1.5))
    bend = max(ridges.values(), default=last)
    yield Points(
        name=f"{peaks.main_memory_gbps:g} GB/s of main memory",
        x=(first, bend),
        y=(first * slope, bend * slope),
        is_line=True,
    )
    for name, peak in units.items():
        title = f"{peak:g} Tops of {name.replace('_', ' in ')}"
        yield Points(name=title, x=(ridges[name], last), y=(peak, peak), is_line=True)


def _label(row: Mapping[str, Any]) -> str:
    name = shortened(row["name"] or row["type"] or "–", 28)
    return f"{name} {shapes(row['input_shapes'] or (), 24)}".rstrip()
