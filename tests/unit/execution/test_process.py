"""How a child process died, in words."""

from __future__ import annotations

import pytest

from harness.execution.process import _death


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "SIGSEGV (signal 11)"),
        (-9, "out of memory"),
        (-6, "SIGABRT"),
        (3, "exited with code 3 before it could report; its last output: oh"),
    ],
)
def test_death_is_named(code: int, words: str) -> None:
    assert words in _death(code, "oh")


def test_a_signal_without_a_name_is_a_death_too() -> None:
    assert _death(-40, "") == "the child process died of signal 40"
