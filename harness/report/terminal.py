"""Sections on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.report.section import Section


def renderable(parts: Iterable[Section]) -> RenderableType:
    """Render sections for a terminal."""
    out: list[RenderableType] = []
    for part in parts:
        out.append(f"\n[bold]{escape(part.title)}[/bold]")
        if part.rows:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
            for name in part.columns:
                right = name.startswith(">")
                table.add_column(
                    name.lstrip(">"),
                    justify="right" if right else "left",
                    no_wrap=right,
                    overflow="fold",
                )
            for row in part.rows:
                table.add_row(*map(escape, row))
            out.append(table)
        out += [Padding(Text(note), (0, 0, 0, 2), expand=False) for note in part.notes]
    return Group(*out)


def show(parts: Iterable[Section], console: Console) -> None:
    """Print sections to a terminal, or plainly to a pipe."""
    console.print(renderable(parts), highlight=False)
