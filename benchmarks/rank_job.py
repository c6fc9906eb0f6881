"""What it costs to read a job of eight ranks again, beside reading one of them.

One rank is recorded, and seven copies of its folder stand for the others. Both commands run in
turn, each in a process of its own, start included.

    python benchmarks/rank_job.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec
from msgspec.structs import replace

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from harness.capture.run_record import RunRecord
from harness.execution.protocol import write_json
from harness.paths import RunFolder

RANKS = 8
MOST_TIMES = 8.5
MOST_MEMORY = 1.5
JOB = ("execution=torchrun", "execution.nproc=1", "workload=ddp", "profiler.schedule.active=20")


def harness(folder: Path, *words: str) -> tuple[float, int]:
    """Run a command; return its seconds, and the most memory that it held, in bytes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, usage.ru_maxrss << 10


def job_of_eight(folder: Path) -> Path:
    """Record one rank, and let it stand for eight."""
    harness(folder, *JOB)
    job = RunFolder((folder / "outputs" / "latest").resolve())
    record = msgspec.json.decode(job.record.read_bytes(), type=RunRecord)
    ranks = tuple(replace(record.ranks[0], rank=rank) for rank in range(RANKS))
    write_json(replace(record, ranks=ranks, world_size=RANKS), job.record)
    own = msgspec.json.decode(job.rank(0).record.read_bytes(), type=RunRecord)
    for rank in range(1, RANKS):
        shutil.copytree(job.rank(0).path, job.rank(rank).path)
        write_json(replace(own, rank=rank, world_size=RANKS), job.rank(rank).record)
    return job.path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = job_of_eight(folder)
        pairs = [
            (
                harness(folder, "read", str(RunFolder(job).rank(0).path)),
                harness(folder, "read", str(job)),
            )
            for _ in range(rounds)
        ]
    one_s, all_s = (median(each[0] for each in side) for side in zip(*pairs, strict=True))
    one_b, all_b = (max(each[1] for each in side) for side in zip(*pairs, strict=True))
    print(
        f"one rank {one_s:.2f} s, {RANKS} ranks {all_s:.2f} s:"
        f" {all_s / one_s:.1f} times (<= {MOST_TIMES})"
    )
    print(
        f"one rank {one_b >> 20} MiB, {RANKS} ranks {all_b >> 20} MiB:"
        f" {all_b / one_b:.2f} times (<= {MOST_MEMORY})"
    )


if __name__ == "__main__":
    main()
