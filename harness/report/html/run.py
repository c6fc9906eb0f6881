"""The page of a run, of an imported capture, or of a job of several ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from harness.capture.run_record import RunRecord
from harness.paths import RunFolder
from harness.report import delivery, profiler, ranks
from harness.report.booking import booking_sheet
from harness.report.headline import headline
from harness.report.html import figures as drawn
from harness.report.html.configuration import configuration
from harness.report.html.figure import AnyFigure, mark_emulated
from harness.report.html.flame import flame
from harness.report.html.page import Content, Link, Page, Part, Tile, Tone, link_to
from harness.report.html.timeline import timeline
from harness.report.results import RunResults
from harness.report.run import FIGURES
from harness.report.section import Section, Value
from harness.report.section import mark_emulated as mark_section
from harness.report.step_times import step_times

_NO_TABLES: Final = "no rank has left tables that can be shown"
_HERE: Final = RunFolder(Path())
ROWS: Final = 200
"""Rows of a table; the parquet file, which is linked, has them all."""


class Shown(Struct, frozen=True, kw_only=True):
    """What the page of a run is made from."""

    results: RunResults
    tables: Mapping[str, pl.DataFrame] | None
    """Of the capture; of a job, of the rank that is shown; null where there is none."""
    across: Mapping[str, pl.DataFrame] = {}
    """The tables that compare ranks."""
    across_sections: tuple[Section, ...] = ()
    more: tuple[Section, ...] = ()
    """Further sections about the ranks."""
    rank_pages: tuple[int, ...] = ()
    """The ranks that have a page of their own."""

    @property
    def record(self) -> RunRecord:
        """Of the run."""
        return self.results.record

    @property
    def beside(self) -> RunFolder:
        """Where the tables are, from the page on."""
        return _HERE.rank(ranks.shown_rank(self.record)) if self.record.ranks else _HERE


def run_page(shown: Shown) -> Page:
    """Return the page: every part, in order, or the reason why it is empty."""
    shown = replace(shown, results=replace(shown.results, rows=ROWS))
    subject = str(headline(shown.results).notes[0])
    parts = (part(shown) for part in PARTS)
    emulated = shown.record.emulated
    return Page(
        title=subject,
        subtitle=shown.results.folder,
        warning="EMULATED device: every time and counter on this page is invented"
        if emulated
        else "",
        tiles=tuple(_tiles(shown)),
        parts=tuple(part for part in parts if part is not None),
    )


def _tiles(shown: Shown) -> Iterator[Tile]:
    record = shown.record
    yield _verdict_tile(record)
    timing = record.timing
    invented = "invented" if record.emulated else ""
    for phase, name in (("baseline", "unprofiled step"), ("active", "profiled step")):
        if phase in timing:
            times = timing[phase]
            remark = invented or f"median of {times.steps:,}"
            yield Tile(name, times.median_ns, "ns", remark)
    if len(timing) > 1 and not record.emulated:
        ratio = timing["active"].median_ns / timing["baseline"].median_ns
        noise = timing["active"].resembles(timing["baseline"])
        remark = "within the noise" if noise else "what the profiler costs"
        yield Tile("profiled / unprofiled", ratio, "ratio", remark)
    breakdown = shown.results.analyses.get("step_breakdown")
    if breakdown is not None and breakdown["span_ns"].sum():
        spans = breakdown.drop_nulls("span_ns")
        busy = 1 - int(spans["idle_ns"].sum()) / int(spans["span_ns"].sum())
        yield Tile("device busy", busy, "share", invented or "of the steps' spans")
    peaks = shown.results.analyses.get("memory_peaks")
    if peaks is not None and peaks.height:
        first = peaks.row(0, named=True)
        yield Tile("memory peak", first["total_allocated"], "bytes", invented or first["device"])


def _verdict_tile(record: RunRecord) -> Tile:
    verdict = record.verdict.replace("_", " ") if record.status == "ok" else record.status
    tone: Tone = "warning" if record.verdict == "pending" else "bad"
    if record.exit_code == 0 and record.verdict == "delivered":
        tone = "good"
        if record.source and not any(map(delivery.is_of_setting, record.delivery)):
            # The capture does not record what was requested.
            verdict, tone = "not checked", "plain"
    return Tile("verdict", verdict, remark=f"exit code {record.exit_code}", tone=tone)


def _verdict(shown: Shown) -> Part:
    results = shown.results
    head = headline(results)
    sections = (
        replace(head, title="Verdict and delivery", notes=head.notes[1:]),
        delivery.delivery(results),
        delivery.consistency(results),
        delivery.event_counts(results),
    )
    return Part(title="Verdict and delivery", contents=_there(sections))


def _wall(shown: Shown) -> Part | None:
    wall = shown.results.analyses.get("wall_time")
    if wall is None or wall.is_empty():
        return None
    contents = (drawn.wall_bars(wall), *_sections(shown.results, "wall_time", "compilation"))
    return _measured(
        shown, "Where the wall time goes", contents, ["wall_time", "wall_time_operators"]
    )


def _steps(shown: Shown) -> Part:
    results, tables = shown.results, shown.tables or {}
    contents: list[Content | None] = []
    if "steps" in tables:
        contents.append(drawn.step_plot(tables["steps"]))
    contents += _sections(results, "step_times") or [step_times(results)]
    if results.analyses:
        contents.append(drawn.device_bars(results.analyses["step_breakdown"]))
        contents += _sections(results, "step_breakdown")
    absent = "no step was timed: run.json has no step times"
    return _measured(shown, "Step times", contents, ["step_breakdown"], absent)


def _timeline(shown: Shown) -> Part:
    lanes = timeline(shown.tables) if shown.tables else None
    absent = "no operator and no kernel of the recorded steps has a time"
    return _measured(shown, "Timeline", (lanes,), ["operators", "kernels"], absent)


def _operators(shown: Shown) -> Part:
    results = shown.results
    contents = _sections(results, "hot_operators", "stages")
    absent = _why_none(shown, "operators", "profiler.activities")
    return _measured(shown, "Operators", contents, ["hot_operators", "operators"], absent)


def _kernels(shown: Shown) -> Part:
    results = shown.results
    bars = drawn.type_bars(results.analyses["kernels_by_type"]) if results.analyses else None
    contents = (bars, *_sections(results, "kernels_by_type", "hot_kernels"))
    absent = _why_none(shown, "kernels", "profiler.activities")
    names = ["kernels_by_type", "hot_kernels", "kernels"]
    return _measured(shown, "Kernels", contents, names, absent)


def _code(shown: Shown) -> Part:
    tables = shown.tables
    graph = flame(tables["operators"], tables["stacks"]) if tables else None
    contents = (graph, *_sections(shown.results, "lines", "modules", "functions"))
    absent = _why_none(shown, "stacks", "profiler.with_stack")
    return _measured(
        shown,
        "Code",
        contents,
        ["wall_time_lines", "wall_time_modules", "functions", "stacks"],
        absent,
    )


def _memory(shown: Shown) -> Part:
    plot = drawn.memory_plot(shown.tables["memory"]) if shown.tables else None
    contents = (plot, *_sections(shown.results, "memory_peaks"))
    absent = _why_none(shown, "memory", "profiler.profile_memory")
    return _measured(shown, "Memory", contents, ["memory_peaks", "memory"], absent)


def _ranks(shown: Shown) -> Part | None:
    """Show the ranks together; none for a run of one process."""
    table = shown.across.get("ranks")
    sections = (ranks.ranks(shown.results), *shown.more, *shown.across_sections)
    bars: AnyFigure | None = drawn.rank_bars(table) if table is not None else None
    if bars is not None and shown.record.emulated:
        bars = mark_emulated(bars)
    contents = _there((bars, *sections))
    if not contents:
        return None
    absent = "" if bars else "the ranks are not compared: fewer than two have left tables"
    names = [name for name, rows in shown.across.items() if not rows.is_empty()]
    links = tuple(link_to(_HERE.analysis_table(name)) for name in names)
    pages = tuple(link_to(_HERE.rank(rank).report, f"rank {rank}") for rank in shown.rank_pages)
    return Part(title="Ranks", contents=contents, absent=absent, links=links, pages=pages)


def _analysis(shown: Shown) -> Part | None:
    of = (profiler.profiling_calls, profiler.analysed_files) if shown.results.analyses else ()
    contents = _there([section(shown.results) for section in (*of, booking_sheet)])
    return Part(title="The profiler's own files", contents=contents) if contents else None


def _configuration(shown: Shown) -> Part:
    return configuration(shown.record, shown.results.folder)


PARTS: Final[Sequence[Callable[[Shown], Part | None]]] = (
    _verdict,
    _ranks,
    _wall,
    _steps,
    _timeline,
    _kernels,
    _operators,
    _code,
    _memory,
    _analysis,
    _configuration,
)
"""Every part of the page of a run, in order; a new one is a function and a line here."""


def _sections(results: RunResults, *names: str) -> list[Section | None]:
    """Return the sections of these names that the summary has, too; none without analyses."""
    if not results.analyses:
        return []
    return [FIGURES[name](results) for name in names if name in FIGURES]


def _there(contents: Sequence[Content | None]) -> tuple[Content, ...]:
    return tuple(content for content in contents if content is not None)


def _measured(
    shown: Shown,
    title: str,
    contents: Sequence[Content | None],
    names: Sequence[str],
    absent: str = "",
) -> Part:
    """Return a part of measured values, with the files that have all of them.

    Args:
        shown: What the page is made from.
        title: Of the part.
        contents: Sections and figures, or None.
        names: Of the analyses and tables behind it.
        absent: Why there is nothing.
    """
    parts = tuple(_marked(shown.record, content) for content in _there(contents))
    if not parts:
        elsewhere = "the pages of the ranks have it" if shown.rank_pages else _NO_TABLES
        return Part(title=title, absent=elsewhere if shown.tables is None else absent)
    return Part(title=title, contents=parts, links=tuple(_links(shown, names)))


def _marked(record: RunRecord, content: Content) -> Content:
    """Say of measured values of which rank they are, and whether they are invented."""
    if record.ranks:
        rank = ranks.shown_rank(record)
        content = replace(content, title=f"{content.title} · rank {rank}")
    if not record.emulated:
        return content
    return mark_section(content) if isinstance(content, Section) else _emulated(content)


def _emulated(figure: AnyFigure) -> AnyFigure:
    return mark_emulated(figure)


def _links(shown: Shown, names: Sequence[str]) -> Iterator[Link]:
    analyses, tables = shown.results.analyses, shown.tables or {}
    for name in names:
        if name in tables and not tables[name].is_empty():
            yield link_to(shown.beside.table(name))
        elif name in analyses and not analyses[name].is_empty():
            yield link_to(shown.beside.analysis_table(name))


def _why_none(shown: Shown, table: str, setting: str) -> str:
    """Say why a table has no rows: the setting that records them, if it was not requested."""
    empty = f"{_HERE.table(table)} has no rows"
    requested = shown.record.requested
    if setting not in requested:
        return f"{empty}; the capture does not record whether {setting} was requested"
    value: Any = requested[setting]
    if value is False:
        return f"{empty}: {setting}=false, and {setting}=true records them"
    return f"{empty}; {setting}={_typed(value)} was requested"


def _typed(value: Value | Sequence[str] | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    return f"[{','.join(map(str, value))}]"
