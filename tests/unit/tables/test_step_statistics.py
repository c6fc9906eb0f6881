"""How well a median is known, and which first steps were slow: exact figures."""

from __future__ import annotations

import pytest

from harness.tables.step_statistics import WarmingUp, median_interval, warming_up


def test_the_interval_is_that_of_the_order_statistics() -> None:
    """The ranks are those of the published table: n=6: 1, n=10: 2, n=20: 6, n=100: 40."""
    for count, rank in ((6, 1), (10, 2), (20, 6), (100, 40)):
        interval = median_interval(range(1, count + 1))
        assert interval is not None
        assert (interval.low_ns, interval.high_ns) == (rank, count + 1 - rank)


def test_the_precision_is_the_farther_end() -> None:
    interval = median_interval([98, 100, 100, 100, 100, 105])
    assert interval is not None
    assert interval.precision == pytest.approx(0.05)


def test_five_times_have_no_interval() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None


def test_first_steps_that_are_slower_are_warming_up() -> None:
    found = warming_up([200, 150, 120, 105, 100, 100, 101])
    assert found == WarmingUp(steps=3, ratio=150 / 100.5, chance=1 / 35)
    assert found.is_certain


def test_one_slow_step_of_five_may_be_chance() -> None:
    found = warming_up([200, 100, 101, 99, 100])
    assert found == WarmingUp(steps=1, ratio=2.0, chance=0.2)
    assert not found.is_certain


@pytest.mark.parametrize(
    "times", [[], [100], [100, 100, 100], [115, 100, 101, 99, 100], [100, 200, 100, 100, 100]]
)
def test_other_steps_are_not(times: list[int]) -> None:
    assert warming_up(times) is None
