"""Hand settings to torch_npu, and tell what it made of them, a JSON object a line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch_npu
from omegaconf import OmegaConf
from torch_npu import profiler

from harness.devices.base import CycleWriter, LoweredProfiler
from harness.devices.npu import Npu

ENUMS = {
    "profiler_level": profiler.ProfilerLevel,
    "aic_metrics": profiler.AiCMetrics,
    "export_type": profiler.ExportType,
    "host_sys": profiler.HostSystem,
}


def constant(setting: str, name: Any) -> Any:
    """Return torch_npu's constant for a name of ours; what it does not know stays as it is."""
    if isinstance(name, list):
        return [constant(setting, each) for each in name]
    kind = ENUMS.get(setting)
    return getattr(kind, name, name) if kind and isinstance(name, str) else name


def named(setting: str, value: Any) -> Any:
    """Return our name for one of torch_npu's constants."""
    if isinstance(value, list):
        return sorted((named(setting, each) for each in value), key=str)
    kind = ENUMS.get(setting)
    names = [name for name in vars(kind) if getattr(kind, name) == value] if kind else []
    return names[0] if names else value


def kept(config: Any) -> dict[str, Any]:
    """Return what an ``_ExperimentalConfig`` holds."""
    found = {name.lstrip("_"): value for name, value in vars(config).items()}
    return {name: named(name, value) for name, value in found.items()}


def experimental(settings: dict[str, Any]) -> dict[str, Any]:
    words = {name: constant(name, value) for name, value in settings.items()}
    return kept(profiler._ExperimentalConfig(**words))


def texts(settings: dict[str, Any]) -> dict[str, Any]:
    """Names in place of constants."""
    return kept(profiler._ExperimentalConfig(**settings))


def omegaconf(settings: dict[str, Any]) -> dict[str, Any]:
    """OmegaConf's lists in place of Python's."""
    words = {name: OmegaConf.create(constant(name, value)) for name, value in settings.items()}
    return kept(profiler._ExperimentalConfig(**words))


def schedule(settings: dict[str, Any]) -> dict[str, Any]:
    made = profiler.schedule(**{"wait": 0, "active": 1} | settings)
    return {name: getattr(made, name) for name in settings}


def held(made: Any) -> dict[str, Any]:
    """Return what a profiler has been given, or has in its place."""
    interface = made.prof_if
    switches = ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")
    return {
        **kept(interface.experimental_config),
        **{name: getattr(interface, name) for name in switches},
        "activities": sorted(each.name for each in interface.activities),
        "schedule": type(made.schedule).__module__.partition(".")[0],
        "schedule by steps": made.record_steps,
        "handler": callable(made.on_trace_ready),
    }


def profile(settings: dict[str, Any]) -> dict[str, Any]:
    theirs = {"torch's CPU": torch.profiler.ProfilerActivity.CPU}
    words = dict(settings)
    if "activities" in words:
        words["activities"] = [theirs.get(name, name) for name in words["activities"]]
    return held(profiler.profile(**words))


def harness(settings: dict[str, Any]) -> dict[str, Any]:
    """Build the profiler as the harness does."""
    lowered = msgspec.convert(settings, LoweredProfiler)
    writer = CycleWriter(
        rank=0,
        folder=Path.cwd(),
        torch_device=torch.device("npu", 0),
        cycles=1,
        on_write=lambda: None,
    )
    return held(Npu().profiler(lowered, writer))


KINDS = {
    each.__name__: each for each in (experimental, texts, omegaconf, schedule, profile, harness)
}


def main() -> None:
    torch_npu.npu.set_device(0)
    for case in json.loads(Path(sys.argv[1]).read_text()):
        print("RESULT " + json.dumps(KINDS[case["kind"]](case["settings"])))


if __name__ == "__main__":
    main()
