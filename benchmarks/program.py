"""What harness adds to a program of the user's: around it, and in each step outside of a window.

The script runs alone, with torch's profiler set by hand (the same schedule and settings, its trace
exported), and after ``harness --``, in turn.

    python benchmarks/program.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

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


def seconds(folder: Path, *words: str) -> float:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("plain", PLAIN), ("by_hand", BY_HAND), ("calling", CALLING)):
            (folder / f"{file}.py").write_text(text)
        pairs = [
            (seconds(folder, "by_hand.py"), seconds(folder, "-m", "harness", "--", "plain.py"))
            for _ in range(rounds)
        ]
        by_hand, ours = (median(times) for times in zip(*pairs, strict=True))
        added = median(after - before for before, after in pairs)
        print(f"by hand {by_hand:.2f} s, harness -- {ours:.2f} s: {added:+.2f} s (<= {LIMIT_S})")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
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
