"""Units: how a raw value is written for people, one formatter for each unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.report.section import Column, Section, Status, Unit, Value
from harness.text import one_line, visible

MARKS: Final[Mapping[Status, str]] = {
    "delivered": "✓",
    "partial": "◐",
    "missing": "✗",
    "substituted": "✗",
    "not_checkable": "–",
    "not_requested": "–",
    "broken": "✗",
    "good": "✓",
    "bad": "✗",
    "remark": "–",
}
WIDTHS: Final[Mapping[Unit, int]] = {"name": 64, "shapes": 48}
"""Units whose texts are shortened, and their usual length; the tables have the full text."""

_PREFIX = re.compile(r"^void (?:at::native::)?(?:\(anonymous namespace\)::)?")
_DECIMAL = (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_BINARY = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_SECONDS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3))
_ROUNDED_UP = 999.5
"""Above it, three digits would read 1e+03."""


def number(value: float) -> str:
    """Return a number with three digits; a larger one in full, with commas."""
    return f"{value:.3g}" if abs(value) < _ROUNDED_UP else f"{value:,.0f}"


def duration(nanoseconds: float) -> str:
    """Return a duration with three digits and a fitting unit."""
    return _scaled(nanoseconds, _SECONDS) or f"{nanoseconds:.0f} ns"


def size(count: int) -> str:
    """Return a number of bytes with three digits and a fitting unit."""
    return _scaled(count, _BINARY) or f"{count} B"


def flops(count: int) -> str:
    """Return a number of operations with three digits and a fitting prefix."""
    return _scaled(count, _DECIMAL) or str(count)


def _scaled(value: float, units: Sequence[tuple[str, float]]) -> str:
    """Return a value in the largest unit that it reaches, "" if it reaches none."""
    for unit, factor in units:
        if abs(value) >= factor:
            return f"{number(value / factor)} {unit}"
    return ""


def shapes(tensors: Sequence[Sequence[int]], width: int = WIDTHS["shapes"]) -> str:
    """Return the tensors' shapes, as [4,128]; arguments that are no tensors are left out."""
    text = " ".join(f"[{','.join(map(str, shape))}]" for shape in tensors if shape)
    return text if len(text) <= width else text[: width - 1] + "…"


def shortened(name: str, width: int = WIDTHS["name"]) -> str:
    """Return a kernel's or operator's name in at most `width` characters.

    The C++ prefix (``void``, ``at::native::``) goes first, then the arguments, then the middle.
    """
    bare = _PREFIX.sub("", name)
    if len(bare) > width and bare.endswith(")"):
        bare = f"{bare[: _arguments(bare)]}(…)"
    if len(bare) <= width:
        return bare
    end = (width - 1) // 2
    return f"{bare[: width - end - 1]}…{bare[-end:]}"


def _arguments(name: str) -> int:
    """Return where the last pair of brackets opens; the end if it never does."""
    depth = 0
    for place in range(len(name) - 1, -1, -1):
        depth += (name[place] == ")") - (name[place] == "(")
        if depth == 0:
            return place
    return len(name)


FORMATTERS: Final[Mapping[Unit, Callable[[Any], str]]] = {
    "text": str,
    "name": shortened,
    "shapes": shapes,
    "status": MARKS.__getitem__,
    "identifier": str,
    "count": "{:,}".format,
    "number": number,
    "ns": duration,
    "bytes": size,
    "flops": flops,
    "share": "{:.1%}".format,
    "ratio": "{:.2f} ×".format,
}
_SHORTENERS: Final[Mapping[Unit, Callable[[Any, int], str]]] = {
    "name": shortened,
    "shapes": shapes,
}


def cells(
    section: Section, widths: Sequence[int | None] = (), before_share: str = " "
) -> list[tuple[str, ...]]:
    """Return the rows of a section as they are shown.

    Args:
        section: With raw values.
        widths: For each column, the length to which names and shapes are shortened; None, or no
            widths at all, for that of `WIDTHS`.
        before_share: Stands between a value and its share of the whole.
    """
    columns = section.columns
    limits = widths or [None] * len(columns)
    return [
        tuple(
            _text(column, value, limit) + _share(value, whole, before_share)
            for column, value, whole, limit in zip(
                columns, row, _wholes(columns, row), limits, strict=True
            )
        )
        for row in section.rows
    ]


def _wholes(columns: Sequence[Column], row: Sequence[Value]) -> list[Value]:
    """Return for each column the value of which its own is a part; None if it is no part."""
    values = {column.name: value for column, value in zip(columns, row, strict=True)}
    return [values[column.part_of] if column.part_of else None for column in columns]


def _text(column: Column, value: Value, width: int | None) -> str:
    if value is None or value == "":
        return column.absent
    if isinstance(value, str):
        # Before it is shortened: a sign is longer than its character.
        value = one_line(value) if column.unit == "name" else visible(value).replace("\t", " ")
    if width is not None and column.unit in _SHORTENERS:
        return _SHORTENERS[column.unit](value, width)
    return FORMATTERS[column.unit](value)


def _share(value: Value, whole: Value, before: str) -> str:
    """Return which part a value is of the whole; "" without a whole."""
    if isinstance(value, int | float) and isinstance(whole, int | float) and whole:
        return f"{before}({value / whole:.0%})"
    return ""
