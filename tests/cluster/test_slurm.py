"""Sweeps on a real Slurm: jobs that end in every way, and the command that is stopped meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import polars as pl
import pytest

from harness.capture.sweep_record import SweepJob, SweepRecord
from harness.execution.protocol import read_json
from harness.paths import SweepFolder
from harness.sweep.slurm_record import SlurmRecord
from tests.conftest import Run, ended, read_record, run_harness, started

pytestmark = pytest.mark.cluster

LIMIT_S = 150
METRICS = "profiler.experimental.aic_metrics=PipeUtilization,Memory,L2Cache,MemoryUB"

# A job waits in its second recorded step if there is a file that names its task of the array, or
# its seed; so does the test, until it waits.
MODULE = """
import os, pathlib, time
import torch
def factory(device, dtype, seed):
    given = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
    print("devices", *(os.environ.get(name) for name in given))
    names = [f"task.{os.environ['SLURM_ARRAY_TASK_ID']}", f"seed.{seed}"]
    matrix, calls, kept = torch.ones(8, 8, device=device, dtype=dtype), 0, []
    def step():
        nonlocal calls
        calls += 1
        for name in names:
            if calls == 10 and pathlib.Path(f"hold.{name}").exists():
                begun = pathlib.Path(f"begun.{name}")
                begun.write_text(str(os.getppid()))
                begun.rename(f"waits.{name}")
                while pathlib.Path(f"hold.{name}").exists():
                    time.sleep(0.1)
        if seed == 666 and calls < 4:
            kept.append(torch.ones(1 << 28))
            time.sleep(3)
        return matrix @ matrix
    return step
"""
CALLABLE = ("workload=callable", "workload.target=sometimes:factory")
CPU = ("-m", *CALLABLE, "hydra/launcher=slurm")


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True, scope="session")
def there_is_a_slurm() -> None:
    """Fail where there is none: what was to be tested was not."""
    if not os.environ.get("SLURM_CONF") or "idle" not in slurm("sinfo", "-h", "-o", "%T"):
        pytest.fail("there is no Slurm to test with: make cluster-test sets one up")


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> None:
    (tmp_path / "sometimes.py").write_text(MODULE, encoding="utf-8")


def hold(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"hold.{name}").touch()


def wait_for(process: Popen[str], *paths: Path) -> None:
    until = time.monotonic() + LIMIT_S
    while not all(path.exists() for path in paths):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(str(process.communicate()))
        time.sleep(0.05)


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


def sweep_of(folder: Path) -> Path:
    return (folder / "outputs" / "latest").resolve()


def array_of(folder: Path) -> str:
    """Return the number of the array, once Slurm has given it."""
    path = SweepFolder(sweep_of(folder)).slurm_record
    (array,) = read_json(path, SlurmRecord).arrays
    return array


def jobs_of(folder: Path) -> tuple[SweepJob, ...]:
    return read_json(SweepFolder(sweep_of(folder)).record, SweepRecord).jobs


def queued() -> list[str]:
    return slurm("squeue", "-h", "-o", "%i").split()


def finish(process: Popen[str], folder: Path) -> Run:
    run = ended(process, folder, LIMIT_S)
    assert "Traceback" not in run.err
    return run


@pytest.fixture(scope="session")
def timed_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Popen[str], Path]]:
    """Start a job that takes longer than a minute, Slurm's shortest limit, beside other tests."""
    folder = tmp_path_factory.mktemp("timed_out")
    (folder / "sometimes.py").write_text(MODULE, encoding="utf-8")
    hold(folder, "seed.1")
    process = started(folder, *CPU, "seed=1,2", "hydra.launcher.time_min=1")
    yield process, folder
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("timed_out")
def test_of_four_jobs_one_cancelled_and_one_killed_two_are_merged(tmp_path: Path) -> None:
    words = ("rehearse", "+sweep=aic_metrics", METRICS, *CALLABLE, "hydra/launcher=slurm")
    hold(tmp_path, "task.1", "task.2")
    process = started(tmp_path, *words)
    wait_for(process, tmp_path / "waits.task.1", tmp_path / "waits.task.2")
    array = array_of(tmp_path)
    slurm("scancel", f"{array}_1")
    os.kill(int((tmp_path / "waits.task.2").read_text()), signal.SIGKILL)
    run = finish(process, tmp_path)
    assert run.code == 1, run.err
    assert "2 of 4 jobs delivered" in run.out
    assert "Merged: 2 runs" in run.out
    jobs = jobs_of(tmp_path)
    assert [job.exit_code for job in jobs] == [0, 1, 1, 0]
    assert [job.reason for job in jobs[::3]] == ["", ""]
    assert jobs[1].reason == f"Slurm's job {array}_1: it was cancelled (CANCELLED by user 0)"
    assert jobs[2].reason.startswith(f"Slurm's job {array}_2: it was killed by SIGKILL (FAILED)")
    assert f"aic_metrics=Memory: Slurm's job {array}_1: it was cancelled" in " ".join(
        run.out.split()
    )
    killed = read_record(sweep_of(tmp_path) / jobs[2].folder)
    assert (killed.status, killed.exit_code) == ("failed", 1)
    assert killed.reason == f"{jobs[2].reason}; what was recorded by then is kept"
    assert read_record(sweep_of(tmp_path) / jobs[1].folder).status == "interrupted"

    (tmp_path / "hold.task.1").unlink()
    (tmp_path / "hold.task.2").unlink()
    again = run_harness(tmp_path, *words)
    assert again.code == 0, again.err
    assert "2 kept from before" in again.err
    assert "2 jobs given to Slurm" in again.err
    assert "4 of 4 jobs delivered" in again.out
    assert "Merged: 4 runs" in again.out
    merged = pl.read_parquet(sweep_of(tmp_path) / "tables" / "kernels_merged.parquet")
    assert {"aic_mac_ratio", "l2_read_hit_rate"} & {name.lower() for name in merged.columns}


def test_jobs_have_devices_of_their_own_and_lines_run_first(tmp_path: Path) -> None:
    hold(tmp_path, "seed.1", "seed.2")
    setup = "hydra.launcher.setup=['export ASCEND_RT_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES']"
    process = started(tmp_path, *CPU, "seed=1,2", "hydra.launcher.gres=gpu:1", setup)
    wait_for(process, tmp_path / "waits.seed.1", tmp_path / "waits.seed.2")
    (tmp_path / "hold.seed.1").unlink()
    (tmp_path / "hold.seed.2").unlink()
    run = finish(process, tmp_path)
    assert run.code == 0, run.err
    logs = [
        (sweep_of(tmp_path) / job.folder / "harness.log").read_text() for job in jobs_of(tmp_path)
    ]
    seen = {found[0] for log in logs if (found := re.search(r"devices \S+ \S+", log))}
    assert seen == {"devices 0 0", "devices 1 1"}


def test_a_requeued_job_that_completes_is_no_failure(tmp_path: Path) -> None:
    hold(tmp_path, "seed.1")
    process = started(tmp_path, *CPU, "seed=1,2")
    wait_for(process, tmp_path / "waits.seed.1")
    array = array_of(tmp_path)
    slurm("scontrol", "requeue", f"{array}_0")
    (tmp_path / "hold.seed.1").unlink()
    run = finish(process, tmp_path)
    assert run.code == 0, run.err
    assert "2 of 2 jobs delivered" in run.out
    assert "Restarts=1" in slurm("scontrol", "-o", "show", "job", f"{array}_0")
    assert run.err.count("job 1 of 2  seed=1: runs on ") == 2


def test_an_interrupt_cancels_the_jobs_and_keeps_what_they_recorded(tmp_path: Path) -> None:
    hold(tmp_path, "seed.1")
    process = started(tmp_path, *CPU, "seed=1,2", "hydra.launcher.at_once=1")
    wait_for(process, tmp_path / "waits.seed.1")
    os.killpg(process.pid, signal.SIGINT)
    run = finish(process, tmp_path)
    assert run.code == 130, run.err
    array = array_of(tmp_path)
    assert run.err.count("stopping: Slurm's jobs are cancelled") == 1
    assert run.err.count(f"scancel {array}\n") == 1
    assert not [name for name in queued() if name.startswith(array)]
    assert [job.exit_code for job in jobs_of(tmp_path)] == [130, None]
    first = sweep_of(tmp_path) / jobs_of(tmp_path)[0].folder
    assert read_record(first).status == "interrupted"
    operators = pl.read_parquet(first / "tables" / "operators.parquet")
    assert operators["step"].unique().to_list() == [1], "what was recorded is kept"
    assert not (sweep_of(tmp_path) / "seed=2" / "run.json").exists()


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    hold(tmp_path, "seed.1")
    process = started(tmp_path, *CPU, "seed=1,2")
    wait_for(process, tmp_path / "waits.seed.1")
    assert process.stderr is not None
    os.killpg(process.pid, signal.SIGINT)
    while "stopping: " not in process.stderr.readline():
        pass
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    run = finish(process, tmp_path)
    assert run.code == 130, run.err
    assert time.monotonic() - began < 10
    array = array_of(tmp_path)
    wait_until(lambda: not [name for name in queued() if name.startswith(array)])


def test_a_command_that_is_killed_leaves_jobs_that_the_next_one_names(tmp_path: Path) -> None:
    hold(tmp_path, "seed.1")
    words = (*CPU, "seed=1,2")
    process = started(tmp_path, *words)
    wait_for(process, tmp_path / "waits.seed.1")
    process.kill()
    process.communicate()
    array = array_of(tmp_path)
    refused = run_harness(tmp_path, *words)
    assert refused.code == 2, refused.err
    assert "still in Slurm's queue" in refused.err
    assert f"scancel {array};" in refused.err
    (tmp_path / "hold.seed.1").unlink()
    wait_until(lambda: not [name for name in queued() if name.startswith(array)])
    assert array_of(tmp_path) == array
    again = run_harness(tmp_path, *words)
    assert again.code == 0, again.err
    assert "2 kept from before" in again.err
    assert "2 of 2 jobs delivered" in again.out, "they went on without the command"
    assert "given to Slurm" not in again.err


def test_what_slurm_does_not_take_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for setting, said in (
        ("partition=nosuch", "sbatch refuses it: invalid partition specified: nosuch"),
        ("constraint=a3", "sbatch refuses it: Invalid feature specification"),
        ("gres=npu:1", "sbatch refuses it: Invalid generic resource (gres) specification"),
    ):
        run = run_harness(tmp_path, *CPU, "seed=1,2", f"hydra.launcher.{setting}")
        assert run.code == 2, run.err
        first, problem, fix = run.err.splitlines()
        assert first == "refused, nothing was run: 1 problem"
        assert problem.startswith(f"  hydra/launcher=slurm: {said}")
        assert fix.startswith("    fix: sinfo shows the partitions")
        assert not (tmp_path / "outputs").exists()


def test_a_controller_that_does_not_answer_is_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = Path(os.environ["SLURM_CONF"]).read_text(encoding="utf-8")
    alone = tmp_path / "slurm.conf"
    alone.write_text(f"{conf.replace('26817', '26816')}MessageTimeout=2\n", encoding="utf-8")
    monkeypatch.setenv("SLURM_CONF", str(alone))
    run = run_harness(tmp_path, *CPU, "seed=1,2")
    assert run.code == 4, run.err
    assert "Slurm does not answer here: sinfo must work first" in run.err
    assert not (tmp_path / "outputs").exists()


def test_without_accounting_jobs_end_in_the_words_of_the_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = Path(os.environ["SLURM_CONF"]).with_name("without-accounting.conf")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    hold(tmp_path, "seed.1")
    process = started(tmp_path, *CPU, "seed=1,2")
    wait_for(process, tmp_path / "waits.seed.1")
    array = array_of(tmp_path)
    slurm("scancel", f"{array}_0")
    run = finish(process, tmp_path)
    assert run.code == 1, run.err
    assert jobs_of(tmp_path)[0].reason == f"Slurm's job {array}_0: it was cancelled (CANCELLED)"


def test_a_job_that_takes_too_much_memory_is_told_by_slurms_own_words(tmp_path: Path) -> None:
    run = run_harness(tmp_path, *CPU, "seed=666", "hydra.launcher.memory=1500M")
    assert run.code == 1, run.err
    (job,) = jobs_of(tmp_path)
    assert job.exit_code == 1
    assert "it was killed by SIGKILL (FAILED): slurmstepd-" in job.reason
    # Which of its lines is the last, Slurm does not always do alike.
    assert "exceeded" in job.reason.lower()
    assert "memory limit" in job.reason


def test_a_folder_that_no_node_shares_is_named(tmp_path: Path) -> None:
    """The node sees another folder in its place, as where it is not shared."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = tmp_path / "swept"
    hide = "hydra.launcher.setup=['exit 0']"
    run = run_harness(tmp_path, *CPU, "seed=1", hide, "--out", str(out))
    assert run.code == 1, run.err
    (job,) = read_json(SweepFolder(out).record, SweepRecord).jobs
    assert "must be on a file system that all nodes share" in job.reason


def test_a_job_past_its_time_limit_is_a_failed_one(timed_out: tuple[Popen[str], Path]) -> None:
    process, folder = timed_out
    run = finish(process, folder)
    assert run.code == 1, run.err
    assert "1 of 2 jobs delivered" in run.out
    first, second = jobs_of(folder)
    array = array_of(folder)
    assert first.reason == (
        f"Slurm's job {array}_0: its time was over (TIMEOUT; hydra.launcher.time_min=1)"
    )
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert read_record(sweep_of(folder) / first.folder).status == "interrupted"
