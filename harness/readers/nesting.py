"""Find which range of a thread contains which: vectorised if all nest, else one by one."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

NONE: Final = -1
_BLOCK: Final = 1 << 16
"""The ranges of one batch, so that memory does not grow with a capture."""

Times = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


def order(starts: pl.Series, durations: pl.Series, threads: pl.Series | None = None) -> pl.Series:
    """Return the places of ranges sorted by thread and start, the longest of equal starts first."""
    keys = [-durations.to_numpy(), starts.to_numpy()]
    if threads is not None:
        keys.append(threads.to_numpy())
    return pl.Series(np.lexsort(keys).astype(np.uint32))


def holders(threads: npt.NDArray[np.uint32], starts: Times, durations: Times) -> Places:
    """Return the place of the innermost range that contains each range; `NONE` if none does.

    Args:
        threads: The thread of each range, numbered from 0. Ranges are sorted by thread and start,
            the longest of equal starts first.
        starts: When each range begins.
        durations: How long each range is; a range of 0 contains nothing.

    A range that outlasts an open one ends it: that one contains nothing from there on.
    """
    innermost = np.full(len(starts), NONE, np.int32)
    open_ = np.zeros(0, np.int32)
    for begin in range(0, len(starts), _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, len(starts)), dtype=np.int32)
        places = np.concatenate((open_, block))
        ranges = threads[places], starts[places], durations[places]
        within = _nested(*ranges)
        if within is None:
            within = _one_by_one(*ranges)
        innermost[block] = np.append(places, np.int32(NONE))[within[len(open_) :]]
        open_ = _chain(innermost, int(block[-1]))
    return innermost


def _chain(innermost: Places, place: int) -> Places:
    """Return a range and those that contain it: no others are open where it begins."""
    chain = []
    while place != NONE:
        chain.append(place)
        place = int(innermost[place])
    return np.array(chain[::-1], np.int32)


def _nested(threads: npt.NDArray[np.uint32], starts: Times, durations: Times) -> Places | None:
    """Return the holder of each range, by depth; None if some range outlasts one that it began in.

    The depth of a range is how many ranges began before it, less those that ended by then. Its
    holder is the last range before it whose depth is one less.
    """
    first = int(starts.min())
    if int(starts.max()) + int(durations.max()) > np.iinfo(np.int64).max:
        return None
    span = int((starts + durations).max()) - first + 1
    if (int(threads[-1] - threads[0]) + 1) * span > np.iinfo(np.int64).max:
        return None
    # Put the threads one after the other on a single time axis.
    starts = (threads - threads[0]) * np.int64(span) + (starts - first)
    ends = starts + durations
    holds = durations > 0
    depths = np.cumsum(holds, dtype=np.int32) - holds
    depths -= np.searchsorted(np.sort(ends[holds]), starts, "right").astype(np.int32)
    order = np.argsort(depths, kind="stable").astype(np.int32)
    levels = np.split(order, np.flatnonzero(np.diff(depths[order])) + 1)
    innermost = np.full(len(starts), NONE, np.int32)
    outer = levels[0][holds[levels[0]]]
    for level in levels[1:]:
        if not len(outer) or outer[0] > level[0]:
            return None
        innermost[level] = outer[np.searchsorted(outer, level) - 1]
        outer = level[holds[level]]
    has_holder = innermost != NONE
    return innermost if (ends[has_holder] <= ends[innermost[has_holder]]).all() else None


def _one_by_one(threads: npt.NDArray[np.uint32], starts: Times, durations: Times) -> Places:
    innermost = [NONE] * len(starts)
    current: int | None = None
    open_: list[tuple[int, int]] = []  # the end and the place of each, inner last
    ranges = zip(threads.tolist(), starts.tolist(), durations.tolist(), strict=True)
    for place, (thread, start, duration) in enumerate(ranges):
        if thread != current:
            current = thread
            open_.clear()
        end = start + duration
        while open_ and not (start < open_[-1][0] and end <= open_[-1][0]):
            open_.pop()
        if open_:
            innermost[place] = open_[-1][1]
        open_.append((end, place))
    return np.array(innermost, np.int32)


def nearest(parents: Places, chosen: npt.NDArray[np.bool_]) -> Places:
    """Return the innermost chosen one of each range and those that contain it, or `NONE`."""
    targets = np.append(parents, np.int32(NONE))  # the last is the target of `NONE`
    targets[:-1][chosen] = np.flatnonzero(chosen)
    while True:
        farther = targets[targets]
        if (farther == targets).all():
            return farther[:-1]
        targets = farther
