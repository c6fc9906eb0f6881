"""The summary of a run: which sections it has, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
from msgspec.structs import replace

from harness.capture.run_record import RunRecord
from harness.paths import RunFolder
from harness.report import booking, delivery, figures, profiler, ranks, wall_time
from harness.report.headline import headline
from harness.report.next_step import next_command
from harness.report.results import FEW, RunResults
from harness.report.section import LEFT_OUT, Brief, Section, mark_emulated
from harness.report.step_times import step_times

SectionOf = Callable[[RunResults], Section | None]
"""None where a run has nothing to show."""


def files(results: RunResults) -> Section:
    """Show where the run is, and which command is likely to be wanted next."""
    record, folder = results.record, results.folder
    place = f"{folder}: {', '.join(record.files)}" if record.files else folder
    proposal = next_command(record, folder)
    pages = [name for name in record.files if name in _PAGES]
    few = f"{folder}: {', '.join(pages)}" if pages else folder
    return Section(
        title="Files",
        notes=(place, *record.notes, proposal),
        brief=Brief(notes=(few, *_few(record.notes), proposal)),
    )


_PAGES: Final = (RunFolder(Path()).summary.name, RunFolder(Path()).report.name)


def _few(notes: Sequence[str]) -> Iterator[str]:
    """Yield the first notes, and how many more there are."""
    yield from notes[:FEW]
    if len(notes) > FEW:
        yield f"{len(notes) - FEW:,} more notes like these"


FIGURES: Final[Mapping[str, SectionOf]] = {
    "step_times": step_times,
    "wall_time": wall_time.wall_time,
    "compilation": wall_time.compilation,
    "lines": wall_time.lines,
    "modules": wall_time.modules,
    "step_breakdown": figures.step_breakdown,
    "hot_operators": figures.hot_operators,
    "kernels_by_type": figures.kernels_by_type,
    "hot_kernels": figures.hot_kernels,
    "stages": figures.stages,
    "functions": figures.functions,
    "memory_peaks": figures.memory_peaks,
}
"""Sections of measured values, which an emulator invents."""

_OF_ONE_RANK: Final = frozenset({"step_times", "wall_time", "step_breakdown"})
"""Those that are shown of one rank, beside all ranks, where the summary is brief."""

_OF_ANALYSES: Final[Mapping[str, SectionOf]] = {
    **FIGURES,
    "profiling_calls": profiler.profiling_calls,
    "analysed_files": profiler.analysed_files,
}
"""Sections that are made from the tables of the analyses."""

SECTIONS: Final[Mapping[str, SectionOf]] = {
    "headline": headline,
    "ranks": ranks.ranks,
    "delivery": delivery.delivery,
    "consistency": delivery.consistency,
    **_OF_ANALYSES,
    "event_counts": delivery.event_counts,
    "booking_sheet": booking.booking_sheet,
    "files": files,
}
"""Every section of a run's summary, in order; a new one is a function and a line here."""
_LAST_FIGURE: Final = tuple(FIGURES)[-1]


def sections(
    record: RunRecord,
    analyses: Mapping[str, pl.DataFrame],
    folder: str,
    across: Sequence[Section] = (),
) -> list[Section]:
    """Return what a user should see of a run, in order.

    Of a job of several ranks, the analyses are those of one, and may be none at all; `across` are
    the sections about all of them.
    """
    results = RunResults(record=record, analyses=analyses, folder=folder)
    shown = []
    for name, section_of in SECTIONS.items():
        lacks = name in _OF_ANALYSES and not analyses
        section = None if lacks else section_of(results)
        if section is not None:
            shown.append(_marked(section, record, name) if name in FIGURES else section)
        if name == _LAST_FIGURE:
            shown += across
    return shown


def _marked(section: Section, record: RunRecord, name: str) -> Section:
    """Return a section of measured values with what must be known of them."""
    if record.ranks:
        section = ranks.mark_rank(section, record)
        # One screen has room for what all ranks did, and for one rank's times.
        section = section if name in _OF_ONE_RANK else replace(section, brief=LEFT_OUT)
    return mark_emulated(section) if record.emulated else section
