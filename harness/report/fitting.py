"""Fits a section into the width of a terminal: what costs nothing first, cuts last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from rich.cells import cell_len

from harness.report.section import Column, Section, Unit
from harness.report.units import cells
from harness.text import one_line

WIDE: Final = 3
"""Characters between two columns."""
NARROW: Final = 2
"""The same, if the table is too wide otherwise."""
_LEAST: Final[Mapping[Unit, int]] = {"name": 20, "shapes": 16}
"""Names and shapes are not cut below this many characters."""


class Grid(NamedTuple):
    """The texts of a table, and how wide its columns are."""

    columns: tuple[Column, ...]
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    widths: list[int]
    between: int

    @property
    def width(self) -> int:
        """Characters of a line of the table."""
        return sum(self.widths) + self.between * (len(self.widths) - 1)


def fitted(section: Section, width: int) -> Grid:
    """Return the first of the ways to write a section that is no wider than `width`.

    Headers are wrapped first, then the columns move together. Names and shapes are shortened next;
    if that is not enough, each share of a whole goes below its value, and shapes below the name
    that they follow. The last way wraps texts at their spaces; it may still be too wide.
    """
    for grid in _ways(section, width):
        if grid.width <= width:
            return grid
    return _wrapped(grid, width)


def _ways(section: Section, width: int) -> Iterator[Grid]:
    columns = section.columns
    headers = tuple(one_line(column.name) for column in columns)
    rows = cells(section)
    yield _grid(columns, headers, rows, WIDE)
    headers = _folded(headers, rows)
    yield _grid(columns, headers, rows, WIDE)
    whole = _grid(columns, headers, rows, NARROW)
    yield whole
    limits = _limits(columns, whole.widths, whole.width - width)
    yield _grid(columns, headers, cells(section, limits), NARROW)
    rows = cells(section, limits, before_share="\n")
    yield _grid(columns, headers, rows, NARROW)
    stacked = _shapes_below(section, headers, limits, spare=0)
    yield _shapes_below(section, headers, limits, spare=max(0, width - stacked.width))


def _grid(
    columns: tuple[Column, ...],
    headers: tuple[str, ...],
    rows: list[tuple[str, ...]],
    between: int,
) -> Grid:
    widths = [max(map(_widest_line, texts)) for texts in zip(headers, *rows, strict=True)]
    return Grid(columns, headers, rows, widths, between)


def _widest_line(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _folded(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return each header on two lines where that makes its column narrower."""
    return tuple(
        _in_two_lines(header, least=max(map(_widest_line, texts)))
        for header, *texts in zip(headers, *rows, strict=True)
    )


def _in_two_lines(header: str, least: int) -> str:
    """Break a header at the space that leaves it narrowest, `least` characters or more."""
    if cell_len(header) <= least or " " not in header:
        return header
    breaks = [place for place, character in enumerate(header) if character == " "]
    ways = [f"{header[:place]}\n{header[place + 1 :]}" for place in breaks]
    return min(ways, key=_widest_line)


def _limits(
    columns: Sequence[Column], widths: Sequence[int], excess: int
) -> tuple[int | None, ...]:
    """Return for each column how long its names or shapes may be; the longest are cut first."""
    least = {
        place: _LEAST[column.unit] for place, column in enumerate(columns) if column.unit in _LEAST
    }
    limits = _narrowed({place: widths[place] for place in least}, least, excess)
    return tuple(limits.get(place) for place in range(len(columns)))


def _narrowed(
    widths: Mapping[int, int], least: Mapping[int, int], excess: int
) -> Mapping[int, int]:
    """Take `excess` characters from the widest columns, of none more than down to its least."""
    narrowed = dict(widths)
    for _ in range(excess):
        longer = [place for place in narrowed if narrowed[place] > least[place]]
        if not longer:
            break
        narrowed[max(longer, key=narrowed.__getitem__)] -= 1
    return narrowed


def _shapes_below(
    section: Section, headers: tuple[str, ...], limits: tuple[int | None, ...], spare: int
) -> Grid:
    """Put each column of shapes below the name that it follows, no wider than that and `spare`."""
    units = [column.unit for column in section.columns]
    pairs = enumerate(pairwise(units), start=1)
    below = {place for place, pair in pairs if pair == ("name", "shapes")}
    names = cells(section, limits)
    together = {
        place: max(cell_len(row[at - 1]) for row in names) + spare
        for at in below
        for place in (at - 1, at)
    }
    limits = tuple(together.get(place, limit) for place, limit in enumerate(limits))
    texts = cells(section, limits, before_share="\n")
    headers, *rows = (_joined(row, below) for row in (headers, *texts))
    columns = tuple(column for place, column in enumerate(section.columns) if place not in below)
    return _grid(columns, headers, rows, NARROW)


def _joined(row: Sequence[str], below: set[int]) -> tuple[str, ...]:
    return tuple(
        f"{text}\n{row[place + 1]}" if place + 1 in below else text
        for place, text in enumerate(row)
        if place not in below
    )


def _wrapped(grid: Grid, width: int) -> Grid:
    """Wrap texts at their spaces, the widest first; no word is broken here."""
    words = {
        place: max(cell_len(word) for text in texts for word in (text.split() or [""]))
        for place, texts in enumerate(zip(grid.headers, *grid.rows, strict=True))
        if grid.columns[place].unit == "text"
    }
    texts = {place: grid.widths[place] for place in words}
    narrowed = _narrowed(texts, words, grid.width - width)
    return grid._replace(
        widths=[narrowed.get(place, width) for place, width in enumerate(grid.widths)]
    )
