"""Captures that the real torch_npu made as engines ask it, judged by what the engines were asked
for: ``harness read CAPTURE --requested``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.capture.run_record import Delivery
from harness.emulator.build import Emulator
from harness.engines.sglang import SECOND_PATH
from tests.conftest import Run, run_harness
from tests.npu.conftest import run_on_npu

SGLANG = ("device=npu", "profiler=sglang", "profiler.schedule.warmup=0", "--target", "sglang")
LEVEL1 = ("device=npu", "profiler=level1")
EXPERIMENTAL = "profiler.experimental."
DROPPED = (
    "vllm-ascend 0.23.0 takes torch_profiler_record_shapes,"
    " but vllm-ascend does not forward it to torch_npu"
)


@pytest.fixture(scope="module")
def captures(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of captures for each way that an engine asks; of `second`, two ranks."""
    folder = tmp_path_factory.mktemp("captures")
    for way, rank in (("first", 0), ("second", 0), ("second", 1), ("ascend", 0)):
        run_on_npu(emulator, folder, "engine.py", str(folder / way), way, str(rank))
    return folder


def read(captures: Path, tmp_path: Path, way: str, *words: str) -> Run:
    return run_harness(tmp_path, "read", str(captures / way), "--requested", *words)


def failing(run: Run) -> dict[str, Delivery]:
    return {item.setting: item for item in run.record.delivery if item.fails}


def test_what_sglang_hard_codes_is_delivered(captures: Path, tmp_path: Path) -> None:
    run = read(captures, tmp_path, "first", *SGLANG)
    assert run.code == 0, run.out + run.err
    found = {item.setting: (item.requested, item.status) for item in run.record.delivery}
    assert found[f"{EXPERIMENTAL}profiler_level"] == ("Level1", "delivered")
    assert found["profiler.schedule"] == ("3 recorded steps", "not_checkable")
    assert run.record.requested[f"{EXPERIMENTAL}data_simplification"] is False


def test_sglangs_second_path_is_named_where_it_dropped_the_settings(
    captures: Path, tmp_path: Path
) -> None:
    run = read(captures, tmp_path, "second", *SGLANG)
    assert run.code == 3, run.out + run.err
    assert {name: (item.status, item.reason) for name, item in failing(run).items()} == {
        f"{EXPERIMENTAL}{name}": ("substituted", SECOND_PATH)
        for name in ("profiler_level", "aic_metrics", "data_simplification")
    }
    level = failing(run)[f"{EXPERIMENTAL}profiler_level"]
    assert (level.requested, level.arrived) == ("Level1", "rank 0: torch_npu used Level0")
    assert run.record.world_size == 2
    again = run_harness(tmp_path, "read", str(run.latest))
    assert again.code == 3
    assert failing(again) == failing(run)


@pytest.mark.parametrize(
    ("way", "words", "setting"),
    [
        ("second", SGLANG[:3], "profiler_level"),  # nobody says that it was sglang
        # Level1 was passed on: it was not the second path, whoever dropped the counters.
        ("first", (*LEVEL1, f"{EXPERIMENTAL}aic_metrics=Memory"), "aic_metrics"),
    ],
)
def test_whose_doing_it_is_is_not_guessed(
    captures: Path, tmp_path: Path, way: str, words: tuple[str, ...], setting: str
) -> None:
    target = () if way == "second" else ("--target", "sglang")
    run = read(captures, tmp_path, way, *words, *target)
    assert run.code == 3, run.out + run.err
    item = failing(run)[f"{EXPERIMENTAL}{setting}"]
    assert item.status == "substituted"
    assert item.reason.endswith("asked its profiler for something else; why is not known")


def test_vllm_ascend_is_named_where_it_does_not_forward_shapes(
    captures: Path, tmp_path: Path
) -> None:
    asked = {"profiler": "torch", "torch_profiler_record_shapes": True, "max_iterations": 3}
    asked |= {"torch_profiler_with_stack": False, "torch_profiler_dir": "captures"}
    (tmp_path / "config.json").write_text(json.dumps(asked))
    run = read(captures, tmp_path, "ascend", "config.json", "--target", "vllm-ascend")
    assert run.code == 3, run.out + run.err
    assert {name: (item.status, item.reason) for name, item in failing(run).items()} == {
        "profiler.record_shapes": ("substituted", DROPPED)
    }
    assert "profiler.record_shapes: vllm-ascend 0.23.0 takes" in run.out


def test_a_capture_of_another_device_is_refused(captures: Path, tmp_path: Path) -> None:
    run = read(captures, tmp_path, "first", "device=cuda", "profiler=level1")
    assert run.code == 2
    assert "it was recorded on npu, and the settings are for cuda" in run.err
    assert not list((tmp_path / "outputs").rglob("run.json"))
