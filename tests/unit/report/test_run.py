"""What figures look like, and that both renderings show the same cells."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from harness.report.markdown import markdown
from harness.report.run import shapes
from harness.report.section import Section
from harness.report.terminal import show
from harness.report.units import duration, size


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1 µs"),
        (1234567, "1.23 ms"),
        (999_499_999, "999 ms"),
        (2_000_000_000, "2 s"),
        (1_234_000_000_000, "1,234 s"),
    ],
)
def test_duration(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3 GiB")]
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), ([[2, 3], [], [4]], "[2,3] [4]"), ([], ""), ([[12345678] * 9], None)],
)
def test_shapes(value: list[list[int]] | None, text: str | None) -> None:
    if text is None:
        assert shapes(value).endswith("…")
    else:
        assert shapes(value) == text


def test_both_renderings_show_the_same_cells() -> None:
    parts = [
        Section(title="One", notes=("a [note]",)),
        Section(title="Two", columns=("name", ">time"), rows=(("a|b", "1 ns"), ("[c]", "2 ns"))),
    ]
    assert markdown(parts) == (
        "# One\n\n- a [note]\n\n## Two\n\n| name | time |\n| --- | ---: |\n"
        "| a\\|b | 1 ns |\n| [c] | 2 ns |\n"
    )
    out = StringIO()
    show(parts, Console(file=out, width=80))
    for cell in ("a [note]", "a|b", "[c]", "2 ns"):
        assert cell in out.getvalue()
