"""Rehearsals whose numbers are exact: the domains of marks, the times of steps in two files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.conftest import TINY_MLP, run_harness
from tests.npu.rehearsing import undelivered

MARKING = """
import torch


def factory(device, dtype, seed):
    data = torch.ones(8, 8, device=device)
    mstx = torch.npu.mstx

    def step():
        mstx.mark("a mark", domain="other")
        entered = mstx.range_start("a range", domain="other")
        data.relu()
        mstx.range_end(entered, domain="other")
        mstx.mark("in no domain")

    return step
"""


@pytest.mark.parametrize(
    ("words", "domains"),
    [
        ((), "12 marks and ranges (default 6, other 6)"),
        (("profiler.experimental.mstx_domain_include=[other]",), "6 marks and ranges (other 6)"),
        (("profiler.experimental.mstx_domain_exclude=[other]",), "6 marks and ranges (default 6)"),
    ],
    ids=["all", "include", "exclude"],
)
def test_marks_keep_their_domains(tmp_path: Path, words: tuple[str, ...], domains: str) -> None:
    (tmp_path / "marking.py").write_text(MARKING, encoding="utf-8")
    workload = ("workload=callable", "workload.target=marking:factory")
    run = run_harness(tmp_path, "rehearse", "profiler=markers", *workload, *words)
    assert run.code == 0, run.out + run.err
    (marks,) = (
        item for item in run.record.delivery if item.setting == "profiler.experimental.mstx"
    )
    assert (marks.status, marks.arrived) == ("delivered", domains)
    assert undelivered(run.record) == {}


def test_steps_of_the_database_are_broken_down_as_torch_npu_does(tmp_path: Path) -> None:
    """Its analysis.db, the table steps and step_breakdown: equal to the nanosecond."""
    run = run_harness(
        *(tmp_path, "rehearse", "profiler=level1", *TINY_MLP),
        "profiler.experimental.export_type=[Db]",
    )
    assert run.code == 0, run.out + run.err
    (check,) = (c for c in run.record.consistency if c.name == "step times in analysis.db")
    assert (check.status, check.actual, check.difference) == ("holds", "12 equal", 0)
    columns = ("step", "compute_ns", "overlapped_ns", "idle_ns")
    steps = run.table("steps").filter(pl.col("phase") == "active").select(columns)
    table = pl.read_parquet(run.latest / "analyses" / "step_breakdown.parquet").select(columns)
    assert table.rows() == steps.rows()
