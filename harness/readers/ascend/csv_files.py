"""Read the csv files of ``ASCEND_PROFILER_OUTPUT``: fast, or line by line if one is broken."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from harness.files import regular
from harness.readers.base import CaptureError
from harness.readers.cells import NOT_RECORDED, exact_nanoseconds
from harness.readers.gzip_stream import Counted, counted

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
_OF_OP_SUMMARY: Final[Mapping[str, str]] = {
    "Op Name": "Name",
    "OP Type": "Type",
    "Task Type": "Accelerator Core",
    "Task Start Time(us)": "Start Time(us)",
    "Task Duration(us)": "Duration(us)",
    "Task Wait Time(us)": "Wait Time(us)",
}
"""The columns of msprof's op_summary by the names in kernel_details.csv, which is made from it
(msprof's reference of profile data files; torch_npu, ``_csv_headers.py``)."""
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
    header = _header(path)
    content = _read(path, {name: pl.String() for name in header}, nothing=None)
    table = content.table.with_columns(pl.col(pl.String).str.strip_chars(_BLANKS))
    return Csv(table.rename(column_names(header)), content.notes)


def typed(
    path: Path,
    known_types: Mapping[str, pl.DataType],
    times: Collection[str] = (),
    needed: Collection[str] = (),
) -> Csv:
    """Read cells by the type of their column; ``N/A`` and empty cells are null.

    Columns of `times` are microseconds in the file, and whole nanoseconds in the table. A column
    that is not in `known_types` is numeric if its name is that of a counter; else it is numeric if
    all its cells are, and text otherwise. A row that ends after the columns of `times` and `needed`
    has its other cells null: torch_npu of 2023 leaves out what a kernel does not have. Without
    these columns, a row must have all its cells. Raises CaptureError if there is no header.
    """
    header = _header(path)
    names = column_names(header)
    known_types = {**known_types, **dict.fromkeys(times, pl.String())}
    types = {
        written: known_types.get(name) or counter_type(name) or pl.String()
        for written, name in names.items()
    }
    timed = [written for written in header if names[written] in times]
    exact = [exact_nanoseconds(written) for written in timed]
    ending = [written for written in header if names[written] in {*times, *needed}]
    least = 1 + max(map(header.index, ending), default=len(header) - 1)
    content = _read(path, types, nothing=NOT_RECORDED, exact=exact, least=least)
    table = content.table.rename(names)
    unknown = [
        name for name in table.columns if name not in known_types and counter_type(name) is None
    ]
    table = table.with_columns(_numbers(table[name]) for name in unknown)
    remarks = [f"{path.name}: unknown column {name!r}, kept as it is" for name in unknown]
    return Csv(table, content.notes, (*content.remarks, *remarks))


def columns(path: Path) -> list[str]:
    """Return the names of the columns. Raises CaptureError if there is no header."""
    return list(column_names(_header(path)).values())


def column_names(header: Sequence[str]) -> dict[str, str]:
    """Return the name of each column of a header, without blanks and in torch_npu's words."""
    bare = {written: written.strip(_BLANKS) for written in header}
    if "Task Start Time(us)" not in bare.values():
        return bare
    return {written: _OF_OP_SUMMARY.get(name, name) for written, name in bare.items()}


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
    if len({*column_names(header).values()}) != len(header):
        raise CaptureError(f"{path.name}: line 1: a column occurs twice: {','.join(header)}")
    return header


def _read(
    path: Path,
    types: dict[str, pl.DataType],
    nothing: str | None,
    exact: Sequence[pl.Expr] = (),
    least: int | None = None,
) -> Csv:
    """Read rows that have all their cells, or at least as many as given."""
    try:
        table = _whole_rows(path, types, nothing, exact)
    except (PolarsError, OSError, UnicodeDecodeError, csv.Error):
        table = None
    if (
        table is None
        or not _ends_with_a_line(path)
        or (table[_BARE].any() and _is_ragged(path, len(types)))
    ):
        content = _by_line(path, types, nothing, least or len(types))
        return Csv(content.table.with_columns(exact), content.notes, content.remarks)
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
        with counted(file, f"reading {path.name}") as told:
            for block in _blocks(told, path.name):
                rows = pl.read_csv(block, has_header=False, schema=schema, null_values=empty)
                parts.append(rows.with_columns(*ends).with_columns(exact))
    return pl.concat(parts)


def _blocks(file: Counted, name: str) -> Iterator[bytes]:
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


class _Rows(NamedTuple):
    """The rows of a file that have enough cells."""

    cells: list[list[str | None]]
    places: list[int]
    """The line of each."""
    short: int
    """How many end early."""
    notes: list[str]


def _by_line(path: Path, types: dict[str, pl.DataType], nothing: str | None, least: int) -> Csv:
    """Keep the rows that have enough cells, and the cells that have their column's type."""
    try:
        with regular(path) as file:
            content = file.read().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise CaptureError(f"{path.name}: {error}") from error
    rows = _rows(path.name, content, types, nothing, least)
    shown, hidden = rows.notes[:_SHOWN], rows.notes[_SHOWN:]
    notes = shown + ([f"{path.name}: {len(hidden)} more such lines"] if hidden else [])
    table = pl.DataFrame(rows.cells, schema=dict.fromkeys(types, pl.String), orient="row")
    columns = []
    for name, dtype in types.items():
        values, why = _typed(table[name], dtype, rows.places)
        columns.append(values)
        notes += [f"{path.name}: {why}"] if why else []
    remark = f"{path.name}: {rows.short} rows end early; their other cells are null"
    return Csv(pl.DataFrame(columns), notes, [remark] if rows.short else [])


def _rows(
    name: str, content: str, types: Mapping[str, pl.DataType], nothing: str | None, least: int
) -> _Rows:
    rows = _Rows([], [], 0, [])
    # csv, not splitlines: a line break within quotes belongs to a cell.
    lines = csv.reader(io.StringIO(content, newline=""), strict=True)
    cut_off = content.count("\n") + 1 if content and not content.endswith("\n") else 0
    try:
        next(lines)
        for row in filter(None, lines):
            cells = [None if cell.strip() in {"", nothing} else cell for cell in row]
            needed = len(types) if lines.line_num == cut_off else least
            fitted = _fitted(cells, types, needed)
            if fitted is None:
                reason = f"skipped: {len(row)} of {len(types)} cells"
                rows.notes.append(f"{name}: line {lines.line_num}: {reason}")
                continue
            rows.cells.append(fitted)
            rows.places.append(lines.line_num)
            rows = rows._replace(short=rows.short + (len(row) < len(types)))
    except csv.Error as error:
        rows.notes.append(f"{name}: line {lines.line_num}: {error}; the rest is skipped")
    if cut_off:
        rows.notes.append(f"{name}: cut off in line {cut_off}")
    return rows


def _fitted(
    cells: list[str | None], types: Mapping[str, pl.DataType], least: int
) -> list[str | None] | None:
    """Make a row as wide as the header; null if it has too few cells, or more that say something.

    A row that ends early is only that if its cells have the types of their columns.
    """
    width = len(types)
    if len(cells) < least or any(cell is not None for cell in cells[width:]):
        return None
    if len(cells) < width and not _fits(cells, types):
        return None
    return (cells + [None] * (width - len(cells)))[:width]


def _fits(cells: list[str | None], types: Mapping[str, pl.DataType]) -> bool:
    """Tell whether the cells of a short row have the types of their columns."""
    columns = zip(cells, types.values(), strict=False)
    return all(
        pl.Series([cell]).str.strip_chars(_BLANKS).cast(dtype, strict=False).item() is not None
        for cell, dtype in columns
        if cell is not None
    )


def _typed(written: pl.Series, dtype: pl.DataType, places: Sequence[int]) -> tuple[pl.Series, str]:
    """Return a column's values, and what is wrong with its cells."""
    cells = written.str.strip_chars(_BLANKS)
    values = cells.cast(dtype, strict=False)
    wrong = cells.is_not_null() & values.is_null()
    if not wrong.any():
        return values, ""
    first = int(wrong.arg_max() or 0)
    reason = f"{written.name}: {cells[first]!r} is not a number"
    return values, f"line {places[first]}: {reason} ({wrong.sum()} such cells)"


def _numbers(cells: pl.Series) -> pl.Series:
    for dtype in (pl.Int64, pl.Float64):
        values = cells.cast(dtype, strict=False)
        if values.null_count() == cells.null_count() < len(cells):
            return values
    return cells
