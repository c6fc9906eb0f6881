"""Rendering: sections of text and tables, to a terminal or as Markdown; and units for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import StringIO

from msgspec import Struct
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_MAX_NAME = 64
_PREFIX = re.compile(r"^void (?:at::native::)?(?:\(anonymous namespace\)::)?")


class Section(Struct, frozen=True, kw_only=True):
    """A titled table with remarks; either may be empty."""

    title: str
    columns: tuple[str, ...] = ()
    """Those that begin with ">" are right-aligned."""
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def duration(nanoseconds: float) -> str:
    """Return a duration with three digits and a fitting unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(nanoseconds) >= size:
            return (
                f"{nanoseconds / size:.3g} {unit}"
                if nanoseconds < 999.5 * size
                else (f"{nanoseconds / size:,.0f} {unit}")
            )
    return f"{nanoseconds:.0f} ns"


def size(count: int) -> str:
    """Return a number of bytes with three digits and a fitting unit."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def shortened(name: str) -> str:
    """Return a kernel's name in at most 64 characters; the tables have the whole.

    What C++ puts before it (``void``, ``at::native::``) says little, nor do the arguments behind
    it; of what is too long still, the middle is left out.
    """
    bare = _PREFIX.sub("", name)
    if len(bare) > _MAX_NAME and bare.endswith(")"):
        bare = f"{bare[: _arguments(bare)]}(…)"
    if len(bare) <= _MAX_NAME:
        return bare
    end = _MAX_NAME // 3
    return f"{bare[: _MAX_NAME - end - 1]}…{bare[-end:]}"


def _arguments(name: str) -> int:
    """Return where the last pair of brackets opens; the end if it never does."""
    depth = 0
    for place in range(len(name) - 1, -1, -1):
        depth += (name[place] == ")") - (name[place] == "(")
        if depth == 0:
            return place
    return len(name)


def markdown(parts: Iterable[Section]) -> str:
    """Render sections as Markdown."""
    out = StringIO()
    for number, part in enumerate(parts):
        out.write(f"{'#' if number == 0 else '##'} {part.title}\n\n")
        if part.rows:
            out.write(_markdown_row(name.lstrip(">") for name in part.columns))
            out.write(
                _markdown_row("---:" if name.startswith(">") else "---" for name in part.columns)
            )
            for row in part.rows:
                out.write(_markdown_row(row))
            out.write("\n")
        for note in part.notes:
            out.write(f"- {note}\n")
        if part.notes:
            out.write("\n")
    return out.getvalue().rstrip("\n") + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


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
