"""Build the table memory, allocations and releases, from torch_npu's records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from harness import tables
from harness.readers.base import ReadContext
from harness.readers.call_tree import CallTree
from harness.readers.cells import nanoseconds, whole

_KB: Final = 1 << 10
_MB: Final = 1 << 20
_TOTALS: Final = ("Allocated", "Reserved", "Active")
_TEXT: Final = pl.String()

OPERATOR_COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "name": ("Name", 0),
    "device": ("Device Type", 0),
    "size": ("Size(KB)", _KB),
    "allocationTime": ("Allocation Time(us)", 0),
    "releaseTime": ("Release Time(us)", 0),
    "activeReleaseTime": ("Active Release Time(us)", 0),
    "duration": ("Duration(us)", 0),
    "activeDuration": ("Active Duration(us)", 0),
    "streamPtr": ("Stream Ptr", 1),
    **{
        f"{word.lower()}Total{what}": (f"{word} Total {what}(MB)", _MB)
        for word in ("Allocation", "Release")
        for what in _TOTALS
    },
}
"""The columns of the database's OP_MEMORY, in bytes and nanoseconds: the name in
operator_memory.csv, and how many bytes its unit is (0: a text or a time)."""
RECORD_COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "component": ("Component", 0),
    "device": ("Device Type", 0),
    "timestamp": ("Timestamp(us)", 0),
    "streamPtr": ("Stream Ptr", 1),
    **{f"total{what}": (f"Total {what}(MB)", _MB) for what in _TOTALS},
}
"""The same for MEMORY_RECORD and memory_record.csv."""
_TEXTS: Final = frozenset({"name", "device", "component"})


def csv_types(columns: Mapping[str, tuple[str, int]]) -> dict[str, pl.DataType]:
    """Return the types of the columns of a csv file."""
    kinds = {0: _TEXT, 1: pl.Int64()}
    return {column: kinds.get(unit, pl.Float64()) for column, unit in columns.values()}


def from_csv(rows: pl.DataFrame, columns: Mapping[str, tuple[str, int]]) -> pl.DataFrame:
    """Bring a csv file into the form of the database; absent columns are null."""
    series = {}
    for name, (column, unit) in columns.items():
        if column not in rows.columns:
            dtype = _TEXT if name in _TEXTS else pl.Int64()
            series[name] = pl.repeat(None, rows.height, dtype=dtype, eager=True)
        elif unit > 1:
            series[name] = whole(rows[column], unit)
        elif unit == 1 or name in _TEXTS:
            series[name] = rows[column]
        else:
            series[name] = nanoseconds(rows[column])
    return pl.DataFrame(series).with_columns(pl.col("device").str.to_lowercase())


def of_operators(
    allocations: pl.DataFrame, call_tree: CallTree, context: ReadContext, rank: int
) -> pl.DataFrame:
    """Make two rows of each: the allocation, and the release if it was recorded.

    Its operator is the one of that name that was open at the allocation.
    """
    allocated = _end(allocations, "allocation", "alloc").with_columns(
        pl.col("bytes").abs(),
        active_release_ns=allocations["activeReleaseTime"],
        duration_ns=allocations["duration"],
        active_duration_ns=allocations["activeDuration"],
        operator=call_tree.named(allocations["name"], allocations["allocationTime"])
        + context.first_operator,
    )
    released = _end(allocations, "release", "free").with_columns(-pl.col("bytes").abs())
    rows = pl.concat([allocated, released], how="diagonal").filter(pl.col("time_ns").is_not_null())
    return _table(rows, rank)


def timed(allocations: pl.DataFrame) -> int:
    """Return how many allocations have a time, and so become rows."""
    has_time = pl.col("allocationTime").is_not_null() | pl.col("releaseTime").is_not_null()
    return allocations.filter(has_time).height


def of_records(records: pl.DataFrame, rank: int) -> pl.DataFrame:
    """Make a row of each record; the file does not say what was allocated or released.

    Skips the sums over components, which repeat the records that they sum.
    """
    records = records.filter(~pl.col("component").str.contains("+", literal=True))
    rows = records.select(
        "device",
        time_ns="timestamp",
        total_allocated="totalAllocated",
        total_reserved="totalReserved",
        total_active="totalActive",
        component="component",
        stream_ptr="streamPtr",
    )
    return _table(rows, rank)


def _end(allocations: pl.DataFrame, word: str, kind: str) -> pl.DataFrame:
    return allocations.select(
        "device",
        "name",
        kind=pl.lit(kind),
        bytes="size",
        time_ns=f"{word}Time",
        total_allocated=f"{word}TotalAllocated",
        total_reserved=f"{word}TotalReserved",
        total_active=f"{word}TotalActive",
        stream_ptr="streamPtr",
    )


def _table(rows: pl.DataFrame, rank: int) -> pl.DataFrame:
    columns: dict[str, object] = {name: rows[name] for name in rows.columns}
    columns["rank"] = pl.repeat(rank, rows.height, dtype=pl.Int32, eager=True)
    return tables.frame("memory", columns).sort("time_ns", maintain_order=True)
