"""Below torchrun, each process records itself, under its true rank."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl

from tests.conftest import Harness, environment, read_record

PROGRAM = """
import time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2 + 0 * dist.get_rank()))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(7):
    optimizer.zero_grad()
    time.sleep(0.03 * dist.get_rank())
    model(torch.ones(3 + dist.get_rank(), 4)).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_each_rank_has_a_run_with_its_number(tmp_path: Path, harness: Harness) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    few = ("workload.warmup_steps=1", "profiler.baseline.steps=1")
    done = subprocess.run(
        [*launcher, "-m", "harness", *few, "--", "train.py"],
        cwd=tmp_path,
        env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = sorted(path.parent for path in tmp_path.glob("outputs/*/*/run.json"))
    records = {record.rank: record for record in map(read_record, runs)}
    assert {rank: record.world_size for rank, record in records.items()} == {0: 2, 1: 2}
    assert "rank 1 of 2, by itself: train.py" in done.stdout
    for run in runs:
        rank = read_record(run).rank
        operators = pl.read_parquet(run / "tables" / "operators.parquet")
        assert operators["rank"].unique().to_list() == [rank]
        shapes = operators.filter(name="aten::addmm")["input_shapes"].to_list()
        assert [shape[:3] for shape in shapes] == [[[2], [3 + rank, 4], [4, 2]]] * 3
        collectives = pl.read_parquet(run / "tables" / "communication.parquet")
        assert collectives.select("rank", "type", "group").unique().rows() == [
            (rank, "allreduce", "0")
        ]
        # A step reduces the gradients: 4 x 2 weights and 2 biases of float.
        assert collectives.filter(pl.col("bytes") == 40)["step"].sort().to_list() == [1, 2, 3]
        (tmp_path / "traces").mkdir(exist_ok=True)
        shutil.copy(run / "raw" / "trace.json.gz", tmp_path / "traces" / f"{rank}.json.gz")
    read_the_traces(harness, tmp_path)


def read_the_traces(harness: Harness, folder: Path) -> None:
    """The traces that the ranks left, read as a folder of ranks, name the slow one."""
    read = harness("read", "traces", "--out", "job")
    assert read.code == 0, read.err
    assert "rank 1 is the slowest in 3 of 3 steps: the others wait for" in read.out
    ranks = pl.read_parquet(folder / "job" / "analyses" / "ranks.parquet")
    assert ranks.select("rank", "steps", "collectives", "slowest").rows() == [
        (0, 3, 3, 0),
        (1, 3, 3, 3),
    ]
    steps = pl.read_parquet(folder / "job" / "analyses" / "rank_steps.parquet")
    waits = steps.partition_by("rank", maintain_order=True)
    assert all(wait > 20e6 for wait in waits[0]["waiting_ns"])
    assert all(wait < 20e6 for wait in waits[1]["waiting_ns"])
    assert {record.rank for record in map(read_record, (folder / "job/ranks").iterdir())} == {0, 1}
    again = harness("read", "job")
    assert again.code == 0, again.err
    assert again.out == read.out
