"""Clocks of hosts are aligned by the ends of collectives."""

from __future__ import annotations

import polars as pl

from harness.across.clocks import clocks

Row = tuple[int, str, int, int, int]


def made(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["collective", "type", "rank", "start_ns", "duration_ns"], orient="row"
    )


def test_hosts_are_moved_by_the_median_and_the_residual_is_told() -> None:
    ends = [(0, 1_000, 5_003), (1, 2_000, 6_000), (2, 3_000, 6_996)]
    rows: list[Row] = [
        row
        for number, first, second in ends
        for row in (
            (number, "allreduce", 0, first - 9, 9),
            (number, "allreduce", 1, second - 30, 30),
        )
    ]
    # The root of a broadcast does not wait for the others.
    rows += [(3, "broadcast", 0, 0, 1), (3, "broadcast", 1, 99_000, 1)]
    found = clocks(made(rows), {0: "a", 1: "b"})
    assert found.offsets_ns == {0: 0, 1: -4_000}
    assert (found.collectives, found.residual_ns, found.unaligned) == (3, 3, ())


def test_ranks_of_one_host_have_one_clock() -> None:
    rows: list[Row] = [(0, "_allgather_base", 0, 0, 10), (0, "_allgather_base", 1, 0, 17)]
    found = clocks(made(rows), {0: "a", 1: "a"})
    assert found.offsets_ns == {0: 0, 1: 0}
    assert found.residual_ns == 7


def test_a_host_without_a_common_collective_is_named() -> None:
    rows: list[Row] = [(0, "barrier", 0, 0, 10), (0, "barrier", 1, 5, 10)]
    found = clocks(made(rows), {0: "a", 1: "b", 2: "c"})
    assert found.unaligned == (2,)
    assert clocks(made(rows)[:0], {0: "a", 1: ""}).residual_ns is None
