"""Profile a small multilayer perceptron: mlp.py CASES.json FOLDER; the captures of each case go to
FOLDER/<name>, analysed. A case is a name, settings and environment variables."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch_npu import profiler

STEPS = 2
DOMAIN = "tests"


def experimental(settings: dict[str, Any]) -> Any:
    words = {"profiler_level": "Level1", "aic_metrics": "AiCoreNone"} | settings
    kinds = {"profiler_level": profiler.ProfilerLevel, "aic_metrics": profiler.AiCMetrics}
    enums = {name: getattr(kind, words.pop(name)) for name, kind in kinds.items()}
    exports = [getattr(profiler.ExportType, each) for each in words.pop("export_type", ["Text"])]
    hosts = [getattr(profiler.HostSystem, each) for each in words.pop("host_sys", [])]
    words = {"data_simplification": False} | words
    return profiler._ExperimentalConfig(export_type=exports, host_sys=hosts, **enums, **words)


def train(model: Any, batch: Any, step: int) -> None:
    mark = torch_npu.npu.mstx.range_start(f"step {step}")
    own = torch_npu.npu.mstx.range_start(f"own {step}", domain=DOMAIN)
    loss: Any = torch.nn.functional.relu(model(batch)).sum()
    torch_npu.npu.mstx.mark(f"loss {step}", domain=DOMAIN)
    loss.backward()
    torch_npu.npu.synchronize()
    torch_npu.npu.mstx.range_end(own, domain=DOMAIN)
    torch_npu.npu.mstx.range_end(mark)


def capture(settings: dict[str, Any], folder: Path, model: Any, batch: Any) -> None:
    settings = dict(settings)
    common = {
        "profile_memory": settings.pop("profile_memory", False),
        "record_shapes": settings.pop("record_shapes", True),
    }
    repeat = settings.pop("repeat", 1)
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
        schedule=profiler.schedule(wait=0, warmup=1, active=STEPS, repeat=repeat),
        on_trace_ready=profiler.tensorboard_trace_handler(str(folder)),
        experimental_config=experimental(settings),
        **common,
    ) as running:
        for step in range(repeat * (1 + STEPS)):
            train(model, batch, step)
            running.step()


def main() -> None:
    cases, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    device = f"npu:{os.environ.get('TEST_DEVICE', '0')}"
    torch_npu.npu.set_device(device)
    layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16)
    model: Any = torch.nn.Sequential(*layers)
    batch: Any = torch.randn(32, 64)
    model, batch = model.to(device), batch.to(device)
    for case in cases:
        before = dict(os.environ)
        os.environ.update(case["environment"])
        print(f"case {case['name']}", flush=True)
        capture(case["settings"], folder / case["name"], model, batch)
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main()
