"""Run folders to compare, written by hand: step times, operators, what was requested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from harness.capture.run_record import RunRecord, Timing
from tests.support.run_folders import run_folder

STEPS = 2


def record(step_ms: float | None = 10.0, **fields: Any) -> RunRecord:
    """Return the record of a run whose unprofiled steps took so long."""
    timing = {}
    if step_ms is not None:
        step = round(step_ms * 1e6)
        timing = {"baseline": Timing(steps=5, median_ns=step, min_ns=step, max_ns=step)}
    base = RunRecord(
        status="ok",
        verdict="delivered",
        exit_code=0,
        versions={"harness": "0.1.0", "torch": "2.13.0"},
        host="here",
        device="cpu",
        device_name="CPU",
        requested={"workload.name": "mlp", "workload.batch": 8, "seed": 0},
        timing=timing,
    )
    return replace(base, **fields)


def compared_run(
    folder: Path,
    step_ms: float | None = 10.0,
    operators: Sequence[tuple[str, list[list[int]], str, int]] = (
        ("aten::mm", [[4, 8]], "float", 1_000_000),
    ),
    *,
    began_ns: int = 1,
    memory: Sequence[int] = (),
    **fields: Any,
) -> Path:
    """Write a run of two recorded steps; `operators` are those of each: name, shapes, dtype, ns."""
    rows = [(step, *row) for step in range(STEPS) for row in operators]
    columns: Mapping[str, list[object]] = {
        "id": list(range(len(rows))),
        "step": [row[0] for row in rows],
        "name": [row[1] for row in rows],
        "input_shapes": [row[2] for row in rows],
        "input_dtypes": [[row[3]] * len(row[2]) for row in rows],
        "self_ns": [row[4] for row in rows],
        "start_ns": list(range(len(rows))),
        "duration_ns": [row[4] for row in rows],
    }
    steps: Mapping[str, list[object]] = {
        "step": list(range(STEPS)),
        "phase": ["active"] * STEPS,
        "start_ns": [began_ns + number for number in range(STEPS)],
        "duration_ns": [20_000_000] * STEPS,
    }
    allocated: Mapping[str, list[object]] = {
        "device": ["cpu"] * len(memory),
        "time_ns": list(range(len(memory))),
        "total_allocated": list(memory),
        "operator": [0] * len(memory),
    }
    run_folder(folder, record(step_ms, **fields), operators=columns, steps=steps, memory=allocated)
    return folder


def side(folder: Path, step_ms: Sequence[float], **options: Any) -> list[Path]:
    """Write one run for each of the step times."""
    return [
        compared_run(folder / f"run-{number}", step, **options)
        for number, step in enumerate(step_ms)
    ]
