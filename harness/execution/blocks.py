"""In which order a loop makes its steps: rows of steps of one phase."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from harness.settings.request import Baseline, Schedule
from harness.settings.schedule import phase_of


class Block(NamedTuple):
    """Steps of one phase, one after the other."""

    phase: str
    steps: int
    scheduled: bool = True
    """Whether the profiler's schedule counts them."""
    until_stable: bool = False
    """Whether more of them are made until their median is known well enough."""


def blocks(
    warmup: int, baseline: Baseline, schedule: Schedule, *, steps: int, cycles: int
) -> Iterator[Block]:
    """Yield the steps of a run: its warm-up, its baseline, the schedule's.

    With ``baseline.place=around``, unprofiled steps come after each cycle, too: the profiler is off
    there if the next cycle begins with a wait, or if there is none.

    Args:
        warmup: Steps that are not timed.
        baseline: The unprofiled steps.
        schedule: Of the profiler.
        steps: Of the schedule.
        cycles: Whole cycles in them.
    """
    if warmup:
        yield Block("warmup", warmup, scheduled=False)
    unprofiled = Block("baseline", baseline.steps, scheduled=False)
    if baseline.steps:
        yield unprofiled._replace(until_stable=baseline.until == "stable")
    phases = [phase_of(schedule, step, cycles) for step in range(steps)]
    for phase, row in groupby(phases):
        yield Block(phase, len(list(row)))
        if phase == "active" and baseline.steps and baseline.place == "around":
            yield unprofiled
