"""The booking sheet of a rehearsal: what the run on an NPU needs."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from harness.capture.run_record import RunRecord
from harness.report.booking import booking_sheet
from harness.report.results import RunResults
from harness.report.section import Command

RECORD = RunRecord(
    status="ok",
    verdict="delivered",
    exit_code=0,
    versions={"torch": "2.13.0", "torch_npu": "2.13.0"},
    host="here",
    device="npu",
    emulated=True,
    overrides=("device=npu", "rehearsal.emulate=true", "rehearsal=older_cann", "profiler=level1"),
    requested={
        "device.name": "npu",
        "workload.name": "mlp",
        "workload.warmup_steps": 2,
        "profiler.baseline.steps": 5,
        "rehearsal.emulate": True,
        "rehearsal.era": "block_dim",
    },
    effective={
        "profiler.record_shapes": True,
        "profiler.experimental.profiler_level": "Level1",
        "profiler.experimental.export_type": ["Text"],
        "profiler.experimental.l2_cache": False,
        "profiler.experimental.data_simplification": True,
    },
    recorded_steps=3,
)
ANALYSES = {
    "profiling_calls": pl.DataFrame(
        {"call": ["aclprofInit", "aclprofStart"], "arguments": ["", ""], "times": [1, 2]}
    ),
    "analysed_files": pl.DataFrame({"file": ["a.csv", "b.csv"], "captures": [2, 2]}),
}


def test_the_sheet_names_what_the_run_needs() -> None:
    part = booking_sheet(RunResults(record=RECORD, analyses=ANALYSES, folder="run"))
    assert part is not None
    assert part.rows == (
        ("devices", "1 NPU(s), and a CANN environment that is set (set_env.sh)"),
        ("versions", "torch 2.13.0, torch_npu 2.13.0, as here"),
        ("CANN", "rehearsed with tables as CANN wrote them before 2026 (Block Dim)"),
        ("settings for CANN", "profiler_level=Level1, export_type=[Text]"),
        ("steps", "2 to warm up, 5 unprofiled, 3 recorded"),
        ("profiling calls", "3 of ACL, listed above"),
        ("files", "2 in each of 2 folder(s), listed above"),
    )
    assert [note.line for note in part.notes if isinstance(note, Command)] == [
        "python -m harness doctor device=npu",
        "python -m harness device=npu profiler=level1",
    ]
    assert "not known from a rehearsal" in str(part.notes[0])


def test_a_job_of_ranks_without_figures_has_a_sheet_too() -> None:
    record = replace(RECORD, world_size=4, versions={})
    part = booking_sheet(RunResults(record=record, analyses={}, folder="run"))
    assert part is not None
    assert part.rows[:2] == (
        ("devices", "4 NPU(s), and a CANN environment that is set (set_env.sh)"),
        ("versions", "torch not known, torch_npu not known, as here"),
    )


@pytest.mark.parametrize(
    "other",
    [
        {"status": "failed"},
        {"requested": RECORD.requested | {"rehearsal.emulate": False}},
        {"requested": {}, "source": "trace.json"},
    ],
)
def test_only_a_rehearsal_that_ended_well_has_a_sheet(other: dict[str, Any]) -> None:
    record = replace(RECORD, **other)
    assert booking_sheet(RunResults(record=record, analyses=ANALYSES, folder="run")) is None
