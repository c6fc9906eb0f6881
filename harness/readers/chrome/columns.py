"""Turn values that msgspec decoded into columns: numbers, times and texts."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Raw

from harness.readers.cells import Codes

NULL: Final = Raw(b"null")
"""Stands for an absent value, where JSON is kept as text."""
_LATEST: Final = 1 << 61  # nanoseconds: two of them can be added
_DECIMAL: Final = pl.Decimal(38, 3)  # of a microsecond: whole nanoseconds
_LISTS: Final[pl.DataType] = pl.List(pl.Int64)
_WHOLE: Final = frozenset({int, NoneType})
_BETWEEN: Final = "\0"  # in no JSON


def numbers(values: Sequence[Any]) -> pl.Series:
    """Return whole numbers; null for any other value, and for one that is too large."""
    if _WHOLE.issuperset(map(type, values)):
        try:
            return pl.Series(values, dtype=pl.Int64)
        except (TypeError, OverflowError):
            pass
    texts = pl.Series([str(value).strip() for value in values], dtype=pl.String)
    return texts.cast(pl.Int64, strict=False)


def written(raws: Sequence[Raw]) -> list[str]:
    """Return the texts of JSON values."""
    joined = _BETWEEN.encode().join(raws)
    return joined.decode(errors="replace").split(_BETWEEN) if raws else []


def exact(cells: pl.Expr) -> pl.Expr:
    """Turn the text of microseconds into whole nanoseconds; null if it is no time.

    Never through a float, which has too few digits.
    """
    ns = (cells.cast(_DECIMAL, strict=False) * 1000).cast(pl.Int64, strict=False)
    return pl.when(ns.is_between(-_LATEST, _LATEST)).then(ns)


def coded(codes: Codes, raws: Sequence[Raw]) -> list[int]:
    """Return the number of each JSON text."""
    if raws and raws[0] is NULL and not [raw for raw in raws if raw is not NULL]:
        return [codes["null"]] * len(raws)
    return list(map(codes.__getitem__, written(raws)))


def column(values: Sequence[Any]) -> pl.Series:
    """Return the values of an argument as numbers, lists of numbers, or texts; as Null if none."""
    kinds = set(map(type, values)) - {NoneType}
    try:
        if not kinds:
            return pl.Series(values, dtype=pl.Null)
        if kinds == {int}:
            return pl.Series(values, dtype=pl.Int64)
        if kinds <= {int, float}:
            return pl.Series(values, dtype=pl.Float64)
        if kinds == {list} and all(type(item) is int for items in values for item in items or ()):
            return pl.Series(values, dtype=_LISTS)
    except (TypeError, OverflowError):
        pass
    texts = [value if isinstance(value, str | None) else _text(value) for value in values]
    return pl.Series(texts, dtype=pl.String)


def gathered(rows: Sequence[int], codes: Codes) -> pl.Series:
    """Return the values of numbered JSON texts, of which few are distinct."""
    values = column([msgspec.json.decode(text) for text in codes])
    return values.gather(pl.Series(rows, dtype=pl.Int32))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def joined(parts: Sequence[pl.Series]) -> pl.Series:
    """Concatenate the parts of a column; parts of several types become floats, else texts."""
    kinds = {part.dtype for part in parts} - {pl.Null()}
    dtype: pl.DataType = next(iter(kinds), pl.Int64())
    if len(kinds) > 1:
        dtype = pl.Float64() if kinds <= {pl.Int64(), pl.Float64()} else pl.String()
    return pl.concat([_cast(part, dtype) for part in parts])


def _cast(part: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(part.dtype, pl.List) and dtype == pl.String:
        texts = [None if value is None else _text(value.to_list()) for value in part]
        return pl.Series(texts, dtype=pl.String)
    return part.cast(dtype)
