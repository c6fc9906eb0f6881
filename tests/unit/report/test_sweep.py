"""The table of a sweep's jobs marks what is not to be trusted, and what is an earlier sweep's."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from harness.capture.run_record import RunRecord
from harness.capture.sweep_record import SweepJob
from harness.report.sweep import sections
from harness.tables.machine_load import PhaseLoad

DONE = RunRecord(
    status="ok", verdict="delivered", exit_code=0, versions={}, host="here", requested={}
)
LOADED = PhaseLoad(
    phase="baseline",
    duration_ns=10**9,
    cores=2,
    core_limit=None,
    running=0.5,
    waiting=0.5,
)


def test_a_job_that_ran_on_a_busy_machine_is_marked(tmp_path: Path) -> None:
    busy = replace(DONE, machine_load=(LOADED,))
    records = {
        "1": DONE,
        "2": busy,
        "3": busy,
        "4": replace(busy, emulated=True),
        "5": replace(busy, verdict="not_delivered", exit_code=3),
        "6": None,
    }
    jobs = [
        (
            SweepJob(
                folder=seed,
                overrides=(f"seed={seed}",),
                values={"seed": seed},
                exit_code=record.exit_code if record else None,
            ),
            record,
        )
        for seed, record in records.items()
    ]
    (table,) = sections(["seed"], jobs, [seed == "3" for seed in records], tmp_path)
    assert {str(row[0]): row[-1] for row in table.rows} == {
        "1": "delivered",
        "2": "delivered, busy machine",
        "3": "delivered, busy machine (kept)",
        # Its times are invented, whatever else runs.
        "4": "delivered",
        "5": "not delivered, busy machine",
        "6": "no result",
    }
