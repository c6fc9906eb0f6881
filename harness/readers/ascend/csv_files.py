"""Read the csv files of ``ASCEND_PROFILER_OUTPUT``: fast, or line by line if one is broken."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from harness.files import regular
from harness.readers.base import CaptureError
from harness.readers.cells import NOT_RECORDED, exact_nanoseconds

_BLANKS: Final = " \t\r\n"
_FLOAT: Final = re.compile(r"\((us|ms|GB/s|MB/s|KB|MB|%)\)$|_(ratio|rate)$|^(Hit|Miss) Rate$")
_WHOLE: Final = re.compile(r"(cycles|_fops|_hit|_miss|_miss_allocate|_victim)$")
_HEADER: Final = 1 << 20
"""Bytes of a header; the longest that we know has some thousands."""
_COLUMNS: Final = 2_000
"""As many as sqlite takes; the widest file that we know has 75."""
_SHOWN: Final = 3
_BLOCK: Final = 16 << 20
_LONGEST: Final = 64 << 20
"""Bytes of a row; ended rows are taken out of what is counted."""
_BARE: Final = "\0bare"
"""A temporary column: whether the last cell of a row is empty."""


class Csv(NamedTuple):
    """A file's rows, and notes about them."""

    table: pl.DataFrame
    notes: list[str]
    """What could not be read."""
    remarks: Sequence[str] = ()
    """What else users should know."""


def text(path: Path) -> Csv:
    """Read all cells as stripped text. Raises CaptureError if there is no header."""
    content = _read(path, {name: pl.String() for name in _header(path)}, nothing=None)
    return Csv(
        content.table.with_columns(pl.col(pl.String).str.strip_chars(_BLANKS)), content.notes
    )


def typed(path: Path, known_types: Mapping[str, pl.DataType], times: Collection[str] = ()) -> Csv:
    """Read cells by the type of their column; ``N/A`` and empty cells are null.

    Columns of `times` are microseconds in the file, and whole nanoseconds in the table. A column
    that is not in `known_types` is numeric if its name is that of a counter; else it is numeric if
    all its cells are, and text otherwise. Raises CaptureError if there is no header.
    """
    header = _header(path)
    known_types = {**known_types, **dict.fromkeys(times, pl.String())}
    types = {name: known_types.get(name) or counter_type(name) or pl.String() for name in header}
    exact = [exact_nanoseconds(name) for name in header if name in times]
    content = _read(path, types, nothing=NOT_RECORDED, exact=exact)
    unknown = [name for name in header if name not in known_types and counter_type(name) is None]
    table = content.table.with_columns(_numbers(content.table[name]) for name in unknown)
    remarks = [f"{path.name}: unknown column {name!r}, kept as it is" for name in unknown]
    return Csv(table, content.notes, remarks)


def counter_type(name: str) -> pl.DataType | None:
    """Return the type of a counter's column, null if the name is not like a counter's."""
    if _WHOLE.search(name):
        return pl.Int64()
    return pl.Float64() if _FLOAT.search(name) else None


def _header(path: Path) -> list[str]:
    try:
        with regular(path) as file:
            line = file.readline(_HEADER)
            if len(line) == _HEADER:
                raise CaptureError(f"{path.name}: line 1: longer than {_HEADER:,} bytes")
            header = next(csv.reader([line.decode("utf-8-sig")]), None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaptureError(f"{path.name}: line 1: {error}") from error
    if not header:
        raise CaptureError(f"{path.name}: line 1: no header")
    if len(header) > _COLUMNS:
        raise CaptureError(f"{path.name}: line 1: {len(header):,} columns, more than {_COLUMNS:,}")
    if len(set(header)) != len(header):
        raise CaptureError(f"{path.name}: line 1: a column occurs twice: {','.join(header)}")
    return header


def _read(
    path: Path,
    types: dict[str, pl.DataType],
    nothing: str | None,
    exact: Sequence[pl.Expr] = (),
) -> Csv:
    try:
        table = _whole_rows(path, types, nothing, exact)
    except (PolarsError, OSError, UnicodeDecodeError, csv.Error):
        table = None
    if (
        table is None
        or not _ends_with_a_line(path)
        or (table[_BARE].any() and _is_ragged(path, len(types)))
    ):
        content = _by_line(path, types, nothing)
        return Csv(content.table.with_columns(exact), content.notes)
    return Csv(table.drop(_BARE), [])


def _whole_rows(
    path: Path, types: dict[str, pl.DataType], nothing: str | None, exact: Sequence[pl.Expr]
) -> pl.DataFrame | None:
    """Read block by block, so that neither the file nor the texts of times are whole in memory.

    Return None if the header is longer than the first line. Raises the errors of polars and csv.
    """
    *others, last = types
    # polars fills rows that are too short; a null in the last cell shows them before N/A is null.
    schema = pl.Schema({**types, last: pl.String()})
    empty = None if nothing is None else dict.fromkeys(others, nothing)
    cells = pl.col(last).str.strip_chars(_BLANKS)
    ends = cells.replace(nothing, None).cast(types[last]), cells.is_null().alias(_BARE)
    parts = [schema.to_frame().with_columns(*ends).with_columns(exact)]
    with regular(path) as file:
        if list(csv.reader([file.readline().decode("utf-8-sig")])) != [list(types)]:
            return None
        for block in _blocks(file, path.name):
            rows = pl.read_csv(block, has_header=False, schema=schema, null_values=empty)
            parts.append(rows.with_columns(*ends).with_columns(exact))
    return pl.concat(parts)


def _blocks(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield as many whole rows as fit in a block; an incomplete last row comes last."""
    pending = b""
    while block := file.read(_BLOCK):
        pending += block
        if len(pending) > _LONGEST:
            raise CaptureError(f"{name}: a row is longer than {_LONGEST >> 20} MiB")
        if end := _last_end(pending):
            yield pending[:end]
            pending = pending[end:]
    if pending:
        yield pending


def _last_end(data: bytes) -> int:
    """Return where the last whole row ends, 0 if none does.

    Cells in quotes may have line breaks; where a row ends, all quotes are closed.
    """
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end


def _is_ragged(path: Path, cells: int) -> bool:
    """Tell whether a row has too few or too many cells; slow, so only called if one may have."""
    with io.TextIOWrapper(regular(path), "utf-8-sig", errors="replace", newline="") as lines:
        try:
            return any(row and len(row) != cells for row in csv.reader(lines, strict=True))
        except csv.Error:
            return True


def _ends_with_a_line(path: Path) -> bool:
    with regular(path) as file:
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - 1))
        return file.read() in {b"\n", b""}


def _by_line(path: Path, types: dict[str, pl.DataType], nothing: str | None) -> Csv:
    """Keep the rows that have all their cells, and the cells that have their column's type."""
    rows: list[Sequence[str | None]] = []
    places: list[int] = []
    notes: list[str] = []
    try:
        # csv, not splitlines: a line break within quotes belongs to a cell.
        with regular(path) as file:
            content = file.read().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise CaptureError(f"{path.name}: {error}") from error
    lines = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        next(lines)
        for row in lines:
            if len(row) == len(types):
                rows.append([None if cell.strip() in {"", nothing} else cell for cell in row])
                places.append(lines.line_num)
            elif row:
                reason = f"skipped: {len(row)} of {len(types)} cells"
                notes.append(f"{path.name}: line {lines.line_num}: {reason}")
    except csv.Error as error:
        notes.append(f"{path.name}: line {lines.line_num}: {error}; the rest is skipped")
    if content and not content.endswith("\n"):
        notes.append(f"{path.name}: cut off in line {content.count(chr(10)) + 1}")
    shown, hidden = notes[:_SHOWN], notes[_SHOWN:]
    notes = shown + ([f"{path.name}: {len(hidden)} more such lines"] if hidden else [])
    table = pl.DataFrame(rows, schema=dict.fromkeys(types, pl.String), orient="row")
    for name, dtype in types.items():
        cells = table[name].str.strip_chars(_BLANKS)
        values = cells.cast(dtype, strict=False)
        wrong = cells.is_not_null() & values.is_null()
        if wrong.any():
            first = int(wrong.arg_max() or 0)
            reason = f"{name}: {cells[first]!r} is not a number"
            notes.append(f"{path.name}: line {places[first]}: {reason} ({wrong.sum()} such cells)")
        table = table.with_columns(values)
    return Csv(table, notes)


def _numbers(cells: pl.Series) -> pl.Series:
    for dtype in (pl.Int64, pl.Float64):
        values = cells.cast(dtype, strict=False)
        if values.null_count() == cells.null_count() < len(cells):
            return values
    return cells
