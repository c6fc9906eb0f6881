"""run.json: what was requested, how it ended, what arrived; and the records of earlier runs."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from harness.capture.capture import Emulation
from harness.capture.provenance import RanProgram, ran_program
from harness.capture.writer import Life, Writer, life_of
from harness.errors import ExitCode, RefusedError
from harness.execution.protocol import SCHEMA_VERSION, Compilation, read_json
from harness.paths import RunFolder
from harness.settings.expectations import accepts
from harness.settings.marks import measured
from harness.settings.request import Request
from harness.tables.event_counts import EventCounts, LinkedKernels
from harness.tables.machine_load import PhaseLoad
from harness.tables.step_statistics import MedianInterval, WarmingUp
from harness.workloads.program import Program

REHEARSED = ("device=npu", "rehearsal.emulate=true")
"""The settings that the command ``rehearse`` adds."""


PROGRAM: Final = ("workload", "workload.script", "workload.module", "workload.args")
"""The settings that a program after ``--`` stands for."""


def as_typed(overrides: Sequence[str], *, rehearsed: bool) -> list[str]:
    """Return the settings of a run without those that the command ``rehearse`` adds."""
    added = {text.partition("=")[0] for text in REHEARSED} if rehearsed else set()
    return [text for text in overrides if text.partition("=")[0] not in added]


DeliveryStatus = Literal[
    "delivered", "partial", "missing", "substituted", "not_checkable", "not_requested"
]


DIED = "the harness died before the run ended; what was recorded by then is kept"
"""Why a run has no result whose record says that it is running."""

READ = "read"
"""Stands in place of a setting where the completeness of a capture is checked."""


class Delivery(Struct, frozen=True, kw_only=True):
    """Whether one setting was delivered, judged by what arrived."""

    setting: str
    requested: str
    """The effective value, as it is typed."""
    arrived: str
    """The evidence, as a figure."""
    status: DeliveryStatus
    expectation: str
    """What must be found."""
    reason: str = ""
    """Why it was not delivered, and what to do."""
    accepted: bool = False
    """Whether it is partial and named in ``delivery.accept``."""

    @property
    def fails(self) -> bool:
        """Whether this ends the run in exit 3."""
        return self.status in {"missing", "substituted", "partial"} and not self.accepted


class Consistency(Struct, frozen=True, kw_only=True):
    """Whether two sources of a capture agree."""

    name: str
    status: Literal["holds", "broken", "does_not_apply"]
    expected: str = ""
    """The figure of the first source."""
    actual: str = ""
    """The figure of the second source."""
    difference: float | None = None
    """The relative difference of the two; null if they could not be compared."""
    reason: str = ""
    """What is broken, or why it does not apply."""
    files: tuple[str, ...] = ()
    """Files that are complete if it holds."""

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
    interval: MedianInterval | None = None
    """Of the median; null for fewer than six steps."""
    warming_up: WarmingUp | None = None
    """First steps that were slower than all later ones; null if none were."""
    parts: tuple[Timing, ...] = ()
    """Of unprofiled steps that others lie between: the rows of them, in order."""

    @property
    def spread(self) -> float:
        """(max - min) / median; 0 where steps took no time, as only a foreign record says."""
        return (self.max_ns - self.min_ns) / self.median_ns if self.median_ns else 0.0

    def resembles(self, other: Timing) -> bool:
        """Tell whether the median step of one lies among the steps of the other."""
        return (
            self.min_ns <= other.median_ns <= self.max_ns
            or other.min_ns <= self.median_ns <= other.max_ns
        )


class RankResult(Struct, frozen=True, kw_only=True):
    """What became of one rank of a job; its own run.json has the rest."""

    rank: int
    records: bool
    """Whether it ran a profiler."""
    status: Literal["ok", "failed", "interrupted", "running", "missing"]
    """As in its run.json; missing: it left none."""
    verdict: Literal["delivered", "not_delivered", "pending"]
    exit_code: int | None = None
    reason: str = ""
    """One line, if it did not end well."""
    step: Timing | None = None
    """Its recorded steps; of one that does not record, null."""


class EngineWindow(Struct, frozen=True, kw_only=True):
    """A window in a live engine: who was asked, and for what."""

    engine: str
    """sglang, vllm."""
    version: str
    """As the server tells it."""
    url: str
    """The server's address; it has no credentials."""
    body: dict[str, Any]
    """What was sent to ``/start_profile``."""
    ranks: int | None = None
    """How many processes the server says it profiles; null if it does not say."""


class RunRecord(Struct, frozen=True, kw_only=True):
    """run.json: what was requested, how it ended, what arrived. Written first at the start."""

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
    """What a user should know about how the captures were read."""
    overrides: tuple[str, ...] = ()
    """The settings of the command."""
    request_hash: str = ""
    """A digest of the settings that change what is measured; a sweep keeps finished jobs by it."""
    versions: dict[str, str]
    """The versions of harness, Python, torch and what is below it."""
    host: str
    writer: Writer | None = None
    """The process that runs it; null once it has ended."""
    device: str = ""
    """cpu, cuda or npu; of an imported capture, any of `harness.devices.READABLE`."""
    device_name: str = ""
    emulated: bool = False
    """Whether the device was emulated, so that every figure is invented."""
    emulation: Emulation | None = None
    """What the emulator did in place of the device."""
    source: str = ""
    """The path of an imported capture; empty for a run."""
    engine: EngineWindow | None = None
    """Of captures that a live engine was asked for; null for all others."""
    rank: int = 0
    """Of the process, in a job of several."""
    world_size: int = 1
    """How many processes that job has."""
    records: bool = True
    """Whether the process runs a profiler; of several ranks, some may not."""
    ranks: tuple[RankResult, ...] = ()
    """Of a job of several ranks, what became of each; each has a run folder below ranks/."""
    program: RanProgram | None = None
    """The user's program; null if a workload of the harness ran."""
    requested: dict[str, Any]
    effective: dict[str, Any] = {}
    recorded_steps: int = 0
    """Steps that the schedule records."""
    delivery: tuple[Delivery, ...] = ()
    consistency: tuple[Consistency, ...] = ()
    """Whether the capture's own sources agree."""
    timing: dict[str, Timing] = {}
    """By phase: baseline, active."""
    machine_load: tuple[PhaseLoad, ...] = ()
    """Who used the cores while steps were timed; empty where it was not looked at."""
    event_counts: dict[str, EventCounts] = {}
    """What became of the profiler's events, by activity type."""
    compilation: Compilation | None = None
    """What torch.compile did in the process; null for nothing, or if torch did not tell."""
    linked: LinkedKernels | None = None
    """Kernels and their operators; null without kernels."""
    files: tuple[str, ...] = ()
    """Relative to the run folder."""

    @property
    def life(self) -> Life | Literal["ended"]:
        """Whether the process that runs it is still there; "ended" if the run is over."""
        if self.status != "running":
            return "ended"
        return life_of(self.writer, here=self.host == socket.gethostname())

    @property
    def unended(self) -> str:
        """Why there is no result: the run goes on, or its harness died; "" if it is over."""
        pid = self.writer.pid if self.writer else 0
        return {
            "alive": f"it is still running (process {pid})",
            "unknown": f"it was running on {self.host} (process {pid}), which cannot be seen here",
            "dead": DIED,
            "ended": "",
        }[self.life]


def request_hash(request: Request) -> str:
    """Return a digest of the settings that change what is measured."""
    settings = measured(msgspec.to_builtins(request))
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:16]


def finished(request: Request, folder: Path, report: Callable[[str], None]) -> RunRecord | None:
    """Return the record of an earlier run in this folder that answers the request.

    It measured the same, and by this request's own standards its delivery is complete. `report` is
    called with the reason why a record that is there cannot be read.
    """
    path = RunFolder(folder).record
    if not path.exists():
        return None
    try:
        record = read_json(path, RunRecord)
    except RefusedError as error:
        report(f"{path}: {error.problems[0].reason}; run again")
        return None
    if record.unended:
        report(f"{folder}: {record.unended}")
    return record if _answers(record, request) else None


def _answers(record: RunRecord, request: Request) -> bool:
    if record.exit_code != ExitCode.OK or record.request_hash != request_hash(request):
        return False
    if record.verdict == "pending" and request.profiler.analyse == "now":
        return False
    if isinstance(request.workload, Program):
        # The settings name its file, not what is in it.
        present = ran_program(request.workload)
        if record.program is None or record.program.sha256 != present.sha256:
            return False
    return all(
        accepts(request.delivery.accept, item.setting)
        for item in record.delivery
        if item.status == "partial"
    )


def record_of(folder: Path) -> RunRecord | None:
    """Return the record of a run folder; None if there is none that this version can read."""
    path = RunFolder(folder).record
    try:
        return read_json(path, RunRecord)
    except RefusedError:
        return None
