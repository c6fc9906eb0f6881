"""The step times of two sides: one figure for each process run, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from harness.capture.comparison_record import ComparedRun, StepKind, StepTimes
from harness.comparison.differences import varied
from harness.comparison.sides import SideRun, Sides
from harness.comparison.statistics import LEAST_TESTABLE, SEED, judge
from harness.settings.request import Compare

_PHASES: Final[dict[StepKind, str]] = {"unprofiled": "baseline", "profiled": "active"}
"""The kinds of steps that can be compared, the better one first, and their phases."""
_SHOWN: Final = 3


class NotCompared(Struct, frozen=True):
    """Times are not compared, and why."""

    reason: str


def kind_of(sides: Sides) -> StepKind | NotCompared:
    """Return the kind of steps that every run has; or why there is none."""
    emulated = {run.record.emulated for run in sides.runs}
    if len(emulated) > 1:
        return NotCompared(
            "one side is emulated, and its times are invented: they say nothing beside real ones"
        )
    if True in emulated:
        return NotCompared("the runs are emulated: their times are invented")
    for kind, phase in _PHASES.items():
        if all(_median(run, phase) for run in sides.runs):
            return kind
    lacking = [str(run.folder) for run in sides.runs if not run.record.timing]
    named = ", ".join(lacking[:_SHOWN]) + (" and more" if len(lacking) > _SHOWN else "")
    if lacking:
        return NotCompared(f"no step times are in {named}; profiler.baseline.steps=20 records some")
    return NotCompared("some runs have unprofiled steps alone, and others profiled ones alone")


def _median(run: SideRun, phase: str) -> int | None:
    timing = run.record.timing.get(phase)
    return timing.median_ns if timing is not None and timing.median_ns > 0 else None


def compared_run(run: SideRun, kind: StepKind | NotCompared, began_ns: int | None) -> ComparedRun:
    """Return a run as it is compared."""
    step = None if isinstance(kind, NotCompared) else _median(run, _PHASES[kind])
    return ComparedRun(folder=str(run.folder), step_ns=step, began_ns=began_ns)


def steps_of(runs: Sequence[SideRun], kind: StepKind) -> list[float]:
    """Return the figure of each run: the median of its steps, in nanoseconds."""
    return [float(_median(run, _PHASES[kind]) or 0) for run in runs]


def step_times(sides: Sides, kind: StepKind, settings: Compare) -> StepTimes:
    """Judge the step times of two sides."""
    candidate, base = (steps_of(side, kind) for side in (sides.candidate, sides.base))
    reason = _untestable(sides)
    judged = judge(
        candidate, base, margin=settings.margin, confidence=settings.confidence, sample=not reason
    )
    return StepTimes(
        kind=kind,
        candidate_ns=median(candidate),
        base_ns=median(base),
        ratio=judged.ratio,
        answer=judged.answer,
        margin=settings.margin,
        confidence=settings.confidence,
        interval=judged.interval,
        equivalence_interval=judged.equivalence_interval,
        p_value=judged.p_value,
        equivalence_p=judged.equivalence_p,
        method=judged.method,
        seed=SEED,
        noise=judged.noise,
        more_runs=judged.more_runs,
        reason=reason,
    )


def _untestable(sides: Sides) -> str:
    """Return why the runs of a side are no sample; "" if they are."""
    for name, runs in (("candidate", sides.candidate), ("base", sides.base)):
        if len(runs) < LEAST_TESTABLE:
            return (
                f"the {name} has one run, so nobody knows how much its runs differ; five runs on"
                " each side are a good start"
            )
        if names := varied([run.record for run in runs]):
            return (
                f"the runs of the {name} are no repetitions: they differ in"
                f" {', '.join(names[:_SHOWN])}"
            )
    return ""


def remarks(candidate: Sequence[ComparedRun], base: Sequence[ComparedRun]) -> Iterator[str]:
    """Say where one side ran before the other: what drifts meanwhile looks like a difference."""
    mine, theirs = ([run.began_ns for run in side] for side in (candidate, base))
    known = [began for began in (*mine, *theirs) if began is not None]
    if len(known) < len(mine) + len(theirs) or min(len(mine), len(theirs)) < LEAST_TESTABLE:
        return
    first, last = sorted(filter(None, mine)), sorted(filter(None, theirs))
    if first[-1] < last[0] or last[-1] < first[0]:
        yield (
            "one side ran before the other: if the machine became slower or faster meanwhile, that"
            " is in the ratio; --repeat N runs them in turn"
        )
