"""Any exception of a user's is put into words that JSON can keep."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from harness.execution.raised import described, traceback_of


class OddTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoTextError(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307 - that is the point


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError(), "ValueError"),
        (ValueError("bad step"), "ValueError: bad step"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ValueError("a\udc80"), "ValueError: a\\udc80"),
        (OddTextError(), "OddTextError: (its message cannot be made: RuntimeError)"),
        (NoTextError(), "NoTextError: (its message cannot be made: TypeError)"),
        (asyncio.CancelledError("stop"), "CancelledError: stop"),
        (GeneratorExit(), "GeneratorExit"),
        (SystemExit(0), "SystemExit: 0"),
        (ValueError("x" * 3_000), f"ValueError: {'x' * 2_000} … 1,000 characters more"),
    ],
)
def test_each_is_described(error: BaseException, words: str) -> None:
    assert described(error) == words
    assert msgspec.json.decode(msgspec.json.encode(described(error))) == words


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    text = traceback_of(ValueError("a" + "x" * 1_000_000 + "z\udc80"), None)
    assert text.startswith("ValueError: axxx")
    assert text.endswith("z\\udc80\n")
    assert "characters are left out here" in text
    assert len(text) < 21_000
