"""Tables that a database of torch_npu lacks, by what the others say of them.

torch_npu leaves out what was not recorded, so that only a reference from elsewhere tells of a loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from harness.readers.sqlite import Tables

_CORES: Final = frozenset(
    {"AI_CORE", "AI_VECTOR_CORE", "AI_CPU", "MIX_AIC", "MIX_AIV"}
    | {f"KERNEL_{core}" for core in ("AICORE", "AIVEC", "AICPU", "MIX_AIC", "MIX_AIV")}
)
"""Where kernels run, in TASK.taskType; other tasks are events, copies and the like."""


def lacking(database: Tables) -> Iterator[str]:
    """Yield a line for each table that is missing, with the count of what refers to it."""
    if not database.has("COMPUTE_TASK_INFO"):
        types = database.texts(_column(database, "TASK", "taskType"))
        if count := types.is_in(list(_CORES)).sum():
            yield f"COMPUTE_TASK_INFO: there is no such table, and TASK has {count:,} kernels"
    if not database.has("PYTORCH_API"):
        # torch_npu writes both from the same calls.
        if count := _column(database, "CONNECTION_IDS", "id").drop_nulls().n_unique():
            yield f"PYTORCH_API: there is no such table, and CONNECTION_IDS links {count:,} calls"
    elif (
        database.has("COMPUTE_TASK_INFO")
        and not database.has("CONNECTION_IDS")
        and (count := _column(database, "PYTORCH_API", "connectionId").drop_nulls().len())
    ):
        yield (
            f"CONNECTION_IDS: there is no such table, so that {count:,} calls do not find"
            " their kernels"
        )


def _column(database: Tables, table: str, name: str) -> pl.Series:
    return database.read(table, {name: pl.Int64()})[name]
