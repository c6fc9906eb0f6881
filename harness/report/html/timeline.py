"""The timeline: how busy each stream of a device, and each thread of the host, was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from harness.report.html.figure import Lane, Lanes, Mark
from harness.tables.intervals import union_within
from harness.tables.selection import within_steps

BINS: Final = 400
"""Bins of the time axis."""
LANES: Final = 16
"""Lanes of each kind, the busiest first."""
_STREAM: Final = ("rank", "device", "stream")
_THREAD: Final = ("rank", "thread")


def timeline(tables: Mapping[str, pl.DataFrame]) -> Lanes | None:
    """Return how long something ran in each bin of the recorded steps; None without any row.

    For kernels a lane is a stream, for operators a thread. Something runs where at least one
    interval of the lane is open, so nested operators count once. A bin that is full is as long as
    the bin. Kernels and operators share the axis where their clocks agree, that is where their
    times overlap; else, only kernels are shown.
    """
    kernels = _intervals(tables["kernels"], _STREAM)
    operators = _intervals(tables["operators"], _THREAD)
    if kernels.height and operators.height and not _overlap(kernels, operators):
        operators = operators.clear()
    kinds = ((kernels, _STREAM), (operators, _THREAD))
    filled = [(table, keys) for table, keys in kinds if table.height]
    if not filled:
        return None
    start = min(_first(table) for table, _ in filled)
    end = max(_last(table) for table, _ in filled)
    steps = _steps(tables["steps"])
    if steps.height and _overlap(steps, filled[0][0]):
        start, end = min(start, _first(steps)), max(end, _last(steps))
    edges = _edges(end - start)
    lanes, left = [], 0
    for table, keys in filled:
        shown = list(_lanes(table, keys, [start + edge for edge in edges]))
        left += max(0, len(shown) - LANES)
        lanes += sorted(shown, key=lambda lane: -sum(lane.busy_ns))[:LANES]
    note = "the stronger the colour of a bin, the more of its time something ran there"
    if left:
        note += f"; {left:,} lanes with less are left out"
    return Lanes(
        title="Use of device and host",
        note=note,
        edges_ns=tuple(edges),
        lanes=tuple(lanes),
        marks=tuple(_marks(steps, start, end)),
    )


def _intervals(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    rows = within_steps(table.select("step", *keys, "start_ns", "duration_ns"))
    return rows.drop("step").drop_nulls(["start_ns", "duration_ns"])


def _steps(table: pl.DataFrame) -> pl.DataFrame:
    """Return the recorded steps, those of several devices once."""
    return (
        table.filter(pl.col("phase") == "active")
        .select("step", "start_ns", "duration_ns")
        .drop_nulls(["step", "start_ns", "duration_ns"])
        .unique(["step", "start_ns"], keep="first", maintain_order=True)
    )


def _first(table: pl.DataFrame) -> int:
    return int(table.select(pl.col("start_ns").min()).item())


def _last(table: pl.DataFrame) -> int:
    return int(table.select((pl.col("start_ns") + pl.col("duration_ns")).max()).item())


def _overlap(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return _first(one) <= _last(other) and _first(other) <= _last(one)


def _edges(span_ns: int) -> list[int]:
    """Return where bins begin and end, on whole nanoseconds; of a short span, there are fewer."""
    bins = max(1, min(BINS, span_ns))
    return [span_ns * place // bins for place in range(bins + 1)]


def _lanes(table: pl.DataFrame, keys: Sequence[str], edges: Sequence[int]) -> Iterator[Lane]:
    """Yield the lanes of the intervals, in the order of their keys."""
    bins = pl.DataFrame({"start_ns": edges[:-1], "end_ns": edges[1:]})
    lanes = table.select(keys).unique().sort(keys, nulls_last=True)
    busy = union_within(lanes.join(bins, how="cross"), table, keys, "busy_ns")
    several_ranks = table["rank"].n_unique() > 1
    for key, rows in busy.partition_by(keys, as_dict=True).items():
        named = [
            f"{name} {'–' if value is None else value}"
            for name, value in zip(keys, key, strict=True)
            if name != "rank" or several_ranks
        ]
        yield Lane(" · ".join(named), tuple(rows.sort("start_ns")["busy_ns"].to_list()))


def _marks(steps: pl.DataFrame, start: int, end: int) -> Iterator[Mark]:
    """Yield the recorded steps, as far as they lie on the axis."""
    for step, begun, took in steps.rows():
        first, last = max(begun, start), min(begun + took, end)
        if first < last:
            yield Mark(f"step {step}", first - start, last - start)
