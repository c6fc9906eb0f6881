"""What parent and child process tell each other: the plan, the progress, how it ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from harness.devices.base import LoweredProfiler
from harness.errors import Problem, RefusedError
from harness.paths import RunFolder
from harness.settings.expectations import Expectation, ExpectedSettings
from harness.settings.request import Request
from harness.tables.event_counts import EventCounts

SCHEMA_VERSION = 3
"""Of every record on disk; raised when a reader of older ones would misread them."""


class Plan(Struct, frozen=True, kw_only=True):
    """A request lowered to one device. Handed to the child process as JSON."""

    schema_version: int = SCHEMA_VERSION
    folder: str
    """The run folder, absolute."""
    request: Request
    environment: dict[str, str]
    """Variables to set before torch loads."""
    profiler: LoweredProfiler
    """What will be handed to the profiler."""
    steps: int
    """Steps after warm-up and baseline."""
    cycles: int
    """Whole cycles of the schedule among them."""
    recorded: tuple[int, ...]
    """The steps that will be recorded, counted from 0."""
    effective: dict[str, Any]
    """Every setting that reaches the profiler, after lowering, by its dotted name."""
    expectations: tuple[Expectation, ...]

    @property
    def expected(self) -> ExpectedSettings:
        """What the capture of its run is judged by."""
        return ExpectedSettings(
            device=self.request.device.name,
            activities=self.profiler.activities,
            effective=self.effective,
            experimental=self.profiler.experimental,
            expectations=self.expectations,
            recorded=self.recorded,
            accept=self.request.delivery.accept,
        )


class Progress(Struct, frozen=True, kw_only=True):
    """What the child process says while it runs."""

    phase: str
    """build, warmup, baseline, wait, profiler_warmup, active, drain; analyse."""
    done: int
    """Steps of the whole run that are done; captures, in an analysis."""
    total: int


class StepTime(Struct, frozen=True, kw_only=True):
    """One executed step, as the child process writes it down the moment it ends."""

    phase: str
    """warmup, baseline, wait, profiler_warmup or active."""
    step: int | None
    """The workload's own counter; null in warm-up and baseline."""
    start_ns: int
    """Unix time."""
    duration_ns: int
    """By the monotonic clock, synchronisation included."""


Task = Literal["execute", "analyse"]
"""What a child process does: run the workload, or analyse what its profiler left."""


def outcome_file(folder: Path, task: Task) -> Path:
    """Return where a child process leaves the `Outcome` of its task."""
    run = RunFolder(folder)
    return run.outcome if task == "execute" else run.analysis


Status = Literal["ok", "failed", "interrupted", "unavailable"]


class Outcome(Struct, frozen=True, kw_only=True):
    """How the child process ended, and what it knows of the machine."""

    schema_version: int = SCHEMA_VERSION
    status: Status
    reason: str = ""
    """One line, if it did not end well: the exception, the signal, the limit, what is missing."""
    traceback: str = ""
    """The workload's traceback, if it raised."""
    device_name: str = ""
    versions: dict[str, str] = {}
    stages: tuple[str, ...] = ()
    """The names that the workload gives to the parts of its step."""
    emulated: bool = False
    """Whether the device itself said that there is none."""
    event_counts: dict[str, EventCounts] = {}
    """What became of the profiler's events, by activity type."""


def write_json(value: Struct, path: Path) -> None:
    """Write a record so that a reader sees the old file or the new one, never half of one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    unfinished.replace(path)


T = TypeVar("T")


class _Version(Struct):
    schema_version: int | None = None


def read_json(path: Path, kind: type[T]) -> T:
    """Return a record that `write_json` wrote.

    Raises:
        RefusedError: It is missing, broken, or of another schema version; names the file.
    """
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise RefusedError([_another_version(path, version)])
        return msgspec.json.decode(content, type=kind)
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
        raise RefusedError([_no_record(path, reason)]) from error
    except (ValueError, RecursionError) as error:
        raise RefusedError([_no_record(path, f"it is broken: {error}")]) from error


def _another_version(path: Path, version: int | None) -> Problem:
    if version is None:
        return _no_record(path, "it has no schema_version, so the harness did not write it")
    reason = f"its schema_version is {version}, and this harness reads {SCHEMA_VERSION} only"
    fix = "run again, or use the version of the harness that wrote it"
    return Problem(setting=str(path), given="", reason=reason, fix=fix)


def _no_record(path: Path, reason: str) -> Problem:
    fix = "choose another folder, or run again"
    return Problem(setting=str(path), given="", reason=reason, fix=fix)
