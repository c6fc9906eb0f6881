"""Profile the program's own loop on an NPU that it uses already: own_profile.py FOLDER."""

from __future__ import annotations

import json
import sys

import torch
import torch_npu

import harness

SETTINGS = ("device=npu", "profiler=level1", "profiler.baseline.steps=1", "workload.warmup_steps=0")


def main(folder: str) -> None:
    torch_npu.npu.set_device(1)
    left, right = (torch.ones(*shape, device="npu") for shape in ((3, 5), (5, 7)))
    with harness.profile(*SETTINGS, out=folder, on_error="raise", on_missing="raise") as p:
        for _ in range(5):
            with p.stage("multiply"):
                left @ right
            # Else a product of the warm-up may still be queued when the recording begins.
            torch_npu.npu.synchronize()
            p.step()
    kernels = p.result.tables["kernels"]
    print(
        json.dumps(
            {
                "verdict": p.result.verdict,
                "emulated": p.result.record.emulated,
                "shapes": kernels["input_shapes"].to_list(),
                "device": torch_npu.npu.current_device(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
