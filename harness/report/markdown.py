"""Sections as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

from harness import text
from harness.report.section import Command, Note, Section
from harness.report.units import cells

_RULES = {"left": "---", "right": "---:"}


def markdown(sections: Iterable[Section]) -> str:
    """Render sections as Markdown."""
    out = StringIO()
    for number, section in enumerate(sections):
        out.write(f"{'#' if number == 0 else '##'} {text.paragraph(section.title)}\n\n")
        if section.rows:
            out.write(_row(text.cell(column.name) for column in section.columns))
            out.write(_row(_RULES[column.align] for column in section.columns))
            for row in cells(section):
                out.write(_row(map(text.cell, row)))
            out.write("\n")
        for note in section.notes:
            out.write(f"- {_note(note)}\n")
        if section.notes:
            out.write("\n")
    return out.getvalue().rstrip("\n") + "\n"


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |\n"


def _note(note: Note) -> str:
    if isinstance(note, Command):
        return f"{text.paragraph(note.purpose)}: {text.code(note.line)}"
    return text.paragraph(note)
