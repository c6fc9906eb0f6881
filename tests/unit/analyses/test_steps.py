"""What a device does in a step, and when it does nothing; exact to the nanosecond."""

from __future__ import annotations

import polars as pl
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
        "launched_ns",
        "kernels",
    ]
    # Step 1: compute 1000-1130 and 1400-1450, communication 1120-1300.
    assert table.rows() == [
        (0, 0, 1, 600, 450, 180, 170, 10, 100, 350, 4),
        (0, 0, 2, None, 10, 10, 0, 0, 0, 10, 1),
    ]


ONE_STEP_BEHIND: Columns = {
    # Each step copies the data of the next at once; its own kernels wait for those before.
    "step": [1, 1, 2, 2, 3, 3],
    "rank": [0] * 6,
    "device": [0] * 6,
    "stream": [2, 1, 2, 1, 2, 1],
    "name": ["copy", "mm"] * 3,
    "start_ns": [0, 0, 10, 100, 110, 200],
    "duration_ns": [10, 100, 10, 100, 10, 95],
}


def test_device_that_runs_a_step_behind_is_not_idle() -> None:
    recorded = capture(kernels=ONE_STEP_BEHIND)
    table = steps.step_breakdown(recorded)
    assert table.select("step", "span_ns", "compute_ns", "idle_ns", "launched_ns").rows() == [
        (1, 100, 100, 0, 100),
        (2, 190, 190, 0, 110),
        (3, 185, 185, 0, 105),
    ]
    assert steps.device_gaps(recorded).is_empty()


def test_gap_in_the_spans_of_two_steps_is_a_gap_of_both() -> None:
    recorded = capture(
        kernels={
            "step": [1, 2, 1, 2],
            "rank": [0] * 4,
            "device": [0] * 4,
            "name": ["a", "b", "c", "d"],
            "start_ns": [0, 10, 50, 60],
            "duration_ns": [10, 10, 10, 10],
        }
    )
    assert steps.step_breakdown(recorded).select("step", "span_ns", "idle_ns").rows() == [
        (1, 60, 30),
        (2, 60, 30),
    ]
    gaps = steps.device_gaps(recorded)
    assert gaps.select("step", "start_ns", "duration_ns", "before", "after").rows() == [
        (1, 20, 30, "b", "c"),
        (2, 20, 30, "b", "c"),
    ]


def test_kernels_that_no_step_launched_have_a_row_and_keep_the_device_busy() -> None:
    recorded = capture(
        kernels={
            "step": [1, None, 1, None, None],
            "rank": [0] * 5,
            "device": [0] * 5,
            "name": ["a", "copy", "b", "late", "hcom_send__1_0_1"],
            "start_ns": [0, 8, 30, 500, 505],
            "duration_ns": [10, 12, 10, 10, 20],
        },
        steps={"step": [1], "rank": [0], "duration_ns": [70]},
    )
    # In step 1, only 20-30 is idle: the copy runs until then.
    assert steps.step_breakdown(recorded).rows() == [
        (0, 0, 1, 70, 40, 30, 0, 0, 10, 20, 2),
        (0, 0, None, None, None, 22, 15, 5, None, 37, 3),
    ]
    gaps = steps.device_gaps(recorded)
    assert gaps.select("step", "start_ns", "duration_ns", "before", "after").rows() == [
        (1, 20, 10, "copy", "b"),
    ]


def test_capture_without_steps_is_one_span() -> None:
    recorded = capture(
        kernels={
            "step": [None, None],
            "rank": [0] * 2,
            "device": [0] * 2,
            "name": ["a", "b"],
            "start_ns": [0, 30],
            "duration_ns": [10, 10],
        }
    )
    assert steps.step_breakdown(recorded).rows() == [
        (0, 0, None, None, 40, 20, 0, 0, 20, 20, 2),
    ]


def test_step_that_two_devices_ran_has_one_time_on_the_host() -> None:
    recorded = capture(
        steps={
            "step": [None, None, 1, 1, 2],
            "rank": [0] * 5,
            "phase": ["baseline", "baseline", "active", "active", "active"],
            "start_ns": [None, None, 10, 10, 40],
            "duration_ns": [5, 7, 20, 20, 40],
        }
    )
    times = steps.step_times(recorded)
    assert (times["baseline"].steps, times["baseline"].median_ns) == (2, 6)
    assert (times["active"].steps, times["active"].median_ns) == (2, 30)


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
        (0, 0, 1, None, 10, 10, 0, 0, 0, 10, 1),
        (0, 1, 1, None, 45, 10, 20, 0, 15, 30, 2),
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


Row = tuple[int | None, int, int, int, bool]
"""Of a kernel: step, device, start, duration, and whether it communicates."""


def _capture(rows: list[Row]) -> Capture:
    step, device, start, duration, moving = map(list, zip(*rows, strict=True))
    return capture(
        kernels={
            "step": step,
            "rank": [0] * len(rows),
            "device": device,
            "name": ["hcom_send__1_0_1" if moves else "mm" for moves in moving],
            "start_ns": start,
            "duration_ns": duration,
        }
    )


def _nanoseconds(rows: list[Row], *kinds: bool) -> set[int]:
    """Return every nanosecond under kernels of these kinds."""
    return {
        time
        for _, _, start, duration, moves in rows
        if moves in kinds
        for time in range(start, start + duration)
    }


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, None]),
            st.integers(0, 1),
            st.integers(0, 60),
            st.integers(0, 20),
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_times_are_those_of_counting_every_nanosecond(rows: list[Row]) -> None:
    recorded = _capture(rows)
    table = steps.step_breakdown(recorded)
    gaps = steps.device_gaps(recorded)
    without_steps = all(row[0] is None for row in rows)
    assert table["kernels"].sum() == len(rows)
    for row in table.iter_rows(named=True):
        device = [kernel for kernel in rows if kernel[1] == row["device"]]
        launched = [kernel for kernel in device if kernel[0] == row["step"]]
        start = min(kernel[2] for kernel in launched)
        end = max(kernel[2] + kernel[3] for kernel in launched)
        outside = row["step"] is None and not without_steps
        counted = launched if outside else device
        computing, moving = (
            {time for time in _nanoseconds(counted, kind) if start <= time < end}
            for kind in (False, True)
        )
        assert row["kernels"] == len(launched)
        assert row["launched_ns"] == len(_nanoseconds(launched, False, True))
        assert row["compute_ns"] == len(computing)
        assert row["communication_ns"] == len(moving - computing)
        assert row["overlapped_ns"] == len(moving & computing)
        assert row["span_ns"] == (None if outside else end - start)
        of_step = pl.col("step").eq_missing(row["step"]) & (pl.col("device") == row["device"])
        idle = gaps.filter(of_step)["duration_ns"].sum()
        assert row["idle_ns"] == (None if outside else end - start - len(computing | moving))
        assert idle == (row["idle_ns"] or 0)
