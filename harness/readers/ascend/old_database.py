"""What databases of torch_npu before March 2025 (SCHEMA_VERSION 1.0.0) have otherwise.

The version alone does not tell them apart, so the rows decide.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from harness.readers.sqlite import Tables

_INT: Final = pl.Int64()
_LETTER: Final = r"[A-Za-z]"


def are_exchanged(shapes: pl.Series, dtypes: pl.Series) -> bool:
    """Tell whether the shapes of operators stand in the column of dtypes, and the reverse.

    A dtype is a word, and a shape has digits alone.
    """
    return _words(shapes) > _words(dtypes)


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
