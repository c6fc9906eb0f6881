"""How much memory is in use, and which operator allocated it."""

from __future__ import annotations

import polars as pl

from harness.capture.capture import Capture


def memory_peaks(capture: Capture) -> pl.DataFrame:
    """Return, for each device, the highest memory in use and the operator that reached it.

    Columns: device, total_allocated (bytes), time_ns, operator (name, or null).
    """
    names = capture.tables["operators"].select(pl.col("id"), pl.col("name"))
    return (
        capture.tables["memory"]
        .sort("total_allocated", descending=True, nulls_last=True)
        .group_by("device", maintain_order=True)
        .first()
        .join(names, left_on="operator", right_on="id", how="left")
        .select("device", "total_allocated", "time_ns", pl.col("name").alias("operator"))
    )
