"""Layers of ranges: which range counts at each moment."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.analyses.layers import NONE, Layer, first, following, nested, preceding, union

Ranges = list[tuple[int, int]]
RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=12)


def numbers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def layer(ranges: Ranges) -> Layer:
    starts, durations = (numbers(*(pair[place] for pair in ranges)) for place in (0, 1))
    return nested(starts, durations, np.arange(len(ranges)))


def shown(of: Layer, until: int) -> list[int]:
    return [int(value) for value in of.at(np.arange(until))]


def test_the_innermost_range_counts() -> None:
    # 0 holds 1 and 2; 1 and 2 touch; 3 has no duration.
    ranges = [(1, 8), (2, 2), (4, 3), (5, 0)]
    assert shown(layer(ranges), 11) == [-1, 0, 1, 1, 2, 2, 2, 0, 0, -1, -1]


def test_ranges_that_begin_or_end_together() -> None:
    # 1 begins with 0, and 2 ends with it.
    assert shown(layer([(0, 6), (0, 2), (4, 2)]), 7) == [1, 1, 0, 0, 2, 2, -1]


def test_of_ranges_that_overlap_the_last_begun_counts() -> None:
    assert shown(layer([(0, 4), (2, 4)]), 7) == [0, 0, 1, 1, 1, 1, -1]


def test_nothing_counts_where_there_are_no_ranges() -> None:
    assert shown(layer([]), 2) == [NONE, NONE]


@given(RANGES)
def test_the_range_that_counts_is_open_and_the_last_that_began(ranges: Ranges) -> None:
    of = layer(ranges)
    for time in range(60):
        open_ = [start for start, duration in ranges if start <= time < start + duration]
        value = int(of.at(numbers(time))[0])
        assert (value == NONE) == (not open_)
        if open_:
            start, duration = ranges[value]
            assert start == max(open_)
            # Of those that begin together, the shortest is within the others.
            assert duration == min(d for s, d in ranges if s == start and s <= time < s + d)


@given(RANGES)
def test_a_union_is_open_where_any_range_is(ranges: Ranges) -> None:
    starts, durations = (numbers(*(pair[place] for pair in ranges)) for place in (0, 1))
    of = union(starts, durations)
    for time in range(60):
        is_open = any(start <= time < start + duration for start, duration in ranges)
        assert (int(of.at(numbers(time))[0]) == 0) == is_open


def test_what_comes_before_and_after_stays_within_its_group() -> None:
    values = numbers(-1, 5, -1, -1, 7, -1, -1)
    groups = numbers(0, 0, 0, 1, 1, 1, 2)
    assert preceding(values, groups).tolist() == [-1, 5, 5, -1, 7, 7, -1]
    assert following(values, groups).tolist() == [5, 5, 5, 7, 7, 7, -1]


def test_the_first_choice_that_is_there() -> None:
    assert first(numbers(-1, 2, -1), numbers(4, 5, -1)).tolist() == [4, 2, -1]
