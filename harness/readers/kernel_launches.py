"""Kernels find their operator, their step and their stage, whichever export they come from."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from harness import tables
from harness.readers.base import ReadContext
from harness.readers.call_tree import CallTree, StepMarkers
from harness.tables.selection import is_hccl


class Placed(NamedTuple):
    """What kernels know of the host, and the operators that know of them."""

    columns: dict[str, pl.Series]
    """step, stage, rank and operator, as in the table `kernels`."""
    operators: pl.DataFrame


class LinkedTables(NamedTuple):
    """The two tables that know of each other."""

    kernels: pl.DataFrame
    operators: pl.DataFrame


def arrivals(kernels: pl.DataFrame, arrived: pl.DataFrame) -> pl.DataFrame:
    """Return, for each kernel, the row of `arrived` that is its start; nulls where there is none.

    By stream and start, and by device where there are several; where the stream is not known, by
    start among those of its kind. The start of communication is up to 1 ns off in the timeline.

    Args:
        kernels: start_ns, stream, device, name and core.
        arrived: start_ns, stream, device and communicates, and what is asked for.
    """
    arrived = arrived.with_row_index("arrival")
    asked = kernels.select(
        "start_ns",
        "stream",
        "device",
        communicates=is_hccl(kernels),
        arrival=pl.lit(None, pl.UInt32),
    )
    attempts = [
        (["start_ns", "stream"], 0),
        (["start_ns", "communicates"], 0),
        *((["start_ns", "communicates"], offset) for offset in (1, -1)),
        (["start_ns"], 0),
    ]
    if arrived["device"].n_unique() > 1:
        attempts.insert(0, (["start_ns", "stream", "device"], 0))
    for keys, offset in attempts:
        if not asked["arrival"].has_nulls():
            break
        found = arrived.unique(keys, keep="first").select(
            *keys[1:], "arrival", start_ns=pl.col("start_ns") + offset
        )
        asked = asked.join(found, on=keys, how="left", maintain_order="left").select(
            "start_ns",
            "stream",
            "device",
            "communicates",
            pl.coalesce("arrival", "arrival_right").alias("arrival"),
        )
    return (
        arrived[:0].select(pl.exclude("arrival"))
        if asked.is_empty()
        else arrived.select(pl.exclude("arrival").gather(asked["arrival"]))
    )


def linked(  # noqa: PLR0913 - a table, and what places its rows
    kernels: pl.DataFrame,
    host: CallTree,
    marks: StepMarkers,
    context: ReadContext,
    rank: int,
    *,
    dispatched: bool = True,
) -> LinkedTables:
    """Build the tables kernels and operators.

    Args:
        kernels: Columns of the table, those of the source's own, and those of `placed`.
        host: As in `placed`, with all that follows.
        marks: The same.
        context: The same.
        rank: The same.
        dispatched: The same.
    """
    found = placed(kernels, host, marks, context, rank, dispatched=dispatched)
    given = kernels.drop("inner", "host_ns", "step_id")
    columns: dict[str, object] = {name: given[name] for name in given.columns}
    return LinkedTables(tables.frame("kernels", columns | found.columns), found.operators)


def placed(  # noqa: PLR0913 - a table, and what places its rows
    kernels: pl.DataFrame,
    host: CallTree,
    marks: StepMarkers,
    context: ReadContext,
    rank: int,
    *,
    dispatched: bool = True,
) -> Placed:
    """Find the operator, step and stage of each kernel, and build the table operators.

    Args:
        kernels: `inner`, the row of the innermost operator at the launch; `host_ns`, when the host
            called the driver; `step_id`, the number of torch_npu's own step; null where not known.
            And `duration_ns`.
        host: The operators.
        marks: The steps and stages.
        context: Where ids start.
        rank: Goes into every row.
        dispatched: Climb to an operator of torch's dispatcher; else the innermost one counts.
    """
    launchers = host.launchers(kernels["inner"]) if dispatched else kernels["inner"]
    launched = pl.select(pl.coalesce(host.starts(kernels["inner"]), kernels["host_ns"])).to_series()
    places = marks.places(launched)
    step = pl.select(
        pl.when(launched.is_null())
        .then(marks.of_torch(kernels["step_id"]))
        .otherwise(places["step"])
    ).to_series()
    columns = {
        **places,
        "step": step,
        "rank": pl.repeat(rank, kernels.height, dtype=pl.Int32, eager=True),
        "operator": launchers + context.first_operator,
    }
    spent = pl.DataFrame({"row": launchers, "duration_ns": kernels["duration_ns"]}).drop_nulls()
    return Placed(columns, host.operators(context, rank, spent))
