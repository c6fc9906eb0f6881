"""``harness check``: the effective settings of each job, its steps, and what must arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from harness.capture.run_record import as_typed
from harness.cli.arguments import Command
from harness.cli.console import OUT
from harness.cli.prepare import prepared
from harness.configuration.composition import Job
from harness.errors import ExitCode
from harness.execution.plan import plan, requested
from harness.execution.protocol import Plan
from harness.report.section import Column, Section
from harness.report.terminal import show
from harness.settings.changes import Changes
from harness.settings.marks import mark_of
from harness.settings.request import Baseline, Request
from harness.settings.schema import show as typed

_RANGES: Final = 10


def check(command: Command) -> ExitCode:
    """Print what each job would do; touches no device and leaves no folder."""
    composition = prepared(command)
    if composition.multirun:
        from harness.cli.progress import headline
    for number, job in enumerate(composition.jobs):
        assert job.request is not None
        if composition.multirun:
            headline(OUT, number, len(composition.jobs), _settings_of(job, job.request))
        planned = plan(job.request, Path("unused"))
        show([_settings(job.request, planned), _steps(planned), _expectations(planned)], OUT)
    return ExitCode.OK


def _settings_of(job: Job, request: Request) -> str:
    return " ".join(as_typed(job.overrides, rehearsed=request.rehearsal.emulate))


def _settings(request: Request, planned: Plan) -> Section:
    before = requested(request)
    rows = []
    effective = planned.recording.effective
    for path in sorted(set(before) | set(effective)):
        if mark_of(path) is Changes.RECORDED:
            old = typed(before[path]) if path in before else "–"
            new = typed(effective[path]) if path in effective else "–"
            rows.append((path, old, new if new != old else "same"))
    environment = " ".join(
        f"{name}={value}" for name, value in planned.recording.environment.items()
    )
    return Section(
        title=f"{before['workload.name']} on {request.device.name}: profiler settings",
        columns=(Column("setting"), Column("requested"), Column("effective")),
        rows=tuple(rows),
        notes=(f"set before torch loads: {environment}",),
    )


def _steps(planned: Plan) -> Section:
    loop, recorded = planned.loop, planned.recording.recorded
    return Section(
        title="Steps",
        columns=(Column("phase"), Column("steps", "count")),
        rows=(
            ("warm-up, untimed", loop.workload.warmup_steps),
            ("baseline, without profiler", loop.baseline.steps),
            ("under the profiler", loop.steps),
            ("of these recorded", len(recorded)),
        ),
        notes=(f"recorded: {_ranges(recorded)} (counted from 0)", *_baseline(loop.baseline)),
    )


def _baseline(baseline: Baseline) -> Iterator[str]:
    """Yield how the number of unprofiled steps may grow."""
    if baseline.until is not None:
        yield (
            f"baseline: up to {baseline.max_steps:,} steps, until the median is known to"
            f" ±{baseline.precision:.1%}"
        )
    if baseline.place == "around":
        yield f"baseline: {baseline.steps:,} more steps after each cycle"


def _ranges(steps: Sequence[int]) -> str:
    """Return numbers of steps as ranges, the first of them if there are many."""
    ranges: list[list[int]] = []
    for step in steps:
        if ranges and step == ranges[-1][1] + 1:
            ranges[-1][1] = step
        else:
            ranges.append([step, step])
    texts = [str(first) if first == last else f"{first}–{last}" for first, last in ranges]
    more = len(texts) - _RANGES
    return ", ".join(texts[:_RANGES]) + (f" and {more} more ranges" if more > 0 else "")


def _expectations(planned: Plan) -> Section:
    return Section(
        title="What must arrive",
        columns=(Column("setting"), Column("requested"), Column("delivered if")),
        rows=tuple(
            (item.setting, item.requested, item.description)
            for item in planned.recording.expectations
        ),
        notes=("if anything of it does not arrive, the run ends with exit code 3",),
    )
