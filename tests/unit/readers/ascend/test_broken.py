"""Captures that are broken, cut off or foreign: what can be read is, and the rest is named."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.readers import READERS
from harness.readers.ascend import folder as ascend
from harness.readers.ascend.database import AscendDb
from harness.readers.base import CaptureError, ReadContext
from tests.support.ascend_folders import (
    EVENTS,
    HEADER,
    KERNELS,
    NPU,
    both,
    column,
    era,
    folder,
    process,
    read,
)

TRACE = json.dumps(EVENTS).encode()
TABLE = era()


def kernels_of(root: Path, table: bytes) -> tuple[list[Any], tuple[str, ...]]:
    reading = read(
        folder(
            root,
            {
                "trace_view.json": process(NPU, "Ascend Hardware", "NPU 3"),
                "kernel_details.csv": table,
            },
        )
    )
    return column(reading.frames["kernels"], "name"), reading.notes


def test_a_timeline_that_was_cut_off_gives_the_operators_before(tmp_path: Path) -> None:
    cut = TRACE.index(b"aten::relu")
    capture = folder(tmp_path, {"trace_view.json": TRACE[:cut]})
    reading = read(capture)
    assert column(reading.frames["operators"], "name") == [
        *("aten::linear", "aten::addmm", "aclnnAddmm"),
    ]
    assert reading.notes == (f"trace_view.json: cut off at byte {TRACE.rindex(b'{', 0, cut)}",)


def test_a_foreign_timeline_leaves_the_kernels(tmp_path: Path) -> None:
    capture = folder(
        tmp_path,
        {"trace_view.json": {"events": []}, "kernel_details.csv": [HEADER, *KERNELS]},
    )
    reading = read(capture)
    assert reading.frames["kernels"].height == 4
    assert "operators" not in reading.frames
    assert reading.notes == ('trace_view.json: no list "traceEvents" in its object',)


@pytest.mark.parametrize("content", [[], {"traceEvents": []}])
def test_an_empty_timeline_is_no_whole_one(tmp_path: Path, content: Any) -> None:
    files = {"trace_view.json": content, "kernel_details.csv": [HEADER, *KERNELS]}
    reading = read(folder(tmp_path, files))
    assert reading.frames["kernels"].height == 4
    assert reading.notes == ("trace_view.json: it has no events",)


def test_events_without_times_are_counted(tmp_path: Path) -> None:
    events = [*EVENTS, {"ph": "X", "cat": "cpu_op", "name": "a"}, EVENTS[9] | {"ts": "soon"}]
    reading = read(folder(tmp_path, {"trace_view.json": events}))
    assert reading.frames["operators"].height == 6
    assert reading.notes[0] == "trace_view.json: 2 events skipped: a required number is missing"


def test_a_line_that_was_cut_off_is_left_out_and_named(tmp_path: Path) -> None:
    names, notes = kernels_of(tmp_path, TABLE[: TABLE.index(b"MIX_AIV") + 3])
    assert names == ["MatMul_1"]
    assert notes == (
        "kernel_details.csv: line 3: skipped: 9 of 25 cells",
        "kernel_details.csv: cut off in line 3",
    )


@pytest.mark.parametrize("cells", [6, 24, 26])
def test_a_row_of_another_length_within_a_file_is_left_out_and_named(
    tmp_path: Path, cells: int
) -> None:
    head, *others = TABLE.splitlines(keepends=True)
    parts = (b"x," * 30).split(b",")[:cells]
    broken = b"".join([head, b",".join(parts) + b"\n", *others])
    names, notes = kernels_of(tmp_path, broken)
    assert len(names) == 4
    assert notes == (f"kernel_details.csv: line 2: skipped: {cells} of 25 cells",)


def test_a_quote_without_end_is_named(tmp_path: Path) -> None:
    names, notes = kernels_of(tmp_path, TABLE.replace(b'"""32,128"""', b'"""32,128', 1)[:-30])
    assert names == []
    assert notes[0] == "kernel_details.csv: line 3: ',' expected after '\"'; the rest is skipped"


def test_a_wrong_cell_is_null_and_named_with_its_line(tmp_path: Path) -> None:
    table = TABLE.replace(b"1.518", b"much").replace(b"2732", b"2,732x", 1)
    names, notes = kernels_of(tmp_path / "a", table)
    assert names == ["Relu_1", "hcom_allReduce__586_0_1", "MemSet"]
    assert notes == ("kernel_details.csv: line 2: skipped: 26 of 25 cells",)
    names, notes = kernels_of(tmp_path / "b", TABLE.replace(b"1.518", b"much"))
    assert len(names) == 4
    assert notes == (
        "kernel_details.csv: line 2: aicore_time(us): 'much' is not a number (1 such cells)",
    )


def test_a_row_without_its_times_is_left_out_and_counted(tmp_path: Path) -> None:
    names, notes = kernels_of(tmp_path, TABLE.replace(b"53.741", b"N/A"))
    assert names == ["MatMul_1", "hcom_allReduce__586_0_1", "MemSet"]
    assert notes == ("kernel_details.csv: 1 rows without start or duration were skipped",)


@pytest.mark.parametrize(
    ("table", "note"),
    [
        (b"", "kernel_details.csv: line 1: no header"),
        (b"a,a\n1,2\n", "kernel_details.csv: line 1: a column occurs twice: a,a"),
        (b"\xff\xfe\x00", "kernel_details.csv: line 1: 'utf-8' codec can't decode"),
        (b"Block,Core\n1,2\n", "kernel_details.csv: not read: no column Name, Start Time(us)"),
    ],
)
def test_a_foreign_table_is_named_and_the_timeline_read(
    tmp_path: Path, table: bytes, note: str
) -> None:
    files = {"trace_view.json": EVENTS, "kernel_details.csv": table}
    reading = read(folder(tmp_path, files))
    assert reading.frames["operators"].height == 6
    assert "kernels" not in reading.frames
    assert reading.notes[-1].startswith(note)


def test_nothing_readable_is_an_error_that_says_all(tmp_path: Path) -> None:
    capture = folder(tmp_path, {"trace_view.json": b"{}", "kernel_details.csv": b""})
    with pytest.raises(CaptureError, match=r'no list "traceEvents".*line 1: no header'):
        read(capture)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"step1": {"p2p": {"a": {}}}}', b"\xff"])
def test_a_broken_file_of_communication_is_a_note(tmp_path: Path, text: bytes) -> None:
    reading = read(both(tmp_path, communication__json=text))
    assert reading.frames["communication"].height == 1
    assert len(reading.notes) == 1
    assert reading.notes[0].startswith("communication.json: ")


def test_a_folder_in_place_of_a_file_is_no_file(tmp_path: Path) -> None:
    capture = both(tmp_path)
    (capture / "ASCEND_PROFILER_OUTPUT" / "operator_memory.csv").mkdir()
    reading = read(capture)
    assert "memory" not in reading.frames
    assert not reading.notes


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_to_a_file_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = {"trace_view.json": TRACE, "kernel_details.csv": TABLE}
    name = data.draw(st.sampled_from(sorted(files)))
    text = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(text[: data.draw(st.integers(0, len(text)))])
    capture = folder(tmp_path_factory.mktemp("damaged"), files | {name: damaged})
    for reader in READERS:
        if reader.recognises(capture):
            assert reader.read(capture, ReadContext()).frames
    ascend.emulated(capture)


def test_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    capture = folder(tmp_path, {"ascend_pytorch_profiler_0.db": b"no database at all" * 100})
    with pytest.raises(CaptureError, match=r"profiler_0\.db: file is not a database"):
        AscendDb().read(capture, ReadContext())
    assert not ascend.emulated(capture)


def test_a_database_without_the_tables_of_torch_npu_is_refused(tmp_path: Path) -> None:
    capture = folder(tmp_path, {})
    path = capture / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE OTHER (a INTEGER)")
    with pytest.raises(CaptureError, match="none of the tables that torch_npu writes"):
        AscendDb().read(capture, ReadContext())
    with pytest.raises(CaptureError, match="no database"):
        AscendDb().read(tmp_path, ReadContext())


@pytest.mark.parametrize(
    ("rows", "later"), [(KERNELS[:1], 1), ([], 2), (KERNELS[:2], 0), ([KERNELS[0], KERNELS[2]], 1)]
)
def test_a_table_that_ends_before_the_timeline_is_named(
    tmp_path: Path, rows: Any, later: int
) -> None:
    files = {"trace_view.json": EVENTS, "kernel_details.csv": [HEADER, *rows]}
    reading = read(folder(tmp_path, files))
    why = f"kernel_details.csv: cut off: the timeline has {later} kernels after its last"
    assert reading.notes == ((why,) if later else ())
