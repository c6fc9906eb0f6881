"""Many windows in one process, of the bare profiler or of a session; prints what is left over.

python many_windows.py bare|session FOLDER
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

import harness
from harness.execution.window_limits import resident_bytes

WINDOWS = 200
WARM = 20
STEPS = 5


def step() -> None:
    for _ in range(30):
        torch.relu(torch.ones(32, 32) @ torch.ones(32, 32))


def bare_window(folder: Path) -> None:
    def write(profiler: profile) -> None:
        profiler.export_chrome_trace(str(folder / "trace.json"))

    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        schedule=schedule(wait=0, warmup=1, active=STEPS, repeat=1),
        on_trace_ready=write,
    ) as profiler:
        for _ in range(STEPS + 1):
            step()
            profiler.step()


def window_of(session: harness.Session) -> None:
    window = session.window(steps=STEPS)
    while window.state in {"waiting", "recording"}:
        with session.step("train"):
            step()
    assert window.wait(timeout=60)
    assert window.reason == ""


def state() -> dict[str, int]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mib": resident_bytes() >> 20,
    }


def run(window: Callable[[], None]) -> dict[str, int]:
    for _ in range(WARM):
        window()
    before = state()
    for _ in range(WINDOWS - WARM):
        window()
    after = state()
    return {"grown_mib": after["mib"] - before["mib"], "windows": WINDOWS}


def main(kind: str, folder: Path) -> None:
    folder.mkdir()
    torch.set_num_threads(1)
    step()
    start = state()
    if kind == "bare":
        found = run(lambda: bare_window(folder))
    else:
        with harness.Session("profiler=level1", out=folder, read="later") as session:
            found = run(lambda: window_of(session))
        assert len(list(folder.iterdir())) == WINDOWS
    end = state()
    for name in ("threads", "descriptors"):
        found[name] = end[name] - start[name]
    print(json.dumps(found))


main(sys.argv[1], Path(sys.argv[2]))
