"""Any exception of a user's is put into words that JSON can keep."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from harness.execution.raised import described, traceback_of
from harness.stopping import Interrupted


class OddTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoTextError(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307 - that is the point


class OddExitError(BaseException):
    def __str__(self) -> str:
        raise SystemExit(0)


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ValueError("no name")


class NamelessError(Exception, metaclass=_Nameless):
    pass


class _Unmeasured(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise ValueError("no length")

    def __format__(self, _spec: str) -> str:
        raise ValueError("no format")


class UnmeasuredError(Exception):
    def __str__(self) -> str:
        return _Unmeasured("hello")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError(), "ValueError"),
        (ValueError("bad step"), "ValueError: bad step"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ValueError("a\udc80"), "ValueError: a\\udc80"),
        (OddTextError(), "OddTextError: (its message cannot be made: RuntimeError)"),
        (NoTextError(), "NoTextError: (its message cannot be made: TypeError)"),
        (OddExitError(), "OddExitError: (its message cannot be made: SystemExit)"),
        (NamelessError("a"), "NamelessError: a"),
        (UnmeasuredError(), "UnmeasuredError: hello"),
        (ValueError("a\r\nb\u2028c:"), "ValueError: a b c:"),
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


@pytest.mark.parametrize("error", [OddExitError(), NamelessError("a"), UnmeasuredError()])
def test_each_has_a_traceback(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert "in work" in traceback_of(error, caught.tb)


def test_a_signal_that_arrives_meanwhile_is_passed_on() -> None:
    class WaitingError(Exception):
        def __str__(self) -> str:
            raise Interrupted

    with pytest.raises(Interrupted):
        described(WaitingError())
