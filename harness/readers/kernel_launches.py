"""Find the operator, step and stage of each kernel, in every export."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from harness import tables
from harness.readers.base import ReadContext
from harness.readers.call_tree import CallTree, StepMarkers
from harness.tables.selection import is_hccl


class Placed(NamedTuple):
    """The columns that place kernels on the host, and the table of their operators."""

    columns: dict[str, pl.Series]
    """step, stage, rank and operator of the table `kernels`."""
    operators: pl.DataFrame


class LinkedTables(NamedTuple):
    """The tables kernels and operators, linked to each other."""

    kernels: pl.DataFrame
    operators: pl.DataFrame


def arrivals(kernels: pl.DataFrame, arrived: pl.DataFrame) -> pl.DataFrame:
    """Return, for each kernel, the row of `arrived` that is its start; nulls where there is none.

    Matches by stream and start, and by device if there are several; by start and kind if the stream
    is unknown. The timeline's starts of communication are up to 1 ns off.

    Args:
        kernels: start_ns, stream, device, name and core.
        arrived: start_ns, stream, device and communicates, and the columns to return.
    """
    arrived = arrived.with_row_index("arrival")
    matches = kernels.select(
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
        if not matches["arrival"].has_nulls():
            break
        candidates = arrived.unique(keys, keep="first").select(
            *keys[1:], "arrival", start_ns=pl.col("start_ns") + offset
        )
        matches = matches.join(candidates, on=keys, how="left", maintain_order="left").select(
            "start_ns",
            "stream",
            "device",
            "communicates",
            pl.coalesce("arrival", "arrival_right").alias("arrival"),
        )
    return (
        arrived[:0].select(pl.exclude("arrival"))
        if matches.is_empty()
        else arrived.select(pl.exclude("arrival").gather(matches["arrival"]))
    )


def linked(  # noqa: PLR0913 - one table, and the values that place its rows
    kernels: pl.DataFrame,
    call_tree: CallTree,
    step_markers: StepMarkers,
    context: ReadContext,
    rank: int,
    *,
    dispatched: bool = True,
) -> LinkedTables:
    """Build the tables kernels and operators.

    Args:
        kernels: The columns of the table, the source's own, and those that `placed` needs.
        call_tree: As in `placed`.
        step_markers: As in `placed`.
        context: As in `placed`.
        rank: As in `placed`.
        dispatched: As in `placed`.
    """
    placement = placed(kernels, call_tree, step_markers, context, rank, dispatched=dispatched)
    own_columns = kernels.drop("inner", "host_ns", "step_id")
    columns: dict[str, object] = {name: own_columns[name] for name in own_columns.columns}
    return LinkedTables(tables.frame("kernels", columns | placement.columns), placement.operators)


def placed(  # noqa: PLR0913 - one table, and the values that place its rows
    kernels: pl.DataFrame,
    call_tree: CallTree,
    step_markers: StepMarkers,
    context: ReadContext,
    rank: int,
    *,
    dispatched: bool = True,
) -> Placed:
    """Find the operator, step and stage of each kernel, and build the table operators.

    Args:
        kernels: `inner`, the row of the innermost operator at the launch; `host_ns`, when the host
            called the driver; `step_id`, the number of torch_npu's own step; null where unknown.
            And `duration_ns`.
        call_tree: The operators.
        step_markers: The steps and stages.
        context: Where ids start.
        rank: The rank of every row.
        dispatched: Take the operator of torch's dispatcher; else the innermost operator.
    """
    launchers = call_tree.launchers(kernels["inner"]) if dispatched else kernels["inner"]
    launched = pl.select(
        pl.coalesce(call_tree.starts(kernels["inner"]), kernels["host_ns"])
    ).to_series()
    places = step_markers.places(launched, call_tree.threads(kernels["inner"]))
    step = pl.select(
        pl.when(launched.is_null())
        .then(step_markers.of_torch(kernels["step_id"]))
        .otherwise(places["step"])
    ).to_series()
    columns = {
        **places,
        "step": step,
        "rank": pl.repeat(rank, kernels.height, dtype=pl.Int32, eager=True),
        "operator": launchers + context.first_operator,
    }
    device_times = pl.DataFrame(
        {"row": launchers, "duration_ns": kernels["duration_ns"]}
    ).drop_nulls()
    return Placed(columns, call_tree.operators(context, rank, device_times))
