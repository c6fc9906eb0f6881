"""Record as an engine does, with what it really passes to torch_npu: engine.py FOLDER WAY.

Ways: first (sglang's own settings), second (sglang's second profiler path, which passes none),
ascend (vllm-ascend, which passes no record_shapes), defaults (shapes alone).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import torch_npu
from torch_npu import profiler

_BOTH = [profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU]


def fixed(*, data_simplification: bool) -> Any:
    """What both engines hard-code."""
    return profiler._ExperimentalConfig(
        export_type=profiler.ExportType.Text,
        profiler_level=profiler.ProfilerLevel.Level1,
        msprof_tx=False,
        aic_metrics=profiler.AiCMetrics.PipeUtilization,
        l2_cache=False,
        op_attr=False,
        data_simplification=data_simplification,
        record_op_args=False,
        gc_detect_threshold=None,
    )


def passed(way: str) -> dict[str, Any]:
    if way == "first":
        simplified = fixed(data_simplification=False)
        return {"with_stack": True, "record_shapes": True, "experimental_config": simplified}
    if way == "second":
        return {"with_stack": True, "record_shapes": True, "experimental_config": None}
    simplified = fixed(data_simplification=True)
    return {"with_stack": False, "with_modules": False, "experimental_config": simplified}


def main(folder: str, way: str, rank: str) -> None:
    os.environ["RANK"] = rank
    torch_npu.npu.set_device(0)
    left, right = torch.randn(8, 8).to("npu:0"), torch.randn(8, 8).to("npu:0")
    handler = profiler.tensorboard_trace_handler(folder)
    running = profiler.profile(activities=_BOTH, on_trace_ready=handler, **passed(way))
    running.start()
    for _ in range(3):
        torch.relu(left @ right)
    torch_npu.npu.synchronize()
    running.stop()


main(*sys.argv[1:])
