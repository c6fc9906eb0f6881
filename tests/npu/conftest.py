"""The real torch_npu over the emulator: always in a process of its own, which needs its libraries
before it starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.emulator.build import Emulator, build
from harness.settings.faults import Faults
from tests.conftest import COMPILER, ROOT

collect_ignore_glob = [] if COMPILER else ["test_*.py"]

CHILDREN = Path(__file__).parent / "children"
LIMIT_S = 600
HEALTHY = Faults()

OnNpu = Callable[..., str]


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    return build()


@pytest.fixture
def on_npu(emulator: Emulator, tmp_path: Path) -> OnNpu:
    """Run a script of children/, or the text of one, and return what it prints."""
    return lambda *words, **settings: run_on_npu(emulator, tmp_path, *words, **settings)


def run_on_npu(
    emulator: Emulator, folder: Path, *words: str, faults: Faults = HEALTHY, **settings: str
) -> str:
    """Run Python on the emulator; `settings` are environment variables."""
    script = CHILDREN / words[0]
    start = [str(script)] if script.suffix == ".py" else ["-c", words[0]]
    done = subprocess.run(
        [sys.executable, *start, *words[1:]],
        cwd=folder,
        env=emulator.environment(faults=faults) | {"PYTHONPATH": str(ROOT)} | settings,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
