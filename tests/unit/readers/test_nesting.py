"""Which range holds which: the fast way says what a look at each range says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.readers import nesting

RANGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 8)), max_size=25)


def holders(ranges: list[tuple[int, int, int]]) -> list[int]:
    columns = np.array(ranges, np.int64).reshape(-1, 3).T
    threads = np.unique(columns[0], return_inverse=True)[1].astype(np.uint32)
    return list(map(int, nesting.holders(threads, columns[1], columns[2])))


def by_hand(ranges: list[tuple[int, int, int]]) -> list[int]:
    holders = []
    open_: list[int] = []
    for place, (thread, start, duration) in enumerate(ranges):
        while open_:
            outer, begun, length = ranges[open_[-1]]
            end = begun + length
            if outer == thread and start < end and start + duration <= end:
                break
            open_.pop()
        holders.append(open_[-1] if open_ else nesting.NONE)
        open_.append(place)
    return holders


def in_order(ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return sorted(ranges, key=lambda bounds: (bounds[0], bounds[1], -bounds[2]))


@given(RANGES, st.integers(1, 30))
def test_any_ranges_are_held_as_a_look_at_each_says(
    given_ranges: list[tuple[int, int, int]], block: int
) -> None:
    ranges = in_order(given_ranges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nesting, "_BLOCK", block)
        assert holders(ranges) == by_hand(ranges)


@given(RANGES)
def test_the_order_is_by_thread_then_start_the_longest_first(
    ranges: list[tuple[int, int, int]],
) -> None:
    threads, starts, durations = (
        pl.Series(values, dtype=pl.Int64) for values in ([r[n] for r in ranges] for n in range(3))
    )
    rows = nesting.order(starts, durations, threads).to_list()
    assert [ranges[row] for row in rows] == in_order(ranges)
    equal = [(a, b) for a, b in pairwise(rows) if ranges[a] == ranges[b]]
    assert all(a < b for a, b in equal)


def test_times_near_the_end_of_64_bits_are_looked_at_one_by_one() -> None:
    end = (1 << 63) - 1
    assert holders([(0, end - 10, 10), (0, end - 5, 5), (1, 0, end)]) == [-1, 0, -1]
    assert holders([(0, end - 5, 40), (1, end - 5, 40)]) == [-1, -1]


def test_ranges_that_nest_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(nesting, "_one_by_one")
    ranges = [(0, 0, 10), (0, 0, 4), (0, 2, 0), (0, 4, 6), (0, 5, 1), (1, 3, 5), (1, 8, 1)]
    assert holders(ranges) == [-1, 0, 1, 0, 3, -1, -1]


def test_the_nearest_chosen_range_is_found_through_any_number_of_others() -> None:
    holding = np.array([-1, 0, 1, 2, 3, -1], np.int32)
    chosen = np.array([True, False, False, False, False, False])
    assert nesting.nearest(holding, chosen).tolist() == [0, 0, 0, 0, 0, -1]
