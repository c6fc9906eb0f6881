"""The figures of the table of bottlenecks, on kernels few enough to calculate by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bottlenecks.table import KEY, bottlenecks
from tests.support.joined import SHAPES, analysis, joined, only, rows

P, A, M = "PipeUtilization", "ArithmeticUtilization", "MemoryAccess"
HALF = ["FLOAT16", "FLOAT16"]


def test_kernels_are_summed_by_type_core_shapes_and_dtypes() -> None:
    whole = ["FLOAT", "FLOAT"]
    kinds = rows(
        {
            "type": ["MatMulV2", "MatMulV2", "MatMulV2", "Mul", "MatMulV2"],
            "core": ["AI_CORE", "AI_CORE", "AI_CORE", "AI_VECTOR_CORE", "MIX_AIC"],
            "input_dtypes": [HALF, HALF, whole, HALF, HALF],
            f"duration_ns@{P}": [100, 300, 150, 200, 50],
            f"duration_ns@{A}": [120, 340, 150, 200, 50],
        },
        P,
        A,
    )
    assert [(row["type"], row["core"], row["input_dtypes"]) for row in kinds] == [
        ("MatMulV2", "AI_CORE", HALF),
        ("Mul", "AI_VECTOR_CORE", HALF),
        ("MatMulV2", "AI_CORE", whole),
        ("MatMulV2", "MIX_AIC", HALF),
    ]
    first = kinds[0]
    assert first["name"] is None
    assert (first["count"], first["matched"], first["averaged"]) == (2, 2, True)
    # 110 + 320 of 110 + 320 + 150 + 200 + 50.
    assert (first["duration_ns"], first["mean_ns"]) == (430, 215)
    assert first["share"] == pytest.approx(430 / 830)
    names = ("count", "duration_ns", "mean_ns", "min_ns", "max_ns")
    assert [first[f"{name}@{P}"] for name in names] == [2, 400, 200, 100, 300]
    assert [first[f"{name}@{A}"] for name in names] == [2, 460, 230, 120, 340]


def test_kernels_that_a_run_lacks_count_in_the_others() -> None:
    row = only(
        {
            f"duration_ns@{P}": [100, 300, None],
            f"duration_ns@{A}": [120, None, None],
            f"duration_ns@{M}": [None, 500, 60],
        },
        P,
        A,
        M,
    )
    # 110 + 400 + 60; none is in all three, so nothing is compared.
    assert (row["count"], row["matched"], row["duration_ns"], row["mean_ns"]) == (3, 0, 570, 190)
    assert [row[f"count@{run}"] for run in (P, A, M)] == [2, 1, 2]
    assert [row[f"duration_ns@{run}"] for run in (P, A, M)] == [400, 120, 560]
    assert (row["spread"], row["perturbed"]) == (None, None)


def test_a_run_without_any_of_a_kind_has_no_duration_of_it() -> None:
    row = only({f"duration_ns@{P}": [100], f"duration_ns@{A}": [None]}, P, A)
    assert row[f"count@{A}"] == 0
    names = ("duration_ns", "mean_ns", "min_ns", "max_ns")
    assert [row[f"{name}@{A}"] for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("one", "other", "spread", "perturbed"),
    [
        (95_000, 105_000, 0.1, False),
        (94_000, 106_000, 0.12, True),
        (9_000, 11_000, 0.2, False),
        (8_000, 12_000, 0.4, True),
        # 35 µs on average, in the middle of 20 and 50: 17.5 % is the limit.
        (32_000, 38_000, 6 / 35, False),
        (31_500, 38_500, 0.2, True),
    ],
)
def test_durations_that_differ_by_more_than_noise_are_perturbed(
    one: int, other: int, spread: float, perturbed: bool
) -> None:
    row = only({f"duration_ns@{P}": [one], f"duration_ns@{A}": [other]}, P, A)
    assert row["spread"] == pytest.approx(spread)
    assert row["perturbed"] is perturbed


def test_what_counts_as_perturbed_is_a_setting() -> None:
    columns: dict[str, list[object]] = {
        f"duration_ns@{P}": [90_000, 90_000],
        f"duration_ns@{A}": [110_000, 110_000],
    }
    assert only(columns, P, A)["perturbed"]
    # They differ by 20 %.
    settings_ = ("analysis.perturbed.long=0.21",)
    assert not only(columns, P, A, overrides=settings_)["perturbed"]


def test_only_kernels_of_all_runs_are_compared() -> None:
    """The one that a run lost would make it look faster."""
    row = only(
        {f"duration_ns@{P}": [100_000, 900_000], f"duration_ns@{A}": [100_000, None]},
        P,
        A,
    )
    assert (row["matched"], row["spread"], row["perturbed"]) == (1, 0, False)


def test_one_run_is_compared_with_nothing() -> None:
    row = only({f"duration_ns@{P}": [1000]}, P)
    assert (row["spread"], row["perturbed"], row["matched"]) == (None, None, 1)


def test_kernels_without_shapes_are_told_apart_by_name_and_not_averaged() -> None:
    kinds = rows(
        {
            "name": ["zero", "zero", "other", "hcom_allReduce__271_0_1", "hcom_allReduce__271_1_1"],
            "type": ["MemSet", "MemSet", "MemSet", "hcom_allReduce_", "hcom_allReduce_"],
            "core": [*["AI_VECTOR_CORE"] * 3, "HCCL", "HCCL"],
            "input_shapes": [None] * 5,
            "input_dtypes": [None] * 5,
            "output_shapes": [None] * 5,
            "output_dtypes": [None] * 5,
            f"duration_ns@{P}": [5_000, 800_000, 1000, 100, 300],
            f"duration_ns@{A}": [5_000, 800_000, 1000, 100, 300],
            f"aiv_total_cycles@{P}": [10, 1000, 1, None, None],
            "aiv_vec_ratio": [0.9, 0.1, 0.5, None, None],
            "aiv_write_cache_hit": [1, 2, 3, None, None],
            "aiv_write_cache_miss_allocate": [1, 2, 3, None, None],
            "aiv_read_main_memory_datas(KB)": [1.0, 2.0, 3.0, None, None],
        },
        P,
        A,
    )
    assert [(row["name"], row["count"]) for row in kinds] == [
        ("zero", 2),
        ("other", 1),
        ("hcom_allReduce_", 2),
    ]
    first = kinds[0]
    assert (first["averaged"], first["duration_ns"], first["main_memory_read_bytes"]) == (
        False,
        805_000,
        3072,
    )
    averages = ("mean_ns", f"mean_ns@{P}", "aiv_vec_ratio", "l2_hit_rate", "dominant_ratio")
    assert [first[name] for name in averages] == [None] * 5
    assert [first[f"{name}@{P}"] for name in ("min_ns", "max_ns")] == [5_000, 800_000]
    # Matched one by one, so sums of the same kernels are compared.
    assert (first["spread"], first["perturbed"]) == (0, False)


def test_kernels_of_a_gpu_are_told_apart_by_name_too() -> None:
    kinds = rows(
        {
            "name": ["gemm", "relu"],
            "type": ["kernel", "kernel"],
            "core": [None, None],
            "duration_ns@0": [20, 10],
        },
        "0",
    )
    assert [(row["name"], row["mean_ns"], row["bound"]) for row in kinds] == [
        ("gemm", 20, "unknown"),
        ("relu", 10, "unknown"),
    ]
    empty = pl.DataFrame(kinds).select(pl.all().is_null().all()).row(0, named=True)
    measured = {name for name, nothing in empty.items() if not nothing}
    assert measured == {
        *(*KEY, "averaged", "count", "matched", "duration_ns", "share", "mean_ns"),
        *("bound", "evidence", "count@0", "duration_ns@0", "mean_ns@0", "min_ns@0", "max_ns@0"),
    } - {"core"}


def test_no_kernels_are_no_rows() -> None:
    table = joined((P, A), {"name": ["a"]})[:0]
    kinds = bottlenecks(table, (P, A), analysis())
    assert kinds.is_empty()
    full = bottlenecks(joined((P, A), {"name": ["a"]}), (P, A), analysis())
    assert kinds.schema == full.schema


Kernel = tuple[str, int, int | None, int | None, float | None, int | None]
KERNELS = st.lists(
    st.tuples(
        st.sampled_from(["MatMulV2", "Mul", "MemSet"]),
        st.integers(1, 3),
        *[st.none() | st.integers(1, 10**6)] * 2,
        st.none() | st.floats(0, 1),
        st.none() | st.integers(0, 10**9),
    ).filter(lambda kernel: kernel[2] is not None or kernel[3] is not None),
    min_size=1,
    max_size=30,
)


def made(kernels: list[Kernel]) -> pl.DataFrame:
    return joined(
        (P, A),
        {
            "type": [kernel[0] for kernel in kernels],
            "input_shapes": [None if k[0] == "MemSet" else [[k[1]]] for k in kernels],
            f"duration_ns@{P}": [kernel[2] for kernel in kernels],
            f"duration_ns@{A}": [kernel[3] for kernel in kernels],
            f"aic_total_cycles@{P}": [kernel[2] for kernel in kernels],
            "aic_mac_ratio": [None if k[2] is None else k[4] for k in kernels],
            "aic_cube_fops": [None if k[3] is None else k[5] for k in kernels],
            "aiv_vector_fops": [None if k[3] is None else 0 for k in kernels],
        },
    )


@settings(max_examples=60, deadline=None)
@given(KERNELS, st.randoms(use_true_random=False))
def test_nothing_is_lost_or_made_up_whatever_the_order(
    kernels: list[Kernel], order: random.Random
) -> None:
    table = made(kernels)
    kinds = bottlenecks(table, (P, A), analysis())
    assert kinds["count"].sum() == len(kernels)
    assert kinds["matched"].sum() == (table["runs"] == 2).sum()
    for run in (P, A):
        assert kinds[f"duration_ns@{run}"].sum() == table[f"duration_ns@{run}"].sum()
        assert kinds[f"count@{run}"].sum() == table[f"duration_ns@{run}"].count()
    assert kinds["share"].sum() == pytest.approx(1)
    assert (kinds["duration_ns"].diff().drop_nulls() <= 0).all()
    assert (kinds["cube_fops"].sum() or 0) == (table["aic_cube_fops"].sum() or 0)
    # Null only where nothing was measured, and never 0 in its place.
    for row in kinds.rows(named=True):
        same = (
            table.filter(
                pl.col("type") == row["type"],
                pl.col("input_shapes").eq_missing(row["input_shapes"]),
            )
            if row["name"] is None
            else table.filter(pl.col("name") == row["name"])
        )
        nothing = same["aic_cube_fops"].is_null().all()
        assert (row["cube_fops"] is None) == nothing
        measured = same["aic_mac_ratio"].drop_nulls()
        assert (row["aic_mac_ratio"] is None) == (measured.is_empty() or not row["averaged"])
        if row["aic_mac_ratio"] is not None:
            low, high = measured.min(), measured.max()
            assert isinstance(low, float)
            assert isinstance(high, float)
            assert low - 1e-9 <= row["aic_mac_ratio"] <= high + 1e-9
    shuffled = list(range(len(kernels)))
    order.shuffle(shuffled)
    again = bottlenecks(table[shuffled], (P, A), analysis())
    backwards = bottlenecks(table, (A, P), analysis()).select(kinds.columns)
    for other in (again, backwards):
        for mine, theirs in zip(kinds.rows(), other.rows(), strict=True):
            assert all(map(alike, mine, theirs))


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def test_shapes_of_the_output_tell_kinds_apart() -> None:
    kinds = rows({"output_shapes": [[[2, 4]], [[4, 2]]], f"duration_ns@{P}": [2, 1]}, P)
    assert [row["output_shapes"] for row in kinds] == [[[2, 4]], [[4, 2]]]
    assert [row["input_shapes"] for row in kinds] == [SHAPES, SHAPES]


def test_a_duration_that_a_run_does_not_tell_is_no_difference() -> None:
    columns: dict[str, list[object]] = {"duration_ns@A": [1000, 900], "duration_ns@B": [None, 900]}
    table = joined(["A", "B"], columns).with_columns(runs=pl.lit(2, pl.Int32))
    (row,) = bottlenecks(table, ["A", "B"], analysis()).rows(named=True)
    assert (row["matched"], row["spread"], row["perturbed"]) == (2, 0.0, False)
