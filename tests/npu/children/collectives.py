"""torch.distributed over the emulator's HCCL, below torchrun: collectives.py FOLDER.

Each rank writes what it found to FOLDER/<rank>.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch import Tensor, distributed

NPU = "npu"
RANK = int(os.environ["RANK"])
LARGE = 600_001


def reduced(operation: str, dtype: torch.dtype) -> list[Any]:
    values = torch.tensor([1, 2, 3 + RANK]).to(dtype).to(NPU)
    distributed.all_reduce(values, getattr(distributed.ReduceOp, operation))
    found: list[Any] = values.cpu().tolist()
    return found


def large() -> bool:
    values = (torch.arange(LARGE) % 1000).int().to(NPU) + RANK
    distributed.all_reduce(values)
    return torch.equal(values.cpu(), (torch.arange(LARGE) % 1000).int() * 2 + 1)


def broadcast() -> Any:
    values = torch.arange(3.0).to(NPU) + 10 * RANK
    distributed.broadcast(values, 1)
    return values.cpu().tolist()


def gathered() -> list[Any]:
    parts = [torch.zeros(3).to(NPU) for _ in range(2)]
    distributed.all_gather(parts, torch.arange(3.0).to(NPU) + 10 * RANK)
    return [part.cpu().tolist() for part in parts]


def scattered() -> Any:
    result = torch.zeros(2).to(NPU)
    parts = [torch.arange(2.0).to(NPU) + RANK, torch.arange(2.0).to(NPU) + 100 * (RANK + 1)]
    distributed.reduce_scatter(result, parts)
    return result.cpu().tolist()


def objects() -> list[Any]:
    found: list[Any] = [None, None]
    distributed.all_gather_object(found, {"rank": RANK})
    return found


def of_a_second_group() -> Any:
    values = torch.ones(2).to(NPU)
    distributed.all_reduce(values, group=distributed.new_group([0, 1]))
    return values.cpu().tolist()


def message_of(call: Callable[[], Any]) -> str:
    """Return why a collective fails."""
    try:
        call()
        torch_npu.npu.synchronize()
    except RuntimeError as error:
        return str(error)
    return ""


def refused(values: Tensor) -> dict[str, str]:
    parts = [values, values] if RANK == 0 else None
    return {
        "reduce": message_of(lambda: distributed.reduce(values, 0)),
        "scatter": message_of(lambda: distributed.scatter(values, parts, 0)),
        "all_to_all": message_of(lambda: distributed.all_to_all_single(values, values + 1)),
        "send": message_of(
            lambda: distributed.recv(values, 0) if RANK else distributed.send(values, 1)
        ),
    }


def main() -> None:
    torch_npu.npu.set_device(RANK)
    distributed.init_process_group("hccl")
    kinds = {"bool": torch.bool, "int64": torch.int64, "bfloat16": torch.bfloat16}
    kinds |= {"float32": torch.float32}
    operations = ("SUM", "PRODUCT", "MAX", "MIN", "AVG")
    found = {
        "reduced": {
            name: {operation: reduced(operation, dtype) for operation in operations}
            for name, dtype in kinds.items()
        },
        "large": large(),
        "broadcast": broadcast(),
        "gathered": gathered(),
        "scattered": scattered(),
        "objects": objects(),
        "second group": of_a_second_group(),
    }
    distributed.barrier()
    if "refuse" in sys.argv:
        found["refused"] = refused(torch.ones(4).to(NPU))
    distributed.destroy_process_group()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    found["still shared"] = "emulated-hccl" in maps
    (Path(sys.argv[1]) / f"{RANK}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
