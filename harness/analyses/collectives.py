"""The same collective on several ranks: matched by group and order, split into moving and waiting.

No clock is compared. The rank that arrives last waits for nobody, so the shortest duration over
the ranks is what the communication itself takes; the rest of each other duration is waiting. This
is TraceLens' definition (docs/across-ranks.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
from msgspec import Struct

_GROUP: Final = ("group", "group_ranks")
_KEY: Final = (*_GROUP, "type")
TRANSFERS: Final = ("send", "recv", "recvanysource", "isend", "irecv", "receive")
"""Between two ranks: each has a side of its own, so order alone matches none."""
_DEFAULT: Final = "0"
"""torch's name of the group of all ranks."""
_OF_HCCL: Final = r"^hcom_[A-Za-z]+__(\d+)_"
"""HCCL's names of operations have a number of the group, which all ranks of a launch share."""
_PLACE: Final = (*_KEY, "of_step", "of_bytes", "number")


class Collectives(Struct, frozen=True, kw_only=True):
    """The collectives of several ranks, matched as far as they can be."""

    table: pl.DataFrame
    """One row for each rank of each matched collective: collective (a number), group, type, bytes,
    rank, step, start_ns, duration_ns, communication_ns, waiting_ns, last (whether this rank, and no
    other, arrived last)."""
    ambiguous: int
    """Rows that may be of several groups, as gloo's, which names none. They are not matched."""
    untimed: int
    """Rows that have no duration: only the call on the host was recorded."""
    unequal: pl.DataFrame
    """Kinds whose number differs between the ranks: group, type, and counts, a text."""


def matched(communication: pl.DataFrame, ranks: Sequence[int]) -> Collectives:
    """Match the collectives of several ranks.

    Where all ranks of a group have as many of a type, the n-th of one is the n-th of the others
    (among those of the same size, if the sizes agree: two that run at once may start in another
    order). Else this holds step by step, for the steps where the numbers are equal.

    Args:
        communication: Rows of all ranks, as in ``tables/communication.parquet``.
        ranks: Every rank that was recorded, also those without a row.
    """
    rows = _collectives(communication)
    unclear = pl.col("group").is_null() & (pl.col("groups") > 1).fill_null(value=False)
    timed = rows.filter(~unclear & pl.col("duration_ns").is_not_null())
    timed = _with_members(timed, len(set(ranks))).filter(pl.col("members") > 1)
    whole, rest = _numbered(timed.with_columns(of_step=pl.lit(None, pl.Int64)), _KEY)
    in_steps = rest.drop_nulls("step").with_columns(of_step="step")
    by_step, _ = _numbered(in_steps, (*_KEY, "of_step"))
    return Collectives(
        table=_split(pl.concat([whole, by_step])),
        ambiguous=rows.filter(unclear).height,
        untimed=rows.filter(~unclear & pl.col("duration_ns").is_null()).height,
        unequal=_unequal(rest, ranks),
    )


def _collectives(communication: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that several ranks take part in, with all columns that matching looks at."""
    absent = {"group_ranks": pl.String(), "groups": pl.Int64()}
    rows = communication.with_columns(
        pl.lit(None, dtype).alias(name)
        for name, dtype in absent.items()
        if name not in communication.columns
    )
    return (
        rows.filter(~pl.col("type").is_in(TRANSFERS).fill_null(value=False))
        .drop_nulls("rank")
        .select(
            *("rank", "step", "type", "group_ranks", "groups", "start_ns", "duration_ns", "bytes"),
            group=pl.coalesce("group", pl.col("name").cast(pl.String).str.extract(_OF_HCCL)),
        )
        .sort("rank", "start_ns", maintain_order=True)
    )


def _with_members(rows: pl.DataFrame, ranks: int) -> pl.DataFrame:
    """Add how many ranks a group has: all, or those that have a row of it."""
    of_all = pl.col("group").is_null() | (pl.col("group") == _DEFAULT)
    known = pl.col("rank").n_unique().over(_GROUP).cast(pl.Int64)
    alone = pl.col("group_ranks").is_null()
    return rows.with_columns(members=pl.when(of_all & alone).then(ranks).otherwise(known))


def _numbered(rows: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows whose number by `keys` is equal on all ranks, numbered, and the others."""
    counted = rows.with_columns(
        equal=_equal(rows, keys), same_sizes=_equal(rows, (*keys, "bytes"))
    ).with_columns(pl.col("same_sizes").all().over(keys))
    sized = pl.when("same_sizes").then(pl.col("bytes")).alias("of_bytes")
    good = counted.filter("equal").with_columns(sized)
    number = pl.int_range(pl.len()).over(*keys, "of_bytes", "rank")
    used = ("equal", "same_sizes")
    others = counted.filter(~pl.col("equal")).drop(used)
    return good.with_columns(number=number).drop(used), others


def _equal(rows: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Tell for each row whether all ranks of its group have as many rows with its keys."""
    counts = rows.group_by(*keys, "rank").agg(count=pl.len(), members=pl.col("members").first())
    agree = counts.group_by(keys).agg(
        equal=(pl.col("count").n_unique() == 1) & (pl.len() == pl.col("members").first())
    )
    return rows.select(keys).join(
        agree, on=list(keys), how="left", nulls_equal=True, maintain_order="left"
    )["equal"]


def _split(rows: pl.DataFrame) -> pl.DataFrame:
    """Split the duration of matched rows; number the collectives in the order of the first rank."""
    shortest = pl.col("duration_ns").min().over(_PLACE)
    first = pl.col("start_ns").first().over(_PLACE)  # rows are in the order of ranks
    shared = (pl.col("duration_ns") == shortest).sum().over(_PLACE)
    ordered = (
        rows.sort("rank", "start_ns", maintain_order=True)
        .with_columns(communication_ns=shortest, first=first, shared=shared)
        .sort("first", *_PLACE, "rank", maintain_order=True)
    )
    return ordered.select(
        pl.struct("first", *_PLACE).rle_id().cast(pl.Int64).alias("collective"),
        *("group", "type", "bytes", "rank", "step", "start_ns", "duration_ns", "communication_ns"),
        waiting_ns=pl.col("duration_ns") - pl.col("communication_ns"),
        last=(pl.col("duration_ns") == pl.col("communication_ns")) & (pl.col("shared") == 1),
    )


def _unequal(rows: pl.DataFrame, ranks: Sequence[int]) -> pl.DataFrame:
    """Return how many collectives each rank has, of the types whose numbers differ."""
    kinds: dict[tuple[str | None, ...], dict[int, int]] = {}
    counts = rows.group_by(*_KEY, "rank", maintain_order=True).len()
    for *kind, rank, count in counts.rows():
        kinds.setdefault(tuple(kind), {})[rank] = count
    everyone = sorted(set(ranks))
    texts = [
        (group, type_, ", ".join(f"rank {rank}: {of[rank]}" for rank in sorted(of)))
        if members is not None or group not in {None, _DEFAULT}
        else (group, type_, ", ".join(f"rank {rank}: {of.get(rank, 0)}" for rank in everyone))
        for (group, members, type_), of in kinds.items()
    ]
    schema = {"group": pl.String(), "type": pl.String(), "counts": pl.String()}
    return pl.DataFrame(texts, schema=schema, orient="row")
