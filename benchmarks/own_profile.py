"""What `harness.profile` costs a program: in recorded steps, and in step() outside of a window.

    python benchmarks/own_profile.py [--rounds N]

The same steps run in turn under `harness.profile` and under the bare profiler of the same plan, in
one process. Prints the median step of each, and the ratio (at most 1.02); the end of a window, when
traces are written, is not part of a step. Then the cost of a step() after it (at most 2 us).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import harness

ACTIVE = 30
SETTINGS = (
    "device=cpu",
    "profiler=level1",
    "workload.warmup_steps=0",
    "profiler.baseline.steps=0",
    f"profiler.schedule.active={ACTIVE}",
)
CALLS = 200_000


def step(left: torch.Tensor, right: torch.Tensor) -> None:
    """Run for some milliseconds, in some 60 operators."""
    for _ in range(30):
        torch.relu(left @ right)


def recorded(after_step: Callable[[], object]) -> list[float]:
    """Return the seconds of the steps that are recorded, but for the one that ends the window."""
    left, right = torch.ones(256, 256), torch.ones(256, 256)
    times = []
    for _ in range(1 + ACTIVE - 1):
        start = time.perf_counter()
        step(left, right)
        after_step()
        times.append(time.perf_counter() - start)
    return times[1:]


def by_harness(folder: Path) -> list[float]:
    with harness.profile(*SETTINGS, out=folder, on_missing="ignore") as profile:
        return recorded(profile.step)


def by_hand() -> list[float]:
    with harness.build_profiler(harness.plan(harness.compose(*SETTINGS))) as profiler:
        return recorded(profiler.step)


def outside(folder: Path) -> float:
    """Return the seconds of one step() after the window."""
    with harness.profile(*SETTINGS, out=folder, on_missing="ignore") as profile:
        for _ in range(ACTIVE + 2):
            profile.step()
        start = time.perf_counter()
        for _ in range(CALLS):
            profile.step()
        return (time.perf_counter() - start) / CALLS


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        pairs = [
            (median(by_harness(Path(name) / str(number))), median(by_hand()))
            for number in range(rounds)
        ]
        cost = outside(Path(name) / "outside")
    ours, bare = (median(side) for side in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    print(f"a recorded step: {ours * 1e3:.3f} ms, by hand {bare * 1e3:.3f} ms: {ratio:.3f} times")
    print(f"step() outside of a window: {cost * 1e6:.2f} us")


if __name__ == "__main__":
    main()
