"""What torch_npu tells of memory becomes allocations and releases."""

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
"""The columns of the database's OP_MEMORY: there in bytes and nanoseconds; how operator_memory.csv
calls each, and how many of ours one of its units is (0: a text or a time)."""
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
    """Return how the columns of a csv file are read."""
    kinds = {0: _TEXT, 1: pl.Int64()}
    return {column: kinds.get(unit, pl.Float64()) for column, unit in columns.values()}


def from_csv(found: pl.DataFrame, columns: Mapping[str, tuple[str, int]]) -> pl.DataFrame:
    """Bring a csv file into the form of the database; what it lacks is null."""
    series = {}
    for name, (column, unit) in columns.items():
        if column not in found.columns:
            dtype = _TEXT if name in _TEXTS else pl.Int64()
            series[name] = pl.repeat(None, found.height, dtype=dtype, eager=True)
        elif unit > 1:
            series[name] = whole(found[column], unit)
        elif unit == 1 or name in _TEXTS:
            series[name] = found[column]
        else:
            series[name] = nanoseconds(found[column])
    return pl.DataFrame(series).with_columns(pl.col("device").str.to_lowercase())


def of_operators(
    found: pl.DataFrame, host: CallTree, context: ReadContext, rank: int
) -> pl.DataFrame:
    """Make two rows of each: the allocation, and the release where it was seen.

    The operator is the one of that name that was open at the allocation.
    """
    taken = _end(found, "allocation", "alloc").with_columns(
        pl.col("bytes").abs(),
        active_release_ns=found["activeReleaseTime"],
        duration_ns=found["duration"],
        active_duration_ns=found["activeDuration"],
        operator=host.named(found["name"], found["allocationTime"]) + context.first_operator,
    )
    released = _end(found, "release", "free").with_columns(-pl.col("bytes").abs())
    rows = pl.concat([taken, released], how="diagonal").filter(pl.col("time_ns").is_not_null())
    return _table(rows, rank)


def timed(found: pl.DataFrame) -> int:
    """Return how many of these have a time, and so become rows."""
    known = pl.col("allocationTime").is_not_null() | pl.col("releaseTime").is_not_null()
    return found.filter(known).height


def of_records(found: pl.DataFrame, rank: int) -> pl.DataFrame:
    """Make a row of each record; what was allocated or released is not told.

    Without the sums over components, which repeat the records that they sum.
    """
    found = found.filter(~pl.col("component").str.contains("+", literal=True))
    rows = found.select(
        "device",
        time_ns="timestamp",
        total_allocated="totalAllocated",
        total_reserved="totalReserved",
        total_active="totalActive",
        component="component",
        stream_ptr="streamPtr",
    )
    return _table(rows, rank)


def _end(found: pl.DataFrame, word: str, kind: str) -> pl.DataFrame:
    return found.select(
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
