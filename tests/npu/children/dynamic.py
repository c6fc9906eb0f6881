"""A training loop that torch_npu's dynamic_profile watches: dynamic.py CONFIG.

PROF_CONFIG_PATH is the folder that is watched; CONFIG is put there while the loop runs, and the
loop ends with the capture.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
import torch_npu  # it reads PROF_CONFIG_PATH as it is imported

LIMIT_S = 60


def main() -> None:
    watched = Path(os.environ["PROF_CONFIG_PATH"])
    model = torch.nn.Linear(4, 4).to("npu:0")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = torch.randn(3, 4).to("npu:0")
    until = time.monotonic() + LIMIT_S
    put = False
    # Its time counts in whole seconds, and must be another one than that of the start.
    begin = time.monotonic() + 1.5
    while time.monotonic() < until:
        optimizer.zero_grad()
        model(data).sum().backward()
        optimizer.step()
        torch_npu.npu.synchronize()
        time.sleep(0.05)
        if not put and time.monotonic() > begin:
            config = (watched / "profiler_config.json").with_suffix(".new")
            config.write_bytes(Path(sys.argv[1]).read_bytes())
            config.chmod(0o640)
            config.replace(watched / "profiler_config.json")
            put = True
        if list(Path("captures").glob("*_ascend_pt/ASCEND_PROFILER_OUTPUT/trace_view.json")):
            return


if __name__ == "__main__":
    main()
