"""Memory and communication of torch_npu's text export, and the facts of a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.readers.ascend import folder as ascend
from harness.readers.base import CaptureError
from tests.support.ascend_folders import (
    BASE_NS,
    EVENTS,
    HCCL,
    HEADER,
    KERNELS,
    MODEL,
    both,
    column,
    flow,
    folder,
    op,
    process,
    read,
    task,
    us,
)

MEMORY_HEADER = (
    "Name,Size(KB),Allocation Time(us),Release Time(us),Active Release Time(us),Duration(us),"
    "Active Duration(us),Allocation Total Allocated(MB),Allocation Total Reserved(MB),"
    "Allocation Total Active(MB),Release Total Allocated(MB),Release Total Reserved(MB),"
    "Release Total Active(MB),Stream Ptr,Device Type"
)
MEMORY = MEMORY_HEADER.split(",")
ALLOCATIONS: list[list[Any]] = [
    [
        *("aten::addmm", 16.5, f"{us(4_500)}\t", f"{us(9_000)}\t", f"{us(8_000)}\t"),
        *("4.500\t", "3.500\t", 954.37060546875, 1452, 954.5, 954.25, 1452, 954.25),
        *(897357296, "NPU:0"),
    ],
    [
        *("cann::Conv2D1", 0.5, f"{us(7_000)}\t", "", "", "", "", 1, 2.0, 1, "", "", "", ""),
        "NPU:0",
    ],
]


def test_an_allocation_and_its_release_are_two_rows_in_order_of_time(tmp_path: Path) -> None:
    lost = ["aten::lost", 1, *[""] * 12, "NPU:0"]
    reading = read(both(tmp_path, operator_memory__csv=[MEMORY, *ALLOCATIONS, lost]))
    counts = reading.event_counts["operator_memory"]
    assert (counts.seen, counts.rows) == (3, 2)
    memory = reading.frames["memory"]
    assert column(memory, "kind") == ["alloc", "alloc", "free"]
    assert column(memory, "time_ns") == [BASE_NS + 4_500, BASE_NS + 7_000, BASE_NS + 9_000]
    assert column(memory, "bytes") == [16_896, 512, -16_896]
    assert column(memory, "total_allocated") == [1_000_730_112, 1_048_576, 1_000_603_648]
    assert column(memory, "total_reserved") == [1_522_532_352, 2_097_152, 1_522_532_352]
    assert column(memory, "device") == ["npu:0"] * 3
    assert column(memory, "operator") == [1, None, None]
    assert column(memory, "name") == ["aten::addmm", "cann::Conv2D1", "aten::addmm"]
    assert column(memory, "duration_ns") == [4_500, None, None]
    assert column(memory, "active_release_ns") == [BASE_NS + 8_000, None, None]


def test_the_ten_columns_of_2023_are_enough(tmp_path: Path) -> None:
    old = {"Active Release Time(us)", "Active Duration(us)", "Stream Ptr"}
    keep = [n for n, name in enumerate(MEMORY) if name not in old and "Total Active" not in name]
    rows = [[row[n] for n in keep] for row in (MEMORY, *ALLOCATIONS)]
    memory = read(both(tmp_path, operator_memory__csv=rows)).frames["memory"]
    assert len(keep) == 10
    assert column(memory, "bytes") == [16_896, 512, -16_896]
    assert column(memory, "total_active") == [None] * 3


def test_records_stand_in_where_no_operator_allocated(tmp_path: Path) -> None:
    totals = ["Total Allocated(MB)", "Total Reserved(MB)"]
    header = ["Component", "Timestamp(us)", *totals, "Device Type"]
    rows = [
        ["APP", f"{us(10)}\t", "", 2109.6015625, "NPU:0"],
        ["PTA", f"{us(20)}\t", 0.5, 2, "NPU:0"],
        ["PTA+GE", f"{us(20)}\t", 0.5, 2, "NPU:0"],
    ]
    reading = read(both(tmp_path, memory_record__csv=[header, *rows]))
    memory = reading.frames["memory"]
    assert column(memory, "component") == ["APP", "PTA"]
    assert column(memory, "total_allocated") == [None, 524_288]
    assert column(memory, "total_reserved") == [2_212_077_568, 2_097_152]
    assert column(memory, "bytes") == [None, None]
    assert reading.event_counts["memory_record"].seen == 3


TIMES = {
    "Start Timestamp(us)": (BASE_NS + 95_000) / 1000,
    "Elapse Time(ms)": 79.08952021875,
    "Transit Time(ms)": 0.239184,
    "Wait Time(ms)": 5.646633,
    "Idle Time(ms)": 73.2,
}
PATHS = {
    "RDMA": {"Transit Size(MB)": 0},
    "HCCS": {"Transit Size(MB)": 28.647232},
    "SDMA": {"Transit Size(MB)": 28.647232},
}
TOLD = {"Communication Time Info": TIMES, "Communication Bandwidth Info": PATHS}
CALLS = {
    "step2": {
        "p2p": {},
        "collective": {"hcom_allReduce__586_0_1@175226": TOLD, "Total Op Info": TOLD},
    },
    "step": {"p2p": {"hcom_send__1_0_1@9": TOLD}},
}


def test_communication_has_the_exact_times_of_its_kernel(tmp_path: Path) -> None:
    communication = read(both(tmp_path, communication__json=CALLS)).frames["communication"]
    assert column(communication, "name") == ["hcom_allReduce__586_0_1", "hcom_send__1_0_1"]
    assert column(communication, "type") == ["allreduce", "send"]
    assert column(communication, "group") == ["175226", "9"]
    assert column(communication, "step") == [7, None]
    assert column(communication, "start_ns")[0] == BASE_NS + 95_000
    assert column(communication, "duration_ns") == [79_089_522, 79_089_520]
    assert column(communication, "transit_ns") == [239_184, 239_184]
    assert column(communication, "wait_ns") == [5_646_633, 5_646_633]
    assert column(communication, "bytes") == [28_647_232, 28_647_232]
    assert column(communication, "Idle Time(ms)") == [73.2, 73.2]


def test_communication_without_its_file_has_the_times_alone(tmp_path: Path) -> None:
    communication = read(both(tmp_path)).frames["communication"]
    assert communication.select("name", "type", "group", "duration_ns", "bytes").rows() == [
        ("hcom_allReduce__586_0_1", "allreduce", None, 79_089_522, None)
    ]


OLD_INFO = {
    "config": {
        "common_config": {
            "activities": ["ProfilerActivity.CPU", "ProfilerActivity.NPU"],
            "schedule": {"_wait": 0, "_active": 3},
            "record_shapes": True,
        },
        "experimental_config": {
            "_profiler_level": "Level1",
            "_aic_metrics": "ACL_AICORE_L0B_AND_WIDTH",
            "_export_type": "text",
            "record_op_args": False,
        },
    },
    "end_info": {"collectionTimeEnd": BASE_NS},
    "rank_id": 0,
}


def test_the_record_of_settings_is_told_in_our_names_and_words(tmp_path: Path) -> None:
    assert ascend.profiler_info(folder(tmp_path, {}, OLD_INFO)) == {
        "profiler.activities": ["host", "device"],
        "profiler.schedule.wait": 0,
        "profiler.schedule.active": 3,
        "profiler.record_shapes": True,
        "profiler.experimental.profiler_level": "Level1",
        "profiler.experimental.aic_metrics": "MemoryL0",
        "profiler.experimental.export_type": ["Text"],
        "profiler.experimental.record_op_args": False,
        "rank": 0,
    }


def test_the_newer_record_has_lists_versions_and_a_rank_of_text(tmp_path: Path) -> None:
    info: dict[str, Any] = {
        "config": {
            "common_config": {"schedule": None},
            "experimental_config": {"_export_type": ["text", "db"], "_host_sys": ["cpu"]},
        },
        "torch_npu_version": "2.13.0",
        "rank_id": "12",
    }
    assert ascend.profiler_info(folder(tmp_path, {}, info)) == {
        "profiler.experimental.export_type": ["Text", "Db"],
        "profiler.experimental.host_sys": ["CPU"],
        "torch_npu_version": "2.13.0",
        "rank": 12,
    }


def test_no_record_and_a_broken_one(tmp_path: Path) -> None:
    capture = both(tmp_path)
    assert ascend.profiler_info(capture) is None
    (capture / "profiler_info_3.json").write_text('{"config": ')
    with pytest.raises(CaptureError, match=r"profiler_info_3\.json: Expecting value: line 1"):
        ascend.profiler_info(capture)
    reading = read(capture, rank=3)
    assert column(reading.frames["kernels"], "rank") == [3] * 4
    assert reading.notes[0].startswith("profiler_info_3.json: ")


def test_captures_come_in_order_of_their_time_whatever_their_name(tmp_path: Path) -> None:
    stamps = ("b_1_20260102000000000", "z_9_20260101000000000", "a_5_20260101000000001")
    folders = [tmp_path / f"{stamp}_ascend_pt" for stamp in stamps]
    renamed = tmp_path / "deep" / "rank0_ascend_pt"
    dated = tmp_path / "rank1_ascend_pt"
    for path in (*folders, renamed, dated, tmp_path / "other"):
        path.mkdir(parents=True)
    (renamed / "profiler_info_0.json").write_text(json.dumps(OLD_INFO))  # 2023
    os.utime(dated, (4_000_000_000, 4_000_000_000))
    (tmp_path / "file_ascend_pt").touch()
    expected = [renamed, folders[1], folders[2], folders[0], dated]
    assert ascend.captures(tmp_path) == expected
    assert ascend.captures(dated) == [dated]


def test_any_table_is_text_without_blanks(tmp_path: Path) -> None:
    rows = [["Op Name", "Hit Rate"], ["a\t", "N/A"], [" b", ""]]
    capture = both(tmp_path, l2_cache__csv=rows)
    table = ascend.table(capture, "l2_cache.csv")
    assert table is not None
    assert table.rows() == [("a", "N/A"), ("b", None)]
    again = ascend.table(capture, "l2_cache")
    assert again is not None
    assert again.equals(table)
    assert ascend.table(capture, "soc_pmu.csv") is None
    assert ascend.output(capture, "l2_cache.csv") == capture / ascend.OUTPUT / "l2_cache.csv"
    assert ascend.database(capture) is None


def mark(name: str, at: int, duration: int, domain: str) -> dict[str, Any]:
    event = {"ph": "X", "name": name, "pid": 1, "tid": 1, "ts": us(at), "dur": duration / 1000}
    return event | {"args": {"event_type": "start/end", "domain": domain}}


def test_marks_of_the_program_have_a_domain(tmp_path: Path) -> None:
    events = [mark("late", 500, 0, "mine"), mark("early", 100, 7_001, "default"), *EVENTS]
    capture = folder(tmp_path, {"trace_view.json": events})
    assert ascend.marks(capture).rows() == [
        ("early", "default", BASE_NS + 100, 7_001),
        ("late", "mine", BASE_NS + 500, 0),
    ]
    assert ascend.marks(tmp_path).is_empty()


def test_an_emulated_capture_says_so_in_its_folder_or_its_timeline(tmp_path: Path) -> None:
    capture = both(tmp_path / "real")
    assert not ascend.emulated(capture)
    (capture / "PROF_000001_20260101_EMULATED").mkdir()
    assert ascend.emulated(capture)
    said = {"ph": "M", "name": "emulated", "pid": 1, "tid": 0, "args": {"emulated": True}}
    assert ascend.emulated(folder(tmp_path / "said", {"trace_view.json": [*EVENTS, said]}))
    nested = both(tmp_path / "nested")
    (nested / "PROF_000001_20260101" / "emulated").mkdir(parents=True)
    assert ascend.emulated(nested)


def test_a_device_without_number_in_its_label_has_that_of_its_process(tmp_path: Path) -> None:
    events = [event for event in EVENTS if event["ph"] != "M"]
    labels = process(3264 + 5, "Ascend Hardware", "NPU") + process(HCCL, "HCCL", "NPU")
    moved = [event | {"pid": 3264 + 5} if event["pid"] == 3264 else event for event in events]
    keep = [n for n, name in enumerate(HEADER) if name != "Device_id"]
    rows = [[row[n] for n in keep] for row in (HEADER, *KERNELS)]
    files = {"trace_view.json": [*labels, *moved], "kernel_details.csv": rows}
    kernels = read(folder(tmp_path, files)).frames["kernels"]
    assert column(kernels, "device") == [5, 5, 0, None]


def test_times_that_are_numbers_are_read_too(tmp_path: Path) -> None:
    event = op("aten::add", 0, 1_500) | {"ts": 1234.5, "dur": "2.75", "tid": "17"}
    operators = read(folder(tmp_path, {"trace_view.json": [event]})).frames["operators"]
    assert operators.select("start_ns", "duration_ns", "thread").row(0) == (1_234_500, 2_750, 17)


def test_kernels_that_start_together_on_two_devices_keep_their_own_launch(tmp_path: Path) -> None:
    other = 3264 + 1
    events = [
        *process(3264, "Ascend Hardware", "NPU 0"),
        *process(other, "Ascend Hardware", "NPU 1"),
        op("aten::zero", 0, 10),
        op("aten::one", 20, 10),
        task("a", 500, 70),
        task("b", 500, 71, pid=other),
        *flow("async_npu", 1, (10, 10, 0), (3264, 2, 500)),
        *flow("async_npu", 2, (10, 10, 20), (other, 2, 500)),
    ]
    rows = [[2, device, *KERNELS[0][2:9], us(500), *KERNELS[0][10:]] for device in (1, 0)]
    files = {"trace_view.json": events, "kernel_details.csv": [HEADER, *rows]}
    kernels = read(folder(tmp_path, files)).frames["kernels"]
    assert kernels.select("device", "operator", "correlation").rows() == [(1, 1, 71), (0, 0, 70)]


def test_flops_and_modules_of_operators_are_kept(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"flops": "4096", "Module Hierarchy": "model.linear"}
    events = [op("aten::addmm", 0, 10, **arguments), op("aten::t", 20, 10)]
    operators = read(folder(tmp_path, {"trace_view.json": events})).frames["operators"]
    assert column(operators, "flops") == [4096, None]
    assert column(operators, "Module Hierarchy") == ["model.linear", None]
    assert column(operators, "Sequence number") == [None, None]


def test_kernels_that_start_together_on_two_streams_keep_their_own_launch(tmp_path: Path) -> None:
    events = [
        *process(3264, "Ascend Hardware", "NPU 0"),
        op("aten::two", 0, 10),
        op("aten::five", 20, 10),
        *flow("async_npu", 1, (10, 10, 0), (3264, 2, 500)),
        *flow("async_npu", 2, (10, 10, 20), (3264, 5, 500)),
    ]
    rows = [
        [2, 0, MODEL, 1, stream, *KERNELS[0][5:9], us(500), *KERNELS[0][10:]] for stream in (5, 2)
    ]
    files = {"trace_view.json": events, "kernel_details.csv": [HEADER, *rows]}
    kernels = read(folder(tmp_path, files)).frames["kernels"]
    assert kernels.select("stream", "operator").rows() == [(5, 1), (2, 0)]
