"""How often ``harness compare`` gives which answer, on real runs of this machine.

    python benchmarks/compare_answers.py [--same N] [--slowed N] [--runs R] [--percent P]
                                         [--paced MS]

With --paced, the step is an operator that takes MS milliseconds by the clock, in place of matrix
products: on a machine that others use, its time differs less from run to run.

Of the same program on both sides, an answer of slower or faster is wrong. Of a program that one
operator slows by P percent of its step, slower is right, with that operator first. Each comparison
has R runs on each side, in turn, each a process of its own.

Prints each answer, how often each came, and how much the runs of a side differed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SETTINGS = (
    "profiler=level1",
    "workload=callable",
    "workload.target=compare_answers:factory",
    "profiler.baseline.steps=100",
    "profiler.schedule.active=10",
)
_OPERATOR = "compare_answers::spin"


def factory(
    device: Any, dtype: Any, seed: int, spin_us: float = 0.0, paced_us: float = 0.0
) -> Callable[[], None]:
    """Return a step of work, and of an operator that takes `spin_us` longer.

    The work is matrix products, or an operator that takes `paced_us`.
    """
    import torch

    def lasting(name: str, microseconds: float) -> Callable[[Any], Any]:
        @torch.library.custom_op(name, mutates_args=(), schema="(Tensor data) -> Tensor")
        def last(data: Any) -> Any:
            end = time.perf_counter() + microseconds / 1e6
            while time.perf_counter() < end:
                pass
            return data + 1

        return last

    spin, pace = lasting(_OPERATOR, spin_us), lasting("compare_answers::pace", paced_us)
    torch.manual_seed(seed)
    data = torch.randn(384, 384, device=device, dtype=dtype)
    weight = torch.randn(384, 384, device=device, dtype=dtype)

    def step() -> None:
        if paced_us:
            product = pace(data[:8, :8])
        else:
            for _ in range(4):
                product = torch.softmax(data @ weight, dim=1)
        spin(product[:8, :8])

    return step


def _run(folder: Path, spin_us: float, paced_us: float) -> Path:
    here = Path(__file__).parent
    kwargs = (f"workload.kwargs.spin_us={spin_us:.1f}", f"workload.kwargs.paced_us={paced_us:.1f}")
    words = (*_SETTINGS, *kwargs, "--out", str(folder))
    path = os.pathsep.join(filter(None, (str(here.parent), os.environ.get("PYTHONPATH", ""))))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = (sys.executable, "-m", "harness", *words)
    subprocess.run(command, cwd=here, env=environment, check=True, capture_output=True)
    return folder


def _compared(candidates: list[Path], bases: list[Path]) -> Any:
    words = ("compare", *map(str, candidates), "--against", *map(str, bases), "--json")
    done = subprocess.run(
        (sys.executable, "-m", "harness", *words), check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def _comparison(folder: Path, runs: int, spin_us: float, paced_us: float) -> Any:
    sides: dict[str, list[Path]] = {"base": [], "candidate": []}
    for number in range(runs):
        for side, spin in (("base", 0.0), ("candidate", spin_us)):
            sides[side].append(_run(folder / f"{side}-{number}", spin, paced_us))
    return _compared(sides["candidate"], sides["base"])


def _spread(record: Any, side: str) -> float:
    steps = [run["step_ns"] for run in record[side]]
    return float(max(steps) / min(steps) - 1)


def _shown(record: Any) -> str:
    times, rows = record["times"], record["attributions"][0]["rows"]
    spreads = " and ".join(f"{_spread(record, side):.1%}" for side in ("base", "candidate"))
    return (
        f"  {times['answer']:<14} ratio {times['ratio']:.3f}  runs differ by {spreads}"
        f"  first: {rows[0]['name']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same", type=int, default=20)
    parser.add_argument("--slowed", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--percent", type=float, default=10.0)
    parser.add_argument("--paced", type=float, default=0.0)
    options = parser.parse_args()
    paced_us = options.paced * 1e3
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        first = json.loads((_run(root / "first", 0.0, paced_us) / "run.json").read_text())
        step_us = first["timing"]["baseline"]["median_ns"] / 1e3
        print(f"a step takes {step_us / 1e3:.1f} ms")
        for name, count, spin_us in (
            ("the same on both sides", options.same, 0.0),
            ("slowed", options.slowed, step_us * options.percent / 100),
        ):
            print(f"{name}: {count} comparisons of {options.runs} runs on each side", flush=True)
            answers: Counter[str] = Counter()
            named = 0
            for number in range(count):
                record = _comparison(root / f"{name[:4]}-{number}", options.runs, spin_us, paced_us)
                answers[record["times"]["answer"]] += 1
                named += record["attributions"][0]["rows"][0]["name"] == _OPERATOR
                print(_shown(record), flush=True)
            print(f"  {dict(answers)}; the slowed operator first in {named}")


if __name__ == "__main__":
    main()
