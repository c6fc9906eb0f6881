"""What ``harness check`` shows: requested, effective, and the evidence that will be demanded."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.execution.plan import plan, requested
from harness.execution.protocol import Plan
from harness.report.section import Column, Section
from harness.report.terminal import show
from harness.settings.changes import Changes
from harness.settings.marks import mark_of
from harness.settings.request import Request
from harness.settings.schema import show as typed


def check(request: Request, console: Console) -> None:
    """Print what a valid request would do; touches no device and leaves no folder."""
    planned = plan(request, Path("unused"))
    show([_settings(request, planned), _steps(planned), _evidence(planned)], console)


def _settings(request: Request, planned: Plan) -> Section:
    asked = requested(request)
    rows = []
    effective = planned.recording.effective
    for path in sorted(set(asked) | set(effective)):
        if mark_of(path) is Changes.RECORDED:
            before = typed(asked[path]) if path in asked else "–"
            after = typed(effective[path]) if path in effective else "–"
            rows.append((path, before, after if after != before else "same"))
    environment = " ".join(
        f"{name}={value}" for name, value in planned.recording.environment.items()
    )
    return Section(
        title=f"{asked['workload.name']} on {request.device.name}: profiler settings",
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
            ("baseline, without profiler", loop.baseline_steps),
            ("under the profiler", loop.steps),
            ("of these recorded", len(recorded)),
        ),
        notes=(f"recorded: {', '.join(map(str, recorded))} (counted from 0)",),
    )


def _evidence(planned: Plan) -> Section:
    return Section(
        title="Evidence that will be demanded",
        columns=(Column("setting"), Column("requested"), Column("delivered if")),
        rows=tuple(
            (item.setting, item.requested, item.description)
            for item in planned.recording.expectations
        ),
        notes=("a demand that is not met ends the run in exit code 3",),
    )
