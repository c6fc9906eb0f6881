"""Profile a small multilayer perceptron: mlp.py CASES.json FOLDER; the capture of each case goes to
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


def experimental(settings: dict[str, Any]) -> Any:
    words = {"profiler_level": "Level1", "aic_metrics": "AiCoreNone"} | settings
    kinds = {"profiler_level": profiler.ProfilerLevel, "aic_metrics": profiler.AiCMetrics}
    enums = {name: getattr(kind, words.pop(name)) for name, kind in kinds.items()}
    exports = [getattr(profiler.ExportType, each) for each in words.pop("export_type", ["Text"])]
    return profiler._ExperimentalConfig(
        export_type=exports, data_simplification=False, **enums, **words
    )


def capture(settings: dict[str, Any], folder: Path, model: Any, batch: Any) -> None:
    settings = dict(settings)
    memory = settings.pop("profile_memory", False)
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
        schedule=profiler.schedule(wait=0, warmup=1, active=STEPS, repeat=1),
        on_trace_ready=profiler.tensorboard_trace_handler(str(folder)),
        experimental_config=experimental(settings),
        record_shapes=True,
        profile_memory=memory,
    ) as running:
        for step in range(1 + STEPS):
            mark = torch_npu.npu.mstx.range_start(f"step {step}")
            loss: Any = torch.nn.functional.relu(model(batch)).sum()
            loss.backward()
            torch_npu.npu.synchronize()
            torch_npu.npu.mstx.range_end(mark)
            running.step()


def main() -> None:
    cases, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16)
    model: Any = torch.nn.Sequential(*layers)
    batch: Any = torch.randn(32, 64)
    model, batch = model.npu(), batch.npu()
    for case in cases:
        os.environ.update(case["environment"])
        capture(case["settings"], folder / case["name"], model, batch)
        for name in case["environment"]:
            del os.environ[name]


if __name__ == "__main__":
    main()
