"""Sweeps: all jobs are judged before the first, one that dies leaves the others whole."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from subprocess import PIPE

import msgspec
import polars as pl

from harness.capture.sweep_record import SweepRecord
from harness.doctor.machine import Machine
from tests.conftest import (
    LIMIT_S,
    TINY_MATMUL,
    TINY_MLP,
    Harness,
    Run,
    command,
    environment,
    read_record,
)


def jobs_of(run: Run) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in run.latest.glob("*/run.json")}


def sweep_of(run: Run) -> SweepRecord:
    return msgspec.json.decode((run.latest / "sweep.json").read_bytes(), type=SweepRecord)


def test_three_profiles_are_three_jobs_and_a_table(harness: Harness) -> None:
    run = harness("-m", "profiler=level0,level1,level2", *TINY_MATMUL)
    assert run.code == 0, run.err
    jobs = jobs_of(run)
    assert set(jobs) == {"profiler=level0", "profiler=level1", "profiler=level2"}
    assert read_record(jobs["profiler=level0"]).requested["profiler.record_shapes"] is False
    assert read_record(jobs["profiler=level2"]).requested["profiler.with_stack"] is True
    assert "3 of 3 jobs delivered" in run.out
    assert "job 2 of 3" in run.err
    for folder in jobs.values():
        hydra = (folder / ".hydra" / "hydra.yaml").read_text(encoding="utf-8")
        assert "_target_: harness.cli.hydra_callback.ForgetConfigs" in hydra


def test_one_wrong_job_refuses_all_before_the_first(harness: Harness) -> None:
    run = harness("-m", "workload.dtype=float32,bfloat16,float64,float99", *TINY_MATMUL)
    assert run.code == 2
    assert "workload.dtype=float99" in run.err
    assert "in 1 of 4 jobs" in run.err
    assert not (run.folder / "outputs").exists()


def test_crash_in_one_job_leaves_the_others(harness: Harness, user_module: str) -> None:
    run = harness(
        "-m",
        "workload=callable",
        f"workload.target={user_module}:crashes_if_asked",
        "+workload.kwargs.crash=false,true,0",
    )
    assert run.code == 1
    assert "2 of 3 jobs delivered" in run.out
    table = run.out[run.out.index("2 of 3 jobs") :]
    (dead,) = [line for line in table.splitlines() if "SIGSEGV" in line]
    assert "crash=True: the child process died of SIGSEGV" in dead
    codes = sorted(read_record(path).exit_code or 0 for path in jobs_of(run).values())
    assert codes == [0, 0, 1]


def test_same_command_keeps_what_is_done_and_runs_the_rest(
    harness: Harness, user_module: str
) -> None:
    words = (
        "-m",
        "workload=callable",
        f"workload.target={user_module}:raises",
        "workload.kwargs.at=9,1000",
    )
    first = harness(*words)
    folder = first.latest
    assert first.code == 1
    again = harness(*words)
    assert again.latest == folder
    assert again.err.count("kept from before") == 1
    over = harness(*words, "sweep.resume=false")
    assert over.latest == folder
    assert "kept from before" not in over.err


def test_job_whose_request_changed_is_run_again(harness: Harness, tmp_path: Path) -> None:
    profile = tmp_path / "mine" / "profiler" / "mine.yaml"
    experimental = tmp_path / "mine" / "profiler" / "experimental" / "cpu" / "mine.yaml"
    experimental.parent.mkdir(parents=True)
    experimental.write_text("defaults: ['cpu/_base@_here_', _self_]\n", encoding="utf-8")
    text = "defaults: [default, _self_]\nschedule:\n  active: "
    words = ("-m", "--config-dir", "mine", "profiler=mine,level0", *TINY_MATMUL)
    profile.write_text(text + "1\n", encoding="utf-8")
    folder = harness(*words).latest
    profile.write_text(text + "2\n", encoding="utf-8")
    again = harness(*words)
    assert again.latest == folder
    assert again.err.count("kept from before") == 1, "of level0, which stayed the same"
    changed = read_record(folder / "profiler=mine")
    assert changed.requested["profiler.schedule.active"] == 2
    assert changed.recorded_steps == 2


def test_job_of_another_version_is_run_again_with_a_note(harness: Harness) -> None:
    words = ("-m", "seed=1,2", *TINY_MATMUL)
    folder = harness(*words).latest
    path = folder / "seed=1" / "run.json"
    text = path.read_text(encoding="utf-8")
    older = text.replace('"schema_version": 3', '"schema_version": 2')
    assert older != text
    path.write_text(older, encoding="utf-8")
    again = harness(*words)
    assert again.code == 0, again.err
    assert again.err.count("kept from before") == 1
    note = "seed=1/run.json: its schema_version is 2, and this harness reads 3 only; run again"
    assert note in again.err.replace("\n", "")
    assert read_record(folder / "seed=1").schema_version == 3


def test_job_that_is_run_again_has_nothing_left_of_its_first_run(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "first_raises.py").write_text(
        "import os, pathlib, signal\n"
        "def factory(device, dtype, seed):\n"
        "    if pathlib.Path('second').exists():\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    raise ValueError('first')\n",
        encoding="utf-8",
    )
    words = ("-m", "workload=callable", "workload.target=first_raises:factory", "seed=1,2")
    folder = harness(*words).latest
    assert "ValueError: first" in read_record(folder / "seed=1").reason
    (tmp_path / "second").touch()
    assert harness(*words).code == 1
    assert "SIGKILL" in read_record(folder / "seed=1").reason


def test_worst_code_of_all_jobs_is_the_sweeps(harness: Harness) -> None:
    run = harness("-m", "device=cpu,cuda", *TINY_MATMUL)
    assert run.code == 4
    assert "1 of 2 jobs delivered" in run.out


def test_sweep_written_in_a_config_is_a_sweep_without_the_flag(
    harness: Harness, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "seeds.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2\n",
        encoding="utf-8",
    )
    run = harness("--config-dir", "mine", "experiment=seeds", *TINY_MATMUL)
    assert run.code == 0, run.err
    assert {read_record(path).requested["seed"] for path in jobs_of(run).values()} == {1, 2}


def test_hang_in_one_job_costs_its_time_and_leaves_the_others(
    harness: Harness, user_module: str
) -> None:
    run = harness(
        "-m",
        "workload=callable",
        f"workload.target={user_module}:hangs",
        "workload.kwargs.at=9,1000",
        "execution.timeout_s=20",
        "execution.grace_s=0",
    )
    assert run.code == 1
    hung, fine = sweep_of(run).jobs
    assert (hung.exit_code, fine.exit_code) == (1, 0)
    assert hung.reason == "ran past execution.timeout_s=20"
    assert "at=9: ran past execution.timeout_s=20" in run.out


WAITS = """
import pathlib, time
import torch
def factory(device, dtype, seed):
    if seed == 2 and not pathlib.Path("go").exists():
        pathlib.Path("waiting").touch()
        time.sleep(100)
    return lambda: torch.ones(2) + 1
"""


def test_sweep_whose_harness_was_killed_goes_on_where_it_was(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "waits.py").write_text(WAITS, encoding="utf-8")
    words = ("-m", "workload=callable", "workload.target=waits:factory", "seed=1,2,3")
    process = subprocess.Popen(command(*words), cwd=tmp_path, env=environment(), stderr=PIPE)
    until = time.monotonic() + LIMIT_S
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    left = msgspec.json.decode((folder / "sweep.json").read_bytes(), type=SweepRecord)
    assert left.swept == ("seed",)
    assert [(job.folder, job.values, job.exit_code) for job in left.jobs] == [
        (f"seed={seed}", {"seed": str(seed)}, None) for seed in (1, 2, 3)
    ]
    assert {path.parent.name for path in folder.glob("*/run.json")} == {"seed=1", "seed=2"}
    assert read_record(folder / "seed=2").status == "running"
    (tmp_path / "go").touch()
    again = harness(*words)
    assert again.code == 0, again.err
    assert again.latest == folder.resolve()
    assert again.err.count("kept from before") == 1
    assert "job 2 of 3" in again.err
    assert "1 kept" in again.err
    assert [job.exit_code for job in sweep_of(again).jobs] == [0, 0, 0]


def test_a_sweeps_table_has_what_is_swept_and_what_it_costs(harness: Harness) -> None:
    words = ("workload=attention", "workload.sequence=8", "workload.batch=4,8")
    run = harness("-m", *words, "profiler=level0,level2")
    assert run.code == 0, run.err
    table = pl.read_parquet(run.latest / "tables" / "sweep.parquet")
    assert table.columns == [
        *("workload.batch", "profiler", "folder", "exit_code", "verdict", "reason"),
        *("unprofiled_step_ns", "profiled_step_ns", "overhead", "device_ns"),
        *("unprofiled_spread", "samples_per_s", "memory_peak"),
    ]
    assert table.select("workload.batch", "profiler").rows() == [
        *(("4", "level0"), ("4", "level2")),
        *(("8", "level0"), ("8", "level2")),
    ]
    for row in table.iter_rows(named=True):
        record = read_record(run.latest / row["folder"])
        assert row["unprofiled_step_ns"] == record.timing["baseline"].median_ns
        assert row["profiled_step_ns"] == record.timing["active"].median_ns
        assert row["overhead"] == row["profiled_step_ns"] / row["unprofiled_step_ns"]
        assert (row["exit_code"], row["verdict"], row["reason"]) == (0, "delivered", None)
        assert row["device_ns"] is None, "there is no device beside the host"
        assert row["unprofiled_spread"] == record.timing["baseline"].spread
        batch = int(row["workload.batch"])
        assert row["samples_per_s"] == batch * 1e9 / row["unprofiled_step_ns"]
        assert (row["memory_peak"] is None) == (row["profiler"] == "level0")
    summary = (run.latest / "summary.md").read_text(encoding="utf-8")
    head = "| batch | profiler | exit | unprofiled step | spread | samples/s | profiled step |"
    assert f"{head} overhead | memory |" in summary
    assert "best by samples per second: batch=" in summary


def test_perf_events_that_the_machine_has_are_columns_and_the_others_named(
    harness: Harness,
) -> None:
    run = harness("+sweep=performance_events", *TINY_MLP)
    setting = "profiler.experimental.performance_events"
    codes = []
    for job in sweep_of(run).jobs:
        events = job.values[setting].strip("[]").split(",")
        refused = [event for event in events if Machine().count(event)]
        codes.append(4 if refused else 0)
        assert job.exit_code == codes[-1], job.reason
        assert all(event in job.reason for event in refused)
        if not refused:
            operators = pl.read_parquet(run.latest / job.folder / "tables" / "operators.parquet")
            assert operators.select(pl.col(events).null_count()).row(0) == (0,) * len(events)
            # Of so small a workload there may be none to count.
            assert operators.select(pl.col(events).min() >= 0).row(0) == (True,) * len(events)
    assert run.code == max(codes)


def test_a_second_harness_is_kept_out_of_a_sweep_that_runs(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "waits.py").write_text(WAITS, encoding="utf-8")
    words = ("-m", "workload=callable", "workload.target=waits:factory", "seed=2,1")
    with subprocess.Popen(command(*words), cwd=tmp_path, env=environment(), stderr=PIPE) as first:
        until = time.monotonic() + LIMIT_S
        while not (tmp_path / "waiting").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        (sweep,) = (tmp_path / "outputs" / "sweeps").glob("*/sweep.json")
        before = sweep.read_bytes()
        second = harness(*words)
        assert second.code == 2
        assert "another harness is running this sweep" in second.err
        assert sweep.read_bytes() == before
        first.kill()
    # The lock has ended with its process.
    (tmp_path / "go").touch()
    assert harness(*words).code == 0


def test_a_folder_that_cannot_be_written_is_refused(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words in (
        ("hydra.run.dir=file",),
        ("hydra.run.dir=file/one",),
        ("-m", "seed=1,2", "hydra.sweep.dir=file"),
    ):
        run = harness(*TINY_MATMUL, *words)
        assert run.code == 2, run.err
        assert "results cannot be written there" in run.err


def test_what_stops_every_job_is_said_once_before_the_first(harness: Harness) -> None:
    metrics = "profiler.experimental.aic_metrics=PipeUtilization,Memory,L2Cache"
    run = harness("-m", "device=npu", "profiler=level1", metrics)
    assert (run.code, run.out) == (4, "")
    assert run.err.count("device=npu cannot run on this machine") == 1
    assert len(run.err.splitlines()) < 15
    assert list(run.folder.iterdir()) == []
