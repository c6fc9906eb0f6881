"""The page of a comparison: its sections, the step time of each run, what made the difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.capture.comparison_record import (
    Attribution,
    ComparedRun,
    ComparisonRecord,
    Contribution,
)
from harness.report.html.figure import AnyFigure, Bars, Plot, Points, Series
from harness.report.html.page import Page, page_of
from harness.report.section import Section
from harness.report.units import shapes

_MOST: Final = 8
_WIDTH: Final = 24
"""Characters of the shapes in a label."""
_ENDS: Final = {"operators": "self time", "kernels": "device time"}


def comparison_page(record: ComparisonRecord, sections: Sequence[Section]) -> Page:
    """Return the page of a comparison; `sections` are those that a terminal shows."""
    drawn: list[AnyFigure] = []
    if record.times is not None:
        drawn.append(_runs(record))
    drawn += [_contributions(part, emulated=record.emulated) for part in record.attributions]
    warning = "emulated: an emulator invented the times" if record.emulated else ""
    return page_of(sections[0].title, sections, drawn, warning=warning)


def _shapes(row: Contribution) -> str:
    return shapes(row.candidate_shapes or row.base_shapes or [], _WIDTH)


def _runs(record: ComparisonRecord) -> Plot:
    return Plot(
        title="Step time of each run",
        note="a point is the median step of one run",
        x_title="run",
        y_title="step",
        x_unit="identifier",
        y_unit="ns",
        series=(_points("candidate", record.candidate), _points("base", record.base)),
    )


def _points(name: str, runs: Sequence[ComparedRun]) -> Points:
    timed = [run for run in runs if run.step_ns is not None]
    return Points(
        name=name,
        x=tuple(range(1, len(timed) + 1)),
        y=tuple(run.step_ns or 0 for run in timed),
        labels=tuple(run.folder for run in timed),
    )


def _contributions(part: Attribution, *, emulated: bool) -> Bars:
    invented = " (emulated: invented)" if emulated else ""
    sides = [
        (f"{row.name} {_shapes(row)}, {side}".replace(" ,", ","), time)
        for row in part.rows[:_MOST]
        for side, time in (("candidate", row.candidate_ns), ("base", row.base_ns))
    ]
    return Bars(
        title=f"{part.table.capitalize()} by {_ENDS[part.table]}, in one step{invented}",
        note="those that contribute most to the difference",
        unit="ns",
        labels=tuple(label for label, _ in sides),
        series=(Series(_ENDS[part.table], tuple(time for _, time in sides)),),
    )
