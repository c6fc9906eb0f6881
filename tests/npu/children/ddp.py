"""Two steps of data-parallel training under torch_npu's profiler: ddp.py FOLDER, below torchrun.

Weights and inputs are small whole numbers and halves of them, so that every sum is exact in float32
and the gradients of two ranks equal those of one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch_npu
from torch import Tensor, distributed, nn
from torch_npu import profiler

NPU = "npu"
RANK = int(os.environ["RANK"])
LATE_S = 0.2


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randint(-2, 3, parameter.shape))
    return layers


def train(layers: nn.Module, batch: Tensor) -> None:
    (layers(batch) / 2).square().mean().backward()


def gradients(layers: nn.Module) -> list[Tensor]:
    return [parameter.grad.cpu() for parameter in layers.parameters() if parameter.grad is not None]


def main() -> None:
    folder = Path(sys.argv[1])
    torch_npu.npu.set_device(RANK)
    distributed.init_process_group("hccl")
    own = nn.parallel.DistributedDataParallel(model().to(NPU), device_ids=[RANK])
    joined = torch.randint(-2, 3, (4, 8), generator=torch.Generator().manual_seed(1)).float()
    settings = profiler._ExperimentalConfig(
        profiler_level=profiler.ProfilerLevel.Level1,
        aic_metrics=profiler.AiCMetrics.PipeUtilization,
        export_type=[profiler.ExportType.Text, profiler.ExportType.Db],
    )
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
        schedule=profiler.schedule(wait=0, warmup=1, active=2, repeat=1),
        on_trace_ready=profiler.tensorboard_trace_handler(str(folder / str(RANK))),
        experimental_config=settings,
        record_shapes=True,
    ) as running:
        for _ in range(3):
            own.zero_grad()
            train(own, joined[2 * RANK : 2 * RANK + 2].to(NPU))
            torch_npu.npu.synchronize()
            if RANK == 1:
                time.sleep(LATE_S)
            distributed.barrier()
            torch_npu.npu.synchronize()
            running.step()
    alone = model()
    train(alone, joined)
    pairs = list(zip(gradients(own), gradients(alone), strict=True))
    found = {
        "equal": [torch.equal(left, right) for left, right in pairs],
        "not zero": [bool(right.any()) for _, right in pairs],
    }
    (folder / f"{RANK}.json").write_text(json.dumps(found), encoding="utf-8")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
