"""What parent and child process send each other: the plan, the progress, the outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from harness import files
from harness.devices.base import LoweredProfiler
from harness.errors import Problem, RefusedError
from harness.paths import RunFolder
from harness.settings.expectations import Expectation, ExpectedSettings
from harness.settings.request import Baseline, DeviceName, Execution, Rehearsal
from harness.tables.event_counts import EventCounts
from harness.tables.machine_load import PhaseLoad
from harness.tables.thread_counts import ThreadCounts
from harness.text import kept_text
from harness.workloads import AnyWorkload

SCHEMA_VERSION = 3
"""Of every record on disk; raised when a reader of older ones would misread them."""


NO_LINES: Final = "lines of code were not all recorded: "
"""What a note of an outcome begins with that says why lines are missing."""


class RecordingPlan(Struct, frozen=True, kw_only=True):
    """What the profiler gets, and what its capture is checked against."""

    device: DeviceName
    index: int
    """Which of several devices, numbered from 0."""
    rank: int = 0
    """Of the process, in a job of several."""
    world_size: int = 1
    """How many processes that job has."""
    records: bool = True
    """Whether this process runs a profiler; the others make the same steps without one."""
    environment: dict[str, str]
    """Variables to set before torch loads."""
    profiler: LoweredProfiler
    recorded: tuple[int, ...]
    """The steps that will be recorded, counted from 0."""
    effective: dict[str, Any]
    """Every setting that reaches the profiler, after lowering, by its dotted name."""
    expectations: tuple[Expectation, ...]
    accept: tuple[str, ...]
    """Settings whose partial delivery is accepted."""

    @property
    def cycles(self) -> int:
        """Whole cycles of the schedule."""
        return self.profiler.schedule.repeat

    @property
    def expected(self) -> ExpectedSettings:
        """The settings that the capture is checked against."""
        return ExpectedSettings(
            device=self.device,
            activities=self.profiler.activities,
            effective=self.effective,
            experimental=self.profiler.experimental,
            expectations=self.expectations,
            recorded=self.recorded,
            accept=self.accept,
        )


class LoopPlan(Struct, frozen=True, kw_only=True):
    """What the child process does around the profiler: the workload, its steps, its limits."""

    seed: int
    workload: AnyWorkload
    """With its warm-up steps."""
    baseline: Baseline = Baseline()
    """Unprofiled steps, timed beside the profiled ones."""
    steps: int
    """Steps under the profiler."""
    execution: Execution
    rehearsal: Rehearsal
    """Whether the child process runs on the emulator."""
    max_seconds: float | None
    """Of a window over a whole program."""
    max_memory_gib: float | None
    """The same, of memory that is added."""


class Plan(Struct, frozen=True, kw_only=True):
    """A request lowered to one device. The child process gets it as JSON."""

    schema_version: int = SCHEMA_VERSION
    folder: str
    """The run folder, absolute."""
    recording: RecordingPlan
    loop: LoopPlan


class Progress(Struct, frozen=True, kw_only=True):
    """How far a child process is; and how it ended, if it cannot leave that on the disk."""

    phase: str
    """build, warmup, baseline, wait, profiler_warmup, active, drain; analyse."""
    done: int
    """Finished steps of the whole run; in an analysis, analysed captures."""
    total: int
    outcome: Outcome | None = None
    """Null but at the end, where the file of the outcome cannot be written."""


ReportProgress = Callable[[Progress], None]


class StepTime(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step, written to steps.jsonl as soon as it ends."""

    phase: str
    """warmup, baseline, wait, profiler_warmup or active; beside, if it is none of the schedule's,
    but was made meanwhile."""
    step: int | None
    """The workload's own counter; null in warm-up and baseline."""
    start_ns: int
    """Unix time."""
    duration_ns: int
    """By the monotonic clock, synchronisation included."""
    wait_ns: Annotated[int, Meta(ge=0)] | None = None
    """At its end, how long the host waited for the device; null where there is none to wait for."""
    thread: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    """The system's number of the thread that made it; null where one thread makes all steps."""


Task = Literal["execute", "analyse"]
"""What a child process does: run the workload, or analyse what its profiler left."""


def outcome_file(folder: Path, task: Task) -> Path:
    """Return where a child process leaves the `Outcome` of its task."""
    run = RunFolder(folder)
    return run.outcome if task == "execute" else run.analysis


Status = Literal["ok", "failed", "interrupted", "unavailable"]


class ProgramEnd(Struct, frozen=True, kw_only=True):
    """How a program of the user's ended, and which steps it made."""

    exit_code: int | None = None
    """As the system would have got it; null if the program was not run by a command."""
    steps: int
    """Whole steps, counted as ``workload.step`` says."""
    needed: int
    """Steps until the end of the schedule, warm-up and baseline included."""
    counted: str = ""
    """What the steps were, in one phrase; empty if there was none."""
    why_short: str = ""
    """Why there are fewer steps than needed, and what to set; empty if there are enough."""


class Compilation(Struct, frozen=True, kw_only=True):
    """What torch.compile did in the process, from its start to the end of the recording."""

    compilations: int
    """How often it compiled, again for other shapes included."""
    graphs: int
    """Distinct graphs that came of it."""
    seconds: float
    """How long all of it took, by the clock."""
    graph_breaks: dict[str, int] = {}
    """Why a function could not become one graph, and how often; the most frequent reasons."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How the child process ended, and what it ran on."""

    schema_version: int = SCHEMA_VERSION
    status: Status
    reason: str = ""
    """If it did not end well, one line: the exception, the signal, the limit, what is missing."""
    traceback: str = ""
    """The workload's traceback, if it raised."""
    device_name: str = ""
    versions: dict[str, str] = {}
    stages: tuple[str, ...] = ()
    """The names of the parts of the workload's step."""
    emulated: bool = False
    """Whether the driver reports that the device is emulated."""
    event_counts: dict[str, EventCounts] = {}
    """How many of the profiler's events became rows, by activity type."""
    thread_counts: ThreadCounts | None = None
    """The operators of the last warm-up step in all threads; null if they were not counted."""
    machine_load: tuple[PhaseLoad, ...] = ()
    """Who used the cores while steps were timed."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the child process behaved."""
    compilation: Compilation | None = None
    """Null if nothing was compiled, or torch did not tell."""
    program: ProgramEnd | None = None
    """Of a program of the user's, how it ended."""


def json_of(value: Struct) -> bytes:
    """Return the content of a record's file.

    The name of a file may have bytes that are no UTF-8, which JSON is: they become their numbers.
    """
    try:
        content = msgspec.json.encode(value)
    except UnicodeEncodeError:
        content = msgspec.json.encode(_kept(msgspec.to_builtins(value)))
    return msgspec.json.format(content, indent=2) + b"\n"


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return kept_text(value)
    if isinstance(value, dict):
        return {kept_text(key): _kept(item) for key, item in value.items()}
    return [_kept(item) for item in value] if isinstance(value, list | tuple) else value


def write_json(value: Struct, path: Path) -> None:
    """Write a record; a reader sees the old file or the new one, never half of one.

    Raises:
        WriteError: The disk is full, or the like; the old file stays.
    """
    files.write(path.parent, path, json_of(value))


T = TypeVar("T")
_LARGEST: Final = 64 << 20
"""Bytes of a record; that of a sweep of 10,000 jobs has some 5 million."""


class _Version(Struct):
    schema_version: int | None = None


def read_json(path: Path, kind: type[T]) -> T:
    """Return a record that `write_json` wrote.

    Raises:
        RefusedError: It is missing, broken, or of another schema version; names the file.
    """
    try:
        with files.regular(path, follow=False) as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise RefusedError([_no_record(path, f"it is larger than {_LARGEST >> 20} MiB")])
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
