"""Operators of other threads, which were counted in a warm-up step and are not recorded."""

from __future__ import annotations

from typing import Final

import polars as pl

from harness.capture.capture import Capture
from harness.tables.thread_counts import left_out

SHOWN_BY: Final = "operators that were counted in other threads in the last warm-up step"


def other_threads(capture: Capture) -> str:
    """Count the operators of other threads that no recorded step has; "" for none."""
    counts = capture.outcome.thread_counts
    if counts is None:
        return ""
    most = (
        capture.tables["operators"]
        .filter(pl.col("step").is_not_null())
        .group_by("step", "name")
        .len()
        .group_by("name")
        .agg(pl.col("len").max())
    )
    lacking = left_out(counts, dict(most.iter_rows()))
    if not lacking.operators:
        return ""
    return (
        f"{lacking.operators:,} of {counts.total:,} operators of a step ran in {lacking.threads:,}"
        " other thread(s) of the last warm-up step, which was recorded with all threads, and the"
        " recorded steps have none of these"
    )
