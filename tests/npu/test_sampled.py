"""What settings ask for leaves evidence: tables, the timeline, the database, folders."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.emulator.build import Emulator
from tests.npu.conftest import run_on_npu
from tests.npu.test_msprof import KERNELS_PER_STEP, STEPS, case, output, trace

BOTH = ["Text", "Db"]
HOST = ["CPU", "MEM", "DISK", "NETWORK", "OSRT", "NUMA"]
SWITCHES = ("profile_memory", "mstx", "sys_io", "sys_interconnection", "record_op_args", "op_attr")
CASES = [
    case("all", export_type=BOTH, host_sys=HOST, **dict.fromkeys(SWITCHES, True)),
    case("none", export_type=BOTH, record_shapes=False),
    case("Level0", export_type=["Db"], profiler_level="Level0"),
    case("Level0, no shapes", export_type=["Db"], profiler_level="Level0", record_shapes=False),
    case("Level_none", export_type=["Db"], profiler_level="Level_none"),
]
"""The last has marks alone: torch_npu forces them on."""


@pytest.fixture(scope="module")
def folders(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sampled")
    (root / "cases.json").write_text(json.dumps(CASES))
    run_on_npu(emulator, root, "mlp.py", "cases.json", str(root))
    return {each["name"]: next((root / each["name"]).glob("*_ascend_pt")) for each in CASES}


def stored(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(output(folder, "ascend_pytorch_profiler.db"))) as database:
        return database.execute(query).fetchall()


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


HOST_COUNTERS = {
    "CPU Usage": {"CPU 0", "CPU 1", "CPU Avg"},
    "Memory Usage": {"Memory Usage"},
    "Disk Usage": {"Disk Usage"},
    "Network Usage": {"Network Usage"},
    "OS Runtime API": {"ioctl", "nanosleep", "pthread_mutex_lock"},
}
COUNTERS = HOST_COUNTERS | {
    "NIC": {"Port 0/Rx", "Port 0/Tx"},
    "RoCE": {"Port 0/Rx", "Port 0/Tx"},
    "HCCS": {"Rx", "Tx"},
    "PCIe": {"PCIe_cpl", "PCIe_nonpost", "PCIe_nonpost_latency", "PCIe_post"},
    "NPU MEM": {
        f"{what}/{kind}" for what in ("APP", "Device") for kind in ("DDR", "HBM", "Memory")
    },
}


def counters(folder: Path) -> dict[str, set[str]]:
    """Return the events of each process of the timeline that settings ask for."""
    events = trace(folder)
    processes = {
        each["pid"]: each["args"]["name"]
        for each in events
        if each["name"] == "process_name" and each["args"]["name"] in COUNTERS
    }
    found: dict[str, set[str]] = {}
    for each in events:
        if each["ph"] in "CX" and each["pid"] in processes:
            found.setdefault(processes[each["pid"]], set()).add(each["name"])
    return found


def test_each_setting_has_its_process_in_the_timeline(folders: dict[str, Path]) -> None:
    assert counters(folders["all"]) == COUNTERS
    assert counters(folders["none"]) == {}
    usages = [each["args"] for each in trace(folders["all"]) if each["name"] == "Memory Usage"]
    assert all(0 <= usage["Usage(%)"] <= 100 for usage in usages)


TABLES = {
    "CPU_USAGE": "timestampNs, cpuId, usage",
    "HOST_MEM_USAGE": "timestampNs, usage",
    "HOST_DISK_USAGE": "timestampNs, readRate, writeRate, usage",
    "HOST_NETWORK_USAGE": "timestampNs, usage, speed",
    "OSRT_API": "name, globalTid, startNs, endNs",
    "NIC": "deviceId, timestampNs, bandwidth, rxPacketRate, txDropped, funcId",
    "ROCE": "deviceId, timestampNs, bandwidth, rxPacketRate, txDropped, funcId",
    "HCCS": "deviceId, timestampNs, txThroughput, rxThroughput",
    "PCIE": "deviceId, timestampNs, txPostMin, txNonpostLatencyAvg, rxCplMax",
    "NPU_MEM": "type, ddr, hbm, timestampNs, deviceId",
    "NPU_MODULE_MEM": "moduleId, timestampNs, totalReserved, deviceId",
}


@pytest.mark.parametrize("table", TABLES)
def test_each_setting_has_its_table_in_the_database(folders: dict[str, Path], table: str) -> None:
    assert stored(folders["all"], f"select {TABLES[table]} from {table}")  # noqa: S608
    listed = "select count(*) from sqlite_master where name = '{}'"
    assert stored(folders["none"], listed.format(table)) == [(0,)]


def test_the_database_knows_the_names_behind_its_numbers(folders: dict[str, Path]) -> None:
    parts = "select distinct name from NPU_MODULE_MEM join ENUM_MODULE on id = moduleId"
    assert {name for (name,) in stored(folders["all"], parts)} == {"APP", "RUNTIME", "HCCL", "SLOG"}
    calls = "select distinct value from OSRT_API join STRING_IDS on id = name"
    assert {name for (name,) in stored(folders["all"], calls)} == COUNTERS["OS Runtime API"]


def test_the_host_has_tables_that_torch_npu_leaves_where_they_are(
    folders: dict[str, Path],
) -> None:
    (exported,) = folders["all"].glob("PROF_*/mindstudio_profiler_output")
    names = ("host_cpu_usage", "host_mem_usage", "host_disk_usage", "host_network_usage")
    for name in (*names, "os_runtime_statistic"):
        (file,) = exported.glob(f"{name}_*.csv")
        assert {row["Device_id"] for row in rows(file)} == {"host"}
        assert not output(folders["all"], f"{name}.csv").exists()


def test_numa_nodes_have_a_folder_beside_the_capture(folders: dict[str, Path]) -> None:
    (platform,) = folders["all"].parent.glob("PLATFORM_*")
    assert platform.name.split("_")[1] == folders["all"].name.split("_")[-3]
    assert {file.name for file in platform.iterdir()} == {"metrics.csv", "platform.db"}
    assert set(rows(platform / "metrics.csv")[0]) == {"ts", "value", "name"}
    assert not list(folders["none"].parent.glob("PLATFORM_*"))


def test_operators_arguments_are_dumped_once_for_each_shape(folders: dict[str, Path]) -> None:
    folder = folders["all"].with_name(f"{folders['all'].name}_op_args")
    found = [json.loads(file.read_text()) for file in folder.iterdir()]
    assert len(found) == len({json.dumps(each) for each in found}) == 17
    assert all(each["emulated"] for each in found)
    (linear,) = (
        each
        for each in found
        if each["op_type"] == "aclnnAddmm" and each["outputs"][0]["shape"] == [32, 128]
    )
    assert [each["shape"] for each in linear["inputs"]] == [[128], [32, 64], [64, 128]]
    assert not list(folders["none"].parent.glob("*_op_args"))


MARKS = """
select message.value, domain.value, kind.name from MSTX_EVENTS as event
join STRING_IDS as message on message.id = event.message
join STRING_IDS as domain on domain.id = event.domainId
join ENUM_MSTX_EVENT_TYPE as kind on kind.id = event.eventType
where message.value like '% 1' order by message.value
"""


@pytest.mark.parametrize("name", ["all", "Level_none"])
def test_marks_have_domains(folders: dict[str, Path], name: str) -> None:
    assert stored(folders[name], MARKS) == [
        ("loss 1", "tests", "marker"),
        ("own 1", "tests", "start/end"),
        ("step 1", "default", "start/end"),
    ]


def test_without_a_level_there_are_marks_alone(folders: dict[str, Path]) -> None:
    for table in ("TASK", "COMPUTE_TASK_INFO", "CANN_API"):
        assert stored(folders["Level_none"], f"select count(*) from {table}") == [(0,)]  # noqa: S608


SHAPES = """
select distinct shapes.value from COMPUTE_TASK_INFO as info
join STRING_IDS as shapes on shapes.id = info.inputShapes
"""


def test_level0_has_shapes_in_the_database_where_they_were_asked_for(
    folders: dict[str, Path],
) -> None:
    shapes = {text for (text,) in stored(folders["Level0"], SHAPES)}
    assert '"128;32,64;64,128"' in shapes
    assert stored(folders["Level0, no shapes"], SHAPES) == [("N/A",)]
    count = "select count(*) from COMPUTE_TASK_INFO"
    assert stored(folders["Level0, no shapes"], count) == [(KERNELS_PER_STEP * STEPS,)]
