"""Each class of what bounds a kernel, by a kernel that is of it; the roofline; the documents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.bottlenecks.classes import CLASSES
from harness.bottlenecks.table import bottlenecks
from harness.capture.run_record import request_hash
from tests.conftest import ROOT
from tests.support.composing import composed
from tests.support.joined import analysis, joined, only

P, A, M, C = "PipeUtilization", "ArithmeticUtilization", "MemoryAccess", "ResourceConflictRatio"
LONG, SHORT = 100_000, 19_999


def measured(*, half: str = "aiv_", ns: int = LONG, **values: float | str) -> dict[str, Any]:
    """The row of a kernel with these counters of one half, by their names without it."""
    core = {"aic_": "AI_CORE", "aiv_": "AI_VECTOR_CORE", "": "AI_CORE"}[half]
    columns: dict[str, list[object]] = {
        "core": [core],
        f"duration_ns@{P}": [ns],
        f"{half}total_cycles@{P}": [100],
    }
    columns |= {f"{half}{name}": [value] for name, value in values.items()}
    return only(columns, P)


ICACHE = "icache_miss_rate"
CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"half": "aic_", "mac_ratio": 0.8, "mte2_ratio": 0.79}, "compute_cube", "aic_mac_ratio 0.8"),
    ({"half": "aic_", "mac_ratio": 0.799}, "latency", "aic_mac_ratio 0.799 < 0.8"),
    ({"half": "aic_", "mte1_ratio": 0.9, "mac_ratio": 0.85}, "memory_mte1", "aic_mte1_ratio 0.9"),
    ({"half": "aic_", "mte2_ratio": 0.984, "mac_ratio": 0.149}, "memory_mte2", "0.984 ≥ 0.8"),
    ({"half": "aic_", "fixpipe_ratio": 0.75}, "memory_fixpipe", "aic_fixpipe_ratio 0.750 ≥ 0.75"),
    # The greatest ratio is not full, another one is.
    ({"half": "aic_", "mte2_ratio": 0.79, "fixpipe_ratio": 0.76}, "memory_fixpipe", "0.760"),
    ({"half": "aic_", "scalar_ratio": 0.85, ICACHE: 0.1}, "scalar", "aic_scalar_ratio 0.850"),
    ({"half": "aic_", "scalar_ratio": 0.85, ICACHE: 0.15}, "icache", "0.150 ≥ 0.15"),
    ({"half": "aic_", "mac_ratio": 0.85, ICACHE: 0.5}, "compute_cube", "aic_mac_ratio"),
    ({"half": "aic_", "mac_ratio": 0.4, ICACHE: 0.2}, "icache", "aic_icache_miss_rate 0.200"),
    ({"half": "aic_", "mac_ratio": 0.4, ICACHE: 0.2, "ns": SHORT}, "overhead", "20 µs < 20 µs"),
    ({"vec_ratio": 0.7, "mte2_ratio": 0.5}, "compute_vector", "aiv_vec_ratio 0.700 ≥ 0.7"),
    ({"vec_ratio": 0.9, "vec_bank_cflt_ratio": 0.14}, "compute_vector", "aiv_vec_ratio"),
    (
        {"vec_ratio": 0.9, "vec_bank_cflt_ratio": 0.1, "vec_resc_cflt_ratio": 0.06},
        "bank_conflict",
        "aiv_vec_bank_cflt_ratio + aiv_vec_resc_cflt_ratio 0.160 ≥ 0.15",
    ),
    ({"vec_ratio": 0.3, "vec_bankgroup_cflt_ratio": 0.2}, "bank_conflict", "bankgroup"),
    ({"vec_ratio": 0.1, "mte2_ratio": 0.8, "vec_bank_cflt_ratio": 0.2}, "memory_mte2", "0.800"),
    ({"mte3_ratio": 0.71, "vec_ratio": 0.1}, "memory_mte3", "aiv_mte3_ratio 0.710 ≥ 0.7"),
    ({"scalar_ratio": 0.79, "vec_ratio": 0.1}, "latency", "aiv_scalar_ratio 0.790 < 0.8"),
    (
        {"vec_ratio": 0.0, "mte2_ratio": 0.602, "mte3_ratio": 0.392, ICACHE: 0.2},
        "memory_in_turn",
        "aiv_mte2_ratio + aiv_mte3_ratio 0.994 ≥ 0.9",
    ),
    (
        {"vec_ratio": 0.4, "mte2_ratio": 0.4, "mte3_ratio": 0.15, "ns": SHORT},
        "unoverlapped",
        "aiv_vec_ratio + aiv_mte2_ratio + aiv_mte3_ratio 0.950 ≥ 0.9",
    ),
    # What was not measured does not count as 0.
    ({"vec_ratio": 0.4, "mte2_ratio": 0.6}, "latency", "aiv_mte2_ratio 0.600 < 0.7"),
    ({"vec_ratio": 0.4, "ns": SHORT}, "overhead", "mean_ns"),
    ({"vec_ratio": 0.4, "ns": 20_000}, "latency", "aiv_vec_ratio"),
    ({"half": "", "mte2_ratio": 0.79, "vec_ratio": 0.69}, "latency", "mte2_ratio 0.790 < 0.8"),
    ({"half": "", "vec_ratio": 0.7, "mac_ratio": 0.79}, "compute_vector", "vec_ratio 0.700"),
    ({"half": "", "mac_ratio": 0.9}, "compute_cube", "mac_ratio 0.900 ≥ 0.8"),
]


@pytest.mark.parametrize(("counters", "bound", "evidence"), CASES, ids=str)
def test_a_kernel_is_bound_by(counters: dict[str, Any], bound: str, evidence: str) -> None:
    row = measured(**counters)
    assert row["bound"] == bound
    assert evidence in row["evidence"]


OTHERS: list[tuple[dict[str, list[object]], str, str, str | None]] = [
    ({"core": ["HCCL"]}, "communication", "moves data", None),
    ({"core": [None], "name": ["ncclDevKernel_AllReduce"]}, "communication", "moves data", None),
    ({"core": ["AI_CPU"]}, "ai_cpu", "AI_CPU", None),
    ({"core": ["AI_CORE"]}, "unknown", "no pipe was measured", P),
    ({"core": ["DSA_SQE"]}, "unknown", "no counters on DSA_SQE", None),
    ({"core": [None]}, "unknown", "no counters on this device", None),
    (
        {"input_shapes": [None], "aic_mac_ratio": [0.9], "aic_total_cycles": [10]},
        "unknown",
        "kernels without shapes are not averaged",
        None,
    ),
]


@pytest.mark.parametrize(("columns", "bound", "evidence", "needs"), OTHERS, ids=str)
def test_a_kernel_without_pipes_is(
    columns: dict[str, list[object]], bound: str, evidence: str, needs: str | None
) -> None:
    row = only(columns, P)
    assert (row["bound"], row["needs"]) == (bound, needs)
    assert evidence in row["evidence"]
    assert (row["dominant_pipe"], row["dominant_ratio"]) == (None, None)


def test_every_class_is_reached_and_explained() -> None:
    assert {bound for _, bound, _ in CASES} | {bound for _, bound, *_ in OTHERS} == set(CLASSES)
    for name, class_ in CLASSES.items():
        assert class_.advice.endswith("."), name
        assert ". " not in class_.advice, name


def test_advice_names_columns_of_the_table() -> None:
    columns = set(bottlenecks(joined((P,), {"name": ["a"]}), (P,), analysis()).columns)
    columns |= {name.removeprefix("aic_").removeprefix("aiv_") for name in columns}
    for name, class_ in CLASSES.items():
        words = re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b(?:\(GB/s\))?", class_.advice)
        assert set(words) <= columns, name
        assert words or name in {"unknown", "ai_cpu"}, name


@pytest.mark.parametrize(
    ("counters", "needs"),
    [
        ({"vec_ratio": 0.9}, C),
        ({"vec_ratio": 0.3}, C),
        ({"vec_ratio": 0.9, "vec_bank_cflt_ratio": 0.0}, None),
        ({"vec_ratio": 0.3, "vec_bank_cflt_ratio": 0.0}, None),
        ({"vec_ratio": 0.3, "mte2_ratio": 0.9}, None),
        ({"vec_ratio": 0.3, "ns": SHORT}, None),
        ({"half": "aic_", "mac_ratio": 0.3}, None),
    ],
)
def test_a_group_that_might_tell_more_is_named(counters: dict[str, Any], needs: str | None) -> None:
    assert measured(**counters)["needs"] == needs


def test_limits_are_settings() -> None:
    columns: dict[str, list[object]] = {
        "aiv_total_cycles": [1],
        "aiv_vec_ratio": [0.6],
        f"duration_ns@{P}": [LONG],
    }
    assert only(columns, P)["bound"] == "latency"
    for override, bound in (
        ("analysis.bound.vector.vec=0.6", "compute_vector"),
        ("analysis.bound.short_us=101", "overhead"),
    ):
        assert only(columns, P, overrides=(override,))["bound"] == bound


def test_neither_limits_nor_peaks_change_what_is_measured() -> None:
    plain, judged = composed(), composed("analysis.bound.together=0.5", "analysis.peaks.l2_gbps=1")
    assert plain.analysis != judged.analysis
    assert request_hash(plain) == request_hash(judged)
    assert request_hash(plain) != request_hash(composed("seed=1"))


WORK: dict[str, list[object]] = {
    f"duration_ns@{A}": [1000],
    f"duration_ns@{M}": [3000],
    f"aic_total_cycles@{A}": [100],
    f"aiv_total_cycles@{A}": [100],
    "aic_mac_fp16_ratio": [0.3],
    "aic_mac_int8_ratio": [0.1],
    "aiv_vec_fp32_ratio": [0.2],
    "aiv_vec_misc_ratio": [0.6],
    "aic_cube_fops": [8_000_000],
    "aiv_vector_fops": [200_000],
    "aic_read_main_memory_datas(KB)": [100.0],
    "aic_write_main_memory_datas(KB)": [100.0],
    "aic_GM_to_L1_datas(KB)": [300.0],
    "aic_L0C_to_GM_datas(KB)": [100.0],
    "aiv_GM_to_UB_datas(KB)": [0.0],
    "aiv_UB_to_GM_datas(KB)": [0.0],
}
CUBE, VECTOR = ("cube_fp16_tops=20", "cube_int8_tops=40"), ("vector_fp32_tops=1",)
BYTES = 204_800


def roof(*peaks: str, **columns: list[object]) -> tuple[Any, Any, Any]:
    row = only(WORK | columns, A, M, overrides=tuple(f"analysis.peaks.{peak}" for peak in peaks))
    return row["roof"], row["attainable_tops"], row["roof_share"]


def test_roof_is_what_takes_longest_at_its_peak() -> None:
    # The cube at 3/4 × 20 + 1/4 × 40 = 25 Tops: 320 ns. Vector: 200 ns, conversions left out.
    assert roof(*CUBE, *VECTOR, "main_memory_gbps=2048") == (
        "cube",
        pytest.approx(8_200_000 / 320 / 1e3),
        pytest.approx(0.32),
    )
    assert roof(*CUBE, *VECTOR, "main_memory_gbps=256") == (
        "main_memory",
        pytest.approx(8_200_000 / 800 / 1e3),
        pytest.approx(0.8),
    )
    # 400 KiB between cores and L2, in 400 ns.
    assert roof(*CUBE, *VECTOR, "main_memory_gbps=2048", "l2_gbps=1024")[::2] == (
        "l2",
        pytest.approx(0.4),
    )
    assert roof(*CUBE, "vector_fp32_tops=0.5", "main_memory_gbps=2048")[::2] == (
        "vector",
        pytest.approx(0.4),
    )


@pytest.mark.parametrize(
    "peaks",
    [
        (),
        (*CUBE, *VECTOR),
        (*CUBE, "main_memory_gbps=1"),
        (CUBE[0], *VECTOR, "main_memory_gbps=1"),
        ("vector_fp16_tops=1", *CUBE, "main_memory_gbps=1"),
    ],
)
def test_without_a_peak_that_it_needs_there_is_no_roof(peaks: tuple[str, ...]) -> None:
    assert roof(*peaks) == (None, None, None)


def test_a_unit_without_work_needs_no_peak() -> None:
    assert roof(*CUBE, "main_memory_gbps=2048", aiv_vector_fops=[0])[0] == "cube"
    moved = roof("main_memory_gbps=409.6", aic_cube_fops=[0], aiv_vector_fops=[0])
    # Nothing is computed: 500 ns of the 1000.
    assert moved == ("main_memory", 0, pytest.approx(0.5))


def test_work_of_a_precision_that_is_not_told_has_no_roof() -> None:
    peaks = (*CUBE, *VECTOR, "main_memory_gbps=1")
    assert roof(*peaks, aic_mac_fp16_ratio=[0.0], aic_mac_int8_ratio=[0.0])[0] is None


def test_without_the_bytes_there_is_no_roof() -> None:
    columns = {name: values for name, values in WORK.items() if "read_main" not in name}
    peaks = (*CUBE, *VECTOR, "main_memory_gbps=1")
    row = only(columns, A, M, overrides=tuple(f"analysis.peaks.{peak}" for peak in peaks))
    assert (row["roof"], row["intensity"]) == (None, None)
    assert row["achieved_tops"] == pytest.approx(8.2)


def text() -> str:
    return (ROOT / "docs" / "bottlenecks.md").read_text(encoding="utf-8")


def test_documents_say_the_rules_and_the_advice() -> None:
    classes = text().partition("## Classes")[2]
    written = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", classes, re.MULTILINE)
    assert written == [(name, class_.rule, class_.advice) for name, class_ in CLASSES.items()]


def test_documents_explain_every_column() -> None:
    explained = set(re.findall(r"`([^`]+)`", text().partition("## Classes")[0]))
    table = bottlenecks(joined(("R",), {"name": ["a"]}), ("R",), analysis())
    patterns = [
        *(r"\*_(mac|vec|scalar|mte1|mte2|mte3|fixpipe)_ratio", r"\*_icache_miss_rate"),
        *(r"\*_vec_(bankgroup|bank|resc)_cflt_ratio", r"\*_(main_mem|l2|l1|ub)_.*_bw\(GB/s\)"),
        *(r"\*_l0[abc]_.*\(GB/s\)", r"\*_ub_.*\(GB/s\)"),
    ]
    for column in table.columns:
        starred = "*_" + column.removeprefix("aic_").removeprefix("aiv_")
        is_explained = column in explained or any(
            re.fullmatch(pattern, starred) for pattern in patterns
        )
        assert is_explained, column
