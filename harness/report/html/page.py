"""A page: parts with a title, each of sections and figures, or of the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from harness.report.html.figure import AnyFigure
from harness.report.section import Section, Unit, Value

Content = Section | AnyFigure


class Link(Struct, frozen=True):
    """A file beside the page."""

    text: str
    path: str
    """Relative to the page, with slashes."""


def link_to(path: Path, text: str = "") -> Link:
    """Return a link to a file, by its path from the page on; its text is the path."""
    return Link(text or path.as_posix(), path.as_posix())


class Part(Struct, frozen=True, kw_only=True):
    """A chapter of a page."""

    title: str
    contents: tuple[Content, ...] = ()
    absent: str = ""
    """Why there is nothing, or not all: rests on evidence."""
    links: tuple[Link, ...] = ()
    """The whole tables."""
    pages: tuple[Link, ...] = ()
    """Of the jobs or ranks, each with a page of its own."""


Tone = Literal["plain", "good", "bad", "warning"]


class Tile(Struct, frozen=True):
    """A figure that is shown large, above all parts."""

    name: str
    value: Value
    unit: Unit = "text"
    remark: str = ""
    tone: Tone = "plain"


class Page(Struct, frozen=True, kw_only=True):
    """What one HTML file shows."""

    title: str
    subtitle: str = ""
    warning: str = ""
    """Stands above everything, as that all is emulated."""
    tiles: tuple[Tile, ...] = ()
    parts: tuple[Part, ...]


_FIXED: Final = frozenset({"unit", "x_unit", "y_unit", "tone", "group", "style"})
"""Fields whose values are words of the harness's own."""
_Any = TypeVar("_Any")


def mapped(value: _Any, change: Callable[[str], str]) -> _Any:
    """Return a page, or a value that stands in one, with all of its texts changed."""
    new: Any = value
    if isinstance(value, str):
        new = change(value)
    elif isinstance(value, tuple):
        new = tuple(mapped(each, change) for each in value)
    elif isinstance(value, Struct):
        fields = [name for name in value.__struct_fields__ if name not in _FIXED]
        new = replace(value, **{name: mapped(getattr(value, name), change) for name in fields})
    assert isinstance(new, type(value))
    return new


def page_of(
    title: str,
    sections: Sequence[Section],
    figures: Iterable[AnyFigure] = (),
    *,
    subtitle: str = "",
    warning: str = "",
) -> Page:
    """Return a page with a part for each section; the figures stand in the first.

    Args:
        title: Of the page.
        sections: As a terminal shows them.
        figures: Shown before the first section's table.
        subtitle: Below the title.
        warning: Above everything.
    """
    first, *others = sections
    parts = (
        Part(title=first.title, contents=(*figures, first)),
        *(Part(title=section.title, contents=(section,)) for section in others),
    )
    return Page(title=title, subtitle=subtitle, warning=warning, parts=parts)
