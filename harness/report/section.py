"""Rendering: sections of text and tables, to a terminal or as Markdown; and units for people."""

from __future__ import annotations

from msgspec import Struct


class Section(Struct, frozen=True, kw_only=True):
    """A titled table with remarks; either may be empty."""

    title: str
    columns: tuple[str, ...] = ()
    """Those that begin with ">" are right-aligned."""
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
