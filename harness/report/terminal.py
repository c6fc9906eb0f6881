"""Sections on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.report.console import Console
from harness.report.section import Command, Note, Section, Unit
from harness.report.units import cells
from harness.text import one_line, visible

_NARROWEST: Final[Mapping[Unit, int]] = {"name": 20, "shapes": 16}
"""Names and shapes are not cut below this many characters."""
_BETWEEN: Final = 3
"""Characters between two columns."""
_INDENT: Final = 2


def show(sections: Iterable[Section], console: Console) -> None:
    """Print sections to a terminal, or plainly to a pipe."""
    for section in sections:
        console.print(Text.assemble("\n", (one_line(section.title), "bold")))
        if section.rows:
            console.print(_table(section, console.width))
        for note in section.notes:
            _show_note(note, console)


def _show_note(note: Note, console: Console) -> None:
    text = f"{note.purpose}:" if isinstance(note, Command) else note
    console.print(Padding(Text(visible(text)), (0, 0, 0, _INDENT), expand=False))
    if isinstance(note, Command):
        # In one piece however long it is, to be copied.
        console.print(Text(" " * _INDENT + one_line(note.line)), soft_wrap=True)


def _table(section: Section, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in section.columns:
        table.add_column(
            Text(one_line(column.name)),
            justify=column.align,
            no_wrap=column.align == "right",
            overflow="fold",
        )
    for row in _fitted(section, width):
        table.add_row(*map(Text, row))
    return table


def _fitted(section: Section, width: int) -> list[tuple[str, ...]]:
    """Return the rows of a section, so that its table is no wider than `width` where that can be.

    Names and shapes are shortened first; if that is not enough, each share of a whole goes below
    its value. A table that is still too wide is folded.
    """
    rows = cells(section)
    lengths = _lengths(section, rows)
    excess = _width(lengths) - width
    if excess <= 0:
        return rows
    limits = _limits(section, lengths, excess)
    rows = cells(section, limits)
    if _width(_lengths(section, rows)) <= width:
        return rows
    return cells(section, limits, before_share="\n")


def _limits(section: Section, lengths: Sequence[int], excess: int) -> list[int | None]:
    """Return for each column how long its names or shapes may be; the longest are cut first."""
    least = {
        place: _NARROWEST[column.unit]
        for place, column in enumerate(section.columns)
        if column.unit in _NARROWEST
    }
    limits = {place: lengths[place] for place in least}
    for _ in range(excess):
        longer = [place for place in limits if limits[place] > least[place]]
        if not longer:
            break
        limits[max(longer, key=limits.__getitem__)] -= 1
    return [limits.get(place) for place in range(len(lengths))]


def _lengths(section: Section, rows: Sequence[tuple[str, ...]]) -> list[int]:
    """Return the length of the longest text of each column, its header included."""
    headers = [column.name for column in section.columns]
    return [max(map(cell_len, texts)) for texts in zip(headers, *rows, strict=True)]


def _width(lengths: Sequence[int]) -> int:
    return sum(lengths) + _BETWEEN * (len(lengths) - 1)
