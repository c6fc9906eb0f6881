"""What a contradiction does to a run's verdict and summary."""

from __future__ import annotations

import pytest

from harness.capture.run_record import Consistency, Delivery, RunRecord
from harness.pipeline.results import ended_record
from harness.report.run import sections
from harness.report.section import Command
from tests.support.captures import capture

DELIVERED = Delivery(
    setting="profiler.activities",
    requested="[host]",
    arrived="4",
    status="delivered",
    expectation="rows",
)
HOLDS = Consistency(name="ratios of pipes", status="holds", difference=0.0)
BROKEN = Consistency(
    name="op_statistic.csv",
    status="broken",
    expected="2 kernels",
    actual="1 kernels",
    difference=0.5,
    reason="Relu: 2 and 1",
)
RECORD = RunRecord(
    status="running",
    verdict="pending",
    exit_code=None,
    versions={},
    host="here",
    requested={
        "device.name": "cpu",
        "workload.name": "mlp",
        "rehearsal.emulate": False,
        "profiler.with_stack": True,
        "profiler.profile_memory": True,
    },
)


@pytest.mark.parametrize(
    ("found", "code", "verdict"),
    [((HOLDS,), 0, "delivered"), ((HOLDS, BROKEN), 3, "not_delivered")],
)
def test_a_contradiction_ends_in_exit_3(
    found: tuple[Consistency, ...], code: int, verdict: str
) -> None:
    record = ended_record(RECORD, capture(), (DELIVERED,), found)
    assert (record.exit_code, record.verdict) == (code, verdict)
    assert record.consistency == found


def test_summary_names_what_is_broken_and_counts_the_rest() -> None:
    from harness.analyses.registry import run_analyses

    empty = run_analyses(capture())
    good = ended_record(RECORD, capture(), (DELIVERED,), (HOLDS,))
    shown = {part.title: part for part in sections(good, empty, "run")}
    assert "Consistency: contradictions within the capture" not in shown
    delivery = "Delivery: what was requested, what arrived"
    assert shown[delivery].notes == ("1 consistency checks hold, 0 not applicable",)

    bad = ended_record(RECORD, capture(), (DELIVERED,), (HOLDS, BROKEN))
    shown = {part.title: part for part in sections(bad, empty, "run")}
    part = shown["Consistency: contradictions within the capture"]
    assert part.rows == (("broken", "op_statistic.csv", "2 kernels", "1 kernels"),)
    assert part.notes == (
        "op_statistic.csv: Relu: 2 and 1",
        "1 consistency checks hold, 0 not applicable",
    )
    assert shown[delivery].notes == ()
    proposed = Command(purpose="next, read the capture again", line="python -m harness read run")
    assert shown["Files"].notes[-1] == proposed
