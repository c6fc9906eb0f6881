"""Sweeps on a real Ray of this machine, whose Python is elsewhere: Ray is large (make ray-test)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.capture.sweep_record import SweepRecord
from harness.execution.protocol import read_json
from harness.paths import SweepFolder
from tests.conftest import ROOT, Run, environment

pytestmark = pytest.mark.ray

LIMIT_S = 300

# The process of the job of seed 2 is killed, once.
MODULE = """
import os, pathlib, signal
import torch
def factory(device, dtype, seed):
    if seed == 2 and not pathlib.Path("once").exists():
        pathlib.Path("once").touch()
        os.kill(os.getppid(), signal.SIGKILL)
    return lambda: torch.ones(2) + 1
"""
RAY = (
    "hydra/launcher=ray",
    "+hydra.launcher.ray.init.num_cpus=2",
    "+hydra.launcher.ray.init.include_dashboard=false",
    "+hydra.launcher.ray.remote.max_retries=0",
    "+hydra.launcher.ray.remote.num_cpus=1",
)


def sweep(folder: Path) -> Run:
    words = ("-m", "workload=callable", "workload.target=sometimes:factory", "seed=1,2", *RAY)
    paths = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(
        [os.environ["RAY_PYTHON"], "-m", "harness", *words],
        cwd=folder,
        env=environment() | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, folder)


@pytest.fixture(autouse=True, scope="session")
def there_is_a_ray() -> None:
    """Fail where there is none: what was to be tested was not."""
    python = os.environ.get("RAY_PYTHON")
    if not python or subprocess.run([python, "-c", "import ray"], check=False).returncode:
        pytest.fail("RAY_PYTHON names no Python with Ray: make ray-test installs one")


def test_a_killed_job_is_named_not_retried_and_the_same_command_runs_it(tmp_path: Path) -> None:
    (tmp_path / "sometimes.py").write_text(MODULE, encoding="utf-8")
    run = sweep(tmp_path)
    assert run.code == 1, run.err
    assert "Traceback" not in run.err
    assert "RayLauncher: WorkerCrashedError: " in run.err
    assert "job 2 of 2  seed=2: begins" in run.err
    folder = run.latest
    jobs = read_json(SweepFolder(folder).record, SweepRecord).jobs
    assert [job.exit_code for job in jobs][1] is None
    assert (
        jobs[1].reason == "the harness died before the run ended; what was recorded by then is kept"
    )
    again = sweep(tmp_path)
    assert again.code == 0, again.err
    assert again.latest == folder
    assert "2 of 2 jobs delivered" in again.out
