"""The steps of several threads: at any time, what a search of all ranges finds."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from harness.tables.intervals import ThreadStepLookup

Range = tuple[int, int, int, int]


@st.composite
def ranges(draw: st.DrawFn) -> list[Range]:
    """Ranges of three threads, which overlap in none of these."""
    found: list[Range] = []
    for thread in range(3):
        cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=8)))
        pairs = zip(cuts[::2], cuts[1::2], strict=False)
        found += [(thread, start, end, 0) for start, end in pairs]
    return [(thread, start, end, step) for step, (thread, start, end, _) in enumerate(found)]


@given(ranges=ranges(), makers=st.sets(st.integers(0, 2)))
def test_a_search_of_all_ranges_finds_the_same(ranges: list[Range], makers: set[int]) -> None:
    lookup = ThreadStepLookup(ranges, makers, pl.Int64())
    makers = makers | {thread for thread, *_ in ranges}
    places = [(time, thread) for time in range(32) for thread in (0, 1, 2, 7, None)]
    times, threads = (list(column) for column in zip(*places, strict=True))
    found = lookup.at(pl.Series(times, dtype=pl.Int64), pl.Series(threads, dtype=pl.Int64))

    def expected(time: int, thread: int | None) -> int | None:
        open_ = [r for r in ranges if r[1] <= time < r[2]]
        if thread in makers:
            open_ = [r for r in open_ if r[0] == thread]
        return open_[0][3] if len(open_) == 1 else None

    assert found.to_list() == [expected(*place) for place in places]
