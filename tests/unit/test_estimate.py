"""How long something still takes: exact numbers, and none where nothing was measured."""

from __future__ import annotations

import pytest

from harness.estimate import Pace, about, clock, of_jobs


def test_the_rest_takes_as_long_as_what_was_done() -> None:
    pace = Pace(100.0, 2)
    pace.take(4, 106.0)
    # Two took 6 s, so the other six take 18 s, of which 4 s have gone by.
    assert pace.left_s(10, 106.0) == 18.0
    assert pace.left_s(10, 110.0) == 14.0
    pace.take(4, 111.0)
    assert pace.left_s(10, 111.0) == 13.0
    pace.take(5, 112.0)
    assert pace.left_s(10, 112.0) == 20.0


def test_nothing_is_said_without_a_measurement() -> None:
    pace = Pace(0.0, 3)
    assert pace.left_s(10, 60.0) is None
    pace.take(3, 61.0)
    assert pace.left_s(10, 61.0) is None


def test_nothing_is_said_of_less_than_a_second() -> None:
    pace = Pace(0.0, 0)
    pace.take(1, 0.99)
    assert pace.left_s(3, 0.99) is None
    pace.take(2, 1.0)
    assert pace.left_s(3, 1.0) == 0.5


def test_nothing_is_said_where_it_takes_longer_than_it_should_or_is_done() -> None:
    pace = Pace(0.0, 0)
    pace.take(1, 2.0)
    assert pace.left_s(2, 3.9) == pytest.approx(0.1)
    assert pace.left_s(2, 4.0) is None
    assert pace.left_s(1, 2.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "about 1 s left"),
        (12.4, "about 12 s left"),
        (59.4, "about 59 s left"),
        (59.6, "about 1 min left"),
        (89.0, "about 1 min left"),
        (3569.0, "about 59 min left"),
        (3571.0, "about 1 h 0 min left"),
        (8100.0, "about 2 h 15 min left"),
    ],
)
def test_a_remaining_time_is_said_roughly(seconds: float, text: str) -> None:
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59.9, "59 s"), (60.0, "1:00"), (65.0, "1:05"), (7265.0, "2:01:05")],
)
def test_a_time_that_has_gone_by_is_said_to_the_second(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("ended", "running", "total", "elapsed_s", "expected"),
    [
        (0, 4, 8, 30.0, "0 of 8 ended"),
        # One of four that began together: 2.5 took 10 s, and 5.5 are left.
        (1, 3, 8, 10.0, "1 of 8 ended, about 22 s left"),
        (6, 2, 8, 21.0, "6 of 8 ended, about 3 s left"),
        (7, 0, 8, 14.0, "7 of 8 ended, about 2 s left"),
        (1, 0, 2, 0.9, "1 of 2 ended"),
        (8, 0, 8, 20.0, ""),
    ],
)
def test_of_jobs_that_run_at_once_each_counts_half_while_it_runs(
    ended: int, running: int, total: int, elapsed_s: float, expected: str
) -> None:
    assert of_jobs(ended, running, total, elapsed_s) == expected
