"""Sections: what people see of a result, as raw values in typed columns. Renderers format them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

Unit = Literal[
    "text",
    "name",
    "shapes",
    "status",
    "identifier",
    "count",
    "number",
    "ns",
    "bytes",
    "flops",
    "share",
    "ratio",
]
"""What the values of a column are; `harness.report.units` has a formatter for each."""

Status = Literal[
    "delivered",
    "partial",
    "missing",
    "substituted",
    "not_checkable",
    "not_requested",
    "broken",
    "good",
    "bad",
    "remark",
]
"""The values of a column of unit "status": of a delivery, of consistency, of doctor."""

Value = str | int | float | Sequence[Sequence[int]] | None
"""Of a cell, never formatted. None where nothing was recorded."""

_LEFT: frozenset[Unit] = frozenset({"text", "name", "shapes", "status"})


class Column(Struct, frozen=True):
    """A column of a section: its header, and what its values are."""

    name: str
    unit: Unit = "text"
    part_of: str = ""
    """The column that has the whole; then each value is followed by its share of it."""
    absent: str = "–"
    """Stands for a value that is not there."""

    @property
    def align(self) -> Literal["left", "right"]:
        """Numbers are right-aligned."""
        return "left" if self.unit in _LEFT else "right"


class Command(Struct, frozen=True):
    """A note that proposes a command."""

    purpose: str
    line: str
    """As it is typed in a shell."""


Note = str | Command
Row = tuple[Value, ...]


class Brief(Struct, frozen=True, kw_only=True):
    """What one screen shows of a section. Without rows and notes, the section is left out."""

    rows: tuple[Row, ...] = ()
    """With a value for each column of the section."""
    notes: tuple[Note, ...] = ()


class Section(Struct, frozen=True, kw_only=True):
    """A titled table with notes; either may be empty."""

    title: str
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    """A value for each column; a renderer may sort by them."""
    notes: tuple[Note, ...] = ()
    brief: Brief | None = None
    """Where one screen has no room for all of it: what it shows."""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        assert {column.part_of for column in self.columns} <= {"", *names}, self.title
        rows = (*self.rows, *(self.brief.rows if self.brief else ()))
        assert all(len(row) == len(names) for row in rows), self.title


LEFT_OUT: Final = Brief()
"""Of a section that one screen has no room for."""


def brief_rows(rows: Sequence[Row], most: int, *, needed: Callable[[Row], bool]) -> tuple[Row, ...]:
    """Return the rows that are needed, however many, and of the others the first up to `most`."""
    free = most - sum(map(needed, rows))
    kept = []
    for row in rows:
        if not needed(row):
            free -= 1
        if needed(row) or free >= 0:
            kept.append(row)
    return tuple(kept)


def mark_emulated(section: Section) -> Section:
    """Return a section whose title says that an emulator invented its values."""
    return replace(section, title=f"{section.title} (emulated: invented)")
