"""Take captures one after the other: captures.py CASES.json FOLDER; each case's profiling calls go
to FOLDER/<index>.jsonl."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch_npu import profiler


def experimental(case: dict[str, Any]) -> Any:
    words = dict(case)
    named = {
        "profiler_level": profiler.ProfilerLevel,
        "aic_metrics": profiler.AiCMetrics,
    }
    settings = {name: getattr(kind, words.pop(name)) for name, kind in named.items()}
    settings["export_type"] = [
        getattr(profiler.ExportType, each) for each in words.pop("export_type", ["Text"])
    ]
    settings["host_sys"] = [
        getattr(profiler.HostSystem, each) for each in words.pop("host_sys", [])
    ]
    return profiler._ExperimentalConfig(**settings, **words)


COMMON = {"record_shapes", "profile_memory", "with_stack", "with_modules", "with_flops"}


def capture(case: dict[str, Any], folder: Path, matrix: torch.Tensor) -> None:
    case = dict(case)
    activities = case.pop("activities", ["CPU", "NPU"])
    warmup = case.pop("warmup", 1)
    common = {name: case.pop(name) for name in COMMON & case.keys()}
    with profiler.profile(
        activities=[getattr(profiler.ProfilerActivity, each) for each in activities],
        schedule=profiler.schedule(wait=0, warmup=warmup, active=1, repeat=1),
        on_trace_ready=profiler.tensorboard_trace_handler(str(folder), analyse_flag=False),
        experimental_config=experimental(case),
        **common,
    ) as running:
        for _ in range(warmup + 1):
            matrix @ matrix
            torch_npu.npu.synchronize()
            running.step()


def main() -> None:
    cases, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    matrix = torch.randn(4, 4, device="npu")
    for index, case in enumerate(cases):
        os.environ["HARNESS_EMULATOR_RECORD"] = str(folder / f"{index}.jsonl")
        capture(case, folder / str(index), matrix)


if __name__ == "__main__":
    main()
