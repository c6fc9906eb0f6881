"""What ``harness check`` shows: requested, effective, and the evidence that will be demanded."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.execution.plan import plan, requested
from harness.execution.protocol import Plan
from harness.report.section import Section
from harness.report.terminal import show
from harness.settings.request import Request
from harness.settings.schema import show as typed

_OURS = ("profiler.baseline", "profiler.analyse")
"""Settings below `profiler` that no profiler gets."""


def check(request: Request, console: Console) -> None:
    """Print what a valid request would do; touches no device and leaves no folder."""
    planned = plan(request, Path("unused"))
    show([_settings(request, planned), _steps(planned), _evidence(planned)], console)


def _settings(request: Request, planned: Plan) -> Section:
    asked = requested(request)
    rows = []
    for path in sorted(set(asked) | set(planned.effective)):
        if path.startswith("profiler.") and not path.startswith(_OURS):
            before = typed(asked[path]) if path in asked else "–"
            after = typed(planned.effective[path]) if path in planned.effective else "–"
            rows.append((path, before, after if after != before else "same"))
    environment = " ".join(f"{name}={value}" for name, value in planned.environment.items())
    return Section(
        title=f"{asked['workload.name']} on {request.device.name}: profiler settings",
        columns=("setting", "requested", "effective"),
        rows=tuple(rows),
        notes=(f"set before torch loads: {environment}",),
    )


def _steps(planned: Plan) -> Section:
    request = planned.request
    return Section(
        title="Steps",
        columns=("phase", ">steps"),
        rows=(
            ("warm-up, untimed", str(request.workload.warmup_steps)),
            ("baseline, without profiler", str(request.profiler.baseline.steps)),
            ("under the profiler", str(planned.steps)),
            ("of these recorded", str(len(planned.recorded))),
        ),
        notes=(f"recorded: {', '.join(map(str, planned.recorded))} (counted from 0)",),
    )


def _evidence(planned: Plan) -> Section:
    return Section(
        title="Evidence that will be demanded",
        columns=("setting", "asked", "delivered if"),
        rows=tuple(
            (item.setting, item.requested, item.description) for item in planned.expectations
        ),
        notes=("a demand that is not met ends the run in exit code 3",),
    )
