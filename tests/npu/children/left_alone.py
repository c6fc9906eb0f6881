"""A rank whose partner leaves it alone: left_alone.py STORE dies|sleeps.

Prints the error of the rank that stays, and the seconds until it came.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import torch
import torch_npu
from torch import distributed

NPU = "npu"
RANK = int(os.environ["RANK"])
ASLEEP_S = 3


def main() -> None:
    _, store, how = sys.argv
    torch_npu.npu.set_device(RANK)
    distributed.init_process_group("hccl", init_method=f"file://{store}", rank=RANK, world_size=2)
    values = torch.ones(4).to(NPU)
    distributed.all_reduce(values)
    torch_npu.npu.synchronize()
    if RANK == 1 and how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if RANK == 1:
        time.sleep(ASLEEP_S)
        os._exit(0)
    begin = time.monotonic()
    try:
        distributed.all_reduce(values)
        torch_npu.npu.synchronize()
        error = ""
    except RuntimeError as failure:
        error = str(failure)
    print(json.dumps([error, time.monotonic() - begin]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
