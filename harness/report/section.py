"""Sections: what people see of a result, as raw values in typed columns. Renderers format them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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


class Section(Struct, frozen=True, kw_only=True):
    """A titled table with notes; either may be empty."""

    title: str
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Value, ...], ...] = ()
    """A value for each column; a renderer may sort by them."""
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        assert {column.part_of for column in self.columns} <= {"", *names}, self.title
        assert all(len(row) == len(names) for row in self.rows), self.title


def mark_emulated(section: Section) -> Section:
    """Return a section whose title says that an emulator invented its values."""
    return replace(section, title=f"{section.title} (emulated: invented)")
