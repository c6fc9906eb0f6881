"""What a device does in a step, and when it does nothing; exact to the nanosecond."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analyses import steps
from harness.analyses.steps import LONGEST
from harness.capture.capture import Capture
from tests.support.captures import Columns, capture

KERNELS: Columns = {
    "step": [1, 1, 1, 1, 2],
    "rank": [0] * 5,
    "device": [0] * 5,
    "stream": [1, 2, 9, 1, 1],
    "name": ["mm", "relu", "hcom_allReduce__1_0_1", "add", "mm"],
    "core": ["AI_CORE", "AI_VECTOR_CORE", "HCCL", "AI_VECTOR_CORE", "AI_CORE"],
    "start_ns": [1000, 1050, 1120, 1400, 3000],
    "duration_ns": [100, 80, 180, 50, 10],
    "operator": [0, 0, None, 3, None],
}


def test_step_is_broken_down_by_what_its_device_did() -> None:
    table = steps.step_breakdown(
        capture(
            kernels=KERNELS,
            steps={"step": [None, 1], "rank": [0, 0], "duration_ns": [99, 600]},
        )
    )
    assert table.columns == [
        "rank",
        "device",
        "step",
        "wall_ns",
        "span_ns",
        "compute_ns",
        "communication_ns",
        "overlapped_ns",
        "idle_ns",
    ]
    # Step 1: compute 1000-1130 and 1400-1450, communication 1120-1300.
    assert table.rows() == [
        (0, 0, 1, 600, 450, 180, 170, 10, 100),
        (0, 0, 2, None, 10, 10, 0, 0, 0),
    ]


def test_devices_and_nccl_are_told_apart() -> None:
    table = steps.step_breakdown(
        capture(
            kernels={
                "step": [1, 1, 1],
                "rank": [0, 0, 0],
                "device": [0, 1, 1],
                "name": ["gemm", "ncclDevKernel_AllReduce", "gemm"],
                "start_ns": [0, 5, 40],
                "duration_ns": [10, 20, 10],
            }
        )
    )
    assert table.rows() == [
        (0, 0, 1, None, 10, 10, 0, 0, 0),
        (0, 1, 1, None, 45, 10, 20, 0, 15),
    ]


def test_gap_names_its_kernels_and_what_the_host_was_in() -> None:
    table = steps.device_gaps(
        capture(
            operators={
                "id": [0, 1, 2, 3],
                "rank": [0] * 4,
                "thread": [7, 7, 8, 7],
                "name": ["aten::mm", "Optimizer.step", "elsewhere", "aten::add"],
                "start_ns": [900, 1250, 1290, 1320],
                "duration_ns": [50, 200, 500, 60],
            },
            kernels=KERNELS,
        )
    )
    assert table.columns == [
        "rank",
        "device",
        "step",
        "start_ns",
        "duration_ns",
        "before",
        "after",
        "operator",
    ]
    # From the end of communication.
    assert table.rows() == [
        (0, 0, 1, 1300, 100, "hcom_allReduce__1_0_1", "add", "Optimizer.step"),
    ]


def test_innermost_operator_is_named_and_none_where_the_host_was_in_none() -> None:
    table = steps.device_gaps(
        capture(
            operators={
                "id": [0, 1, 2],
                "rank": [0] * 3,
                "thread": [7, 7, 7],
                "name": ["outer", "inner", "last"],
                "start_ns": [0, 5, 40],
                "duration_ns": [30, 10, 10],
            },
            kernels={
                "step": [1] * 4,
                "rank": [0] * 4,
                "device": [0] * 4,
                "name": ["a", "long", "within", "c"],
                "start_ns": [0, 20, 25, 50],
                "duration_ns": [10, 15, 2, 1],
                "operator": [0, 1, 1, 2],
            },
        )
    )
    # The kernel before a gap is the one that ended last, not the one that began last.
    assert table.select("start_ns", "duration_ns", "before", "operator").rows() == [
        (35, 15, "long", None),
        (10, 10, "a", "inner"),
    ]


def test_longest_gaps_of_each_device_are_kept() -> None:
    count = LONGEST + 3
    starts: list[object] = [place * 1000 + place * place for place in range(count)]
    same: list[object] = [1] * count
    kernels: Columns = {
        "step": same * 2,
        "rank": same * 2,
        "device": [*same, *([2] * count)],
        "name": [None] * (count * 2),
        "start_ns": starts * 2,
        "duration_ns": [100] * (count * 2),
    }
    table = steps.device_gaps(capture(kernels=kernels))
    assert table["device"].value_counts().sort("device").rows() == [(1, LONGEST), (2, LONGEST)]
    assert table["duration_ns"].max() == 900 + (count - 1) ** 2 - (count - 2) ** 2
    assert table["duration_ns"].min() == 900 + 9 - 4


def _capture(rows: list[tuple[int, int, int, bool]]) -> Capture:
    step, start, duration, moving = map(list, zip(*rows, strict=True))
    return capture(
        kernels={
            "step": step,
            "rank": [0] * len(rows),
            "device": [0] * len(rows),
            "name": ["hcom_send__1_0_1" if moves else "mm" for moves in moving],
            "start_ns": start,
            "duration_ns": duration,
        }
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(0, 60), st.integers(0, 20), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_times_are_those_of_counting_every_nanosecond(
    rows: list[tuple[int, int, int, bool]],
) -> None:
    recorded = _capture(rows)
    table = steps.step_breakdown(recorded)
    gaps = steps.device_gaps(recorded)
    for row in table.iter_rows(named=True):
        kernels = [kernel for kernel in rows if kernel[0] == row["step"]]
        computing, moving = (
            {
                time
                for _, start, duration, moves in kernels
                if moves is kind
                for time in range(start, start + duration)
            }
            for kind in (False, True)
        )
        assert row["compute_ns"] == len(computing)
        assert row["communication_ns"] == len(moving - computing)
        assert row["overlapped_ns"] == len(moving & computing)
        assert row["span_ns"] == row["compute_ns"] + row["communication_ns"] + row["idle_ns"]
        assert row["idle_ns"] == gaps.filter(step=row["step"])["duration_ns"].sum()
