"""What the step times of a sweep's jobs say, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.capture.run_record import RunRecord, Timing
from harness.capture.sweep_record import SweepJob
from harness.sweep.noise import remarks
from harness.tables.machine_load import PhaseLoad

Times = tuple[int, int, int]
"""Of the steps of a job: the least, the median, the most."""


def job(
    value: str, unprofiled: Times, profiled: Times = (90, 95, 99), batch: int | None = None
) -> Any:
    timing = {
        phase: Timing(steps=5, min_ns=least, median_ns=middle, max_ns=most)
        for phase, (least, middle, most) in (("baseline", unprofiled), ("active", profiled))
    }
    record = RunRecord(
        status="ok",
        verdict="delivered",
        exit_code=0,
        versions={},
        host="here",
        requested={} if batch is None else {"workload.batch": batch},
        timing=timing,
    )
    return SweepJob(folder=value, overrides=(), values={"workload.width": value}), record


def said(*jobs: Any, swept: str = "workload.width") -> list[str]:
    return list(remarks((swept,), jobs))


def test_jobs_whose_medians_lie_among_each_others_steps_are_not_told_apart() -> None:
    jobs = job("8", (10, 12, 14)), job("16", (13, 20, 22)), job("32", (12, 30, 40))
    assert said(*jobs) == ["best by unprofiled step: width=8; not told apart from it: width=32"]
    # Some of their steps take as long, and no median does.
    assert said(*jobs[:2]) == ["best by unprofiled step: width=8"]
    assert said(jobs[0]) == []


def test_of_batches_of_several_sizes_the_samples_count() -> None:
    small = job("8", (10, 12, 14), batch=4)
    large = job("16", (28, 30, 33), batch=16)
    assert said(small, large) == ["best by samples per second: width=16"]
    slow = job("16", (28, 44, 48), batch=16)
    assert said(small, slow) == [
        "best by samples per second: width=16; not told apart from it: width=8"
    ]


@pytest.mark.parametrize(
    "swept", ["seed", "profiler", "profiler.experimental.aic_metrics", "merge.match"]
)
def test_jobs_of_the_same_work_show_the_noise(swept: str) -> None:
    jobs = job("a", (10, 20, 30)), job("b", (40, 50, 60)), job("c", (10, 25, 30))
    (remark,) = said(*jobs, swept=swept)
    assert remark.startswith("all jobs do the same work: ")
    assert remark.endswith("steps differ by 150%, which is the noise of this machine")


def test_an_overhead_within_the_spread_of_the_steps_is_noise() -> None:
    jobs = job("8", (10, 12, 14), (11, 15, 16)), job("16", (20, 21, 22), (22, 24, 25))
    assert said(*jobs)[1:] == ["overhead within the noise of the steps: width=8"]


def test_nothing_is_said_of_invented_times() -> None:
    emulated = [(one, replace(record, emulated=True)) for one, record in (job("8", (1, 2, 3)),)]
    assert said(*emulated, *emulated) == []
    untimed = [(one, None) for one, _ in (job("8", (1, 2, 3)),)]
    assert said(*untimed) == []


def test_jobs_on_a_busy_machine_are_named() -> None:
    load = PhaseLoad(
        phase="baseline", duration_ns=10**9, cores=2, running=1.0, waiting=1.0, other_cores=1.5
    )
    (place, record) = job("64", (90, 100, 110))
    busy = (place, replace(record, machine_load=(load,)))
    (note,) = [text for text in said(busy, job("128", (90, 100, 110))) if "busy" in text]
    assert "64" in note
    assert "128" not in note
    assert not [text for text in said(job("64", (90, 100, 110))) if "busy" in text]
