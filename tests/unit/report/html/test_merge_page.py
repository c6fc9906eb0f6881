"""The page of merged runs: the table of bottlenecks, its evidence, and the runner-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from harness.bottlenecks.table import bottlenecks
from harness.capture.merge_record import MergedRun, MergeRecord
from harness.report.html.figure import Heat, Plot, Points
from harness.report.html.merge import joined_page, merged_page, runner_up
from harness.report.html.page import Page, Part
from harness.report.html.render import html
from harness.settings.request import Peaks
from tests.support.joined import analysis, joined
from tests.support.pages import Document

RUNS = ("PipeUtilization", "ArithmeticUtilization", "MemoryAccess")
P = RUNS[0]
COLUMNS: dict[str, list[object]] = {
    "type": ["MatMulV2", "Mul", "hcom_allReduce_"],
    "core": ["AI_CORE", "AI_VECTOR_CORE", "HCCL"],
    "input_shapes": [[[2, 3], [3, 4]], [[8]], None],
    f"aic_total_cycles@{P}": [1000, 0, None],
    f"aiv_total_cycles@{P}": [0, 1000, None],
    "aic_mte2_ratio": [0.984, 0.0, None],
    "aic_mac_ratio": [0.25, 0.0, None],
    "aiv_vec_ratio": [0.0, 0.9, None],
}
RECORD = MergeRecord(
    match="aligned",
    table="kernels",
    device="npu",
    device_name="Ascend910B1",
    emulated=False,
    rows=3,
    in_all=3,
    ambiguous=0,
    runs=tuple(
        MergedRun(
            label=run,
            folder=f"/sweep/{run}",
            exit_code=0,
            rows=3,
            outside=0,
            unmatched=0,
            missing=0,
            duration_ns=3_000,
            streams={},
        )
        for run in RUNS
    ),
)


def kinds() -> pl.DataFrame:
    return bottlenecks(joined(RUNS, COLUMNS), RUNS, analysis())


def page(record: MergeRecord = RECORD, table: pl.DataFrame | None = None) -> Page:
    return merged_page(record, pl.DataFrame(), kinds() if table is None else table, Path("/sweep"))


def part(of: Page, title: str) -> Part:
    (found,) = [each for each in of.parts if each.title == title]
    return found


def test_each_kind_has_its_evidence_and_its_runner_up() -> None:
    document, table = Document(html(page())), kinds()
    title = "Kinds of kernels by device time"
    rows = {row[0][0]: [text for text, _ in row] for row in document.tables[title]}
    assert rows["MatMulV2"][5:11] == [
        *("memory_mte2", "aic_mte2_ratio 0.984 ≥ 0.8", "aic_mte2", "98.4%", "aic_mac", "25.0%"),
    ]
    # Only the vector unit was measured there.
    assert rows["Mul"][9:11] == ["–", "–"]
    assert document.column(title, 4) == table["share"].to_list()
    assert document.column(title, 2) == table["count"].to_list() == [1, 1, 1]
    bars = document.figure("Device time by what bounds it")
    assert sum(bars["series"][0]["values"]) == table["duration_ns"].sum() == 3_000


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({}, (None, None)),
        ({"aic_mac": 0.5}, (None, None)),
        ({"aic_mac": 0.5, "aic_mte2": 0.7, "aic_scalar": 0.1}, ("aic_mac", 0.5)),
        ({"aic_mac": 0.5, "aic_mte2": 0.7, "aiv_vec": 0.6}, (None, None)),
        ({"mac": 0.5, "vec": 0.6}, ("mac", 0.5)),
    ],
)
def test_the_runner_up_is_the_second_busiest_pipe_of_one_half(
    ratios: dict[str, float], expected: tuple[str | None, float | None]
) -> None:
    row: dict[str, Any] = dict.fromkeys(kinds().columns)
    assert runner_up(row | {f"{pipe}_ratio": value for pipe, value in ratios.items()}) == expected


def test_the_heat_map_has_the_ratios_of_the_table() -> None:
    (heat,) = part(page(), "Pipes").contents
    assert isinstance(heat, Heat)
    assert heat.columns == ("aic_mac", "aic_mte2", "aiv_vec")
    cells = dict(zip(heat.rows, heat.values, strict=True))
    assert cells == {"MatMulV2 [2,3] [3,4]": (0.25, 0.984, None), "Mul [8]": (None, None, 0.9)}


def test_parts_without_counters_say_why() -> None:
    assert part(page(), "Roofline").absent.startswith("no roof is known: analysis.peaks")
    bare = {name: values for name, values in COLUMNS.items() if not name.endswith("_ratio")}
    table = bottlenecks(joined(RUNS, bare), RUNS, analysis())
    assert part(page(table=table), "Pipes").absent == "no pipe was measured"
    assert part(page(table=table.clear()), "Bottlenecks").absent == "no kernel was joined"


def test_the_roofline_has_what_is_achieved_and_what_is_attainable() -> None:
    figures = {"intensity": 12.5, "achieved_tops": 3.5, "attainable_tops": 7.0, "roof_share": 0.5}
    columns = [pl.lit(value).alias(name) for name, value in figures.items()]
    table = kinds().head(1).with_columns(*columns, roof=pl.lit("main_memory"))
    plot, section = part(page(table=table), "Roofline").contents
    assert isinstance(plot, Plot)
    label = ("MatMulV2 [2,3] [3,4]",)
    assert plot.series == (
        Points(name="achieved", x=(12.5,), y=(3.5,), labels=label),
        Points(name="attainable", x=(12.5,), y=(7.0,), labels=label),
    )
    assert section.title.startswith("Roofline")


def test_the_roofs_begin_where_the_memory_no_longer_holds_a_unit_back() -> None:
    figures = {"intensity": 12.5, "achieved_tops": 3.5, "attainable_tops": 7.0, "roof_share": 0.5}
    columns = [pl.lit(value).alias(name) for name, value in figures.items()]
    table = kinds().head(1).with_columns(*columns, roof=pl.lit("main_memory"))
    chip = Peaks(main_memory_gbps=1_600, cube_fp16_tops=320, vector_fp32_tops=8, l2_gbps=5_000)
    plot = part(page(replace(RECORD, peaks=chip), table), "Roofline").contents[0]
    assert isinstance(plot, Plot)
    assert plot.series[2:] == (
        Points(name="1600 GB/s of main memory", x=(1, 200.0), y=(1.6, 320.0), is_line=True),
        Points(name="320 Tops of cube in fp16", x=(200.0, 1000), y=(320, 320), is_line=True),
        Points(name="8 Tops of vector in fp32", x=(5.0, 1000), y=(8, 8), is_line=True),
    )
    # What the table calls attainable lies below the line of the memory.
    assert 12.5 * 1.6 > 7.0
    chip = Peaks(main_memory_gbps=1_600)
    plot = part(page(replace(RECORD, peaks=chip), table), "Roofline").contents[0]
    assert isinstance(plot, Plot)
    assert [(each.x, each.y) for each in plot.series[2:]] == [((10, 100), (16.0, 160.0))]


def test_invented_counters_say_so_in_each_figure() -> None:
    merged = page(replace(RECORD, emulated=True))
    assert "EMULATED" in merged.warning
    titles = [content.title for each in merged.parts for content in each.contents]
    assert len(titles) > 4
    assert all(title.endswith("(emulated: invented)") for title in titles)


def test_a_sweep_shows_bottlenecks_first_and_its_jobs_then() -> None:
    jobs = Page(title="Sweep", parts=(Part(title="Jobs"), Part(title="Command")))
    titles = [each.title for each in joined_page(jobs, page()).parts]
    assert titles == ["Bottlenecks", "Pipes", "Roofline", "Jobs", "Merged runs", "Command"]


def test_kinds_whose_durations_differ_between_runs_are_shown() -> None:
    times: dict[str, list[object]] = {
        f"duration_ns@{run}": [slow, 300_000, 100_000]
        for run, slow in zip(RUNS, (1_000_000, 2_000_000, 2_000_000), strict=True)
    }
    table = bottlenecks(joined(RUNS, COLUMNS | times), RUNS, analysis())
    assert table["perturbed"].any()
    titles = [content.title for content in part(page(table=table), "Bottlenecks").contents]
    assert any(title.startswith("Perturbed") for title in titles)
