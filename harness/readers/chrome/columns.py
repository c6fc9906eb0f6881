"""Values of many events, as msgspec leaves them, become columns: numbers, times and texts."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Raw

from harness.readers.cells import Codes

NULL: Final = Raw(b"null")
"""Stands for what is not told, where JSON is kept as it is written."""
_LATEST: Final = 1 << 61  # nanoseconds: two of them can be added
_DECIMAL: Final = pl.Decimal(38, 3)  # of a microsecond: whole nanoseconds
_LISTS: Final[pl.DataType] = pl.List(pl.Int64)
_WHOLE: Final = frozenset({int, NoneType})
_BETWEEN: Final = "\0"  # in no JSON


def numbers(values: Sequence[Any]) -> pl.Series:
    """Return whole numbers, null for what is none, or too large for one."""
    if _WHOLE.issuperset(map(type, values)):
        try:
            return pl.Series(values, dtype=pl.Int64)
        except (TypeError, OverflowError):
            pass
    texts = pl.Series([str(each).strip() for each in values], dtype=pl.String)
    return texts.cast(pl.Int64, strict=False)


def written(raws: Sequence[Raw]) -> list[str]:
    """Return JSON as it is written."""
    joined = _BETWEEN.encode().join(raws)
    return joined.decode(errors="replace").split(_BETWEEN) if raws else []


def exact(cells: pl.Expr) -> pl.Expr:
    """Turn microseconds as they are written into whole nanoseconds, null for what is no time.

    Never by way of a float, which has too few digits.
    """
    ns = (cells.cast(_DECIMAL, strict=False) * 1000).cast(pl.Int64, strict=False)
    return pl.when(ns.is_between(-_LATEST, _LATEST)).then(ns)


def coded(codes: Codes, raws: Sequence[Raw]) -> list[int]:
    """Return the number of each JSON text."""
    if raws and raws[0] is NULL and not [raw for raw in raws if raw is not NULL]:
        return [codes["null"]] * len(raws)
    return list(map(codes.__getitem__, written(raws)))


def column(values: Sequence[Any]) -> pl.Series:
    """Return the values of an argument: numbers, lists of numbers, else texts; Null for none."""
    kinds = set(map(type, values)) - {NoneType}
    try:
        if not kinds:
            return pl.Series(values, dtype=pl.Null)
        if kinds == {int}:
            return pl.Series(values, dtype=pl.Int64)
        if kinds <= {int, float}:
            return pl.Series(values, dtype=pl.Float64)
        if kinds == {list} and all(type(n) is int for each in values for n in each or ()):
            return pl.Series(values, dtype=_LISTS)
    except (TypeError, OverflowError):
        pass
    texts = [each if isinstance(each, str | None) else _text(each) for each in values]
    return pl.Series(texts, dtype=pl.String)


def gathered(rows: Sequence[int], codes: Codes) -> pl.Series:
    """Return the values of numbered JSON texts, of which few are different."""
    values = column([msgspec.json.decode(each) for each in codes])
    return values.gather(pl.Series(rows, dtype=pl.Int32))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def joined(parts: Sequence[pl.Series]) -> pl.Series:
    """Bring the parts of a column together; parts of several types as numbers or else as texts."""
    kinds = {part.dtype for part in parts} - {pl.Null()}
    dtype: pl.DataType = next(iter(kinds), pl.Int64())
    if len(kinds) > 1:
        dtype = pl.Float64() if kinds <= {pl.Int64(), pl.Float64()} else pl.String()
    return pl.concat([_cast(part, dtype) for part in parts])


def _cast(part: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(part.dtype, pl.List) and dtype == pl.String:
        texts = [None if each is None else _text(each.to_list()) for each in part]
        return pl.Series(texts, dtype=pl.String)
    return part.cast(dtype)
