"""Half-written files of a run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.capture.collect import collect
from harness.compose.composition import compose_jobs
from harness.execution.plan import plan
from harness.execution.protocol import Outcome, StepTime


def test_half_a_line_of_step_times_is_left_out(tmp_path: Path) -> None:
    time = StepTime(phase="baseline", step=None, start_ns=5, duration_ns=7)
    line = msgspec.json.encode(time) + b"\n"
    (tmp_path / "steps.jsonl").write_bytes(line + line[:20])
    (job,) = compose_jobs([]).jobs
    assert job.request is not None
    planned = plan(job.request, tmp_path)
    read = collect(planned, Outcome(status="failed"))
    assert read.tables["steps"].select("phase", "duration_ns").rows() == [("baseline", 7)]
    assert read.tables["operators"].is_empty()
