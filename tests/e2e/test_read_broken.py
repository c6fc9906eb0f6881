"""``harness read`` of files that are cut off, empty, foreign or hostile: never a traceback.

Exit code 2 where nothing can be read, 3 where a part can; the file is named, and the place in it.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Harness, Run, read_record
from tests.support.ascend_folders import EVENTS, FILES, HEADER, KERNELS, folder, info, us

STEP = {"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#4", "pid": 1, "tid": 1}
MM = STEP | {"cat": "cpu_op", "name": "aten::mm", "ts": 20, "dur": 30.5, "args": {}}
TRACE = {"schemaVersion": 1, "traceEvents": [STEP | {"ts": 10, "dur": 90}, MM]}
TEXT = json.dumps(TRACE).encode()
DEEP = b"[" * 100_000
HUGE = b"9" * 5_000


def trace(*events: Any) -> bytes:
    return json.dumps(TRACE | {"traceEvents": [*TRACE["traceEvents"], *events]}).encode()  # type: ignore[misc]


def words(run: Run) -> str:
    """Return all that was said, with its line ends and frames taken out."""
    assert "Traceback" not in run.err + run.out
    return " ".join((run.out + run.err).split())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"", "a.json: the file is empty"),
        ("a.json", b'{"traceEvents": ', 'a.json: no list "traceEvents"'),
        ("a.json", b'{"mine": []}', "a.json: no reader recognises it"),
        ("a.json.gz", gzip.compress(TEXT, mtime=0)[:12], "a.json.gz: it is cut off or damaged"),
        ("a.json", DEEP, "a.json: no reader recognises it"),
        ("a.csv", b"Name,Type\na,b\n", "a.csv: no reader recognises it"),
    ],
    ids=lambda each: each[:24] if isinstance(each, bytes) else "",
)
def test_a_file_of_which_nothing_can_be_read_is_refused(
    harness: Harness, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    run = harness("read", name)
    assert run.code == 2, run.out + run.err
    assert says in words(run)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", TEXT[:-30], "a.json: cut off at byte"),
        (
            "a.json.gz",
            gzip.compress(TEXT, mtime=0)[:-9],
            "a.json.gz: the compressed file is cut off",
        ),
        ("a.json", TEXT + b"more", "a.json: the text after its events is broken"),
        ("a.json", TEXT.replace(b"30.5", HUGE), "a.json: 1 events skipped: a required number"),
        ("a.json", TEXT.replace(b"30.5", b'"soon"'), "a.json: 1 events skipped: a required number"),
        ("a.json", TEXT.replace(b'"aten::mm"', DEEP), "a.json: at byte "),
        ("a.json", TEXT.replace(b'"aten::mm"', b"[]"), "a.json: at byte "),
    ],
    ids=lambda each: each[:24] if isinstance(each, bytes) else "",
)
def test_a_trace_of_which_a_part_can_be_read_is_exit_3(
    harness: Harness, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    run = harness("read", name, "--out", "out")
    assert run.code == 3, run.out + run.err
    assert f"read: {says}" in words(run)
    assert "a part of the capture is LOST or contradicts another" in words(run)
    (item,) = [each for each in read_record(tmp_path / "out").delivery if each.setting == "read"]
    assert item.status == "partial"
    assert (tmp_path / "out" / "tables" / "operators.parquet").exists()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"trace_view.json": json.dumps(EVENTS).encode()[:-300]}, "trace_view.json: cut off at"),
        ({"trace_view.json": DEEP}, "trace_view.json: cut off at byte"),
        (
            {"kernel_details.csv": [HEADER, KERNELS[0][:9]]},
            "kernel_details.csv: line 2: skipped: 9 of 25",
        ),
        ({"kernel_details.csv": b"Colour\nred\n"}, "kernel_details.csv: not read: no column Name"),
        ({"operator_memory.csv": b"Name"}, "operator_memory.csv: cut off in line 1"),
        ({"communication_matrix.json": b"{"}, "communication_matrix.json: cut off or broken"),
        ({"l2_cache.csv": b"Hit Rate\n0."}, "l2_cache.csv: cut off in its last line"),
        ({"analysis.db": b"SQLite format 3\0"}, "analysis.db: no database"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_capture_with_a_broken_file_is_exit_3_and_names_it(
    harness: Harness, tmp_path: Path, files: dict[str, Any], says: str
) -> None:
    folder(tmp_path, FILES | files, info())
    run = harness("read", ".", "--out", "out")
    assert run.code == 3, run.out + run.err
    assert says in words(run)
    assert (tmp_path / "out" / "tables" / "kernels.parquet").exists()


HOSTILE = {
    "Elapse Time(ms)": "1e400",
    "Transit Time(ms)": "1" * 400,
    "Wait Time(ms)": "NaN",
    "Start Timestamp(us)": "1e300",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_numbers_beyond_any_time_are_no_times(harness: Harness, tmp_path: Path, name: str) -> None:
    times = dict.fromkeys(HOSTILE, "1") | {name: HOSTILE[name]}
    inner = ", ".join(f'"{key}": {value}' for key, value in times.items())
    told = f'{{"step1": {{"p2p": {{"a": {{"Communication Time Info": {{{inner}}}}}}}}}}}'
    event = EVENTS[9] | {"ts": us(10**30), "dur": 10**30}
    files = {"communication.json": told.encode(), "trace_view.json": [*EVENTS, event]}
    folder(tmp_path, FILES | files, info())
    run = harness("read", ".", "--out", "out")
    assert run.code == 3, run.out + run.err
    assert "communication.json: " in words(run)
    assert "trace_view.json: 1 events skipped: a required number is missing" in words(run)


def test_a_broken_record_leaves_the_capture_readable(harness: Harness, tmp_path: Path) -> None:
    capture = folder(tmp_path, FILES, info())
    (path,) = capture.glob("profiler_info*.json")
    path.write_bytes(path.read_bytes()[:50])
    run = harness("read", ".", "--out", "out")
    assert run.code == 3, run.out + run.err
    assert f"read: {path.name}: " in words(run)
    assert "the capture does not record which settings were requested" in words(run)


def test_of_several_traces_those_that_can_be_read_are(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rank0.json").write_bytes(TEXT)
    (tmp_path / "in" / "rank1.json").write_bytes(b'{"schemaVersion": 1, "traceEv')
    run = harness("read", "in", "--out", "out")
    assert run.code == 3, run.out + run.err
    assert 'read: rank1.json: no list "traceEvents" in its object' in words(run)


def test_a_whole_trace_is_whole(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(trace())
    run = harness("read", "a.json", "--out", "out")
    assert run.code == 0, run.out + run.err
    (item,) = read_record(tmp_path / "out").delivery
    assert (item.setting, item.status, item.arrived) == ("read", "delivered", "1 file(s) whole")
