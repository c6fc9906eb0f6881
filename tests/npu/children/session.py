"""Windows of a program that uses its NPU already; the program's thread makes the steps."""

from __future__ import annotations

import json
import sys
import threading

import torch
import torch_npu

import harness


def step(session: harness.Session, stage: str, size: int) -> None:
    with session.step(stage, batch=size):
        torch.ones(3, size, device="npu") @ torch.ones(size, 7, device="npu")
        torch_npu.npu.synchronize()


def described(window: harness.Window) -> dict[str, object]:
    run = window.result
    kernels = run.tables["kernels"]
    products = kernels.filter(kernels["name"].str.contains("MatMul"))
    in_steps = products.filter(products["step"].is_not_null()).sort("start_ns")
    return {
        "verdict": run.verdict,
        "missing": run.missing,
        "shapes": in_steps["input_shapes"].to_list(),
        "stages": sorted(set(in_steps["stage"].to_list())),
        "products": products.height,
        "emulated": run.record.emulated,
    }


def main() -> None:
    torch_npu.npu.set_device(0)
    torch.ones(2, device="npu").sum().item()
    with harness.Session("device=npu", "profiler=level1", out=sys.argv[1]) as session:
        found = []
        for count in (2, 1):
            window = session.window(steps=count, stage="decode")

            def program() -> None:
                torch_npu.npu.set_device(0)
                for size in range(5, 15):
                    step(session, "decode" if size % 2 else "prefill", size)

            # Another thread each time, as an engine that was restarted has.
            thread = threading.Thread(target=program)
            thread.start()
            thread.join()
            window.wait()
            found.append(described(window))
    print(json.dumps(found))


main()
