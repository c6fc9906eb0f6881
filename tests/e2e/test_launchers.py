"""Sweeps whose jobs run in processes of a Hydra launcher: the same codes, folders and tables."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import polars as pl
import pytest

from harness.capture.sweep_record import SweepJob, SweepRecord
from harness.execution.protocol import read_json
from harness.paths import SweepFolder
from tests.conftest import LIMIT_S, TINY_MLP, Harness, Run, ended, read_record, started

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")

# The first run of seed 2 kills itself; seeds of 10 and above wait in their second recorded step.
MODULE = """
import os, pathlib, signal, time
import torch
def factory(device, dtype, seed):
    if seed == 2 and not pathlib.Path("once").exists():
        pathlib.Path("once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    calls = 0
    def step():
        nonlocal calls
        calls += 1
        if seed >= 10 and calls == 10 and not pathlib.Path("go").exists():
            unfinished = pathlib.Path(f"unfinished.{seed}")
            unfinished.write_text(str(os.getppid()))
            unfinished.rename(f"waiting.{seed}")
            time.sleep(100)
        return torch.ones(2) + 1
    return step
"""


def words(*settings: str) -> tuple[str, ...]:
    return ("-m", "workload=callable", "workload.target=sometimes:factory", *JOBLIB, *settings)


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> None:
    (tmp_path / "sometimes.py").write_text(MODULE, encoding="utf-8")


def jobs_of(run: Run) -> tuple[SweepJob, ...]:
    return read_json(SweepFolder(run.latest).record, SweepRecord).jobs


def wait_for(process: Popen[str], *paths: Path) -> None:
    until = time.monotonic() + LIMIT_S
    while not all(path.exists() for path in paths):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(str(process.communicate()))
        time.sleep(0.02)


def test_both_jobs_run_beside_each_other(harness: Harness) -> None:
    run = harness("-m", "profiler=level0,level1", *TINY_MLP, "hydra/launcher=joblib")
    assert run.code == 0, run.err
    assert "Sweep: 2 of 2 jobs delivered" in run.out
    assert [(job.folder, job.exit_code) for job in jobs_of(run)] == [
        ("profiler=level0", 0),
        ("profiler=level1", 0),
    ]
    shapes = [
        read_record(run.latest / job.folder).requested["profiler.record_shapes"]
        for job in jobs_of(run)
    ]
    assert shapes == [False, True]
    assert pl.read_parquet(run.latest / "tables" / "sweep.parquet").height == 2
    assert "2 of 2 jobs delivered" in (run.latest / "summary.md").read_text(encoding="utf-8")
    lines = run.err.splitlines()
    for number, profile in ((1, "level0"), (2, "level1")):
        name = f"job {number} of 2  profiler={profile}: "
        assert f"{name}begins" in lines
        folder = f"{(run.folder / 'outputs/latest').readlink()}/profiler={profile}"
        (ended,) = [line for line in lines if line.startswith(f"{name}delivered")]
        assert ended.partition(" (")[0] == (
            f"{name}delivered, exit code 0: outputs/{folder}/summary.md"
        )
    assert sum("1 of 2 ended" in line for line in lines) <= 1, "and of the last, nothing"
    again = harness("-m", "profiler=level0,level1", *TINY_MLP)
    assert again.latest == run.latest
    assert again.err.count("kept from before") == 2, "whoever has run them"


def test_a_killed_job_is_named_and_the_same_command_runs_it_alone(harness: Harness) -> None:
    run = harness(*words("seed=1,2,3"))
    assert run.code == 1, run.err
    assert "2 of 3 jobs delivered" in run.out
    assert "seed=2: the child process died of SIGKILL" in run.out
    assert "the same command again runs 1 job" in run.out
    assert "Traceback" not in run.err
    again = harness(*words("seed=1,2,3"))
    assert again.code == 0, again.err
    assert again.latest == run.latest
    assert again.err.count(": kept from before") == 2
    assert again.err.count(": begins") == 1
    assert "job 2 of 3  seed=2: begins" in again.err
    assert "3 of 3 jobs delivered" in again.out


def test_jobs_lost_with_a_killed_worker_are_named(harness: Harness, tmp_path: Path) -> None:
    process = started(tmp_path, *words("seed=1,10,11,12"))
    wait_for(process, tmp_path / "waiting.10", tmp_path / "waiting.11")
    os.kill(int((tmp_path / "waiting.11").read_text()), signal.SIGKILL)
    run = ended(process, tmp_path)
    assert run.code == 1, run.err
    assert "Traceback" not in run.err
    assert "JoblibLauncher: TerminatedWorkerError: " in run.err
    assert "1 of 4 jobs delivered" in run.out
    assert [(job.exit_code, job.reason) for job in jobs_of(run)] == [
        (0, ""),
        (None, "the harness died before the run ended; what was recorded by then is kept"),
        (None, "the harness died before the run ended; what was recorded by then is kept"),
        (None, "it left no result"),
    ]
    for seed in (10, 11, 12):
        assert f"seed={seed}" in run.out
    assert "the same command again runs 3 jobs" in run.out
    (tmp_path / "go").touch()
    again = harness(*words("seed=1,10,11,12"))
    assert again.code == 0, again.err
    assert again.err.count(": kept from before") == 1


# A terminal sends Ctrl-C to the whole process group, a scheduler SIGTERM to the parent alone.
@pytest.mark.parametrize(
    ("send", "sent"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["all", "one"]
)
def test_an_interrupt_ends_running_jobs_cleanly_and_begins_no_other(
    tmp_path: Path, send: Callable[[int, int], None], sent: signal.Signals
) -> None:
    process = started(tmp_path, *words("seed=10,11,12"))
    wait_for(process, tmp_path / "waiting.10", tmp_path / "waiting.11")
    send(process.pid, sent)
    run = ended(process, tmp_path)
    assert run.code == 130, run.err
    assert "Traceback" not in run.err
    assert run.err.count("stopping: ") == 1
    assert "job 3 of 3  seed=12: not run: the sweep was interrupted" in run.err
    assert "0 of 3 jobs delivered" in run.out
    for job, seed in zip(jobs_of(run), (10, 11), strict=False):
        record = read_record(run.latest / job.folder)
        assert (record.status, record.exit_code) == ("interrupted", 130)
        operators = pl.read_parquet(run.latest / f"seed={seed}" / "tables" / "operators.parquet")
        assert operators["step"].unique().to_list() == [1], "what was recorded is kept"
    assert not (run.latest / "seed=12" / "run.json").exists()


def test_an_interrupt_while_workers_start_runs_no_job(tmp_path: Path) -> None:
    process = started(tmp_path, *words("seed=10,11,12"))
    assert process.stderr is not None
    while "slow each other down" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    run = ended(process, tmp_path)
    assert run.code == 130, run.err
    assert "TerminatedWorkerError" not in run.err
    assert "0 of 3 jobs delivered" in run.out
    assert not list(run.latest.glob("*/run.json"))


def test_one_worker_alone_runs_in_the_harness_itself(tmp_path: Path) -> None:
    alone = "hydra.launcher.n_jobs=1"
    process = started(tmp_path, *words("seed=1,10,11", alone))
    wait_for(process, tmp_path / "waiting.10")
    assert int((tmp_path / "waiting.10").read_text()) == process.pid
    os.killpg(process.pid, signal.SIGINT)
    run = ended(process, tmp_path)
    assert run.code == 130, run.err
    assert [job.exit_code for job in jobs_of(run)] == [0, 130, None]
    assert "job 3 of 3  seed=11: not run: the sweep was interrupted" in run.err


def test_a_launcher_that_is_not_installed_is_one_line(harness: Harness) -> None:
    run = harness("-m", "seed=1,2", *TINY_MLP, "hydra/launcher=rq")
    assert run.code == 2
    first, problem, fix = run.err.splitlines()
    assert first == "refused, nothing was run: 1 problem"
    assert problem.startswith(
        "  hydra/launcher=rq: this launcher is not installed; installed are basic, joblib"
    )
    assert fix == "    fix: pip install hydra-rq-launcher, or hydra/launcher=basic"
    assert not (run.folder / "outputs").exists()


SLURM = ("seed=1,2", *TINY_MLP, "hydra/launcher=slurm")


def test_a_single_run_is_not_given_to_slurm(harness: Harness) -> None:
    run = harness(*TINY_MLP, "hydra/launcher=slurm")
    assert run.code == 2
    _, problem, fix = run.err.splitlines()
    assert problem == (
        "  hydra/launcher=slurm: Slurm runs the jobs of a sweep, and this is a single run."
    )
    assert fix.startswith("    fix: -m makes a sweep, also of one job")
    assert not (run.folder / "outputs").exists()


def test_a_sweep_for_slurm_is_checked_and_shown_where_there_is_none(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = harness("check", "-m", *SLURM)
    assert run.code == 0, run.err
    assert "job 2 of 2  seed=2" in run.out
    shown = harness("--cfg", "hydra", "-p", "hydra.launcher", "hydra/launcher=slurm")
    assert shown.code == 0, shown.err
    assert "partition: null" in shown.out


def test_a_machine_without_slurm_is_one_line(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = harness("-m", *SLURM)
    assert run.code == 4
    (line,) = run.err.splitlines()
    assert line.startswith(
        "sbatch and squeue and scontrol and scancel cannot be found: a sweep on Slurm"
    )
    assert not (run.folder / "outputs").exists()
