"""What the summary of a job of several ranks says of each of them."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from harness.capture.run_record import RankResult, RunRecord
from harness.paths import RunFolder
from harness.report.results import SOME, RunResults
from harness.report.section import Brief, Column, Section, brief_rows


def ranks(results: RunResults) -> Section | None:
    """Show how each rank ended, and how long its recorded steps took."""
    record = results.record
    if not record.ranks:
        return None
    columns = (
        *(Column("", "status"), Column("rank", "identifier"), Column("ended"), Column("verdict")),
        *(Column("recorded steps", "count"), Column("median step", "ns"), Column("why")),
    )
    rows = tuple(_row(rank) for rank in record.ranks)
    return Section(
        title=f"Ranks: {len(record.ranks)} processes of one job",
        columns=columns,
        rows=rows,
        brief=Brief(rows=brief_rows(rows, SOME, needed=lambda row: row[0] == "bad")),
        notes=(f"each has a run folder: {RunFolder(Path(results.folder)).ranks}/RANK",),
    )


def mark_rank(section: Section, record: RunRecord) -> Section:
    """Return a section of measured values whose title says which rank they are of."""
    return replace(section, title=f"{section.title} · rank {shown_rank(record)}")


def shown_rank(record: RunRecord) -> int:
    """Return the rank of a job whose figures its summary shows: the first that recorded steps."""
    recording = [rank for rank in record.ranks if rank.records]
    return next(iter([each for each in recording if each.step] + recording)).rank


def _row(rank: RankResult) -> tuple[str | int | None, ...]:
    mark = "good" if rank.exit_code == 0 else "bad"
    verdict = rank.verdict.replace("_", " ") if rank.records else "does not record"
    steps = rank.step
    counts = (steps.steps, steps.median_ns) if steps else (None, None)
    return (mark, rank.rank, rank.status, verdict, *counts, rank.reason)
