"""Data-parallel training of two ranks on emulated NPUs, through the command."""

from __future__ import annotations

import polars as pl
import pytest

from harness.emulator.build import Emulator
from harness.tables.selection import is_hccl
from tests.conftest import Run, read_record, run_harness

TWO = ("execution=torchrun", "execution.nproc=2", "workload=ddp")
SMALL = ("layers=1", "width=16", "batch=1", "sequence=16", "vocabulary=32", "heads=2")
FEW = ("workload.warmup_steps=1", "profiler.baseline.steps=1")
SLOW = ("workload.slow_rank=1", "workload.slow_seconds=1.2")
"""HCCL's watchdog comes round once a second: so it works in the warm-up step, of both ranks."""


@pytest.fixture(scope="module", autouse=True)
def built(emulator: Emulator) -> Emulator:
    """Compile it once, outside of the run."""
    return emulator


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    sizes = (f"workload.{size}" for size in SMALL)
    return run_harness(tmp_path_factory.mktemp("two"), "rehearse", *TWO, *sizes, *FEW, *SLOW)


def test_both_ranks_are_delivered_though_hccls_watchdog_works_beside_them(run: Run) -> None:
    """It destroys the events of collectives that are done; that is no loss of the program's."""
    assert run.code == 0, run.out + run.err
    assert run.record.emulated
    assert [(rank.rank, rank.status, rank.verdict) for rank in run.record.ranks] == [
        (0, "ok", "delivered"),
        (1, "ok", "delivered"),
    ]


def test_both_ranks_have_the_same_collectives_and_kernels_of_hccl(run: Run) -> None:
    collectives, kernels = [], []
    for rank in (0, 1):
        tables = run.latest / "ranks" / str(rank) / "tables"
        communication = pl.read_parquet(tables / "communication.parquet")
        assert communication["rank"].unique().to_list() == [rank]
        assert "allreduce" in communication["type"].to_list()
        collectives.append(communication.group_by("step", "type").len().sort("step", "type").rows())
        rows = pl.read_parquet(tables / "kernels.parquet")
        kernels.append(rows.filter(is_hccl(rows)).height)
        assert kernels[-1] >= communication.height > 0
    assert collectives[0] == collectives[1]
    assert kernels[0] == kernels[1]


def test_the_ranks_are_compared_and_all_of_it_is_marked_as_emulated(run: Run) -> None:
    assert "Across ranks" in run.out
    assert "EMULATED" in run.out
    for rank in (0, 1):
        assert read_record(run.latest / "ranks" / str(rank)).emulated
