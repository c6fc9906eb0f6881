"""Which command is proposed after a run."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.capture.run_record import Consistency, Delivery, RunRecord
from harness.report.next_step import next_command
from harness.tables.event_counts import EventCounts

REQUESTED = {
    "rehearsal.emulate": False,
    "profiler.with_stack": True,
    "profiler.profile_memory": True,
}
DONE = RunRecord(
    status="ok",
    verdict="delivered",
    exit_code=0,
    versions={},
    host="here",
    overrides=("profiler=level1", "workload=mlp"),
    requested=REQUESTED,
)
REHEARSED = replace(
    DONE,
    overrides=("device=npu", "rehearsal.emulate=true", "profiler=level1", "workload=mlp"),
    requested=REQUESTED | {"rehearsal.emulate": True},
)
EVENTS = {"cpu_op": EventCounts(seen=1, rows=1, marks=0, hidden=0)}
LOST = Delivery(setting="a", requested="b", arrived="", status="missing", expectation="c")
BROKEN = Consistency(name="a", status="broken")


@pytest.mark.parametrize(
    ("record", "changes", "line"),
    [
        (
            DONE,
            {"source": "t.json", "device": "cuda"},
            "device=cuda profiler=level1 workload=callable workload.target=MODULE:FACTORY",
        ),
        (DONE, {"verdict": "pending"}, "read 'a folder'"),
        (DONE, {"analysis": "it was killed"}, "read 'a folder'"),
        (DONE, {"status": "failed"}, "workload=mlp execution=inline"),
        (DONE, {"status": "failed", "event_counts": EVENTS}, "workload=mlp profiler=level0"),
        (REHEARSED, {"status": "failed"}, "rehearse workload=mlp profiler=level0"),
        (DONE, {"delivery": (LOST,)}, "check profiler=level1 workload=mlp"),
        (REHEARSED, {"delivery": (LOST,)}, "check device=npu profiler=level1 workload=mlp"),
        (
            REHEARSED,
            {
                "delivery": (LOST,),
                "overrides": (*REHEARSED.overrides, "rehearsal.faults.dropped_kernels=3"),
            },
            "check device=npu profiler=level1 workload=mlp",
        ),
        (DONE, {"consistency": (BROKEN,)}, "read 'a folder'"),
        (
            DONE,
            {"requested": REQUESTED | {"profiler.with_stack": False}},
            "workload=mlp profiler=stacks",
        ),
        (
            DONE,
            {"requested": REQUESTED | {"profiler.profile_memory": False}},
            "workload=mlp profiler=memory",
        ),
        (DONE, {}, "workload=mlp profiler=level0"),
        (REHEARSED, {}, "rehearse workload=mlp profiler=level0"),
    ],
)
def test_next_command(record: RunRecord, changes: dict[str, Any], line: str) -> None:
    command = next_command(replace(record, **changes), "a folder")
    assert command.line == f"python -m harness {line}"
    assert command.purpose.startswith("next, ")
