"""The figures of a run: its steps, what its devices did in them, its memory, its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from harness.report.html.figure import Bars, Plot, Points, Series

STEPS: Final = 40
"""Steps that have a bar of their own."""
MOMENTS: Final = 800
"""Points of a line, about."""
_PHASES: Final = {"baseline": "unprofiled", "active": "profiled"}


def step_plot(steps: pl.DataFrame) -> Plot | None:
    """Return how long each timed step took, in the order in which they ran; None without any."""
    first = pl.struct("rank", "step", "start_ns").is_first_distinct() | pl.col("step").is_null()
    rows = (
        steps.filter(pl.col("phase").is_in([*_PHASES]))
        .filter(first)
        .drop_nulls("duration_ns")
        .select("phase", "step", "duration_ns")
        .with_row_index("order", offset=1)
    )
    if rows.is_empty():
        return None
    series = []
    for phase, name in _PHASES.items():
        here = rows.filter(pl.col("phase") == phase)
        labels = (f"step {step}" if step is not None else name for step in here["step"])
        points = Points(
            name=name,
            x=tuple(here["order"].to_list()),
            y=tuple(here["duration_ns"].to_list()),
            labels=tuple(labels),
        )
        series += [points] if here.height else []
    return Plot(
        title="Each timed step, on the host",
        x_title="steps in the order in which they ran",
        y_title="",
        x_unit="identifier",
        y_unit="ns",
        series=tuple(series),
    )


def device_bars(breakdown: pl.DataFrame) -> Bars | None:
    """Return what each device did in each step, as in the analysis `step_breakdown`."""
    rows = breakdown.drop_nulls(["step", "span_ns"])
    if rows.is_empty():
        return None
    several = rows.select("rank", "device").n_unique() > 1
    shown = rows.head(STEPS)
    labels = tuple(
        f"step {step}" + (f" · device {device}" if several else "")
        for step, device in shown.select("step", "device").rows()
    )
    parts = {"compute": "compute_ns", "communication": "communication_ns", "idle": "idle_ns"}
    return Bars(
        title="What the device did, from a step's first kernel to its last",
        note=_left_out(rows.height, "rows in the table"),
        unit="ns",
        labels=labels,
        series=_series(shown, parts),
    )


def wall_bars(wall: pl.DataFrame) -> Bars | None:
    """Return where the time of each step went, as in the analysis `wall_time`; None without rows.

    The parts of a step add up to its time. Stages of a step are added up.
    """
    if wall.is_empty():
        return None
    order = wall["part"].unique(maintain_order=True).to_list()
    sums = wall.group_by("rank", "step", "part").agg(pl.col("duration_ns").sum())
    steps = sums.select("rank", "step").unique().sort("rank", "step", nulls_last=True)
    shown = steps.head(STEPS).join(
        sums.pivot("part", index=["rank", "step"], values="duration_ns"),
        on=["rank", "step"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    several = steps["rank"].n_unique() > 1
    labels = tuple(
        ("outside of steps" if step is None else f"step {step}")
        + (f" · rank {rank}" if several else "")
        for rank, step in shown.select("rank", "step").rows()
    )
    return Bars(
        title="Where the wall time of each step goes",
        note=_left_out(steps.height, "steps in the table"),
        unit="ns",
        labels=labels,
        series=_series(shown, {part: part for part in order}),
    )


def type_bars(types: pl.DataFrame, most: int = 12) -> Bars | None:
    """Return the time of the types of kernels, the longest first; None without kernels."""
    if types.is_empty():
        return None
    shown = types.head(most)
    several = shown["core"].is_not_null().any()
    labels = tuple(
        (kind or "–") + (f" · {core}" if several and core else "")
        for kind, core in shown.select("type", "core").rows()
    )
    return Bars(
        title="Device time by type of kernel",
        note=_left_out(types.height, "types in the table", most),
        unit="ns",
        labels=labels,
        series=_series(shown, {"time": "duration_ns"}),
    )


def rank_bars(ranks: pl.DataFrame) -> Bars | None:
    """Return what each rank spent on computing, communicating and waiting; None without ranks."""
    if ranks.is_empty():
        return None
    parts = {"compute": "compute_ns", "communication": "communication_ns", "waiting": "waiting_ns"}
    return Bars(
        title="Computing, communicating and waiting of each rank, all recorded steps",
        note="a rank that waits little makes the others wait",
        unit="ns",
        labels=tuple(f"rank {rank}" for rank in ranks["rank"]),
        series=_series(ranks, parts),
    )


def memory_plot(memory: pl.DataFrame) -> Plot | None:
    """Return how much memory was in use over time; None where nothing was recorded.

    Of many moments some are left out, but never the highest of those around.
    """
    rows = memory.select("rank", "device", "time_ns", "total_allocated", "total_reserved")
    rows = rows.drop_nulls(["time_ns", "total_allocated"]).sort("time_ns", maintain_order=True)
    if rows.is_empty():
        return None
    start = int(rows["time_ns"][0])
    rows = rows.with_columns(pl.col("time_ns") - start)
    several = rows["rank"].n_unique() > 1
    series = []
    for (rank, device), part in rows.partition_by(["rank", "device"], as_dict=True).items():
        name = f"{device}" + (f" · rank {rank}" if several else "")
        series.append(_line(f"{name}, in use", part, "total_allocated"))
        reserved = part.drop_nulls("total_reserved")
        if (reserved["total_reserved"] > 0).any():
            series.append(_line(f"{name}, reserved", reserved, "total_reserved"))
    return Plot(
        title="Memory over time",
        note="",
        style="stairs",
        x_title="since the first event",
        y_title="",
        x_unit="ns",
        y_unit="bytes",
        series=tuple(series),
    )


def _line(name: str, rows: pl.DataFrame, column: str) -> Points:
    shown = thinned(rows, column)
    return Points(name=name, x=tuple(shown["time_ns"].to_list()), y=tuple(shown[column].to_list()))


def thinned(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return at most about `MOMENTS` rows in their order: of each group the highest and the last.

    Args:
        rows: In the order of time.
        column: Of which the highest are kept.
    """
    if rows.height <= MOMENTS:
        return rows
    size = -(-rows.height * 2 // MOMENTS)
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    numbered = rows.with_columns(_place=place, _group=place // size)
    kept = numbered.group_by("_group", maintain_order=True).agg(
        pl.col("_place").last().alias("last"),
        pl.col("_place").get(pl.col(column).arg_max()).alias("highest"),
    )
    places = pl.concat([kept["last"], kept["highest"]]).unique().sort()
    return rows[places.to_list()]


def _series(rows: pl.DataFrame, parts: Mapping[str, str]) -> tuple[Series, ...]:
    """Return the columns as series; those without any time are left out."""
    return tuple(
        Series(name, tuple(rows[column].to_list()))
        for name, column in parts.items()
        if (rows[column].fill_null(0) != 0).any()
    )


def _left_out(rows: int, what: str, most: int = STEPS) -> str:
    return f"the first {most} of {rows:,} {what}" if rows > most else ""
