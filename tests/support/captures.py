"""Small captures written by hand, for exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness import tables
from harness.capture.capture import Capture
from harness.configuration.composition import compose_jobs
from harness.execution.plan import plan
from harness.execution.protocol import Outcome
from harness.settings.expectations import ExpectedSettings

Columns = Mapping[str, list[object]]


@cache
def _asked(settings: tuple[str, ...], folder: Path) -> ExpectedSettings:
    (job,) = compose_jobs(settings).jobs
    assert job.request is not None, job.problems
    return plan(job.request, folder).recording.expected


def capture(
    *settings: str,
    folder: Path = Path("nowhere"),
    stages: tuple[str, ...] = (),
    raw: tuple[str, ...] = (),
    **columns: Columns,
) -> Capture:
    """Return a capture of the settings, with the given columns of its tables; others are empty."""
    return Capture(
        folder=folder,
        expected=_asked(settings, folder),
        outcome=Outcome(status="ok", stages=stages),
        tables={name: tables.frame(name, columns.get(name, {})) for name in tables.SCHEMAS},
        raw=raw,
    )
