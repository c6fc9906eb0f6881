"""What report.html costs, beside the analyses that a run makes anyway; and of a million rows.

    python benchmarks/report_html.py [--rounds 7]

The default run is carried out once; then its analyses and its page are made again and again, in
turns, so that each ratio compares neighbours. The large capture is made up: a million operators
with stacks, and as many kernels. Ends in 1 where a limit is not kept: 0.3 s for the page of the
default run, 5 s for that of the large one, 2 MB for each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from harness import tables
from harness.analyses.registry import run_analyses
from harness.capture.capture import Capture
from harness.capture.load import load_capture
from harness.capture.run_record import RunRecord
from harness.execution.protocol import read_json
from harness.paths import RunFolder
from harness.report.html.render import html
from harness.report.html.run import Shown, run_page
from harness.report.results import RunResults

ROOT = Path(__file__).parents[1]
ROWS = 1_000_000
STACKS = 5_000
LIMIT_S = 0.3
LARGE_LIMIT_S = 5.0
LIMIT_BYTES = 2_000_000


class Cost(NamedTuple):
    """What one page took."""

    analyses_s: float
    page_s: float
    size: int


def measured(record: RunRecord, capture: Capture) -> Cost:
    begun = time.perf_counter()
    analyses = run_analyses(capture)
    analysed = time.perf_counter()
    results = RunResults(record=record, analyses=analyses, folder="run")
    content = html(run_page(Shown(results=results, tables=capture.tables)))
    return Cost(analysed - begun, time.perf_counter() - analysed, len(content))


def large(capture: Capture) -> Capture:
    """Return the capture with a million operators and a million kernels."""
    chance = np.random.default_rng(1)
    numbers = np.arange(ROWS)
    starts = np.cumsum(chance.integers(1, 2_000, ROWS))
    operators = {
        "id": numbers,
        "step": numbers // (ROWS // 10),
        "thread": numbers % 4,
        "name": [f"aten::op{number % 3_000}" for number in range(ROWS)],
        "start_ns": starts,
        "duration_ns": chance.integers(1, 5_000, ROWS),
        "self_ns": chance.integers(1, 5_000, ROWS),
        "stack_id": numbers % STACKS,
    }
    kernels = {
        "step": numbers // (ROWS // 10),
        "device": numbers % 8,
        "stream": numbers % 24,
        "name": [f"kernel{number % 3_000}" for number in range(ROWS)],
        "type": [f"type{number % 200}" for number in range(ROWS)],
        "start_ns": starts + 500,
        "duration_ns": chance.integers(1, 5_000, ROWS),
        "operator": numbers,
    }
    frames = [
        [f"module{stack % 97}.py({depth}): f{(stack >> depth) % 50}" for depth in range(30)]
        for stack in range(STACKS)
    ]
    filled = {
        "operators": tables.frame("operators", operators),
        "kernels": tables.frame("kernels", kernels),
        "stacks": tables.frame("stacks", {"stack_id": range(STACKS), "frames": frames}),
    }
    return replace(capture, tables={**capture.tables, **filled})


def import_s() -> float:
    """Return what importing the page's modules adds in a process that has the others."""
    code = (
        "import harness.analyses.registry, harness.capture.load, harness.report.run, time;"
        " begun = time.perf_counter(); import harness.report.html.keep, harness.report.html.run;"
        " print(time.perf_counter() - begun)"
    )
    words = [sys.executable, "-c", code]
    return float(subprocess.run(words, capture_output=True, check=True, cwd=ROOT).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        words = [sys.executable, "-m", "harness", "--out", str(folder)]
        begun = time.perf_counter()
        subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        run_s = time.perf_counter() - begun
        record, capture = read_json(RunFolder(folder).record, RunRecord), load_capture(folder)
        costs = [measured(record, capture) for _ in range(rounds)]
        page_s = median(cost.page_s for cost in costs)
        ratio = median(cost.page_s / cost.analyses_s for cost in costs)
        imported_s = median(import_s() for _ in range(rounds))
        print(
            f"default run: {costs[0].size / 1e3:,.0f} kB, page {page_s * 1e3:.0f} ms"
            f" = {ratio:.2f} × its analyses, imports {imported_s * 1e3:.0f} ms:"
            f" {(page_s + imported_s) / run_s:.2%} of the run's {run_s:.1f} s"
        )
        cost = measured(record, large(capture))
    print(
        f"{2 * ROWS:,} rows: {cost.size / 1e3:,.0f} kB, page {cost.page_s:.2f} s"
        f" = {cost.page_s / cost.analyses_s:.2f} × the analyses' {cost.analyses_s:.2f} s"
    )
    kept = page_s + imported_s < LIMIT_S and cost.page_s < LARGE_LIMIT_S
    return 0 if kept and max(costs[0].size, cost.size) < LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
