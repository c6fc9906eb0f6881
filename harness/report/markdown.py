"""Sections as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

from harness.report.section import Section


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
