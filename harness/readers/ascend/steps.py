"""The table steps of a capture of torch_npu: when its steps ran, and the device's times in them."""

from __future__ import annotations

import polars as pl

from harness.readers.call_tree import StepMarkers


def table_of_steps(
    step_markers: StepMarkers, rank: int, device_times: pl.DataFrame | None
) -> pl.DataFrame | None:
    """Join the ranges of the steps on the host with torch_npu's own times of them.

    The ranges are the capture's ``ProfilerStep#`` marks, or the rows of ``STEP_TIME``, which
    torch_npu writes from them (`_step_info_db_parser.py`).

    Args:
        step_markers: The steps.
        rank: The rank of every row.
        device_times: Rows with ``step``, the number of ``ProfilerStep#``, one for each device, and
            further columns; null if torch_npu wrote none.

    Returns:
        A row for each step, or each step and device; null if there is neither.
    """
    ranges = step_markers.ranges()
    host = pl.DataFrame(
        {
            "step": [step for _, _, step in ranges],
            "start_ns": [start for start, _, _ in ranges],
            "duration_ns": [end - start for start, end, _ in ranges],
        },
        schema=dict.fromkeys(("step", "start_ns", "duration_ns"), pl.Int64()),
    ).unique("step", keep="first", maintain_order=True)
    if device_times is None:
        rows = host
    else:
        numbered = device_times.with_columns(step=step_markers.of_torch(device_times["step"]))
        rows = numbered.join(
            host, on="step", how="full", coalesce=True, maintain_order="left_right"
        )
    phase = pl.when(pl.col("start_ns").is_not_null()).then(pl.lit("active"))
    placed = rows.with_columns(phase=phase, rank=pl.lit(rank, pl.Int32))
    return placed if rows.height else None
