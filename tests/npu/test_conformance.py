"""What reaches CANN: for composed settings, exactly the calls that torch_npu's tables state.

The tables are those that a recording of the wheel over a stand-in gave, spelled out here.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from harness.emulator.build import Emulator
from harness.settings.faults import Faults
from tests.conftest import TINY_MLP, run_harness
from tests.npu.combinations import (
    GROUPS,
    LEVELS,
    Case,
    all_pairs,
    cases,
    counting,
    pairs_of,
    settings,
)
from tests.npu.conftest import OnNpu, run_on_npu

COUNT = 420
BITS = {
    "l2_cache": 0x10,
    "mstx": 0x80,
    "msprof_tx": 0x80,
    "profile_memory": 0x1000,
    "op_attr": 0x4000,
}
HEALTHY = Faults()
NO_FEATURES = Faults(missing_features=("ATTR", "AICORE_SHAPE", "MemoryAccess"))


def expected_mask(case: Case, *, features: bool) -> int:
    mask = LEVELS[case["profiler_level"]]
    for name, bit in BITS.items():
        if case[name] and (features or name != "op_attr"):
            mask |= bit
    shapes = features and case["record_shapes"] and case["profiler_level"] == "Level0"
    return mask | (0x800000000 if shapes else 0)


def expected_group(case: Case, *, features: bool) -> int:
    if not counting(case["profiler_level"]):
        return GROUPS["AiCoreNone"]
    group = case["aic_metrics"] or "PipeUtilization"
    if group == "MemoryAccess" and not features:
        group = "PipeUtilization"
    return GROUPS[group]


def expected_settings(case: Case) -> set[tuple[int, str]]:
    wanted = {
        (3, "50"): case["profile_memory"],
        (5, "100"): case["sys_io"],
        (6, "50"): case["sys_interconnection"],
        (8, ",".join(sorted(case["host_sys"])).lower()): case["host_sys"],
    }
    return {setting for setting, asked in wanted.items() if asked}


def only(calls: list[Any], name: str) -> list[Any]:
    return [call for call in calls if call["call"] == name]


def check(case: Case, calls: list[Any], *, features: bool = True, device: int = 0) -> None:
    (created,) = only(calls, "aclprofCreateConfig")
    wanted = expected_mask(case, features=features), expected_group(case, features=features)
    assert (created["data_type_config"], created["aicore_metrics"]) == wanted, case
    assert created["devices"] == [device]
    found = {
        # torch_npu hands the host's systems over in no certain order.
        (call["type"], ",".join(sorted(call["value"].split(","))))
        for call in only(calls, "aclprofSetConfig")
    }
    assert found == expected_settings(case), case
    for dump in ("aclopStartDumpArgs", "aclopStopDumpArgs"):
        assert bool(only(calls, dump)) == case["record_op_args"], case
    assert {call["result"] for call in calls} == {0}
    assert all(call["emulated"] for call in calls)


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def captured(
    emulator: Emulator, folder: Path, typed: list[list[str]], faults: Faults = HEALTHY
) -> list[list[Any]]:
    """Take the captures through the device file, in one process; return the calls of each."""
    (folder / "cases.json").write_text(json.dumps(typed))
    words = "conformance.py", str(folder / "cases.json"), str(folder)
    run_on_npu(emulator, folder, *words, faults=faults)
    files = [folder / f"{index}.jsonl" for index in range(len(typed))]
    return [lines(file) if file.exists() else [] for file in files]


@functools.cache
def all_cases() -> list[Case]:
    return list(cases(COUNT))


def test_the_cases_hold_every_pair_of_values() -> None:
    made = all_cases()
    assert len(made) == COUNT
    assert len({str(case) for case in made}) > 400
    assert all_pairs() - set().union(*map(pairs_of, made)) == set()


def test_composed_settings_reach_cann_as_the_tables_say(emulator: Emulator, tmp_path: Path) -> None:
    """One process takes all: torch_npu's folder is a singleton, and each has its own."""
    made = all_cases()
    for case, calls in zip(
        made, captured(emulator, tmp_path, list(map(settings, made))), strict=True
    ):
        check(case, calls)
    for index in range(COUNT):
        (capture,) = (tmp_path / str(index) / "raw").glob("*_ascend_pt")
        (profile,) = capture.glob("PROF_*")
        assert (profile / "host" / "end_info").exists()
    assert not (tmp_path / "export_only_prof_dir").exists()


def test_a_cann_without_features_gets_what_it_can(emulator: Emulator, tmp_path: Path) -> None:
    made = list(cases(60))
    typed = list(map(settings, made))
    for case, calls in zip(made, captured(emulator, tmp_path, typed, NO_FEATURES), strict=True):
        check(case, calls, features=False)


@pytest.mark.parametrize("number", range(0, COUNT, COUNT // 12))
def test_the_command_makes_the_same_calls(tmp_path: Path, number: int) -> None:
    case = all_cases()[number]
    device = number % 2
    words = [*settings(case), *TINY_MLP, "profiler.analyse=later", f"device.index={device}"]
    run = run_harness(tmp_path, "rehearse", *words)
    assert run.code == 0, run.err
    check(case, lines(run.latest / "acl_calls.jsonl"), device=device)


OPEN = ["aclprofInit", "aclprofGetSupportedFeatures"]
CLOSE = ["aclprofStop", "aclprofDestroyConfig", "aclprofFinalize"]


def test_the_order_of_the_calls_of_one_capture(emulator: Emulator, tmp_path: Path) -> None:
    typed = [
        [],
        ["profiler.schedule.warmup=0"],
        ["profiler.experimental.sys_io=true"],
        ["profiler.activities=[host]"],
        ["profiler.schedule.repeat=2"],
    ]
    names = [[call["call"] for call in calls] for calls in captured(emulator, tmp_path, typed)]
    create, set_config = "aclprofCreateConfig", "aclprofSetConfig"
    begin = ["aclprofStart", "aclprofRegisterDeviceCallback"]
    one = [*OPEN, create, "aclprofWarmup", *begin, *CLOSE]
    assert names == [
        one,
        [*OPEN, create, *begin, *CLOSE],
        [*OPEN, set_config, create, "aclprofWarmup", set_config, *begin, *CLOSE],
        [],
        [*one, *one],
    ]


@pytest.mark.parametrize(
    "imports",
    ["import torch, torch_npu", "import torch_npu", "import torch_npu, torch", "import torch"],
)
def test_torch_npu_loads_in_any_order_and_by_itself(on_npu: OnNpu, imports: str) -> None:
    autoload = "1" if imports == "import torch" else "0"
    script = f"{imports}; import torch; print(torch.npu.device_count(), torch.npu.is_available())"
    assert on_npu(script, TORCH_DEVICE_BACKEND_AUTOLOAD=autoload).split("\n")[-2] == "2 True"
