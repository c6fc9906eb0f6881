"""Traces of several ranks, read as one job."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl

from tests.conftest import Harness, read_record

PROGRAM = """
import time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2 + 0 * dist.get_rank()))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(7):
    optimizer.zero_grad()
    time.sleep(0.25 * dist.get_rank())
    model(torch.ones(3 + dist.get_rank(), 4)).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_traces_of_ranks_are_read_together_and_name_the_slow_one(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    few = ("workload.warmup_steps=1", "profiler.baseline.steps=1")
    done = harness("execution=torchrun", "execution.nproc=2", *few, "--", "train.py")
    assert done.code == 0, done.err
    assert "rank 1 is the slowest in 3 of 3 steps: the others wait for" in done.out
    (tmp_path / "traces").mkdir()
    for rank in (0, 1):
        run = done.latest / "ranks" / str(rank)
        collectives = pl.read_parquet(run / "tables" / "communication.parquet")
        assert collectives.select("rank", "type", "group").unique().rows() == [
            (rank, "allreduce", "0")
        ]
        # A step reduces the gradients: 4 x 2 weights and 2 biases of float.
        assert collectives.filter(pl.col("bytes") == 40)["step"].sort().to_list() == [1, 2, 3]
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
    assert all(wait > 125e6 for wait in waits[0]["waiting_ns"])
    assert all(wait < 125e6 for wait in waits[1]["waiting_ns"])
    assert {record.rank for record in map(read_record, (folder / "job/ranks").iterdir())} == {0, 1}
    again = harness("read", "job")
    assert again.code == 0, again.err
    assert again.out == read.out
