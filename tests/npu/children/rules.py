"""Hand settings to torch_npu, and tell what it made of them, a JSON object a line."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch_npu
from torch_npu import profiler

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
        return [named(setting, each) for each in value]
    kind = ENUMS.get(setting)
    names = [name for name in vars(kind) if getattr(kind, name) == value] if kind else []
    return names[0] if names else value


def experimental(settings: dict[str, Any]) -> dict[str, Any]:
    config = profiler._ExperimentalConfig(
        **{name: constant(name, value) for name, value in settings.items()}
    )
    kept = {name: getattr(config, f"_{name}", getattr(config, name, None)) for name in settings}
    kept |= {"mstx": config._mstx, "aic_metrics": config._aic_metrics}
    return {name: named(name, value) for name, value in kept.items()}


def schedule(settings: dict[str, Any]) -> dict[str, Any]:
    made = profiler.schedule(**{"wait": 0, "active": 1} | settings)
    return {name: getattr(made, name) for name in settings}


def main() -> None:
    torch_npu.npu.set_device(0)
    for case in json.loads(sys.argv[1]):
        kind, settings = case["kind"], case["settings"]
        print(
            "RESULT "
            + json.dumps({"experimental": experimental, "schedule": schedule}[kind](settings))
        )


if __name__ == "__main__":
    main()
