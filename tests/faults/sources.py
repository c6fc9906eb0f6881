"""Whole runs that commands start from; each is made once, and copied into the scenes."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import threading
from pathlib import Path

from tests.conftest import run_harness
from tests.faults.scene import Scene, tiny

_ONE_AT_A_TIME = threading.Lock()


@functools.cache
def _home() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="harness-faults-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def made(name: str) -> Path:
    """Return the folder of a whole run with that name. Nothing may change it."""
    with _ONE_AT_A_TIME:
        return _made(name)


@functools.cache
def _made(name: str) -> Path:
    run = run_harness(_home(), *tiny("--out", name))
    assert run.code == 0, run.err
    return _home() / name


def made_emulated(name: str) -> Path:
    """Return the folder of a whole rehearsal, whose captures are analysed anew by ``read``."""
    with _ONE_AT_A_TIME:
        return _made_emulated(name)


@functools.cache
def _made_emulated(name: str) -> Path:
    run = run_harness(_home(), "rehearse", "profiler=level1", *tiny()[1:], "--out", name)
    assert run.code == 0, run.err
    return _home() / name


def copied(name: str, scene: Scene) -> str:
    """Put a copy of a whole run into a scene; return its folder, as it is typed there."""
    shutil.copytree(made(name), scene.folder / name, symlinks=True)
    return name
