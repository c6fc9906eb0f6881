"""Parse the cells of torch_npu's and CANN's files: shapes, words and times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import polars as pl

SHAPES: Final[pl.DataType] = pl.List(pl.List(pl.Int64))
WORDS: Final[pl.DataType] = pl.List(pl.String)

NOT_RECORDED: Final = "N/A"
_BETWEEN_ARGUMENTS: Final = ";\r\n"
_DECIMAL: Final = pl.Decimal(38, 3)  # of a microsecond: whole nanoseconds
_NS_PER_US: Final = 1000
_LARGEST: Final = 1 << 63


class Codes(dict[Any, int]):
    """Number values, so that each distinct value is kept and parsed once."""

    def __missing__(self, value: object) -> int:
        number = self[value] = len(self)
        return number

    def of(self, values: Iterable[object]) -> pl.Series:
        """Return the number of each value."""
        return pl.Series(list(map(self.__getitem__, values)), dtype=pl.Int32)

    def texts(self) -> pl.Series:
        """Return the values by their numbers; all of them must be texts, or null."""
        return pl.Series(list(self), dtype=pl.String)


def shapes(cell: str | None) -> list[list[int]] | None:
    """Read the shapes of a kernel: ``"32,64;;64"``, with or without the quotes.

    Each slot between semicolons is an argument; an empty slot is a scalar, or an optional argument
    that was not passed. Null if nothing was recorded. Raises ValueError for anything else.
    """
    if cell is None or cell in {"", NOT_RECORDED}:
        return None
    return [_shape(slot) for slot in cell.strip('"').split(";")]


def words(cell: str | None) -> list[str | None] | None:
    """Read the types or the formats of a kernel: ``FLOAT;;INT64``; an empty slot is null."""
    if cell is None or cell in {"", NOT_RECORDED}:
        return None
    return [slot or None for slot in cell.strip('"').split(";")]


def argument_shapes(cell: str | None) -> list[list[int]] | None:
    r"""Read the shapes of an operator: ``32,64;\r\n;\r\n64`` has three arguments, one a scalar."""
    if cell is None:
        return None
    return [_shape(slot) for slot in _slots(cell)]


def argument_words(cell: str | None) -> list[str | None] | None:
    r"""Read the types of an operator's arguments: ``float;\r\n;\r\nScalar``; null for none."""
    if cell is None:
        return None
    return [slot or None for slot in _slots(cell)]


def call_stack(cell: str | None) -> list[str]:
    r"""Read a stack, innermost frame first: ``torch/_ops.py(7): call;\r\nmain.py(1): main``."""
    return [frame for frame in _slots(cell or "") if frame]


def _slots(cell: str) -> list[str]:
    """Split at semicolons; the text export adds a line break to each."""
    return cell.replace(_BETWEEN_ARGUMENTS, ";").split(";")


def _shape(slot: str) -> list[int]:
    sizes = [int(size) for size in slot.split(",")] if slot.strip() else []
    if any(abs(size) >= _LARGEST for size in sizes):
        raise ValueError(slot)
    return sizes


def parsed(
    cells: pl.Series, parse: Callable[[str | None], object], dtype: pl.DataType
) -> pl.Series:
    """Apply `parse` to the few distinct `cells`, not to the many rows.

    A cell that `parse` refuses with ValueError becomes null; null stays null.
    """
    distinct = cells.drop_nulls().unique()
    values = [_or_none(parse, cell) for cell in distinct.cast(pl.String)]
    value_of_cell = pl.DataFrame({"cell": distinct, "value": pl.Series(values, dtype=dtype)})
    joined = pl.DataFrame({"cell": cells}).join(
        value_of_cell, on="cell", how="left", maintain_order="left"
    )
    return joined["value"].alias(cells.name)


def parsed_late(
    cells: pl.Series, parse: Callable[[str | None], object], dtype: pl.DataType
) -> pl.Expr:
    """Like `parsed`, as an expression that computes the column batch by batch while it is written.

    Args:
        cells: A categorical column of the frame that the expression is used on.
        parse: Turns a text into a value.
        dtype: The type of the values.
    """
    distinct = cells.drop_nulls().unique()
    codes = distinct.to_physical().to_list()
    values: list[object] = [None] * (max(codes, default=0) + 1)
    for code, cell in zip(codes, distinct.cast(pl.String), strict=True):
        values[code] = _or_none(parse, cell)
    value_of_code = pl.Series(values, dtype=dtype)
    return (
        pl.col(cells.name)
        .to_physical()
        .map_batches(value_of_code.gather, return_dtype=dtype, is_elementwise=True)
    )


def _or_none(parse: Callable[[str | None], object], cell: str) -> object:
    try:
        return parse(cell)
    except ValueError:
        return None


def nanoseconds(microseconds: pl.Series) -> pl.Series:
    """Turn microseconds, as text, into whole nanoseconds: floats cannot hold times since 1970.

    Blanks around a number are allowed; text that is no number becomes null.
    """
    decimal = microseconds.cast(_DECIMAL, strict=False)
    if decimal.null_count() > microseconds.null_count():
        decimal = microseconds.str.strip_chars().cast(_DECIMAL, strict=False)
    return (decimal * _NS_PER_US).cast(pl.Int64, strict=False)


def exact_nanoseconds(column: str) -> pl.Expr:
    """Like `nanoseconds`, as an expression for a table that is read batch by batch."""
    decimal = pl.col(column).str.strip_chars().cast(_DECIMAL, strict=False)
    return (decimal * _NS_PER_US).cast(pl.Int64, strict=False)


def whole(values: pl.Series, unit: int) -> pl.Series:
    """Multiply by `unit` and round to a whole number.

    Exact for decimals that are whole in the small unit: a product below 2**51 has an error of less
    than a half.
    """
    return (values.cast(pl.Float64) * unit).round().cast(pl.Int64, strict=False)
