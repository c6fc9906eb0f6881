"""Sections that compare the ranks of a job: the slow rank, who waits, each step."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from harness.analyses.ranks import Across
from harness.report.results import SOME
from harness.report.section import LEFT_OUT, Brief, Column, Note, Section

TOP = 10
"""Steps that are shown, those with the widest spread; ``analyses/`` has them all."""
_HOW = (
    "communication is the shortest duration of a collective over the ranks, waiting the rest: no"
    " clocks are compared"
)
_UNNAMED = (
    "may each belong to one of several process groups, which the profile does not name: they are"
    " ambiguous, and not matched"
)


def across_sections(across: Across) -> tuple[Section, ...]:
    """Return what a user should see of several ranks together."""
    return tuple(filter(None, (_ranks(across), _steps(across))))


def _ranks(across: Across) -> Section:
    columns = (
        *(Column("rank", "identifier"), Column("collectives", "count")),
        *(Column("arrived last", "count"), Column("communication", "ns"), Column("waiting", "ns")),
        *(Column("of its steps", "share"), Column("slowest in", "count"), Column("compute", "ns")),
    )
    order = ("rank", "collectives", "arrived_last", "communication_ns", "waiting_ns")
    table = across.ranks.select(*order, "waiting_share", "slowest", "compute_ns")
    rows, notes = tuple(table.rows()), tuple(_notes(across))
    timed = not across.collectives.table.is_empty()
    return Section(
        title="Across ranks",
        columns=columns,
        rows=rows,
        notes=(*notes, _HOW) if timed else notes,
        brief=Brief(rows=rows[:SOME], notes=notes),
    )


def _notes(across: Across) -> Iterator[Note]:
    yield from _slowest(across)
    collectives = across.collectives
    if collectives.ambiguous:
        yield f"{collectives.ambiguous:,} collectives {_UNNAMED}"
    if collectives.untimed:
        yield (
            f"of {collectives.untimed:,} collectives only the call was recorded, not how long they"
            " took: waiting is not known"
        )


def _slowest(across: Across) -> Iterator[str]:
    """Name the slowest rank, if one is so in most steps, or arrives last at most collectives."""
    table = across.collectives.table
    if across.steps["slowest"].is_not_null().any():
        by, total, what = "slowest", across.steps.height, "steps"
    else:
        by, total, what = "arrived_last", table["collective"].n_unique(), "collectives"
    if not total:
        yield "which rank is the slowest cannot be told"
        return
    most = across.ranks.sort(by, descending=True, maintain_order=True).row(0, named=True)
    if 2 * most[by] <= total:
        yield "no rank is the slowest most of the time"
        return
    others = across.ranks.filter(pl.col("rank") != most["rank"])
    waited = _waited(across, others, int(others["waiting_ns"].sum()))
    yield f"rank {most['rank']} is the slowest in {most[by]:,} of {total:,} {what}{waited}"


def _waited(across: Across, others: pl.DataFrame, waited_ns: int) -> str:
    """Say how much of the time of the other ranks went by in waiting."""
    if across.collectives.table.is_empty() or not waited_ns:
        return ""
    walls = across.rank_steps.filter(pl.col("rank").is_in(others["rank"].implode()))["wall_ns"]
    if walls.has_nulls() or not walls.sum():
        return ": the others wait for it"
    return f": the others wait for {waited_ns / walls.sum():.0%} of their steps"


def _steps(across: Across) -> Section | None:
    table = across.steps.drop_nulls("step")
    if table.is_empty():
        return None
    columns = (
        *(Column("step", "identifier"), Column("slowest rank", "identifier")),
        *(Column("spread", "ns"), Column("longest", "ns"), Column("waiting", "share")),
        Column("compute, most / mean", "ratio"),
    )
    order = ("step", "slowest", "spread_ns", "wall_ns", "waiting_share", "imbalance")
    shown = table.sort("spread_ns", descending=True, nulls_last=True, maintain_order=True)
    rows = shown.head(TOP).sort("step").select(order).rows()
    left = table.height - len(rows)
    notes = (f"the {TOP} steps of the widest spread; {left:,} more in analyses/",) if left else ()
    return Section(
        title="Steps across ranks", columns=columns, rows=tuple(rows), notes=notes, brief=LEFT_OUT
    )
