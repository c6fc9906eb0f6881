"""Which function of a program takes the time, through the command."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.conftest import Harness

FEW = ("workload.warmup_steps=1", "profiler.baseline.steps=1")
SLOW = """
import harness, torch
from torch import nn

def slow(layer, batch):
    for _ in range(20):
        batch = layer(batch)

def quick(batch):
    return torch.relu(batch)

layer = nn.Linear(512, 512)
for step in range(7):
    slow(layer, quick(torch.ones(64, 512)))
    harness.step()
"""


def test_the_function_that_takes_the_time_is_named(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    run = harness("profiler=stacks", "profiler.with_lines=false", *FEW, "--", "slow.py")
    assert run.code == 0, run.err
    table = pl.read_parquet(run.latest / "analyses" / "functions.parquet")
    assert table["function"][0] == "slow.py(5): slow"
    assert table["share"][0] > 0.5
    assert "slow.py(9): quick" in table["function"].to_list()
    assert "Functions outside torch" in run.out


def test_where_lines_are_known_they_are_shown_in_place_of_functions(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    run = harness("profiler=stacks", *FEW, "--", "slow.py")
    assert run.code == 0, run.err
    lines = pl.read_parquet(run.latest / "analyses" / "wall_time_lines.parquet")
    assert lines.row(0, named=True)["text"] == "batch = layer(batch)"
    assert "Lines of your code by wall time" in run.out
    assert "Functions outside torch" not in run.out
