"""What a program says of itself: ``harness.step()``, ``stage("forward")``, ``stop()``.

All do nothing where no profile counts them, so that a program may keep them. Imports nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class StepCounter(Protocol):
    """What counts the steps of the program that runs in this process."""

    def step(self) -> None:
        """End a step, and begin the next."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Name a part of the step."""


_counter: StepCounter | None = None
_stop: Callable[[], None] | None = None


def count_with(counter: StepCounter | None, stop: Callable[[], None] | None = None) -> None:
    """Let `counter` get the steps and stages from now on; null: nobody. `stop` ends it."""
    global _counter, _stop
    _counter, _stop = counter, stop


def are_counted() -> bool:
    """Tell whether someone counts the steps of this process."""
    return _counter is not None


def step() -> None:
    """Say that a step of the program has ended; the next one begins."""
    if _counter is not None:
        _counter.step()


def stage(name: str) -> AbstractContextManager[None]:
    """Name a part of the step: ``with harness.stage("forward"): …``."""
    return nullcontext() if _counter is None else _counter.stage(name)


def stop() -> None:
    """End the profile that is open in this process, also one that no variable holds any more."""
    if _stop is not None:
        _stop()
