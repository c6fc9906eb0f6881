"""No two ranges of one lane overlap without nesting, and there are no more lanes than needed."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.view.lanes import lanes


def laid(
    ranges: list[tuple[int, int]], points: tuple[int, ...] = ()
) -> tuple[list[int], list[int]]:
    starts = np.array([start for start, _ in ranges], np.int64)
    durations = np.array([end - start for start, end in ranges], np.int64)
    return lanes(starts, durations, np.array(points, np.int64))


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(0, 10), (10, 20)], [0, 0]),
        ([(0, 10), (2, 5), (5, 10)], [0, 0, 0]),
        ([(2, 5), (0, 10)], [0, 0]),  # torch_npu writes the inner one first
        ([(0, 10), (5, 15)], [0, 1]),
        ([(0, 10), (5, 15), (8, 20)], [0, 1, 2]),
        ([(0, 10), (5, 15), (12, 20)], [0, 1, 0]),
        ([(0, 10), (5, 20), (12, 15)], [0, 1, 1]),  # within the one that contains it
        ([(0, 10), (5, 20), (6, 8)], [0, 1, 1]),  # and of two, the one that began last
        ([(0, 10), (0, 10)], [0, 0]),
        ([(0, 10), (10, 10), (10, 20)], [0, 0, 0]),
        ([(0, 10), (5, 5)], [0, 0]),
    ],
)
def test_overlapping_ranges_get_lanes(ranges: list[tuple[int, int]], expected: list[int]) -> None:
    assert laid(ranges)[0] == expected


def test_kernels_of_25_us_that_begin_every_20_us_take_two_lanes() -> None:
    of_ranges, _ = laid([(20 * number, 20 * number + 25) for number in range(100)])
    assert of_ranges == [0, 1] * 50


def test_an_arrow_ends_in_the_lane_of_the_range_that_it_leads_to() -> None:
    ranges = [(0, 10), (5, 15), (8, 20)]
    assert laid(ranges, (0, 5, 6, 8, 12, 16, 25))[1] == [0, 1, 1, 2, 2, 2, 0]
    assert laid([(0, 10), (5, 5)], (5,))[1] == [0]


RANGES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 15)).map(lambda pair: (pair[0], sum(pair))),
    max_size=40,
)


def crossing(one: tuple[int, int], other: tuple[int, int]) -> bool:
    (start, end), (later, last) = sorted((one, other))
    return start < later < end < last


@given(RANGES)
def test_in_a_lane_ranges_nest_or_follow_each_other(ranges: list[tuple[int, int]]) -> None:
    of_ranges, _ = laid(ranges)
    by_lane = defaultdict(list)
    for lane, each in zip(of_ranges, ranges, strict=True):
        by_lane[lane].append(each)
    assert not [
        pair
        for members in by_lane.values()
        for pair in itertools.combinations(members, 2)
        if crossing(*pair)
    ]
    assert set(of_ranges) == set(range(len(by_lane)))


@given(RANGES)
def test_what_nests_needs_one_lane(ranges: list[tuple[int, int]]) -> None:
    nest = not any(crossing(*pair) for pair in itertools.combinations(ranges, 2))
    assert (max(laid(ranges)[0], default=0) == 0) == nest
