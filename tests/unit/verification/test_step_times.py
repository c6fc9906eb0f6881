"""The times of steps in analysis.db, the table steps and step_breakdown: three that must agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analyses.steps import step_breakdown
from harness.capture.capture import Capture
from harness.capture.run_record import Consistency
from tests.support.captures import capture
from tests.support.consistent_captures import judged


class Kernel(NamedTuple):
    step: int | None
    start: int
    duration: int
    moves: bool = False


class Reported(NamedTuple):
    """A row of StepTraceTime, in ns."""

    step: int | None
    compute: int
    communication: int
    overlapped: int
    free: int


KERNELS = [
    Kernel(3, 100_000, 100_000),
    Kernel(3, 150_000, 600_000, moves=True),
    Kernel(3, 800_000, 100_000),
    Kernel(4, 1_000_000, 30_000),
]
REPORTED = [Reported(3, 200_000, 600_000, 50_000, 50_000), Reported(4, 30_000, 0, 0, 0)]


def taken(root: Path, kernels: Sequence[Kernel], reported: Sequence[Reported]) -> Capture:
    output = root / "raw" / "host_1_20250101000000000_ascend_pt" / "ASCEND_PROFILER_OUTPUT"
    output.mkdir(parents=True, exist_ok=True)
    (output / "analysis.db").touch()
    names = ("compute_ns", "communication_ns", "overlapped_ns", "idle_ns")
    times = zip(*(row[1:] for row in reported), strict=True)
    return capture(
        *("device=npu", "profiler=level1"),
        folder=root,
        kernels={
            "step": [kernel.step for kernel in kernels],
            "rank": [0] * len(kernels),
            "device": [0] * len(kernels),
            "name": ["hcom_send__1_0_1" if kernel.moves else "mm" for kernel in kernels],
            "start_ns": [kernel.start for kernel in kernels],
            "duration_ns": [kernel.duration for kernel in kernels],
        },
        steps={
            "step": [row.step for row in reported],
            "rank": [0] * len(reported),
            **{name: list(values) for name, values in zip(names, times, strict=False)},
        },
    )


def check(recorded: Capture) -> Consistency:
    return judged(recorded)["step times in analysis.db"]


def test_all_times_of_all_steps_are_compared(tmp_path: Path) -> None:
    result = check(taken(tmp_path, KERNELS, REPORTED))
    assert (result.status, result.expected, result.actual, result.difference) == (
        *("holds", "8 times of 2 steps", "8 equal", 0),
    )


def test_time_that_the_kernels_do_not_have_is_named(tmp_path: Path) -> None:
    wrong = [REPORTED[0]._replace(free=930_000), REPORTED[1]]
    result = check(taken(tmp_path, KERNELS, wrong))
    assert (result.status, result.actual) == ("broken", "7 equal")
    assert result.reason == (
        "step 3: Free is 930,000 ns in analysis.db, and 50,000 ns by the kernels"
    )
    assert result.files == ("analysis.db",)


def test_kernels_that_are_missing_are_noticed(tmp_path: Path) -> None:
    result = check(taken(tmp_path, KERNELS[:-1], REPORTED))
    assert result.reason == (
        "step 4: Computing is 30,000 ns in analysis.db, and 0 ns by the kernels"
    )


@pytest.mark.parametrize(
    "kernel", [Kernel(4, 850_000, 100_000), Kernel(None, 910_000, 10_000), Kernel(None, 0, 5_000)]
)
def test_kernels_that_torch_npu_counts_elsewhere_are_no_contradiction(
    tmp_path: Path, kernel: Kernel
) -> None:
    result = check(taken(tmp_path, [*KERNELS, kernel], [*REPORTED[:1], Reported(4, 1, 0, 0, 0)]))
    assert result.status == "does_not_apply"
    assert result.reason.startswith("steps overlap on the device, or no step launched some kernels")


def test_capture_without_steps_is_compared_as_a_whole(tmp_path: Path) -> None:
    kernels = [kernel._replace(step=None) for kernel in KERNELS]
    whole = Reported(None, 230_000, 600_000, 50_000, 150_000)
    assert check(taken(tmp_path, kernels, [whole])).status == "holds"


def test_step_times_of_the_csv_are_not_taken_for_those_of_the_database(tmp_path: Path) -> None:
    recorded = taken(tmp_path, KERNELS, REPORTED)
    folder = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    (folder / "step_trace_time.csv").write_text("Step\n")
    result = check(recorded)
    assert result.status == "does_not_apply"
    assert result.reason == "the times of steps were read from step_trace_time.csv"
    (folder / "analysis.db").unlink()
    assert check(recorded).reason == "there is no analysis.db"


def test_database_without_a_step_of_the_workload_is_not_compared(tmp_path: Path) -> None:
    unknown = [REPORTED[0]._replace(step=None)]
    reason = check(taken(tmp_path, KERNELS, unknown)).reason
    assert reason == "StepTraceTime in analysis.db has no step of the workload"


def of_torch_npu(kernels: Sequence[Kernel], step: int, host_end: int) -> Reported:
    """Return a row of StepTraceTime: of kernels that start within the step's device time."""
    launched = [kernel for kernel in kernels if kernel.step == step]
    first = min(kernel.start for kernel in launched)
    last = max(host_end, *(kernel.start + kernel.duration for kernel in launched))
    inside = [kernel for kernel in kernels if first <= kernel.start < last]
    computing, moving = (
        {
            time
            for kernel in inside
            if kernel.moves is kind
            for time in range(kernel.start, kernel.start + kernel.duration)
        }
        for kind in (False, True)
    )
    busy = computing | moving
    end = max(kernel.start + kernel.duration for kernel in inside)
    free = end - min(kernel.start for kernel in inside) - len(busy)
    return Reported(step, len(computing), len(moving), len(computing & moving), free)


STEP = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20), st.booleans()), min_size=1, max_size=6
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, min_size=1, max_size=4), st.integers(0, 30))
def test_the_three_agree_where_the_host_waits_for_its_device(
    tmp_path: Path, launches: list[list[tuple[int, int, bool]]], wait: int
) -> None:
    kernels: list[Kernel] = []
    reported: list[Reported] = []
    now = 0
    for step, rows in enumerate(launches):
        kernels += [Kernel(step, now + at, length, moves) for at, length, moves in rows]
        now = max(kernel.start + kernel.duration for kernel in kernels) + wait
        reported.append(of_torch_npu(kernels, step, host_end=now))
    recorded = taken(tmp_path, kernels, reported)
    breakdown = step_breakdown(recorded)
    columns = ("step", "compute_ns", "moving_ns", "overlapped_ns", "idle_ns")
    moving = (breakdown["communication_ns"] + breakdown["overlapped_ns"]).alias("moving_ns")
    assert breakdown.with_columns(moving).select(columns).rows() == [tuple(r) for r in reported]
    assert check(recorded).difference == 0
