"""Read tables of a sqlite file as frames: chosen columns, absent ones null."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import polars as pl
from polars.exceptions import PolarsError

from harness.files import regular
from harness.readers.base import CaptureError
from harness.waits import waiting

_ROWS: Final = 200_000
_HEAD: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises; UnicodeDecodeError if a name, or its message about one, is not UTF-8."""


_KIND: Final = "SELECT type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE"
_STORED: Final = re.compile(r"\s*CREATE\s+TABLE\b", re.IGNORECASE).match
"""A table whose rows are in the file; virtual ones are made by code."""


_STEPS_OF_A_BYTE: Final = 200
"""Steps of sqlite's machine for a byte of a file, at most: reading a row of ten takes some fifty.
Pages that lead to each other let a small file have rows without end."""
_STEPS: Final = 100_000
_LEAST: Final = 100
"""Times `_STEPS` that any file may take."""


class Tables:
    """The tables of an open file."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._strings: pl.DataFrame | None = None
        self.notes: list[str] = []
        """The tables that could only be read in part."""

    def has(self, table: str) -> bool:
        """Tell whether there is a table of this name."""
        return bool(self.columns(table))

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns; none if there is no such table.

        Raises CaptureError if the file is no database.
        """
        try:
            kinds = self._connection.execute(_KIND, (table,)).fetchall()
            if not any(kind == "table" and _STORED(sql or "") for kind, sql in kinds):
                return []
            rows = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
        except _BROKEN as error:
            raise CaptureError(f"{self._name}: {error}") from error
        return [str(row[1]) for row in rows]

    def read(self, table: str, columns: Mapping[str, pl.DataType], where: str = "") -> pl.DataFrame:
        """Return the given columns; absent columns and values of a wrong type are null."""
        existing = self.columns(table)
        present = {name: dtype for name, dtype in columns.items() if name in existing}
        absent = {name: dtype for name, dtype in columns.items() if name not in existing}
        parts = [pl.DataFrame(schema=present)]
        if present:
            chosen = ", ".join(f'"{name}"' for name in present)
            condition = f" WHERE {where}" if where else ""
            try:
                # Only names and conditions of our own.
                query = f"SELECT {chosen} FROM {table}{condition}"  # noqa: S608
                parts += (_frame(rows, present) for rows in self._batches(query))
            except _BROKEN as error:
                read = sum(part.height for part in parts)
                self.notes.append(f"{self._name}: {table}: {error}, after {read} rows")
        return (
            pl.concat(parts)
            .with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())
            .select(list(columns))
        )

    def texts(self, ids: pl.Series) -> pl.Series:
        """Return the texts of ids into ``STRING_IDS``; null for none."""
        if self._strings is None:
            types: dict[str, pl.DataType] = {"id": pl.Int64(), "value": pl.String()}
            self._strings = self.read("STRING_IDS", types).unique("id")
            if self._strings.is_empty() and ids.drop_nulls().len():
                self.notes.append(
                    f"{self._name}: it has no texts (STRING_IDS), so names and shapes are lost"
                )
        rows = pl.DataFrame({"id": ids.cast(pl.Int64)})
        return rows.join(self._strings, on="id", how="left", maintain_order="left")["value"]

    def values(self, query: str) -> list[str]:
        """Return the first column of a query's rows, as text; none if a table is absent."""
        try:
            return [str(value) for value, *_ in self._connection.execute(query)]
        except _BROKEN:
            # This version of CANN does not write the table, or the file is truncated.
            return []

    def _batches(self, query: str) -> Iterator[list[tuple[object, ...]]]:
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(_ROWS):
            yield rows


@contextmanager
def opened(path: Path) -> Iterator[Tables]:
    """Open a file read-only, even on a read-only disk; its views and triggers are not run.

    Raises CaptureError if this is no database.
    """
    try:
        regular(path).close()
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    except (*_BROKEN, OSError) as error:
        raise CaptureError(f"{path.name}: {error}") from error
    with closing(connection):
        steps = path.stat().st_size * _STEPS_OF_A_BYTE
        budget = iter(range(max(steps, _STEPS) // _STEPS + _LEAST))
        connection.set_progress_handler(lambda: next(budget, None) is None, _STEPS)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA query_only=ON")
        connection.set_authorizer(_stored_alone)
        with waiting(f"reading {path.name}"):
            yield Tables(connection, path.name)


def _stored_alone(
    _action: int, _first: str | None, _second: str | None, _name: str | None, inner: str | None
) -> int:
    """Deny what a view or a trigger would read: it may never end."""
    return sqlite3.SQLITE_OK if inner is None else sqlite3.SQLITE_DENY


def cut_off(path: Path) -> str | None:
    """Say how a file is shorter than its header states: "" if it is not, None if that is unknown.

    By the format of sqlite's files (sqlite.org/fileformat2.html): the page size is at byte 16, the
    page count at 28, valid if the counters at 24 and 92 are equal.
    """
    with regular(path) as file:
        head = file.read(_HEAD)
    if len(head) < _HEAD or not head.startswith(_MAGIC):
        return "no database" if head else "empty"
    page, changes, pages, valid = struct.unpack(">16xH6xII60xI4x", head)
    if not pages or changes != valid:
        return None
    info, size = pages * (page if page > 1 else 1 << 16), path.stat().st_size
    return f"cut off: {size:,} bytes of {info:,}" if size < info else ""


def _frame(rows: list[tuple[object, ...]], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    columns = dict(zip(types, zip(*rows, strict=True), strict=True))
    return pl.DataFrame([_column(name, columns[name], dtype) for name, dtype in types.items()])


def _column(name: str, values: tuple[object, ...], dtype: pl.DataType) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=dtype)
    except (PolarsError, TypeError, OverflowError):
        # sqlite stores values of any type: torch_npu writes some times as text.
        texts = [None if value is None else str(value) for value in values]
        return pl.Series(name, texts, dtype=pl.String).cast(dtype, strict=False)
