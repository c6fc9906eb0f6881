"""What the real torch_npu makes of each fault, and of a capture without any."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.emulator.build import Emulator
from harness.emulator.columns import TENSOR_COLUMNS, counter_header
from harness.settings.faults import Faults, Rejected
from tests.npu.conftest import CHILDREN, LIMIT_S
from tests.npu.test_msprof import KERNELS_PER_STEP, STEPS, flows, kernels, output, read, trace

PIPE: dict[str, Any] = {"aic_metrics": "PipeUtilization"}
DB: dict[str, Any] = {"export_type": ["Db"]}
LEVEL0: dict[str, Any] = {"profiler_level": "Level0"}
SWITCHES: tuple[Rejected, ...] = ("host_sys", "sys_io", "sys_interconnection", "profile_memory")
SAMPLED: dict[str, Any] = dict.fromkeys(SWITCHES, True) | {
    "host_sys": ["CPU", "MEM", "DISK", "NETWORK", "OSRT", "NUMA"]
}
CASES: dict[str, tuple[dict[str, Any], Faults]] = {
    "whole": (PIPE | {"l2_cache": True}, Faults()),
    "attributes": (DB | {"op_attr": True}, Faults()),
    "no attributes": (DB | {"op_attr": True}, Faults(missing_features=("ATTR",))),
    "shapes": (LEVEL0, Faults(missing_features=("ATTR", "MemoryAccess"))),
    "no shapes": (LEVEL0, Faults(missing_features=("AICORE_SHAPE",))),
    "no access": ({"aic_metrics": "MemoryAccess"}, Faults(missing_features=("MemoryAccess",))),
    "rejected": (SAMPLED, Faults(rejected_settings=SWITCHES)),
    "one rejected": (SAMPLED, Faults(rejected_settings=("sys_io",))),
    "not started": ({}, Faults(start_fails=True)),
    "lost": (PIPE, Faults(lost_head=0.5)),
    "dropped": (PIPE, Faults(dropped_kernels=3)),
    "unshaped": ({}, Faults(na_shapes=("MatMulV2", "ReduceSum"))),
    "no hit rate": ({"l2_cache": True}, Faults(empty_hit_rate=True)),
    "msprof fails": ({}, Faults(msprof="fails")),
    "no msprof": ({}, Faults(msprof="missing")),
    "no msprof, Db": (DB, Faults(msprof="missing")),
}
PROCESSES = 2


class Captures:
    """The captures of all cases: their folders, their calls, and what was printed."""

    def __init__(self, root: Path, printed: dict[str, str]) -> None:
        self._root = root
        self.printed = printed

    def folder(self, name: str) -> Path:
        return next((self._root / name).glob("*_ascend_pt"))

    def calls(self, name: str, call: str) -> list[dict[str, Any]]:
        lines = (self._root / f"{name}.calls").read_text().splitlines()
        return [found for line in lines if (found := json.loads(line))["call"] == call]

    def mask(self, name: str) -> int:
        return int(self.calls(name, "aclprofCreateConfig")[0]["data_type_config"])


def run(emulator: Emulator, root: Path, names: list[str], **environment: str) -> str:
    plain = emulator.environment()
    cases = []
    for name in names:
        settings, faults = CASES[name]
        made = emulator.environment(faults=faults, record=root / f"{name}.calls")
        differing = {key: value for key, value in made.items() if plain.get(key) != value}
        cases.append({"name": name, "settings": settings, "environment": differing})
    file = root / f"{names[0]}.json"
    file.write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, str(CHILDREN / "mlp.py"), str(file), str(root)],
        cwd=root,
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def captures(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """Take all captures, a few processes at a time."""
    root = tmp_path_factory.mktemp("faults")
    names = list(CASES)
    shares = [names[number::PROCESSES] for number in range(PROCESSES)]
    printed = {}
    with ThreadPoolExecutor(PROCESSES) as pool:
        for text in pool.map(lambda share: run(emulator, root, share), shares):
            for part in text.split("case ")[1:]:
                name, _, rest = part.partition("\n")
                printed[name] = rest
    return Captures(root, printed)


def stored(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(output(folder, "ascend_pytorch_profiler.db"))) as database:
        return database.execute(query).fetchall()


def names(rows: list[dict[str, str]]) -> list[str]:
    return [row["Name"] for row in rows]


ATTRIBUTES = """
select strings.value from COMPUTE_TASK_INFO as info
join STRING_IDS as strings on strings.id = info.attrInfo
"""


def test_without_the_feature_operators_have_no_attributes(captures: Captures) -> None:
    assert captures.mask("attributes") == 0x4027
    assert captures.mask("no attributes") == 0x27
    found = {
        name: [text for (text,) in stored(captures.folder(name), ATTRIBUTES)]
        for name in ("attributes", "no attributes")
    }
    assert len(found["attributes"]) == len(found["no attributes"]) == KERNELS_PER_STEP * STEPS
    assert all(json.loads(text)["emulated"] for text in found["attributes"])
    assert set(found["no attributes"]) == {"N/A"}


def test_without_the_feature_level0_has_no_shapes(captures: Captures) -> None:
    assert captures.mask("shapes") == 0x800000801
    assert captures.mask("no shapes") == 0x801
    assert kernels(captures.folder("shapes"))[0]["Input Shapes"] == '"128;32,64;64,128"'
    found = kernels(captures.folder("no shapes"))
    assert len(found) == KERNELS_PER_STEP * STEPS
    assert not [row for row in found if row.get("Input Shapes", "N/A") != "N/A"]


def test_without_the_feature_memory_access_becomes_pipe_utilization(captures: Captures) -> None:
    (created,) = captures.calls("no access", "aclprofCreateConfig")
    assert created["aicore_metrics"] == 1
    header = list(kernels(captures.folder("no access"))[0])
    assert header[header.index("Context ID") + 1 :] == [*counter_header(1)]
    info = json.loads((captures.folder("no access") / "profiler_info.json").read_text())
    asked = info["config"]["experimental_config"]["_aic_metrics"]
    assert asked == "ACL_AICORE_MEMORY_ACCESS"  # as if it had been delivered


HOST_PROCESSES = {
    *("CPU Usage", "Memory Usage", "Disk Usage", "Network Usage", "OS Runtime API"),
}
DEVICE_PROCESSES = {"NIC", "RoCE", "HCCS", "PCIe", "NPU MEM"}


def sampled(folder: Path) -> set[str]:
    """Return the processes of the timeline that settings ask for."""
    events = [event for event in trace(folder) if event["name"] == "process_name"]
    return {event["args"]["name"] for event in events} & (HOST_PROCESSES | DEVICE_PROCESSES)


def test_settings_that_are_rejected_deliver_nothing(captures: Captures) -> None:
    calls = captures.calls("rejected", "aclprofSetConfig")
    assert {(call["type"], call["result"]) for call in calls} == {
        (number, 200001) for number in (3, 5, 6, 8)
    }
    folder = captures.folder("rejected")
    assert not sampled(folder)
    for name in ("nic", "roce", "hccs", "pcie", "npu_module_mem"):
        assert not output(folder, f"{name}.csv").exists()
    assert "APP" not in {row["Component"] for row in read(folder, "memory_record.csv")}
    assert not list(folder.parent.glob("PLATFORM_*"))
    assert len(kernels(folder)) == KERNELS_PER_STEP * STEPS


def test_a_setting_is_rejected_by_itself(captures: Captures) -> None:
    calls = captures.calls("one rejected", "aclprofSetConfig")
    results = {call["type"]: call["result"] for call in calls}
    assert results == {3: 0, 5: 200001, 6: 0, 8: 0}
    folder = captures.folder("one rejected")
    assert sampled(folder) == (HOST_PROCESSES | DEVICE_PROCESSES) - {"NIC", "RoCE"}
    assert not output(folder, "nic.csv").exists()
    assert output(folder, "pcie.csv").exists()


def test_a_capture_that_does_not_start_has_the_frameworks_data_alone(captures: Captures) -> None:
    (started,) = captures.calls("not started", "aclprofStart")
    assert started["result"] == 500000
    folder = captures.folder("not started")
    assert not list(folder.glob("PROF_*"))
    assert "CANN Profiling data does not exist" in captures.printed["not started"]
    found = {file.name for file in output(folder, "").iterdir()}
    assert found == {"analyse.done", "operator_details.csv", "trace_view.json"}


def test_the_first_kernels_are_lost_and_the_others_kept(captures: Captures) -> None:
    whole = names(kernels(captures.folder("whole")))
    assert len(whole) == KERNELS_PER_STEP * STEPS
    assert names(kernels(captures.folder("lost"))) == whole[len(whole) // 2 :]


def test_kernels_are_dropped_here_and_there(captures: Captures) -> None:
    whole = names(kernels(captures.folder("whole")))
    dropped = names(kernels(captures.folder("dropped")))
    assert len(dropped) == len(whole) - 3
    assert len(flows(trace(captures.folder("dropped")), "HostToDevice", "f")) == len(dropped)
    rest = iter(whole)
    assert all(name in rest for name in dropped)  # in order


def test_kernels_of_some_types_have_no_shapes(captures: Captures) -> None:
    rows = kernels(captures.folder("unshaped"))
    for row in rows:
        known = {row[column] != "N/A" for column in TENSOR_COLUMNS}
        assert known == {row["Type"] not in {"MatMulV2", "ReduceSum"}}
    assert {"MatMulV2", "ReduceSum", "Add"} <= {row["Type"] for row in rows}


def test_hit_rates_are_there_unless_the_chip_counts_none(captures: Captures) -> None:
    whole = read(captures.folder("whole"), "l2_cache.csv")
    empty = read(captures.folder("no hit rate"), "l2_cache.csv")
    assert len(whole) == len(empty) == KERNELS_PER_STEP * STEPS - 1
    assert all(0 < float(row["Hit Rate"]) < 1 for row in whole)
    assert {row["Hit Rate"] for row in empty} == {"N/A"}
    assert [row["Victim Rate"] for row in empty] == [row["Victim Rate"] for row in whole]


@pytest.mark.parametrize("name", ["msprof fails", "no msprof"])
def test_without_msprof_there_are_no_kernels(captures: Captures, name: str) -> None:
    found = {each.name for each in output(captures.folder(name), "").iterdir()}
    assert found == {"analyse.done", "trace_view.json"}
    assert "Task [KernelViewParser] run failed" in captures.printed[name]
    said = "'msprof' command not found" in captures.printed[name]
    assert said == (name == "no msprof")


def test_without_msprof_there_is_no_database_and_no_sign_of_the_end(captures: Captures) -> None:
    assert not list(output(captures.folder("no msprof, Db"), "").iterdir())
    assert "does not support export db" in captures.printed["no msprof, Db"]


Child = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def child(emulator: Emulator, tmp_path: Path) -> Child:
    """Profile a small model in a process with faults of its own."""

    def start(faults: Faults, **settings: Any) -> subprocess.CompletedProcess[str]:
        case = {"name": "only", "settings": settings, "environment": {}}
        (tmp_path / "case.json").write_text(json.dumps([case]))
        return subprocess.run(
            [sys.executable, str(CHILDREN / "mlp.py"), "case.json", str(tmp_path)],
            cwd=tmp_path,
            env=emulator.environment(faults=faults),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    return start


def test_a_crash_at_the_end_leaves_raw_data_that_can_be_analysed(
    child: Child, emulator: Emulator, tmp_path: Path
) -> None:
    assert child(Faults(crash_at_stop=True)).returncode == -signal.SIGSEGV
    (folder,) = (tmp_path / "only").glob("*_ascend_pt")
    (recorded,) = folder.glob("PROF_*")
    assert (recorded / "host" / "end_info").exists()
    launches = (recorded / "emulated" / "device_0.jsonl").read_text().splitlines()
    assert len(launches) == KERNELS_PER_STEP * STEPS
    assert not output(folder, "").exists()
    script = "import sys; from torch_npu.profiler.profiler import analyse; analyse(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, str(folder)], env=emulator.environment(), check=True
    )
    assert len(kernels(folder)) == KERNELS_PER_STEP * STEPS


def test_the_analysis_takes_so_much_longer(child: Child) -> None:
    done = child(Faults(slow_analysis_s=4))
    parsed = re.search(r"CANN profiling data parsed in a total time of 0:0(\S+)", done.stdout)
    assert parsed
    minutes, _, seconds = parsed[1].partition(":")
    assert 60 * float(minutes) + float(seconds) > 4
