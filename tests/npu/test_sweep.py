"""A sweep over the groups of AI-core counters: a run for each, and none that another one costs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import polars as pl
import pytest

from harness.capture.sweep_record import SweepRecord
from harness.emulator.build import Emulator
from harness.settings.request import COUNTERS
from tests.conftest import TINY_MLP, Run, ended, read_record, started

LIMIT_S = 900
AIC_METRICS = COUNTERS[0]
GROUPS = (
    *("ArithmeticUtilization", "PipeUtilization", "Memory", "MemoryL0", "MemoryUB"),
    *("ResourceConflictRatio", "L2Cache", "MemoryAccess"),
)
SHORT = (*TINY_MLP, "profiler.baseline.steps=1", "profiler.schedule.active=1")
ALL = ("rehearse", "profiler=level1", "+sweep=aic_metrics", *SHORT)
VICTIM = "MemoryUB"


@pytest.fixture(scope="module", autouse=True)
def built(emulator: Emulator) -> Emulator:
    """Compile it once, outside of the runs."""
    return emulator


def sweep_of(run: Run) -> SweepRecord:
    return msgspec.json.decode((run.latest / "sweep.json").read_bytes(), type=SweepRecord)


def child_at_work(parent: int, on: str) -> int | None:
    """The process that the harness has started for the job in a folder whose name ends so."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status, words = (path / "stat").read_text(), (path / "cmdline").read_text()
        except OSError:
            continue
        own = int(status.rpartition(")")[2].split()[1]) == parent
        if own and "\0execute\0" in words and f"{on}/plan.json" in words:
            return int(path.name)
    return None


def killed_half_way(folder: Path) -> Run:
    process = started(folder, *ALL)
    until = time.monotonic() + LIMIT_S
    while (child := child_at_work(process.pid, f"={VICTIM}")) is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.2)
    os.kill(child, signal.SIGKILL)
    return ended(process, folder, LIMIT_S)


class Both(msgspec.Struct):
    """The sweep of which one job was killed, and the same command again."""

    first: Run
    first_sweep: SweepRecord
    started_ns: dict[str, int]
    """When each job's run of the first sweep was recorded, by its group."""
    again: Run


def recorded(run: Run) -> dict[str, int]:
    return {
        path.parent.name.partition("=")[2]: path.stat().st_mtime_ns
        for path in run.latest.glob("*/run.json")
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("groups")
    first = killed_half_way(folder)
    sweep, at = sweep_of(first), recorded(first)
    return Both(first, sweep, at, ended(started(folder, *ALL), folder, LIMIT_S))


def test_a_job_that_is_killed_costs_itself_alone(both: Both) -> None:
    assert both.first.code == 1, both.first.err
    codes = {job.values[AIC_METRICS]: job.exit_code for job in both.first_sweep.jobs}
    assert codes == dict.fromkeys(GROUPS, 0) | {VICTIM: 1}
    assert "Sweep (emulated: invented): 7 of 8 jobs delivered" in both.first.out
    (dead,) = [job for job in both.first_sweep.jobs if job.exit_code]
    assert "SIGKILL" in dead.reason
    assert f"aic_metrics={VICTIM}: the child process died of SIGKILL" in both.first.out
    assert "the same command again runs 1 job" in both.first.out


def test_the_same_command_again_runs_the_killed_job_alone(both: Both) -> None:
    assert both.again.code == 0, both.again.err
    assert both.again.latest == both.first.latest
    assert "Sweep (emulated: invented): 8 of 8 jobs delivered" in both.again.out
    assert both.again.err.count("kept from before") == 7
    now = recorded(both.again)
    assert {group for group in GROUPS if now[group] != both.started_ns[group]} == {VICTIM}
    assert [job.exit_code for job in sweep_of(both.again).jobs] == [0] * 8


def test_jobs_differ_in_what_is_swept_and_in_nothing_else(both: Both) -> None:
    asked = []
    for job in sweep_of(both.again).jobs:
        record = read_record(both.again.latest / job.folder)
        assert record.emulated
        assert record.requested.pop(AIC_METRICS) == job.values[AIC_METRICS]
        assert record.effective.pop(AIC_METRICS) == job.values[AIC_METRICS]
        asked.append((record.requested, record.effective))
    assert asked == [asked[0]] * 8
    assert asked[0][0]["seed"] == 0
    kernels = [
        pl.read_parquet(both.again.latest / job.folder / "tables" / "kernels.parquet")
        .sort("start_ns")
        .select("name", "type", "input_shapes", "input_dtypes", "output_shapes")
        for job in sweep_of(both.again).jobs
    ]
    assert kernels[0].height > 0
    assert all(each.equals(kernels[0]) for each in kernels[1:])


def test_the_table_is_kept_and_says_what_each_job_cost(both: Both) -> None:
    table = pl.read_parquet(both.again.latest / "tables" / "sweep.parquet")
    assert table[AIC_METRICS].to_list() == list(GROUPS)
    assert table["verdict"].to_list() == ["delivered"] * 8
    assert (
        table.select(pl.col("unprofiled_step_ns", "profiled_step_ns", "device_ns") > 0).min().row(0)
    )
    summary = (both.again.latest / "summary.md").read_text()
    assert "| aic_metrics | exit | unprofiled step |" in summary
    assert summary.count("delivered (kept) |") == 7


def test_a_group_that_cann_lacks_is_a_named_job_and_the_rest_go_on(tmp_path: Path) -> None:
    run = ended(
        started(
            tmp_path,
            *ALL,
            f"{AIC_METRICS}=MemoryAccess,Memory",
            "rehearsal.faults.missing_features=[MemoryAccess]",
        ),
        tmp_path,
        LIMIT_S,
    )
    assert run.code == 3, run.err
    lacking, there = sweep_of(run).jobs
    assert (lacking.exit_code, there.exit_code) == (3, 0)
    assert lacking.reason.startswith("aic_metrics substituted, arrived: PipeUtilization")
    assert "1 of 2 jobs delivered" in run.out


def test_groups_that_run_beside_each_other_are_merged(tmp_path: Path) -> None:
    groups = f"{AIC_METRICS}=Memory,L2Cache"
    run = ended(started(tmp_path, *ALL, groups, "hydra/launcher=joblib"), tmp_path, LIMIT_S)
    assert run.code == 0, run.err
    assert "2 of 2 jobs delivered" in run.out
    assert "Merged: 2 runs (emulated: invented)" in run.out
    merged = pl.read_parquet(run.latest / "tables" / "kernels_merged.parquet")
    assert merged["runs"].unique().to_list() == [2]


SIGNATURES = {
    "ArithmeticUtilization": ("aic_mac_fp16_ratio", "aiv_vec_fp32_ratio"),
    "PipeUtilization": ("aic_mte1_ratio", "aiv_vec_ratio"),
    "Memory": ("aic_main_mem_read_bw(GB/s)", "aiv_main_mem_read_bw(GB/s)"),
    "MemoryL0": ("aic_l0a_read_bw(GB/s)", "aiv_l0c_read_bw(GB/s)"),
    "MemoryUB": ("aic_ub_read_bw_scalar(GB/s)", "aiv_ub_read_bw_vector(GB/s)"),
    "ResourceConflictRatio": ("aiv_vec_bank_cflt_ratio",),
    "L2Cache": ("aic_write_cache_hit", "aiv_write_cache_hit"),
    "MemoryAccess": ("aic_read_main_memory_datas(KB)", "aiv_read_main_memory_datas(KB)"),
}


def test_the_eight_runs_become_one_table_with_every_groups_columns(both: Both) -> None:
    tables = both.again.latest / "tables"
    merged = pl.read_parquet(tables / "kernels_merged.parquet")
    assert merged["runs"].unique().to_list() == [8]
    assert not merged["ambiguous"].any()
    computing = merged.filter(pl.col("core").is_in(["AI_CORE", "AI_VECTOR_CORE"]))
    assert computing.height > 0
    for group, columns in SIGNATURES.items():
        for column in columns:
            assert computing[column].null_count() == 0, (group, column)
        assert computing[f"duration_ns@{group}"].min() > 0  # type: ignore[operator]
    kinds = pl.read_parquet(tables / "bottlenecks.parquet")
    assert kinds["count"].sum() == merged.height
    for title in ("Merged: 8 runs", "Bottlenecks: kinds of", "What bounds them, and what to do"):
        (line,) = [line for line in both.again.out.splitlines() if line.startswith(title)]
        assert line.endswith("(emulated: invented)")


def test_of_a_sweep_with_a_dead_job_the_others_are_merged_before(both: Both) -> None:
    assert "Merged: 7 runs, 1 left out (emulated: invented)" in both.first.out
    assert f"left out: {AIC_METRICS}={VICTIM}: the child process died of SIGKILL" in both.first.out


def test_a_run_that_the_merge_leaves_out_is_said_by_the_exit_code(both: Both) -> None:
    job = next(each for each in sweep_of(both.again).jobs if each.values[AIC_METRICS] == VICTIM)
    kernels = both.again.latest / job.folder / "tables" / "kernels.parquet"
    whole = kernels.read_bytes()
    kernels.write_bytes(whole[:100])
    run = ended(started(both.again.folder, *ALL), both.again.folder, LIMIT_S)
    kernels.write_bytes(whole)
    assert run.err.count("kept from before") == 8
    assert "Merged: 7 runs, 1 left out (emulated: invented)" in run.out
    assert f"left out: {job.folder}: kernels.parquet: this table cannot be read" in run.out
    assert run.code == 3
