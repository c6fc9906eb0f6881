"""What the emulator computes, and what it leaves of a capture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.npu.conftest import OnNpu


def last_line(printed: str) -> Any:
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize("task_queue", ["0", "1", "2"])
def test_operators_equal_those_of_the_cpu(on_npu: OnNpu, task_queue: str) -> None:
    settings = {"TASK_QUEUE_ENABLE": task_queue, "HARNESS_EMULATOR_STRICT": "1"}
    found = last_line(on_npu("operators.py", **settings))
    assert not found["differing"]
    assert found["cases"] > 50


STRICT = """
import torch, torch_npu
matrix = torch.ones(2, 2).npu()
assert matrix.cumsum(0).cpu().tolist() == [[0, 0], [0, 0]]
"""


def test_an_operator_that_is_not_computed_yields_zeros_or_is_refused(on_npu: OnNpu) -> None:
    on_npu(STRICT)
    with pytest.raises(AssertionError, match="aclnnCumsum is not computed") as refused:
        on_npu(STRICT, HARNESS_EMULATOR_STRICT="1")
    assert "561000" in str(refused.value)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def shapes(tensors: list[dict[str, Any]]) -> list[list[int]]:
    return [tensor["shape"] for tensor in tensors]


@pytest.fixture
def capture(on_npu: OnNpu, tmp_path: Path) -> tuple[Path, Any]:
    """A captured training step: its PROF_* folder, and what the script printed."""
    printed = last_line(on_npu("accepted.py", str(tmp_path / "profile")))
    (folder,) = (tmp_path / "profile").glob("*_ascend_pt/PROF_*")
    return folder, printed


def test_a_capture_holds_what_torch_npu_and_msprof_read(capture: tuple[Path, Any]) -> None:
    folder, printed = capture
    start = json.loads((folder / "host" / "start_info").read_text())
    end = json.loads((folder / "host" / "end_info").read_text())
    assert int(start["collectionTimeBegin"]) < int(end["collectionTimeEnd"])
    assert json.loads((folder / "host" / "info.json").read_text())["CPU"][0]["Frequency"]
    assert "clock_monotonic_raw:" in (folder / "host" / "host_start.log").read_text()
    assert (folder / "device_0" / "data").is_dir()

    config = json.loads((folder / "emulated" / "config.json").read_text())
    asked = {name: config[name] for name in ("level", "aicore_metrics", "data_type_config")}
    assert asked == {"level": "Level2", "aicore_metrics": 5, "data_type_config": 0x12F | 0x80}
    assert config["settings"] == {"5": "100"}

    launches = lines(folder / "emulated" / "device_0.jsonl")
    linear = launches[[each["op"] for each in launches].index("aclnnAddmm")]
    assert shapes(linear["inputs"]) == [[6], [3, 4], [4, 6]]
    assert linear["outputs"] == [{"shape": [3, 6], "dtype": "FLOAT", "format": "ND"}]
    norm = next(each for each in launches if each["op"] == "aclnnLayerNormBackward")
    assert shapes(norm["outputs"]) == [[3, 6], [6], [6]]
    assert norm["computed"]
    foreach = next(each for each in launches if each["op"] == "aclnnForeachSqrt")
    assert foreach["inputs"] == foreach["outputs"]
    ends = [each["start_ns"] + each["duration_ns"] for each in launches]
    assert all(end <= each["start_ns"] for end, each in zip(ends, launches[1:], strict=False))
    summary = json.loads((folder / "emulated" / "summary.json").read_text())
    assert summary["operators_computed"] == sum(each["computed"] for each in launches)
    assert summary["operators_not_computed"] == sum(not each["computed"] for each in launches) == 2
    assert summary["not_computed"] == {"aclnnCumsum": 2}

    marks = {each["message"]: each for each in lines(folder / "emulated" / "marks.jsonl")}
    assert marks["a range"]["end_ns"] > marks["a range"]["start_ns"]
    assert marks["a mark"]["domain"] == "default"
    assert all(
        "emulated" in file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "marks.jsonl"
    )
    assert printed["other device"] == 4


def test_random_numbers_have_their_distribution_and_follow_the_seed(
    capture: tuple[Path, Any],
) -> None:
    _, printed = capture
    assert printed["normal"] == pytest.approx([0, 1], abs=0.02)
    assert printed["uniform"] == pytest.approx([2, 3, 4], abs=0.02)
    assert printed["integers"] == [3, 4, 5, 6]
    assert printed["repeatable"]


TRANSFORMER = {"batch": 2, "sequence": 8, "layers": 2, "heads": 2, "width": 16, "vocabulary": 32}
ATTENTION = {"name": "attention", "batch": 1, "heads": 2, "sequence": 8, "head_dim": 4}
WORKLOADS: dict[str, dict[str, Any]] = {
    "matmul": {"name": "matmul", "shapes": [[5, 7, 9], [8, 8, 8]]},
    "mlp": {"name": "mlp", "batch": 4, "in_features": 9, "width": 7, "out_features": 5},
    "transformer": {"name": "transformer", **TRANSFORMER},
    "generate": {"name": "transformer", "mode": "generate", "new_tokens": 4, **TRANSFORMER},
    "attention": ATTENTION,
    "attention, backward": {"backward": True, **ATTENTION},
    "conv": {"name": "conv", "batch": 2, "image_size": 8, "channels": [4, 8], "classes": 3},
}
DEFAULTS: list[dict[str, Any]] = [
    *({"name": name} for name in ("matmul", "mlp", "transformer", "conv", "attention")),
    {"name": "transformer", "mode": "generate"},
]
DTYPES = ("float32", "bfloat16", "float16")


def run_workloads(
    on_npu: OnNpu, folder: Path, cases: list[dict[str, Any]], **environment: str
) -> list[Any]:
    (folder / "cases.json").write_text(json.dumps(cases))
    printed = on_npu("workloads.py", "cases.json", **environment)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def test_workloads_run_in_every_element_type_and_as_they_are_by_default(
    on_npu: OnNpu, tmp_path: Path
) -> None:
    small = [each | {"dtype": dtype} for each in WORKLOADS.values() for dtype in DTYPES]
    cases = [{"name": str(each), "workload": each, "steps": 2} for each in small + DEFAULTS]
    found = run_workloads(on_npu, tmp_path, cases)
    expected = [(case["name"], "npu:0", True) for case in cases]
    assert [(each["name"], each["device"], each["finite"]) for each in found] == expected


def test_steps_of_workloads_equal_those_of_the_cpu(on_npu: OnNpu, tmp_path: Path) -> None:
    computed = [name for name in WORKLOADS if name != "conv"]
    cases = [
        {"name": name, "workload": WORKLOADS[name], "steps": 3, "compare": True}
        for name in computed
    ]
    found = run_workloads(on_npu, tmp_path, cases, HARNESS_EMULATOR_STRICT="1")
    assert found == [{"name": name, "differing": []} for name in computed]


def test_convolutions_are_accepted_and_not_computed(on_npu: OnNpu, tmp_path: Path) -> None:
    case = {"name": "conv", "workload": WORKLOADS["conv"], "steps": 1}
    with pytest.raises(AssertionError, match="aclnnConvolution is not computed"):
        run_workloads(on_npu, tmp_path, [case], HARNESS_EMULATOR_STRICT="1")
