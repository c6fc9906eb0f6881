"""What it costs to join the runs of a sweep, beside reading their csv files.

    python benchmarks/merge.py [KERNELS]

Eight runs of one program, each with another group of counters: steps of 4,000 kernels, 32 layers
that repeat themselves, two streams. The runs executed the same; or one of them lacks a hundredth of
its kernels; or each lacks another hundredth. Each figure comes from a process of its own, the
smallest of three; the join reads and writes parquet files. The last column is the time of ten times
the kernels against that of a tenth.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from harness import tables
from harness.emulator.columns import GROUPS, counter_header
from harness.merge.join import merge
from harness.merge.sequences import Run

KERNELS = 200_000
STEP = 4_000
LAYERS = 32
LOST = 0.01
MIB = 2**20


def program(seed: int = 1) -> list[tuple[str, list[list[int]], str, int]]:
    """Return one step: type, shapes, core and stream of each kernel, layers alike."""
    draw = random.Random(seed)  # noqa: S311 - the same in every run
    kinds = [
        (
            f"Kernel{n % 37}",
            [[draw.choice((1, 8, 32)), 128 * (n % 7 + 1)], [128]],
            core,
            2 + n % 9 // 8,
        )
        for n, core in enumerate(draw.choices(("AI_CORE", "AI_VECTOR_CORE", "MIX_AIC"), k=60))
    ]
    layer = [draw.choice(kinds) for _ in range(STEP // LAYERS)]
    return layer * LAYERS


def run(kernels: int, group: int, seed: int) -> pl.DataFrame:
    """Return the table `kernels` of one run."""
    draw = random.Random(seed)  # noqa: S311 - the same in every run
    whole = program()
    rows = [(step, *kernel) for step in range(kernels // len(whole)) for kernel in whole]
    count = len(rows)
    start = pl.int_range(count, eager=True) * 12_345 + 1_700_000_000_000_000_000
    columns: dict[str, object] = {
        "step": [row[0] for row in rows],
        "rank": [0] * count,
        "device": [0] * count,
        "stream": [row[4] for row in rows],
        "name": [f"aclnn{row[1]}_{row[1]}" for row in rows],
        "type": [row[1] for row in rows],
        "core": [row[3] for row in rows],
        "start_ns": start,
        "duration_ns": pl.Series([draw.randrange(2_000, 90_000) for _ in range(count)]),
        "wait_ns": pl.Series([draw.randrange(900) for _ in range(count)]),
        "input_shapes": [row[2] for row in rows],
        "input_dtypes": [["DT_BF16", "DT_BF16"]] * count,
        "input_formats": [["ND", "ND"]] * count,
        "output_shapes": [row[2][:1] for row in rows],
        "output_dtypes": [["DT_BF16"]] * count,
        "output_formats": [["ND"]] * count,
        "Block Dim": [20] * count,
    }
    noise = pl.Series([draw.random() for _ in range(count)])
    for number, name in enumerate(counter_header(group)):
        value = (noise * (number + 1)).round(3)
        columns[name] = (value * 1000).cast(pl.Int64) if name.endswith("cycles") else value
    return tables.frame("kernels", columns)


def as_csv(table: pl.DataFrame, path: Path) -> None:
    """Write what torch_npu would: shapes in words, times in microseconds with three decimals."""
    text = pl.element().cast(pl.List(pl.String)).list.join(",")
    times = [
        (pl.col(name) // 1000).cast(pl.String)
        + "."
        + (pl.col(name) % 1000).cast(pl.String).str.zfill(3)
        for name in ("start_ns", "duration_ns", "wait_ns")
    ]
    table.with_columns(
        *times,
        *(
            pl.col(name).list.eval(text).list.join(";")
            for name in ("input_shapes", "output_shapes")
        ),
        *(
            pl.col(name).list.join(";")
            for name in ("input_dtypes", "input_formats", "output_dtypes", "output_formats")
        ),
    ).write_csv(path)


def make(runs: Sequence[pl.DataFrame], folder: Path, lacking: Sequence[int]) -> None:
    """Write runs, each as a table and as a csv file; those numbered lack some kernels."""
    for number, table in enumerate(runs):
        kept = pl.Series(np.random.default_rng(number).random(len(table)) >= LOST)
        own = table.filter(kept) if number in lacking else table
        tables.write(own, folder / str(number) / "kernels.parquet", folder)
        as_csv(own, folder / f"{number}.csv")


def read_csv(folder: Path) -> int:
    """Read the eight csv files."""
    return sum(len(pl.read_csv(path)) for path in folder.glob("*.csv"))


def join(folder: Path) -> int:
    """Read the eight tables, join them and write what comes out."""
    runs = [
        Run(label=path.parent.name, table=pl.read_parquet(path))
        for path in folder.glob("*/kernels.parquet")
    ]
    joined = merge(runs, match="aligned")
    joined.table.write_parquet(folder / "merged.parquet", compression="zstd")
    return len(joined.table)


CASES = {
    "all executed the same": [],
    "one lacks 1 % of its kernels": [3],
    "each lacks another 1 %": list(range(8)),
}
WORK = {"polars reads 8 csv files": read_csv, "join of 8 runs": join}


def measure(name: str, folder: Path) -> tuple[float, float]:
    """Return seconds and MiB of a piece of work in a process of its own, the best of three."""
    found = []
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, __file__, "--work", name, str(folder)],
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(json.loads(out.stdout))
    return min(each["seconds"] for each in found), min(each["mib"] for each in found)


def main(words: Sequence[str]) -> None:
    """Measure, or do one piece of work."""
    if words[:1] == ["--work"]:
        start = time.perf_counter()
        WORK[words[1]](Path(words[2]))
        seconds = time.perf_counter() - start
        # ru_maxrss would count what the parent held when it forked.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps({"seconds": seconds, "mib": peak}))
        return
    kernels = int(words[0]) if words else KERNELS
    everything = [run(kernels, group, seed) for seed, group in enumerate(GROUPS)]
    print(f"{len(everything)} runs of {kernels:,} kernels")
    for case, lacking in CASES.items():
        print(f"{case}")
        found: dict[tuple[str, int], float] = {}
        for size in (kernels // 10, kernels):
            with tempfile.TemporaryDirectory() as name:
                make([table.head(size) for table in everything], Path(name), lacking)
                for work in WORK:
                    found[work, size], mib = measure(work, Path(name))
                    if size < kernels:
                        continue
                    seconds, times = found[work, size], found[work, size] / found[work, size // 10]
                    against = seconds / found[next(iter(WORK)), size]
                    print(
                        f"  {work:<26} {seconds:6.2f} s {against:6.2f} x {mib:8,.0f} MiB"
                        f"   {times:5.1f} x of a tenth"
                    )


if __name__ == "__main__":
    main(sys.argv[1:])
