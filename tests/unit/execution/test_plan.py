"""A request is lowered to what the profiler gets, and to the evidence that must be found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.configuration.validate import problems
from harness.execution.plan import plan, requested
from harness.execution.protocol import Plan
from harness.settings.expectations import UNCHECKABLE
from harness.settings.request import Request
from harness.settings.schema import show
from tests.support.composing import composed

FOLDER = Path("somewhere")


def valid(*overrides: str) -> Request:
    request = composed(*overrides)
    assert problems(request) == []
    return request


def planned(*overrides: str) -> Plan:
    return plan(valid(*overrides), FOLDER)


@pytest.mark.parametrize(
    ("overrides", "steps", "cycles", "recorded"),
    [
        ((), 4, 1, (1, 2, 3)),
        (("profiler.schedule.repeat=2",), 8, 2, (1, 2, 3, 5, 6, 7)),
        (("workload.steps=9",), 9, 1, (1, 2, 3)),
        (("workload.steps=8", "profiler.schedule.repeat=0"), 8, 2, (1, 2, 3, 5, 6, 7)),
        (
            ("workload.steps=6", "profiler.schedule={wait: 2, active: 1, repeat: 0}"),
            6,
            1,
            (3,),
        ),
    ],
    ids=str,
)
def test_cycles_and_steps_are_whole_numbers_known_before_the_run(
    overrides: tuple[str, ...], steps: int, cycles: int, recorded: tuple[int, ...]
) -> None:
    made = planned(*overrides)
    recording = made.recording
    assert (made.loop.steps, recording.cycles, recording.recorded) == (steps, cycles, recorded)
    # The profiler never gets repeat=0: it would start a cycle that nothing ends.
    assert recording.effective["profiler.schedule.repeat"] == cycles


@pytest.mark.parametrize(
    ("level", "metrics"),
    [
        ("Level_none", "AiCoreNone"),
        ("Level0", "AiCoreNone"),
        ("Level1", "PipeUtilization"),
        ("Level2", "PipeUtilization"),
    ],
)
def test_a_counter_group_left_open_follows_from_the_level(level: str, metrics: str) -> None:
    overrides = (
        "device=npu",
        "profiler.experimental.aic_metrics=null",
        f"profiler.experimental.profiler_level={level}",
        "profiler.experimental.mstx=true",
    )
    request = valid(*overrides)
    assert requested(request)["profiler.experimental.aic_metrics"] is None
    effective = plan(request, FOLDER).recording.effective
    assert effective["profiler.experimental.aic_metrics"] == metrics


def test_a_counter_group_that_is_chosen_stays() -> None:
    made = planned("device=npu", "profiler.experimental.aic_metrics=L2Cache").recording
    assert made.profiler.experimental["aic_metrics"] == "L2Cache"


@pytest.mark.parametrize("device", ["cpu", "cuda", "npu"])
def test_the_environment_is_the_devices_then_the_users(device: str) -> None:
    backend = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    assert planned(f"device={device}").recording.environment == backend
    users = ("+device.environment.THREADS=4", "+device.environment.TORCH_DEVICE_BACKEND_AUTOLOAD=1")
    assert planned(f"device={device}", *users).recording.environment == {
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "1",
        "THREADS": "4",
    }


@pytest.mark.parametrize(
    ("overrides", "evidence"),
    [
        (
            ("profiler=level0",),
            {"profiler.activities": "[host]", "profiler.schedule": "3 recorded steps"},
        ),
        (
            ("profiler=level1", "profiler.schedule.active=2"),
            {
                "profiler.activities": "[host]",
                "profiler.schedule": "2 recorded steps",
                "profiler.record_shapes": "true",
                "profiler.with_flops": "true",
            },
        ),
        (
            ("profiler=memory", "profiler.memory_timeline=true"),
            {
                "profiler.activities": "[host]",
                "profiler.schedule": "3 recorded steps",
                "profiler.record_shapes": "true",
                "profiler.with_stack": "true",
                "profiler.profile_memory": "true",
                "profiler.memory_timeline": "true",
            },
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_evidence_is_demanded_for_what_is_effective_and_nothing_else(
    overrides: tuple[str, ...], evidence: dict[str, str]
) -> None:
    expectations = planned(*overrides).recording.expectations
    assert {item.setting: item.requested for item in expectations} == evidence


def test_an_experimental_setting_that_nothing_can_check_says_why() -> None:
    made = planned("profiler=stacks", "profiler.experimental.capture_overload_names=true")
    (item,) = [item for item in made.recording.expectations if "experimental" in item.setting]
    assert item.setting == "profiler.experimental.capture_overload_names"
    why = UNCHECKABLE[item.setting]
    assert (item.requested, item.description) == ("true", f"not checkable: {why}")


def test_lowering_changes_no_setting_that_the_profiler_takes_as_it_is() -> None:
    request = valid("device=npu", "profiler=level2")
    settings, effective = requested(request), plan(request, FOLDER).recording.effective
    assert {path: show(settings[path]) for path in effective} == {
        path: show(value) for path, value in effective.items()
    }


def test_the_devices_name_is_no_setting_of_the_profiler() -> None:
    request = valid("device=cuda")
    assert "profiler.experimental.device" not in requested(request)
    assert "device" not in plan(request, FOLDER).recording.profiler.experimental


def test_a_plan_survives_json() -> None:
    made = planned("device=npu", "profiler=sglang", "workload=conv")
    encoded = msgspec.json.encode(made)
    decoded = msgspec.json.decode(encoded, type=Plan)
    assert msgspec.json.encode(decoded) == encoded
    assert decoded.loop == made.loop
