"""What harness adds to a program of the user's: around it, and in each step outside of a window.

The script runs alone, with torch's profiler set by hand (the same schedule and settings, its trace
exported), and after ``harness --``, in turn; the differences and ratios are medians of those within
a round. CPU time is that of all processes: other work on the machine changes it less than wall
time, but it does not say what the two processes of the harness do at the same time. Every process
has one thread for its operators: threads that wait for each other would blur the rest.

    python benchmarks/program.py [--rounds 7] [--harness FOLDER]

``--harness`` measures another checkout instead, in the same way.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIMIT_S = 0.4
"""What harness may add to the script with its own profiler."""
STEP_LIMIT_US = 2.0
CALLS = 200_000
TRAIN = """
import torch

model = torch.nn.Sequential(*[torch.nn.Linear(256, 256) for _ in range(4)])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

def step():
    model(torch.ones(32, 256)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
"""
PLAIN = f"{TRAIN}\nfor _ in range(12):\n    step()\n"
BY_HAND = f"""{TRAIN}
from torch.profiler import profile, schedule

def written(profiler):
    profiler.export_chrome_trace("trace.json.gz")

# The optimizer's first step comes before the first that counts.
for _ in range(8):
    step()
when = schedule(wait=0, warmup=1, active=3, repeat=1)
with profile(schedule=when, record_shapes=True, on_trace_ready=written) as profiler:
    for _ in range(4):
        step()
        profiler.step()
"""
CALLING = f"""
import time
import harness
start = time.perf_counter()
for _ in range({CALLS}):
    harness.step()
print((time.perf_counter() - start) / {CALLS} * 1e6)
"""


class Cost(NamedTuple):
    """What a command took, with all its processes."""

    wall_s: float
    cpu_s: float


def cost(folder: Path, root: Path, *words: str) -> Cost:
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        "OMP_NUM_THREADS": "1",
    }
    # As for a user, whose modules are compiled once.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime)


def show(pairs: Sequence[tuple[Cost, Cost]]) -> None:
    for name, by_hand, ours in (
        (
            field,
            *zip(*((getattr(one, field), getattr(two, field)) for one, two in pairs), strict=True),
        )
        for field in Cost._fields
    ):
        added = sorted(after - before for before, after in zip(by_hand, ours, strict=True))
        ratio = median(after / before for before, after in zip(by_hand, ours, strict=True))
        limit = f" (<= {LIMIT_S})" if name == "wall_s" else ""
        print(
            f"{name}: by hand {median(by_hand):.2f}, harness -- {median(ours):.2f}:"
            f" {median(added):+.2f}{limit}, from {added[0]:+.2f} to {added[-1]:+.2f},"
            f" {ratio:.2f} times"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--harness", type=Path, default=ROOT)
    options = parser.parse_args()
    rounds, root = options.rounds, options.harness.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("plain", PLAIN), ("by_hand", BY_HAND), ("calling", CALLING)):
            (folder / f"{file}.py").write_text(text)
        ours = ("-m", "harness", "--", "plain.py")
        # The first of each compiles and reads the files; it does not count.
        cost(folder, root, "by_hand.py")
        cost(folder, root, *ours)
        show([(cost(folder, root, "by_hand.py"), cost(folder, root, *ours)) for _ in range(rounds)])
        alone = [cost(folder, root, "-m", "harness") for _ in range(rounds)]
        wall_s, cpu_s = (median(values) for values in zip(*alone, strict=True))
        print(f"harness, its default workload: {wall_s:.2f} s, of CPU {cpu_s:.2f} s")
        environment = os.environ | {"PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "calling.py"],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        print(f"harness.step() without a window: {float(done.stdout):.3f} us (<= {STEP_LIMIT_US})")


if __name__ == "__main__":
    main()
