"""Exit codes of sweeps."""

from __future__ import annotations

import pytest

from harness.errors import worst


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 3], 3),
        ([3, 4], 4),
        ([4, 1, 3], 1),
        ([1, 130, 0], 130),
    ],
)
def test_sweep_ends_with_its_worst_code(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected
