"""How long the paths without a run take to start, beside a minimal Hydra application.

The floor is an application of the same shape: the same configuration folder, composed and printed
by Hydra alone. Floor and paths take turns, so that each ratio compares runs that were neighbours.

    python benchmarks/start_up.py [--rounds 15]
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
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIMIT = 1.5
"""What a path may take, as a multiple of the floor."""

FLOOR = f"""
import hydra

@hydra.main(version_base="1.3", config_path={str(ROOT / "conf")!r}, config_name="config")
def main(config):
    pass

main()
"""
PATHS = (
    ("--version",),
    ("--help",),
    ("check", "--help"),
    ("--cfg", "job"),
    ("check",),
    ("check", "device=npu", "profiler=level1"),
)


class Cost(NamedTuple):
    """What one process took."""

    wall_s: float
    cpu_s: float
    """Of its own and of the system for it: what other work on the machine does not change."""


def measured(words: list[str], folder: Path) -> Cost:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder)}
    # As for a user, whose modules are compiled once.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "floor.py").write_text(FLOOR, encoding="utf-8")
        floor = [sys.executable, "floor.py", "--cfg", "job"]
        harness = [sys.executable, "-m", "harness"]
        # The first one of each compiles and reads the files; it does not count.
        for words in (floor, *([*harness, *path] for path in PATHS)):
            measured(words, folder)
        floors: list[Cost] = []
        costs: dict[tuple[str, ...], list[Cost]] = {path: [] for path in PATHS}
        for _ in range(rounds):
            floors.append(measured(floor, folder))
            for path in PATHS:
                costs[path].append(measured([*harness, *path], folder))
    print(f"medians of {rounds} rounds; the ratios are medians of those within a round\n")
    print(f"{'':34}{'wall':>8}{'ratio':>7}{'CPU':>9}{'ratio':>7}")
    for label, values in [("floor: Hydra alone, --cfg job", floors)] + [
        (" ".join(path), costs[path]) for path in PATHS
    ]:
        wall = median(
            cost.wall_s / floor.wall_s for cost, floor in zip(values, floors, strict=True)
        )
        cpu = median(cost.cpu_s / floor.cpu_s for cost, floor in zip(values, floors, strict=True))
        print(
            f"{label:34}{median(cost.wall_s for cost in values):6.3f} s{wall:7.2f}"
            f"{median(cost.cpu_s for cost in values):7.3f} s{cpu:7.2f}"
            + ("  above the limit" if cpu > LIMIT else "")
        )


if __name__ == "__main__":
    main()
