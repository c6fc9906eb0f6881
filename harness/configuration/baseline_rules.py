"""Which settings of the unprofiled steps do not go together, or not with what runs."""

from __future__ import annotations

from collections.abc import Iterator

from harness.configuration.rank_rules import world_size_of
from harness.errors import Problem
from harness.settings.request import Baseline, Request
from harness.settings.schema import show
from harness.workloads.base import BuiltWorkload

_PLAIN = Baseline()


def problems_of_baseline(request: Request) -> Iterator[Problem]:
    """Yield all of them."""
    baseline = request.profiler.baseline
    more = {
        name: getattr(baseline, name)
        for name in ("until", "place")
        if getattr(baseline, name) != getattr(_PLAIN, name)
    }
    if not isinstance(request.workload, BuiltWorkload):
        yield from (_not_ours(name, value) for name, value in more.items())
        return
    if not baseline.steps:
        yield from (_no_steps(name, value) for name, value in more.items())
    yield from _unread(baseline)
    if baseline.until and baseline.max_steps < baseline.steps:
        yield Problem(
            setting="profiler.baseline.max_steps",
            given=str(baseline.max_steps),
            reason=f"profiler.baseline.steps={baseline.steps} are timed in any case",
            fix=f"profiler.baseline.max_steps={baseline.steps}, or fewer steps",
        )
    if baseline.until and world_size_of(request) > 1:
        yield Problem(
            setting="profiler.baseline.until",
            given="stable",
            reason="each rank would make another number of steps, and ranks that communicate wait"
            " for each other",
            fix="profiler.baseline.until=null profiler.baseline.steps=20",
        )
    yield from _no_pause(request)


def _not_ours(name: str, value: str) -> Problem:
    return Problem(
        setting=f"profiler.baseline.{name}",
        given=value,
        reason="how many steps there are, and when they end, is the program's own choice",
        fix=f"profiler.baseline.{name}={show(getattr(_PLAIN, name))}, with more"
        " profiler.baseline.steps, or a workload that the harness runs: workload=callable",
    )


def _no_steps(name: str, value: str) -> Problem:
    return Problem(
        setting=f"profiler.baseline.{name}",
        given=value,
        reason="profiler.baseline.steps=0 asks for no unprofiled steps",
        fix=f"profiler.baseline.steps=5, or profiler.baseline.{name}={show(getattr(_PLAIN, name))}",
    )


def _unread(baseline: Baseline) -> Iterator[Problem]:
    """Refuse limits that nothing would read."""
    for name in ("precision", "max_steps"):
        value, plain = getattr(baseline, name), getattr(_PLAIN, name)
        if baseline.until is None and value != plain:
            yield Problem(
                setting=f"profiler.baseline.{name}",
                given=show(value),
                reason="only profiler.baseline.until=stable reads it",
                fix=f"profiler.baseline.until=stable, or profiler.baseline.{name}={show(plain)}",
            )


def _no_pause(request: Request) -> Iterator[Problem]:
    schedule = request.profiler.schedule
    if request.profiler.baseline.place == "around" and not schedule.wait and schedule.repeat != 1:
        yield Problem(
            setting="profiler.baseline.place",
            given="around",
            reason="without a wait, the profiler begins the next cycle where one ends, and is never"
            " off between them",
            fix="profiler.schedule.wait=1, or profiler.schedule.repeat=1",
        )
