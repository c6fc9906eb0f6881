"""A signal that stops waits for the end of a block, and reaches its handler then."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import polars as pl
import pytest

from harness.stopping import STOPS, Held, Interrupted, interrupt


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, interrupt) for number in STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_it_waits(number: signal.Signals) -> None:
    done = []

    def block() -> None:
        with Held():
            signal.raise_signal(number)
            done.append(True)

    with pytest.raises(Interrupted):
        block()
    assert done
    assert all(signal.getsignal(number) is interrupt for number in STOPS)


def test_none_is_raised_inside_polars() -> None:
    """An exception would be a panic of Rust's; it is raised as soon as polars is left."""

    def late(_: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 1

    with pytest.raises(Interrupted):
        long(pl.Series([1]).map_elements(late, return_dtype=pl.Int64))


def long(_: object) -> None:
    for _ in range(100):
        time.sleep(0.05)


def test_code_without_a_name_is_interrupted_too() -> None:
    code = "import signal; signal.raise_signal(signal.SIGTERM)"
    with pytest.raises(Interrupted):
        exec(code, {"__name__": None})  # noqa: S102 - as a user's template engine does


def test_one_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Held():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_thread_that_gets_no_signals_sets_no_handlers() -> None:
    seen = []

    def hold() -> None:
        with Held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert seen == [interrupt]
