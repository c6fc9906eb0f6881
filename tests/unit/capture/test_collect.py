"""Half-written files of a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl

from harness.capture.collect import collect
from harness.execution.protocol import Outcome, StepTime
from harness.paths import RunFolder


def test_half_a_line_of_step_times_is_left_out(tmp_path: Path) -> None:
    time = StepTime(phase="baseline", step=None, start_ns=5, duration_ns=7)
    line = msgspec.json.encode(time) + b"\n"
    (tmp_path / "steps.jsonl").write_bytes(line + line[:20])
    run = RunFolder(tmp_path)
    collect(run, Outcome(status="failed"), rank=0)
    steps = pl.read_parquet(run.table("steps"))
    assert steps.select("phase", "duration_ns").rows() == [("baseline", 7)]
    assert pl.read_parquet(run.table("operators")).is_empty()
