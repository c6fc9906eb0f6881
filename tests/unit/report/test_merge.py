"""What is shown of a table of bottlenecks, and that it fits a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

import polars as pl
import pytest

from harness.bottlenecks.classes import CLASSES
from harness.bottlenecks.counters import COUNTS, RATES
from harness.bottlenecks.table import bottlenecks
from harness.report.console import Console
from harness.report.markdown import markdown
from harness.report.merge import TOP, sections
from harness.report.section import Section
from harness.report.terminal import show
from harness.report.units import cells
from tests.support.joined import analysis, joined

RUNS = ("PipeUtilization", "ArithmeticUtilization", "MemoryAccess")
P, A, M = RUNS
COLUMNS: dict[str, list[object]] = {
    "type": ["MatMulV2", "Mul", "hcom_allReduce_"],
    "name": ["mm", "mul", "hcom_allReduce__271_0_1"],
    "core": ["AI_CORE", "AI_VECTOR_CORE", "HCCL"],
    "input_shapes": [[[2, 3], [3, 4]], [[8], []], None],
    f"duration_ns@{P}": [600_000, 300_000, 100_000],
    f"duration_ns@{A}": [600_000, 300_000, 100_000],
    f"duration_ns@{M}": [600_000, 390_000, 100_000],
    f"aic_total_cycles@{P}": [1000, 0, None],
    f"aiv_total_cycles@{P}": [0, 1000, None],
    "aic_mte2_ratio": [0.984, 0.0, None],
    "aiv_vec_ratio": [0.0, 0.9, None],
}


def table(columns: dict[str, list[object]] = COLUMNS, *overrides: str) -> pl.DataFrame:
    return bottlenecks(joined(RUNS, columns), RUNS, analysis(*overrides))


def titled(parts: list[Section], begin: str) -> Section:
    (part,) = [part for part in parts if part.title.startswith(begin)]
    return part


def raw(part: Section) -> list[tuple[Any, ...]]:
    """The rows of a section, to compare with numbers that are nearly so."""
    return list(part.rows)


def test_kinds_are_shown_with_what_bounds_them() -> None:
    kinds = titled(sections(table(), RUNS), "Bottlenecks")
    matmul, mul, reduce = raw(kinds)
    assert matmul == (
        *("MatMulV2", [[2, 3], [3, 4]], 1, 600_000, pytest.approx(600 / 1030)),
        *("aic_mte2", 0.984, "memory_mte2"),
    )
    assert mul == (
        *("Mul", [[8], []], 1, 330_000, pytest.approx(330 / 1030)),
        *("aiv_vec", 0.9, "compute_vector"),
    )
    assert reduce == (
        *("hcom_allReduce_", None, 1, None, pytest.approx(100 / 1030)),
        *(None, None, "communication"),
    )
    assert cells(kinds) == [
        ("MatMulV2", "[2,3] [3,4]", "1", "600 µs", "58.3%", "aic_mte2", "98.4%", "memory_mte2"),
        ("Mul", "[8]", "1", "330 µs", "32.0%", "aiv_vec", "90.0%", "compute_vector"),
        ("hcom_allReduce_", "–", "1", "–", "9.7%", "–", "–", "communication"),
    ]
    assert kinds.notes == (
        "3 of 3 kernels are in all 3 runs",
        "mean –: kernels without shapes are summed, not averaged",
    )


def test_each_class_that_occurs_comes_with_its_advice() -> None:
    classes = titled(sections(table(), RUNS), "What bounds them")
    assert [row[:3] for row in cells(classes)] == [
        ("memory_mte2", "1", "58.3%"),
        ("compute_vector", "1", "32.0%"),
        ("communication", "1", "9.7%"),
    ]
    assert classes.rows[0][3] == CLASSES["memory_mte2"].advice
    assert classes.rows[1][3] == (
        CLASSES["compute_vector"].advice
        + " Not measured, and could tell more: ResourceConflictRatio."
    )


def test_perturbed_kinds_are_shown_with_the_runs_that_differ() -> None:
    perturbed = titled(sections(table(), RUNS), "Perturbed")
    # 90 µs apart, 330 µs on average.
    assert perturbed.rows == (("Mul", [[8], []], 90 / 330, 300_000, P, 390_000, M),)
    same = table(COLUMNS | {f"duration_ns@{M}": [600_000, 300_000, 100_000]})
    assert not [part for part in sections(same, RUNS) if part.title.startswith("Perturbed")]


def test_a_roofline_is_shown_where_there_is_one() -> None:
    assert not [part for part in sections(table(), RUNS) if part.title.startswith("Roofline")]
    work: dict[str, list[object]] = {
        "aic_cube_fops": [0, 0, None],
        "aiv_vector_fops": [0, 0, None],
        "aic_read_main_memory_datas(KB)": [60_000.0, 0.0, None],
        "aic_write_main_memory_datas(KB)": [0.0, 0.0, None],
    }
    kinds = table(COLUMNS | work, "analysis.peaks.main_memory_gbps=204.8")
    # 60,000 KiB take 300 µs of the 600.
    assert titled(sections(kinds, RUNS), "Roofline").rows == (
        ("MatMulV2", [[2, 3], [3, 4]], 0, 0, 0, "main_memory", 0.5),
    )


def test_every_figure_of_an_emulated_sweep_says_so() -> None:
    parts = sections(table(), RUNS, emulated=True)
    assert all(part.title.endswith(" (emulated: invented)") for part in parts)
    assert any("EMULATED" in str(note) for note in parts[0].notes)
    plain = "".join(part.title for part in sections(table(), RUNS))
    assert "emulated" not in plain


def test_no_kernels_are_said_to_be_none() -> None:
    (part,) = sections(table()[:0], RUNS)
    assert part.notes == ("no kernel was joined",)


def test_only_the_kinds_with_the_most_time_are_shown() -> None:
    many = 3 * TOP
    columns: dict[str, list[object]] = {
        "type": [f"Kind{number}" for number in range(many)],
        **{f"duration_ns@{run}": [1000 + number for number in range(many)] for run in RUNS},
    }
    kinds = titled(sections(table(columns), RUNS), "Bottlenecks")
    assert [row[0] for row in kinds.rows] == [f"Kind{many - 1 - number}" for number in range(TOP)]
    assert f"{many - TOP} more in tables/bottlenecks.parquet" in kinds.notes


def test_it_fits_120_columns() -> None:
    wide: dict[str, list[object]] = {
        "type": ["PromptFlashAttentionWithAVeryLongName" * 2],
        "input_shapes": [[[12345678] * 4] * 9],
        "core": ["MIX_AIC"],
        f"duration_ns@{P}": [123_456_789],
        f"duration_ns@{A}": [99_456_789],
        f"duration_ns@{M}": [183_456_789],
    }
    wide |= {rate.names[0]: [0.123456] for rate in RATES if rate.half != ""}
    wide |= {f"aic_{count.names[0]}": [1.5e15] for count in COUNTS}
    peaks = (
        *("cube_fp16_tops=1", "cube_int8_tops=1", "main_memory_gbps=1"),
        *("vector_fp32_tops=1", "vector_fp16_tops=1", "vector_int32_tops=1"),
    )
    arithmetic: dict[str, list[object]] = {
        "aic_mac_fp16_ratio": [0.5],
        "aiv_vec_fp32_ratio": [0.5],
    }
    kinds = table(wide | arithmetic, *(f"analysis.peaks.{peak}" for peak in peaks))
    parts = sections(kinds, RUNS, emulated=True)
    assert [part.title.split()[0] for part in parts] == [
        "Bottlenecks:",
        "What",
        "Perturbed:",
        "Roofline:",
    ]
    out = StringIO()
    show(parts, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    # No cell but an advice is broken over lines: below the rule, a line a row.
    for part in parts:
        if not part.title.startswith("What"):
            begin = lines.index(part.title)
            rule = next(place for place in range(begin, len(lines)) if lines[place].startswith("─"))
            assert lines[rule + 1 + len(part.rows)].startswith("  "), part.title
    assert all(f"## {part.title}" in markdown(parts) for part in parts[1:])


@pytest.mark.parametrize("shape", [None, [], [[]], [[4]]])
def test_whatever_the_shapes_there_is_a_cell(shape: object) -> None:
    kinds = titled(sections(table({"input_shapes": [shape]}), RUNS), "Bottlenecks")
    assert cells(kinds)[0][1] == {"None": "–", "[[4]]": "[4]"}.get(str(shape), "")


def test_kernels_of_a_gpu_are_shown_by_name() -> None:
    gpu: dict[str, list[object]] = {"type": ["kernel"], "name": ["gemm"], "core": [None]}
    kinds = titled(sections(table(gpu), RUNS), "Bottlenecks")
    assert kinds.rows[0][0] == "gemm"
