"""Which operators of a step run in which thread, and which of them a profiler left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct


class ThreadCounts(Struct, frozen=True, kw_only=True):
    """The operators of one step that was recorded with all its threads, counted by name."""

    of_step: dict[str, int]
    """Those of the thread that ran the step."""
    of_others: tuple[dict[str, int], ...]
    """Those of each other thread that ran any."""

    @property
    def total(self) -> int:
        """The operators of all threads."""
        return sum(sum(counts.values()) for counts in (self.of_step, *self.of_others))


class LeftOut(NamedTuple):
    """What other threads ran and a profiler did not record."""

    threads: int
    operators: int


def left_out(counts: ThreadCounts, recorded: Mapping[str, int]) -> LeftOut:
    """Return the threads most of whose operators no recorded step has.

    A profiler may record other threads, too: those of autograd belong to the thread that called it.
    So threads are compared by the names of their operators, not by their numbers, which change.

    Args:
        counts: The operators of one step.
        recorded: By name, the most operators that a recorded step has.
    """
    free = Counter(recorded)
    free.subtract(counts.of_step)
    free = +free
    threads = operators = 0
    # Those that are recorded for the most part come first, and take what is theirs.
    for ran in sorted(map(Counter, counts.of_others), key=lambda ran: -(ran & free).total()):
        shared = ran & free
        if 2 * shared.total() >= ran.total():
            free -= shared
            continue
        threads += 1
        operators += ran.total() - shared.total()
    return LeftOut(threads, operators)
