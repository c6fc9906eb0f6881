"""Analyses on captures small enough to add up by hand."""

from __future__ import annotations

from harness.analyses import kernels, memory, operators, profiler, steps
from harness.analyses.registry import ANALYSES, OF_PIECES, run_analyses
from harness.capture.run_record import Timing
from tests.support.captures import capture

MM: list[object] = [[2, 3], [3, 4]]


def test_operators_are_summed_by_name_and_shapes() -> None:
    table = operators.hot_operators(
        capture(
            operators={
                "name": ["mm", "mm", "mm", "add", "mm"],
                "input_shapes": [MM, MM, [[1, 1]], None, MM],
                "step": [1, 2, 1, 1, None],
                "self_ns": [10, 20, 5, 65, 1000],
                "duration_ns": [11, 20, 5, 99, 1000],
                "device_ns": [None, 7, None, None, 1000],
                "flops": [48, 48, None, None, 48],
            }
        )
    )
    assert table.columns == [
        "name",
        "input_shapes",
        "count",
        "self_ns",
        "mean_ns",
        "device_ns",
        "flops",
        "share",
    ]
    assert table.rows() == [
        ("add", None, 1, 65, 99, None, None, 0.65),
        ("mm", MM, 2, 30, 16, 7, 96, 0.3),
        ("mm", [[1, 1]], 1, 5, 5, None, None, 0.05),
    ]


def test_kernels_are_summed_by_name_type_and_shapes() -> None:
    table = kernels.hot_kernels(
        capture(
            kernels={
                "name": ["gemm", "copy", "gemm"],
                "type": ["kernel", "gpu_memcpy", "kernel"],
                "step": [1, 1, 2],
                "input_shapes": [MM, None, MM],
                "duration_ns": [30, 20, 50],
            }
        )
    )
    assert table.rows() == [
        ("gemm", "kernel", MM, 2, 80, 0.8),
        ("copy", "gpu_memcpy", None, 1, 20, 0.2),
    ]


def test_step_times_are_of_each_phase() -> None:
    times = steps.step_times(
        capture(
            steps={
                "phase": ["warmup", "baseline", "baseline", "profiler_warmup", "active"],
                "duration_ns": [900, 10, 13, 800, 30],
            }
        )
    )
    assert times == {
        "baseline": Timing(steps=2, median_ns=12, min_ns=10, max_ns=13),
        "active": Timing(steps=1, median_ns=30, min_ns=30, max_ns=30),
    }
    assert times["baseline"].spread == 3 / 12


def test_stages_come_in_the_workloads_order() -> None:
    table = operators.stage_times(
        capture(
            stages=("forward", "backward"),
            operators={
                "name": ["a", "b", "c", "d"],
                "step": [1, 1, 1, 1],
                "stage": [None, "backward", "forward", "backward"],
                "self_ns": [10, 30, 40, 20],
            },
        )
    )
    assert table.rows() == [
        ("forward", 1, 40, 0.4),
        ("backward", 2, 50, 0.5),
        (None, 1, 10, 0.1),
    ]


def test_stages_that_the_workload_did_not_name_come_in_the_order_of_their_operators() -> None:
    names: list[object] = [None, "forward", "backward", "update", "evaluate", None, "forward"]
    table = operators.stage_times(
        capture(operators={"step": [0] * 7, "stage": names, "self_ns": [1] * 7})
    )
    assert table["stage"].to_list() == ["forward", "backward", "update", "evaluate", None]


def test_memory_peak_names_its_operator() -> None:
    table = memory.memory_peaks(
        capture(
            operators={"id": [0, 1], "name": ["mm", "add"]},
            memory={
                "device": ["cpu", "cpu", "cuda:0"],
                "total_allocated": [100, 300, 50],
                "time_ns": [1, 2, 3],
                "operator": [0, 1, None],
            },
        )
    )
    assert table.select("device", "total_allocated", "time_ns", "operator").rows() == [
        ("cpu", 300, 2, "add"),
        ("cuda:0", 50, 3, None),
    ]


def test_nothing_recorded_gives_empty_tables() -> None:
    analyses = run_analyses(capture())
    assert set(analyses) == {*ANALYSES, *OF_PIECES}
    assert [name for name, table in analyses.items() if not table.is_empty()] == []
    assert steps.step_times(capture()) == {}


def test_every_analysis_is_there_under_its_name() -> None:
    analyses = run_analyses(
        capture(
            kernels={
                "step": [1, 1],
                "name": ["mm", "mm"],
                "start_ns": [0, 20],
                "duration_ns": [10, 5],
            }
        )
    )
    assert {name for name, table in analyses.items() if not table.is_empty()} == {
        "step_breakdown",
        "device_gaps",
        "operator_kernels",
        "hot_kernels",
        "kernels_by_type",
        "kernels_by_shape",
        "precision_mix",
        "shape_coverage",
    }
    assert analyses["hot_kernels"].rows() == [("mm", None, None, 2, 15, 1.0)]


def test_files_of_the_analysis_are_counted_by_name() -> None:
    raw = (
        *("a_ascend_pt/ASCEND_PROFILER_OUTPUT/op_statistic.csv", "a_ascend_pt/profiler_info.json"),
        *("b_ascend_pt/ASCEND_PROFILER_OUTPUT/op_statistic.csv", "trace.json.gz"),
    )
    assert profiler.analysed_files(capture(raw=raw)).rows() == [("op_statistic.csv", 2)]
