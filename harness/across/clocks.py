"""How far the clocks of hosts are apart, by the ends of collectives. For viewing only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl
from msgspec import Struct

_TOGETHER: Final = ("allreduce", "allgather", "reducescatter", "alltoall", "barrier")
"""No rank leaves one of these before all have come; from a broadcast, the root may."""


class Clocks(Struct, frozen=True, kw_only=True):
    """What is added to the times of each rank, and how well the ranks agree afterwards."""

    offsets_ns: Mapping[int, int]
    """By rank; those of one host have the same, and those of the first host 0."""
    collectives: int
    """How many were compared."""
    residual_ns: int | None
    """The median, over them, of the time between the first end and the last; null without any."""
    unaligned: tuple[int, ...] = ()
    """Ranks whose host shares no collective with the first host; their times are left as they are.
    """


def clocks(collectives: pl.DataFrame, hosts: Mapping[int, str]) -> Clocks:
    """Return the offsets that let the collectives of all hosts end together.

    Args:
        collectives: As `harness.analyses.collectives.Collectives.table`.
        hosts: The name of each rank's host; a rank without one counts as a host of its own.
    """
    places = {rank: host or f"rank {rank}" for rank, host in sorted(hosts.items())}
    first = next(iter(places.values()), "")
    words = pl.col("type").str.replace_all("_", "").str.strip_suffix("base")
    ends = collectives.filter(words.is_in(_TOGETHER), pl.col("rank").is_in(list(places))).select(
        "collective",
        "rank",
        end_ns=pl.col("start_ns") + pl.col("duration_ns"),
        host=pl.col("rank").replace_strict(places, default=None, return_dtype=pl.String),
    )
    of_hosts = _offsets(ends, first)
    offsets = {rank: of_hosts.get(host, 0) for rank, host in places.items()}
    aligned = ends.with_columns(
        pl.col("end_ns") + pl.col("rank").replace_strict(offsets, default=0, return_dtype=pl.Int64)
    )
    spread = (
        aligned.group_by("collective")
        .agg(spread=pl.col("end_ns").max() - pl.col("end_ns").min(), ranks=pl.len())
        .filter(pl.col("ranks") > 1)
    )
    middle: Any = spread["spread"].median()
    return Clocks(
        offsets_ns=offsets,
        collectives=spread.height,
        residual_ns=None if middle is None else round(middle),
        unaligned=tuple(
            rank for rank, host in places.items() if host != first and host not in of_hosts
        ),
    )


def _offsets(ends: pl.DataFrame, first: str) -> dict[str, int]:
    """Return the median distance of each host's ends from those of the first host."""
    means = ends.group_by("collective", "host").agg(pl.col("end_ns").mean())
    pairs = means.join(
        means.filter(host=first).select("collective", first_ns="end_ns"), on="collective"
    ).filter(pl.col("host") != first)
    apart = pairs.group_by("host").agg((pl.col("first_ns") - pl.col("end_ns")).median())
    return {host: round(value) for host, value in apart.rows()}
