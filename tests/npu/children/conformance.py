"""Compose requests, and let the device file profile each: conformance.py CASES.json FOLDER. A case
is a list of settings; its profiling calls go to FOLDER/<index>.jsonl."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from harness.configuration.composition import compose_jobs
from harness.configuration.validate import problems
from harness.devices.base import CycleWriter
from harness.devices.npu import Npu
from harness.execution.plan import plan


def capture(settings: list[str], folder: Path, device: Npu, matrix: torch.Tensor) -> None:
    (job,) = compose_jobs(["device=npu", *settings]).jobs
    assert job.request is not None, job.problems
    assert problems(job.request) == []
    planned = plan(job.request, folder)
    (folder / "raw").mkdir(parents=True)
    writer = CycleWriter(
        rank=0,
        folder=folder,
        torch_device=matrix.device,
        cycles=planned.recording.cycles,
        on_write=lambda: None,
    )
    with device.profiler(planned.recording.profiler, writer) as profiler:
        for _ in range(planned.loop.steps):
            matrix @ matrix
            device.synchronise(matrix.device)
            profiler.step()


def main() -> None:
    cases, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    device = Npu()
    matrix = torch.randn(4, 4, device=device.open(0).torch_device)
    for index, settings in enumerate(cases):
        os.environ["HARNESS_EMULATOR_RECORD"] = str(folder / f"{index}.jsonl")
        capture(settings, folder / str(index), device, matrix)


if __name__ == "__main__":
    main()
