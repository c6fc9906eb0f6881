"""Imported captures become runs: checked against their own metadata, and left as they are."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.capture import external
from harness.capture.run_record import RunRecord, record_of
from harness.cli.progress import ConsoleProgress
from harness.errors import RefusedError
from harness.pipeline.reading import read_capture, read_run
from harness.readers.ascend import folder as ascend
from harness.report.console import Console
from tests.support.ascend_folders import (
    COMMON,
    EVENTS,
    EXPERIMENTAL,
    FILES,
    HEADER,
    KERNELS,
    folder,
    info,
)

PLATFORM = "PLATFORM_20260101120000000"
WITH_MODULES = {
    "common_config": COMMON | {"with_modules": True},
    "experimental_config": EXPERIMENTAL,
}


def forbid(monkeypatch: pytest.MonkeyPatch, method: str, name: str) -> None:
    there = getattr(Path, method)

    def forbidden(path: Path, *args: Any, **named: Any) -> Any:
        if name in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return there(path, *args, **named)

    monkeypatch.setattr(Path, method, forbidden)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def imported(path: Path, out: Path) -> RunRecord:
    return read_capture(path, out).record


def statuses(record: RunRecord) -> dict[str, str]:
    return {item.setting.rpartition(".")[2]: item.status for item in record.delivery}


def test_a_capture_is_checked_against_its_own_metadata_and_stays_as_it_is(tmp_path: Path) -> None:
    capture = folder(tmp_path / "there", FILES, info())
    before = snapshot(tmp_path / "there")
    record = imported(capture, tmp_path / "out")
    assert statuses(record) == {
        "activities": "delivered",
        "record_shapes": "delivered",
        "with_stack": "delivered",
        "profiler_level": "delivered",
        "export_type": "delivered",
        "with_flops": "not_requested",
        "aic_metrics": "not_requested",
        "read": "not_checkable",
    }
    assert (record.exit_code, record.verdict, record.status) == (0, "delivered", "ok")
    assert record.requested["profiler.experimental.profiler_level"] == "Level1"
    assert (record.device, record.versions["torch_npu"]) == ("npu", "2.7.1")
    assert (tmp_path / "out" / "raw" / capture.name).resolve() == capture
    assert pl.read_parquet(tmp_path / "out" / "tables" / "kernels.parquet").height == 4
    assert str(capture) in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert snapshot(tmp_path / "there") == before


def test_level0_is_seen_in_its_kernels_beside_communication_that_has_a_core(
    tmp_path: Path,
) -> None:
    core = HEADER.index("Accelerator Core")
    lean = [[*row[:core], "N/A", *row[core + 1 :]] for row in KERNELS[:2]]
    files = FILES | {"kernel_details.csv": [HEADER, *lean, KERNELS[2]]}
    record = imported(folder(tmp_path, files, info(_profiler_level="Level0")), tmp_path / "out")
    assert statuses(record)["profiler_level"] == "delivered"


def test_what_was_requested_and_did_not_arrive_ends_in_exit_3(tmp_path: Path) -> None:
    record = imported(folder(tmp_path, FILES, info(_profiler_level="Level0")), tmp_path / "out")
    assert statuses(record)["profiler_level"] == "substituted"
    assert (record.exit_code, record.verdict, record.status) == (3, "not_delivered", "ok")


def test_no_setting_of_a_capture_without_metadata_is_checked(tmp_path: Path) -> None:
    record = imported(folder(tmp_path, FILES), tmp_path / "out")
    assert (record.exit_code, record.verdict) == (0, "delivered")
    assert statuses(record) == {"read": "not_checkable"}
    text = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "the capture does not record which settings were requested" in text


def test_ranks_of_one_profile_are_one_run(tmp_path: Path) -> None:
    for rank, exports in ((0, ["text", "db"]), (1, ["db", "text"])):
        # torch_npu keeps a set, and writes it in any order.
        folder(tmp_path / "both" / str(rank), FILES, info(rank, _export_type=exports))
    record = imported(tmp_path / "both", tmp_path / "out")
    operators = pl.read_parquet(tmp_path / "out" / "tables" / "operators.parquet")
    assert operators["rank"].value_counts().sort("rank").rows() == [(0, 6), (1, 6)]
    assert operators["id"].n_unique() == 12
    assert len(list((tmp_path / "out" / "raw").iterdir())) == 2
    assert statuses(record)["activities"] == "delivered"


def test_chrome_traces_beside_captures_are_named_and_not_read(tmp_path: Path) -> None:
    folder(tmp_path / "in" / "0", FILES, info())
    (tmp_path / "in" / "host.json").write_text('{"schemaVersion": 1, "traceEvents": []}')
    (tmp_path / "in" / "settings.json").write_text("{}")
    record = imported(tmp_path / "in", tmp_path / "out")
    assert record.exit_code == 0
    (note,) = [note for note in record.notes if "not read" in note]
    why = "torch_npu's captures are beside it: read it by itself"
    assert note == f"host.json: not read, since {why}"


def test_what_is_in_and_beside_a_capture_counts(tmp_path: Path) -> None:
    metadata = info(_host_sys=["numa"], _record_op_args=True)
    capture = folder(tmp_path / "in", FILES, metadata)
    assert imported(capture, tmp_path / "bare").exit_code == 3
    dumps = capture.parent / f"{capture.name}_op_args" / "0"
    dumps.mkdir(parents=True)
    (dumps / "a.bin").write_bytes(b"123")
    for number, place in enumerate((capture / "PLATFORM_7", capture.parent / PLATFORM)):
        place.mkdir()
        (place / "numa.db").touch()
        record = imported(capture, tmp_path / f"out{number}")
        delivery = {item.setting.rpartition(".")[2]: item for item in record.delivery}
        assert delivery["host_sys"].status == "delivered"
        assert delivery["record_op_args"].arrived == "1 files, 3 bytes"
        shutil.rmtree(place)


def test_ranks_that_nothing_reports_are_said_to_be_unknown(tmp_path: Path) -> None:
    event = {"ph": "X", "cat": "cpu_op", "name": "a", "pid": 1, "tid": 1, "ts": 1, "dur": 1}
    trace = json.dumps({"schemaVersion": 1, "traceEvents": [event]})
    (tmp_path / "in").mkdir()
    for name in ("TP-0.json", "TP-1.json"):
        (tmp_path / "in" / name).write_text(trace, encoding="utf-8")
    imported(tmp_path / "in", tmp_path / "out")
    says = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "2 captures report no rank, nor do their names: all are rank 0" in says


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "rank1.json.gz: empty"),
        (b"\0" * 99, "rank1.json.gz: empty"),
        (b'{"schema', "rank1.json.gz: cut off or broken: Unterminated string"),
        (gzip.compress(b"{}", mtime=0)[:12], "rank1.json.gz: the compressed file is cut off"),
        (b'{"a": 1}\n{"a": 2}', ""),
        (b"[[1], [2]]", ""),
    ],
)
def test_a_trace_of_which_nothing_is_left_is_named(
    tmp_path: Path, content: bytes, why: str
) -> None:
    event = {"ph": "X", "cat": "cpu_op", "name": "a", "pid": 1, "tid": 1, "ts": 1, "dur": 1}
    trace = {"schemaVersion": 1, "traceEvents": [event]}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rank0.json").write_text(json.dumps(trace), encoding="utf-8")
    (tmp_path / "in" / "rank1.json.gz").write_bytes(content)
    record = imported(tmp_path / "in", tmp_path / "out")
    (read,) = [item for item in record.delivery if item.setting == "read"]
    assert read.reason.startswith(why)
    assert read.fails == bool(why)


def test_a_rank_without_what_the_others_have_is_named(tmp_path: Path) -> None:
    rates = [["Stream Id", "Task Id", "Hit Rate"], [2, 51, "0.5"]]
    for rank, files in enumerate((FILES | {"l2_cache.csv": rates}, {"trace_view.json": EVENTS})):
        made = folder(tmp_path / "in" / str(rank), files, info(rank, _l2_cache=True))
        made.rename(made.parent / f"r{rank}_ascend_pt")
    record = imported(tmp_path / "in", tmp_path / "out")
    whys = {item.setting.rpartition(".")[2]: item.reason for item in record.delivery if item.fails}
    for setting, what in (("activities", "kernels"), ("l2_cache", "l2_cache.csv")):
        assert whys[setting].startswith(f"no {what} in 001_r1_ascend_pt: the cause is not known")
    assert record.exit_code == 3


def test_chrome_traces_of_ranks_are_distinguished_by_their_names(tmp_path: Path) -> None:
    event = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 1, "dur": 1}
    trace = {"schemaVersion": 1, "traceEvents": [event]}
    (tmp_path / "in").mkdir()
    for rank in (0, 3):
        (tmp_path / "in" / f"rank{rank}.json").write_text(json.dumps(trace), encoding="utf-8")
    (tmp_path / "in" / "other.json").write_text("{}", encoding="utf-8")
    record = imported(tmp_path / "in", tmp_path / "out")
    operators = pl.read_parquet(tmp_path / "out" / "tables" / "operators.parquet")
    assert operators["rank"].to_list() == [0, 3]
    assert (record.exit_code, record.requested, record.device) == (0, {}, "cpu")


def test_what_is_broken_is_kept_in_part_and_said(tmp_path: Path) -> None:
    cut = json.dumps(EVENTS).encode()[:-200]
    capture = folder(tmp_path, FILES | {"trace_view.json": cut})
    record = imported(capture, tmp_path / "out")
    assert (record.exit_code, statuses(record)) == (3, {"read": "partial"})
    assert "trace_view.json: cut off at byte" in record.delivery[0].reason
    assert pl.read_parquet(tmp_path / "out" / "tables" / "kernels.parquet").height == 4


def test_a_table_that_ends_early_is_noticed_by_the_count_of_another(tmp_path: Path) -> None:
    statistic = [["OP Type", "Core Type", "Count"], ["MatMulV2", "AI_CORE", 1], ["Relu", "", 2]]
    for rows, exit_code in ((KERNELS, 0), (KERNELS[:2], 3)):
        files = {"kernel_details.csv": [HEADER, *rows], "op_statistic.csv": statistic}
        root = tmp_path / str(exit_code)
        record = imported(folder(root, FILES | files), root / "out")
        assert record.exit_code == exit_code
    assert record.delivery[0].reason == (
        "kernel_details.csv: cut off: it has 2 kernels; op_statistic.csv counts 3"
    )


def test_an_imported_capture_is_read_again_without_its_source(tmp_path: Path) -> None:
    capture = folder(tmp_path / "there", FILES, info())
    record = imported(capture, tmp_path / "out")
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    (tmp_path / "out" / "summary.md").unlink()
    listener = ConsoleProgress(Console(quiet=True))
    again = read_run(tmp_path / "out", listener=listener, limit_s=None)
    assert again.record == record
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8") == summary
    (capture / ascend.OUTPUT / "kernel_details.csv").write_bytes(b"Name")
    worse = read_run(tmp_path / "out", listener=listener, limit_s=None)
    assert (worse.record.exit_code, worse.record.verdict) == (3, "not_delivered")
    capture.rename(tmp_path / "moved")
    with pytest.raises(RefusedError) as refused:
        read_run(tmp_path / "out", listener=listener, limit_s=None)
    (problem,) = refused.value.problems
    assert problem.reason == (
        f"{capture}, which was read, is no longer there, and the checks look at its files"
    )
    assert record_of(tmp_path / "out") == worse.record


def refusal(path: Path, out: Path) -> str:
    with pytest.raises(RefusedError) as raised:
        read_capture(path, out)
    return str(raised.value)


def test_captures_of_different_profiles_are_refused(tmp_path: Path) -> None:
    folder(tmp_path / "in" / "a", FILES, info())
    folder(tmp_path / "in" / "b", FILES, info(_profiler_level="Level2"))
    says = refusal(tmp_path / "in", tmp_path / "out")
    assert "they differ in profiler.experimental.profiler_level" in says
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "there is no such file or folder" in refusal(tmp_path / "absent", out)
    (tmp_path / "empty").mkdir()
    assert "there is neither a capture nor a run in it" in refusal(tmp_path / "empty", out)
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    assert "notes.txt: no reader recognises it" in refusal(tmp_path / "notes.txt", out)
    (tmp_path / "raw_ascend_pt" / "PROF_1").mkdir(parents=True)
    assert "torch_npu has not analysed it" in refusal(tmp_path / "raw_ascend_pt", out)
    (tmp_path / "half.json").write_text('{"schemaVersion": 1, "trac', encoding="utf-8")
    assert 'half.json: no list "traceEvents"' in refusal(tmp_path / "half.json", out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["kernel_details.csv", "trace_view.json"])
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    capture = folder(tmp_path / "in", FILES, info() | {"config": WITH_MODULES})
    opened = os.open

    def forbidden(path: Any, *args: Any, **named: Any) -> int:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **named)

    monkeypatch.setattr(os, "open", forbidden)
    record = imported(capture, tmp_path / "out")
    whys = {item.setting: item.reason for item in record.delivery if item.fails}
    assert record.exit_code == 3
    assert f"{name}:" in whys["read"]
    assert "Permission denied" in whys["read"]
    assert "contradict" not in whys["read"]


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "others"):
        folder(tmp_path / "in" / name, FILES, info())
    forbid(monkeypatch, "is_file", "others")
    record = imported(tmp_path / "in", tmp_path / "out")
    (read,) = [item for item in record.delivery if item.setting == "read"]
    assert read.reason == "host_1_20260101120000000_ascend_pt: cannot be read: Permission denied"
    forbid(monkeypatch, "exists", "others")
    says = refusal(tmp_path / "in" / "others", tmp_path / "more")
    assert "cannot be read: Permission denied" in says


def test_a_folder_with_anything_in_it_is_not_written_to(tmp_path: Path) -> None:
    capture = folder(tmp_path / "in", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep", encoding="utf-8")
    assert "there is something in its place already" in refusal(capture, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    file = tmp_path / "out" / "mine.txt"
    assert "there is something in its place already" in refusal(capture, file)
    assert "cannot be written there: Not a directory" in refusal(capture, file / "below")


def test_a_renamed_capture_and_its_output_folder_are_found(tmp_path: Path) -> None:
    capture = folder(tmp_path, FILES, info()).rename(tmp_path / "renamed")
    for path in (capture, capture / ascend.OUTPUT):
        assert external.read(path).captures == (capture,)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_damage_to_a_capture_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    capture = folder(tmp_path_factory.mktemp("damaged"), FILES, info())
    files = sorted(path for path in capture.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:at])
    else:
        path.write_bytes(content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :])
    try:
        read = external.read(capture)
    except RefusedError as error:
        assert capture.name in str(error)  # noqa: PT017
    else:
        assert read.results
        external.expected_settings(read.info)
        external.not_requested(read.info.settings)


def test_half_a_surrogate_pair_in_the_metadata_is_replaced(tmp_path: Path) -> None:
    """JSON can spell it, and no file can hold it."""
    capture = folder(tmp_path / "there", FILES, {**info(), "torch_npu_version": "2.7\ud800"})
    record = imported(capture, tmp_path / "out")
    assert "2.7?" in record.versions.values()
    assert (tmp_path / "out" / "summary.md").exists()
