"""Times of traces are exact, forth and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.view.times import LARGEST_NS, microseconds, nanoseconds


@pytest.mark.parametrize(
    ("raw", "ns"),
    [
        (b'"1795727431853127.415"', 1_795_727_431_853_127_415),
        (b"4870424847720.628", 4_870_424_847_720_628),
        (b"30", 30_000),
        (b"30.5", 30_500),
        (b"30.0009", 30_000),
        (b"-1.25", -1_250),
        (b"-0.5", -500),
        (b"1.5e3", 1_500_000),
        (b'""', None),
        (b"null", None),
        (b'"soon"', None),
        (b"1e300", None),
        (b"99999999999999999999", None),
    ],
)
def test_times_are_read_to_the_last_digit(raw: bytes, ns: int | None) -> None:
    assert nanoseconds(raw) == ns


@given(st.integers(-LARGEST_NS + 1, LARGEST_NS - 1))
def test_a_time_that_was_written_is_read_as_it_was(ns: int) -> None:
    assert nanoseconds(microseconds(ns)) == ns
    assert nanoseconds(b'"%b"' % microseconds(ns)) == ns


@given(st.integers(0, (1 << 51) - 1))
def test_a_viewer_whose_numbers_are_floats_gets_the_same_nanosecond(ns: int) -> None:
    assert round(float(microseconds(ns)) * 1000) == ns
