"""The checks of an NPU's settings on captures written by hand: what each takes for evidence."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness.capture.capture import Capture
from harness.capture.run_record import Delivery
from harness.execution.protocol import Outcome
from harness.verification.delivery import verify
from tests.support.captures import Columns, capture

NPU = ("device=npu", "profiler=level1")
EXPERIMENTAL = "profiler.experimental"
CORES = ["AI_CORE", "AI_VECTOR_CORE", "MIX_AIC", "MIX_AIV"]


def kernels(count: int = 4, **columns: list[Any]) -> dict[str, list[Any]]:
    """Kernels of each core in turn, with shapes, in the recorded steps."""
    given: dict[str, list[Any]] = {
        "step": [1 + index % 3 for index in range(count)],
        "name": [f"k{index}" for index in range(count)],
        "type": ["MatMulV2"] * count,
        "core": [CORES[index % 4] for index in range(count)],
        "input_shapes": [[[2, 3]]] * count,
        "output_shapes": [[[2, 3]]] * count,
        "aic_mte1_ratio": [0.5] * count,
    }
    return given | columns


def operators(*steps: int, shapes: bool = True) -> Columns:
    return {
        "step": list(steps),
        "name": ["aten::mm"] * len(steps),
        "input_shapes": [[[2, 3]] if shapes else None] * len(steps),
    }


def folder_of(path: Path, tables: dict[str, list[list[str]]], info: object = None) -> Path:
    """A capture's folder with these csv files, the run's folder above it."""
    made = path / "raw" / "host_1_20260101000000000_ascend_pt"
    output = made / "ASCEND_PROFILER_OUTPUT"
    output.mkdir(parents=True)
    for name, rows in tables.items():
        with (output / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    if info is not None:
        (made / "profiler_info.json").write_text(json.dumps(info))
    return made


def judged(found: Capture, setting: str) -> Delivery:
    (delivery,) = [each for each in verify(found) if each.setting == setting]
    return delivery


def npu(*settings: str, folder: Path = Path("nowhere"), **tables: Columns) -> Capture:
    tables.setdefault("kernels", kernels(6))
    tables.setdefault("operators", operators(1, 2, 3))
    return capture(*NPU, *settings, folder=folder, stages=(), raw=(), **tables)


def test_a_group_is_read_off_its_columns_and_its_values() -> None:
    setting = f"{EXPERIMENTAL}.aic_metrics"
    found = judged(npu(), setting)
    assert (found.status, found.arrived) == (
        "delivered",
        "6 of 6 compute kernels with PipeUtilization (100.0%)",
    )
    other = judged(npu(f"{setting}=MemoryAccess"), setting)
    assert (other.status, other.arrived) == ("substituted", "PipeUtilization")
    assert "has no MemoryAccess" in other.reason
    some = judged(npu(kernels=kernels(6, aic_mte1_ratio=[0.5, None] * 3)), setting)
    assert (some.status, some.arrived) == (
        "partial",
        "3 of 6 compute kernels with PipeUtilization (50.0%)",
    )
    bare = {name: column for name, column in kernels().items() if name != "aic_mte1_ratio"}
    assert judged(npu(kernels=bare), setting).status == "missing"


def test_counters_of_communication_are_not_missed() -> None:
    mixed = kernels(4, core=["AI_CORE", "HCCL", "DSA_SQE", "AI_CPU"])
    mixed["aic_mte1_ratio"][1:] = [None] * 3
    found = judged(npu(kernels=mixed), f"{EXPERIMENTAL}.aic_metrics")
    assert (found.status, found.arrived[:6]) == ("delivered", "1 of 1")


def test_shapes_are_judged_on_operators_and_kernels_and_bare_types_are_named() -> None:
    bare = kernels(4, type=["MatMulV2", "Custom", "MemSet", "hcom_allReduce_"])
    bare["name"][3] = "hcom_allReduce__1_0_1"
    for name in ("input_shapes", "output_shapes"):
        bare[name] = [[[2, 3]], None, None, None]
    found = judged(npu(kernels=bare), "profiler.record_shapes")
    assert found.status == "partial"
    assert found.arrived.endswith("1 of 2 kernels that can carry shapes (50.0%)")
    assert "no shapes of Custom:" in found.reason
    none = judged(npu(operators=operators(1, shapes=False)), "profiler.record_shapes")
    assert none.status == "partial"
    assert none.arrived.startswith("0 of 1 operators have shapes; 0 of 1 aten:: operators")


def test_level0_without_shapes_names_the_feature_and_the_level() -> None:
    lean = kernels(4, core=[None] * 4, type=[None] * 4)
    lean |= {"input_shapes": [None] * 4, "output_shapes": [None] * 4}
    asked = ("profiler=level0", "profiler.record_shapes=true")
    found = judged(
        capture("device=npu", *asked, kernels=lean, operators=operators(1)),
        "profiler.record_shapes",
    )
    assert "AICORE_SHAPE" in found.reason
    assert "profiler_level=Level1" in found.reason


def test_a_step_with_the_operators_of_another_and_fewer_kernels_is_short() -> None:
    steps = [1] * 2 + [2] * 5 + [3] * 5
    found = judged(npu(kernels=kernels(12, step=steps)), "profiler.schedule")
    assert found.status == "missing"
    assert found.arrived == ("3 of 3 requested steps recorded (100.0%), step 1 has 2 of 5 kernels")
    # Another number of operators: it may launch what it likes.
    others = operators(1, 1, 2, 3)
    fine = npu(kernels=kernels(12, step=steps), operators=others)
    assert judged(fine, "profiler.schedule").status == "delivered"


def test_a_step_without_kernels_is_missing_though_it_has_operators() -> None:
    found = judged(npu(kernels=kernels(4, step=[2, 2, 3, 3])), "profiler.schedule")
    assert (found.status, found.arrived) == ("partial", "2 of 3 requested steps recorded (66.7%)")
    assert "no event was recorded in step(s) 1" in found.reason


LEVELS = [
    ("Level1", {}, "delivered", "Level1"),
    ("Level0", {"core": [None] * 4}, "delivered", "Level0"),
    ("Level1", {"core": [None] * 4}, "substituted", "Level0"),
]


@pytest.mark.parametrize(("asked", "columns", "status", "arrived"), LEVELS)
def test_a_level_is_told_by_what_only_it_delivers(
    asked: str, columns: dict[str, list[Any]], status: str, arrived: str
) -> None:
    setting = f"{EXPERIMENTAL}.profiler_level"
    found = judged(npu(f"{setting}={asked}", kernels=kernels(4, **columns)), setting)
    assert (found.status, found.arrived) == (status, arrived)


@pytest.mark.parametrize("level", ["Level0", "Level1"])
def test_communication_alone_lacks_nothing_that_only_computing_has(level: str) -> None:
    moving = kernels(2, core=["HCCL"] * 2, type=["hcom_allReduce_"] * 2)
    moving |= {
        "input_shapes": [None] * 2,
        "output_shapes": [None] * 2,
        "aic_mte1_ratio": [None] * 2,
    }
    settings = f"{EXPERIMENTAL}.profiler_level={level}", "profiler.record_shapes=true"
    found = capture("device=npu", *settings, kernels=moving, operators=operators(1, 2))
    statuses = {each.setting.rpartition(".")[2]: each.status for each in verify(found)}
    assert statuses["record_shapes"] == "delivered"
    told = {"Level0": "not_checkable", "Level1": "delivered"}
    assert statuses["profiler_level"] == told[level]
    assert statuses.get("aic_metrics", "not_checkable") == "not_checkable"


def test_level2_is_told_from_level1_by_the_runtimes_calls(tmp_path: Path) -> None:
    setting = f"{EXPERIMENTAL}.profiler_level"
    asked = npu(f"{setting}=Level2", folder=tmp_path)
    assert judged(asked, setting).status == "not_checkable"
    header = ["Device_id", "Level", "API Name"]
    made = folder_of(tmp_path, {"api_statistic": [header, ["host", "acl", "aclnnMm"]]})
    assert (judged(asked, setting).status, judged(asked, setting).arrived) == (
        "substituted",
        "Level1",
    )
    with (made / "ASCEND_PROFILER_OUTPUT" / "api_statistic.csv").open("a") as file:
        file.write("host,runtime,KernelLaunch\r\n")
    assert (judged(asked, setting).status, judged(asked, setting).arrived) == (
        "delivered",
        "Level2",
    )


def test_hit_rates_that_are_na_are_partial_and_the_counter_group_is_named(tmp_path: Path) -> None:
    header = ["Device_id", "Stream Id", "Task Id", "Hit Rate", "Victim Rate", "Op Name"]
    rows = [header, ["0", "2", "1", "N/A", "0.5", "a"], ["0", "2", "2", "N/A", "0.5", "b"]]
    folder_of(tmp_path, {"l2_cache": rows})
    found = judged(
        npu(f"{EXPERIMENTAL}.l2_cache=true", folder=tmp_path), f"{EXPERIMENTAL}.l2_cache"
    )
    assert (found.status, found.arrived) == (
        "partial",
        "0 of 2 kernels in l2_cache.csv with a hit rate (0.0%)",
    )
    assert "aic_metrics=L2Cache" in found.reason


def test_attributes_are_counted_in_the_database(tmp_path: Path) -> None:
    asked = (f"{EXPERIMENTAL}.op_attr=true", f"{EXPERIMENTAL}.export_type=[Text,Db]")
    found = npu(*asked, folder=tmp_path)
    assert judged(found, f"{EXPERIMENTAL}.op_attr").status == "missing"
    made = folder_of(tmp_path, {})
    path = made / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE STRING_IDS (id INTEGER, value TEXT)")
        database.execute("CREATE TABLE COMPUTE_TASK_INFO (attrInfo INTEGER)")
        database.executemany("INSERT INTO STRING_IDS VALUES (?, ?)", [(1, "N/A"), (2, "{}")])
        database.executemany("INSERT INTO COMPUTE_TASK_INFO VALUES (?)", [(1,), (2,), (2,), (2,)])
    delivery = judged(found, f"{EXPERIMENTAL}.op_attr")
    assert (delivery.status, delivery.arrived) == (
        "partial",
        "3 of 4 kernels in the database with attributes (75.0%)",
    )


def test_what_torch_npu_says_that_it_kept_counts_before_any_check(tmp_path: Path) -> None:
    config = {
        "common_config": {"record_shapes": False},
        "experimental_config": {"_aic_metrics": "ACL_AICORE_NONE", "_mstx": True},
    }
    folder_of(tmp_path, {}, {"config": config})
    found = {each.setting: each for each in verify(npu(folder=tmp_path))}
    reset = {
        setting
        for setting, each in found.items()
        if each.reason.startswith("torch_npu silently changed")
    }
    assert reset == {
        "profiler.record_shapes",
        f"{EXPERIMENTAL}.aic_metrics",
        f"{EXPERIMENTAL}.mstx",
    }
    assert found[f"{EXPERIMENTAL}.aic_metrics"].arrived == "torch_npu used AiCoreNone"
    assert {found[setting].status for setting in reset} == {"substituted"}


def test_why_nothing_came_is_said_once_for_all() -> None:
    empty: Columns = {}
    found = npu(kernels=empty, operators=empty)
    assert judged(found, "profiler.activities").reason.startswith("torch_npu left no capture")


def test_a_failed_analysis_is_the_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, {})
    empty: Columns = {}
    found = replace(
        npu(folder=tmp_path, kernels=empty, operators=empty),
        analysis=Outcome(status="failed", reason="ran past profiler.analyse_timeout_s=5"),
    )
    assert "ran past profiler.analyse_timeout_s=5" in judged(found, "profiler.activities").reason


def test_a_table_that_cannot_be_read_is_missing_and_named(tmp_path: Path) -> None:
    made = folder_of(tmp_path, {})
    (made / "ASCEND_PROFILER_OUTPUT" / "l2_cache.csv").write_bytes(b"\x00\xff\xfe")
    found = judged(
        npu(f"{EXPERIMENTAL}.l2_cache=true", folder=tmp_path), f"{EXPERIMENTAL}.l2_cache"
    )
    assert found.status == "missing"


def test_no_group_and_no_device_demand_no_counters() -> None:
    for settings in (("profiler=level0",), ("profiler.activities=[host]",)):
        settings_expected = {
            each.setting for each in capture("device=npu", *settings).expected.expectations
        }
        assert f"{EXPERIMENTAL}.aic_metrics" not in settings_expected
