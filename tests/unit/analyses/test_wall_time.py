"""Where the wall time goes: exact to the nanosecond, and all of it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analyses import wall_time
from harness.analyses.memory import memory_peaks
from harness.analyses.origins import FORWARD, SEQUENCE
from harness.analyses.pieces import PARTS, pieces
from harness.capture.capture import Capture
from tests.support.captures import Columns, capture

LOADS = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def one_step(duration: int = 100, **more: list[object]) -> Columns:
    return {
        "step": [0],
        "rank": [0],
        "phase": ["active"],
        "start_ns": [1000],
        "duration_ns": [duration],
        **more,
    }


def operators(*rows: tuple[str, int, int], **more: list[object]) -> Columns:
    """Make operators of step 0 from name, start (from the step's) and duration."""
    count = len(rows)
    columns: dict[str, Any] = {
        "id": list(range(count)),
        "step": [0] * count,
        "rank": [0] * count,
        "thread": [1] * count,
        "name": [name for name, _, _ in rows],
        "start_ns": [1000 + start for _, start, _ in rows],
        "duration_ns": [duration for _, _, duration in rows],
    }
    return columns | more


def kernels(*rows: tuple[str, str, int, int, int | None]) -> Columns:
    count = len(rows)
    return {
        "step": [0] * count,
        "rank": [0] * count,
        "device": [0] * count,
        "stream": [7] * count,
        "name": [row[0] for row in rows],
        "type": [row[1] for row in rows],
        "start_ns": [1000 + row[2] for row in rows],
        "duration_ns": [row[3] for row in rows],
        "operator": [row[4] for row in rows],
    }


def parts(of: Capture) -> dict[str, int]:
    table = wall_time.wall_time(of, pieces(of))
    return dict(table.group_by("part", maintain_order=True).agg(pl.col("duration_ns").sum()).rows())


def test_host_is_in_operators_or_between_them() -> None:
    of = capture(steps=one_step(), operators=operators(("aten::mm", 10, 30), ("aten::add", 20, 5)))
    assert parts(of) == {"operators": 30, "python": 70}


def test_device_comes_first_then_loading_then_operators() -> None:
    of = capture(
        steps=one_step(wait_ns=[10]),
        operators=operators((LOADS, 0, 20), ("aten::full", 5, 5), ("aten::mm", 30, 20)),
        kernels=kernels(
            ("gemm", "kernel", 15, 20, 2),
            ("ncclDevKernel_AllReduce", "kernel", 30, 15, None),
            ("Memcpy HtoD", "gpu_memcpy", 40, 15, None),
            ("Memcpy DtoH", "gpu_memcpy", 92, 3, None),
        ),
    )
    # compute 15-35, communication 35-45, copies 45-55 and 92-95; of the rest, loading 0-15,
    # operators none (30-50 is under the device), idle 90-92 and 95-100, python 55-90.
    assert parts(of) == {
        "compute": 20,
        "communication": 10,
        "copies": 13,
        "data loading": 15,
        "idle": 7,
        "python": 35,
    }


def test_host_that_moves_data_communicates_unless_an_operator_runs() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(("aten::mm", 10, 30)),
        communication={
            "step": [0],
            "rank": [0],
            "name": ["gloo:all_reduce"],
            "start_ns": [1030],
            "duration_ns": [40],
        },
    )
    assert parts(of) == {"communication": 30, "operators": 30, "python": 40}


def test_nothing_is_called_python_where_no_operator_was_recorded() -> None:
    of = capture(steps=one_step(), kernels=kernels(("gemm", "kernel", 10, 20, None)))
    assert parts(of) == {"compute": 20, "not recorded": 80}


def test_a_range_that_python_opens_is_no_operator() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(("Optimizer.step#SGD.step", 10, 60), ("aten::add_", 20, 5)),
    )
    assert parts(of) == {"operators": 5, "python": 95}
    table = wall_time.wall_time_operators(of, pieces(of))
    assert table.select("part", "operator", "duration_ns").rows() == [
        ("python", "Optimizer.step#SGD.step", 55),
        ("python", None, 40),
        ("operators", "aten::add_", 5),
    ]


def test_a_kernel_counts_for_the_operator_that_launched_it() -> None:
    shapes: list[object] = [[[2, 3]], [[4]]]
    of = capture(
        steps=one_step(),
        operators=operators(("aten::mm", 0, 5), ("aten::add", 10, 30), input_shapes=shapes),
        kernels=kernels(("gemm", "kernel", 15, 40, 0)),
    )
    table = wall_time.wall_time_operators(of, pieces(of))
    assert table.rows() == [
        ("python", None, None, 50, 0.5),
        ("compute", "aten::mm", [[2, 3]], 40, 0.4),
        ("operators", "aten::mm", [[2, 3]], 5, 0.05),
        ("operators", "aten::add", [[4]], 5, 0.05),
    ]


def links(numbers: list[object], forward_threads: list[object]) -> dict[str, list[object]]:
    return {SEQUENCE: numbers, FORWARD: forward_threads}


TRAINING = operators(
    ("aten::linear", 10, 20),
    ("autograd::engine::evaluate_function: AddmmBackward0", 40, 20),
    ("aten::mm", 45, 10),
    ("Optimizer.step#SGD.step", 70, 20),
    ("aten::add_", 75, 5),
    thread=[1, 2, 2, 1, 1],
    stack_id=[100, None, None, 101, 101],
    **links([7, 7, None, None, None], [None, 1, None, None, None]),
)
STACKS: Columns = {
    "stack_id": [100, 101],
    "frames": [
        ["nn.Module: Linear_0", "net.py(3): forward", "nn.Module: Net_0", "train.py(1): step"],
        ["train.py(1): step"],
    ],
}
LINES: Columns = {
    "rank": [0] * 4,
    "start_ns": [1000, 1005, 1035, 1065],
    "duration_ns": [5, 30, 30, 25],
    "file": ["train.py", "net.py", "train.py", "train.py"],
    "line": [2, 4, 3, 4],
    "function": ["step", "forward", "step", "step"],
    "text": ["loss = net(x)", "return self.last(x)", "loss.backward()", "optimizer.step()"],
}


def test_backward_counts_for_the_line_of_forward() -> None:
    of = capture(steps=one_step(), operators=TRAINING, lines=LINES)
    table = wall_time.wall_time_lines(of, pieces(of))
    assert table.select("stage", "file", "line", "duration_ns", "python_ns").rows() == [
        ("forward", "net.py", 4, 25, 5),
        ("backward", "net.py", 4, 25, 5),
        ("optimizer", "train.py", 4, 25, 20),
        ("optimizer", None, None, 10, 10),
        ("forward", "train.py", 2, 5, 5),
        ("backward", "train.py", 3, 5, 5),
        ("optimizer", "train.py", 3, 5, 5),
    ]
    assert table["share"].sum() == pytest.approx(1)


def test_backward_counts_for_the_module_of_forward() -> None:
    of = capture(steps=one_step(), operators=TRAINING, stacks=STACKS)
    table = wall_time.wall_time_modules(of, pieces(of))
    # Linear: its operator 10-30, its backward 40-60, and Python between the two.
    assert table.select("module", "duration_ns", "operators_ns", "python_ns").rows() == [
        ("(outside modules)", 50, 5, 45),
        ("Linear_0", 50, 40, 10),
    ]


def test_in_a_range_of_pythons_the_line_that_runs_counts() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(("Optimizer.step#Own.step", 0, 100), ("aten::add_", 90, 10)),
        lines={**LINES, "start_ns": [1000, 1010, 1050, 1090], "duration_ns": [10, 40, 40, 10]},
    )
    table = wall_time.wall_time_lines(of, pieces(of))
    assert set(table.select("file", "line", "duration_ns", "operators_ns").rows()) == {
        ("train.py", 2, 10, 0),
        ("net.py", 4, 40, 0),
        ("train.py", 3, 40, 0),
        ("train.py", 4, 10, 10),
    }


def test_of_operators_with_one_number_the_last_made_the_function_of_backward() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(
            ("aten::detach", 0, 5),
            ("aten::mul", 10, 5),
            ("autograd::engine::evaluate_function: MulBackward0", 40, 20),
            **links([7, 7, 7], [None, None, 1]),
        ),
        lines={**LINES, "start_ns": [1000, 1010, 1035, 1065], "duration_ns": [10, 25, 30, 35]},
    )
    table = wall_time.wall_time_lines(of, pieces(of))
    backward = table.filter(pl.col("stage") == "backward", pl.col("operators_ns") > 0)
    assert backward.select("file", "operators_ns").rows() == [("net.py", 20)]


def test_what_has_no_number_is_no_part_of_another_operator() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(
            ("aten::mul", 0, 5),
            ("autograd::engine::evaluate_function: AccumulateGrad", 40, 20),
            **links([-1, -1], [None, 1]),
        ),
        lines=LINES,
    )
    table = wall_time.wall_time_lines(of, pieces(of))
    backward = table.filter(pl.col("operators_ns") == 20)
    assert backward["text"].to_list() == ["loss.backward()"]


def test_python_between_two_modules_belongs_to_the_one_around_both() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(("aten::a", 0, 10), ("aten::b", 70, 30), stack_id=[1, 2]),
        stacks={
            "stack_id": [1, 2],
            "frames": [
                ["nn.Module: Linear_0", "nn.Module: Net_0"],
                ["nn.Module: Linear_1", "nn.Module: Net_0"],
            ],
        },
    )
    table = wall_time.wall_time_modules(of, pieces(of))
    assert table.select("module", "duration_ns").rows() == [
        ("Net_0", 60),
        ("Linear_1", 30),
        ("Linear_0", 10),
    ]


def test_the_host_that_waits_for_a_kernel_counts_for_the_line_that_launched_it() -> None:
    of = capture(
        steps=one_step(wait_ns=[50]),
        operators=operators(("aten::mm", 10, 5)),
        kernels=kernels(("gemm", "kernel", 80, 10, 0)),
        lines={**LINES, "duration_ns": [5, 30, 10, 10]},
    )
    table = wall_time.wall_time_lines(of, pieces(of))
    of_line = table.filter(pl.col("file") == "net.py").row(0, named=True)
    assert (of_line["compute_ns"], of_line["idle_ns"], of_line["operators_ns"]) == (10, 40, 5)


def test_stages_of_the_capture_come_before_those_of_torch() -> None:
    of = capture(
        steps=one_step(),
        operators=operators(
            (LOADS, 0, 10), ("aten::a", 10, 20), ("aten::b", 50, 10), stage=[None, "mine", "yours"]
        ),
    )
    table = wall_time.wall_time(of, pieces(of))
    assert table.select("stage", "part", "duration_ns").rows() == [
        ("data loading", "data loading", 10),
        ("mine", "operators", 20),
        ("yours", "operators", 10),
        ("yours", "python", 60),
    ]


def test_without_lines_and_stacks_there_is_no_table_of_them() -> None:
    of = capture(steps=one_step(), operators=operators(("aten::mm", 10, 30)))
    cut = pieces(of)
    assert wall_time.wall_time_lines(of, cut).is_empty()
    assert wall_time.wall_time_modules(of, cut).is_empty()


def test_memory_peak_is_placed_in_step_module_and_line() -> None:
    of = capture(
        steps=one_step(),
        operators=TRAINING,
        stacks=STACKS,
        lines=LINES,
        memory={
            "rank": [0, 0],
            "time_ns": [1012, 1050],
            "device": ["cpu", "cpu"],
            "kind": ["alloc", "alloc"],
            "total_allocated": [100, 200],
            "operator": [0, 2],
        },
    )
    assert memory_peaks(of).rows() == [
        ("cpu", 200, 1050, "aten::mm", 0, 50, "Linear_0", "net.py:4")
    ]


RANGE = st.tuples(st.integers(-20, 120), st.integers(0, 60))


@settings(max_examples=60)
@given(
    hosts=st.lists(st.tuples(RANGE, st.integers(1, 2), st.sampled_from(["aten::a", LOADS, "r"]))),
    devices=st.lists(st.tuples(RANGE, st.sampled_from(["gemm", "ncclKernel", "Memcpy"]))),
    lines=st.lists(RANGE),
)
def test_every_nanosecond_of_every_step_is_in_one_part(
    hosts: list[tuple[tuple[int, int], int, str]],
    devices: list[tuple[tuple[int, int], str]],
    lines: list[tuple[int, int]],
) -> None:
    of = capture(
        steps={
            "step": [0, 1],
            "rank": [0, 0],
            "phase": ["active"] * 2,
            "start_ns": [1000, 1060],
            "duration_ns": [55, 45],
        },
        operators=operators(
            *((name, *bounds) for bounds, _, name in hosts),
            thread=[thread for _, thread, _ in hosts],
        ),
        kernels=kernels(*((name, "kernel", *bounds, None) for bounds, name in devices)),
        lines={
            "rank": [0] * len(lines),
            "start_ns": [1000 + start for start, _ in lines],
            "duration_ns": [duration for _, duration in lines],
            "file": ["a.py"] * len(lines),
            "line": list(range(len(lines))),
        },
    )
    cut = pieces(of)
    sums = cut.group_by("step").agg(pl.col("duration_ns").sum()).sort("step")
    assert sums.rows() == [(0, 55), (1, 45)]
    ends = cut["start_ns"] + cut["duration_ns"]
    assert (ends[:-1] <= cut["start_ns"][1:]).all()
    assert set(cut["part"]) <= set(PARTS)
    for analysis in (wall_time.wall_time, wall_time.wall_time_operators):
        assert analysis(of, cut)["duration_ns"].sum() == 100
    if lines:
        table = wall_time.wall_time_lines(of, cut)
        assert table["duration_ns"].sum() == 100
        assert table.select(pl.sum_horizontal(f"{part.replace(' ', '_')}_ns" for part in PARTS))[
            :, 0
        ].equals(table["duration_ns"], check_names=False)
