"""Lanes: ranges of one thread that overlap without nesting are drawn beside each other.

Perfetto keeps a stack for each thread. A complete event that begins within another one and
outlasts it has no place there, and is dropped. So it gets a lane of its own, which is a thread to
the viewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
_BLOCK: Final = 1 << 16


def lanes(starts: Times, durations: Times, points: Times) -> tuple[list[int], list[int]]:
    """Return the lane of each range of one thread, and of each point, from 0.

    A range goes into the lane of the range that contains it and began last, so that a tree of calls
    stays together; else into the first lane where nothing is open. A point, such as the end of an
    arrow, goes into the lane of the range that is open there and began last.

    Args:
        starts: When each range begins, in any order; ns.
        durations: Of each range; not negative.
        points: Times, in any order.
    """
    of_ranges, of_points = [0] * len(starts), [0] * len(points)
    count = len(starts)
    times = np.concatenate((starts, points))
    lengths = np.concatenate((durations, np.zeros(len(points), np.int64)))
    is_point = np.arange(len(times)) >= count
    # Of equal starts the longest first, then the points.
    order = np.lexsort((-lengths, is_point, times))
    stacks: list[list[tuple[int, int]]] = [[]]
    for place, start, length in _rows(order, times, lengths):
        if place >= count:
            of_points[place - count] = _lane_of_point(stacks, start)
            continue
        lane = _lane_of_range(stacks, start, start + length)
        stacks[lane].append((start, start + length))
        of_ranges[place] = lane
    return of_ranges, of_points


def _rows(
    order: npt.NDArray[np.int64], times: Times, lengths: Times
) -> Iterator[tuple[int, int, int]]:
    """Yield place, start and length in an order; a block at a time, since Python's are larger."""
    for begin in range(0, len(order), _BLOCK):
        block = order[begin : begin + _BLOCK]
        yield from zip(block.tolist(), times[block].tolist(), lengths[block].tolist(), strict=True)


def _lane_of_range(stacks: list[list[tuple[int, int]]], start: int, end: int) -> int:
    """Return the lane for a range, after what has ended by then is closed; maybe a new one."""
    idle, innermost, latest = -1, -1, 0
    for lane, stack in enumerate(stacks):
        while stack and stack[-1][1] <= start:
            stack.pop()
        if not stack:
            idle = lane if idle < 0 else idle
        elif end <= stack[-1][1] and (innermost < 0 or stack[-1][0] > latest):
            innermost, latest = lane, stack[-1][0]
    if innermost >= 0:
        return innermost
    if idle >= 0:
        return idle
    stacks.append([])
    return len(stacks) - 1


def _lane_of_point(stacks: Iterable[list[tuple[int, int]]], time: int) -> int:
    """Return the lane of the range that is open and began last; 0 if none is."""
    found, latest = 0, None
    for lane, stack in enumerate(stacks):
        for start, end in reversed(stack):
            if end > time or start == time:
                if latest is None or start > latest:
                    found, latest = lane, start
                break
    return found
