"""Tables of run folders are read as they must be: columns, types, times and numbers are checked.

A folder may come from elsewhere. What is checked here, no analysis has to doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import SchemaError

from harness.tables.schemas import SCHEMAS, read, scan

LARGEST_NS: Final = 1 << 62
"""Times and durations are below it, so that the end of a range is a number of 64 bits, too."""
_IS_NULL: Final = pl.element().is_null()
_UNIQUE: Final = frozenset({("operators", "id"), ("stacks", "stack_id")})
"""Columns that number the rows, and that other tables name them by."""


def read_stored(path: Path) -> pl.DataFrame:
    """Return a table of a run folder; its name is that of the file.

    Raises:
        KeyError: There is no table of this name.
        OSError: It cannot be read.
        polars.exceptions.PolarsError: It is no parquet file, or not as `harness.tables.write`
            leaves it.
    """
    table = read(path)
    check_columns(table.schema, path.stem)
    for problem in _problems(table, path.stem):
        raise SchemaError(problem)
    return table


def scan_stored(path: Path) -> pl.LazyFrame:
    """Return a table of a run folder, of which only what is needed is read; its types are checked.

    Raises:
        polars.exceptions.PolarsError: It is no parquet file, or has other columns.
    """
    table = scan(path)
    check_columns(table.collect_schema(), path.stem)
    return table


def check_columns(actual: pl.Schema, name: str) -> None:
    """Raise SchemaError if the table `name` may not have these columns: one lacks, or its type."""
    for column, dtype in SCHEMAS[name].items():
        if column not in actual:
            raise SchemaError(f"the column {column} is missing")
        if actual[column] != dtype:
            raise SchemaError(f"the column {column} must be {dtype}, and is {actual[column]}")


def _problems(table: pl.DataFrame, name: str) -> Iterator[str]:
    for column in SCHEMAS[name]:
        values = table[column]
        if column.endswith("_ns") and not _is_time(values):
            yield f"the column {column} has times beyond 2^62 ns"
        if (name, column) in _UNIQUE and (values.has_nulls() or not values.is_unique().all()):
            yield f"the column {column} must have another number in each row"
    if name == "stacks" and table["frames"].list.eval(_IS_NULL).list.any().any():
        yield "the column frames has frames without a text"


def _is_time(values: pl.Series) -> bool:
    low, high = values.min(), values.max()
    return low is None or (int(str(low)) > -LARGEST_NS and int(str(high)) < LARGEST_NS)
