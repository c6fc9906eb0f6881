"""What a large sweep over counters leaves and costs: 1,000 jobs, 8 groups, 16 ranks; scaled.

A hundredth of it is built: 10 jobs, each run once for each of 8 groups of counters, with 16 ranks.
The folder of each rank is that of a run with synthetic kernels. Measured are its files and bytes,
how long it takes to read all records, and to merge the groups of each rank of each job (`merge`
takes one rank at a time), in one process. What a hundred times as much would be is scaled, and is
called so.

    python benchmarks/large_sweep.py [--jobs 10] [--ranks 16] [--kernels 4000]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from benchmarks.merge import run as kernels_of
from harness import tables
from harness.capture.run_record import RunRecord, record_of
from harness.emulator.columns import GROUPS
from harness.execution.plan import requested
from harness.merge.pipeline import merge_runs
from harness.paths import RunFolder
from tests.support.composing import composed
from tests.support.run_folders import run_folder

MEANT = 1_000
"""The jobs that are meant."""
MIB = 2**20


def _rank(folder: Path, number: int, kernels: int) -> None:
    """Write the folder of one rank that recorded a group of counters."""
    metrics = f"profiler.experimental.aic_metrics={GROUPS[number].name}"
    request = composed("device=npu", "profiler=level1", metrics)
    record = RunRecord(
        status="ok",
        verdict="delivered",
        exit_code=0,
        versions={"harness": "benchmark"},
        host="node",
        device="npu",
        device_name="synthetic",
        requested=requested(request),
    )
    run = run_folder(folder, record)
    tables.write(kernels_of(kernels, number, seed=number), run.table("kernels"), run.path)


def _build(place: Path, jobs: int, ranks: int, kernels: int) -> None:
    for number, group in GROUPS.items():
        first = place / "job0" / group.name / "ranks" / "0"
        _rank(first, number, kernels)
        for job in range(jobs):
            for rank in range(ranks):
                to = place / f"job{job}" / group.name / "ranks" / str(rank)
                if to != first:
                    shutil.copytree(first, to)


def _merge(place: Path, jobs: int, ranks: int) -> list[float]:
    """Merge all groups of each rank of each job; return the seconds of each merge."""
    request = composed("device=npu", "profiler=level1")
    found, names = [], [group.name for group in GROUPS.values()]
    for job in range(jobs):
        for rank in range(ranks):
            begin = time.perf_counter()
            runs = [place / f"job{job}" / name / "ranks" / str(rank) for name in names]
            out = place / f"job{job}" / "merged" / str(rank)
            done = merge_runs(runs, out, request.merge, request.analysis)
            if done.exit_code:
                raise SystemExit(f"{out}: exit code {done.exit_code}")
            found.append(time.perf_counter() - begin)
    return found


def _size(place: Path) -> tuple[int, int]:
    files = [path for path in place.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def _say(what: str, measured: float, unit: str, scale: float) -> None:
    print(f"{what:<42} {measured:12,.1f} {unit:<6} {measured * scale:14,.1f} {unit}")


def main() -> None:
    """Build, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=16)
    parser.add_argument("--kernels", type=int, default=4000)
    options = parser.parse_args()
    jobs, ranks = options.jobs, options.ranks
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _build(place, jobs, ranks, options.kernels)
        files, size = _size(place)
        begin = time.perf_counter()
        records = [record_of(path.parent) for path in place.rglob(RunFolder(place).record.name)]
        reading = time.perf_counter() - begin
        assert all(records)
        before = time.process_time()
        seconds = _merge(place, jobs, ranks)
        processor = time.process_time() - before
        merged_files, merged_size = _size(place)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scale = MEANT / jobs
    print(f"{jobs} jobs x {len(GROUPS)} groups x {ranks} ranks, {options.kernels:,} kernels each")
    print(f"{'':<42} {'measured':>12} {'':<6} {f'scaled x {scale:g}':>14}")
    _say("folders of ranks", jobs * len(GROUPS) * ranks, "", scale)
    _say("files, synthetic", files, "", scale)
    _say("bytes, synthetic", size / MIB, "MiB", scale)
    _say("reading all records", reading, "s", scale)
    _say("merges", len(seconds), "", scale)
    _say("merging, one process", sum(seconds), "s", scale)
    _say("merging, processor time of all threads", processor, "s", scale)
    _say("files that merges write", merged_files - files, "", scale)
    _say("bytes that merges write", (merged_size - size) / MIB, "MiB", scale)
    _say("longest merge", max(seconds), "s", 1)
    _say("memory of the process", peak, "MiB", 1)


if __name__ == "__main__":
    main()
