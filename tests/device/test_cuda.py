"""What only a machine with an NVIDIA GPU can show: make test ARGS="-m cuda"."""

from __future__ import annotations

import polars as pl
import pytest

from tests.conftest import TINY_MLP, Harness

pytestmark = pytest.mark.cuda


def test_kernels_are_linked_to_steps_and_operators(harness: Harness) -> None:
    run = harness(*TINY_MLP, "device=cuda", "profiler=level1")
    assert run.code == 0, run.err + run.out
    kernels = run.table("kernels").filter(pl.col("type") == "kernel")
    assert set(kernels["step"].drop_nulls()) == {1, 2, 3}
    per_step = kernels.group_by("step").len()["len"]
    assert per_step.n_unique() == 1, "equal steps launch equally many kernels"
    linked = kernels.join(run.table("operators"), left_on="operator", right_on="id", how="inner")
    assert linked.height == kernels.height
    assert kernels["input_shapes"].is_not_null().all()
    launched = run.table("kernels").filter(pl.col("operator").is_not_null())
    assert run.table("operators")["device_ns"].sum() == launched["duration_ns"].sum()


def test_everything_that_level2_asks_for_arrives(harness: Harness) -> None:
    run = harness(*TINY_MLP, "device=cuda", "profiler=level2")
    assert run.code == 0, run.err + run.out
    assert all(item.status == "delivered" for item in run.record.delivery[:5])
    assert set(run.table("memory")["device"]) >= {"cuda:0"}


def test_kernels_alone_are_placed_in_steps(harness: Harness) -> None:
    run = harness(*TINY_MLP, "device=cuda", "profiler=level0", "profiler.activities=[device]")
    assert run.code == 0, run.err + run.out
    assert set(run.table("kernels")["step"].drop_nulls()) == {1, 2, 3}


def test_device_that_is_not_there_is_exit_4(harness: Harness) -> None:
    run = harness(*TINY_MLP, "device=cuda", "device.index=99")
    assert run.code == 4
    assert "device.index=99" in run.out
