"""The text export of torch_npu, from files written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.capture import cycles
from harness.paths import RunFolder
from harness.readers import READERS
from harness.readers.ascend import trace
from harness.tables.markers import HostRange
from harness.tables.stacks import stack_id
from tests.support.ascend_folders import (
    BACKWARD,
    BASE_NS,
    CANN,
    EVENTS,
    HEADER,
    KERNELS,
    MAIN,
    NPU,
    both,
    column,
    era,
    flow,
    folder,
    launch,
    op,
    process,
    read,
    us,
)


def test_the_folder_is_recognised_and_text_comes_before_the_database(tmp_path: Path) -> None:
    capture = both(tmp_path, ascend_pytorch_profiler__db=b"")
    assert [reader.name for reader in READERS if reader.recognises(capture)] == [
        "torch_npu text export",
        "torch_npu database",
    ]
    assert not READERS[0].recognises(tmp_path)


def test_operators_nest_and_keep_exact_times(tmp_path: Path) -> None:
    reading = read(both(tmp_path), first_operator=100, rank=4)
    operators = reading.frames["operators"]
    assert column(operators, "name") == [
        "aten::linear",
        "aten::addmm",
        "aclnnAddmm",
        "aten::relu",
        "ReluBackward0",
        "aclnnThreshold",
    ]
    assert column(operators, "id") == [100, 101, 102, 103, 104, 105]
    assert column(operators, "rank") == [4] * 6
    assert column(operators, "start_ns")[0] == BASE_NS + 3_000
    assert column(operators, "duration_ns")[0] == 30_001
    # Python's function is a child of relu, and its parent takes nothing from it.
    assert column(operators, "self_ns") == [10_001, 10_000, 10_000, 4_000, 7_000, 2_000]
    assert column(operators, "step") == [7] * 6
    assert column(operators, "stage") == ["forward"] * 3 + [None] * 3
    assert column(operators, "thread") == [MAIN] * 4 + [BACKWARD] * 2
    assert column(operators, "input_shapes") == [[[32, 64], [128, 64], []], *[None] * 5]
    assert column(operators, "input_dtypes") == [["float", "float", None], *[None] * 5]
    frames = ["nn.py(9): linear", "main.py(3): step"]
    assert column(operators, "stack_id") == [stack_id(frames), *[None] * 5]
    assert column(reading.frames["stacks"], "frames") == [frames]
    assert not reading.notes


def test_kernels_find_operator_step_and_stage_by_their_launch(tmp_path: Path) -> None:
    reading = read(both(tmp_path), first_operator=100)
    kernels = reading.frames["kernels"]
    assert column(kernels, "name") == ["MatMul_1", "Relu_1", "hcom_allReduce__586_0_1", "MemSet"]
    # addmm launched it through aclnnAddmm; no operator of the dispatcher holds aclnnThreshold.
    assert column(kernels, "operator") == [101, 105, 103, None]
    assert column(reading.frames["operators"], "device_ns") == [
        *(None, 1_557, None, 79_089_522, None, 53_741)
    ]
    assert column(kernels, "step") == [7, 7, 7, None]
    assert column(kernels, "stage") == ["forward", None, None, None]
    assert column(kernels, "correlation") == [9, 77, None, None]
    assert column(kernels, "start_ns") == [
        BASE_NS + offset for offset in (40_000, 90_000, 95_000, 180_000)
    ]
    assert column(kernels, "duration_ns") == [1_557, 53_741, 79_089_522, 6_000]
    assert column(kernels, "wait_ns") == [0, 48_443, 0, 0]
    assert column(kernels, "device") == [3] * 4
    assert column(kernels, "stream") == [2, 2, None, 2]
    assert column(kernels, "core") == ["AI_CORE", "MIX_AIV", "COMMUNICATION", "AI_VECTOR_CORE"]
    assert column(kernels, "input_shapes")[::3] == [[[32, 64], [64, 128], []], None]
    assert column(kernels, "input_dtypes")[::3] == [["FLOAT", "FLOAT", None], None]
    assert column(kernels, "output_formats")[::3] == [["ND"], None]
    assert column(kernels, "Context ID") == [None, 0, None, None]
    assert column(kernels, "aicore_time(us)") == [1.518, 0.0, None, None]
    assert column(kernels, "aic_total_cycles") == [2732, 0, None, None]
    assert kernels.schema["aic_total_cycles"] == pl.Int64
    assert kernels.schema["cube_utilization(%)"] == pl.Float64


def test_a_kernel_without_operator_belongs_to_the_step_of_the_drivers_call(tmp_path: Path) -> None:
    called = flow("HostToDevice", "40004068119343529983", (CANN, 5, 41_000), (NPU, 2, 180_000))
    files = {"trace_view.json": EVENTS + called, "kernel_details.csv": [HEADER, *KERNELS]}
    kernels = read(folder(tmp_path, files)).frames["kernels"]
    last = kernels.select("operator", "step", "stage", "correlation").row(3)
    assert last == (None, 7, "forward", None)


@pytest.mark.parametrize(
    ("label", "device"), [("NPU 5", 5), ("5", 5), ("NPU 2147483648", NPU & 31), ("NPU \u0665", 0)]
)
def test_a_label_tells_the_device_if_it_can_be_one(tmp_path: Path, label: str, device: int) -> None:
    path = tmp_path / "trace_view.json"
    path.write_text(json.dumps([*EVENTS, *process(NPU, "Ascend Hardware", label)]))
    arrived = trace.read([path]).arrived[trace.TASK]
    assert set(arrived["device"]) == {device}


def test_coverage_counts_what_became_rows_and_marks(tmp_path: Path) -> None:
    event_counts = read(both(tmp_path)).event_counts
    actual = {
        kind: (counts.seen, counts.rows, counts.marks) for kind, counts in event_counts.items()
    }
    assert actual == {
        "labels": (4, 0, 0),
        "cpu_op": (9, 6, 3),
        "python_function": (2, 0, 0),
        "async_npu": (6, 0, 0),
        "HostToDevice": (4, 0, 0),
        "device": (2, 0, 0),
        "counter samples": (1, 0, 0),
        "kernel": (4, 4, 0),
    }


def unmarked(*names: str) -> list[Any]:
    return [event for event in EVENTS if not event["name"].startswith(names)]


def test_steps_come_from_the_run_where_the_capture_has_no_mark(tmp_path: Path) -> None:
    capture = folder(
        tmp_path,
        {"trace_view.json": unmarked("harness."), "kernel_details.csv": [HEADER, *KERNELS]},
    )
    ranges = (
        HostRange(30, BASE_NS + 600, BASE_NS + 55_000),
        HostRange(30, BASE_NS + 1_000, BASE_NS + 40_000, "forward"),
    )
    kernels = read(capture, steps=ranges).frames["kernels"]
    assert column(kernels, "step") == [30, None, 30, None]
    assert column(kernels, "stage") == ["forward", None, None, None]


def test_without_either_the_steps_of_torch_npu_count(tmp_path: Path) -> None:
    capture = folder(
        tmp_path,
        {"trace_view.json": unmarked("harness."), "kernel_details.csv": [HEADER, *KERNELS]},
    )
    kernels = read(capture).frames["kernels"]
    assert column(kernels, "step") == [2, 2, 2, None]


def test_the_step_id_is_a_fallback_and_becomes_the_number_of_our_own_step(tmp_path: Path) -> None:
    events = [event for event in EVENTS if event.get("cat") not in {"async_npu", "HostToDevice"}]
    files = {"trace_view.json": events, "kernel_details.csv": [HEADER, *KERNELS]}
    kernels = read(folder(tmp_path, files)).frames["kernels"]
    assert column(kernels, "operator") == [None] * 4
    assert column(kernels, "step") == [7, 7, 7, None]


def test_without_a_timeline_kernels_have_the_step_id(tmp_path: Path) -> None:
    reading = read(folder(tmp_path, {"kernel_details.csv": [HEADER, *KERNELS]}))
    assert column(reading.frames["kernels"], "step") == [2, 2, 2, None]
    assert "operators" not in reading.frames
    assert reading.notes == ("trace_view.json: no such file, so no operators",)


KEPT = {"Step Id", "Name", "Type", "Accelerator Core", "Block Num"}
KEPT |= {"Start Time(us)", "Duration(us)", "Wait Time(us)"}
LEAN = tuple(name for name in HEADER if name not in KEPT)
BLOCKS = {"Block Num": "Block Dim", "Mix Block Num": "Mix Block Dim"}


@pytest.mark.parametrize(
    ("text", "shaped", "extra_column"),
    [
        (era(("Device_id", "OP State", "HF32 Eligible"), BLOCKS), True, "Block Dim"),
        (era(LEAN, BLOCKS), False, "Block Dim"),
        (era(("Step Id",)), True, "Block Num"),
        (era(("Context ID", "Mix Block Num")), True, "aicore_time(us)"),
        (era((), {"Step Id": "Step ID"}, "\r\n"), True, "Block Num"),
    ],
    ids=["2023", "2025-level0", "no-steps", "unsplit", "mindspore"],
)
def test_every_era_of_the_header_gives_the_same_kernels(
    tmp_path: Path, text: bytes, shaped: bool, extra_column: str
) -> None:
    files = {"trace_view.json": EVENTS, "kernel_details.csv": text}
    reading = read(folder(tmp_path, files))
    kernels = reading.frames["kernels"]
    assert not reading.notes
    assert column(kernels, "duration_ns") == [1_557, 53_741, 79_089_522, 6_000]
    assert column(kernels, "operator") == [1, 5, 3, None]
    assert column(kernels, "device") == [3, 3, 3, None if "Device_id" not in text.decode() else 3]
    assert (kernels["input_shapes"].null_count() < 4) == shaped
    assert extra_column in kernels.columns


def test_what_is_written_batch_by_batch_is_the_table(tmp_path: Path) -> None:
    turns = 20_000
    rows = (
        [*row[:9], f"{us(9_000 + 10 * number)}\t", *row[10:]]
        for number, row in enumerate(KERNELS * turns)
    )
    reading = read(folder(tmp_path, {"kernel_details.csv": [HEADER, *rows]}))
    few = read(folder(tmp_path / "few", {"kernel_details.csv": [HEADER, *KERNELS]}))
    cycles.write([reading], RunFolder(tmp_path))
    written = pl.read_parquet(tmp_path / "cycles" / "000" / "kernels.parquet")
    assert written.equals(reading.frames["kernels"])
    starts = [BASE_NS + 9_000 + 10 * number for number in range(4 * turns)]
    assert column(written, "start_ns") == starts
    same = pl.exclude("start_ns")
    assert written.select(same).equals(pl.concat([few.frames["kernels"]] * turns).select(same))


def test_counters_without_halves_and_unknown_columns_are_kept(tmp_path: Path) -> None:
    header = [*HEADER[:-3], "mac_ratio", "total_cycles", "memory_bound", "Colour", "Answer"]
    rows = [
        [*row[:-3], "0.5", "12", "1.25", colour, 42]
        for row, colour in zip(KERNELS, "rgbN", strict=True)
    ]
    reading = read(folder(tmp_path, {"kernel_details.csv": [header, *rows]}))
    kernels = reading.frames["kernels"]
    assert column(kernels, "mac_ratio") == [0.5] * 4
    assert column(kernels, "total_cycles") == [12] * 4
    assert column(kernels, "memory_bound") == [1.25] * 4
    assert column(kernels, "Colour") == ["r", "g", "b", "N"]
    assert column(kernels, "Answer") == [42] * 4
    assert reading.notes == ("trace_view.json: no such file, so no operators",)
    assert reading.remarks == (
        "kernel_details.csv: unknown column 'Colour', kept as it is",
        "kernel_details.csv: unknown column 'Answer', kept as it is",
    )


STEPS = "Step,Computing,Communication(Not Overlapped),Overlapped,Communication,Free,Preparing"


def test_steps_have_the_times_of_the_device_under_our_own_number(tmp_path: Path) -> None:
    row = [2, "8873.756000000001", 101963.203, 4028.675, 105991.878, 25744.05, 17902.5]
    reading = read(both(tmp_path, step_trace_time__csv=[STEPS.split(","), row]))
    steps = reading.frames["steps"]
    assert column(steps, "step") == [7]
    assert steps.select("compute_ns", "communication_ns", "overlapped_ns", "idle_ns").row(0) == (
        *(8_873_756, 105_991_878, 4_028_675, 25_744_050),
    )
    assert column(steps, "Preparing") == [17902.5]
    assert steps.select("phase", "rank", "start_ns", "duration_ns").rows() == [
        ("active", 0, BASE_NS + 1_000, 99_000),
    ]


def test_steps_without_times_of_the_device_are_those_of_the_marks(tmp_path: Path) -> None:
    files = {"trace_view.json": unmarked("harness."), "kernel_details.csv": [HEADER, *KERNELS]}
    steps = read(folder(tmp_path, files)).frames["steps"]
    assert steps.select("step", "phase", "start_ns", "duration_ns").rows() == [
        (2, "active", BASE_NS + 500, 199_500),
    ]


def test_step_on_two_devices_has_a_row_for_each_and_one_range(tmp_path: Path) -> None:
    rows = [[device, 2, 1.5, 0, 0, 0, device] for device in (0, 1)]
    heads = ["Device_id", *STEPS.split(",")[:6]]
    steps = read(both(tmp_path, step_trace_time__csv=[heads, *rows])).frames["steps"]
    columns = ("step", "Device_id", "idle_ns", "start_ns", "duration_ns")
    assert steps.select(columns).rows() == [
        (7, 0, 0, BASE_NS + 1_000, 99_000),
        (7, 1, 1_000, BASE_NS + 1_000, 99_000),
    ]


def test_the_step_of_a_capture_without_schedule_is_null(tmp_path: Path) -> None:
    row = ["", "1.5", 0, 0, 0, 2, 0]
    files = {
        "trace_view.json": unmarked("harness.", "ProfilerStep"),
        "kernel_details.csv": [HEADER, *KERNELS],
        "step_trace_time.csv": [STEPS.split(","), row],
    }
    steps = read(folder(tmp_path, files)).frames["steps"]
    assert steps.select("step", "phase", "start_ns", "compute_ns").rows() == [
        (None, None, None, 1_500),
    ]


def test_the_rank_is_the_captures_own(tmp_path: Path) -> None:
    info = {"rank_id": "5", "config": {}}
    capture = folder(tmp_path, {"kernel_details.csv": [HEADER, *KERNELS]}, info)
    assert column(read(capture, rank=1).frames["kernels"], "rank") == [5] * 4


def test_a_launch_within_an_operator_counts_for_the_one_that_is_still_open(tmp_path: Path) -> None:
    events = [
        op("aten::outer", 0, 10_000),
        op("aten::inner", 1_000, 2_000),
        op("aten::other", 20_000, 100),
        *launch("1", 500, 500, 50_000),
        *launch("2", 4_000, 4_000, 51_000),
        *launch("3", 30_000, 30_000, 52_000),
        *launch("4", 1_500, 1_500, 53_000),
    ]
    rows = [[*KERNELS[0][:9], us(50_000 + 1_000 * n), "1", *KERNELS[0][11:]] for n in range(4)]
    files = {"trace_view.json": events, "kernel_details.csv": [HEADER, *rows]}
    kernels = read(folder(tmp_path, files)).frames["kernels"]
    assert column(kernels, "operator") == [0, 0, None, 1]
