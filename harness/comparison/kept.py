"""A comparison that is kept: its record, as Markdown, as a page, and tables; all, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files, tables
from harness.capture.comparison_record import ComparisonRecord
from harness.capture.run_folder import make, shown
from harness.comparison.attribution import frame
from harness.errors import WriteError
from harness.execution.protocol import json_of
from harness.paths import ComparisonFolder
from harness.report.html.comparison import comparison_page
from harness.report.html.render import html
from harness.report.markdown import markdown
from harness.report.section import Section

if TYPE_CHECKING:
    import polars as pl


def keep(record: ComparisonRecord, parts: Sequence[Section], folder: Path) -> Section:
    """Write a comparison into a folder, and return the section that says so.

    Raises:
        RefusedError: The folder cannot be made, or not be written into.
        WriteError: The disk is full, or the like; no file takes its place.
    """
    made = make(folder, "--out")
    kept = ComparisonFolder(folder)
    contents: dict[Path, pl.DataFrame | bytes] = {
        # The first is closed, and takes its place, last.
        kept.record: json_of(record),
        kept.summary: markdown(parts).encode(errors="backslashreplace"),
        kept.report: html(comparison_page(record, parts)),
    }
    contents |= {kept.table(part.table): frame(part) for part in record.attributions}
    try:
        tables.write_together(contents, folder)
    except WriteError:
        files.remove_empty([*made, kept.table("").parent])
        raise
    names = f"{kept.record.name}, {kept.summary.name}, {kept.report.name}" + (
        ", tables/" if record.attributions else ""
    )
    return Section(title="Files", notes=(f"{shown(folder)}: {names}",))
