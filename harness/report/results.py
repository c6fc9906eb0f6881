"""What the sections of a run are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl
from msgspec import Struct

from harness.capture.run_record import RunRecord

TOP: Final = 10
"""Rows of a table in the summary; the parquet files have them all."""
FEW: Final = 3
"""Rows of a table on one screen."""
SOME: Final = 8
"""The same of a table whose rows are what was requested: ranks, jobs."""


class RunResults(Struct, frozen=True, kw_only=True):
    """The record of a run, and the tables of its analyses."""

    record: RunRecord
    analyses: Mapping[str, pl.DataFrame]
    """By the names of `harness.analyses.registry.ANALYSES`; empty ones included."""
    folder: str
    """The run's, as a user would type it."""
    rows: int = TOP
    """Most rows of a table."""
