"""Figures: what a page draws, as raw values. The page's script draws and formats them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from harness.report.section import Unit

Kind = Literal["own", "library", "module", "operator", "other"]
"""What a frame of a flame graph is; each has a colour."""


class Figure(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A titled drawing. Its values are those of the tables, never rounded."""

    title: str
    note: str = ""
    """What must be known to read it."""


class Series(Struct, frozen=True):
    """Named values, one for each label of the figure."""

    name: str
    values: tuple[int | float | None, ...]


class Bars(Figure, frozen=True, kw_only=True, tag="bars"):
    """Horizontal bars, one for each label; the series are stacked."""

    unit: Unit
    labels: tuple[str, ...]
    series: tuple[Series, ...]


class Range(Struct, frozen=True):
    """A value with its least and greatest."""

    low: int | float
    middle: int | float
    high: int | float


class RangeSeries(Struct, frozen=True):
    """Named ranges, one for each label; null where there is none."""

    name: str
    values: tuple[Range | None, ...]


class Ranges(Figure, frozen=True, kw_only=True, tag="ranges"):
    """For each label a line from the least to the greatest value, with a dot at the middle."""

    unit: Unit
    labels: tuple[str, ...]
    series: tuple[RangeSeries, ...]


class Points(Struct, frozen=True, kw_only=True):
    """Named points; `labels` name them, if they have names. A line joins them, if asked."""

    name: str
    x: tuple[int | float, ...]
    y: tuple[int | float, ...]
    labels: tuple[str, ...] = ()
    is_line: bool = False


class Plot(Figure, frozen=True, kw_only=True, tag="plot"):
    """Points over two axes: as dots, or as a line that keeps its value until the next point."""

    style: Literal["dots", "stairs"] = "dots"
    x_title: str
    y_title: str
    x_unit: Unit
    y_unit: Unit
    is_logarithmic: bool = False
    """Both axes; values of 0 or less are left out by whoever makes it."""
    series: tuple[Points, ...]


class Lane(Struct, frozen=True):
    """How long something ran in each bin, in nanoseconds."""

    name: str
    busy_ns: tuple[int, ...]


class Mark(Struct, frozen=True):
    """A named part of the time axis."""

    name: str
    start_ns: int
    end_ns: int


class Lanes(Figure, frozen=True, kw_only=True, tag="lanes"):
    """Lanes over one time axis; the stronger the colour, the longer something ran in a bin."""

    edges_ns: tuple[int, ...]
    """Where bins begin and end, from 0 on: one more than there are bins."""
    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...] = ()


class Frame(Struct, frozen=True, array_like=True):
    """A frame of a flame graph."""

    name: str
    parent: int
    """The place of the frame that called it; -1 for the outermost."""
    total: int
    """Its own time and that of all frames that it called."""
    group: Kind


class Flame(Figure, frozen=True, kw_only=True, tag="flame"):
    """A flame graph; the outermost frame is first, and each stands behind its parent."""

    unit: Unit = "ns"
    frames: tuple[Frame, ...]


class Heat(Figure, frozen=True, kw_only=True, tag="heat"):
    """A cell for each row and column, from 0 to 1; null where nothing was measured."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


AnyFigure = Bars | Ranges | Plot | Lanes | Flame | Heat


def mark_emulated(figure: AnyFigure) -> AnyFigure:
    """Return a figure whose title says that an emulator invented its values."""
    return replace(figure, title=f"{figure.title} (emulated: invented)")
