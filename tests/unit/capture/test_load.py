"""Every run folder loads by one function: of a run or an import, whole or partial."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest
from msgspec.structs import replace

from harness import tables
from harness.capture import external
from harness.capture.capture import Capture
from harness.capture.capture_record import CaptureRecord, ReaderReport
from harness.capture.load import collect_capture, load_capture
from harness.capture.run_record import RunRecord
from harness.errors import RefusedError
from harness.execution.protocol import Outcome, StepTime, read_json, write_json
from harness.paths import RunFolder
from harness.settings.expectations import Expectation, ExpectedSettings
from harness.tables.event_counts import EventCounts
from tests.support.ascend_folders import FILES, folder, info
from tests.support.run_folders import run_folder

EXPECTED = ExpectedSettings(
    device="cpu",
    activities=("host",),
    effective={"profiler.record_shapes": True},
    experimental={"verbose": False},
    expectations=(Expectation(setting="profiler.activities", requested="host", description="d"),),
    recorded=(2, 3),
    accept=("with_stack",),
)
COUNTS = {"cpu_op": EventCounts(seen=3, rows=2, marks=1, hidden=0)}
RECORD = RunRecord(
    status="ok",
    verdict="delivered",
    exit_code=0,
    versions={},
    host="here",
    device="cpu",
    requested={},
)


def begun(path: Path) -> RunFolder:
    """A run that has begun, and recorded one step of one cycle."""
    run = RunFolder(path)
    write_json(CaptureRecord(expected=EXPECTED), run.capture)
    time = StepTime(phase="active", step=2, start_ns=5, duration_ns=7)
    run.steps.write_bytes(msgspec.json.encode(time) + b"\n{")
    operators = tables.frame("operators", {"id": [0], "step": [2], "name": ["aten::mm"]})
    tables.write(operators, run.cycle(0) / "operators.parquet", run.path)
    return run


def refusal(path: Path) -> str:
    with pytest.raises(RefusedError) as refused:
        load_capture(path)
    (problem,) = refused.value.problems
    return f"{problem.setting}: {problem.reason}"


def operators(capture: Capture) -> list[str]:
    return capture.tables["operators"]["name"].to_list()


def test_a_finished_run_is_loaded_from_its_tables(tmp_path: Path) -> None:
    report = ReaderReport(event_counts=COUNTS, lost=("a.csv: cut off",), remarks=("odd column",))
    run = run_folder(tmp_path, RECORD, operators={"id": [0], "name": ["aten::mm"]})
    write_json(CaptureRecord(expected=EXPECTED, reported=report), run.capture)
    write_json(Outcome(status="ok", device_name="a processor"), run.outcome)
    run.raw.mkdir()
    (run.raw / "trace.json.gz").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capture = load_capture(tmp_path)
    assert operators(capture) == ["aten::mm"]
    assert capture.expected == EXPECTED
    assert capture.outcome == Outcome(status="ok", device_name="a processor")
    assert (capture.analysis, capture.emulation, capture.calls) == (None, None, ())
    assert capture.raw == ("raw/trace.json.gz",)
    assert capture.event_counts == COUNTS
    assert capture.notes == ("a.csv: cut off", "odd column")
    assert (capture.lost, capture.source) == (("a.csv: cut off",), "")
    assert list(capture.tables) == list(tables.SCHEMAS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_run_of_an_earlier_version_has_no_lines(tmp_path: Path) -> None:
    run = run_folder(tmp_path, RECORD, operators={"id": [0], "name": ["aten::mm"]})
    write_json(CaptureRecord(expected=EXPECTED, reported=ReaderReport()), run.capture)
    write_json(Outcome(status="ok"), run.outcome)
    run.table("lines").unlink()
    capture = load_capture(tmp_path)
    assert capture.tables["lines"].equals(tables.empty("lines"))
    assert operators(capture) == ["aten::mm"]


def test_a_run_whose_harness_was_killed_is_collected_first(tmp_path: Path) -> None:
    run = begun(tmp_path)
    capture = load_capture(tmp_path)
    assert operators(capture) == ["aten::mm"]
    assert capture.tables["steps"].select("step", "duration_ns").rows() == [(2, 7)]
    assert capture.outcome.status == "failed"
    assert capture.outcome.reason == (
        "the harness died before the run ended; what was recorded by then is kept"
    )
    assert not capture.outcome.emulated
    assert read_json(run.capture, CaptureRecord).reported == ReaderReport()


def test_an_emulated_run_is_one_however_it_ended(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.calls.write_text('{"call": "aclInit", "result": 0}\n{"ca')
    capture = load_capture(tmp_path)
    assert capture.outcome.emulated
    assert capture.calls == ({"call": "aclInit", "result": 0},)


def test_what_the_child_counted_is_kept_with_the_tables(tmp_path: Path) -> None:
    run = begun(tmp_path)
    write_json(Outcome(status="ok", event_counts=COUNTS), run.outcome)
    assert collect_capture(tmp_path).event_counts == COUNTS
    assert load_capture(tmp_path).event_counts == COUNTS


def test_an_interrupted_analysis_is_none(tmp_path: Path) -> None:
    run = run_folder(tmp_path, RECORD)
    write_json(Outcome(status="interrupted"), run.analysis)
    capture = load_capture(tmp_path)
    assert capture.analysis is None
    assert (capture.outcome.status, capture.outcome.reason) == (
        "interrupted",
        "interrupted while its captures were analysed; they are kept",
    )
    write_json(Outcome(status="failed", reason="too slow"), run.analysis)
    assert load_capture(tmp_path).analysis == Outcome(status="failed", reason="too slow")


def test_tables_that_are_lost_are_not_taken_for_empty_ones(tmp_path: Path) -> None:
    run = run_folder(tmp_path, RECORD)
    run.table("kernels").unlink()
    why = "this table is gone, and so is what it was made from"
    assert refusal(tmp_path) == f"{run.table('kernels')}: {why}"
    tables.write(tables.empty("kernels"), run.cycle(0) / "kernels.parquet", run.path)
    assert load_capture(tmp_path).tables["kernels"].is_empty()


def test_a_broken_table_is_refused_when_it_is_used(tmp_path: Path) -> None:
    run = run_folder(tmp_path, RECORD, operators={"id": [0], "name": ["aten::mm"]})
    run.table("kernels").write_bytes(b"")
    capture = load_capture(tmp_path)
    assert operators(capture) == ["aten::mm"]
    with pytest.raises(RefusedError, match=r"kernels\.parquet: this table cannot be read"):
        capture.tables["kernels"]
    with pytest.raises(KeyError):
        capture.tables["colours"]


@pytest.mark.parametrize("name", ["capture", "outcome", "analysis"])
def test_a_record_of_another_version_is_refused_by_name(tmp_path: Path, name: str) -> None:
    run = run_folder(tmp_path, RECORD)
    path: Path = getattr(run, name)
    write_json(Outcome(status="ok", schema_version=2), path)
    assert refusal(tmp_path) == f"{path}: its schema_version is 2, and this harness reads 3 only"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).capture
    assert refusal(tmp_path) == f"{path}: it cannot be read: No such file or directory"


def test_an_imported_capture_is_loaded_as_it_was_read(tmp_path: Path) -> None:
    original = folder(tmp_path / "there", FILES, info())
    (tmp_path / "out").mkdir()
    imported = external.read(original)
    external.keep(imported, tmp_path / "out")
    capture = load_capture(tmp_path / "out")
    assert capture.source == str(original)
    assert capture.expected == external.expected_settings(imported.info)
    assert capture.tables["kernels"].height == 4
    assert capture.analysis == Outcome(status="ok")
    (kernels,) = [name for name in capture.raw if name.endswith("kernel_details.csv")]
    assert kernels == f"raw/{original.name}/ASCEND_PROFILER_OUTPUT/kernel_details.csv"


def test_an_import_that_was_cut_short_is_read_again(tmp_path: Path) -> None:
    original = folder(tmp_path / "there", FILES, info())
    run = RunFolder(tmp_path / "out")
    run.path.mkdir()
    whole = external.keep(external.read(original), run.path)
    write_json(replace(whole, reported=None), run.capture)
    run.table("kernels").write_bytes(b"half")
    assert load_capture(run.path).tables["kernels"].height == 4
    run.table("steps").unlink()
    assert load_capture(run.path).tables["steps"].width == len(tables.SCHEMAS["steps"])
    assert pl.read_parquet(run.table("steps"))["step"].to_list() == [7]
    assert read_json(run.capture, CaptureRecord) == whole


def test_an_original_that_is_gone_is_named(tmp_path: Path) -> None:
    original = folder(tmp_path / "there", FILES, info())
    (tmp_path / "out").mkdir()
    external.keep(external.read(original), tmp_path / "out")
    assert external.missing_originals(tmp_path / "out") == []
    original.rename(tmp_path / "moved")
    assert external.missing_originals(tmp_path / "out") == [original]


def test_a_job_of_several_ranks_has_no_tables_of_its_own(tmp_path: Path) -> None:
    RunFolder(tmp_path).rank(0).path.mkdir(parents=True)
    with pytest.raises(RefusedError) as refused:
        load_capture(tmp_path)
    (problem,) = refused.value.problems
    assert problem.fix == f"name {tmp_path / 'ranks' / '0'}"
