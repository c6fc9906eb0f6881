"""What the sections of a run are made from."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from msgspec import Struct

from harness.capture.run_record import RunRecord


class RunResults(Struct, frozen=True, kw_only=True):
    """The record of a run, and the tables of its analyses."""

    record: RunRecord
    analyses: Mapping[str, pl.DataFrame]
    """By the names of `harness.analyses.registry.ANALYSES`; empty ones included."""
    folder: str
    """The run's, as a user would type it."""
