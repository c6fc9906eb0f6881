"""Where the analysis across the ranks of a job is plugged in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from msgspec import Struct

from harness.capture.run_record import Consistency, RunRecord
from harness.paths import RunFolder
from harness.report.section import Section


class AcrossRanks(Struct, frozen=True, kw_only=True):
    """What can be said of the ranks only together."""

    tables: Mapping[str, pl.DataFrame] = {}
    """By name; kept as ``analyses/<name>.parquet`` of the job's folder, unless empty."""
    sections: tuple[Section, ...] = ()
    """Shown after the figures of one rank."""
    consistency: tuple[Consistency, ...] = ()
    """Whether the ranks contradict each other; a broken check ends the job in exit code 3."""


def across_ranks(job: RunFolder, records: Sequence[RunRecord]) -> AcrossRanks:  # noqa: ARG001
    """Compare the ranks of a job, of which each has ended and has its tables on the disk.

    Args:
        job: The job's folder; ``load_capture(job.rank(record.rank).path)`` has a rank's tables.
        records: Of the ranks that left something, in their order.
    """
    return AcrossRanks()
