"""Which range holds which, on threads where ranges nest: without a look at each, if they all do."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

NONE: Final = -1
_BLOCK: Final = 1 << 16
"""As many ranges are looked at together: what that takes does not grow with a capture."""

Times = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


def order(starts: pl.Series, durations: pl.Series, threads: pl.Series | None = None) -> pl.Series:
    """Return the places of ranges by thread, then by start, of equal ones the longest first."""
    keys = [-durations.to_numpy(), starts.to_numpy()]
    if threads is not None:
        keys.append(threads.to_numpy())
    return pl.Series(np.lexsort(keys).astype(np.uint32))


def holders(threads: npt.NDArray[np.uint32], starts: Times, durations: Times) -> Places:
    """Return the place of the innermost range that holds each one whole; `NONE` if none does.

    Args:
        threads: The thread of each range, numbered from 0. Ranges come by thread, then by start, of
            equal ones the longest first.
        starts: When each begins.
        durations: How long each is; one of 0 holds nothing.

    A range that reaches over the end of an open one ends that one: it holds nothing from there on.
    """
    found = np.full(len(starts), NONE, np.int32)
    open_ = np.zeros(0, np.int32)
    for begin in range(0, len(starts), _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, len(starts)), dtype=np.int32)
        places = np.concatenate((open_, block))
        ranges = threads[places], starts[places], durations[places]
        within = _nested(*ranges)
        if within is None:
            within = _one_by_one(*ranges)
        found[block] = np.append(places, np.int32(NONE))[within[len(open_) :]]
        open_ = _chain(found, int(block[-1]))
    return found


def _chain(found: Places, place: int) -> Places:
    """Return the ranges that hold one, and itself: no others are open where it begins."""
    chain = []
    while place != NONE:
        chain.append(place)
        place = int(found[place])
    return np.array(chain[::-1], np.int32)


def _nested(threads: npt.NDArray[np.uint32], starts: Times, durations: Times) -> Places | None:
    """Return what holds each, from how many are open; None if some reach over an end.

    How deep a range lies is how many began before it, less those that ended by then. What holds it
    is the last before it that lies one less deep.
    """
    first = int(starts.min())
    if int(starts.max()) + int(durations.max()) > np.iinfo(np.int64).max:
        return None
    span = int((starts + durations).max()) - first + 1
    if (int(threads[-1] - threads[0]) + 1) * span > np.iinfo(np.int64).max:
        return None
    # One thread after the other, as if it were a single one.
    starts = (threads - threads[0]) * np.int64(span) + (starts - first)
    ends = starts + durations
    holds = durations > 0
    depths = np.cumsum(holds, dtype=np.int32) - holds
    depths -= np.searchsorted(np.sort(ends[holds]), starts, "right").astype(np.int32)
    order = np.argsort(depths, kind="stable").astype(np.int32)
    levels = np.split(order, np.flatnonzero(np.diff(depths[order])) + 1)
    found = np.full(len(starts), NONE, np.int32)
    outer = levels[0][holds[levels[0]]]
    for level in levels[1:]:
        if not len(outer) or outer[0] > level[0]:
            return None
        found[level] = outer[np.searchsorted(outer, level) - 1]
        outer = level[holds[level]]
    held = found != NONE
    return found if (ends[held] <= ends[found[held]]).all() else None


def _one_by_one(threads: npt.NDArray[np.uint32], starts: Times, durations: Times) -> Places:
    found = [NONE] * len(starts)
    thread: int | None = None
    open_: list[tuple[int, int]] = []  # the end and the place of each, inner last
    ranges = zip(threads.tolist(), starts.tolist(), durations.tolist(), strict=True)
    for place, (on, start, duration) in enumerate(ranges):
        if on != thread:
            thread = on
            open_.clear()
        end = start + duration
        while open_ and not (start < open_[-1][0] and end <= open_[-1][0]):
            open_.pop()
        if open_:
            found[place] = open_[-1][1]
        open_.append((end, place))
    return np.array(found, np.int32)


def nearest(holding: Places, chosen: npt.NDArray[np.bool_]) -> Places:
    """Return the innermost chosen range among each range and those that hold it, or `NONE`."""
    ways = np.append(holding, np.int32(NONE))  # the last is where `NONE` leads
    ways[:-1][chosen] = np.flatnonzero(chosen)
    while True:
        farther = ways[ways]
        if (farther == ways).all():
            return farther[:-1]
        ways = farther
