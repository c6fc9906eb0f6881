"""What the files of an analysis hold, by their names."""

from __future__ import annotations

import pytest

from harness.readers.ascend.files import FILES, content_of


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ascend_pytorch_profiler.db", "ascend_pytorch_profiler.db"),
        ("ascend_pytorch_profiler_12.db", "ascend_pytorch_profiler.db"),
        ("analysis.db", "analysis.db"),
    ],
)
def test_databases_are_known_with_their_rank(name: str, known: str) -> None:
    assert content_of(name) == FILES[known]


def test_other_files_are_not() -> None:
    assert content_of("kernel_details_1.csv") is None
