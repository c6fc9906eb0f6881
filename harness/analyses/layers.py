"""Layers of ranges on one axis of time: which range counts at each moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.readers import nesting
from harness.tables.intervals import StepLookup

Numbers = npt.NDArray[np.int64]
NONE: Final = -1
"""Stands where no range is open, for what is not there."""


class Layer:
    """Ranges with a number each; at each moment, one of those that are open counts."""

    def __init__(self, cuts: Numbers, values: Numbers) -> None:
        """Take times in order, and the number that counts from each of them on."""
        self.cuts = cuts
        self._values = np.concatenate((np.array([NONE], np.int64), values))

    def at(self, times: Numbers) -> Numbers:
        """Return the number that counts at each time, `NONE` where no range is open."""
        return self._values[np.searchsorted(self.cuts, times, side="right")]


def nested(starts: Numbers, durations: Numbers, numbers: Numbers) -> Layer:
    """Return a layer of the ranges of one thread, of which the innermost counts.

    A range without duration never counts. Where ranges overlap and none contains the other, the
    last that began counts.
    """
    lasts = durations > 0
    starts, durations, numbers = starts[lasts], durations[lasts], numbers[lasts]
    if not len(starts):
        return Layer(starts, numbers)
    order = np.lexsort((-durations, starts))
    starts, numbers, ends = starts[order], numbers[order], (starts + durations)[order]
    outer = nesting.holders(np.zeros(len(starts), np.uint32), starts, ends - starts)
    if _overlap(starts, ends, outer):
        return overlapping(zip(starts.tolist(), ends.tolist(), numbers.tolist(), strict=True))
    times = np.concatenate((ends, starts))
    begins = np.repeat((False, True), len(starts))
    # At one time, the inner range ends first; then the outer one begins first.
    places = np.arange(len(starts))
    order = np.lexsort((np.concatenate((-places, places)), begins, times))
    values = np.concatenate((np.append(numbers, NONE)[outer], numbers))
    return Layer(times[order], values[order])


def _overlap(starts: Numbers, ends: Numbers, outer: npt.NDArray[np.int32]) -> bool:
    """Tell whether some range begins before its neighbour, within the same one, has ended."""
    order = np.argsort(outer, kind="stable")
    same = outer[order][1:] == outer[order][:-1]
    return bool((same & (starts[order][1:] < ends[order][:-1])).any())


def overlapping(ranges: Iterable[tuple[int, int, int]]) -> Layer:
    """Return a layer of ranges (start, end, number): the last begun that is open counts."""
    times, numbers = StepLookup(ranges, pl.Int64()).changes()
    return Layer(times.to_numpy(), numbers.fill_null(NONE).to_numpy())


def union(starts: Numbers, durations: Numbers) -> Layer:
    """Return a layer that has 0 wherever at least one range is open."""
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    covered = np.maximum.accumulate(starts + durations[order])
    begins = np.append(np.array([True])[: len(starts)], starts[1:] > covered[:-1])
    lasts = np.append(begins[1:], np.array([True])[: len(starts)])
    opened, closed = starts[begins], covered[lasts]
    return nested(opened, closed - opened, np.zeros(len(opened), np.int64))


def first(*choices: Numbers) -> Numbers:
    """Return, for each place, the first choice that is not `NONE`."""
    chosen = choices[-1]
    for other in reversed(choices[:-1]):
        chosen = np.where(other != NONE, other, chosen)
    return chosen


def preceding(numbers: Numbers, groups: Numbers) -> Numbers:
    """Return each number or, where it is `NONE`, the last one before in its group, or `NONE`.

    Rows of a group stand together.
    """
    last = np.maximum.accumulate(np.where(numbers == NONE, NONE, np.arange(len(numbers))))
    same = np.append(groups, NONE - 1)[last] == groups
    return np.where(same, np.append(numbers, NONE)[last], NONE)


def following(numbers: Numbers, groups: Numbers) -> Numbers:
    """Return each number or, where it is `NONE`, the next one of its group, else the last before.

    Rows of a group stand together.
    """
    return first(preceding(numbers[::-1], groups[::-1])[::-1], preceding(numbers, groups))
