"""What kernels and operators add up to, on captures small enough to check by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analyses import kernels, operators
from tests.support.captures import capture

MM: list[object] = [[2, 3], [3, 4]]


def test_kernels_are_summed_by_type_and_core() -> None:
    table = kernels.kernels_by_type(
        capture(
            kernels={
                "step": [1, 1, 2, 1, None],
                "type": ["MatMulV2", "Relu", "MatMulV2", None, "Relu"],
                "core": ["AI_CORE", "AI_VECTOR_CORE", "AI_CORE", None, "AI_VECTOR_CORE"],
                "duration_ns": [30, 10, 35, 25, 1000],
            }
        )
    )
    assert table.columns == ["type", "core", "count", "duration_ns", "mean_ns", "share"]
    assert table.rows() == [
        ("MatMulV2", "AI_CORE", 2, 65, 32, 0.65),
        (None, None, 1, 25, 25, 0.25),
        ("Relu", "AI_VECTOR_CORE", 1, 10, 10, 0.1),
    ]


def test_a_capture_without_steps_is_analysed_whole() -> None:
    table = kernels.kernels_by_type(
        capture(kernels={"step": [None], "type": ["Relu"], "duration_ns": [10]})
    )
    assert table.rows() == [("Relu", None, 1, 10, 10, 1.0)]


def test_kernels_are_summed_by_what_they_read_and_wrote() -> None:
    half, whole = ["FLOAT16"] * 2, ["FLOAT"] * 2
    table = kernels.kernels_by_shape(
        capture(
            kernels={
                "step": [1, 1, 1, 1],
                "type": ["MatMulV2"] * 4,
                "input_shapes": [MM, MM, MM, None],
                "input_dtypes": [half, half, whole, None],
                "output_shapes": [[[2, 4]], [[2, 4]], [[2, 4]], None],
                "output_dtypes": [["FLOAT16"], ["FLOAT16"], ["FLOAT"], None],
                "duration_ns": [10, 40, 30, 20],
            }
        )
    )
    assert table.columns[5:] == ["count", "duration_ns", "min_ns", "mean_ns", "max_ns", "share"]
    assert table.rows() == [
        ("MatMulV2", MM, half, [[2, 4]], ["FLOAT16"], 2, 50, 10, 25, 40, 0.5),
        ("MatMulV2", MM, whole, [[2, 4]], ["FLOAT"], 1, 30, 30, 30, 30, 0.3),
        ("MatMulV2", None, None, None, None, 1, 20, 20, 20, 20, 0.2),
    ]


def test_precision_is_that_of_the_largest_input_of_computing_kernels() -> None:
    table = kernels.precision_mix(
        capture(
            kernels={
                "step": [1] * 5,
                "name": ["mm", "mm", "conv", "fill", "hcom_allReduce__1_0_1"],
                "type": ["MatMulV2", "MatMulV2", "Conv2DBackpropInput", "Fill", "hcom_allReduce_"],
                "core": ["AI_CORE", "AI_CORE", "AI_CORE", None, "HCCL"],
                "input_shapes": [MM, MM, [[4], [8, 3, 3]], None, None],
                "input_dtypes": [
                    ["FLOAT16", "FLOAT16"],
                    ["FLOAT", "FLOAT"],
                    ["INT32", "FLOAT", "DT_UNDEFINED"],
                    None,
                    None,
                ],
                "duration_ns": [40, 30, 20, 10, 5000],
            }
        )
    )
    assert table.rows() == [
        ("MatMulV2", "FLOAT16", 1, 40, 0.4),
        ("MatMulV2", "FLOAT", 1, 30, 0.3),
        ("Conv2DBackpropInput", "FLOAT", 1, 20, 0.2),
        ("Fill", None, 1, 10, 0.1),
    ]


def test_main_input_is_the_first_that_there_is_where_no_shapes_are_known() -> None:
    table = kernels.precision_mix(
        capture(
            kernels={
                "step": [1],
                "name": ["add"],
                "input_dtypes": [["NULL", "BF16", "FLOAT"]],
                "duration_ns": [7],
            }
        )
    )
    assert table.rows() == [(None, "BF16", 1, 7, 1.0)]


def test_operators_are_summed_with_the_kernels_that_they_launched() -> None:
    table = operators.operator_kernels(
        capture(
            operators={
                "id": [0, 1, 2, 3],
                "step": [1, 1, 1, 1],
                "name": ["aten::conv", "aten::mm", "aten::conv", "aten::view"],
                "duration_ns": [100, 50, 140, 7],
            },
            kernels={
                "step": [1, 1, 1, 1, 1],
                "operator": [0, 0, 1, 2, None],
                "duration_ns": [5, 15, 50, 5, 25],
            },
        )
    )
    assert table.columns == ["operator", "calls", "kernels", "device_ns", "host_ns", "share"]
    assert table.rows() == [
        ("aten::mm", 1, 1, 50, 50, 0.5),
        ("aten::conv", 2, 3, 25, 240, 0.25),
        (None, 0, 1, 25, None, 0.25),
    ]


def test_shapes_are_counted_by_type_of_kernel_and_name_of_operator() -> None:
    table = operators.shape_coverage(
        capture(
            kernels={
                "step": [1, 1, 1],
                "type": ["Relu", "Relu", "MemSet"],
                "input_shapes": [MM, None, None],
            },
            operators={"step": [1, 1], "name": ["aten::mm"] * 2, "input_shapes": [MM, MM]},
        )
    )
    assert table.columns == ["table", "name", "count", "with_shapes", "share"]
    assert table.rows() == [
        ("kernels", "Relu", 2, 1, 0.5),
        ("kernels", "MemSet", 1, 0, 0.0),
        ("operators", "aten::mm", 2, 2, 1.0),
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Relu", "MatMulV2", "hcom_send_", None]),
            st.sampled_from(["AI_CORE", "HCCL", None]),
            st.sampled_from([["FLOAT"], ["BF16", "FLOAT"], None]),
            st.integers(1, 10**9),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_shares_sum_to_one_and_fall(rows: list[tuple[str | None, str | None, object, int]]) -> None:
    types, cores, dtypes, durations = map(list, zip(*rows, strict=True))
    recorded = capture(
        kernels={
            "step": [1] * len(rows),
            "name": types,
            "type": types,
            "core": cores,
            "input_dtypes": dtypes,
            "duration_ns": durations,
        }
    )
    for analysis in (
        kernels.hot_kernels,
        kernels.kernels_by_type,
        kernels.kernels_by_shape,
        kernels.precision_mix,
        operators.operator_kernels,
    ):
        table = analysis(recorded)
        if table.height:
            assert table["share"].sum() == pytest.approx(1, abs=1e-12)
            assert all(one >= other for one, other in pairwise(table["share"]))
            assert table.height <= len(rows)
