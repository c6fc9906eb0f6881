"""Merging runs of the real torch_npu over the emulator: what was lost in one of them is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from msgspec import Struct

from harness.emulator.build import Emulator
from harness.settings.request import COUNTERS
from tests.conftest import TINY_MLP, Run, run_harness
from tests.e2e.test_screen import ONE_SCREEN
from tests.support.terminals import on_terminal

GROUP = COUNTERS[0]
ONE = (
    *("rehearse", "profiler=level1", *TINY_MLP),
    *("profiler.baseline.steps=1", "profiler.schedule.active=2"),
)
LOST = 3


class Lossy(Struct):
    """A sweep, and what came of it after one of its jobs had lost some kernels."""

    sweep: Run
    folder: Path
    whole: pl.DataFrame
    """As it was merged before."""


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator) -> Lossy:  # noqa: ARG001
    home = tmp_path_factory.mktemp("merge")
    sweep = run_harness(home, *ONE, "-m", f"{GROUP}=PipeUtilization,Memory")
    assert sweep.code == 0, sweep.err
    folder = sweep.latest
    whole = pl.read_parquet(folder / "tables" / "kernels_merged.parquet")
    job = folder / f"{GROUP}=Memory"
    shutil.rmtree(job)
    again = run_harness(
        home,
        *ONE,
        f"{GROUP}=Memory",
        f"rehearsal.faults.dropped_kernels={LOST}",
        f"hydra.run.dir='{job}'",
    )
    assert again.code in {0, 3}, again.err
    return Lossy(sweep, folder, whole)


def test_aligned_lists_exactly_the_kernels_that_one_run_lost(lossy: Lossy) -> None:
    run = run_harness(lossy.folder, "merge", str(lossy.folder))
    assert run.code == 0, run.err
    unmatched = pl.read_parquet(lossy.folder / "tables" / "unmatched.parquet")
    assert unmatched["missing_in"].to_list() == [["Memory"]] * LOST
    assert unmatched["found_in"].to_list() == [["PipeUtilization"]] * LOST
    merged = pl.read_parquet(lossy.folder / "tables" / "kernels_merged.parquet")
    same = ["step", "stream", "position", "name", "type", "input_shapes", "output_shapes"]
    assert merged.select(same).equals(lossy.whole.select(same))
    assert merged["runs"].value_counts().sort("runs").rows() == [
        (1, LOST),
        (2, lossy.whole.height - LOST),
    ]
    assert "not in Memory" in run.out
    assert f"Merged: 2 runs, {LOST} unmatched kernels (emulated: invented)" in run.out


def test_strict_refuses_and_leaves_what_there_is(lossy: Lossy) -> None:
    before = (lossy.folder / "merge.json").read_bytes()
    run = run_harness(lossy.folder, "merge", str(lossy.folder), "merge.match=strict")
    assert run.code == 2
    assert "merge.match=strict: PipeUtilization and Memory differ in rank 0, step " in run.err
    assert "fix: merge.match=aligned" in run.err
    assert (lossy.folder / "merge.json").read_bytes() == before


def test_a_sweep_of_counter_groups_is_one_table(lossy: Lossy) -> None:
    assert "Sweep (emulated: invented): 2 of 2 jobs delivered" in lossy.sweep.out
    assert "rehearsal.emulate" not in lossy.sweep.out + lossy.sweep.err


def test_a_sweep_and_a_merge_are_one_screen(lossy: Lossy) -> None:
    assert len(lossy.sweep.out.splitlines()) <= ONE_SCREEN, lossy.sweep.out
    screen = on_terminal(lossy.folder, "merge", ".", "--out", "again")
    assert screen.code == 0, screen.text
    assert len(screen.lines) <= ONE_SCREEN, "\n".join(screen.lines)
    assert screen.lines[-1] == "  full: report.detail=full, or again/merged.md"
    full = on_terminal(lossy.folder, "merge", ".", "--out", "again", "report.detail=full")
    assert "limits: analysis.bound; rules and columns: docs/bottlenecks.md" in full.text
    assert "full:" not in full.text


def test_the_sweep_itself_ended_in_the_merged_table(lossy: Lossy) -> None:
    assert "Merged: 2 runs (emulated: invented)" in lossy.sweep.out
    assert "Bottlenecks: kinds of kernels by device time (emulated: invented)" in lossy.sweep.out
    computing = lossy.whole.filter(pl.col("core").is_in(["AI_CORE", "AI_VECTOR_CORE"]))
    for column in ("aic_mte1_ratio", "aiv_main_mem_read_bw(GB/s)"):
        assert computing[column].null_count() == 0


def test_both_jobs_can_be_named_by_their_folders(lossy: Lossy, tmp_path: Path) -> None:
    jobs = sorted(map(str, lossy.folder.glob(f"{GROUP}=*")))
    assert run_harness(tmp_path, "merge", *jobs).code == 2
    run = run_harness(tmp_path, "merge", *jobs, "--out", "both")
    assert run.code == 0, run.err
    assert (tmp_path / "both" / "tables" / "bottlenecks.parquet").exists()
