"""A summary on one screen: each section as brief as it says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from harness.report.section import Section
from harness.settings.request import Detail

SETTING: Final = "report.detail"


def in_detail(sections: Iterable[Section], detail: Detail, all_of_it: str) -> list[Section]:
    """Return what a terminal shows of a summary.

    Args:
        sections: The summary.
        detail: full: all of it; brief: what one screen has room for. Then the last line says where
            the rest is, if anything is left out.
        all_of_it: The file that has the whole summary.
    """
    whole = list(sections)
    if detail == "full":
        return whole
    shown = [short for section in whole if (short := _shortened(section)) is not None]
    if not any(map(_is_shorter, whole)) or not shown:
        return shown
    last = shown[-1]
    hint = f"full: {SETTING}=full, or {all_of_it}"
    return [*shown[:-1], replace(last, notes=(*last.notes, hint))]


def _is_shorter(section: Section) -> bool:
    """Tell whether something of a section is left out where it is brief."""
    brief = section.brief
    return brief is not None and (brief.rows, brief.notes) != (section.rows, section.notes)


def _shortened(section: Section) -> Section | None:
    """Return a section as brief as it may be; None if it is left out."""
    brief = section.brief
    if brief is None:
        return section
    if not brief.rows and not brief.notes:
        return None
    return replace(section, rows=brief.rows, notes=brief.notes, brief=None)
