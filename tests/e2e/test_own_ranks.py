"""``harness.profile`` in the ranks of a process group that the program has started itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import LIMIT_S, Run, environment, read_record, run_harness

TRAINING = """
import os, sys
import harness
import torch
import torch.distributed as dist

def train(p, rank):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.ones(3 + rank, 4)).sum().backward()
        optimizer.step()
        p.step()

def profile(out):
    return harness.profile("workload.warmup_steps=1", "profiler.baseline.steps=1", out=out)
"""
BELOW_TORCHRUN = f"""{TRAINING}
dist.init_process_group("gloo")
with profile("mine") as p:
    train(p, dist.get_rank())
print(f"{{p.result.record.rank}}: {{p.result.verdict}} {{p.result.folder}}", flush=True)
dist.destroy_process_group()
"""
SPAWNED = f"""{TRAINING}
def work(rank, place):
    early = profile(f"early{{rank}}")
    early.start()
    dist.init_process_group("gloo", init_method=f"file://{{place}}", rank=rank, world_size=2)
    train(early, rank)
    early.stop()
    with profile("mine") as p:
        train(p, rank)
    print(f"{{p.result.record.rank}}: {{p.result.verdict}} {{p.result.folder}}", flush=True)
    dist.destroy_process_group()

if __name__ == "__main__":
    torch.multiprocessing.spawn(work, args=(os.path.abspath("place"),), nprocs=2)
"""
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")


def ran(folder: Path, program: str, *launcher: str) -> Run:
    (folder / "train.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *launcher, "train.py"],
        cwd=folder,
        env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, folder)


@pytest.fixture(scope="module")
def below_torchrun(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ran(tmp_path_factory.mktemp("torchrun"), BELOW_TORCHRUN, *TORCHRUN)


@pytest.fixture(scope="module")
def spawned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ran(tmp_path_factory.mktemp("spawned"), SPAWNED)


@pytest.mark.parametrize("program", ["below_torchrun", "spawned"])
def test_each_rank_is_delivered_with_its_number(
    program: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(program)
    assert run.code == 0, run.err
    for rank in (0, 1):
        folder = run.folder / "mine" / "ranks" / str(rank)
        assert f"{rank}: delivered {folder}\n" in run.out
        record = read_record(folder)
        assert (record.rank, record.verdict) == (rank, "delivered")
        tables = {path.stem: pl.read_parquet(path) for path in (folder / "tables").iterdir()}
        for name in ("operators", "steps", "communication"):
            assert tables[name]["rank"].unique().to_list() == [rank]
        # Both parameters fit into one bucket: one all-reduce a step.
        rows = tables["communication"].sort("step").select("step", "type").rows()
        assert rows == [(1, "allreduce"), (2, "allreduce"), (3, "allreduce")]
        shapes = tables["operators"].filter(name="aten::addmm")["input_shapes"].to_list()
        assert [shape[1] for shape in shapes] == [[3 + rank, 4]] * 3


def test_their_folder_is_read_as_one_and_compared(below_torchrun: Run) -> None:
    read = run_harness(below_torchrun.folder, "read", "mine")
    assert read.code == 0, read.err
    assert "Ranks: 2 captures" in read.out
    assert "Across ranks" in read.out
    ranks = pl.read_parquet(read.latest / "analyses" / "ranks.parquet")
    assert ranks.select("rank", "collectives").rows() == [(0, 3), (1, 3)]


def test_a_process_that_becomes_a_rank_within_the_block_is_told_so(spawned: Run) -> None:
    """Without a launcher's variables, only the process group says which rank it is."""
    for rank in (0, 1):
        said = f"this is rank {rank} of 2, and it is recorded as rank 0 of 1"
        assert spawned.err.count(said) == 1
        record = read_record(spawned.folder / f"early{rank}")
        assert record.status == "failed"
        assert record.reason.startswith(said)
        assert record.reason.endswith("begin the profile after it")
