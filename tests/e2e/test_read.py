"""``harness read``: a run is checked again, an imported capture becomes one."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from harness import tables
from harness.configuration.composition import CONF
from tests.conftest import TINY_MLP, Harness, Run, read_record

PROFILES = sorted(path.stem for path in (CONF / "profiler/experimental/cpu").glob("[!_]*.yaml"))
TRACED = {
    "operators": [
        *("id", "step", "stage", "rank", "name", "input_shapes", "input_dtypes"),
        *("start_ns", "duration_ns", "self_ns", "device_ns", "stack_id"),
    ],
    "kernels": ["name", "start_ns", "duration_ns"],
    "memory": list(tables.SCHEMAS["memory"]),
}
"""The columns that a trace has as the run does: threads have other numbers there, and no flops."""


@pytest.fixture
def run(shared_run: Harness, tmp_path: Path) -> Run:
    """Copy a run to where `harness` is typed."""
    shared = shared_run("profiler=level1", *TINY_MLP)
    shutil.copytree(shared.folder / "outputs", tmp_path / "outputs", symlinks=True)
    return replace(shared, folder=tmp_path)


def test_a_run_read_again_is_what_it_was(harness: Harness, run: Run) -> None:
    record, operators = run.record, run.table("operators")
    read = harness("read", "outputs/latest")
    assert read.code == 0, read.err
    assert read.record == record
    assert read.table("operators").equals(operators)
    assert "everything requested was delivered" in read.out


def test_a_run_that_was_moved_is_read_where_it_is(harness: Harness, run: Run) -> None:
    (run.folder / "elsewhere").mkdir()
    run.latest.rename(run.folder / "elsewhere" / "run")
    read = harness("read", "elsewhere/run")
    assert read.code == 0, read.err
    assert "elsewhere/run: summary.md" in read.out


def test_a_run_of_the_harness_is_read_without_its_plan(harness: Harness, run: Run) -> None:
    record = run.record
    (run.latest / "plan.json").unlink()
    read = harness("read", "outputs/latest")
    assert read.code == 0, read.err
    assert read.record == record


@pytest.mark.parametrize("profile", PROFILES)
def test_a_trace_of_a_run_ends_like_the_run(
    shared_run: Harness, harness: Harness, tmp_path: Path, profile: str
) -> None:
    run = shared_run(f"profiler={profile}", *TINY_MLP)
    read = harness("read", str(run.latest / "raw" / "trace.json.gz"), "--out", "named")
    assert (read.code, run.code) == (0, 0), read.out + read.err
    named = read_record(tmp_path / "named")
    assert named.verdict == run.record.verdict == "delivered"
    arrived = {item.setting: item for item in run.record.delivery}
    carried = {item.setting: item for item in named.delivery if item.setting in arrived}
    flops = carried.pop("profiler.with_flops", None)
    assert {item.status for item in carried.values()} <= {"delivered"}
    for setting, item in carried.items():
        assert (setting, item.status, item.arrived) == (
            *(setting, arrived[setting].status, arrived[setting].arrived),
        )
    # Of what the trace's head has, torch writes all but flops.
    assert flops is None or flops.status == "not_checkable"
    for name, columns in TRACED.items():
        table = pl.read_parquet(tmp_path / "named" / "tables" / f"{name}.parquet")
        assert table.select(columns).equals(run.table(name).select(columns)), name


def test_an_imported_trace_becomes_a_run(harness: Harness, tmp_path: Path) -> None:
    step = {"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#4", "pid": 1, "tid": 1}
    mm = step | {"cat": "cpu_op", "name": "aten::mm", "ts": 20, "dur": 30.5}
    trace = {"schemaVersion": 1, "traceEvents": [step | {"ts": 10, "dur": 90}, mm]}
    (tmp_path / "t.json.gz").write_bytes(gzip.compress(json.dumps(trace).encode()))
    read = harness("read", "t.json.gz")
    assert read.code == 0, read.err
    assert "t.json.gz, recorded on cpu" in read.out
    assert "the capture does not record which settings were requested" in read.out
    assert read.table("operators").select("step", "name", "duration_ns", "self_ns").rows() == [
        (4, "aten::mm", 30_500, 30_500)
    ]
    again = harness("read", "t.json.gz", "--out", "named")
    assert again.code == 0, again.err
    assert read_record(tmp_path / "named").device == "cpu"
    assert harness("read", "t.json.gz", "--out", "named").code == 2
    named = read_record(tmp_path / "named")
    summary = (tmp_path / "named" / "summary.md").read_text(encoding="utf-8")
    (tmp_path / "named").rename(tmp_path / "moved")
    back = harness("read", "moved")
    assert back.code == 0, back.err
    assert read_record(tmp_path / "moved") == named
    kept = (tmp_path / "moved" / "summary.md").read_text(encoding="utf-8")
    assert kept == summary.replace("named", "moved")
    (tmp_path / "t.json.gz").write_bytes(b"\x1f\x8b\x08\x00")
    broken = harness("read", "t.json.gz")
    assert broken.code == 2
    assert "t.json.gz: it is cut off or damaged" in " ".join(broken.err.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["read"], "read takes one path: a capture, or the folder of one run"),
        (["read", "one", "two"], "read takes one path: a capture, or the folder of one run"),
        (["read", "empty"], "there is neither a capture nor a run in it"),
        (["read", "absent"], "there is no such file or folder"),
        (["read", "foreign", "--out", "out"], "a run is read in its own folder"),
        (["doctor", "--out", "out"], "doctor does not take this flag"),
        (["read", "empty", "seed=1"], "a run is read with its own settings"),
        (["read", "empty", "profiler.analyse_timeout_s=5"], "an imported capture is read as it is"),
        (["read", "foreign"], "foreign/run.json: it has no schema_version, so the harness did not"),
        (["read", "older"], "older/run.json: its schema_version is 2, and this harness reads 3"),
        (["read", "empty", "profiler=level2"], "a run is read with its own settings"),
        (["read", "empty", "profiler.analyse_timeout_s=soon"], "it must be seconds, or null"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_run_is_refused(
    harness: Harness, tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"status": 7}', encoding="utf-8")
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "run.json").write_text('{"schema_version": 2}', encoding="utf-8")
    run = harness(*words)
    assert run.code == 2
    assert says in " ".join(run.err.split())
    assert not list(tmp_path.glob("empty/*"))
