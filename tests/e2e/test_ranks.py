"""Several ranks are one run: started by us, or by a launcher around us."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import LIMIT_S, Harness, Run, command, ended, environment, started

TWO = ("execution=torchrun", "execution.nproc=2")
FEW = ("workload.warmup_steps=1", "profiler.baseline.steps=1")
DDP = ("workload=ddp", "workload.layers=1", "workload.width=16", "workload.batch=1")
SMALL = (*DDP, "workload.sequence=16", "workload.vocabulary=32", "workload.heads=2")
PROGRAM = """
import os, signal, sys, time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(7):
    if step == 5 and rank == 1 and sys.argv[1:] == ["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if step == 5 and rank == 1 and sys.argv[1:] == ["waits"]:
        print("waits", flush=True)
        time.sleep(600)
    optimizer.zero_grad()
    model(torch.ones(3 + rank, 4)).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""
SLOW_NS = 400_000_000
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2"}
"""What srun sets in each of two tasks, beside the numbers of the step and of the task."""


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "train.py").write_text(PROGRAM)
    return "train.py"


def table(run: Run, rank: int, name: str) -> pl.DataFrame:
    return pl.read_parquet(run.latest / "ranks" / str(rank) / "tables" / f"{name}.parquet")


def assert_true_ranks(run: Run) -> None:
    for rank in (0, 1):
        for name in ("operators", "steps"):
            assert table(run, rank, name)["rank"].unique().to_list() == [rank]


def in_slurm(folder: Path, step: int, task: int, *words: str) -> subprocess.Popen[str]:
    """Start a task as srun does."""
    variables = {"SLURM_STEP_ID": step, "SLURM_PROCID": task, "SLURM_LOCALID": task}
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment() | SLURM | {name: str(value) for name, value in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ranks_are_started_and_one_slow_rank_is_slow_on_purpose(harness: Harness) -> None:
    slow = ("workload.slow_rank=1", f"workload.slow_seconds={SLOW_NS / 1e9}")
    run = harness(*TWO, *SMALL, *FEW, *slow)
    assert run.code == 0, run.err + run.out
    assert [(rank.rank, rank.status, rank.verdict) for rank in run.record.ranks] == [
        (0, "ok", "delivered"),
        (1, "ok", "delivered"),
    ]
    assert_true_ranks(run)
    assert "2 rank(s): ddp on cpu" in run.out
    reduced = [
        table(run, rank, "operators").filter(name="c10d::allreduce_").height for rank in (0, 1)
    ]
    # The parameters fit into one bucket: one all-reduce a step.
    assert reduced == [3, 3]
    for rank in (0, 1):
        # The fast one waits for the slow one within its backward: the steps are as long, but for
        # how much later it began.
        steps = table(run, rank, "steps").filter(phase="active")
        assert min(steps["duration_ns"].to_list()) > SLOW_NS / 2
    forward = "DistributedDataParallel.forward"
    times = [table(run, rank, "operators").filter(name=forward)["duration_ns"] for rank in (0, 1)]
    assert min(times[0].to_list()) < SLOW_NS < min(times[1].to_list())


def test_a_program_runs_on_both_ranks_and_one_of_them_records(
    harness: Harness, program: str
) -> None:
    run = harness(*TWO, *FEW, "profiler.ranks=[1]", "--", program)
    assert run.code == 0, run.err
    silent, recording = run.record.ranks
    assert (silent.records, silent.status, silent.step) == (False, "ok", None)
    assert recording.records
    assert table(run, 0, "operators").is_empty()
    steps = table(run, 0, "steps").filter(phase="unrecorded")
    assert steps["step"].to_list() == [0, 1, 2, 3]
    shapes = table(run, 1, "operators").filter(name="aten::addmm")["input_shapes"].to_list()
    assert [shape[:3] for shape in shapes] == [[[2], [4, 4], [4, 2]]] * 3
    assert not list((run.latest / "ranks" / "0" / "raw").iterdir())


def test_a_rank_that_is_killed_ends_the_job_and_the_others_are_kept(
    harness: Harness, program: str
) -> None:
    run = harness(*TWO, *FEW, "--", program, "dies")
    assert run.code == 1
    assert run.record.reason.startswith("rank 1: the child process died of SIGKILL")
    assert [rank.status for rank in run.record.ranks] == ["failed", "failed"]
    assert run.record.ranks[0].reason.startswith("stopped, since rank 1 has ended the job")
    first = table(run, 0, "operators").filter(name="c10d::allreduce_")
    assert first["step"].to_list()[0] == 1  # the first recorded step, and the one that was cut
    assert "harness/execution" not in run.err  # no traceback of ours
    again = harness("read", "outputs/latest")
    assert again.code == 1
    assert again.record.reason == run.record.reason
    assert table(again, 0, "operators").height == table(run, 0, "operators").height > 0


def test_ranks_are_interrupted_together_and_what_they_recorded_is_read(
    tmp_path: Path, program: str
) -> None:
    process = started(tmp_path, *TWO, *FEW, "execution.stall_notice_s=2", "--", program, "waits")
    assert process.stdout is not None
    assert process.stderr is not None
    while "waits" not in process.stdout.readline():
        pass
    # Before that, it is said live which rank waits, and which one is waited for.
    lines: list[str] = []
    while sum('train.py", line' in line for line in lines) < 2:
        lines.append(process.stderr.readline())
    os.killpg(process.pid, signal.SIGINT)
    run = ended(process, tmp_path)
    assert run.code == 130
    for rank in (0, 1):
        (notice,) = [line for line in lines if f"rank {rank} has ended no step since" in line]
        assert "4 before; all ranks are in the same step" in notice
        assert "execution.timeout_s=SECONDS" in notice
    source = PROGRAM.splitlines()
    shown = {"[rank1]" in line: re.search(r'train.py", line (\d+)', line) for line in lines}
    where = {rank: source[int(found[1]) - 1] for rank, found in shown.items() if found}
    assert "backward()" in where[False]
    assert "time.sleep(600)" in where[True]
    assert run.record.status == "interrupted"
    assert all(table(run, rank, "operators").height for rank in (0, 1))
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


def test_below_torchrun_all_ranks_write_one_run(tmp_path: Path, program: str) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    done = subprocess.run(
        [*launcher, "-m", "harness", *FEW, "--", program],
        cwd=tmp_path,
        env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = Run(done.returncode, done.stdout, done.stderr, tmp_path)
    assert [path.parent for path in tmp_path.glob("outputs/*/*/run.json")] == [run.latest]
    assert [rank.verdict for rank in run.record.ranks] == ["delivered", "delivered"]
    assert_true_ranks(run)
    assert done.stdout.count("everything requested was delivered") == 1


def test_two_launches_at_once_do_not_meet_and_other_settings_are_refused(tmp_path: Path) -> None:
    tiny = ("workload=matmul", "workload.shapes=[[8,8,8]]", "profiler.baseline.steps=0")
    good = [in_slurm(tmp_path, 0, task, *tiny) for task in (0, 1)]
    odd = [in_slurm(tmp_path, 1, task, *tiny, f"seed={task}") for task in (0, 1)]
    runs = [ended(process, tmp_path) for process in (*good, *odd)]
    assert [run.code for run in runs] == [0, 0, 2, 2]
    assert "seed=0: rank 1 has 1, and one profile is for all ranks." in runs[2].err
    (folder,) = {path.parent for path in tmp_path.glob("outputs/*/*/run.json")}
    assert sorted(path.name for path in (folder / "ranks").iterdir()) == ["0", "1"]


def test_below_a_launcher_a_sweep_is_refused_and_so_is_half_a_rank(tmp_path: Path) -> None:
    for variables, words, said in (
        (
            {"RANK": "0", "WORLD_SIZE": "2"},
            ("-m", "profiler=level0,level1"),
            "python -m harness -m execution=torchrun execution.nproc=2",
        ),
        ({"RANK": "0"}, (), "RANK is set without WORLD_SIZE"),
    ):
        done = subprocess.run(
            command(*words),
            cwd=tmp_path,
            env=environment() | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert said in done.stderr
    assert not (tmp_path / "outputs").exists()
