"""Where the wall time of real programs goes: which line, which part, all of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.conftest import CXX, Harness, Run, run_harness

PROGRAM = """\
import time
import torch
from torch.utils.data import DataLoader, Dataset

class Numbers(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        time.sleep({loading})
        return torch.full((4,), float(index))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.last = torch.nn.Linear(4, 1)

    def forward(self, x):
        hidden = self.first(x)
        time.sleep({forward})
        return self.last(hidden)

class Optimizer(torch.optim.SGD):
    def step(self, closure=None):
        time.sleep({optimizer})
        return super().step(closure)

net = Net()
optimizer = Optimizer(net.parameters(), lr=0.1)
for _ in range(2):
    for batch in DataLoader(Numbers(), batch_size=4):
        loss = net(batch).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
"""
FEW = ("workload.warmup_steps=1", "profiler.baseline.steps=1")


def lines_of(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "analyses" / "wall_time_lines.parquet")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("slow")
    (folder / "train.py").write_text(PROGRAM.format(loading=0.01, forward=0.03, optimizer=0.05))
    run = run_harness(folder, "profiler=stacks", *FEW, "--", "train.py")
    assert run.code == 0, run.out + run.err
    return run


@pytest.mark.parametrize(
    ("stage", "text", "least"),
    [
        ("data loading", "time.sleep(0.01)", 0.12),
        ("forward", "time.sleep(0.03)", 0.09),
        ("optimizer", "time.sleep(0.05)", 0.15),
    ],
)
def test_a_slow_line_is_the_first_of_its_stage(
    slow: Run, stage: str, text: str, least: float
) -> None:
    first = lines_of(slow.latest).filter(pl.col("stage") == stage).row(0, named=True)
    assert (first["file"], first["text"]) == ("train.py", text)
    assert first["duration_ns"] >= least * 1e9  # of three steps


def test_all_tables_add_up_to_the_recorded_steps(slow: Run) -> None:
    steps = pl.read_parquet(slow.latest / "tables" / "steps.parquet")
    whole = steps.filter(pl.col("phase") == "active")["duration_ns"].sum()
    for name in ("wall_time", "wall_time_operators", "wall_time_modules", "wall_time_lines"):
        table = pl.read_parquet(slow.latest / "analyses" / f"{name}.parquet")
        assert table["duration_ns"].sum() == whole, name


def test_little_is_attributed_to_no_line(slow: Run) -> None:
    lost = lines_of(slow.latest).filter(pl.col("file").is_null())
    assert lost["share"].sum() < 0.05


def test_the_module_that_sleeps_is_named(slow: Run) -> None:
    modules = pl.read_parquet(slow.latest / "analyses" / "wall_time_modules.parquet")
    of_net = modules.filter(pl.col("module") == "Net_0")["python_ns"].sum()
    assert of_net >= 0.09e9


@pytest.mark.parametrize("workload", ["mlp", "attention", "conv", "matmul", "transformer"])
def test_little_of_the_shipped_workloads_is_attributed_to_nothing(
    harness: Harness, workload: str
) -> None:
    run = harness("profiler=stacks", f"workload={workload}", *FEW)
    assert run.code == 0, run.out + run.err
    lines = lines_of(run.latest)
    assert lines.filter(pl.col("file").is_null())["share"].sum() < 0.05
    assert set(lines["file"].drop_nulls().str.starts_with("harness/workloads/")) == {True}


def test_a_debugger_in_the_program_costs_the_lines_and_is_named(
    harness: Harness, tmp_path: Path
) -> None:
    traced = "import sys\nsys.settrace(lambda *_: None)\n" + PROGRAM.format(
        loading=0, forward=0, optimizer=0
    )
    (tmp_path / "train.py").write_text(traced)
    run = harness("profiler=stacks", *FEW, "--", "train.py")
    assert run.code == 3, run.out + run.err
    assert "another tracer was active" in " ".join((run.out + run.err).split())
    assert "NOT everything requested was delivered" in run.out


@pytest.mark.skipif(CXX is None, reason="torch.compile builds C++ on a CPU")
def test_what_was_compiled_is_told(harness: Harness) -> None:
    run = harness("workload=mlp", "workload.compile=true", *FEW)
    assert run.code == 0, run.out + run.err
    assert run.record.compilation is not None
    assert run.record.compilation.compilations >= 1
    assert run.record.compilation.seconds > 0
