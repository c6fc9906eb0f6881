"""Compare the ranks of a job, each of which has its tables on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from msgspec import Struct

from harness import tables
from harness.analyses.ranks import RankTables, across, joined, of_rank
from harness.capture.run_record import Consistency, RunRecord
from harness.paths import RunFolder
from harness.report.across_ranks import across_sections
from harness.report.section import Section, mark_emulated
from harness.verification.across_ranks import same_collectives

_READ: Final = ("communication", "steps", "operators", "kernels")


class AcrossRanks(Struct, frozen=True, kw_only=True):
    """What can be said of the ranks only together."""

    tables: Mapping[str, pl.DataFrame] = {}
    """By name; kept as ``analyses/<name>.parquet`` of the job's folder, unless empty."""
    sections: tuple[Section, ...] = ()
    """Shown after the figures of one rank."""
    consistency: tuple[Consistency, ...] = ()
    """Whether the ranks contradict each other; a broken check ends the job in exit code 3."""


def across_ranks(job: RunFolder, records: Sequence[RunRecord]) -> AcrossRanks:
    """Compare the ranks of a job, of which each has ended.

    One rank after the other is read, and little is kept of each. A rank without tables is left out,
    and one that was not to record; with fewer than two others there is nothing to compare.

    Args:
        job: The job's folder, with a run folder for each rank.
        records: Of the ranks that left something, each with its rank.

    Raises:
        OSError: A table cannot be read; or polars' errors, if it is none.
    """
    ranks = sorted(record.rank for record in records if record.records)
    parts = [of_run(job.rank(rank), rank) for rank in ranks if _has_tables(job, rank)]
    if len(parts) < 2:  # noqa: PLR2004 (two ranks)
        return AcrossRanks()
    result = across(joined(parts))
    sections = across_sections(result)
    if any(record.emulated for record in records):
        sections = tuple(map(mark_emulated, sections))
    return AcrossRanks(
        tables={
            "collectives": result.collectives.table,
            "rank_steps": result.rank_steps,
            "steps_across_ranks": result.steps,
            "ranks": result.ranks,
        },
        sections=sections,
        consistency=(same_collectives(result.collectives),),
    )


def of_run(run: RunFolder, rank: int) -> RankTables:
    """Return the little that is kept of one rank, from its tables on the disk."""
    return of_rank(rank, {name: tables.scan_stored(run.table(name)) for name in _READ})


def _has_tables(job: RunFolder, rank: int) -> bool:
    return all(job.rank(rank).table(name).exists() for name in _READ)
