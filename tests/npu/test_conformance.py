"""What torch_npu's profiler asks of CANN: the tables of what each setting means, as tests."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.emulator.build import Emulator
from tests.npu.conftest import OnNpu, run_on_npu

LEVELS = {"Level_none": 0x0, "Level0": 0x801, "Level1": 0x27, "Level2": 0x12F}
GROUPS = {
    "ArithmeticUtilization": 0,
    "PipeUtilization": 1,
    "Memory": 2,
    "MemoryL0": 3,
    "ResourceConflictRatio": 4,
    "MemoryUB": 5,
    "L2Cache": 6,
    "MemoryAccess": 8,
    "AiCoreNone": 255,
}
SWITCHES = {
    "l2_cache": 0x10,
    "mstx": 0x80,
    "msprof_tx": 0x80,
    "profile_memory": 0x1000,
    "op_attr": 0x4000,
    "record_shapes": 0x800000000,
    "sys_io": 0,
    "sys_interconnection": 0,
    "record_op_args": 0,
    "with_stack": 0,
    "with_modules": 0,
    "with_flops": 0,
}
CONFIGS = {"profile_memory": (3, "50"), "sys_io": (5, "100"), "sys_interconnection": (6, "50")}

Case = dict[str, Any]


def case_of(level: str, group: str, *on: str, **more: Any) -> Case:
    # torch_npu wants a database for operator attributes.
    export = {"export_type": ["Db"]} if "op_attr" in on else {}
    return {"profiler_level": level, "aic_metrics": group} | dict.fromkeys(on, True) | export | more


def counting(level: str) -> bool:
    return level in {"Level1", "Level2"}


def expected_mask(case: Case, *, features: bool) -> int:
    level = case["profiler_level"]
    mask = LEVELS[level] | (SWITCHES["mstx"] if level == "Level_none" else 0)
    for name in SWITCHES.keys() & case.keys():
        if name == "op_attr" and not features:
            continue
        if name == "record_shapes" and not (features and level == "Level0"):
            continue
        mask |= SWITCHES[name]
    return mask


def expected_group(case: Case, *, features: bool) -> int:
    if not counting(case["profiler_level"]):
        return GROUPS["AiCoreNone"]
    if case["aic_metrics"] == "MemoryAccess" and not features:
        return GROUPS["PipeUtilization"]
    return GROUPS[case["aic_metrics"]]


def random_cases(count: int) -> list[Case]:
    draw = random.Random(0)  # noqa: S311 - the same cases in every run
    return [
        case_of(
            draw.choice(list(LEVELS)),
            draw.choice(list(GROUPS)),
            *draw.sample(list(SWITCHES), draw.randrange(len(SWITCHES) + 1)),
        )
        for _ in range(count)
    ]


EVERY_LEVEL_AND_GROUP = [case_of(*both) for both in itertools.product(LEVELS, GROUPS)]
EVERY_LEVEL_AND_SWITCH = [
    case_of(level, "PipeUtilization" if counting(level) else "AiCoreNone", switch)
    for level, switch in itertools.product(LEVELS, SWITCHES)
]
CASES = EVERY_LEVEL_AND_GROUP + EVERY_LEVEL_AND_SWITCH


def captures(emulator: Emulator, folder: Path, cases: list[Case], **settings: str) -> list[Any]:
    """Take the captures in one process; return the calls of each."""
    (folder / "cases.json").write_text(json.dumps(cases))
    run_on_npu(emulator, folder, "captures.py", str(folder / "cases.json"), str(folder), **settings)
    files = [folder / f"{index}.jsonl" for index in range(len(cases))]
    return [
        [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        for file in files
    ]


def only(calls: list[Any], name: str) -> list[Any]:
    return [call for call in calls if call["call"] == name]


@pytest.mark.parametrize("features", [True, False])
def test_settings_become_the_mask_and_the_group_of_the_tables(
    emulator: Emulator, tmp_path: Path, features: bool
) -> None:
    cases = CASES + (random_cases(100) if features else [])
    found = captures(emulator, tmp_path, cases, HARNESS_EMULATOR_FEATURES=str(int(features)))
    for case, calls in zip(cases, found, strict=True):
        (created,) = only(calls, "aclprofCreateConfig")
        wanted = expected_mask(case, features=features), expected_group(case, features=features)
        assert (created["data_type_config"], created["aicore_metrics"]) == wanted, case
        assert created["devices"] == [0]
        settings = {(call["type"], call["value"]) for call in only(calls, "aclprofSetConfig")}
        assert settings == {CONFIGS[name] for name in CONFIGS.keys() & case.keys()}, case
        assert bool(only(calls, "aclopStartDumpArgs")) == ("record_op_args" in case), case
        assert bool(only(calls, "aclopStopDumpArgs")) == ("record_op_args" in case), case
        assert {call["result"] for call in calls} == {0}
        assert all(call["emulated"] for call in calls)


def test_host_systems_are_one_setting(emulator: Emulator, tmp_path: Path) -> None:
    case = case_of("Level1", "PipeUtilization", host_sys=["CPU", "MEM"])
    (calls,) = captures(emulator, tmp_path, [case])
    found = [(call["type"], call["value"].split(",")) for call in only(calls, "aclprofSetConfig")]
    assert found
    assert all((kind, sorted(names)) == (8, ["cpu", "mem"]) for kind, names in found)


OPEN = ["aclprofInit", "aclprofGetSupportedFeatures"]
CLOSE = ["aclprofStop", "aclprofDestroyConfig", "aclprofFinalize"]


def test_the_order_of_the_calls_of_one_capture(emulator: Emulator, tmp_path: Path) -> None:
    plain = case_of("Level1", "PipeUtilization")
    cases = [
        plain,
        plain | {"warmup": 0},
        plain | {"sys_io": True},
        plain | {"activities": ["CPU"]},
    ]
    names = [[call["call"] for call in calls] for calls in captures(emulator, tmp_path, cases)]
    create, set_config = "aclprofCreateConfig", "aclprofSetConfig"
    begin = ["aclprofStart", "aclprofRegisterDeviceCallback"]
    assert names == [
        [*OPEN, create, "aclprofWarmup", *begin, *CLOSE],
        [*OPEN, create, *begin, *CLOSE],
        [*OPEN, set_config, create, "aclprofWarmup", set_config, *begin, *CLOSE],
        [],
    ]


@pytest.mark.parametrize(
    "imports",
    ["import torch, torch_npu", "import torch_npu", "import torch_npu, torch", "import torch"],
)
def test_torch_npu_loads_in_any_order_and_by_itself(on_npu: OnNpu, imports: str) -> None:
    autoload = "1" if imports == "import torch" else "0"
    script = f"{imports}; import torch; print(torch.npu.device_count(), torch.npu.is_available())"
    assert on_npu(script, TORCH_DEVICE_BACKEND_AUTOLOAD=autoload).split("\n")[-2] == "2 True"
