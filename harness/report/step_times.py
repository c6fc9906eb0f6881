"""The section of step times: what profiling costs, and how far the times can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from harness.capture.run_record import RunRecord, Timing
from harness.report.results import RunResults
from harness.report.section import Column, Section
from harness.report.units import duration
from harness.tables.machine_load import busy_machine

UNSTABLE_SPREAD: Final = 0.2
"""(max - min) / median of step times above which the summary warns of their spread."""
PHASES: Final = {"baseline": "unprofiled", "active": "profiled"}


def step_times(results: RunResults) -> Section | None:
    """Show how long steps take on the host, with and without the profiler."""
    timing = results.record.timing
    if not timing:
        return None
    return Section(
        title="Step time",
        columns=(
            Column("steps"),
            Column("count", "count"),
            Column("median", "ns"),
            Column("min", "ns"),
            Column("max", "ns"),
        ),
        rows=tuple(
            (PHASES[phase], times.steps, times.median_ns, times.min_ns, times.max_ns)
            for phase, times in timing.items()
        ),
        notes=() if results.record.emulated else tuple(_remarks(results.record)),
    )


def _remarks(record: RunRecord) -> Iterator[str]:
    """Yield what the profiler costs, and what is known of how far the times can be trusted."""
    yield from _cost(record.timing)
    if busy := busy_machine(record.machine_load, PHASES):
        yield busy
    baseline = record.timing.get("baseline")
    if baseline is not None:
        yield from _stability(baseline, record)
        yield from _warm_up(baseline, record)
        yield from _drift(baseline)
    wide = [
        f"{PHASES[phase]} {times.spread:.0%}"
        for phase, times in record.timing.items()
        if times.steps > 1 and times.spread > UNSTABLE_SPREAD
    ]
    if wide:
        yield f"unstable: (max - min) / median of the steps: {', '.join(wide)}"


def _cost(timing: Mapping[str, Timing]) -> Iterator[str]:
    if len(timing) == len(PHASES) and timing["baseline"].median_ns:
        ratio = timing["active"].median_ns / timing["baseline"].median_ns
        noise = timing["active"].resembles(timing["baseline"])
        within = ", which is within the noise of these steps" if noise else ""
        yield f"a profiled step takes {ratio:.2f} × an unprofiled one{within}"


def _stability(baseline: Timing, record: RunRecord) -> Iterator[str]:
    """Yield whether as many unprofiled steps were timed as the median needs."""
    if record.requested.get("profiler.baseline.until") is None:
        return
    limit = record.requested["profiler.baseline.precision"]
    first = baseline.parts[0] if baseline.parts else baseline
    if first.interval is None:
        yield f"not stable: {first.steps} unprofiled steps are too few to know the median"
        return
    known = first.interval.precision
    words = f"the median of {first.steps} unprofiled steps is known to ±{known:.1%} (95 %)"
    if known <= limit:
        yield f"stable: {words}"
    else:
        yield (
            f"not stable: {words}, not to ±{limit:.1%} as asked; raise"
            " profiler.baseline.max_steps, or use an idle machine"
        )


def _warm_up(baseline: Timing, record: RunRecord) -> Iterator[str]:
    """Yield that the first timed steps were still slow."""
    slow = baseline.warming_up
    if slow is None:
        return
    steps = f"the first {slow.steps} unprofiled steps" if slow.steps > 1 else "the first one"
    enough = (
        f"workload.warmup_steps={record.requested.get('workload.warmup_steps', 0) + slow.steps}"
    )
    if slow.is_certain:
        yield (
            f"steps were still warming up: {steps} took {slow.ratio:.2f} × the later ones; set"
            f" {enough} at least"
        )
    else:
        yield (
            f"steps were perhaps still warming up: {steps} took {slow.ratio:.2f} × the later ones,"
            f" which may be chance; {enough} would tell"
        )


def _drift(baseline: Timing) -> Iterator[str]:
    """Yield whether unprofiled steps took another time later in the run."""
    if not baseline.parts:
        return
    first, last = baseline.parts[0], baseline.parts[-1]
    medians = " → ".join(duration(part.median_ns) for part in (first, last))
    if _overlap(first, last):
        yield f"no drift seen: unprofiled steps before and after the profiled ones: {medians}"
    else:
        change = last.median_ns / first.median_ns - 1
        yield (
            f"drift: unprofiled steps before and after the profiled ones differ by {change:+.0%}"
            f" ({medians}); differences below that are no result"
        )


def _overlap(one: Timing, other: Timing) -> bool:
    """Tell whether the intervals of two medians meet; of few steps, the whole range counts."""
    (low, high), (other_low, other_high) = (
        (each.interval.low_ns, each.interval.high_ns)
        if each.interval is not None
        else (each.min_ns, each.max_ns)
        for each in (one, other)
    )
    return low <= other_high and other_low <= high
