"""What all tests share: running the harness as a user would, in a folder of the test's own."""

from __future__ import annotations

import os

# torch_npu is installed for its definitions; without CANN, torch cannot load it.
AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
os.environ[AUTOLOAD] = "0"

# ruff: noqa: E402
import compileall
import functools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import settings

from harness.capture.run_record import RunRecord

settings.register_profile("busy", deadline=None)
settings.load_profile("busy")  # a slow example is a busy machine's, and no failure
ROOT = Path(__file__).parents[1]
LIMIT_S = 120
COMPILER = shutil.which("cc") or shutil.which("gcc")
"""The emulator of CANN needs one; a machine with Python and make alone tests the rest."""


CXX = shutil.which("g++")
"""torch.compile builds C++ on a CPU."""


def pytest_report_header(config: pytest.Config) -> list[str]:
    lacks = {
        "tests/cluster is left out, it needs Slurm and Ray: make cluster-test, make ray-test": (
            "not cluster" not in config.option.markexpr
        ),
        "no C compiler: tests/npu is left out": COMPILER,
        "no g++: the tests of torch.compile are left out": CXX,
    }
    return [text for text, there in lacks.items() if not there]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers; none for files or tests that are named, since these begin sooner without."""
    return 0 if all(".py" in name for name in config.args) else 2


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: both workers must find the same names, whenever they look."""
    return argname if isinstance(val, bytes) else None


def pytest_configure(config: pytest.Config) -> None:
    """Compile the harness for the processes to come, even where Python may write no bytecode."""
    # Under nohup they would inherit that SIGHUP is ignored, and rightly not stop.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if not hasattr(config, "workerinput"):  # the attribute that xdist gives to its workers
        compileall.compile_dir(ROOT / "harness", quiet=1)


class Run(msgspec.Struct, frozen=True):
    """A finished command."""

    code: int
    out: str
    err: str
    folder: Path
    """Where it was typed."""

    @property
    def latest(self) -> Path:
        return (self.folder / "outputs" / "latest").resolve()

    @property
    def record(self) -> RunRecord:
        return read_record(self.latest)

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.latest / "tables" / f"{name}.parquet")


def read_record(folder: Path) -> RunRecord:
    return msgspec.json.decode((folder / "run.json").read_bytes(), type=RunRecord)


def environment() -> dict[str, str]:
    """What a user would have, but for torch's threads, which slow short steps on a busy machine."""
    own = {name: value for name, value in os.environ.items() if name != AUTOLOAD}
    return own | {"OMP_NUM_THREADS": "1"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "harness", *words]


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], folder: Path, limit_s: int = LIMIT_S) -> Run:
    """Wait for a command that was started there."""
    out, err = process.communicate(timeout=limit_s)
    return Run(process.returncode, out, err, folder)


Harness = Callable[..., Run]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """Run ``python -m harness`` in an empty folder."""
    return lambda *words: run_harness(tmp_path, *words)


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Run ``python -m harness`` once for all tests that only look at what that left."""

    @functools.cache
    def run(*words: str) -> Run:
        folder = tmp_path_factory.mktemp("shared")
        (folder / f"{USER_MODULE}.py").write_text(USER_SOURCE, encoding="utf-8")
        return run_harness(folder, *words)

    return run


def run_harness(folder: Path, *words: str) -> Run:
    done = subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, folder)


TINY_MLP = ("workload=mlp", "workload.batch=4", "workload.width=8", "workload.layers=2")
"""A workload whose steps take well under a millisecond."""
TINY_MATMUL = ("workload=matmul", "workload.shapes=[[8,8,8]]")
"""One that starts a second sooner: for an optimizer, torch loads its compiler."""

USER_MODULE = "steps_of_mine"
USER_SOURCE = '''
import ctypes
import os
import signal
import sys
import time

import torch


def _step(action=None, at=None):
    """A step that does something else at its `at`-th call, warm-up and baseline included."""
    matrix = torch.randn(8, 8)
    calls = 0

    def step():
        nonlocal calls
        calls += 1
        if calls == at:
            action()
        return matrix @ matrix

    return step


def fine(device, dtype, seed):
    return _step()


def raises(device, dtype, seed, at):
    def action():
        raise ValueError("bad step")

    return _step(action, at)


def exits(device, dtype, seed, at):
    return _step(lambda: sys.exit(0), at)


def crashes(device, dtype, seed, at):
    return _step(lambda: os.kill(os.getpid(), signal.SIGSEGV), at)


def is_killed(device, dtype, seed, at):
    return _step(lambda: os.kill(os.getpid(), signal.SIGKILL), at)


def crashes_if_asked(device, dtype, seed, crash):
    return crashes(device, dtype, seed, at=9) if crash else _step()


def sleeps(device, dtype, seed, at):
    return _step(lambda: time.sleep(100), at)


def hangs(device, dtype, seed, at):
    """Holds the interpreter in native code that no interrupt ends."""

    def action():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        ctypes.CDLL(None).sleep(100)

    return _step(action, at)


def does_nothing(device, dtype, seed):
    return lambda: None


def profiles_itself(device, dtype, seed):
    """Another profiler, left running, takes the events."""
    outer = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    return _step(outer.start, 9)


def prints_seed(device, dtype, seed):
    print(f"given {seed}, torch has {torch.initial_seed()}")
    return _step()


def prints_environment(device, dtype, seed):
    print(
        f"HARNESS_TEST={os.environ.get('HARNESS_TEST')}"
        f" AUTOLOAD={os.environ.get('TORCH_DEVICE_BACKEND_AUTOLOAD')}"
    )
    return _step()
'''


@pytest.fixture
def user_module(tmp_path: Path) -> str:
    """Write a user's module of step factories beside the run; return its name."""
    (tmp_path / f"{USER_MODULE}.py").write_text(USER_SOURCE, encoding="utf-8")
    return USER_MODULE
