"""Sections on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace
from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.report.console import Console
from harness.report.fitting import NARROW, fitted
from harness.report.section import Command, Note, Section
from harness.text import one_line, visible

_INDENT: Final = 2
_ROWS: Final = 100
"""Rows of a table; a sweep may have thousands of jobs, and its summary file has them all."""
_NOTES: Final = 40
"""Notes below a table, the last of which are shown in any case."""
_LAST_NOTES: Final = 3


def show(sections: Iterable[Section], console: Console) -> None:
    """Print sections to a terminal, or plainly to a pipe."""
    for section in sections:
        console.print(Text.assemble("\n", (one_line(section.title), "bold")))
        if section.rows:
            _print(_table(replace(section, rows=section.rows[:_ROWS]), console.width), console)
        if len(section.rows) > _ROWS:
            _show_note(f"{len(section.rows) - _ROWS:,} more rows in the summary file", console)
        for note in _shown(section.notes):
            _show_note(note, console)


def _shown(notes: Sequence[Note]) -> Sequence[Note]:
    """Leave out notes from the middle, if there are too many; say how many."""
    left_out = len(notes) - _NOTES
    if left_out <= 0:
        return notes
    middle = f"{left_out:,} more notes in the summary file"
    return [*notes[: _NOTES - _LAST_NOTES], middle, *notes[-_LAST_NOTES:]]


def _show_note(note: Note, console: Console) -> None:
    text = f"{note.purpose}:" if isinstance(note, Command) else note
    _print(Padding(Text(visible(text)), (0, 0, 0, _INDENT), expand=False), console)
    if isinstance(note, Command):
        # In one piece however long it is, to be copied.
        console.print(Text(" " * _INDENT + one_line(note.line)), soft_wrap=True)


def _print(block: RenderableType, console: Console) -> None:
    """Print a block without the blanks that fill its lines up: who copies them would have them."""
    for segments in console.render_lines(block, pad=False):
        line = Text.assemble(*((part.text, part.style or "") for part in segments))
        line.rstrip()
        console.print(line, soft_wrap=True)


def _table(section: Section, width: int) -> Table:
    grid = fitted(section, width)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 1) if grid.between > NARROW else (0, 1, 0, 0),
    )
    for column, header, wide in zip(grid.columns, grid.headers, grid.widths, strict=True):
        table.add_column(
            Text(header),
            justify=column.align,
            no_wrap=column.align == "right",
            overflow="fold",
            max_width=wide,
        )
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
