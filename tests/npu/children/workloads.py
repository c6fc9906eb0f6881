"""Run built-in workloads on the NPU: workloads.py CASES.json. A case is a name, a workload's
settings, how many steps to run, and whether to compare what each step returns with the CPU, which
draws the numbers that both start from. Prints a JSON line for each case."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch_npu
from torch.utils._python_dispatch import TorchDispatchMode

from harness.workloads import AnyWorkload
from harness.workloads.base import BuiltWorkload, Setup, Step

RTOL, ATOL = 1e-4, 1e-5


class DrawnOnCpu(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes random numbers from the CPU's generator, whatever the device is."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in {"uniform_", "normal_"}:
            drawn = torch.empty(args[0].shape, dtype=args[0].dtype)
            return args[0].copy_(func(drawn, *args[1:], **kwargs))
        if name in {"randn", "randint"}:
            return func(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        return func(*args, **kwargs)


def build(workload: BuiltWorkload, device: str) -> Step:
    torch.manual_seed(7)
    with DrawnOnCpu():  # type: ignore[no-untyped-call]
        return workload.build(
            Setup(
                device=torch.device(device),
                dtype=getattr(torch, workload.dtype),
                seed=7,
                stage=lambda _: nullcontext(),
            )
        )


def returned(step: Step) -> list[torch.Tensor]:
    """Return copies: some workloads write into what they have returned."""
    found: Any = step()
    return [each.cpu().clone() for each in (found if isinstance(found, tuple) else (found,))]


def differing(case: dict[str, Any], workload: BuiltWorkload) -> list[str]:
    on_cpu, on_npu = build(workload, "cpu"), build(workload, "npu:0")
    return [
        f"step {step}, {number}: {expected} and {found}"
        for step in range(case["steps"])
        for number, (expected, found) in enumerate(
            zip(returned(on_cpu), returned(on_npu), strict=True)
        )
        if not torch.allclose(expected, found, rtol=RTOL, atol=ATOL)
    ]


def run(case: dict[str, Any]) -> dict[str, Any]:
    workload: BuiltWorkload = msgspec.convert(case["workload"], AnyWorkload)
    if case.get("compare"):
        return {"name": case["name"], "differing": differing(case, workload)}
    step = build(workload, "npu:0")
    seconds = []
    for _ in range(case["steps"]):
        begin = time.perf_counter()
        found: Any = step()
        torch_npu.npu.synchronize()
        seconds.append(round(time.perf_counter() - begin, 3))
    first = found[0] if isinstance(found, tuple) else found
    finite = bool(torch.isfinite(first.cpu().float()).all())
    return {"name": case["name"], "seconds": seconds, "device": str(first.device), "finite": finite}


def main() -> None:
    for case in json.loads(Path(sys.argv[1]).read_text()):
        print(json.dumps(run(case)), flush=True)


if __name__ == "__main__":
    main()
