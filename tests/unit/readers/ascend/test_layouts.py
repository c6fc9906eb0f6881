"""Captures under other names and in other layouts: msprof's, MindSpore's, copied and bare files."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from harness.capture import external
from harness.capture.external import ExternalCapture
from harness.errors import RefusedError
from tests.support import ascend_databases
from tests.support.ascend_folders import (
    BASE_NS,
    EVENTS,
    FILES,
    HEADER,
    KERNELS,
    NPU,
    STREAM,
    column,
    folder,
    info,
    us,
)

_OF_MSPROF = {
    "Name": "Op Name",
    "Type": "OP Type",
    "Accelerator Core": "Task Type",
    "Start Time(us)": "Task Start Time(us)",
    "Duration(us)": "Task Duration(us)",
    "Wait Time(us)": "Task Wait Time(us)",
}
SUMMARY = [
    [_OF_MSPROF.get(name, name) for name in HEADER[1:]],
    *(row[1:] for row in KERNELS),
]


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(json.dumps(content).encode()))
    elif path.suffix == ".json":
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows(content)
    return path


def msprof(root: Path) -> Path:
    """Write an export of msprof: an older one of a single kernel beside one in two slices."""
    capture = root / "PROF_000001_20260101000000000_ABCDEFGH"
    output = capture / "mindstudio_profiler_output"
    write(output / "op_summary_20250101000003.csv", SUMMARY[:2])
    write(output / "op_summary_slice_0_20260101000003.csv", SUMMARY[:3])
    write(output / "op_summary_slice_1_20260101000003.csv", [SUMMARY[0], *SUMMARY[3:]])
    write(output / "msprof_20260101000002.json", EVENTS)
    write(output / "op_statistic_20260101000003.csv", [["OP Type", "Count"], ["MatMulV2", 3]])
    return capture


def refusal(path: Path) -> str:
    with pytest.raises(RefusedError) as refused:
        external.read(path)
    return str(refused.value)


def durations(capture: ExternalCapture) -> list[int]:
    (result,) = capture.results
    return column(result.frames["kernels"], "duration_ns")


ALL = [1_557, 53_741, 79_089_522, 6_000]


def test_an_export_of_msprof_is_read_whatever_leads_to_it(tmp_path: Path) -> None:
    capture = msprof(tmp_path / "in")
    for path in (tmp_path / "in", capture, capture / "mindstudio_profiler_output"):
        result = external.read(path)
        assert result.captures == (capture,)
        assert durations(result) == ALL
        assert (result.lost, result.remarks) == ((), ())
        kernels = result.results[0].frames["kernels"]
        assert column(kernels, "type") == ["MatMulV2", "Relu", "hcom_allReduce_", "MemSet"]
        assert column(kernels, "core")[:2] == ["AI_CORE", "MIX_AIV"]
        assert column(kernels, "start_ns")[0] == BASE_NS + 40_000
        assert column(kernels, "input_shapes")[0] == [[32, 64], [64, 128], []]
        assert result.results[0].frames["operators"].height == 6
        assert column(kernels, "operator")[0] == 1


def test_msprofs_data_in_a_capture_that_torch_npu_has_not_analysed_are_read(tmp_path: Path) -> None:
    outer = tmp_path / "host_1_20260101120000000_ascend_pt"
    capture = msprof(outer)
    write(outer / "profiler_info_3.json", info(3))
    # The analysis failed early.
    write(outer / "ASCEND_PROFILER_OUTPUT" / "step_trace_time.csv", [["Step"], [3]])
    result = external.read(outer)
    assert result.captures == (capture,)
    assert column(result.results[0].frames["kernels"], "rank") == [3] * 4
    assert result.info.settings["profiler.experimental.profiler_level"] == "Level1"


def test_a_part_of_an_export_is_read_and_the_other_is_named(tmp_path: Path) -> None:
    capture = msprof(tmp_path)
    (capture / "mindstudio_profiler_output" / "msprof_20260101000002.json").unlink()
    assert external.read(capture).lost == ("msprof_*.json: no such file, so no operators",)
    capture = msprof(tmp_path / "other")
    for path in capture.rglob("op_s*.csv"):
        path.unlink()
    (why,) = external.read(capture).lost
    assert why.startswith("op_summary_*.csv: no such file: its 2 kernels are those of the timeline")


@pytest.mark.parametrize("rows", [SUMMARY, [HEADER, *KERNELS]])
@pytest.mark.parametrize("name", ["kernel_details.csv", "op_summary_1.csv", "mine.csv"])
def test_a_bare_table_of_kernels_is_read(tmp_path: Path, name: str, rows: Any) -> None:
    result = external.read(write(tmp_path / name, rows))
    assert durations(result) == ALL
    assert result.lost == ()
    assert result.info.device == "npu"


@pytest.mark.parametrize(
    "name", ["trace_view.json", "msprof_20260101000002.json", "mine.json", "mine.json.gz"]
)
@pytest.mark.parametrize("in_object", [False, True])
def test_a_bare_timeline_has_operators_and_the_kernels_of_its_device(
    tmp_path: Path, name: str, in_object: bool
) -> None:
    others = [
        {"ph": "X", "name": word, "pid": NPU, "tid": STREAM, "ts": us(at), "dur": 2, "args": args}
        for word, at, args in (
            ("EVENT_RECORD", 50_000, {"Task Type": "EVENT_RECORD_SQE"}),
            ("Notify_Wait", 60_000, {"Task Type": "Notify Wait"}),
            ("hcom_allReduce__1_0_1", 70_000, {"connection_id": 3}),
        )
    ]
    others[2]["pid"] = 3296
    events = [*EVENTS, *others]
    content = {"traceEvents": events} if in_object else events
    result = external.read(write(tmp_path / name, content))
    frames = result.results[0].frames
    assert frames["operators"].height == 6
    assert column(frames["kernels"], "name") == ["MatMul", "Relu", "hcom_allReduce__1_0_1"]
    assert durations(result) == [1_500, 1_500, 2_000]
    assert column(frames["kernels"], "core") == ["AI_CORE", "AI_CORE", "COMMUNICATION"]
    assert column(frames["kernels"], "stream") == [2, 2, None]
    assert column(frames["kernels"], "device") == [3, 3, 3]
    assert result.lost == ()
    (remark,) = result.remarks
    assert remark == (
        f"{name}: its 3 kernels are those of the timeline, without shapes and counters"
    )


@pytest.mark.parametrize(
    "name",
    ["ascend_pytorch_profiler_0.db", "ascend_mindspore_profiler_0.db", "msprof_1.db", "x.db"],
)
def test_a_bare_database_is_read(tmp_path: Path, name: str) -> None:
    ascend_databases.write(tmp_path / name, ascend_databases.capture_tables())
    result = external.read(tmp_path / name)
    assert result.results[0].frames["kernels"].height == 3
    assert result.info.device == "npu"


def test_msprofs_database_is_read_where_its_folder_is_named(tmp_path: Path) -> None:
    capture = tmp_path / "PROF_000001_20260101000000000_ABCDEFGH"
    capture.mkdir()
    every = ascend_databases.capture_tables()
    tables = {name: rows for name, rows in every.items() if not name.startswith("PYTORCH")}
    ascend_databases.write(capture / "msprof_20260101000002.db", tables)
    result = external.read(tmp_path)
    assert result.captures == (capture,)
    assert result.results[0].frames["kernels"].height == 3
    assert "operators" not in result.results[0].frames


def test_captures_are_found_under_any_names(tmp_path: Path) -> None:
    for rank in (0, 1):
        made = folder(tmp_path / "made", FILES, info(rank))
        made.rename(tmp_path / f"host_{rank}_20260101120000000_ascend_ms")
    (copied := tmp_path / "rank2").mkdir()
    for path in folder(tmp_path / "made", FILES).joinpath("ASCEND_PROFILER_OUTPUT").iterdir():
        path.rename(copied / path.name)
    result = external.read(tmp_path)
    ranks = [column(each.frames["kernels"], "rank")[0] for each in result.results]
    assert sorted(ranks) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("output_path", "/data/a", "/data/b"),
        ("worker_name", "one", "two"),
        ("on_trace_ready", "/x/0", "/x/1"),
    ],
)
def test_what_names_a_place_may_differ_between_captures(
    tmp_path: Path, name: str, first: str, second: str
) -> None:
    for rank, place in enumerate((first, second)):
        own = info(rank)
        own["config"] = own["config"] | {
            "common_config": own["config"]["common_config"] | {name: place}
        }
        folder(tmp_path / str(rank), FILES, own)
    result = external.read(tmp_path)
    assert len(result.captures) == 2
    assert f"profiler.{name}" not in result.info.settings
    assert result.info.settings["profiler.record_shapes"] is True


def test_summaries_of_msprof_analyze_are_named(tmp_path: Path) -> None:
    capture = folder(tmp_path, FILES, info())
    summary = tmp_path / "cluster_analysis_output"
    write(summary / "cluster_communication.json", {})
    result = external.read(tmp_path)
    assert result.captures == (capture,)
    (remark,) = result.remarks
    assert remark.startswith("cluster_analysis_output: not read: msprof-analyze made it from")
    (alone := tmp_path / "alone").mkdir()
    summary.rename(alone / summary.name)
    for path in (alone, alone / summary.name):
        assert "cluster_analysis_output: msprof-analyze made it from captures" in refusal(path)


@pytest.mark.parametrize(
    ("export", "missing"),
    [
        ("text", "kernel_details.csv, trace_view.json are not there (its export_type is Text)"),
        ("db", "ascend_pytorch_profiler*.db is not there (its export_type is Db)"),
        (["db"], "ascend_pytorch_profiler*.db is not there (its export_type is Db)"),
    ],
)
def test_files_that_were_not_copied_along_are_named(
    tmp_path: Path, export: Any, missing: str
) -> None:
    files = {"step_trace_time.csv": [["Step", "Free"], [3, 1.0]]}
    capture = folder(tmp_path, files, info(_export_type=export))
    says = refusal(capture)
    there = "ASCEND_PROFILER_OUTPUT has only step_trace_time.csv"
    assert f"{missing}: {there}, and there is no PROF_* folder to make more from" in says
    assert "analyse(" not in says
    (capture / "PROF_000001_1_A").mkdir()
    says = refusal(capture)
    assert f"{missing}: {there}; its PROF_* folder is there: call torch_npu" in says


def test_raw_data_of_msprof_are_named(tmp_path: Path) -> None:
    raw = tmp_path / "PROF_000001_1_A"
    (raw / "device_0" / "data").mkdir(parents=True)
    assert "PROF_000001_1_A: msprof has not exported it" in refusal(raw)


def test_a_capture_of_2023_has_rows_that_end_early_and_operators_without_times(
    tmp_path: Path,
) -> None:
    details = [
        [
            *("Name", "Input Shapes", "Call Stack", "Host Self Duration(us)"),
            *("Host Total Duration(us)", "Device Self Duration(us)", "Device Total Duration(us)"),
        ],
        ["aten::mm", "64,128;\n128,32", "a.py(1): f;\nb.py(2): g", "20.5", "30.25", "12.5", "12.5"],
        ["aten::add", "", "", "1", "1"],
    ]
    # The row of communication ends after its block numbers.
    rows = [HEADER, KERNELS[0], KERNELS[2][:14], [*KERNELS[1], ""]]
    files = {"kernel_details.csv": rows, "operator_details.csv": details}
    result = external.read(folder(tmp_path, files))
    frames = result.results[0].frames
    assert durations(result) == [1_557, 79_089_522, 53_741]
    operators = frames["operators"]
    assert column(operators, "name") == ["aten::mm", "aten::add"]
    assert column(operators, "input_shapes") == [[[64, 128], [128, 32]], None]
    assert column(operators, "self_ns") == [20_500, 1_000]
    assert column(operators, "duration_ns") == [30_250, 1_000]
    assert column(operators, "device_ns") == [12_500, None]
    assert column(operators, "start_ns") == [None, None]
    assert column(operators, "id") == [0, 1]
    assert frames["stacks"].height == 1
    untimed = "operator_details.csv, without start, thread and step, and not linked to kernels"
    assert result.lost == (f"trace_view.json: no such file: operators are those of {untimed}",)
    assert "kernel_details.csv: 1 rows end early; their other cells are null" in result.remarks


def test_databases_of_several_ranks_in_one_folder_are_all_read(tmp_path: Path) -> None:
    for rank in (0, 1, 5):
        tables = ascend_databases.capture_tables()
        if rank:
            tables["RANK_DEVICE_MAP"] = "rankId, deviceId", [(rank, 0)]
        ascend_databases.write(tmp_path / f"ascend_pytorch_profiler_{rank}.db", tables)
    result = external.read(tmp_path)
    ranks = [column(part.frames["kernels"], "rank") for part in result.results]
    assert sorted(ranks) == [[0] * 3, [1] * 3, [5] * 3]
    assert result.remarks == ()


def test_exports_of_msprof_have_the_rank_of_the_folder_around_them(tmp_path: Path) -> None:
    for rank in (0, 1):
        msprof(tmp_path / f"rank{rank}")
    result = external.read(tmp_path)
    ranks = [column(part.frames["kernels"], "rank") for part in result.results]
    assert sorted(ranks) == [[0] * 4, [1] * 4]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("step_trace_time.csv", "it holds device time of each step"),
        ("op_statistic_20260101000003.csv", "it holds time and count of kernels by type and core"),
        ("profiler_info_0.json", "it holds the profiler's settings"),
        ("analysis.db", "it holds communication and step times, as a database"),
        ("cluster_step_trace_time.csv", "msprof-analyze made it from captures of several ranks"),
        ("notes.csv", "no reader recognises it"),
    ],
)
def test_a_file_that_is_not_read_by_itself_is_called_by_name(
    tmp_path: Path, name: str, why: str
) -> None:
    content = "{}" if name.endswith(".json") else "a,b\n1,2\n"
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert f"{name}: {why}" in refusal(tmp_path / name)
    assert (f"{name}: {why}" in refusal(tmp_path)) == (name != "notes.csv")


def test_a_database_is_read_rather_than_operators_without_times(tmp_path: Path) -> None:
    details = [["Name", "Host Self Duration(us)", "Host Total Duration(us)"], ["a", "1", "1"]]
    capture = folder(tmp_path, {"operator_details.csv": details})
    output = capture / "ASCEND_PROFILER_OUTPUT"
    ascend_databases.write(output / "ascend_pytorch_profiler.db", ascend_databases.capture_tables())
    frames = external.read(capture).results[0].frames
    assert column(frames["operators"], "name") == ["aten::linear", "aclnnAddmm", "aten::item"]
