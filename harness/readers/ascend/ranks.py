"""Which rank and which devices a database is of, and what those before March 2025 have otherwise.

The schema's version (1.0.0 in META_DATA) alone does not tell these apart, so the rows decide.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import polars as pl

from harness.readers.sqlite import Tables

_INT: Final = pl.Int64()
_NAMED: Final = re.compile(r"_profiler_(\d{1,9})\.db$")
_LETTER: Final = r"[A-Za-z]"


def are_exchanged(shapes: pl.Series, dtypes: pl.Series) -> bool:
    """Tell whether the shapes of operators stand in the column of dtypes, and the reverse.

    A dtype is a word, and a shape has digits alone.
    """
    return _words(shapes) > _words(dtypes)


def rank_of(database: Tables, file: Path) -> int | None:
    """Return the rank that a database has a device for, else the one in its name, null for none."""
    ranks = database.read("RANK_DEVICE_MAP", {"rankId": _INT})["rankId"].drop_nulls()
    if len(ranks) == 1 and ranks.item() >= 0:
        return int(ranks.item())
    number = _NAMED.search(file.name)
    return int(number[1]) if number else None


def communication_devices(database: Tables, operations: pl.DataFrame, rank: int) -> pl.Series:
    """Return the device of each collective: COMMUNICATION_OP had no column of it.

    It is that of the task with the same connection, else that of the rank, else the only one.

    Args:
        database: The tables TASK and RANK_DEVICE_MAP, each if there is one.
        operations: The rows, with a column `connectionId`.
        rank: The rank of the capture.
    """
    tasks = database.read("TASK", {"connectionId": _INT, "deviceId": _INT}).drop_nulls("deviceId")
    ranks = database.read("RANK_DEVICE_MAP", {"rankId": _INT, "deviceId": _INT}).drop_nulls()
    of_connection = tasks.drop_nulls().filter(
        pl.col("deviceId").n_unique().over("connectionId") == 1
    )
    by_task = operations.select("connectionId").join(
        of_connection.unique("connectionId"),
        on="connectionId",
        how="left",
        maintain_order="left",
    )["deviceId"]
    candidates = (ranks.filter(pl.col("rankId") == rank), ranks, tasks)
    only = (devices["deviceId"].unique() for devices in candidates)
    other = next((devices.item() for devices in only if len(devices) == 1), None)
    return by_task if other is None else by_task.fill_null(other)


def _words(cells: pl.Series) -> int:
    return int(cells.str.contains(_LETTER).sum())
