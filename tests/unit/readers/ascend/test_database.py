"""The database of torch_npu, from tables written here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.readers.ascend import folder as ascend
from harness.readers.ascend.database import AscendDb, counter_name
from harness.readers.base import CaptureError, ReadContext, ReadResult
from harness.readers.sqlite import opened
from harness.tables.markers import HostRange
from harness.tables.stacks import stack_id
from harness.verification.checks import npu
from tests.support.ascend_databases import GROUP, MOVED, T, capture_tables, write
from tests.support.ascend_folders import column, folder


def made(root: Path, leave: Iterable[str] = ()) -> Path:
    tables = {name: table for name, table in capture_tables().items() if name not in leave}
    capture = folder(root, {})
    write(capture / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler_3.db", tables)
    return capture


def read(capture: Path, **context: Any) -> ReadResult:
    return AscendDb().read(capture, ReadContext(**context))


def test_operators_come_with_shapes_stacks_and_self_times(tmp_path: Path) -> None:
    reading = read(made(tmp_path), first_operator=100, rank=3)
    operators = reading.frames["operators"]
    assert column(operators, "name") == ["aten::linear", "aclnnAddmm", "aten::item"]
    assert column(operators, "id") == [100, 101, 102]
    assert column(operators, "self_ns") == [20_000, 10_000, 4_000]
    assert column(operators, "thread") == [10, 10, 10]
    assert column(operators, "step") == [7, 7, 7]
    assert column(operators, "stage") == ["forward", "forward", None]
    # A single scalar has an empty shape, which torch_npu leaves out of its database.
    assert column(operators, "input_shapes") == [[[32, 64], []], None, [[]]]
    assert column(operators, "input_dtypes") == [["float", "float"], None, ["double"]]
    frames = ["nn.py(9): inner", "main.py(1): outer"]
    assert column(operators, "stack_id") == [stack_id(frames), None, None]
    assert column(reading.frames["stacks"], "frames") == [frames]
    assert reading.event_counts["cpu_op"].seen == 5
    assert reading.event_counts["cpu_op"].marks == 2
    assert reading.event_counts["python_function"].seen == 1
    assert not reading.notes


def test_kernels_come_with_their_launch_and_counters(tmp_path: Path) -> None:
    kernels = read(made(tmp_path)).frames["kernels"]
    assert column(kernels, "name") == ["MatMul_1", "hcom_allReduce__586_0_1", "MemSet"]
    by_name = kernels.sort("name", descending=True)
    assert column(by_name, "name") == ["hcom_allReduce__586_0_1", "MemSet", "MatMul_1"]
    assert column(by_name, "operator") == [2, None, 0]
    assert column(by_name, "correlation") == [502, 503, 501]
    # Nothing is known of the last launch but the driver's call.
    assert column(by_name, "step") == [7, 7, 7]
    assert column(by_name, "stage") == [None, None, "forward"]
    assert column(by_name, "duration_ns") == [24_000, 1_000, 1_557]
    # Communication is on the only device; the first kernel of a device waits for nothing.
    assert column(by_name, "wait_ns") == [0, 5_000, 0]
    assert column(by_name, "core") == ["COMMUNICATION", "AI_VECTOR_CORE", "AI_CORE"]
    assert column(by_name, "input_shapes") == [None, None, [[32, 64], []]]
    assert column(by_name, "Block Dim") == [None, 1, 4]
    assert column(by_name, "Context ID") == [None, 0, None]
    assert column(by_name, "aicore_time(us)") == [None, None, 1.5]
    assert column(by_name, "aic_total_cycles") == [None, None, 2700]
    assert column(by_name, "aic_l0c_read_bw_cube(GB/s)") == [None, None, 0.25]
    assert column(by_name, "aic_new_counter") == [None, None, 3.0]


def test_communication_comes_with_its_group(tmp_path: Path) -> None:
    communication = read(made(tmp_path)).frames["communication"]
    assert communication.select("name", "type", "group", "step", "duration_ns").rows() == [
        ("hcom_allReduce__586_0_1", "allreduce", "175226", 7, 24_000)
    ]


@pytest.mark.parametrize("table", ["TASK_PMU_INFO", "COMMUNICATION_OP", "PYTORCH_CALLCHAINS"])
def test_tables_may_be_absent(tmp_path: Path, table: str) -> None:
    reading = read(made(tmp_path, [table]))
    assert reading.frames["operators"].height == 3
    assert reading.frames["kernels"].height == (2 if table == "COMMUNICATION_OP" else 3)
    assert not reading.notes


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ("PYTORCH_API", "PYTORCH_API: there is no such table, and CONNECTION_IDS links 2 calls"),
        (
            "CONNECTION_IDS",
            "CONNECTION_IDS: there is no such table, so that 3 calls do not find their kernels",
        ),
    ],
)
def test_a_table_that_others_refer_to_is_a_loss(tmp_path: Path, table: str, note: str) -> None:
    assert read(made(tmp_path, [table])).notes == (note,)


def test_what_was_not_recorded_is_no_loss(tmp_path: Path) -> None:
    of_device = read(made(tmp_path, ["PYTORCH_API", "CONNECTION_IDS"]))
    assert of_device.notes == ()


def test_without_the_host_kernels_have_the_step_of_torch_npu_by_their_time(tmp_path: Path) -> None:
    capture = made(tmp_path, ["PYTORCH_API", "CANN_API"])
    reading = read(capture)
    assert column(reading.frames["kernels"], "step") == [2, 2, 2]
    assert "operators" not in reading.frames
    ours = (HostRange(30, T + 600, T + 700),)
    assert column(read(capture, steps=ours).frames["kernels"], "step") == [30, 30, 30]


def test_step_times_come_from_the_analysis_in_microseconds(tmp_path: Path) -> None:
    capture = made(tmp_path)
    rows: list[tuple[Any, ...]] = [(0, "2", 25.926, 1, 0, 702.146)]
    columns = "deviceId, step TEXT, computing, communication, overlapped, free"
    path = capture / "ASCEND_PROFILER_OUTPUT" / "analysis.db"
    write(path, {"StepTraceTime": (columns, rows)})
    steps = read(capture).frames["steps"]
    assert steps.select("compute_ns", "communication_ns", "overlapped_ns", "idle_ns").row(0) == (
        *(25_926, 1_000, 0, 702_146),
    )
    assert steps.select("step", "phase", "start_ns", "duration_ns").rows() == [
        (7, "active", T + 1_000, 99_000),
    ]
    path.write_bytes(b"nothing of the kind" * 99)
    assert read(capture).notes == ("analysis.db: file is not a database",)


def test_steps_without_the_analysis_are_those_of_step_time(tmp_path: Path) -> None:
    steps = read(made(tmp_path, ["PYTORCH_API"])).frames["steps"]
    assert steps.select("step", "phase", "start_ns", "duration_ns").rows() == [
        (2, "active", T + 500, 199_500),
    ]


def test_marks_and_origin_are_told(tmp_path: Path) -> None:
    capture = made(tmp_path)
    assert ascend.marks(capture).rows() == [("a", "d", T + 1, 0), ("b", "d", T + 9, 10)]
    assert ascend.emulated(capture)
    assert not ascend.emulated(made(tmp_path / "real", ["META_DATA"]))


def test_a_damaged_table_gives_what_could_be_read(tmp_path: Path) -> None:
    capture = made(tmp_path)
    path = capture / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler_3.db"
    with closing(sqlite3.connect(path)) as database:
        pages = dict(database.execute("SELECT name, rootpage FROM sqlite_master"))
        (size,) = database.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    begin = (pages["PYTORCH_CALLCHAINS"] - 1) * size
    content[begin : begin + size] = b"\xff" * size
    path.write_bytes(content)
    reading = read(capture)
    assert reading.frames["kernels"].height == 3
    assert reading.frames["stacks"].is_empty()
    assert reading.notes == (
        f"{path.name}: PYTORCH_CALLCHAINS: database disk image is malformed, after 0 rows",
    )


def changed(root: Path, place: tuple[str, int, str], value: Any, leave: Iterable[str] = ()) -> Path:
    """Make a capture with another value at a table, a row and a column."""
    table, row, column = place
    tables = {name: table for name, table in capture_tables().items() if name not in leave}
    columns, rows = tables[table]
    at = columns.split(", ").index(column)
    hostile = [*rows]
    hostile[row] = (*rows[row][:at], value, *rows[row][at + 1 :])
    capture = folder(root, {})
    write(
        capture / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler_3.db",
        tables | {table: (columns, hostile)},
    )
    return capture


NO_TIMES = [None, "", "1e999", 1 << 62, -(1 << 63), float("nan"), b"\xff"]


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("name", ["startNs TEXT", "endNs TEXT"])
def test_a_call_without_its_times_is_counted_and_left_out(
    tmp_path: Path, name: str, value: Any
) -> None:
    reading = read(changed(tmp_path, ("PYTORCH_API", 3, name), value))
    assert column(reading.frames["operators"], "name") == ["aten::linear", "aten::item"]
    event_counts = reading.event_counts["cpu_op"]
    assert (event_counts.seen, event_counts.rows, event_counts.marks) == (5, 2, 2)
    assert "PYTORCH_API: 1 calls without start and end" in reading.notes


@pytest.mark.parametrize("value", NO_TIMES)
def test_a_kernel_without_its_times_is_counted_and_left_out(tmp_path: Path, value: Any) -> None:
    reading = read(changed(tmp_path, ("TASK", 1, "startNs"), value))
    assert set(column(reading.frames["kernels"], "name")) == {"MatMul_1", "hcom_allReduce__586_0_1"}
    assert (reading.event_counts["kernel"].seen, reading.event_counts["kernel"].rows) == (3, 2)
    assert "TASK: 1 kernels without start and end" in reading.notes


@pytest.mark.parametrize("value", [1 << 31, 1 << 62, -(1 << 63), "npu"])
def test_a_device_that_cannot_be_one_is_null(tmp_path: Path, value: Any) -> None:
    reading = read(changed(tmp_path, ("TASK", 0, "deviceId"), value))
    device = reading.frames["kernels"].filter(name="MatMul_1")["device"]
    assert device.to_list() == [None]


def test_a_step_without_its_times_is_no_step(tmp_path: Path) -> None:
    capture = changed(tmp_path, ("STEP_TIME", 0, "endNs"), None, leave=["PYTORCH_API"])
    assert column(read(capture).frames["kernels"], "step") == [None] * 3


def test_a_name_that_is_no_utf8_is_an_error_of_ours(tmp_path: Path) -> None:
    capture = made(tmp_path)
    path = capture / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler_3.db"
    path.write_bytes(path.read_bytes().replace(b"opName, startNs", b'op"am\xbd, startNs'))
    with pytest.raises(CaptureError, match=path.name):
        read(capture)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_reading_writes_nothing_even_where_sqlite_would(tmp_path: Path, mode: str) -> None:
    """A database in WAL mode, opened as usual, gets files beside it."""
    capture = made(tmp_path)
    output = capture / "ASCEND_PROFILER_OUTPUT"
    write(output / "analysis.db", MOVED)
    for path in output.glob("*.db"):
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA journal_mode={mode}")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.iterdir()}
    connect = sqlite3.connect
    listings: list[list[str]] = []

    def watched(*words: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*words, **more)
        connection.set_trace_callback(
            lambda _: listings.append(sorted(path.name for path in output.iterdir()))
        )
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", watched)
        assert read(capture).frames["communication"].height == 2
        ascend.marks(capture)
        ascend.emulated(capture)
        assert npu._texts(capture, "SELECT value FROM META_DATA") == ["true"]
    assert listings
    assert all(names == sorted(before) for names in listings)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.iterdir()}
    assert after == before


def test_a_database_cannot_be_written_to_through_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    write(path, {"T": ("a", [(1,)])})
    with opened(path) as tables, pytest.raises(sqlite3.OperationalError, match="readonly"):
        tables._connection.execute("INSERT INTO T VALUES (2)")


def test_communication_comes_from_the_analysis_beside_the_database(tmp_path: Path) -> None:
    capture = made(tmp_path)
    write(capture / "ASCEND_PROFILER_OUTPUT" / "analysis.db", MOVED)
    reading = read(capture)
    moved = reading.frames["communication"]
    assert moved.select("name", "type", "group", "transit_ns", "wait_ns", "bytes").rows() == [
        ("hcom_allReduce__586_0_1", "allreduce", GROUP, 20_000, 3_000, 4_500_000),
        ("hcom_send__586_1_1", "send", GROUP, 250_000, 125_000, 250_000),
    ]
    # Exact where the kernels tell; the analysis has microseconds.
    assert moved.select("step", "start_ns", "duration_ns").rows() == [
        (7, T + 61_000, 24_000),
        (7, 2_250, 500_000),
    ]
    assert column(moved, "Idle Time(ms)") == [0.001, 0.125]
    assert reading.notes == ("analysis.db: CommAnalyzerTime: 1 rows with values out of range",)


@pytest.mark.parametrize(
    ("bare", "name"),
    [
        ("aic_total_time", "aicore_time(us)"),
        ("aiv_total_time", "aiv_time(us)"),
        ("aic_mte1_time", "aic_mte1_time(us)"),
        ("aic_mac_ratio", "aic_mac_ratio"),
        ("aic_main_mem_read_bw", "aic_main_mem_read_bw(GB/s)"),
        ("aic_l0c_write_bw_cube", "aic_l0c_write_bw_cube(GB/s)"),
        ("aic_GM_to_L1_datas", "aic_GM_to_L1_datas(KB)"),
        ("cube_utilization", "cube_utilization(%)"),
        ("brand_new", "brand_new"),
    ],
)
def test_counters_are_called_as_in_the_text_export(bare: str, name: str) -> None:
    assert counter_name(bare) == name
