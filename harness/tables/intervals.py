"""The union of intervals, on whole nanoseconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import polars as pl

END: Final = pl.col("start_ns") + pl.col("duration_ns")


def with_ends(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Sort intervals within each group of `keys` by their start, longer ones first.

    Adds `end_ns`, and `covered_ns`: the latest end of all intervals before, null for the first.
    """
    return (
        table.with_columns(end_ns=END)
        .sort(*keys, "start_ns", -pl.col("duration_ns"), maintain_order=True)
        .with_columns(covered_ns=pl.col("end_ns").cum_max().shift(1).over(keys))
    )


def union(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return how long at least one interval was open, by group.

    Columns: `keys`; union_ns; start_ns and end_ns, the first start and the last end.
    """
    fresh = pl.col("end_ns") - pl.max_horizontal("start_ns", "covered_ns")
    return (
        with_ends(table, keys)
        .group_by(keys, maintain_order=True)
        .agg(
            fresh.clip(0).sum().alias("union_ns"),
            pl.col("start_ns").min(),
            pl.col("end_ns").max(),
        )
    )


def union_within(
    windows: pl.DataFrame, table: pl.DataFrame, keys: Sequence[str], name: str
) -> pl.DataFrame:
    """Add to `windows`, as `name`, how long at least one interval of `table` was open in each.

    Windows may overlap; they have `start_ns`, `end_ns` and `keys`, and meet only the intervals of
    their own group. The rows come back group by group.
    """
    merged = _merged(table, keys).partition_by(keys, as_dict=True)
    parts = [windows.clear().with_columns(pl.lit(None, pl.Int64).alias(name))]
    for key, part in windows.partition_by(keys, as_dict=True).items():
        start, end = (_open_until(merged.get(key), part[edge]) for edge in ("start_ns", "end_ns"))
        parts.append(part.with_columns((end - start).alias(name)))
    return pl.concat(parts)


def _merged(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Join intervals that touch: `keys`, start_ns and end_ns, disjoint and in order by group."""
    ordered = with_ends(table.select(*keys, "start_ns", "duration_ns"), keys)
    begins = ordered["covered_ns"].is_null() | (ordered["start_ns"] > ordered["covered_ns"])
    ends = ordered.select(pl.max_horizontal("end_ns", "covered_ns")).to_series()
    last = begins.shift(-1, fill_value=True)
    return ordered.filter(begins).select(*keys, "start_ns", end_ns=ends.filter(last))


def _open_until(merged: pl.DataFrame | None, times: pl.Series) -> pl.Series:
    """Return how long the disjoint intervals of one group were open before each time."""
    if merged is None:
        return pl.repeat(0, len(times), dtype=pl.Int64, eager=True)
    zero = pl.Series([0], dtype=pl.Int64)
    begun = merged["start_ns"].search_sorted(times, side="right")  # intervals, at each time
    open_ns = zero.append((merged["end_ns"] - merged["start_ns"]).cum_sum()).gather(begun)
    last_end = merged["start_ns"][:1].append(merged["end_ns"]).gather(begun)
    return open_ns - (last_end - times).clip(0) * (begun > 0)


class StepLookup:
    """Ranges that carry a value, such as steps; where they overlap, the last one begun counts."""

    def __init__(self, ranges: Iterable[tuple[int, int, int | str]], dtype: pl.DataType) -> None:
        """Take (start, end, value) in any order; the end is exclusive."""
        cuts: list[int] = []
        values: list[int | str | None] = [None]  # values[i + 1] holds from cuts[i] on
        open_ranges: list[tuple[int, int | str]] = []  # end and value, the last begun last

        def close(until: float) -> None:
            while open_ranges and open_ranges[-1][0] <= until:
                cut = open_ranges[-1][0]
                while open_ranges and open_ranges[-1][0] <= cut:
                    open_ranges.pop()
                cuts.append(cut)
                values.append(open_ranges[-1][1] if open_ranges else None)

        for start, end, value in sorted(ranges, key=lambda bounds: (bounds[0], -bounds[1])):
            close(start)
            open_ranges.append((end, value))
            cuts.append(start)
            values.append(value)
        close(math.inf)
        self._cuts = pl.Series(cuts, dtype=pl.Int64)
        self._values = pl.Series(values, dtype=dtype)

    def at(self, times: pl.Series) -> pl.Series:
        """Return the value at each of `times`, null outside of all ranges."""
        return self._values.gather(self._cuts.search_sorted(times, side="right"))

    def changes(self) -> tuple[pl.Series, pl.Series]:
        """Return the times at which the value changes, in order, and the value from each on."""
        return self._cuts, self._values[1:]


class ThreadStepLookup:
    """Ranges of several threads that carry a value, such as steps that overlap.

    In a thread that makes steps, its own ranges count. Elsewhere, as in a thread that works for
    another one, the range that is open counts if it is the only one.
    """

    def __init__(
        self,
        ranges: Iterable[tuple[int, int, int, int | str]],
        threads: Collection[int],
        dtype: pl.DataType,
    ) -> None:
        """Take (thread, start, end, value) in any order, and the threads that make steps."""
        by_thread: dict[int, list[tuple[int, int, int | str]]] = {thread: [] for thread in threads}
        for thread, start, end, value in ranges:
            by_thread.setdefault(thread, []).append((start, end, value))
        self._of_thread = {thread: StepLookup(own, dtype) for thread, own in by_thread.items()}
        self._elsewhere = StepLookup(_alone(chain.from_iterable(by_thread.values())), dtype)

    def at(self, times: pl.Series, threads: pl.Series) -> pl.Series:
        """Return the value at each of `times` in its thread, null outside of all ranges."""
        values = self._elsewhere.at(times)
        for thread, lookup in self._of_thread.items():
            places = (threads == thread).fill_null(value=False).arg_true()
            if len(places):
                values = values.scatter(places, lookup.at(times.gather(places)))
        return values


def _alone(
    ranges: Iterable[tuple[int, int, int | str]],
) -> Iterator[tuple[int, int, int | str]]:
    """Yield when one range alone is open, with its value."""
    cuts = [
        (time, opens, value)
        for start, end, value in ranges
        for time, opens in ((start, True), (end, False))
    ]
    open_: Counter[int | str] = Counter()
    before = 0
    for time, opens, value in sorted(cuts, key=lambda cut: cut[:2]):
        if open_.total() == 1 and before < time:
            yield before, time, next(iter(open_))
        before = time
        open_[value] += 1 if opens else -1
        if not open_[value]:
            del open_[value]
