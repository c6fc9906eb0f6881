"""Keep what is shown of a result in its folder: as Markdown, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import files
from harness.paths import RunFolder
from harness.report.html.page import Page
from harness.report.html.render import html
from harness.report.markdown import markdown
from harness.report.section import Section


def keep_summary(parts: Sequence[Section], page: Page, folder: Path) -> None:
    """Write summary.md and report.html into the folder of a run or of a sweep.

    Raises:
        WriteError: The disk is full, or the like.
    """
    # A sweep's are called the same.
    run = RunFolder(folder)
    files.write(folder, run.summary, markdown(parts).encode(errors="backslashreplace"))
    files.write(folder, run.report, html(page))
