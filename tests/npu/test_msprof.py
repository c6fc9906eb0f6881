"""What the stand-in for msprof makes of a capture, read as the real torch_npu passes it on."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.emulator.build import Emulator
from harness.emulator.columns import GROUPS, TENSOR_COLUMNS, counter_header
from harness.settings.faults import Faults
from tests.npu.conftest import run_on_npu

Row = dict[str, str]

GROUP_IDS = {group.name: number for number, group in GROUPS.items()}
PROCESSES = 2


def case(name: str, *environment: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "environment": dict(each.split("=", 1) for each in environment),
        "settings": settings,
    }


SWITCHES = ("profile_memory", "l2_cache", "mstx", "sys_io", "sys_interconnection")
PIPE: dict[str, Any] = {"aic_metrics": "PipeUtilization"}
CASES = [
    *(case(name, aic_metrics=name) for name in GROUP_IDS),
    case("AiCoreNone"),
    case("Level0", profiler_level="Level0"),
    case("Level2", profiler_level="Level2", **dict.fromkeys(SWITCHES, True)),
    case("Level_none", profiler_level="Level_none"),
    case("Db", export_type=["Db"], mstx=True, **PIPE),
    case("older", "HARNESS_EMULATOR_ERA=block_dim"),
    case("again", **PIPE),
    case("cycles", repeat=2, data_simplification=True),
]
KERNELS_PER_STEP = 17
STEPS = 2


@pytest.fixture(scope="module")
def folders(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Take all captures, a few processes at a time, and return the folder of each."""
    root = tmp_path_factory.mktemp("captures")

    def take(number: int) -> None:
        file = root / f"cases_{number}.json"
        file.write_text(json.dumps(CASES[number::PROCESSES]))
        run_on_npu(emulator, root, "mlp.py", str(file), str(root))

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(take, range(PROCESSES)))
    return {each["name"]: next((root / each["name"]).glob("*_ascend_pt")) for each in CASES}


def output(folder: Path, name: str) -> Path:
    return folder / "ASCEND_PROFILER_OUTPUT" / name


def read(folder: Path, name: str) -> list[Row]:
    with output(folder, name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def ns(us: str | float) -> int:
    """Microseconds since 1970 have more digits than a float holds."""
    return int(Decimal(str(us).strip()) * 1000)


def kernels(folder: Path) -> list[Row]:
    return read(folder, "kernel_details.csv")


def launched(folder: Path) -> list[Any]:
    file = next(folder.glob("PROF_*/emulated/device_0.jsonl"))
    return [json.loads(line) for line in file.read_text().splitlines()]


def trace(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output(folder, "trace_view.json").read_text())
    return found


def flows(events: Iterable[dict[str, Any]], name: str, phase: str) -> list[dict[str, Any]]:
    return [each for each in events if each["name"].startswith(name) and each["ph"] == phase]


@pytest.mark.parametrize("group", [*GROUP_IDS, "AiCoreNone"])
def test_every_group_yields_the_launched_kernels_with_its_counters(
    folders: dict[str, Path], group: str
) -> None:
    rows = kernels(folders[group])
    found = [(row["Name"].split("_")[0], ns(row["Start Time(us)"])) for row in rows]
    assert found == [(each["op"], each["start_ns"]) for each in launched(folders[group])]
    assert Counter(row["Step Id"] for row in rows) == dict.fromkeys("12", KERNELS_PER_STEP)
    header = list(rows[0])
    assert header[header.index("Context ID") + 1 :] == [*counter_header(GROUP_IDS.get(group, 255))]
    assert output(folders[group], "analyse.done").exists()


SIGNATURES = {
    "ArithmeticUtilization": (12, "aic_mac_fp16_ratio", "aiv_vector_fops"),
    "PipeUtilization": (25, "aic_mte1_ratio", "aiv_mte3_time(us)"),
    "Memory": (16, "aic_main_mem_read_bw(GB/s)", "aiv_ub_write_bw(GB/s)"),
    "MemoryL0": (12, "aic_l0c_read_bw_cube(GB/s)", "aiv_l0c_write_bw(GB/s)"),
    "ResourceConflictRatio": (7, "aic_total_cycles", "aiv_vec_bank_cflt_ratio"),
    "MemoryUB": (10, "aic_ub_read_bw_scalar(GB/s)", "aiv_ub_write_bw_vector(GB/s)"),
    "L2Cache": (16, "aic_write_cache_hit", "aiv_r1_read_cache_miss_allocate"),
    "MemoryAccess": (18, "aic_L0C_to_GM_datas(KB)", "aiv_read_main_memory_datas(KB)"),
    "AiCoreNone": (0,),
}
"""By group: how many columns it has, and some that tell it from the others."""


@pytest.mark.parametrize("group", SIGNATURES)
def test_groups_are_told_apart_by_their_columns(group: str) -> None:
    header = counter_header(GROUP_IDS.get(group, 255))
    count, *columns = SIGNATURES[group]
    assert len(set(header)) == len(header) == count
    assert set(columns) <= set(header)


@pytest.mark.parametrize("group", GROUP_IDS)
def test_counters_agree_with_each_other(folders: dict[str, Path], group: str) -> None:
    for row in kernels(folders[group]):
        duration_us = float(row["Duration(us)"])
        used, unused = ("aic", "aiv") if row["Accelerator Core"] == "AI_CORE" else ("aiv", "aic")
        totals = {"aic": float(row["aicore_time(us)"]), "aiv": float(row["aiv_time(us)"])}
        assert 0.8 * duration_us < totals[used] <= duration_us
        assert totals[unused] == 0
        blocks = int(row["Block Num"])
        assert int(row[f"{used}_total_cycles"]) == pytest.approx(
            totals[used] * 1800 * blocks, abs=1
        )
        for column in counter_header(GROUP_IDS[group]):
            value, half = float(row[column]), "aiv" if column.startswith("aiv") else "aic"
            assert value >= 0
            assert half == used or value == 0, column
            if column.endswith(("_ratio", "_rate")):
                assert value < 1
            time_column = column.replace("_ratio", "_time(us)")
            if time_column != column and time_column in row and half == used:
                assert float(row[time_column]) / totals[half] == pytest.approx(value, abs=5e-4)


def test_counters_are_the_same_in_every_run_and_differ_between_kernels(
    folders: dict[str, Path],
) -> None:
    header = counter_header(GROUP_IDS["PipeUtilization"])
    found: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for folder in (folders["PipeUtilization"], folders["again"]):
        for row in kernels(folder):
            values = tuple(row[column] for column in header)
            kernel = row["Name"], row["Input Shapes"], row["Output Shapes"]
            found.setdefault(kernel, set()).add(values)
    assert all(len(values) == 1 for values in found.values())
    assert len({next(iter(values)) for values in found.values()}) == len(found)


def test_a_kernel_has_the_shapes_types_and_formats_of_its_launch(folders: dict[str, Path]) -> None:
    first = kernels(folders["Memory"])[0]
    assert (first["Type"], first["Accelerator Core"]) == ("MatMulV2", "AI_CORE")
    found = [first[column] for column in TENSOR_COLUMNS]
    inputs = ['"128;32,64;64,128"', "FLOAT;FLOAT;FLOAT", "ND;ND;ND"]
    assert found == [*inputs, '"32,128"', "FLOAT", "ND"]


def test_a_kernel_waits_since_the_one_before_ended(folders: dict[str, Path]) -> None:
    rows = kernels(folders["Memory"])
    assert rows[0]["Wait Time(us)"] == "0"
    for before, row in pairwise(rows):
        end_ns = ns(before["Start Time(us)"]) + ns(before["Duration(us)"])
        assert ns(row["Wait Time(us)"]) == ns(row["Start Time(us)"]) - end_ns


def test_tables_agree_with_the_kernels(folders: dict[str, Path]) -> None:
    folder = folders["PipeUtilization"]
    rows = kernels(folder)
    types = Counter((row["Type"], row["Accelerator Core"]) for row in rows)
    statistic = read(folder, "op_statistic.csv")
    assert {(row["OP Type"], row["Core Type"]): int(row["Count"]) for row in statistic} == types
    assert sum(float(row["Ratio(%)"]) for row in statistic) == pytest.approx(100, abs=0.01)
    tasks = read(folder, "task_time.csv")
    assert [row["kernel_name"] for row in tasks] == [row["Name"] for row in rows]
    calls = {row["API Name"]: int(row["Count"]) for row in read(folder, "api_statistic.csv")}
    assert calls.pop("launch") == len(rows) == sum(calls.values())
    steps = read(folder, "step_trace_time.csv")
    assert [row["Step"] for row in steps] == ["1", "2"]
    computing = sum(float(row["Computing"]) for row in steps)
    assert computing == pytest.approx(sum(float(row["Duration(us)"]) for row in rows))


def test_operators_have_shapes_and_the_time_of_their_kernels(folders: dict[str, Path]) -> None:
    rows = read(folders["PipeUtilization"], "operator_details.csv")
    linear = next(row for row in rows if row["Name"] == "aten::linear")
    assert linear["Input Shapes"] == "32,64;\r\n128,64;\r\n128"
    device_us = sum(float(row["Device Self Duration(us)"]) for row in rows)
    durations = (float(row["Duration(us)"]) for row in kernels(folders["PipeUtilization"]))
    assert device_us == pytest.approx(sum(durations))


def test_the_trace_leads_from_operators_to_kernels_and_says_what_it_is(
    folders: dict[str, Path],
) -> None:
    events = trace(folders["PipeUtilization"])
    count = KERNELS_PER_STEP * STEPS
    for name in ("HostToDevice", "torch_to_npu"):
        assert len(flows(events, name, "s")) == len(flows(events, name, "f")) == count
    launches = {each["id"]: ns(each["ts"]) for each in flows(events, "HostToDevice", "s")}
    for each in flows(events, "HostToDevice", "f"):
        assert launches[each["id"]] < ns(each["ts"])
    labels = {each["args"].get("labels") for each in events if each["name"] == "process_labels"}
    assert labels == {"CPU", "NPU 0"}
    assert [each["args"]["emulated"] for each in events if each["name"] == "emulated"] == [True]
    overlap = [each for each in events if each["name"] in {"Computing", "Free"}]
    for one, other in pairwise(overlap):
        assert ns(one["ts"]) + ns(one["dur"]) == ns(other["ts"])
    assert len(overlap) == 2 * count - 1


def test_level0_knows_names_and_times_only(folders: dict[str, Path]) -> None:
    folder = folders["Level0"]
    rows = kernels(folder)
    assert len(rows) == KERNELS_PER_STEP * STEPS
    assert {(row["Type"], row["Accelerator Core"], row["Block Num"]) for row in rows} == {
        ("N/A", "N/A", "0")
    }
    assert "Stream ID" not in rows[0]
    assert "aicore_time(us)" not in rows[0]
    assert rows[0]["Input Shapes"] == '"128;32,64;64,128"'  # record_shapes asks for them
    assert not output(folder, "op_statistic.csv").exists()
    assert len(read(folder, "task_time.csv")) == len(rows)
    assert not any(each["name"].startswith("AscendCL@") for each in trace(folder))


def test_level2_with_all_switches_adds_their_tables(folders: dict[str, Path]) -> None:
    folder = folders["Level2"]
    assert {row["Level"] for row in read(folder, "api_statistic.csv")} == {"acl", "node", "runtime"}
    cache = read(folder, "l2_cache.csv")
    assert len(cache) == KERNELS_PER_STEP * STEPS - 1
    assert all(0 < float(row["Hit Rate"]) < 1 for row in cache)
    assert all(0 < float(row["Victim Rate"]) < 1 for row in cache)
    for row in read(folder, "soc_pmu.csv"):
        assert float(row["TLB Hit Rate"]) + float(row["TLB Miss Rate"]) == pytest.approx(1)
    assert {row["Mode"] for row in read(folder, "hccs.csv")} == {"Tx", "Rx"}
    assert len(read(folder, "pcie.csv")) == 7
    for name in ("nic.csv", "roce.csv"):
        assert {row["Bandwidth(MB/s)"] for row in read(folder, name)} == {"0"}
    modules = {row["Component"] for row in read(folder, "npu_module_mem.csv")}
    assert {"APP", "RUNTIME"} <= modules
    assert {"APP", "PTA"} <= {row["Component"] for row in read(folder, "memory_record.csv")}
    assert "step 1" in {each["name"] for each in trace(folder)}


def test_level_none_has_marks_and_no_kernels(folders: dict[str, Path]) -> None:
    folder = folders["Level_none"]
    assert not output(folder, "kernel_details.csv").exists()
    events = trace(folder)
    assert "step 1" in {each["name"] for each in events}
    assert not flows(events, "HostToDevice", "s")


def test_the_older_header_says_block_dim(folders: dict[str, Path]) -> None:
    header = set(kernels(folders["older"])[0])
    assert {"Block Dim", "Mix Block Dim"} <= header
    assert not {"Block Num", "Mix Block Num"} & header


KERNELS_OF_OPERATORS = """
select strings.value from COMPUTE_TASK_INFO as info
join TASK as task on task.globalTaskId = info.globalTaskId
join CONNECTION_IDS as ids on ids.connectionId = task.connectionId
join PYTORCH_API as api on api.connectionId = ids.id
join STRING_IDS as strings on strings.id = info.name order by task.startNs
"""
MARKS = """
select strings.value from MSTX_EVENTS as event
join STRING_IDS as strings on strings.id = event.message order by event.startNs
"""


def test_the_database_leads_from_operators_to_kernels_too(folders: dict[str, Path]) -> None:
    file = output(folders["Db"], "ascend_pytorch_profiler.db")
    with closing(sqlite3.connect(file)) as database:
        names = [name for (name,) in database.execute(KERNELS_OF_OPERATORS)]
        counted = database.execute("select count(*), min(value) from TASK_PMU_INFO").fetchone()
        emulated = database.execute("select value from META_DATA where name = 'emulated'")
        assert emulated.fetchall() == [("true",)]
        marked = database.execute(MARKS).fetchall()
    assert len(names) == KERNELS_PER_STEP * STEPS
    assert names[0] == "aclnnAddmm_MatMulCommon_MatMulV2"
    assert counted == (len(names) * len(counter_header(1)), 0)
    assert [mark for mark in marked if mark[0].startswith("step")] == [("step 1",), ("step 2",)]
    with closing(sqlite3.connect(output(folders["Db"], "analysis.db"))) as analysis:
        steps = analysis.execute("select step from StepTraceTime order by step").fetchall()
    assert steps == [("1",), ("2",)]


def test_each_cycle_counts_its_operators_and_keeps_the_count(folders: dict[str, Path]) -> None:
    files = list(folders["cycles"].parent.glob("*_ascend_pt/PROF_*/emulated/summary.json"))
    assert len(files) == 2
    for file in files:
        assert json.loads(file.read_text()) == {
            "emulated": True,
            "operators_computed": KERNELS_PER_STEP * STEPS,
            "operators_not_computed": 0,
            "not_computed": {},
        }
        assert not (file.parents[1] / "mindstudio_profiler_output").exists()  # simplified


def test_what_runs_on_the_second_device_is_found_under_its_number(
    emulator: Emulator, tmp_path: Path
) -> None:
    second = case("second", export_type=["Text", "Db"], **PIPE)
    (tmp_path / "cases.json").write_text(json.dumps([second]))
    run_on_npu(emulator, tmp_path, "mlp.py", "cases.json", str(tmp_path), TEST_DEVICE="1")
    (folder,) = (tmp_path / "second").glob("*_ascend_pt")
    rows = kernels(folder)
    assert Counter(row["Device_id"] for row in rows) == {"1": KERNELS_PER_STEP * STEPS}
    labels = [each["args"]["labels"] for each in trace(folder) if each["name"] == "process_labels"]
    assert {label for label in labels if label.startswith("NPU")} == {"NPU 1"}
    with closing(sqlite3.connect(output(folder, "ascend_pytorch_profiler.db"))) as database:
        devices = database.execute("select distinct deviceId from TASK").fetchall()
    assert devices == [(1,)]


def msprof(emulator: Emulator, *words: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [emulator.tools / "msprof", *words],
        env=emulator.environment() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_all_files_appear_at_once_and_torch_npu_has_time_to_see_them(
    emulator: Emulator, folders: dict[str, Path], tmp_path: Path
) -> None:
    (recorded,) = folders["Memory"].glob("PROF_*")
    capture = tmp_path / recorded.name
    shutil.copytree(recorded, capture)
    shutil.rmtree(capture / "mindstudio_profiler_output")
    begin = time.monotonic()
    slow = Faults(slow_analysis_s=0.5).environment()
    with msprof(emulator, "--export=on", f"--output={capture}", **slow) as running:
        while not (capture / "mindstudio_profiler_output").exists():
            assert running.poll() is None, running.communicate()
            time.sleep(0.001)
        names = {each.name for each in (capture / "mindstudio_profiler_output").iterdir()}
        appeared = time.monotonic()
        assert running.wait(20) == 0
    kinds = {name.rpartition("_")[0] for name in names}
    tables = {"op_summary", "op_statistic", "api_statistic", "task_time"}
    assert kinds == {*tables, "msprof", ""}
    assert appeared - begin > 0.5
    assert time.monotonic() - appeared > 0.4
    assert not list(capture.glob("exporting_*"))


FAILS = Faults(msprof="fails").environment()


@pytest.mark.parametrize(
    ("words", "settings", "code", "message"),
    [
        (["--help"], {}, 0, "--type"),
        (["--help"], FAILS, 0, "emulated"),
        (["--analyze=on", "--output=none"], {}, 2, "not a capture of the emulator"),
        (["--export=on", "--output=none"], {"HARNESS_EMULATOR_ERA": "2023"}, 2, "block_dim"),
        (["--export=on", "--output=none"], FAILS, 1, "fails"),
    ],
)
def test_commands_answer_as_torch_npu_expects(
    emulator: Emulator, words: list[str], settings: dict[str, str], code: int, message: str
) -> None:
    with msprof(emulator, *words, **settings) as running:
        printed = "".join(running.communicate(timeout=20))
    assert running.returncode == code
    assert message in printed
    # Else torch_npu would make a database of every capture.
    assert "text(which will also export the database)" not in printed
