"""Record by hand in a process that uses its NPU already: recorder.py PLAN.json FOLDER."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch_npu
from torch_npu import profiler

from harness.errors import RecorderError
from harness.execution.protocol import Plan
from harness.execution.recorder import Recorder


def state() -> dict[str, Any]:
    return {
        "device": torch_npu.npu.current_device(),
        "environment": dict(os.environ),
        "signals": [str(signal.getsignal(number)) for number in signal.Signals],
        "random numbers": torch.get_rng_state().tolist(),
        "profiling": torch._C._autograd._profiler_enabled(),
    }


def record(recorder: Recorder) -> str:
    """Multiply on the second NPU; return the device of the process meanwhile."""
    with recorder:
        matrix = torch.ones(4, 4, device=recorder.torch_device)
        for _ in range(4):
            with recorder.step(), recorder.stage("multiply"):
                matrix @ matrix
        return f"npu:{torch_npu.npu.current_device()}"


def refused(recorder: Recorder, folder: Path) -> str:
    """Open the recorder while a profiler of torch_npu records."""
    with profiler.profile(
        on_trace_ready=profiler.tensorboard_trace_handler(str(folder), analyse_flag=False)
    ):
        try:
            recorder.open()
        except RecorderError as error:
            return str(error)
    return ""


def main() -> None:
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan).recording
    folder = Path(sys.argv[2])
    torch.ones(2, device="npu:0")
    says = refused(Recorder(plan, folder / "refused"), folder / "users")
    before = state()
    meanwhile = record(Recorder(plan, folder / "main"))
    thread = threading.Thread(target=record, args=(Recorder(plan, folder / "thread"),))
    thread.start()
    thread.join()
    captures = {
        name: len(list((folder / name).glob("raw/*_ascend_pt"))) for name in ("main", "thread")
    }
    print(
        json.dumps(
            {
                "refused": says,
                "meanwhile": meanwhile,
                "unchanged": state() == before,
                "captures": captures,
            }
        )
    )


if __name__ == "__main__":
    main()
