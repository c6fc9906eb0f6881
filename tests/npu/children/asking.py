"""What the cases of silent rules share: captures, what CANN was asked, what was printed."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch_npu import profiler

from harness.settings.faults import Faults

BOTH = ("CPU", "NPU")


def experimental(level: str = "Level1", **settings: Any) -> Any:
    return profiler._ExperimentalConfig(
        profiler_level=getattr(profiler.ProfilerLevel, level), **settings
    )


def handler(folder: Path) -> Any:
    return profiler.tensorboard_trace_handler(str(folder), analyse_flag=False)


def once(**numbers: int) -> Any:
    return profiler.schedule(**{"wait": 0, "warmup": 0, "active": 1, "repeat": 1, **numbers})


def multiply(times: int = 1, size: int = 4) -> None:
    matrix = torch.ones(size, size, device="npu")
    for _ in range(times):
        torch.mm(matrix, matrix)


def profiled(folder: Path, steps: int = 1, activities: tuple[str, ...] = BOTH, **words: Any) -> Any:
    """Profile so many steps, and stop."""
    names = [getattr(profiler.ProfilerActivity, name) for name in activities]
    settings = {"schedule": once(), "experimental_config": experimental(), "activities": names}
    settings |= {"on_trace_ready": handler(folder)} if "on_trace_ready" not in words else {}
    with profiler.profile(**{**settings, **words}) as running:
        for _ in range(steps):
            multiply()
            torch_npu.npu.synchronize()
            running.step()
    return running


def captures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_ascend_pt"))


def capture(folder: Path, **words: Any) -> Path:
    profiled(folder, **words)
    (made,) = captures(folder)
    return made


def info(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "profiler_info.json").read_text())["config"]
    return found["experimental_config"]  # type: ignore[no-any-return]


def output(made: Path) -> list[str]:
    return sorted(path.name for path in (made / "ASCEND_PROFILER_OUTPUT").glob("*"))


@contextmanager
def wrong(**faults: Any) -> Iterator[None]:
    """Let the emulator do something wrong meanwhile."""
    variables = Faults(**faults).environment()
    os.environ.update(variables)
    yield
    for name in variables:
        del os.environ[name]


@contextmanager
def calls() -> Iterator[list[dict[str, Any]]]:
    """Collect what CANN is asked meanwhile."""
    found: list[dict[str, Any]] = []
    with tempfile.NamedTemporaryFile("r") as file:
        os.environ["HARNESS_EMULATOR_RECORD"] = file.name
        yield found
        del os.environ["HARNESS_EMULATOR_RECORD"]
        found += map(json.loads, file)


@contextmanager
def heard(said: list[str]) -> Iterator[None]:
    """Collect what this process, its children and C++ print."""
    streams = (sys.stdout, sys.stderr)
    with tempfile.TemporaryFile("w+") as file:
        kept = [os.dup(stream.fileno()) for stream in streams]
        for stream in streams:
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
        try:
            yield
        finally:
            for stream, descriptor in zip(streams, kept, strict=True):
                stream.flush()
                os.dup2(descriptor, stream.fileno())
                os.close(descriptor)
            file.seek(0)
            said.append(file.read())
