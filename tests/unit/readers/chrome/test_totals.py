"""The totals of a CUDA trace, against a script of ten lines that knows nothing of the readers."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.pipeline.reading import read_capture
from tests.support.chrome_traces import event, kernel, launch

START = 1_661_203_462_584_767


def totals(path: Path) -> dict[str, tuple[int, int]]:
    """Count the events of a trace by category, and add up their nanoseconds; from its JSON."""
    by_category: dict[str, tuple[int, int]] = {}
    events = json.loads(path.read_bytes(), parse_float=Decimal)["traceEvents"]
    for record in events:
        if record.get("ph") == "X":
            count, time = by_category.get(record["cat"], (0, 0))
            by_category[record["cat"]] = count + 1, time + int(Decimal(record["dur"]) * 1000)
    launches = {e["args"]["correlation"] for e in events if e.get("cat") == "cuda_runtime"}
    linked = [e for e in events if e.get("cat") in {"kernel", "gpu_memcpy", "gpu_memset"}]
    linked = [kernel for kernel in linked if kernel["args"]["correlation"] in launches]
    return {
        **by_category,
        "linked": (len(linked), int(sum(kernel["dur"] * 1000 for kernel in linked))),
    }


def training(steps: int) -> list[dict[str, Any]]:
    """Steps of two operators in each other, with a kernel each, a copy and a collective."""
    events: list[dict[str, Any]] = []
    for step in range(steps):
        at, number = START + step * 1_000, step * 4
        events += [
            event("user_annotation", f"ProfilerStep#{step + 7}", at, 900.125),
            event("cpu_op", "aten::linear", at + 10.5, 100.001, args={"External id": number + 1}),
            event("cpu_op", "aten::addmm", at + 20.25, 50.5, args={"External id": number + 2}),
            event("cpu_op", "aten::copy_", at + 200, 30.333, args={"External id": number + 3}),
            *(launch(number + i, at + ts) for i, ts in ((1, 12), (2, 30), (3, 205), (4, 500))),
            kernel(number + 1, at + 60) | {"dur": 33.007},
            kernel(number + 2, at + 110) | {"dur": 12.5},
            kernel(number + 3, at + 300) | {"cat": "gpu_memcpy", "name": "Memcpy HtoD"},
            kernel(number + 4, at + 600) | {"name": "ncclKernel_AllReduce", "dur": 250.75},
        ]
    return events


@pytest.mark.parametrize("steps", [1, 6])
def test_tables_have_what_the_trace_has(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": training(steps)}))
    info = totals(path)
    record = read_capture(path, tmp_path / "out").record
    tables = {
        name: pl.read_parquet(tmp_path / "out" / "tables" / f"{name}.parquet")
        for name in ("operators", "kernels", "communication")
    }
    operators, kernels = tables["operators"], tables["kernels"]
    assert (operators.height, operators["duration_ns"].sum()) == info["cpu_op"]
    for kind in ("kernel", "gpu_memcpy"):
        rows = kernels.filter(pl.col("type") == kind)
        assert (rows.height, rows["duration_ns"].sum()) == info[kind]
    assert tables["communication"]["duration_ns"].sum() == steps * 250_750
    linked = record.linked
    assert linked is not None
    # The collective has a call of the driver's, and no operator around it.
    assert info["linked"] == (linked.kernels, linked.time_ns) == (4 * steps, steps * 306_257)
    assert (linked.linked, linked.linked_ns) == (3 * steps, steps * 55_507)
