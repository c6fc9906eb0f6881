"""Threads that a profiler left out are told from those that it recorded, by their operators."""

from __future__ import annotations

import pytest

from harness.tables.thread_counts import ThreadCounts, left_out


@pytest.mark.parametrize(
    ("others", "recorded", "expected"),
    [
        ((), {"aten::mm": 3}, (0, 0)),
        (({"aten::mm": 20},), {"aten::mm": 3}, (1, 20)),
        # Autograd's thread is recorded; two operators of its first step come no more.
        (({"aten::mm": 20, "aten::empty": 2},), {"aten::mm": 23}, (0, 0)),
        # One of two is recorded.
        (({"aten::mm": 20}, {"aten::add": 5}), {"aten::mm": 23}, (1, 5)),
        (({"aten::mm": 20}, {"aten::mm": 18}), {"aten::mm": 23}, (1, 18)),
        # Of three operators in the step's thread, none is another thread's.
        (({"aten::mm": 1},), {"aten::mm": 3}, (1, 1)),
    ],
)
def test_threads_without_recorded_operators_are_left_out(
    others: tuple[dict[str, int], ...], recorded: dict[str, int], expected: tuple[int, int]
) -> None:
    counts = ThreadCounts(of_step={"aten::mm": 3}, of_others=others)
    assert left_out(counts, recorded) == expected


def test_the_total_is_of_all_threads() -> None:
    counts = ThreadCounts(of_step={"aten::mm": 3}, of_others=({"aten::mm": 2}, {"aten::add": 1}))
    assert counts.total == 6
