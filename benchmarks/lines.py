"""What recording lines (profiler.with_lines) adds to a step, and what the wall time's tables cost.

    python benchmarks/lines.py [--rounds N]

Steps that run much Python run in turn with and without the tracing of lines, in one process and
without a profiler. Prints the median step of each and the ratio: for code of the user's, which is
traced line by line, and for code of a package, of which each call is only looked at. Then the time
for cutting the steps of a capture with 200,000 operators into pieces, per operator.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import polars as pl

from harness import tables
from harness.analyses.pieces import pieces
from harness.execution.lines import LineTrace

SOURCE = """
def add(left, right):
    total = left + right
    return total

def step():
    total = 0
    for number in range(20000):
        total = add(total, number)
    return total
"""
OPERATORS = 200_000
STEPS = 100


def compiled(file: str) -> Callable[[], int]:
    scope: dict[str, Any] = {}
    exec(compile(SOURCE, file, "exec"), scope)  # noqa: S102 - the source above
    step: Callable[[], int] = scope["step"]
    return step


def seconds(step: Callable[[], int], *, traced: bool) -> float:
    trace = LineTrace(time.time_ns)
    if traced:
        trace.start()
    begun = time.perf_counter()
    step()
    taken = time.perf_counter() - begun
    trace.stop()
    return taken


def compare(name: str, file: str, rounds: int) -> None:
    step = compiled(file)
    pairs = [(seconds(step, traced=False), seconds(step, traced=True)) for _ in range(rounds)]
    plain, traced = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(with_lines / without for without, with_lines in pairs)
    print(
        f"{name}: a step {plain * 1e3:.2f} ms, with lines {traced * 1e3:.2f} ms, x{ratio:.2f};"
        f" {(traced - plain) / 20_000 * 1e9:.0f} ns more for each call of a function of two lines"
    )


def capture() -> Any:
    per_step = OPERATORS // STEPS
    starts = [number * 1_000 for number in range(OPERATORS)]
    operators = tables.frame(
        "operators",
        {
            "id": range(OPERATORS),
            "step": [number // per_step for number in range(OPERATORS)],
            "rank": [0] * OPERATORS,
            "thread": [1] * OPERATORS,
            "name": ["aten::linear", "aten::t", "aten::addmm", "aten::relu"] * (OPERATORS // 4),
            "start_ns": starts,
            # Each fourth operator contains the two that follow.
            "duration_ns": [2_900, 400, 800, 700] * (OPERATORS // 4),
        },
    )
    steps = tables.frame(
        "steps",
        {
            "step": range(STEPS),
            "rank": [0] * STEPS,
            "phase": ["active"] * STEPS,
            "start_ns": [number * per_step * 1_000 for number in range(STEPS)],
            "duration_ns": [per_step * 1_000] * STEPS,
        },
    )
    empty = {name: tables.empty(name) for name in tables.SCHEMAS}
    return SimpleNamespace(tables=empty | {"operators": operators, "steps": steps})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    compare("code of the user's", str(Path("train.py").absolute()), rounds)
    compare("code of a package", "/usr/lib/site-packages/package/train.py", rounds)
    recorded = capture()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        cut: pl.DataFrame = pieces(recorded)
        times.append(time.perf_counter() - begun)
    print(f"pieces: {cut.height:,}, {median(times) / OPERATORS * 1e6:.2f} us for each operator")


if __name__ == "__main__":
    main()
