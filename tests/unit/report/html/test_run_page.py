"""Every figure on the page of a run is the one of its tables; what is not there says why."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from harness.analyses.registry import run_analyses
from harness.capture.capture import Capture
from harness.capture.run_record import Delivery, RankResult, RunRecord, Timing
from harness.report.html.page import Page, Part
from harness.report.html.redaction import redacted, redacted_page, secrets_of
from harness.report.html.render import html
from harness.report.html.run import ROWS, Shown, run_page
from harness.report.results import RunResults
from harness.report.run import sections as sections_of
from harness.report.section import Section
from tests.support.captures import Columns, capture
from tests.support.pages import Document

TIMING = {
    "baseline": Timing(steps=5, median_ns=2_000, min_ns=1_900, max_ns=2_100),
    "active": Timing(steps=3, median_ns=3_001, min_ns=2_000, max_ns=4_000),
}
RECORD = RunRecord(
    status="ok",
    verdict="delivered",
    exit_code=0,
    versions={"torch": "2.13.0"},
    host="secret-host",
    device="cuda",
    device_name="A GPU",
    overrides=("device=cuda", "workload.target=secret_module:make"),
    timing=TIMING,
    requested={
        "device.name": "cuda",
        "workload.name": "callable",
        "workload.target": "secret_module:make",
        "rehearsal.emulate": False,
        "execution.kind": "torchrun",
        "profiler.activities": ["host", "device"],
        "profiler.with_stack": True,
        "profiler.profile_memory": False,
    },
    effective={"profiler.with_stack": True},
    recorded_steps=1,
)
RECORDED = capture(
    operators={
        "id": [0, 1, 2],
        "step": [1, 1, 1],
        "thread": [1, 1, 1],
        "name": ["aten::mm", "aten::mm", "aten::<b>add"],
        "input_shapes": [[[2, 3], [3, 4]], [[2, 3], [3, 4]], None],
        "start_ns": [1_000, 1_100, 1_300],
        "duration_ns": [31, 47, 29],
        "self_ns": [31, 47, 29],
        "stack_id": [1, 1, None],
    },
    kernels={
        "step": [1, 1, 1],
        "device": [0, 0, 0],
        "stream": [7, 7, 8],
        "name": ["mm_kernel", "mm_kernel", "add_kernel"],
        "type": ["kernel", "kernel", "gpu_memcpy"],
        "start_ns": [1_010, 1_120, 1_150],
        "duration_ns": [53, 61, 71],
    },
    stacks={"stack_id": [1], "frames": [["secret_model.py(3): forward", "/home/me/x.py(9): go"]]},
)


def shown(record: RunRecord = RECORD, recorded: Capture = RECORDED) -> Shown:
    results = RunResults(record=record, analyses=run_analyses(recorded), folder="/home/me/run")
    return Shown(results=results, tables=recorded.tables)


def document(record: RunRecord = RECORD, recorded: Capture = RECORDED) -> Document:
    return Document(html(run_page(shown(record, recorded))))


def reason(page: Page, title: str) -> str:
    (part,) = [part for part in page.parts if part.title == title]
    assert part.contents == ()
    return part.absent


def test_tables_have_the_numbers_of_the_analyses() -> None:
    page, analyses = document(), run_analyses(RECORDED)
    hot = analyses["hot_operators"]
    title = "Operators by self time, all recorded steps"
    assert page.column(title, 2) == hot["count"].to_list() == [2, 1]
    assert page.column(title, 3) == hot["self_ns"].to_list() == [78, 29]
    assert page.column(title, 4) == hot["share"].to_list() == [78 / 107, 29 / 107]
    assert page.texts_of(title, 0) == ["aten::mm", "aten::<b>add"]
    assert page.texts_of(title, 1) == ["[2,3] [3,4]", "–"]
    kernels = "Kernels by device time, all recorded steps"
    assert page.column(kernels, 2) == analyses["hot_kernels"]["duration_ns"].to_list() == [114, 71]
    types = "Kernels by type, all recorded steps"
    assert page.column(types, 2) == [114, 71]
    assert page.column(types, 3) == [57, 71]
    assert page.column("Step time", 2) == [2_000, 3_001]
    steps = analyses["step_breakdown"]
    assert page.column("Steps on the device", 1) == steps["span_ns"].to_list() == [211]


def test_figures_have_the_numbers_of_the_tables() -> None:
    page = document()
    (compute, idle) = page.figure("What the device did, from a step's first kernel to its last")[
        "series"
    ]
    assert (compute, idle) == (
        {"name": "compute", "values": [154]},
        {"name": "idle", "values": [57]},
    )
    lanes = {
        lane["name"]: sum(lane["busy_ns"])
        for lane in page.figure("Use of device and host")["lanes"]
    }
    assert lanes == {
        "device 0 · stream 7": 114,
        "device 0 · stream 8": 71,
        "thread 1": 107,
    }
    frames = page.figure("Self time of operators by the code that called them")["frames"]
    assert [(name, total) for name, _, total, _ in frames] == [
        ("all operators with a stack", 78),
        ("/home/me/x.py(9): go", 78),
        ("secret_model.py(3): forward", 78),
        ("aten::mm", 78),
    ]
    bars = page.figure("Device time by type of kernel")
    assert (bars["labels"], bars["series"][0]["values"]) == (["kernel", "gpu_memcpy"], [114, 71])


def test_tiles_have_the_numbers_of_the_record() -> None:
    tiles = {tile.name: tile.value for tile in run_page(shown()).tiles}
    assert tiles == {
        "verdict": "delivered",
        "unprofiled step": 2_000,
        "profiled step": 3_001,
        "profiled / unprofiled": 3_001 / 2_000,
        "device busy": pytest.approx(154 / 211),
    }


def test_a_table_has_its_first_rows_and_a_link_to_all() -> None:
    count = ROWS + 40
    operators: Columns = {
        "id": list(range(count)),
        "step": [1] * count,
        "name": [f"op {number}" for number in range(count)],
        "self_ns": [1 + number for number in range(count)],
    }
    page = document(recorded=capture(operators=operators))
    title = "Operators by self time, all recorded steps"
    assert page.column(title, 2) == [float(count - place) for place in range(ROWS)]
    assert "40 more in analyses/" in page.texts["li"]
    hrefs = [named.get("href") for tag, named in page.tags if tag == "a"]
    assert {"analyses/hot_operators.parquet", "tables/operators.parquet"} <= {*hrefs}


def test_a_part_without_data_says_why() -> None:
    page = run_page(shown(recorded=capture()))
    requested = {"profiler.activities": ["host"], "profiler.with_stack": False}
    assert reason(page, "Kernels") == (
        "tables/kernels.parquet has no rows; profiler.activities=[host,device] was requested"
    )
    assert reason(page, "Memory") == (
        "tables/memory.parquet has no rows: profiler.profile_memory=false, and"
        " profiler.profile_memory=true records them"
    )
    assert reason(page, "Code") == (
        "tables/stacks.parquet has no rows; profiler.with_stack=true was requested"
    )
    assert reason(page, "Timeline") == "no operator and no kernel of the recorded steps has a time"
    record = replace(RECORD, requested=RECORD.requested | requested, timing={})
    page = run_page(shown(record, capture()))
    assert reason(page, "Kernels").endswith("profiler.activities=[host] was requested")
    assert reason(page, "Code").endswith("profiler.with_stack=true records them")
    assert reason(page, "Step times") == "no step was timed: run.json has no step times"
    imported = replace(RECORD, requested={}, source="trace.json", overrides=())
    assert reason(run_page(shown(imported, capture())), "Code") == (
        "tables/stacks.parquet has no rows; the capture does not record whether profiler.with_stack"
        " was requested"
    )


def test_invented_values_say_so_in_each_figure() -> None:
    page = run_page(shown(replace(RECORD, emulated=True)))
    assert "EMULATED" in page.warning
    measured = {"Step times", "Timeline", "Kernels", "Operators", "Code"}
    titles = [
        content.title for part in page.parts if part.title in measured for content in part.contents
    ]
    assert len(titles) > 8
    assert all(title.endswith("(emulated: invented)") for title in titles)
    assert not run_page(shown()).warning


def test_the_wall_time_has_a_part_where_it_was_analysed() -> None:
    made_from = shown()
    wall = pl.DataFrame(
        {
            "rank": [0, 0],
            "step": [1, 1],
            "stage": [None, None],
            "part": ["compute", "idle"],
            "duration_ns": [30, 10],
        }
    )
    titles = [part.title for part in run_page(made_from).parts]
    assert "Where the wall time goes" not in titles
    analyses = {**made_from.results.analyses, "wall_time": wall}
    made_from = replace(made_from, results=replace(made_from.results, analyses=analyses))
    page = Document(html(run_page(made_from)))
    bars = page.figure("Where the wall time of each step goes")
    assert bars["series"] == [{"name": "compute", "values": [30]}, {"name": "idle", "values": [10]}]


def test_a_job_says_which_rank_its_figures_are_of_and_links_to_all() -> None:
    ranks = tuple(
        RankResult(rank=rank, records=True, status="ok", verdict="delivered", exit_code=0)
        for rank in (0, 1)
    )
    made_from = replace(
        shown(replace(RECORD, ranks=ranks, world_size=2)), rank_pages=(0, 1), across={}
    )
    page = run_page(made_from)
    (part,) = [part for part in page.parts if part.title == "Ranks"]
    assert [link.path for link in part.pages] == ["ranks/0/report.html", "ranks/1/report.html"]
    (operators,) = [part for part in page.parts if part.title == "Operators"]
    assert operators.contents[0].title.endswith(" · rank 0")
    assert operators.links[0].path == "ranks/0/analyses/hot_operators.parquet"


def test_a_job_whose_ranks_left_no_tables_has_a_page() -> None:
    results = RunResults(record=RECORD, analyses={}, folder="x")
    page = run_page(Shown(results=results, tables=None))
    assert reason(page, "Operators") == "no rank has left tables that can be shown"
    assert reason(run_page(Shown(results=results, tables=None, rank_pages=(0,))), "Code") == (
        "the pages of the ranks have it"
    )


def test_the_command_and_every_setting_are_shown() -> None:
    page = document()
    assert "python -m harness device=cuda workload.target=secret_module:make" in page.texts["pre"]
    settings = dict(zip(page.texts_of("Settings", 0), page.texts_of("Settings", 1), strict=True))
    assert settings["profiler.with_stack"] == "true"
    assert settings["profiler.activities"] == '["host","device"]'
    assert page.texts_of("Settings", 2).count("true") == 1


def redacted_content(record: RunRecord, folder: Path) -> str:
    page = run_page(redacted(shown(record)))
    return html(redacted_page(page, secrets_of([record], folder))).decode()


def test_a_redacted_page_has_nothing_private(tmp_path: Path) -> None:
    missing = Delivery(
        setting="profiler.with_stack",
        requested="true",
        arrived="",
        status="missing",
        expectation="",
        reason=f"harness.log on secret-host: {tmp_path}/run/harness.log, train.py:9 in /opt/mine/a",
    )
    note = (
        "see ~/notes/plan.txt and /data/set (3); C:\\Users\\me, \\\\nas-7\\share, ../up/x;"
        " into secret-host_12_ascend_pt"
    )
    record = replace(RECORD, delivery=(missing,), notes=(note,), exit_code=3)
    content = redacted_content(record, tmp_path)
    for secret in (
        "secret",
        str(tmp_path),
        "/home/me",
        "/opt/mine",
        "train.py",
        "~/notes",
        "/data",
        "Users",
        "nas-7",
        "up/x",
    ):
        assert secret not in content, secret
    page = Document(content.encode())
    assert page.column("Operators by self time, all recorded steps", 3) == [78, 29]
    hrefs = [str(named["href"]) for tag, named in page.tags if tag == "a"]
    assert all(href.startswith("#") for href in hrefs)
    settings = dict(zip(page.texts_of("Settings", 0), page.texts_of("Settings", 1), strict=True))
    assert settings["workload.target"] == "(left out)"
    assert settings["profiler.with_stack"] == "true"
    assert "secret" in html(run_page(shown(record))).decode()


def test_a_redacted_page_keeps_what_is_not_private(tmp_path: Path) -> None:
    page = Document(redacted_content(RECORD, tmp_path).encode())
    whole = document()
    for title, rows in whole.tables.items():
        if title not in {"Settings", "Where it ran", "Functions outside torch"}:
            assert page.tables[title] == rows, title
    assert not math.isnan(page.column("Step time", 1)[0])


def test_values_of_private_settings_may_stand_nowhere_in_the_page_of_a_sweep() -> None:
    values = {"device.environment": {"TOKEN": "abc"}, "workload.args": ["--key", 17], "name": "mlp"}
    secrets = secrets_of([replace(RECORD, requested=values)], Path("/run"))
    assert {"abc", "17"} < set(secrets)
    assert not {"TOKEN", "mlp"} & set(secrets)
    note = Section(title="Jobs", notes=("best: TOKEN=abc",))
    page = redacted_page(Page(title="", parts=(Part(title="", contents=(note,)),)), secrets)
    assert page.parts[0].contents == (replace(note, notes=("best: TOKEN=(left out)",)),)


@pytest.mark.parametrize("name", ["x", "x.", "/a", "/a(1)", "C:\\a", "../"])
def test_a_long_name_is_looked_through_once(name: str) -> None:
    began = time.process_time()
    redacted_page(Page(title=name * 100_000, parts=()), ["secret"])
    assert time.process_time() - began < 5


def test_columns_of_source_code_do_not_reach_a_redacted_page() -> None:
    made_from = shown()
    table = pl.DataFrame({"device": ["cpu"], "line": ["secret.py:3"], "bytes": [7]})
    by_line = pl.DataFrame({"file": ["secret.py"], "text": ["secret()"], "duration_ns": [7]})
    analyses = {**made_from.results.analyses, "peaks": table, "by_line": by_line}
    results = replace(made_from.results, analyses=analyses)
    made_from = redacted(replace(made_from, results=results))
    assert made_from.record.overrides == ()
    assert made_from.record.requested["workload.target"] == "(left out)"
    public = made_from.results.analyses
    assert public["peaks"].rows() == [("cpu", None, 7)]
    assert public["by_line"].is_empty()
    assert public["hot_operators"].equals(analyses["hot_operators"])


def test_every_figure_of_the_summary_is_on_the_page() -> None:
    page = run_page(shown())
    sections = {each.title for part in page.parts for each in part.contents}
    summary = sections_of(RECORD, run_analyses(RECORDED), "x")
    figures = {section.title for section in summary} - {"harness", "Files"}
    assert figures <= sections
    assert len(figures) > 5


@pytest.mark.parametrize(
    ("changes", "verdict", "tone"),
    [
        ({}, "delivered", "good"),
        ({"verdict": "not_delivered", "exit_code": 3}, "not delivered", "bad"),
        ({"verdict": "pending"}, "pending", "warning"),
        ({"status": "failed", "exit_code": 1, "verdict": "not_delivered"}, "failed", "bad"),
        ({"source": "trace.json", "requested": {}}, "not checked", "plain"),
    ],
)
def test_the_first_tile_is_the_verdict(changes: dict[str, Any], verdict: str, tone: str) -> None:
    tile = run_page(shown(replace(RECORD, **changes))).tiles[0]
    assert (tile.value, tile.tone) == (verdict, tone)


def test_a_user_whom_the_system_does_not_know_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1 << 30)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert secrets_of([RECORD], Path("/run"))[:2] == [RECORD.host, "/run"]
    monkeypatch.setenv("HOME", "/home/me")
    assert secrets_of([RECORD], Path("/run"))[-1] == "/home/me"
