"""Capture what is accepted but not computed, and what is random: accepted.py FOLDER."""

from __future__ import annotations

import json
import sys

import torch
import torch_npu
from torch_npu import profiler


def train(device: str) -> float:
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    entered = torch_npu.npu.mstx.range_start("a range")
    loss = model(torch.ones(3, 4, device=device)).square().mean()
    torch_npu.npu.mstx.range_end(entered)
    torch_npu.npu.mstx.mark("a mark")
    loss.backward()
    optimizer.step()
    return float(loss)


def main() -> None:
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
        on_trace_ready=profiler.tensorboard_trace_handler(sys.argv[1], analyse_flag=False),
        schedule=profiler.schedule(wait=0, warmup=0, active=1, repeat=1),
        experimental_config=profiler._ExperimentalConfig(
            profiler_level=profiler.ProfilerLevel.Level2,
            aic_metrics=profiler.AiCMetrics.MemoryUB,
            mstx=True,
            sys_io=True,
        ),
    ) as running:
        train("npu:0")
        torch.ones(3, device="npu:0").cumsum(0).cumsum(0)
        torch_npu.npu.synchronize()
        running.step()
    torch.manual_seed(0)
    normal = torch.randn(100_000, device="npu").cpu()
    uniform = torch.empty(100_000, device="npu").uniform_(2, 4).cpu()
    integers = torch.randint(3, 7, (1000,), device="npu").cpu()
    torch.manual_seed(0)
    found = {
        "normal": [float(normal.mean()), float(normal.std())],
        "uniform": [float(uniform.min()), float(uniform.mean()), float(uniform.max())],
        "integers": sorted(set(integers.tolist())),
        "repeatable": bool((torch.randn(100_000, device="npu").cpu() == normal).all()),
        "other device": (torch.ones(2, device="npu:1") + 1).sum().item(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
