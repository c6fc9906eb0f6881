"""The values that travel between the stages, and those that are kept as JSON.

Request ─▶ Plan ─▶ Outcome ─▶ Capture ─▶ Delivery, RunRecord. All are frozen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import polars as pl
from msgspec import Struct

from harness.config import Request
from harness.devices.base import LoweredProfiler

SCHEMA_VERSION = 1
"""Of plan.json, run.json and sweep.json; raised when a reader of older files would misread them."""


class Evidence(Struct, frozen=True, kw_only=True):
    """What must be found in the capture for a setting to count as delivered."""

    setting: str
    asked: str
    """The effective value, as it is typed."""
    demand: str
    """What will be looked for, in one phrase."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a capture is judged by: of a run, what it was to record; of others, what they tell."""

    device: str
    """cpu, cuda or npu."""
    activities: tuple[str, ...]
    """host, device."""
    effective: dict[str, Any]
    """Every setting that reached the profiler, by its dotted name, as far as that is known."""
    experimental: dict[str, Any]
    """Those of the device alone, by the profiler's names, its defaults among them."""
    evidence: tuple[Evidence, ...] = ()
    recorded: tuple[int, ...] = ()
    """The steps, where they are known."""
    accept: tuple[str, ...] = ()
    """Settings whose partial delivery is fine."""


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
    evidence: tuple[Evidence, ...]

    @property
    def asked(self) -> Asked:
        """What the capture of its run is judged by."""
        return Asked(
            device=self.request.device.name,
            activities=self.profiler.activities,
            effective=self.effective,
            experimental=self.profiler.experimental,
            evidence=self.evidence,
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
REHEARSED = ("device=npu", "rehearsal.emulate=true")
"""What the command ``rehearse`` adds to its settings."""


def as_typed(overrides: Sequence[str], *, rehearsed: bool) -> list[str]:
    """Return a run's settings without what the command ``rehearse`` has added."""
    added = {text.partition("=")[0] for text in REHEARSED} if rehearsed else set()
    return [text for text in overrides if text.partition("=")[0] not in added]


PLAN_FILE = "plan.json"
RUN_FILE = "run.json"
SWEEP_FILE = "sweep.json"
CALLS_FILE = "acl_calls.jsonl"
"""The profiling calls of a rehearsal, as the emulator recorded them."""
CAPTURES = "raw/*_ascend_pt"
"""What torch_npu leaves in a run folder: a folder for each window."""

Status = Literal["ok", "failed", "interrupted", "cannot"]


class Coverage(Struct, frozen=True, kw_only=True):
    """What became of the profiler's events of one kind.

    `seen` exceeds the sum of the others by what the tables have no place for: Python frames,
    the driver's calls, synchronisation, the profiler's own overhead.
    """

    seen: int
    """Events in the profile."""
    rows: int
    """Those that became rows."""
    marks: int
    """Those that became the columns `step` and `stage`, and torch's own marks of steps."""
    hidden: int
    """Those that torch, too, leaves out."""

    def __add__(self, other: Coverage) -> Coverage:
        """Return the account of both."""
        return Coverage(
            seen=self.seen + other.seen,
            rows=self.rows + other.rows,
            marks=self.marks + other.marks,
            hidden=self.hidden + other.hidden,
        )


class Linked(Struct, frozen=True, kw_only=True):
    """How many kernels have an operator that launched them."""

    kernels: int
    linked: int
    time_ns: int
    """Of all kernels."""
    linked_ns: int


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
    coverage: dict[str, Coverage] = {}
    """What became of the profiler's events, by activity type."""


class Emulation(Struct, frozen=True, kw_only=True):
    """What the emulator did in place of an NPU; outside of captures it counts nothing."""

    operators_computed: int
    operators_not_computed: int
    """Launches whose outputs are zeros: accepted, with their shapes, and no more."""
    not_computed: dict[str, int] = {}
    """These, by operator."""


class Capture(Struct, frozen=True, kw_only=True):
    """A run folder read back: what verify, analyse and report work on."""

    folder: Path
    asked: Asked
    outcome: Outcome
    analysis: Outcome | None = None
    """How the device's own analysis of its captures ended; null: there was none."""
    tables: dict[str, pl.DataFrame]
    """By name, with the columns of `harness.tables.SCHEMAS`; empty ones included."""
    raw: tuple[str, ...]
    """Files that the profiler wrote, relative to the folder."""
    coverage: dict[str, Coverage] = {}
    """What became of the profiler's events, by activity type or kind of row."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read."""
    lost: tuple[str, ...] = ()
    """What could not be read, with file and place."""
    emulation: Emulation | None = None
    """Null on a real device."""
    calls: tuple[dict[str, Any], ...] = ()
    """The profiling calls of a rehearsal, as they were recorded."""

    @property
    def captures(self) -> tuple[Path, ...]:
        """The folders that torch_npu left, one a window, in order."""
        return tuple(sorted(self.folder.glob(CAPTURES)))


DeliveryStatus = Literal[
    "delivered", "partial", "missing", "substituted", "not_checkable", "not_asked"
]


READ = "read"
"""Stands for a setting where it is judged whether all of a capture could be read."""


class Delivery(Struct, frozen=True, kw_only=True):
    """Whether one setting was honoured, judged by what arrived."""

    setting: str
    asked: str
    arrived: str
    """The evidence's figure."""
    status: DeliveryStatus
    evidence: str
    """What was looked for."""
    why: str = ""
    """When not delivered: the known reasons, and what to do."""
    accepted: bool = False
    """Partial, and named in ``delivery.accept``."""

    @property
    def fails(self) -> bool:
        """Whether this ends the run in exit 3."""
        return self.status in {"missing", "substituted", "partial"} and not self.accepted


class Consistency(Struct, frozen=True, kw_only=True):
    """Whether two sources of a capture tell the same."""

    name: str
    status: Literal["holds", "broken", "does_not_apply"]
    expected: str = ""
    """What the one says."""
    found: str = ""
    """What the other says."""
    difference: float | None = None
    """Of the two, relative; null if they could not be compared."""
    why: str = ""
    """What is broken, or why it does not apply."""
    files: tuple[str, ...] = ()
    """Those that are there to their end if it holds."""

    @property
    def fails(self) -> bool:
        """Whether this ends the run in exit 3."""
        return self.status == "broken"


class Timing(Struct, frozen=True, kw_only=True):
    """Step times of one phase."""

    steps: int
    median_ns: int
    min_ns: int
    max_ns: int

    @property
    def spread(self) -> float:
        """(max - min) / median."""
        return (self.max_ns - self.min_ns) / self.median_ns


class Views(Struct, frozen=True, kw_only=True):
    """Tables made of a capture to be looked at; `harness/analyses/` say what their columns are."""

    steps: pl.DataFrame
    operators: pl.DataFrame
    kernels: pl.DataFrame
    types: pl.DataFrame
    stages: pl.DataFrame
    memory: pl.DataFrame
    calls: pl.DataFrame
    files: pl.DataFrame
    analyses: dict[str, pl.DataFrame]
    """Every analysis that has rows, by name."""


class RunRecord(Struct, frozen=True, kw_only=True):
    """run.json: what was asked, how it ended, what arrived. Written first at the start."""

    schema_version: int = SCHEMA_VERSION
    status: Literal["running", "ok", "failed", "interrupted"]
    """How the run ended."""
    verdict: Literal["delivered", "not_delivered", "pending"]
    exit_code: int | None
    """Null while running."""
    reason: str = ""
    """One line, if the run did not end well."""
    analysis: str = ""
    """One line, if the device's analysis of its captures did not end well."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the captures were read."""
    overrides: tuple[str, ...] = ()
    """The command's settings."""
    request_hash: str = ""
    """Of everything requested; a sweep keeps a finished job whose request is the same."""
    versions: dict[str, str]
    """Of harness, python and torch."""
    host: str
    device: str = ""
    """cpu, cuda or npu."""
    device_name: str = ""
    emulated: bool = False
    """Whether the device is an emulation, and every figure invented."""
    emulation: Emulation | None = None
    """What the emulator did in place of the device."""
    source: str = ""
    """What was read, if it was recorded by another program."""
    requested: dict[str, Any]
    effective: dict[str, Any] = {}
    recorded_steps: int = 0
    """Steps that the schedule records."""
    delivery: tuple[Delivery, ...] = ()
    consistency: tuple[Consistency, ...] = ()
    """Whether the capture's own sources agree."""
    timing: dict[str, Timing] = {}
    """By phase: baseline, active."""
    coverage: dict[str, Coverage] = {}
    """What became of the profiler's events, by activity type."""
    linked: Linked | None = None
    """Kernels and their operators; null without kernels."""
    files: tuple[str, ...] = ()
    """Relative to the run folder."""


class SweepJob(Struct, frozen=True, kw_only=True):
    """One expected job of a sweep, and what became of it."""

    folder: str
    """The name of its run folder, beside sweep.json."""
    overrides: tuple[str, ...]
    """The settings that make it."""
    values: dict[str, str]
    """Those that the sweep varies, by setting, as they are typed."""
    exit_code: int | None = None
    """Null while it has none: it was not run, or the harness ended before it did."""
    reason: str = ""
    """One line, if it is not what was asked for."""


class SweepRecord(Struct, frozen=True, kw_only=True):
    """sweep.json: which jobs are expected, and what became of each. Written at start and end."""

    schema_version: int = SCHEMA_VERSION
    swept: tuple[str, ...]
    """The settings that are varied, by their dotted names; or a group, as ``profiler``."""
    jobs: tuple[SweepJob, ...]
    """In the order in which they run."""


COUNTERS: Final = (
    "profiler.experimental.aic_metrics",
    "profiler.experimental.profiler_metrics",
    "profiler.experimental.performance_events",
)
"""The settings that choose a group of counters: one run collects one group."""


MERGE_FILE = "merge.json"


class LeftOut(Struct, frozen=True, kw_only=True):
    """A run that was not merged."""

    folder: str
    why: str


class MergedRun(Struct, frozen=True, kw_only=True):
    """A run that was merged, and what became of its rows."""

    label: str
    """Stands behind the @ in the names of its columns."""
    folder: str
    exit_code: int | None
    rows: int
    outside: int
    """Rows of no step, which are left out."""
    unmatched: int
    """Rows that not every run has."""
    missing: int
    """Rows of others that this run lacks."""
    duration_ns: int
    """Of its rows in steps, added up; of operators, what they spent themselves."""
    streams: dict[str, str]
    """Its numbers of streams that are others in the merged table, and those."""


class MergeRecord(Struct, frozen=True, kw_only=True):
    """merge.json: which runs were joined, how, and what was left over."""

    schema_version: int = SCHEMA_VERSION
    match: str
    """aligned or strict."""
    table: str
    """kernels or operators."""
    device: str
    device_name: str
    emulated: bool
    rows: int
    """Of the merged table."""
    in_all: int
    """Those that every run has."""
    ambiguous: int
    """Those that other minimal alignments would pair otherwise."""
    runs: tuple[MergedRun, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def write_json(value: Struct, path: Path) -> None:
    """Write a record so that a reader sees the old file or the new one, never half of one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    unfinished.replace(path)
