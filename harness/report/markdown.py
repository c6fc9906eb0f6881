"""Sections as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

from harness.report.section import Command, Note, Section
from harness.report.units import cells

_RULES = {"left": "---", "right": "---:"}


def markdown(sections: Iterable[Section]) -> str:
    """Render sections as Markdown."""
    out = StringIO()
    for number, section in enumerate(sections):
        out.write(f"{'#' if number == 0 else '##'} {section.title}\n\n")
        if section.rows:
            out.write(_row(column.name for column in section.columns))
            out.write(_row(_RULES[column.align] for column in section.columns))
            for row in cells(section):
                out.write(_row(row))
            out.write("\n")
        for note in section.notes:
            out.write(f"- {_note(note)}\n")
        if section.notes:
            out.write("\n")
    return out.getvalue().rstrip("\n") + "\n"


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(map(_escaped, texts)) + " |\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _note(note: Note) -> str:
    return f"{note.purpose}: {_code(note.line)}" if isinstance(note, Command) else note


def _code(line: str) -> str:
    # A command may have backticks of its own.
    return f"`` {line} ``" if "`" in line else f"`{line}`"
