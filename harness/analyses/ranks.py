"""What several ranks tell together: who is slow, who waits, and how unequal the work is.

A step takes as long on every rank that takes part in a collective, so durations do not show a slow
rank; waiting does (`harness.analyses.collectives`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from msgspec import Struct

from harness.analyses.collectives import TRANSFERS, Collectives, matched
from harness.tables.intervals import union
from harness.tables.selection import is_communication

_STEP: Final = ("step", "rank")
_LAZY = pl.DataFrame | pl.LazyFrame
_CALL: Final = "c10d::"


class RankTables(Struct, frozen=True, kw_only=True):
    """The little that is kept of one rank, or of several, to compare them."""

    ranks: tuple[int, ...]
    communication: pl.DataFrame
    steps: pl.DataFrame
    """rank, step, wall_ns: how long each recorded step took on the host."""
    compute: pl.DataFrame
    """rank, step, host_ns (of operators themselves), device_ns (under kernels): no collectives."""


class Across(Struct, frozen=True, kw_only=True):
    """The tables of the comparison."""

    collectives: Collectives
    rank_steps: pl.DataFrame
    """One row for each step and rank: step, rank, wall_ns, compute_ns, communication_ns (sum),
    waiting_ns (union: when at least one collective waited), collectives."""
    steps: pl.DataFrame
    """One row for each step: step, slowest (a rank; null if several are, or it is not known),
    spread_ns (between most and least waiting; without any collective, of wall_ns), wall_ns (the
    longest), waiting_share (of the time of all ranks), imbalance (most compute over the mean)."""
    ranks: pl.DataFrame
    """One row for each rank: rank, steps, collectives, communication_ns, waiting_ns, waiting_share,
    arrived_last (collectives), slowest (steps), compute_ns."""


def of_rank(rank: int, tables: Mapping[str, _LAZY]) -> RankTables:
    """Return what is kept of one rank; of large tables only some columns are read.

    Args:
        rank: Stands in rows that name no rank.
        tables: communication, steps, operators and kernels, with the columns of a run.
    """
    steps = _collected(tables["steps"], "rank", "step", "phase", "duration_ns")
    active = (pl.col("phase") == "active").fill_null(value=True)
    return RankTables(
        ranks=(rank,),
        communication=_ranked(tables["communication"].lazy().collect(), rank),
        steps=_ranked(steps, rank)
        .filter(active)
        .drop_nulls("step")
        .unique(["rank", "step"], keep="first", maintain_order=True)
        .select("rank", "step", wall_ns="duration_ns"),
        compute=_compute(tables["operators"], tables["kernels"], rank),
    )


def joined(parts: Sequence[RankTables]) -> RankTables:
    """Return the tables of several ranks as one."""
    return RankTables(
        ranks=tuple(rank for part in parts for rank in part.ranks),
        communication=pl.concat([part.communication for part in parts], how="diagonal_relaxed"),
        steps=pl.concat([part.steps for part in parts]),
        compute=pl.concat([part.compute for part in parts]),
    )


def across(tables: RankTables) -> Across:
    """Compare the ranks."""
    collectives = matched(tables.communication, tables.ranks)
    rank_steps = _rank_steps(tables, collectives.table)
    steps = _steps(rank_steps, waits_are_unknown=_has_collectives(tables.communication))
    return Across(
        collectives=collectives,
        rank_steps=rank_steps,
        steps=steps,
        ranks=_ranks(tables.ranks, rank_steps, collectives.table, steps),
    )


def _collected(table: _LAZY, *columns: str) -> pl.DataFrame:
    return table.lazy().select(columns).collect()


def _ranked(table: pl.DataFrame, rank: int) -> pl.DataFrame:
    return table.with_columns(pl.col("rank").fill_null(rank).cast(pl.Int32))


def _compute(operators: _LAZY, kernels: _LAZY, rank: int) -> pl.DataFrame:
    """Return the compute of each step: the own time of operators, the time under kernels.

    Ranges of a program's own have no ``::`` in their names; there may be waiting in their time.
    """
    name = pl.col("name")
    ours = name.str.contains("::", literal=True) & ~name.str.starts_with(_CALL)
    host = (
        operators.lazy()
        .filter(ours)
        .group_by(pl.col("rank").fill_null(rank), "step")
        .agg(host_ns=pl.col("self_ns").sum())
        .collect()
    )
    device = _collected(kernels, "rank", "step", "name", "core", "start_ns", "duration_ns")
    busy = union(_ranked(device.filter(~is_communication(device)), rank), ("rank", "step"))
    both = host.join(
        busy.select("rank", "step", device_ns="union_ns"),
        on=["rank", "step"],
        how="full",
        coalesce=True,
        nulls_equal=True,
    )
    return both.select(
        pl.col("rank").cast(pl.Int32), "step", pl.col("host_ns", "device_ns").cast(pl.Int64)
    ).sort("rank", "step", nulls_last=True)


def _rank_steps(tables: RankTables, collectives: pl.DataFrame) -> pl.DataFrame:
    waits = collectives.filter(pl.col("waiting_ns") > 0).select(
        *_STEP, "start_ns", duration_ns="waiting_ns"
    )
    waiting = union(waits, _STEP).select(*_STEP, waiting_ns="union_ns")
    moved = collectives.group_by(_STEP).agg(
        communication_ns=pl.col("communication_ns").sum(), collectives=pl.len().cast(pl.Int64)
    )
    on_device = tables.compute["device_ns"].is_not_null().any()
    compute = tables.compute.select(
        *_STEP, compute_ns=pl.col("device_ns" if on_device else "host_ns")
    )
    places = pl.concat([table.select(_STEP) for table in (tables.steps, moved, compute)]).unique()
    if places["step"].is_not_null().any():
        places = places.drop_nulls("step")
    for table in (tables.steps, compute, moved, waiting):
        places = places.join(table, on=list(_STEP), how="left", nulls_equal=True)
    matched_here = pl.col("collectives").is_not_null()
    return places.select(
        *(*_STEP, "wall_ns", "compute_ns", "communication_ns"),
        waiting_ns=pl.when(matched_here).then(pl.col("waiting_ns").fill_null(0)),
        collectives=pl.col("collectives").fill_null(0),
    ).sort(_STEP, nulls_last=True)


def _has_collectives(communication: pl.DataFrame) -> bool:
    """Tell whether ranks may have waited for each other, known or not."""
    return (~communication["type"].is_in(TRANSFERS).fill_null(value=False)).any()


def _steps(rank_steps: pl.DataFrame, *, waits_are_unknown: bool) -> pl.DataFrame:
    """Compare the ranks step by step: by waiting where it is known of all.

    Without any collective, by the steps' own duration. Else this would be wrong: a rank that waits
    has a long step, too.
    """
    waiting, wall, compute = (pl.col(f"{name}_ns") for name in ("waiting", "wall", "compute"))
    waits = waiting.is_not_null().all()
    several, free = pl.len() > 1, pl.lit(not waits_are_unknown)
    least = pl.when((waiting == waiting.min()).sum() == 1).then(
        pl.col("rank").get(waiting.arg_min())
    )
    longest = pl.when((wall == wall.max()).sum() == 1).then(pl.col("rank").get(wall.arg_max()))
    return (
        rank_steps.group_by("step", maintain_order=True)
        .agg(
            slowest=pl.when(several & waits).then(least).when(several & free).then(longest),
            spread_ns=pl.when(waits)
            .then(waiting.max() - waiting.min())
            .when(free)
            .then(wall.max() - wall.min()),
            wall_ns=wall.max(),
            waiting_share=pl.when(waits & wall.is_not_null().all() & (wall.sum() > 0)).then(
                waiting.sum() / wall.sum()
            ),
            imbalance=pl.when(several & compute.is_not_null().all() & (compute.mean() > 0)).then(
                compute.max() / compute.mean()
            ),
        )
        .sort("step", nulls_last=True)
    )


def _ranks(
    ranks: Sequence[int], rank_steps: pl.DataFrame, collectives: pl.DataFrame, steps: pl.DataFrame
) -> pl.DataFrame:
    def total(name: str) -> pl.Expr:
        column = pl.col(name)
        return pl.when(column.is_not_null().any()).then(column.sum()).alias(name)

    sums = rank_steps.group_by("rank").agg(
        pl.col("step").count().cast(pl.Int64).alias("steps"), total("wall_ns"), total("compute_ns")
    )
    waits = collectives.group_by("rank").agg(
        collectives=pl.len().cast(pl.Int64),
        communication_ns=pl.col("communication_ns").sum(),
        arrived_last=pl.col("last").sum().cast(pl.Int64),
    )
    in_steps = rank_steps.group_by("rank").agg(total("waiting_ns"))
    slowest = steps.drop_nulls("slowest").group_by(rank="slowest").len("slowest_steps")
    table = pl.DataFrame({"rank": sorted(set(ranks))}, schema={"rank": pl.Int32})
    for other in (sums, waits, in_steps, slowest):
        table = table.join(other, on="rank", how="left", maintain_order="left")
    return table.select(
        "rank",
        "steps",
        pl.col("collectives").fill_null(0),
        "communication_ns",
        "waiting_ns",
        waiting_share=pl.when(pl.col("wall_ns") > 0).then(pl.col("waiting_ns") / pl.col("wall_ns")),
        arrived_last=pl.col("arrived_last").fill_null(0),
        slowest=pl.col("slowest_steps").fill_null(0).cast(pl.Int64),
        compute_ns="compute_ns",
    )
