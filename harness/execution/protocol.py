"""What parent and child process tell each other: the plan, the progress, how it ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from harness.devices.base import LoweredProfiler
from harness.settings.expectations import Expectation, ExpectedSettings
from harness.settings.request import Request
from harness.tables.event_counts import EventCounts

SCHEMA_VERSION = 2
"""Of plan.json, run.json and sweep.json; raised when a reader of older files would misread them."""


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

OUTCOME_FILES: dict[Task, str] = {"execute": "outcome.json", "analyse": "analysis.json"}
"""How each ended, as an `Outcome` in the run folder."""

PLAN_FILE = "plan.json"

CALLS_FILE = "acl_calls.jsonl"
"""The profiling calls of a rehearsal, as the emulator recorded them."""

CYCLE_FOLDERS = "raw/*_ascend_pt"
"""What torch_npu leaves in a run folder: a folder for each window."""

Status = Literal["ok", "failed", "interrupted", "unavailable"]


class Outcome(Struct, frozen=True, kw_only=True):
    """How the child process ended, and what it knows of the machine."""

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
